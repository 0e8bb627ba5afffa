/* What calls on mappings refuse, and what is mapped afterwards. */
#define _GNU_SOURCE
#include "common.h"
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define PAGE 4096UL
#define AT ((char *)0x200000000000UL)
#define END 0x7ffffffff000UL
#define MOVES (MREMAP_MAYMOVE | MREMAP_FIXED)
#define STAYS (MREMAP_MAYMOVE | MREMAP_DONTUNMAP)

static sigjmp_buf refused;

static void faulted(int signal, siginfo_t *info, void *context)
{
	siglongjmp(refused, signal * 100 + info->si_code);
}

/* The byte at an address, or the signal and its code, negative. */
static int byte_at(const char *at)
{
	int code = sigsetjmp(refused, 1);

	return code ? -code : *(volatile const char *)at;
}

static void map(char *at, size_t length, int rights, int flags)
{
	must(mmap(at, length, rights, flags | MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at, "mmap");
}

/* What is mapped near AT, and those lines of smaps that are asked for. */
static void show(const char *wanted)
{
	FILE *stream = fopen("/proc/self/smaps", "r");
	char line[512], rights[8], name[32];
	unsigned long start, end;
	int near = 0;

	while (fgets(line, sizeof line, stream) != NULL) {
		if (sscanf(line, "%lx-%lx %7s", &start, &end, rights) == 3) {
			near = start >= (unsigned long)AT - 0x1000000 && end <= (unsigned long)AT + 0x10000000;
			if (near)
				printf("\t%lx to %lx %s\n", start - (unsigned long)AT, end - (unsigned long)AT, rights);
		} else if (near && sscanf(line, "%31[^:]", name) == 1 && strstr(wanted, name) != NULL)
			printf("\t%s", line);
	}
	fclose(stream);
}

static long moved(char *from, size_t old_length, size_t length, int flags, void *to)
{
	return syscall(SYS_mremap, from, old_length, length, flags, to) == -1 ? -1 : 0;
}

static long mapped(void *at, size_t length, int rights, int flags, int fd)
{
	return mmap(at, length, rights, flags | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0) == MAP_FAILED ? -1 : 0;
}

static int object(size_t length)
{
	int fd = memfd_create("object", MFD_ALLOW_SEALING);

	must(fd >= 0 && !ftruncate(fd, length), "memfd");
	return fd;
}

static void moves(void)
{
	map(AT, 4 * PAGE, PROT_READ | PROT_WRITE, 0);
	map(AT + 0x100000, PAGE, PROT_READ | PROT_WRITE, 0);
	CALL(moved(AT, -2 * PAGE, PAGE, 0, NULL));
	CALL(moved(AT, 1UL << 47, PAGE, 0, NULL));
	CALL(moved(AT, END - (unsigned long)AT + PAGE, PAGE, 0, NULL));
	CALL(moved(AT, 1UL << 47, PAGE, MOVES, AT - 0x100000));
	CALL(moved(AT, PAGE, PAGE, STAYS, AT + 1234567));
	CALL(moved(AT, PAGE, PAGE, STAYS, AT));
	CALL(moved(AT, 2 * PAGE, 2 * PAGE, STAYS, AT + PAGE));
	CALL(moved(AT, PAGE, PAGE, STAYS, (void *)END));
	CALL(moved(AT, PAGE, PAGE, STAYS, AT + 0x10000));
	show("");
}

static void limits(void)
{
	struct rlimit limit;
	long pages;
	FILE *stream;

	map(AT, 64 << 20, PROT_READ | PROT_WRITE, MAP_NORESERVE);
	stream = fopen("/proc/self/statm", "r");
	must(fscanf(stream, "%ld", &pages) == 1, "statm");
	fclose(stream);
	limit.rlim_cur = limit.rlim_max = pages * PAGE + (32 << 20);
	setrlimit(RLIMIT_AS, &limit);
	CALL(moved(AT, 64 << 20, 64 << 20, STAYS, NULL));
}

static void rights(void)
{
	map(AT, 2 * PAGE, PROT_READ | PROT_WRITE, 0);
	CALL(mprotect(AT, END - (unsigned long)AT + PAGE, 0x100));
	CALL(mprotect(AT, END - (unsigned long)AT + PAGE, PROT_READ));
	CALL(mprotect(AT, 1UL << 62, PROT_READ));
	show("VmFlags");
	puts("no rights, and nothing that could be copied");
	map(AT, 4 * PAGE, PROT_READ | PROT_WRITE, 0);
	map(AT + 4 * PAGE, 4 * PAGE, PROT_NONE, 0);
	mprotect(AT, 4 * PAGE, PROT_NONE);
	show("VmFlags");
	puts("locked, and now to be written");
	map(AT, 8 * PAGE, PROT_READ, 0);
	CALL(mlock(AT, 8 * PAGE));
	CALL(mprotect(AT, 8 * PAGE, PROT_READ | PROT_WRITE));
	show("Rss,Anonymous,Locked");
	AT[0] = 7;
	CALL(madvise(AT, 8 * PAGE, MADV_FREE));
	CALL(AT[0]);
	map(AT, 8 * PAGE, PROT_WRITE, 0);
	CALL(madvise(AT, PAGE, MADV_POPULATE_READ));
	CALL(madvise(AT, PAGE, MADV_POPULATE_WRITE));
	map(AT, 8 * PAGE, PROT_EXEC, 0);
	CALL(madvise(AT, PAGE, MADV_POPULATE_READ));
}

static void refused_replacement(void)
{
	map(AT, 4 * PAGE, PROT_READ | PROT_WRITE, 0);
	AT[0] = 5;
	CALL(mapped(AT, 1UL << 45, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, -1));
	CALL(byte_at(AT));
	CALL(mapped(AT, 1UL << 45, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, -1));
	CALL(byte_at(AT));
	CALL(mapped((void *)(END + 1), PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, -1));
	CALL(mapped(AT + 1, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, -1));
}

static void holes(void)
{
	int fd = object(8 * PAGE), large = object(0);
	struct stat before, after;

	must(!mapped(AT, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd), "mmap");
	memset(AT, 1, 8 * PAGE);
	fstat(fd, &before);
	until_next_tick();
	CALL(madvise(AT, PAGE, MADV_REMOVE));
	fstat(fd, &after);
	printf("times: %d %d\n", before.st_mtim.tv_nsec != after.st_mtim.tv_nsec, before.st_ctim.tv_nsec != after.st_ctim.tv_nsec);
	CALL(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	CALL(madvise(AT + PAGE, PAGE, MADV_REMOVE));
	printf("%d %d\n", AT[0], AT[PAGE]);
	munmap(AT, 8 * PAGE);
	puts("where sizes end");
	CALL(ftruncate(large, 0x7fffffffffffffff));
	must(mmap(AT, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, large, 0x7fffffffffffe000) == AT, "mmap");
	AT[0] = 1;
	CALL(moved(AT, PAGE, 3 * PAGE, 0, NULL));
	CALL(madvise(AT, 3 * PAGE, MADV_REMOVE));
	CALL(madvise(AT + PAGE, PAGE, MADV_REMOVE));
	CALL(AT[0]);
}

static void resident(void)
{
	int fd = object(4 * PAGE);
	unsigned char pages[4];

	CALL(fallocate(fd, 0, 0, 4 * PAGE));
	must(!mapped(AT, 4 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd), "mmap");
	CALL(AT[0]);
	CALL(mincore(AT, 4 * PAGE, pages));
	printf("%d %d %d %d\n", pages[0], pages[1], pages[2], pages[3]);
}

static void heap(void)
{
	char *end = sbrk(0), *at = (char *)(((unsigned long)end + PAGE - 1) & -PAGE);

	map(at + 4 * PAGE, PAGE, PROT_READ, 0);
	CALL(brk(at + 4 * PAGE));
	CALL(brk(at + 3 * PAGE));
	munmap(at + 4 * PAGE, PAGE);
	brk(end);
	map(at + 400 * PAGE, PAGE, PROT_READ, MAP_GROWSDOWN);
	CALL(brk(at + 200 * PAGE));
	CALL(brk(at + 100 * PAGE));
	puts("beside a stack");
	map(AT, PAGE, PROT_READ, MAP_GROWSDOWN);
	for (int below = 255; below <= 257; below++) {
		void *hint = AT - below * PAGE, *got = mmap(hint, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		printf("%d pages below: %s\n", below, got == hint ? "there" : "elsewhere");
		munmap(got, PAGE);
	}
}

static int answering(char *at, size_t length, int mode)
{
	int fd = syscall(SYS_userfaultfd, O_NONBLOCK | UFFD_USER_MODE_ONLY);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .range = { (long)at, length }, .mode = mode };

	must(fd >= 0 && !ioctl(fd, UFFDIO_API, &api) && !ioctl(fd, UFFDIO_REGISTER, &range), "userfaultfd");
	return fd;
}

static void answers(void)
{
	static char source[PAGE] __attribute__((aligned(4096)));
	struct uffdio_copy copy = { .dst = (long)AT, .src = (long)source, .len = PAGE };
	struct uffdio_zeropage zero = { .range = { (long)AT + PAGE, PAGE } };
	struct stat status;
	int fd, file = object(100);

	memset(source, 7, PAGE);
	map(AT, 4 * PAGE, PROT_READ | PROT_WRITE, 0);
	fd = answering(AT, 4 * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	mprotect(AT, 4 * PAGE, PROT_NONE);
	CALL(ioctl(fd, UFFDIO_COPY, &copy));
	CALL(ioctl(fd, UFFDIO_ZEROPAGE, &zero));
	printf("%d %d\n", byte_at(AT), byte_at(AT + PAGE));
	mprotect(AT, 4 * PAGE, PROT_READ);
	printf("%d %d\n", byte_at(AT), byte_at(AT + PAGE));
	show("VmFlags");
	puts("an object that is not to grow");
	must(!mapped(AT, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file), "mmap");
	CALL(fcntl(file, F_ADD_SEALS, F_SEAL_GROW));
	fd = answering(AT, 4 * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	copy.copy = 0;
	CALL(ioctl(fd, UFFDIO_COPY, &copy));
	fstat(file, &status);
	printf("size %ld\n", (long)status.st_size);
	mprotect(AT, 4 * PAGE, PROT_NONE);
	printf("%d\n", byte_at(AT));
	puts("of two that are to move, one is answered for");
	munmap(AT, 4 * PAGE);
	map(AT, 2 * PAGE, PROT_READ | PROT_WRITE, 0);
	map(AT + 2 * PAGE, 2 * PAGE, PROT_READ, 0);
	fd = answering(AT, 2 * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	CALL(moved(AT, 4 * PAGE, 4 * PAGE, MOVES, AT + 0x10000));
	show("");
}

static void others(void)
{
	char bytes[16] = "", *stack = AT + 0x1000000;
	struct iovec own = { bytes, 16 }, other = { AT, 16 }, below = { stack - PAGE, 16 };

	map(AT, PAGE, PROT_WRITE, 0);
	map(stack, PAGE, PROT_READ | PROT_WRITE, MAP_GROWSDOWN);
	CALL(process_vm_readv(getpid(), &own, 1, &other, 1, 0));
	CALL(process_vm_writev(getpid(), &own, 1, &other, 1, 0));
	CALL(process_vm_readv(getpid(), &own, 1, &below, 1, 0));
	CALL(process_vm_writev(getpid(), &own, 1, &below, 1, 0));
	CALL(byte_at(stack - PAGE));
	CALL(process_vm_readv(getpid(), &own, 1, &below, 1, 0));
}

static void flags(void)
{
	int fd = object(PAGE), segment = shmget(IPC_PRIVATE, PAGE, 0600);
	char path[64];

	sprintf(path, "/proc/self/fd/%d", fd);
	must(!mapped(AT, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, open(path, O_RDONLY)), "mmap");
	must(shmat(segment, AT + 0x10000, SHM_RDONLY) != (void *)-1, "shmat");
	must(shmat(segment, AT + 0x20000, 0) != (void *)-1, "shmat");
	shmctl(segment, IPC_RMID, NULL);
	map(AT + 0x30000, PAGE, PROT_READ, MAP_STACK);
	map(AT + 0x31000, PAGE, PROT_READ, 0);
	show("VmFlags");
}

int main(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} parts[] = { { "moves", moves }, { "limits", limits }, { "rights", rights }, { "replacement", refused_replacement },
		      { "holes", holes }, { "resident", resident }, { "heap", heap }, { "answers", answers }, { "others", others },
		      { "flags", flags } };
	struct sigaction action = { .sa_sigaction = faulted, .sa_flags = SA_SIGINFO | SA_NODEFER };
	int status;

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	setvbuf(stdout, NULL, _IONBF, 0);
	for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++) {
		printf("# %s\n", parts[i].name);
		if (!fork()) {
			parts[i].run();
			_exit(0);
		}
		wait(&status);
		if (status)
			printf("status %x\n", status);
	}
	return 0;
}
