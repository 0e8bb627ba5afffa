/* Every pointer of every call, in turn, is one that a program should not pass. What comes of it is printed: the error, or how much was done; what was read
 * or written then shows in the file's position and size. It is the same on Linux. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
/* In the place of an argument: a buffer of its own for each, a path, another that is not there, one that cannot be executed. Bits 4 to 7 of a buffer number it. */
#define AT 0x7ab1e00
#define B(n) (AT + (n) * 0x10)
#define P (AT + 0x100)
#define Q (AT + 0x101)
#define X (AT + 0x104)
#define BUFFERS 5

static char *buffers, *path, *other, *program, *text;
static int file, directory, pipes[2], epoll, event;
static int timer;
static sigjmp_buf escape;

enum kind { NUL, KERNEL, STRANGE, TOP, UNMAPPED, UNREADABLE, READ_ONLY, LAST, LAST_FOUR, BEYOND, ODD, KINDS };
static const char *const kind_names[KINDS] = {
	"null", "of the kernel", "not canonical", "of no program", "unmapped", "without rights", "read-only", "the last byte", "the last four bytes",
	"beyond the end of a file", "odd",
};
static long values[KINDS];
/* Where success would do harm: only pointers that nothing can be read from. */
#define NOT_READABLE (1 << NUL | 1 << KERNEL | 1 << STRANGE | 1 << UNMAPPED | 1 << UNREADABLE | 1 << BEYOND)
#define NO_MEMORY (1 << NUL | 1 << KERNEL | 1 << STRANGE | 1 << UNMAPPED)

/* What a call needs beforehand. */
enum need { NOTHING, FULL_PIPE, ZOMBIE, IOVEC, SIGMASK_OF_SELECT, POINTERS, READY, SIGNALLED };

struct call {
	const char *name;
	long number;
	/* Which arguments are pointers, a bit each. */
	unsigned pointers;
	long args[6];
	enum need need;
	/* Kinds to be left out, if not none. */
	unsigned only;
	/* The pointer in question is not the argument, but at this offset of what it points to, if not 0; that plus 1. */
	int inside;
	/* Files and pipes: how much was done is told. */
	int tell;
};

#define C(name, pointers, ...) { #name, SYS_##name, pointers, { __VA_ARGS__ } }
/* What is done to a file or a pipe, as far as it comes. */
#define T(name, pointers, ...) { #name, SYS_##name, pointers, { __VA_ARGS__ }, FULL_PIPE, 0, 0, 1 }
/* What would wait, but for something that is ready. */
#define R(name, pointers, ...) { #name, SYS_##name, pointers, { __VA_ARGS__ }, READY }
#define FILE 20
#define DIRECTORY 21
#define PIPE_OUT 22
#define PIPE_IN 23
#define EPOLL 24
#define EVENT 25
#define TIMER (AT + 0x102)
#define SEGMENT (AT + 0x103)

