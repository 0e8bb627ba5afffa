/* A call that waits looks at what it waits for before it looks at signals: one that comes with both has not been interrupted. */
#define _GNU_SOURCE
#include "common.h"
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static volatile sig_atomic_t caught;
static int ends[2];

static void count(int signal)
{
	(void)signal;
	caught++;
}

static const char *result(long value)
{
	static char text[24];

	if (value < 0)
		return strerrorname_np(errno);
	snprintf(text, sizeof(text), "%ld", value);
	return text;
}

/* A child that first writes, then signals, then ends: who waits for the pipe is woken by the first. */
static pid_t writer(void)
{
	pid_t child = once_asleep();

	if (child)
		return child;
	pid_t parent = getppid();

	if (write(ends[1], "x", 1) != 1)
		_exit(1);
	kill(parent, SIGUSR1);
	_exit(3);
}

static void reap(pid_t child)
{
	int status = 0;

	while (waitpid(child, &status, 0) < 0)
		;
	printf(", the child ended with %d\n", WEXITSTATUS(status));
}

int main(void)
{
	struct sigaction action = { .sa_handler = count };
	struct pollfd wanted;
	struct epoll_event event = { .events = EPOLLIN };
	char byte;
	int epoll = epoll_create1(0), status = 0;

	setvbuf(stdout, NULL, _IONBF, 0);
	if (pipe(ends) || epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event))
		return 1;
	sigaction(SIGCHLD, &action, NULL);
	for (int round = 0; round < 3; round++) {
		pid_t child = once_asleep();
		if (!child)
			_exit(7);
		caught = 0;
		long waited = waitpid(child, &status, 0);
		printf("waitpid returns %s with status %d, handlers: %d\n", waited == child ? "the child" : result(waited),
		       WEXITSTATUS(status), (int)caught);
	}
	signal(SIGCHLD, SIG_DFL);
	sigaction(SIGUSR1, &action, NULL);

	pid_t child = writer();
	printf("read: %s", result(read(ends[0], &byte, 1)));
	reap(child);
	child = writer();
	wanted = (struct pollfd){ .fd = ends[0], .events = POLLIN };
	printf("poll: %s", result(poll(&wanted, 1, -1)));
	reap(child);
	printf("read: %s\n", result(read(ends[0], &byte, 1)));
	child = writer();
	printf("epoll_wait: %s", result(epoll_wait(epoll, &event, 1, -1)));
	reap(child);
	printf("read: %s\n", result(read(ends[0], &byte, 1)));
	child = writer();
	fd_set set;
	FD_ZERO(&set);
	FD_SET(ends[0], &set);
	printf("select: %s", result(select(ends[0] + 1, &set, NULL, NULL, NULL)));
	reap(child);
	printf("read: %s\n", result(read(ends[0], &byte, 1)));

	/* What is left cannot be told where nothing can be written. */
	for (int which = 0; which < 2; which++) {
		struct timespec time = { 100, 0 };
		child = once_asleep();
		if (!child)
			_exit(kill(getppid(), SIGUSR1));
		if (which)
			printf("nanosleep: %s\n", result(syscall(SYS_nanosleep, &time, (void *)16)));
		else
			printf("clock_nanosleep: %s\n", result(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &time, (void *)16)));
		waitpid(child, NULL, 0);
	}
	return 0;
}
