/*
 * userfaultfd and huge pages of the pool: rules H1 to H6, for mappings that have no other pages. A child answers its parent's faults. The pool
 * is the machine's, so nobody else may use it meanwhile. Needs root. Says SKIPPED where the pool cannot be set.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL
#define HUGE (2UL << 20)
#define RW (PROT_READ | PROT_WRITE)
#define POOL "/proc/sys/vm/nr_hugepages"
/* Where everything is mapped: the messages show addresses from here on. */
#define AT ((char *)0x150000000000)

static char *source;

static void say(const char *what, long result) {
	if (result < 0)
		printf("%s: %s\n", what, strerror(errno));
	else
		printf("%s: %ld\n", what, result);
	fflush(stdout);
}

static long meminfo(const char *name) {
	static char text[8192];
	int fd = open("/proc/meminfo", O_RDONLY);
	ssize_t len = read(fd, text, sizeof text - 1);
	close(fd);
	text[len > 0 ? len : 0] = 0;
	const char *line = strstr(text, name);
	return line ? atol(line + strlen(name)) : -1;
}

static void pool(const char *when) {
	printf("%s: total %ld free %ld reserved %ld\n", when, meminfo("HugePages_Total:"), meminfo("HugePages_Free:"),
	       meminfo("HugePages_Rsvd:"));
	fflush(stdout);
}

static void size_pool(const char *pages) {
	int fd = open(POOL, O_WRONLY);
	if (fd < 0 || write(fd, pages, strlen(pages)) < 0)
		perror(POOL);
	close(fd);
}

static int ready(__u64 features) {
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0) {
		perror("userfaultfd");
		exit(1);
	}
	__u64 both = UFFD_FEATURE_MISSING_HUGETLBFS | UFFD_FEATURE_MINOR_HUGETLBFS;
	if ((api.features & both) != both)
		puts("features are missing");
	return fd;
}

static void reg(const char *what, int fd, void *at, unsigned long len, __u64 mode) {
	struct uffdio_register r = { .range = { (unsigned long)at, len }, .mode = mode };
	long result = ioctl(fd, UFFDIO_REGISTER, &r);
	say(what, result);
	if (result == 0)
		printf("  wake %d copy %d zeropage %d continue %d\n", !!(r.ioctls & 1 << _UFFDIO_WAKE), !!(r.ioctls & 1 << _UFFDIO_COPY),
		       !!(r.ioctls & 1 << _UFFDIO_ZEROPAGE), !!(r.ioctls & 1 << _UFFDIO_CONTINUE));
}

static void unreg(const char *what, int fd, void *at, unsigned long len) {
	struct uffdio_range r = { (unsigned long)at, len };
	say(what, ioctl(fd, UFFDIO_UNREGISTER, &r));
}

/* The result of the ioctl and what the field says. */
static void copied(const char *what, int fd, void *to, const void *from, unsigned long len, __u64 mode) {
	struct uffdio_copy c = { .dst = (unsigned long)to, .src = (unsigned long)from, .len = len, .mode = mode, .copy = 77 };
	long result = ioctl(fd, UFFDIO_COPY, &c);
	printf("%s: %s, copy %lld\n", what, result < 0 ? strerror(errno) : "ok", (long long)c.copy);
	fflush(stdout);
}

static void zeroed(const char *what, int fd, void *to, unsigned long len) {
	struct uffdio_zeropage z = { .range = { (unsigned long)to, len }, .zeropage = 77 };
	long result = ioctl(fd, UFFDIO_ZEROPAGE, &z);
	printf("%s: %s, zeropage %lld\n", what, result < 0 ? strerror(errno) : "ok", (long long)z.zeropage);
	fflush(stdout);
}

static void continued(const char *what, int fd, void *to, unsigned long len) {
	struct uffdio_continue c = { .range = { (unsigned long)to, len }, .mapped = 77 };
	long result = ioctl(fd, UFFDIO_CONTINUE, &c);
	printf("%s: %s, mapped %lld\n", what, result < 0 ? strerror(errno) : "ok", (long long)c.mapped);
	fflush(stdout);
}

static char *map(int kind, int fd, unsigned long len) {
	int flags = kind | MAP_FIXED | (fd < 0 ? MAP_ANONYMOUS | MAP_HUGETLB : 0);
	char *at = mmap(AT, len, RW, flags, fd, 0);
	if (at == MAP_FAILED)
		perror("mmap");
	return at;
}

static int object(unsigned long pages) {
	int fd = memfd_create("uffd", MFD_HUGETLB);
	if (fd < 0 || ftruncate(fd, pages * HUGE) < 0)
		perror("memfd_create");
	return fd;
}