static const struct call calls[] = {
	T(read, 2, FILE, B(0), 9), T(write, 2, FILE, B(0), 9), T(pread64, 2, FILE, B(0), 9, 1), T(pwrite64, 2, FILE, B(0), 9, 5),
	T(read, 2, PIPE_OUT, B(0), 9), T(write, 2, PIPE_IN, B(0), 9), T(read, 2, FILE, B(0), 0), T(write, 2, FILE, B(0), 0),
	T(read, 2, EVENT, B(0), 8), T(write, 2, EVENT, B(0), 8), T(read, 2, FILE, B(0), 3),
	{ "readv", SYS_readv, 2, { FILE, B(0), 2 }, IOVEC, 0, 0, 1 }, { "writev", SYS_writev, 2, { FILE, B(0), 2 }, IOVEC, 0, 0, 1 },
	{ "readv into", SYS_readv, 2, { FILE, B(0), 2 }, IOVEC, 0, 1, 1 }, { "writev from", SYS_writev, 2, { FILE, B(0), 2 }, IOVEC, 0, 1, 1 },
	{ "readv into the second", SYS_readv, 2, { FILE, B(0), 2 }, IOVEC, 0, 17, 1 },
	{ "writev from the second", SYS_writev, 2, { FILE, B(0), 2 }, IOVEC, 0, 17, 1 },
	{ "readv of a pipe", SYS_readv, 2, { PIPE_OUT, B(0), 2 }, IOVEC, 0, 17, 1 }, { "writev to a pipe", SYS_writev, 2, { PIPE_IN, B(0), 2 }, IOVEC, 0, 17, 1 },
	{ "preadv", SYS_preadv, 2, { FILE, B(0), 2, 1 }, IOVEC, 0, 17, 1 }, { "pwritev", SYS_pwritev, 2, { FILE, B(0), 2, 1 }, IOVEC, 0, 17, 1 },
	{ "preadv2", SYS_preadv2, 2, { FILE, B(0), 2, 1, 0, 0 }, IOVEC, 0, 0, 1 }, { "pwritev2", SYS_pwritev2, 2, { FILE, B(0), 2, -1, 0, 0 }, IOVEC, 0, 0, 1 },
	{ "vmsplice", SYS_vmsplice, 2, { PIPE_IN, B(0), 2, 0 }, IOVEC, 0, 0, 1 }, { "vmsplice from", SYS_vmsplice, 2, { PIPE_IN, B(0), 2, 0 }, IOVEC, 0, 17, 1 },
	{ "vmsplice into", SYS_vmsplice, 2, { PIPE_OUT, B(0), 2, 0 }, IOVEC, 0, 17, 1 },
	T(sendfile, 4, PIPE_IN, FILE, B(0), 5), T(splice, 2, FILE, B(0), PIPE_IN, 0, 5, 0), T(splice, 8, PIPE_OUT, 0, FILE, B(0), 5, 0),
	T(copy_file_range, 10, FILE, B(0), FILE, B(1), 2, 0), C(getdents64, 2, DIRECTORY, B(0), 24), C(getdents64, 2, DIRECTORY, B(0), 512),
	C(open, 1, P, O_RDONLY), C(openat, 2, AT_FDCWD, P, O_RDONLY), C(creat, 1, P, 0600), C(stat, 3, P, B(0)), C(lstat, 3, P, B(0)), C(fstat, 2, FILE, B(0)),
	C(newfstatat, 6, AT_FDCWD, P, B(0), 0), C(newfstatat, 6, FILE, P, B(0), AT_EMPTY_PATH), C(statx, 18, AT_FDCWD, P, 0, 0x7ff, B(0)),
	C(statx, 18, FILE, P, AT_EMPTY_PATH, 0x7ff, B(0)), C(statfs, 3, P, B(0)), C(fstatfs, 2, FILE, B(0)), C(access, 1, P, 0),
	C(faccessat, 2, AT_FDCWD, P, 0), C(faccessat2, 2, AT_FDCWD, P, 0, 0), C(chmod, 1, P, 0700), C(fchmodat, 2, AT_FDCWD, P, 0700), C(chown, 1, P, -1, -1),
	C(lchown, 1, P, -1, -1), C(fchownat, 2, AT_FDCWD, P, -1, -1, 0), C(utimensat, 6, AT_FDCWD, P, B(0), 0), C(truncate, 1, P, 9), C(mkdir, 1, P, 0700), C(mkdirat, 2, AT_FDCWD, P, 0700), C(rmdir, 1, Q), C(unlink, 1, Q),
	C(unlinkat, 2, AT_FDCWD, Q, 0), C(rename, 3, P, P), C(renameat, 10, AT_FDCWD, P, AT_FDCWD, P), C(renameat2, 10, AT_FDCWD, P, AT_FDCWD, P, 0),
	C(link, 3, P, P), C(linkat, 10, AT_FDCWD, P, AT_FDCWD, P, 0), C(symlink, 3, P, P), C(symlinkat, 5, P, AT_FDCWD, P), C(readlink, 3, Q, B(0), 9),
	C(readlinkat, 6, AT_FDCWD, Q, B(0), 9), C(mknod, 1, P, S_IFREG | 0600, 0), C(mknodat, 2, AT_FDCWD, P, S_IFREG | 0600, 0), C(chdir, 1, P),
	C(getcwd, 1, B(0), 512), C(getcwd, 1, B(0), 2), C(swapon, 1, P, 0), C(swapoff, 1, P), C(umount2, 1, P, 0),
	C(mount, 23, B(1), P, Q, 0, B(2)), C(memfd_create, 1, P, 0), C(setxattr, 7, P, B(4), B(0), 4, 0), C(getxattr, 7, P, B(4), B(0), 9),
	C(fsetxattr, 6, FILE, B(4), B(0), 4, 0), C(fgetxattr, 6, FILE, B(4), B(0), 9), C(listxattr, 3, P, B(0), 64), C(flistxattr, 2, FILE, B(0), 64),
	C(removexattr, 3, P, Q), C(fcntl, 4, FILE, F_GETLK, B(0)), C(fcntl, 4, FILE, F_SETLK, B(0)), C(fcntl, 4, FILE, F_OFD_GETLK, B(0)),
	C(ioctl, 4, PIPE_OUT, FIONREAD, B(0)), C(ioctl, 4, FILE, TCGETS, B(0)), C(pipe, 1, B(0)), C(pipe2, 1, B(0), 0), C(poll, 1, B(0), 1, 0),
	C(poll, 1, B(0), 0, 0), R(ppoll, 13, B(0), 1, B(1), B(2), 8), R(select, 30, 30, B(0), B(1), B(2), B(3)),
	R(pselect6, 62, 30, B(0), B(1), B(2), B(3), B(4)), { "pselect6 mask", SYS_pselect6, 32, { 0, 0, 0, 0, B(3), B(0) }, SIGMASK_OF_SELECT, 0, 1 },
	C(epoll_ctl, 8, EPOLL, EPOLL_CTL_MOD, EVENT, B(0)), C(epoll_ctl, 8, EPOLL, EPOLL_CTL_DEL, EVENT + 100, B(0)), C(epoll_wait, 2, EPOLL, B(0), 2, 0),
	C(epoll_pwait, 18, EPOLL, B(0), 2, 0, B(1), 8), C(mincore, 5, B(0), PAGE, B(1)), C(madvise, 1, B(0), PAGE, MADV_NORMAL), C(msync, 1, B(0), PAGE, MS_ASYNC),
	C(mlock, 1, B(0), PAGE), C(munlock, 1, B(0), PAGE), { "munmap", SYS_munmap, 1, { B(0), PAGE }, NOTHING, NO_MEMORY },
	{ "mprotect", SYS_mprotect, 1, { B(0), PAGE, PROT_READ }, NOTHING, NO_MEMORY },
	{ "mremap", SYS_mremap, 17, { B(0), PAGE, PAGE, MREMAP_MAYMOVE, 0 }, NOTHING, NO_MEMORY }, C(brk, 1, B(0)),
	C(nanosleep, 3, B(0), B(1)), C(clock_nanosleep, 12, CLOCK_MONOTONIC, 0, B(0), B(1)), C(clock_nanosleep, 4, 77, 0, B(0), B(1)),
	C(clock_gettime, 2, CLOCK_MONOTONIC, B(0)), C(clock_gettime, 2, 77, B(0)), C(clock_getres, 2, CLOCK_MONOTONIC, B(0)), C(clock_settime, 2, CLOCK_MONOTONIC, B(0)),
	C(gettimeofday, 3, B(0), B(1)), C(time, 1, B(0)), C(times, 1, B(0)), C(getitimer, 2, ITIMER_REAL, B(0)), C(setitimer, 6, ITIMER_REAL, B(0), B(1)),
	C(timer_create, 6, CLOCK_MONOTONIC, B(0), B(1)), C(timer_create, 4, CLOCK_MONOTONIC, 0, B(1)), C(timer_settime, 12, TIMER, 0, B(0), B(1)),
	C(timer_gettime, 2, TIMER, B(0)), C(getrlimit, 2, RLIMIT_NOFILE, B(0)), { "setrlimit", SYS_setrlimit, 2, { RLIMIT_CORE, B(0) }, NOTHING, NOT_READABLE },
	C(prlimit64, 8, 0, RLIMIT_NOFILE, 0, B(0)), { "prlimit64", SYS_prlimit64, 4, { 0, RLIMIT_CORE, B(0), 0 }, NOTHING, NOT_READABLE },
	C(getrusage, 2, 0, B(0)), C(sysinfo, 1, B(0)), C(uname, 1, B(0)), C(getcpu, 3, B(0), B(1)), C(getrandom, 1, B(0), 9, 0),
	C(rt_sigaction, 6, SIGUSR1, B(0), B(1), 8), C(rt_sigaction, 4, SIGUSR1, 0, B(1), 8), C(rt_sigprocmask, 6, SIG_BLOCK, B(0), B(1), 8),
	C(rt_sigpending, 1, B(0), 8), C(sigaltstack, 3, B(0), B(1)), { "rt_sigtimedwait", SYS_rt_sigtimedwait, 7, { B(0), B(1), B(2), 8 }, SIGNALLED },
	C(rt_sigqueueinfo, 4, 0, SIGUSR1, B(0)), C(rt_tgsigqueueinfo, 8, 0, 0, SIGUSR1, B(0)),
	{ "rt_sigsuspend", SYS_rt_sigsuspend, 1, { B(0), 8 }, NOTHING, NOT_READABLE }, C(sched_getaffinity, 4, 0, 8, B(0)), C(sched_setaffinity, 4, 0, 8, B(0)),
	C(sched_getparam, 2, 0, B(0)), C(sched_setparam, 2, 0, B(0)), C(sched_setscheduler, 4, 0, 0, B(0)), C(sched_rr_get_interval, 2, 0, B(0)),
	C(getresuid, 7, B(0), B(1), B(2)), C(getresgid, 7, B(0), B(1), B(2)), C(getgroups, 2, 64, B(0)),
	{ "setgroups", SYS_setgroups, 2, { 1, B(0) }, NOTHING, NOT_READABLE }, C(setgroups, 2, 65537, B(0)), C(utime, 3, P, B(0)), C(utimes, 3, P, B(0)),
	C(futimesat, 6, AT_FDCWD, P, B(0)),
	C(get_robust_list, 6, 0, B(0), B(1)), C(set_robust_list, 1, B(0), 23),
	{ "wait4", SYS_wait4, 10, { -1, B(0), WNOHANG, B(1) }, ZOMBIE }, { "waitid", SYS_waitid, 20, { P_ALL, 0, B(0), WEXITED | WNOHANG, B(1) }, ZOMBIE },
	C(wait4, 10, -1, B(0), WNOHANG, B(1)), C(waitid, 20, P_ALL, 0, B(0), WEXITED | WNOHANG, B(1)), C(futex, 1, B(0), FUTEX_WAIT, 12345, 0),
	C(futex, 1, B(0), FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 12345, 0), C(futex, 1, B(0), FUTEX_WAKE, 1), C(futex, 1, B(0), FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1),
	{ "futex", SYS_futex, 8, { B(0), FUTEX_WAIT, 0, B(1) }, NOTHING, ~1u }, C(futex, 17, B(0), FUTEX_REQUEUE, 1, 1, B(1)), C(futex, 17, B(0), FUTEX_CMP_REQUEUE, 1, 1, B(1), 0),
	C(futex, 17, B(0), FUTEX_WAKE_OP, 1, 1, B(1), 0), C(shmat, 2, SEGMENT, B(0), 0), C(shmdt, 1, B(0)), C(shmctl, 4, SEGMENT, IPC_STAT, B(0)),
	{ "shmctl", SYS_shmctl, 4, { SEGMENT, IPC_SET, B(0) }, NOTHING, NOT_READABLE }, C(shmctl, 4, 0, IPC_INFO, B(0)), C(shmctl, 4, 0, SHM_INFO, B(0)),
	C(execve, 1, P, 0, 0), C(execve, 6, X, B(0), B(1)), { "execve argument", SYS_execve, 2, { X, B(0), 0 }, POINTERS, 0, 1 },
	{ "clone3", SYS_clone3, 1, { B(0), 88 }, NOTHING, NOT_READABLE }, C(prctl, 2, 15, B(0)), C(prctl, 2, 16, B(0)), C(arch_prctl, 2, 0x1003, B(0)),
	C(userfaultfd, 0, -1),
};

