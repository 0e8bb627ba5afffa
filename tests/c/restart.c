/* Calls that wait, and what comes in between: handlers with and without SA_RESTART, stops, and wake-ups for nothing just before a signal. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000LL
#define S 1000000000LL
/* Longer than the test takes, with room to see what is left of it. */
#define LONG 1000

static volatile sig_atomic_t caught;
static int ends[2], epoll, lock;
static unsigned *word;
static const char *fifo = "/tmp/restart_fifo", *locked = "/tmp/restart_lock";

static void count(int signal)
{
	(void)signal;
	caught++;
}

static void on(int signal, void (*handler)(int), int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

	sigaction(signal, &action, NULL);
}

static long long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * S + time.tv_nsec;
}

static void sleep_ns(long long ns)
{
	struct timespec time = {ns / S, ns % S};

	while (nanosleep(&time, &time))
		;
}

/* What all share, behind the futex: which call somebody is making, and which one somebody else is ready for, counted from 1; whom it waits for. */
enum { ABOUT = 16, READY, OTHER };

/* Until a process waits in its call: what /proc says of it. Or, after that, until it waits again, or has ended. */
static void until_asleep(pid_t pid, unsigned index)
{
	char name[64], text[512];

	while (((volatile unsigned *)word)[ABOUT] != index + 1)
		sleep_ns(MS);

	snprintf(name, sizeof(name), "/proc/%d/stat", pid);
	for (;;) {
		int file = open(name, O_RDONLY);
		ssize_t bytes = read(file, text, sizeof(text) - 1);

		close(file);
		text[bytes > 0 ? bytes : 0] = 0;
		char *end = strrchr(text, ')');
		if (end && (end[2] == 'S' || end[2] == 'Z'))
			return;
		sleep_ns(MS);
	}
}

/* What is left of a time, and the thousand seconds less what passed since. */
static const char *rest(long long left, long long since)
{
	static char text[32];

	if (left < 0)
		return "";
	snprintf(text, sizeof(text), ", %s left", left <= LONG * S - (now() - since) + S && left > (LONG - 100) * S ? "the rest" : "not what is");
	return text;
}

/* The calls: each waits until something that `satisfy` does, or for long. Returns what is left, -1 if nobody says. */
static long result;

static long long call_nanosleep(void)
{
	struct timespec time = {LONG, 0}, left = {0, 0};

	result = syscall(SYS_nanosleep, &time, &left);
	return left.tv_sec * S + left.tv_nsec;
}

static long long call_clock_nanosleep(void)
{
	struct timespec time = {LONG, 0}, left = {0, 0};

	result = syscall(SYS_clock_nanosleep, CLOCK_REALTIME, 0, &time, &left);
	return left.tv_sec * S + left.tv_nsec;
}

static long long call_sleep_until(void)
{
	struct timespec time, left = {0, 77};

	clock_gettime(CLOCK_MONOTONIC, &time);
	time.tv_sec += LONG;
	result = syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &time, &left);
	printf(" (untouched %ld)", left.tv_nsec);
	return -1;
}

static long long call_poll(void)
{
	struct pollfd fd = {ends[0], POLLIN, 0};

	result = syscall(SYS_poll, &fd, 1, LONG * 1000);
	return -1;
}

static long long call_ppoll(void)
{
	struct pollfd fd = {ends[0], POLLIN, 0};
	struct timespec time = {LONG, 0};

	result = syscall(SYS_ppoll, &fd, 1, &time, NULL, 8);
	return time.tv_sec * S + time.tv_nsec;
}

static long long call_select(void)
{
	struct timeval time = {LONG, 0};
	fd_set set;

	FD_ZERO(&set);
	FD_SET(ends[0], &set);
	result = syscall(SYS_select, ends[0] + 1, &set, NULL, NULL, &time);
	return time.tv_sec * S + time.tv_usec * 1000;
}

static long long call_pselect(void)
{
	struct timespec time = {LONG, 0};
	fd_set set;

	FD_ZERO(&set);
	FD_SET(ends[0], &set);
	result = syscall(SYS_pselect6, ends[0] + 1, &set, NULL, NULL, &time, NULL);
	return time.tv_sec * S + time.tv_nsec;
}

static long long call_epoll(void)
{
	struct epoll_event event;

	result = syscall(SYS_epoll_wait, epoll, &event, 1, LONG * 1000);
	return -1;
}

static long long call_sigtimedwait(void)
{
	unsigned long set = 1UL << (SIGUSR2 - 1);
	struct timespec time = {LONG, 0};

	result = syscall(SYS_rt_sigtimedwait, &set, NULL, &time, 8);
	return -1;
}

static long long call_sigsuspend(void)
{
	unsigned long set = 0;

	result = syscall(SYS_rt_sigsuspend, &set, 8);
	return -1;
}