static void message(const char *what, int fd) {
	struct uffd_msg m;
	struct pollfd p = { fd, POLLIN, 0 };
	if (poll(&p, 1, 10000) != 1 || read(fd, &m, sizeof m) != sizeof m) {
		say(what, -1);
		return;
	}
	printf("%s: event %#x flags %llx at %#llx\n", what, m.event, (unsigned long long)m.arg.pagefault.flags,
	       (unsigned long long)m.arg.pagefault.address - (unsigned long)AT);
	fflush(stdout);
}

/* A child touches, and exits with what it saw there; its faults are this process's, since they share their memory. */
static volatile int seen;
static char stack[64 << 10] __attribute__((aligned(16)));
static char *touched;
static int storing;

static int toucher(void *unused) {
	(void)unused;
	if (storing)
		*(volatile char *)touched = 9;
	seen = *(volatile char *)touched;
	return 0;
}

#include <sched.h>
static int touch(char *at, int store) {
	touched = at;
	storing = store;
	seen = -1;
	return clone(toucher, stack + sizeof stack, CLONE_VM | CLONE_FS | CLONE_FILES | SIGCHLD, 0);
}

static void finish(const char *what, int child) {
	int status;
	waitpid(child, &status, 0);
	printf("%s: status %#x, saw %d\n", what, status, seen);
	fflush(stdout);
}

static void registering(void) {
	puts("-- H2");
	int fd = ready(0), file = object(2);
	char *at = map(MAP_SHARED, file, 2 * HUGE);
	reg("a small page of a huge one", fd, at, PAGE, UFFDIO_REGISTER_MODE_MISSING);
	reg("from within a page on", fd, at + PAGE, HUGE - PAGE, UFFDIO_REGISTER_MODE_MISSING);
	reg("to within a page", fd, at, HUGE + PAGE, UFFDIO_REGISTER_MODE_MISSING);
	reg("missing, one page", fd, at, HUGE, UFFDIO_REGISTER_MODE_MISSING);
	reg("minor, the other", fd, at + HUGE, HUGE, UFFDIO_REGISTER_MODE_MINOR);
	reg("both, of all", fd, at, 2 * HUGE, UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR);
	unreg("unregister from within a page on", fd, at + PAGE, HUGE);
	unreg("unregister to within a page", fd, at, HUGE - PAGE);
	unreg("unregister", fd, at, 2 * HUGE);
	munmap(at, 2 * HUGE);
	at = map(MAP_PRIVATE, -1, HUGE);
	reg("private", fd, at, HUGE, UFFDIO_REGISTER_MODE_MISSING);
	reg("minor, private", fd, at, HUGE, UFFDIO_REGISTER_MODE_MINOR);
	munmap(at, HUGE);
	int id = shmget(IPC_PRIVATE, HUGE, IPC_CREAT | 0600 | SHM_HUGETLB);
	at = shmat(id, AT, 0);
	reg("a segment", fd, at, HUGE, UFFDIO_REGISTER_MODE_MISSING);
	shmdt(at);
	shmctl(id, IPC_RMID, 0);
	close(file);
	close(fd);
	pool("after that");
}

static void missing(int kind, const char *name, __u64 features) {
	printf("-- H3, H4 %s\n", name);
	int fd = ready(features), file = kind == MAP_SHARED ? object(3) : -1;
	char *at = map(kind, file, 3 * HUGE);
	reg("register", fd, at, 3 * HUGE, UFFDIO_REGISTER_MODE_MISSING);
	pool("mapped");
	int child = touch(at + HUGE + 5 * PAGE + 7, 0);
	message("a load", fd);
	copied("not aligned", fd, at + HUGE + PAGE, source, HUGE, 0);
	copied("a small page", fd, at + HUGE, source, PAGE, 0);
	copied("no length", fd, at + HUGE, source, 0, 0);
	copied("not mapped", fd, at + 8 * HUGE, source, HUGE, 0);
	copied("a source that is not there", fd, at + HUGE, (void *)PAGE, HUGE, 0);
	zeroed("zeropage", fd, at + HUGE, HUGE);
	continued("continue where nothing is", fd, at + HUGE, HUGE);
	pool("still");
	copied("copy", fd, at + HUGE, source + 3, HUGE, 0);
	finish("the load", child);
	printf("last byte %d\n", at[2 * HUGE - 1]);
	copied("again", fd, at + HUGE, source, HUGE, 0);
	copied("one that is not there and one that is", fd, at, source, 2 * HUGE, 0);
	pool("two");
	child = touch(at + 2 * HUGE, 1);
	message("a store", fd);
	copied("without waking", fd, at + 2 * HUGE, source, HUGE, UFFDIO_COPY_MODE_DONTWAKE);
	struct uffdio_range r = { (unsigned long)at, 3 * HUGE };
	say("wake", ioctl(fd, UFFDIO_WAKE, &r));
	finish("the store", child);
	pool("three");
	if (file >= 0) {
		say("a hole", fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, HUGE));
		pool("a hole");
		copied("into the hole", fd, at, source, HUGE, 0);
		say("shorter", ftruncate(file, 2 * HUGE));
		copied("behind the end", fd, at + 2 * HUGE, source, HUGE, 0);
	} else {
		say("given up", madvise(at, HUGE, MADV_DONTNEED));
		child = touch(at + 1, 1);
		message("a store to it", fd);
		close(fd);
		fd = -1;
		finish("the context is closed", child);
		int other = fork();
		if (other == 0) {
			at[1] = 1;
			_exit(at[1]);
		}
		int status;
		waitpid(other, &status, 0);
		printf("a child's: %#x, %d\n", status, at[1]);
	}
	munmap(at, 3 * HUGE);
	if (file >= 0)
		close(file);
	if (fd >= 0)
		close(fd);
	pool("after that");
}