static void on_fault(int signal)
{
	siglongjmp(escape, signal);
}

/* One that is not ignored can be waited for. */
static void on_usr1(int signal)
{
	(void)signal;
}

/* Files, pipes and buffers as they were. */
static void reset(const struct call *call)
{
	struct iovec vectors[2] = { { buffers + PAGE + 2048, 4 }, { buffers + PAGE + 3072, 5 } };
	char rest[16];

	for (int i = 0; i < BUFFERS; i++)
		memset(buffers + i * PAGE, 0, 96);
	memcpy(buffers + 4 * PAGE, "user.x", 7);
	switch (call->need) {
	case NOTHING:
		break;
	case ZOMBIE:
		if (fork() == 0)
			_exit(7);
		/* It has ended, and still is one. */
		waitid(P_ALL, 0, &(siginfo_t){ 0 }, WEXITED | WNOWAIT);
		break;
	case SIGMASK_OF_SELECT:
		((long *)buffers)[1] = 8;
		break;
	case POINTERS:
		break;
	case READY:
		/* For `ppoll` this is a descriptor and what is asked for, for others the set of them. */
		*(long *)buffers = call->number == SYS_ppoll ? event | (long)POLLIN << 32 : 1l << event;
		if (write(event, &(uint64_t){ 1 }, 8) != 8)
			exit(1);
		break;
	case SIGNALLED:
		*(long *)buffers = 1 << (SIGUSR1 - 1);
		sigprocmask(SIG_BLOCK, (sigset_t *)buffers, NULL);
		raise(SIGUSR1);
		break;
	case IOVEC:
		memcpy(buffers, vectors, sizeof vectors);
		memcpy(vectors[0].iov_base, "abcd", 4);
		memcpy(vectors[1].iov_base, "efghi", 5);
		/* fall through */
	case FULL_PIPE:
		while (read(pipes[0], rest, sizeof rest) > 0)
			;
		if (write(pipes[1], "pipe text", 9) != 9 || pwrite(file, "some text", 9, 0) != 9 || ftruncate(file, 9) != 0 || lseek(file, 0, SEEK_SET) != 0)
			exit(1);
		if (write(event, &(uint64_t){ 1 }, 8) != 8)
			exit(1);
	}
}