static long long call_pause(void)
{
	result = syscall(SYS_pause);
	return -1;
}

static long long call_futex(void)
{
	result = syscall(SYS_futex, word, FUTEX_WAIT, 0, NULL);
	return -1;
}

static long long call_futex_timed(void)
{
	struct timespec time = {LONG, 0};

	result = syscall(SYS_futex, word, FUTEX_WAIT, 0, &time);
	return -1;
}

static long long call_read(void)
{
	char byte;

	result = syscall(SYS_read, ends[0], &byte, 1);
	return -1;
}

static long long call_flock(void)
{
	result = flock(lock, LOCK_EX);
	flock(lock, LOCK_UN);
	return -1;
}

static long long call_setlkw(void)
{
	struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	result = fcntl(lock, F_SETLKW, &all);
	all.l_type = F_UNLCK;
	fcntl(lock, F_SETLK, &all);
	return -1;
}

static long long call_open(void)
{
	result = open(fifo, O_RDONLY);
	if (result >= 0) {
		close(result);
		result = 0;
	}
	return -1;
}

static pid_t other;

static long long call_wait(void)
{
	int status;

	result = syscall(SYS_wait4, other, &status, 0, NULL) == other ? status : -1;
	return -1;
}

enum { PLAIN = 1, AGAIN = 2, STOP = 4, ALL = 7 };

static const struct {
	const char *name;
	long long (*make)(void);
	/* Which of the three parts it is in: not all of each kind are in each. */
	int parts;
	/* Whether a stop ends it. */
	int fails;
} calls[] = {
	{"nanosleep", call_nanosleep, ALL},
	{"clock_nanosleep", call_clock_nanosleep, PLAIN},
	{"sleep until", call_sleep_until, PLAIN},
	{"poll", call_poll, PLAIN},
	{"ppoll", call_ppoll, ALL},
	{"select", call_select, PLAIN},
	{"pselect6", call_pselect, STOP},
	{"epoll_wait", call_epoll, ALL, 1},
	{"rt_sigtimedwait", call_sigtimedwait, PLAIN | STOP, 1},
	{"rt_sigsuspend", call_sigsuspend, AGAIN | STOP},
	{"pause", call_pause, PLAIN},
	{"futex", call_futex, AGAIN},
	{"futex for a time", call_futex_timed, AGAIN | STOP},
	{"read", call_read, ALL},
	{"flock", call_flock, AGAIN},
	{"F_SETLKW", call_setlkw, ALL},
	{"open of a FIFO", call_open, AGAIN},
	{"wait4", call_wait, AGAIN | STOP},
};

#define CALLS (sizeof(calls) / sizeof(*calls))

/* What the calls wait for that no handler ends. */
static int satisfies(unsigned index)
{
	long long (*make)(void) = calls[index].make;

	return make == call_futex || make == call_read || make == call_flock || make == call_setlkw || make == call_open || make == call_wait;
}

/* Somebody to wait for. */
static void begin_other(void)
{
	other = fork();
	if (other == 0)
		for (;;)
			pause();
	word[OTHER] = other;
}

static void end_other(void)
{
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
}

/* Lets a call end that a process waits in. What it opens, it has from then on. */
static int satisfy(unsigned index, int own)
{
	long long (*make)(void) = calls[index].make;
	struct flock all = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

	if (make == call_read)
		write(ends[1], "x", 1);
	if (make == call_wait)
		kill(word[OTHER], SIGTERM);
	if (make == call_futex)
		while (syscall(SYS_futex, word, FUTEX_WAKE, 1) == 0)
			sleep_ns(MS);
	flock(own, LOCK_UN);
	fcntl(own, F_SETLK, &all);
	return make == call_open ? open(fifo, O_WRONLY) : -1;
}

/* Sends a signal whenever another process waits in its call, and lets the call end if it is made again. */
static void helper(pid_t whom, int part)
{
	int own = open(locked, O_RDWR);

	for (unsigned index = 0; index < CALLS; index++) {
		struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

		if (!(calls[index].parts & part))
			continue;
		flock(own, LOCK_EX);
		fcntl(own, F_SETLKW, &all);
		word[READY] = index + 1;
		until_asleep(whom, index);
		kill(whom, SIGUSR1);
		int opened = -1;
		if (part == AGAIN && satisfies(index)) {
			until_asleep(whom, index);
			opened = satisfy(index, own);
		}
		/* What it holds is in nobody's way once the call is over. */
		while (((volatile unsigned *)word)[ABOUT] == index + 1)
			sleep_ns(MS);
		close(opened);
	}
	_exit(0);
}

