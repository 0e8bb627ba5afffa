/* Processes named by descriptors and by the numbers of their threads, and tables of descriptors that are not shared any more. */
#define _GNU_SOURCE
#include "common.h"
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static volatile sig_atomic_t caught;

static void count(int signal)
{
	(void)signal;
	caught++;
}

/* A child that waits to be told to end; its number, and the end to tell it by. */
static pid_t waiting(int *tell)
{
	int ends[2];

	must(!pipe(ends), "pipe");
	fflush(stdout);
	pid_t child = fork();
	if (!child) {
		char byte;
		close(ends[1]);
		_exit(read(ends[0], &byte, 1) == 1 ? 5 : 6);
	}
	close(ends[0]);
	*tell = ends[1];
	return child;
}

static long cloned(unsigned long flags, int *pidfd)
{
	fflush(stdout);
	long child = syscall(SYS_clone, flags, NULL, pidfd, NULL, 0);
	if (!child) {
		pause();
		_exit(0);
	}
	return child;
}

/* CLONE_PIDFD, by both calls. */
static void clones(void)
{
	int pidfd = -1, status;
	long child = cloned(CLONE_PIDFD | SIGCHLD, &pidfd);

	printf("clone: a child %d, a descriptor %d, closed by execve %d\n", child > 0, pidfd > 2, fcntl(pidfd, F_GETFD));
	say("a signal through it", syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0));
	waitpid(child, &status, 0);
	say("it ended by", WTERMSIG(status));
	say("another signal", syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0));
	close(pidfd);
	say("in one place", syscall(SYS_clone, CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, NULL, &pidfd, NULL, 0));
	say("detached", syscall(SYS_clone, CLONE_PIDFD | CLONE_DETACHED | SIGCHLD, NULL, &pidfd, NULL, 0));
	say("nowhere", syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, NULL, (void *)16, NULL, 0));
	say("and no child", waitpid(-1, &status, 0));
	/* Nor a descriptor. */
	int next = dup(0);
	pidfd = -1;
	struct clone_args args = { .flags = CLONE_PIDFD, .pidfd = (unsigned long)&pidfd, .exit_signal = SIGCHLD };
	fflush(stdout);
	child = syscall(SYS_clone3, &args, sizeof(args));
	if (!child)
		_exit(fcntl(next + 1, F_GETFD) < 0 ? 9 : 8);
	printf("clone3: the next descriptor %d\n", pidfd == next + 1);
	waitpid(child, &status, 0);
	say("which the child has not", WEXITSTATUS(status));
	close(pidfd);
	close(next);
}

static void waits(void)
{
	int tell, file = open("/dev/null", O_RDONLY);
	siginfo_t info;
	pid_t child = waiting(&tell);
	int pidfd = syscall(SYS_pidfd_open, child, O_NONBLOCK);
	char path[32];

	say("waitid that does not wait", waitid(P_PIDFD, pidfd, &info, WEXITED));
	say("of a file", waitid(P_PIDFD, file, &info, WEXITED));
	snprintf(path, sizeof(path), "/proc/%d", child);
	int directory = open(path, O_RDONLY | O_DIRECTORY);
	say("a signal by /proc", syscall(SYS_pidfd_send_signal, directory, 0, NULL, 0));
	say("waitid by /proc", waitid(P_PIDFD, directory, &info, WEXITED));
	say("a signal to a file", syscall(SYS_pidfd_send_signal, file, 0, NULL, 0));
	int proc = open("/proc", O_RDONLY | O_DIRECTORY);
	say("a signal to all of /proc", syscall(SYS_pidfd_send_signal, proc, 0, NULL, 0));

	struct stat own, got;
	int taken = syscall(SYS_pidfd_getfd, pidfd, 0, 0);
	printf("its input is here: %d, closed by execve %d\n",
	       taken >= 0 && !fstat(0, &own) && !fstat(taken, &got) && own.st_ino == got.st_ino && own.st_dev == got.st_dev,
	       fcntl(taken, F_GETFD));
	say("one that it has not", syscall(SYS_pidfd_getfd, pidfd, 999, 0));
	say("with flags", syscall(SYS_pidfd_getfd, pidfd, 0, 1));
	say("of a file", syscall(SYS_pidfd_getfd, file, 0, 0));
	close(tell);
	int status;
	waitpid(child, &status, 0);
	say("it ended with", WEXITSTATUS(status));
	say("one of nobody", syscall(SYS_pidfd_getfd, pidfd, 0, 0));
	say("a signal by what was in /proc", syscall(SYS_pidfd_send_signal, directory, 0, NULL, 0));
	close(pidfd);
	close(directory);
	close(file);
	close(proc);
	close(taken);
}

static void *by_number(void *unused)
{
	siginfo_t info = { .si_signo = SIGUSR1, .si_code = SI_QUEUE };

	say("kill by a thread's number", kill(gettid(), SIGUSR1));
	say("sigqueue by it", syscall(SYS_rt_sigqueueinfo, gettid(), SIGUSR1, &info));
	return unused;
}

static int unshares(void *descriptor)
{
	int own = *(int *)descriptor;

	if (syscall(SYS_close_range, own, own, 8 | CLOSE_RANGE_UNSHARE) >= 0)
		_exit(1);
	if (syscall(SYS_close_range, own, own, CLOSE_RANGE_UNSHARE))
		_exit(2);
	_exit(fcntl(own, F_GETFD) < 0 ? 7 : 3);
}

static void tables(void)
{
	static char stack[65536] __attribute__((aligned(16)));
	int status, descriptor = dup(0), ends[2];
	char byte = 'x';
	struct iovec vector = { &byte, 1 };

	fflush(stdout);
	pid_t child = clone(unshares, stack + sizeof(stack), CLONE_FILES | SIGCHLD, &descriptor);
	waitpid(child, &status, 0);
	say("closed in the child alone", WEXITSTATUS(status));
	say("here it is open", fcntl(descriptor, F_GETFD));
	must(!pipe(ends), "pipe");
	say("pwritev2 at an offset of the end to read", pwritev2(ends[0], &vector, 1, 0, 0));
	say("preadv2 of the end to write", preadv2(ends[1], &vector, 1, 0, 0));
	say("pwritev2 to the end to read", pwritev2(ends[0], &vector, 1, -1, 0));
	int file = open("/dev/null", O_RDONLY);
	say("to a file that is read, with flags that are none", pwritev2(file, &vector, 1, 0, 0x800000));
}

int main(void)
{
	pthread_t thread;

	signal(SIGUSR1, count);
	clones();
	waits();
	must(!pthread_create(&thread, NULL, by_number, NULL), "pthread_create");
	pthread_join(thread, NULL);
	say("handlers", caught);
	tables();
	return 0;
}