/* What stands for the argument that the table has. */
static long real(long argument)
{
	switch (argument) {
	case P:
		return (long)path;
	case Q:
		return (long)other;
	case X:
		return (long)program;
	case FILE:
		return file;
	case DIRECTORY:
		lseek(directory, 0, SEEK_SET);
		return directory;
	case PIPE_OUT:
		return pipes[0];
	case PIPE_IN:
		return pipes[1];
	case EPOLL:
		return epoll;
	case EVENT:
		return event;
	case TIMER:
		return timer;
	case SEGMENT:
		return values[KINDS - 1];
	}
	if (argument >= B(0) && argument < B(BUFFERS))
		return (long)buffers + (argument - AT) / 0x10 * PAGE;
	return argument;
}

static void attempt(const struct call *call, int argument, enum kind kind, int segment)
{
	long args[6], result;
	int caught, left, lowest;

	reset(call);
	for (int i = 0; i < 6; i++)
		args[i] = call->args[i] == SEGMENT ? segment : real(call->args[i]);
	if (call->inside)
		*(long *)(args[argument] + call->inside - 1) = values[kind];
	else
		args[argument] = values[kind];
	caught = sigsetjmp(escape, 1);
	if (caught == 0) {
		result = syscall(call->number, args[0], args[1], args[2], args[3], args[4], args[5]);
		printf("%s argument %d %s: ", call->name, argument + 1, kind_names[kind]);
		if (result < 0)
			printf("%s", strerrorname_np(errno));
		else if (call->tell)
			printf("%ld", result);
		else
			printf("fine");
	} else {
		printf("%s argument %d %s: signal %d", call->name, argument + 1, kind_names[kind], caught);
	}
	if (call->tell) {
		ioctl(pipes[0], FIONREAD, &left);
		printf(", at %ld of %ld, %d in the pipe", lseek(file, 0, SEEK_CUR), lseek(file, 0, SEEK_END), left);
	}
	if (call->need == ZOMBIE)
		printf(", %s", waitpid(-1, NULL, WNOHANG) > 0 ? "not reaped" : "reaped");
	/* What was opened, but by a call that says so. */
	lowest = dup(0);
	close(lowest);
	if (lowest != 9) {
		printf(", %d descriptors", lowest - 9);
		for (int i = 9; i < FILE; i++)
			close(i);
	}
	putchar('\n');
}

