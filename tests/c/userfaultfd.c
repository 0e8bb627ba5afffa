/*
 * userfaultfd, rule by rule (H1 to H7): a child answers its parent's faults. Prints the same on Linux and in the guest.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL

static char source[4 * PAGE] __attribute__((aligned(4096)));

static void say(const char *what, long result) {
	if (result < 0)
		printf("%s: %s\n", what, strerror(errno));
	else
		printf("%s: %ld\n", what, result);
	fflush(stdout);
}

static int open_uffd(int flags) {
	return syscall(SYS_userfaultfd, flags);
}

static int ready(int flags, __u64 features) {
	int fd = open_uffd(flags);
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0) {
		perror("userfaultfd");
		exit(1);
	}
	return fd;
}

static long reg(int fd, void *at, unsigned long len, __u64 mode) {
	struct uffdio_register r = { .range = { (unsigned long)at, len }, .mode = mode };
	return ioctl(fd, UFFDIO_REGISTER, &r);
}

static long unreg(int fd, void *at, unsigned long len) {
	struct uffdio_range r = { (unsigned long)at, len };
	return ioctl(fd, UFFDIO_UNREGISTER, &r);
}

static long wake(int fd, void *at, unsigned long len) {
	struct uffdio_range r = { (unsigned long)at, len };
	return ioctl(fd, UFFDIO_WAKE, &r);
}

/* The result of the ioctl and what the field says. */
static void copied(const char *what, int fd, void *to, const void *from, unsigned long len, __u64 mode) {
	struct uffdio_copy c = { .dst = (unsigned long)to, .src = (unsigned long)from, .len = len, .mode = mode, .copy = 77 };
	long result = ioctl(fd, UFFDIO_COPY, &c);
	printf("%s: %s, copy %lld\n", what, result < 0 ? strerror(errno) : "ok", (long long)c.copy);
}

static void zeroed(const char *what, int fd, void *to, unsigned long len, __u64 mode) {
	struct uffdio_zeropage z = { .range = { (unsigned long)to, len }, .mode = mode, .zeropage = 77 };
	long result = ioctl(fd, UFFDIO_ZEROPAGE, &z);
	printf("%s: %s, zeropage %lld\n", what, result < 0 ? strerror(errno) : "ok", (long long)z.zeropage);
}

static void continued(const char *what, int fd, void *to, unsigned long len, __u64 mode) {
	struct uffdio_continue c = { .range = { (unsigned long)to, len }, .mode = mode, .mapped = 77 };
	long result = ioctl(fd, UFFDIO_CONTINUE, &c);
	printf("%s: %s, mapped %lld\n", what, result < 0 ? strerror(errno) : "ok", (long long)c.mapped);
}