static void told(unsigned index, long long since, long long left, int error)
{
	printf("%s: %ld %s, caught %d%s\n", calls[index].name, result, result < 0 ? strerrorname_np(error) : "", caught, rest(left, since));
}

/* Makes a call, and tells what it came to. */
static void make(unsigned index)
{
	if (calls[index].make == call_wait)
		begin_other();
	caught = 0;
	word[ABOUT] = index + 1;
	long long since = now(), left = calls[index].make();
	int error = errno;
	word[ABOUT] = 0;
	if (calls[index].make == call_wait && result < 0)
		end_other();
	told(index, since, left, error);
}

/* A handler in the middle. */
static void handlers(int part, int flags)
{
	pid_t own = getpid(), child = fork();

	if (child == 0)
		helper(own, part);
	printf("handlers, %s\n", flags ? "SA_RESTART" : "plain");
	on(SIGUSR1, count, flags);
	for (unsigned index = 0; index < CALLS; index++) {
		if (!(calls[index].parts & part))
			continue;
		while (((volatile unsigned *)word)[READY] != index + 1)
			sleep_ns(MS);
		make(index);
	}
	waitpid(child, NULL, 0);
}

/* A stop in the middle: most calls go on for the rest of their time, and end by a handler then. */
static void stops(void)
{
	int status, own = open(locked, O_RDWR);
	struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	puts("stops");
	flock(own, LOCK_EX);
	fcntl(own, F_SETLK, &all);
	on(SIGUSR1, count, 0);
	pid_t child = fork();
	if (child == 0) {
		for (unsigned index = 0; index < CALLS; index++)
			if (calls[index].parts & STOP) {
				while (((volatile unsigned *)word)[READY] != index + 1)
					sleep_ns(MS);
				make(index);
			}
		fflush(stdout);
		_exit(0);
	}
	for (unsigned index = 0; index < CALLS; index++) {
		if (!(calls[index].parts & STOP))
			continue;
		word[READY] = index + 1;
		until_asleep(child, index);
		kill(child, SIGSTOP);
		waitpid(child, &status, WUNTRACED);
		kill(child, SIGCONT);
		if (calls[index].fails)
			while (((volatile unsigned *)word)[ABOUT] == index + 1)
				sleep_ns(MS);
		else {
			until_asleep(child, index);
			kill(child, SIGUSR1);
		}
	}
	waitpid(child, &status, 0);
	close(own);
}

/* A handler that sleeps itself, and for a moment only. */
static void brief(int signal)
{
	(void)signal;
	struct timespec moment = {0, 1000};

	caught++;
	nanosleep(&moment, NULL);
}

/*
 * Two processes are woken by each byte, of which one gets it; the other waits again, and the signal comes around then. What its call remembers of
 * its time must not be found by the handler's, and a signal that comes between two attempts must end the call.
 */
static void crowd(void)
{
	static volatile int *shared;
	pid_t child[2];

	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	puts("a crowd");
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	on(SIGUSR1, brief, 0);
	for (int index = 0; index < 2; index++) {
		child[index] = fork();
		if (child[index] == 0) {
			sigset_t none;
			struct timespec time = {LONG, 0};
			char byte;

			sigemptyset(&none);
			caught = 0;
			alarm(60);
			while (!shared[8]) {
				struct pollfd fd = {ends[0], POLLIN, 0};

				ppoll(&fd, 1, &time, &none);
				read(ends[0], &byte, 1);
				shared[index] = caught;
			}
			_exit(0);
		}
	}
	for (int round = 0; round < 3; round++) {
		int before[2] = {shared[0], shared[1]};

		write(ends[1], "x", 1);
		sleep_ns(round * 1000000 + 2000000);
		for (int index = 0; index < 2; index++)
			kill(child[index], SIGUSR1);
		/* Each comes back from its call, whenever the signal came. */
		for (int index = 0; index < 2; index++)
			while (shared[index] == before[index] && waitpid(child[index], NULL, WNOHANG) == 0)
				sleep_ns(100000);
	}
	shared[8] = 1;
	for (int index = 0; index < 2; index++) {
		int status = -1;

		while (waitpid(child[index], &status, WNOHANG) == 0) {
			kill(child[index], SIGUSR1);
			sleep_ns(MS);
		}
		printf("status %x\n", status);
	}
}

int main(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	sigset_t set;

	setvbuf(stdout, NULL, _IOLBF, 0);
	alarm(100);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	pipe(ends);
	epoll = epoll_create1(0);
	epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event);
	word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	lock = open(locked, O_RDWR | O_CREAT, 0600);
	unlink(fifo);
	mkfifo(fifo, 0600);
	handlers(PLAIN, 0);
	handlers(AGAIN, SA_RESTART);
	stops();
	crowd();
	unlink(fifo);
	unlink(locked);
	return 0;
}