/* What a call did that others would notice: it may have made what is there, or have changed what is done with signals. */
static void undo(void)
{
	rmdir(path);
	chmod("pointers.file", 0700);
	setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL);
	sigprocmask(SIG_SETMASK, &(sigset_t){ 0 }, NULL);
	signal(SIGUSR1, on_usr1);
	sigaltstack(&(stack_t){ .ss_flags = SS_DISABLE }, NULL);
}

int main(void)
{
	struct epoll_event interest = { .events = EPOLLIN | EPOLLOUT };
	struct sigaction action = { .sa_handler = on_fault };
	char *area, *work = strdup("/dev/shm/pointers.XXXXXX");
	int segment = shmget(IPC_PRIVATE, PAGE, 0600), end;

	if (mkdtemp(work) == NULL || chdir(work) != 0)
		return 1;
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSYS, &action, NULL);
	signal(SIGUSR1, on_usr1);
	signal(SIGALRM, SIG_IGN);
	area = mmap(NULL, 64 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* Two pages with nothing after them; one that can only be read; one that cannot; buffers, a page each. */
	mprotect(area, 2 * PAGE, PROT_READ | PROT_WRITE);
	munmap(area + 2 * PAGE, 2 * PAGE);
	mprotect(area + 4 * PAGE, PAGE, PROT_READ);
	buffers = area + 16 * PAGE;
	mprotect(buffers, BUFFERS * PAGE, PROT_READ | PROT_WRITE);
	text = area + 32 * PAGE;
	mprotect(text, PAGE, PROT_READ | PROT_WRITE);
	path = strcpy(text, "pointers.file");
	other = strcpy(text + 256, "pointers.other");
	program = strcpy(text + 512, "pointers.program");
	end = open(program, O_WRONLY | O_CREAT, 0700);
	if (end < 0 || write(end, "no program", 10) != 10 || close(end) != 0)
		return 1;
	file = fcntl(open(path, O_RDWR | O_CREAT | O_TRUNC, 0700), F_DUPFD, FILE);
	end = open("pointers.end", O_RDWR | O_CREAT, 0600);
	if (file < 0 || write(file, "some text", 9) != 9 || ftruncate(end, PAGE) != 0)
		return 1;
	mmap(area + 48 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, end, 0);
	directory = fcntl(open(".", O_RDONLY | O_DIRECTORY), F_DUPFD, FILE);
	if (pipe2(pipes, O_NONBLOCK) != 0)
		return 1;
	for (int i = 0; i < 2; i++)
		pipes[i] = fcntl(pipes[i], F_DUPFD, FILE);
	event = fcntl(syscall(SYS_eventfd2, 0, O_NONBLOCK), F_DUPFD, FILE);
	epoll = fcntl(epoll_create1(0), F_DUPFD, FILE);
	epoll_ctl(epoll, EPOLL_CTL_ADD, event, &interest);
	/* What is opened by a call is number 9. */
	for (int i = 3; i < 9; i++)
		dup2(file, i);
	closefrom(40);
	for (int i = 9; i < FILE; i++)
		close(i);
	syscall(SYS_timer_create, CLOCK_MONOTONIC, NULL, &timer);
	values[KERNEL] = (long)0xffffffff80100000;
	values[STRANGE] = (long)0x8000000000000000;
	values[TOP] = 0x7ffffffff000;
	values[UNMAPPED] = (long)area + 3 * PAGE;
	values[UNREADABLE] = (long)area + 6 * PAGE;
	values[READ_ONLY] = (long)area + 4 * PAGE;
	values[LAST] = (long)area + 2 * PAGE - 1;
	values[LAST_FOUR] = (long)area + 2 * PAGE - 4;
	values[BEYOND] = (long)area + 49 * PAGE;
	values[ODD] = (long)area + PAGE + 1;
	for (unsigned i = 0; i < sizeof calls / sizeof *calls; undo(), i++)
		for (int argument = 0; argument < 6; argument++)
			for (enum kind kind = 0; kind < KINDS; kind++)
				if (calls[i].pointers >> argument & 1 && (calls[i].only == 0 || calls[i].only >> kind & 1)) {
					memset(area, 0, 64);
					memset(area + PAGE, 0, PAGE);
					attempt(&calls[i], argument, kind, segment);
				}
	shmctl(segment, IPC_RMID, NULL);
	unlink("pointers.file");
	unlink("pointers.end");
	unlink("pointers.program");
	return chdir("/") != 0 || rmdir(work) != 0;
}