static void minor(void) {
	puts("-- H5");
	int fd = ready(0), file = object(3);
	char *at = map(MAP_SHARED, file, 3 * HUGE);
	char *alias = mmap(0, 3 * HUGE, RW, MAP_SHARED, file, 0);
	alias[0] = 5;
	alias[HUGE] = 6;
	reg("register", fd, at, 3 * HUGE, UFFDIO_REGISTER_MODE_MINOR);
	int child = touch(at + PAGE, 1);
	message("a store", fd);
	alias[PAGE + 1] = 8;
	copied("copy", fd, at, source, HUGE, 0);
	continued("a part", fd, at, PAGE);
	continued("continue", fd, at, HUGE);
	finish("the store", child);
	printf("%d %d %d\n", at[0], at[PAGE], at[PAGE + 1]);
	continued("again", fd, at, HUGE);
	child = touch(at + HUGE, 0);
	message("a load", fd);
	continued("one and a hole", fd, at + HUGE, 2 * HUGE);
	finish("the load", child);
	continued("a hole", fd, at + 2 * HUGE, HUGE);
	at[2 * HUGE] = 1;
	printf("a hole asks nobody: %d\n", alias[2 * HUGE]);
	munmap(at, 3 * HUGE);
	at = map(MAP_PRIVATE, file, HUGE);
	reg("register a private mapping", fd, at, HUGE, UFFDIO_REGISTER_MODE_MINOR);
	child = touch(at, 1);
	message("a store there", fd);
	continued("continue", fd, at, HUGE);
	finish("the store", child);
	printf("the object's: %d\n", alias[0]);
	munmap(at, HUGE);
	munmap(alias, 3 * HUGE);
	close(file);
	close(fd);
	pool("after that");
}

/* Who has reserved nothing finds the pool empty, which Linux calls EEXIST. */
static void none_left(void) {
	puts("-- A24");
	size_pool("1");
	int fd = ready(0);
	char *at = mmap(AT, 3 * HUGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE | MAP_FIXED, -1, 0);
	reg("register", fd, at, 3 * HUGE, UFFDIO_REGISTER_MODE_MISSING);
	copied("one of two", fd, at, source, 2 * HUGE, 0);
	copied("the second", fd, at + HUGE, source, HUGE, 0);
	pool("all");
	munmap(at, 3 * HUGE);
	close(fd);
	pool("none");
}

int main(void) {
	char before[32];
	snprintf(before, sizeof before, "%ld", meminfo("HugePages_Total:"));
	size_pool("4");
	if (meminfo("HugePages_Total:") != 4 || meminfo("HugePages_Free:") != 4) {
		size_pool(before);
		puts("SKIPPED: no pool of 4 huge pages");
		return 0;
	}
	/* Huge where that can be, because that is faster. */
	source = mmap(0, 4 * HUGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	source = (char *)(((unsigned long)source + HUGE - 1) & -HUGE);
	madvise(source, 3 * HUGE, MADV_HUGEPAGE);
	for (unsigned long i = 0; i < 3 * HUGE; i += PAGE)
		memset(source + i, 3, 8), source[i + PAGE - 1] = 4, source[i + 2] = 2;
	registering();
	missing(MAP_SHARED, "shared", 0);
	missing(MAP_PRIVATE, "private", UFFD_FEATURE_EXACT_ADDRESS);
	minor();
	none_left();
	size_pool(before);
	return 0;
}