static char *shared_memory(unsigned long len, int *fd) {
	*fd = memfd_create("uffd", 0);
	if (ftruncate(*fd, len) < 0)
		exit(1);
	return mmap(0, len, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
}

static char *anonymous(unsigned long len) {
	return mmap(0, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void handshake(void) {
	puts("-- H1");
	say("unknown flag", open_uffd(0x40));
	int fd = open_uffd(O_CLOEXEC | O_NONBLOCK);
	say("flags of the descriptor", fcntl(fd, F_GETFD));
	say("flags of the file", fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK));
	say("register before the handshake", reg(fd, source, PAGE, UFFDIO_REGISTER_MODE_MISSING));
	char message[sizeof(struct uffd_msg)];
	say("read before the handshake", read(fd, message, sizeof message));
	struct pollfd p = { fd, POLLIN, 0 };
	say("poll before the handshake", poll(&p, 1, 0));
	printf("events %#x\n", (unsigned)p.revents);
	struct uffdio_api api = { .api = 0xab };
	say("another version", ioctl(fd, UFFDIO_API, &api));
	api = (struct uffdio_api){ .api = UFFD_API, .features = 1ULL << 50 };
	say("an unknown feature", ioctl(fd, UFFDIO_API, &api));
	printf("zeroed: %d\n", api.api == 0 && api.features == 0 && api.ioctls == 0);
	api = (struct uffdio_api){ .api = UFFD_API };
	say("the handshake", ioctl(fd, UFFDIO_API, &api));
	__u64 wanted = UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_SIGBUS | UFFD_FEATURE_THREAD_ID |
		       UFFD_FEATURE_EXACT_ADDRESS;
	printf("features %d\n", (api.features & wanted) == wanted);
	printf("register %d, unregister %d, api %d\n", !!(api.ioctls & 1 << _UFFDIO_REGISTER), !!(api.ioctls & 1 << _UFFDIO_UNREGISTER),
	       !!(api.ioctls & 1ULL << _UFFDIO_API));
	api = (struct uffdio_api){ .api = UFFD_API };
	say("again", ioctl(fd, UFFDIO_API, &api));
	say("another ioctl", ioctl(fd, 0xaa77, 0));
	say("a bad pointer", ioctl(fd, UFFDIO_REGISTER, (void *)8));
	say("write", write(fd, "x", 1));
	say("seek", lseek(fd, 1, SEEK_SET));
	say("mmap", (long)mmap(0, PAGE, PROT_READ, MAP_SHARED, fd, 0) == -1 ? -1 : 0);
	struct stat status;
	say("fstat", fstat(fd, &status));
	printf("mode %o, size %ld\n", status.st_mode, (long)status.st_size);
	close(fd);
}

static void registration(void) {
	puts("-- H2");
	int fd = ready(O_NONBLOCK, 0), memory, other = ready(O_NONBLOCK, 0);
	char *anon = anonymous(8 * PAGE), *shared = shared_memory(8 * PAGE, &memory);
	say("mode 0", reg(fd, anon, PAGE, 0));
	say("unknown mode", reg(fd, anon, PAGE, 0x80));
	say("unaligned", reg(fd, anon + 1, PAGE, UFFDIO_REGISTER_MODE_MISSING));
	say("unaligned length", reg(fd, anon, 100, UFFDIO_REGISTER_MODE_MISSING));
	say("no length", reg(fd, anon, 0, UFFDIO_REGISTER_MODE_MISSING));
	say("nothing mapped", reg(fd, (void *)0x10000, PAGE, UFFDIO_REGISTER_MODE_MISSING));
	say("beyond all", reg(fd, (void *)-PAGE, PAGE, UFFDIO_REGISTER_MODE_MISSING));
	say("minor of private anonymous", reg(fd, anon, PAGE, UFFDIO_REGISTER_MODE_MINOR));
	say("both of private anonymous", reg(fd, anon, PAGE, UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_MISSING));
	say("missing of anonymous", reg(fd, anon, 4 * PAGE, UFFDIO_REGISTER_MODE_MISSING));
	say("again", reg(fd, anon + PAGE, 2 * PAGE, UFFDIO_REGISTER_MODE_MISSING));
	say("by another", reg(other, anon + PAGE, PAGE, UFFDIO_REGISTER_MODE_MISSING));
	say("unregistered by another", unreg(other, anon + PAGE, PAGE));
	say("minor of a memfd", reg(fd, shared, 4 * PAGE, UFFDIO_REGISTER_MODE_MINOR));
	say("both of a memfd", reg(fd, shared, 8 * PAGE, UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_MISSING));
	int id = shmget(IPC_PRIVATE, 4 * PAGE, 0600);
	char *segment = shmat(id, 0, 0);
	say("a segment", reg(fd, segment, 4 * PAGE, UFFDIO_REGISTER_MODE_MISSING));
	munmap(anon + 5 * PAGE, PAGE);
	say("with a gap", reg(fd, anon, 8 * PAGE, UFFDIO_REGISTER_MODE_MISSING));
	struct uffdio_register r = { .range = { (unsigned long)anon, PAGE }, .mode = UFFDIO_REGISTER_MODE_MISSING };
	ioctl(fd, UFFDIO_REGISTER, &r);
	printf("what can be done: wake %d, copy %d, zeropage %d, continue %d\n", !!(r.ioctls & 1 << _UFFDIO_WAKE), !!(r.ioctls & 1 << _UFFDIO_COPY),
	       !!(r.ioctls & 1 << _UFFDIO_ZEROPAGE), !!(r.ioctls & 1 << _UFFDIO_CONTINUE));
	r = (struct uffdio_register){ .range = { (unsigned long)shared, PAGE }, .mode = UFFDIO_REGISTER_MODE_MINOR };
	ioctl(fd, UFFDIO_REGISTER, &r);
	printf("what can be done: wake %d, copy %d, zeropage %d, continue %d\n", !!(r.ioctls & 1 << _UFFDIO_WAKE), !!(r.ioctls & 1 << _UFFDIO_COPY),
	       !!(r.ioctls & 1 << _UFFDIO_ZEROPAGE), !!(r.ioctls & 1 << _UFFDIO_CONTINUE));
	say("unregister", unreg(fd, anon, 4 * PAGE));
	say("unregister again", unreg(fd, anon, 4 * PAGE));
	say("unregister nothing", unreg(fd, (void *)0x10000, PAGE));
	say("unregister unaligned", unreg(fd, anon, 1));
	anon[0] = 1;
	say("a page that is nobody's", anon[0]);
	shmdt(segment);
	shmctl(id, IPC_RMID, 0);
	close(fd);
	close(other);
	shared[0] = 2;
	say("closed with what was registered", shared[0]);
	munmap(shared, 8 * PAGE);
	close(memory);
	munmap(anon, 8 * PAGE);
}

static void say_message(const struct uffd_msg *m, const char *base) {
	printf("  event %#x flags %llu page %ld offset %ld\n", m->event, m->arg.pagefault.flags,
	       (long)(m->arg.pagefault.address - (unsigned long)base) / 4096, (long)(m->arg.pagefault.address & 4095));
	fflush(stdout);
}

static struct uffd_msg next_fault(int fd) {
	struct uffd_msg m;
	struct pollfd p = { fd, POLLIN, 0 };
	for (;;) {
		if (read(fd, &m, sizeof m) == sizeof m)
			return m;
		if (poll(&p, 1, -1) < 0)
			exit(1);
	}
}

/* A child answers `count` faults with `answer`, and says so before it wakes anybody: the order of lines is always the same. */
static pid_t handler(int fd, char *base, int count, void (*answer)(int, char *, int)) {
	fflush(stdout);
	pid_t pid = fork();
	if (pid)
		return pid;
	for (int i = 0; i < count; i++) {
		struct uffd_msg m = next_fault(fd);
		char *page = (char *)(m.arg.pagefault.address & -PAGE);
		say_message(&m, base);
		answer(fd, page, i);
		fflush(stdout);
		wake(fd, page, PAGE);
	}
	_exit(0);
}

static void done(pid_t pid) {
	int status;
	waitpid(pid, &status, 0);
	printf("handler ended %d\n", status);
}

static void by_copy(int fd, char *page, int i) {
	memset(source, 'a' + i, PAGE);
	copied("  copy", fd, page, source, PAGE, UFFDIO_COPY_MODE_DONTWAKE);
}

static void by_zeropage(int fd, char *page, int i) {
	(void)i;
	zeroed("  zeropage", fd, page, PAGE, UFFDIO_ZEROPAGE_MODE_DONTWAKE);
}

static void by_turns(int fd, char *page, int i) {
	if (i % 2)
		by_zeropage(fd, page, i);
	else
		by_copy(fd, page, i);
}

static void by_copy_that_wakes(int fd, char *page, int i) {
	struct uffdio_copy c = { .dst = (unsigned long)page, .src = (unsigned long)source, .len = PAGE };
	memset(source, 'w' + i, PAGE);
	fflush(stdout);
	if (ioctl(fd, UFFDIO_COPY, &c) < 0)
		_exit(1);
}

static void missing(void) {
	puts("-- H3, H4");
	int fd = ready(O_NONBLOCK, 0), memory;
	char *m = shared_memory(8 * PAGE, &memory), *view = mmap(0, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	view[2 * PAGE] = 'v';
	say("put there by write", pwrite(memory, "w", 1, 3 * PAGE));
	reg(fd, m, 8 * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	printf("there already: %c%c\n", m[2 * PAGE], m[3 * PAGE]);
	pid_t pid = handler(fd, m, 2, by_turns);
	m[5] = 'X';
	printf("page 0: %c%c\n", m[0], m[5]);
	printf("page 1: %d\n", m[PAGE + 7]);
	done(pid);
	printf("through the other view: %c%c\n", view[0], view[5]);
	char buffer[4];
	say("read of a hole raises nothing", pread(memory, buffer, 4, 6 * PAGE));
	say("write to a hole raises nothing", pwrite(memory, "yes", 3, 6 * PAGE));
	printf("page 6: %s\n", m + 6 * PAGE);
	struct stat status;
	fstat(memory, &status);
	say("blocks", status.st_blocks);
	pid = handler(fd, m, 1, by_copy_that_wakes);
	printf("page 7: %c\n", m[7 * PAGE]);
	done(pid);
	copied("unaligned", fd, m + 1, source, PAGE, 0);
	copied("no length", fd, m, source, 0, 0);
	copied("unknown mode", fd, m, source, PAGE, 0x80);
	copied("not mapped", fd, (void *)0x10000, source, PAGE, 0);
	copied("not registered", fd, view, source, PAGE, 0);
	copied("there already", fd, m, source, PAGE, 0);
	copied("from nowhere", fd, m + 4 * PAGE, (void *)0x10000, PAGE, 0);
	copied("one, and one that is there", fd, m + 4 * PAGE, source, 3 * PAGE, 0);
	if (ftruncate(memory, 5 * PAGE) < 0)
		exit(1);
	copied("beyond the end", fd, m + 6 * PAGE, source, PAGE, 0);
	zeroed("beyond the end", fd, m + 6 * PAGE, PAGE, 0);
	if (fallocate(memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2 * PAGE) < 0)
		exit(1);
	zeroed("two pages of a hole", fd, m, 2 * PAGE, 0);
	zeroed("again", fd, m, 2 * PAGE, 0);
	zeroed("unknown mode", fd, m, PAGE, 0x80);
	say("wake of nothing", wake(fd, m, PAGE));
	say("wake unaligned", wake(fd, m + 1, PAGE));
	close(fd);
	munmap(m, 8 * PAGE);
	munmap(view, 8 * PAGE);
	close(memory);

	char *a = anonymous(4 * PAGE);
	fd = ready(O_NONBLOCK, 0);
	reg(fd, a, 4 * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	pid = handler(fd, a, 3, by_turns);
	printf("anonymous, page 0: %c\n", a[0]);
	printf("anonymous, page 1: %d\n", a[PAGE]);
	a[PAGE] = 'z';
	a[2 * PAGE + 1] = 'b';
	printf("anonymous, page 2: %c%c, page 1: %c\n", a[2 * PAGE], a[2 * PAGE + 1], a[PAGE]);
	done(pid);
	continued("continue of anonymous", fd, a + 3 * PAGE, PAGE, 0);
	pid = handler(fd, a, 1, by_copy);
	madvise(a, PAGE, MADV_DONTNEED);
	printf("after MADV_DONTNEED: %c\n", a[0]);
	done(pid);
	close(fd);
	munmap(a, 4 * PAGE);

	/* The kernel on the program's behalf waits as the program does. */
	a = anonymous(4 * PAGE);
	fd = ready(O_NONBLOCK, 0);
	reg(fd, a, 4 * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	int pair = memfd_create("pair", 0);
	pid = handler(fd, a, 2, by_copy);
	say("write from a missing page", write(pair, a, 10));
	say("read to a missing page", pread(pair, a + PAGE, 10, 0));
	printf("%.10s\n", a + PAGE);
	done(pid);
	close(pair);
	close(fd);
	munmap(a, 4 * PAGE);
}

static void by_continue(int fd, char *page, int i) {
	(void)i;
	continued("  continue", fd, page, PAGE, UFFDIO_CONTINUE_MODE_DONTWAKE);
}

static void minor(void) {
	puts("-- H5");
	int fd = ready(O_NONBLOCK, 0), memory;
	char *m = shared_memory(6 * PAGE, &memory), *view = mmap(0, 6 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	memset(view, 'p', 3 * PAGE);
	reg(fd, m, 6 * PAGE, UFFDIO_REGISTER_MODE_MINOR);
	m[3 * PAGE] = 'h';
	printf("a hole: %c\n", m[3 * PAGE]);
	pid_t pid = handler(fd, m, 2, by_continue);
	printf("cached, read: %c\n", m[0]);
	m[PAGE] = 'q';
	printf("cached, written: %c%c\n", m[PAGE], m[PAGE + 1]);
	done(pid);
	printf("through the other view: %c\n", view[PAGE]);
	continued("mapped already", fd, m, PAGE, 0);
	continued("a hole", fd, m + 4 * PAGE, PAGE, 0);
	continued("not registered", fd, view, PAGE, 0);
	continued("one, and one that is mapped", fd, m + 2 * PAGE, 2 * PAGE, 0);
	continued("no length", fd, m, 0, 0);
	continued("unknown mode", fd, m, PAGE, 0x80);
	close(fd);
	munmap(m, 6 * PAGE);
	munmap(view, 6 * PAGE);
	close(memory);
}

static void by_nothing_first(int fd, char *page, int i) {
	if (i)
		by_copy(fd, page, i);
}

static void waiting(void) {
	puts("-- H6");
	int fd = ready(O_NONBLOCK, 0);
	char *a = anonymous(4 * PAGE);
	reg(fd, a, 4 * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	struct uffd_msg message;
	say("nothing to read", read(fd, &message, sizeof message));
	say("too small a buffer", read(fd, &message, 8));
	struct pollfd p = { fd, POLLIN, 0 };
	say("nothing to poll", poll(&p, 1, 0));
	fflush(stdout);
	/* The parent unregisters what its child's registration... is not: a child's copy is not registered. */
	pid_t pid = fork();
	if (!pid) {
		a[0] = 'c';
		printf("a child's copy is not registered: %c\n", a[0]);
		fflush(stdout);
		_exit(0);
	}
	done(pid);
	/* Unregistered while the parent waits: it goes on with zeroes. */
	fflush(stdout);
	pid = fork();
	if (!pid) {
		message = next_fault(fd);
		say_message(&message, a);
		_exit(unreg(fd, a, PAGE) == 0 ? 0 : 1);
	}
	printf("unregistered under it: %d\n", a[0]);
	done(pid);
	/* Woken without a page, it faults again. */
	pid = handler(fd, a, 2, by_nothing_first);
	printf("woken twice: %c\n", a[PAGE]);
	done(pid);
	/* The last descriptor, the child's, is closed while the parent waits. */
	fflush(stdout);
	pid = fork();
	if (!pid) {
		message = next_fault(fd);
		say_message(&message, a);
		_exit(0);
	}
	close(fd);
	printf("closed under it: %d\n", a[2 * PAGE]);
	done(pid);
	munmap(a, 4 * PAGE);

	/* SIGBUS instead of messages. */
	fd = ready(O_NONBLOCK, UFFD_FEATURE_SIGBUS);
	a = anonymous(PAGE);
	reg(fd, a, PAGE, UFFDIO_REGISTER_MODE_MISSING);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		int own = ready(O_NONBLOCK, UFFD_FEATURE_SIGBUS);
		char *mine = anonymous(PAGE);
		reg(own, mine, PAGE, UFFDIO_REGISTER_MODE_MISSING);
		*(volatile char *)mine = 1;
		_exit(0);
	}
	int status;
	waitpid(pid, &status, 0);
	printf("SIGBUS: %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : -1);
	int memory = memfd_create("sigbus", 0);
	say("the kernel on its behalf", write(memory, a, 1));
	close(memory);
	close(fd);
	munmap(a, PAGE);

	/* For faults of ring 3 only. */
	fd = ready(O_NONBLOCK | UFFD_USER_MODE_ONLY, 0);
	a = anonymous(PAGE);
	reg(fd, a, PAGE, UFFDIO_REGISTER_MODE_MISSING);
	memory = memfd_create("ring3", 0);
	say("the kernel where only programs are answered", write(memory, a, 1));
	close(memory);
	close(fd);
	munmap(a, PAGE);

	/* Somebody who waits can be killed. */
	fd = ready(O_NONBLOCK, 0);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		int own = ready(O_NONBLOCK, 0);
		char *mine = anonymous(PAGE);
		reg(own, mine, PAGE, UFFDIO_REGISTER_MODE_MISSING);
		*(volatile char *)mine = 1;
		_exit(0);
	}
	usleep(20000);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	printf("killed: %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : -1);
	close(fd);
}

static void ranges(void) {
	puts("-- mappings that change");
	int fd = ready(O_NONBLOCK, 0);
	char *a = anonymous(8 * PAGE);
	reg(fd, a, 4 * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	copied("across the end of what is registered", fd, a + 3 * PAGE, source, 2 * PAGE, 0);
	munmap(a + PAGE, PAGE);
	copied("across a gap", fd, a, source, 3 * PAGE, 0);
	memset(source, 'm', PAGE);
	copied("below the gap", fd, a, source, PAGE, 0);
	char *moved = mremap(a, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, a + PAGE);
	say("moved", moved == a + PAGE);
	printf("content: %c\n", *moved);
	madvise(moved, PAGE, MADV_DONTNEED);
	printf("not registered any more: %d\n", *moved);
	mprotect(a + 2 * PAGE, PAGE, PROT_READ);
	copied("what was made read-only", fd, a + 2 * PAGE, source, PAGE, 0);
	printf("content: %c\n", a[2 * PAGE]);
	close(fd);
	munmap(a, 8 * PAGE);

	/* A file system that is full. */
	if (mkdir("/dev/shm/uffd-full", 0700) < 0 || mount("none", "/dev/shm/uffd-full", "tmpfs", 0, "size=8k") < 0) {
		perror("mount");
		return;
	}
	int file = open("/dev/shm/uffd-full/file", O_RDWR | O_CREAT, 0600);
	if (ftruncate(file, 4 * PAGE) < 0)
		exit(1);
	char *m = mmap(0, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	fd = ready(O_NONBLOCK, 0);
	reg(fd, m, 4 * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	copied("three pages where there is room for two", fd, m, source, 3 * PAGE, 0);
	copied("one more", fd, m + 2 * PAGE, source, PAGE, 0);
	zeroed("one more", fd, m + 2 * PAGE, PAGE, 0);
	close(fd);
	munmap(m, 4 * PAGE);
	close(file);
	umount("/dev/shm/uffd-full");
	rmdir("/dev/shm/uffd-full");
}

int main(void) {
	handshake();
	registration();
	missing();
	minor();
	waiting();
	ranges();
	return 0;
}
