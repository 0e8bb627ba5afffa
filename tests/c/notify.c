/* Timers, signals and processes as descriptors; what is sent with a signal; supplementary groups. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000LL
#define S 1000000000LL
#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static const char *result(long value)
{
	static char text[4][32];
	static int next;
	char *to = text[next++ % 4];

	if (value < 0)
		snprintf(to, 32, "%s", strerrorname_np(errno));
	else
		snprintf(to, 32, "%ld", value);
	return to;
}

static struct timespec ns(long long ns)
{
	return (struct timespec){ns / S, ns % S};
}

static int ready(int file)
{
	struct pollfd fd = {file, POLLIN | POLLOUT, 0};

	return poll(&fd, 1, 0) < 0 ? -1 : fd.revents;
}

static void sleep_ns(long long time)
{
	struct timespec some = ns(time);

	nanosleep(&some, NULL);
}

static void timers(void)
{
	struct itimerspec value = {ns(0), ns(0)}, old;
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	struct timespec now;
	uint64_t times;
	char small[4];
	int clocks[] = {0, 1, 2, 3, 4, 7, 11, 99, -1};

	puts("timerfd");
	for (unsigned i = 0; i < sizeof(clocks) / sizeof(*clocks); i++)
		printf("clock %d %s\n", clocks[i], result(timerfd_create(clocks[i], 0) >= 0 ? 0 : -1));
	printf("flags %s\n", result(timerfd_create(CLOCK_MONOTONIC, 1)));
	int file = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	printf("cloexec %d flags %o\n", fcntl(file, F_GETFD), fcntl(file, F_GETFL));
	printf("read unset %s short %s write %s\n", result(read(file, &times, 8)), result(read(file, small, 4)), result(write(file, &times, 8)));
	printf("pread %s lseek %s\n", result(pread(file, &times, 8, 0)), result(lseek(file, 5, SEEK_SET)));
	printf("get %s", result(timerfd_gettime(file, &old)));
	printf(" %ld %ld\n", old.it_value.tv_sec, old.it_value.tv_nsec);
	value.it_value.tv_nsec = S;
	printf("bad time %s", result(timerfd_settime(file, 0, &value, NULL)));
	value.it_value = ns(5 * MS);
	printf(" flags %s null %s of a pipe %s\n", result(timerfd_settime(file, 8, &value, NULL)),
	       result(syscall(SYS_timerfd_settime, file, 0, NULL, NULL)), result(timerfd_settime(1, 0, &value, NULL)));
	printf("once %s ready %x", result(timerfd_settime(file, 0, &value, &old)), ready(file));
	sleep_ns(8 * MS);
	printf(" then %x", ready(file));
	printf(" read %s", result(read(file, &times, sizeof(times))));
	printf(" %llu again %s\n", (unsigned long long)times, result(read(file, &times, 8)));
	value = (struct itimerspec){ns(2 * MS), ns(100 * S)};
	timerfd_settime(file, 0, &value, NULL);
	timerfd_gettime(file, &old);
	printf("left %d interval %ld\n", old.it_value.tv_sec >= 90 && old.it_value.tv_sec < 100, old.it_interval.tv_nsec);
	value.it_value = ns(1);
	timerfd_settime(file, 0, &value, &old);
	printf("was %d\n", old.it_value.tv_sec >= 90);
	fcntl(file, F_SETFL, 0);
	sleep_ns(20 * MS);
	times = 0;
	printf("interval read %s", result(read(file, &times, 8)));
	printf(" many %d", times >= 9);
	printf(" and waits %s", result(read(file, &times, 8)));
	printf(" for %d\n", times >= 1 && times < 5000);
	value = (struct itimerspec){ns(3 * S), ns(0)};
	timerfd_settime(file, 0, &value, NULL);
	timerfd_gettime(file, &old);
	printf("off, its interval %ld\n", old.it_interval.tv_sec);
	clock_gettime(CLOCK_MONOTONIC, &now);
	value = (struct itimerspec){ns(0), now};
	timerfd_settime(file, TFD_TIMER_ABSTIME, &value, NULL);
	printf("past: ready %x read %s", ready(file), result(read(file, &times, 8)));
	printf(" %llu\n", (unsigned long long)times);
	int real = timerfd_create(CLOCK_REALTIME, 0), epoll = epoll_create1(0);
	epoll_ctl(epoll, EPOLL_CTL_ADD, real, &event);
	clock_gettime(CLOCK_REALTIME, &now);
	value.it_value = ns(now.tv_sec * S + now.tv_nsec + 10 * MS);
	timerfd_settime(real, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &value, NULL);
	printf("epoll %s", result(epoll_wait(epoll, &event, 1, 1000)));
	printf(" once %s", result(epoll_wait(epoll, &event, 1, 0)));
	printf(" read %s\n", result(read(real, &times, 8)));
	int copy = dup(real);
	close(real);
	value.it_value = ns(2 * MS);
	printf("of a copy %s", result(timerfd_settime(copy, 0, &value, NULL)));
	if (fork() == 0)
		_exit(read(copy, &times, 8) == 8 ? 7 : 8);
	int status;
	wait(&status);
	printf(" read by a child %d\n", WEXITSTATUS(status));
}

static void show(const struct signalfd_siginfo *info)
{
	printf("[%u code %d", info->ssi_signo, info->ssi_code);
	if (info->ssi_pid)
		printf(" from %s", info->ssi_pid == getpid() ? "itself" : "another");
	if (info->ssi_ptr)
		printf(" int %d ptr %llx", info->ssi_int, (unsigned long long)info->ssi_ptr);
	if (info->ssi_overrun)
		printf(" overrun");
	printf(" status %d]", info->ssi_status);
}

static void signals(void)
{
	struct signalfd_siginfo info[3];
	union sigval value = {.sival_ptr = (void *)0x123456789ab};
	sigset_t set, all;
	int status;

	puts("signalfd");
	sigfillset(&all);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int file = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	printf("flags %s size %s of a pipe %s closed %s\n", result(signalfd(-1, &set, 1)), result(syscall(SYS_signalfd4, -1, &set, 4, 0)),
	       result(signalfd(0, &set, 0)), result(signalfd(900, &set, 0)));
	printf("none %s short %s ready %x\n", result(read(file, info, sizeof(info))), result(read(file, info, 100)), ready(file));
	kill(getpid(), SIGUSR1);
	printf("ready %x read %s ", ready(file), result(read(file, info, sizeof(info))));
	show(info);
	puts("");
	sigqueue(getpid(), SIGRTMIN, value);
	sigqueue(getpid(), SIGRTMIN, value);
	raise(SIGUSR1);
	printf("three: %s ", result(read(file, info, sizeof(info))));
	for (int i = 0; i < 3; i++)
		show(&info[i]);
	puts("");
	fcntl(file, F_SETFL, 0);
	pid_t child = fork();
	if (child == 0) {
		sleep_ns(5 * MS);
		_exit(9);
	}
	printf("waits: %s ", result(read(file, info, sizeof(info))));
	show(info);
	wait(&status);
	struct epoll_event event = {.events = EPOLLIN};
	int epoll = epoll_create1(0);
	epoll_ctl(epoll, EPOLL_CTL_ADD, file, &event);
	child = fork();
	if (child == 0) {
		sleep_ns(5 * MS);
		kill(getppid(), SIGUSR1);
		pause();
	}
	printf("\nepoll %s", result(epoll_wait(epoll, &event, 1, -1)));
	printf(" read %s ", result(read(file, info, sizeof(*info))));
	show(info);
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	printf(" and its end %s ", result(read(file, info, sizeof(*info))));
	show(info);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	printf("\nanother set %d", signalfd(file, &set, 0) == file);
	raise(SIGUSR1);
	printf(" ready %x", ready(file));
	sigwaitinfo(&all, NULL);
	puts("");
	siginfo_t said = {.si_code = SI_USER};
	printf("sigqueueinfo of the kernel's to another %s,", result(syscall(SYS_rt_sigqueueinfo, getppid(), SIGUSR1, &said)));
	printf(" to itself %s", result(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, &said)));
	said.si_code = SI_QUEUE;
	said.si_value.sival_int = 5;
	printf(" bad %s nobody %s", result(syscall(SYS_rt_sigqueueinfo, getpid(), 65, &said)), result(syscall(SYS_rt_sigqueueinfo, 999999, 10, &said)));
	printf(" thread %s\n", result(syscall(SYS_rt_tgsigqueueinfo, getpid(), getpid(), SIGCHLD, &said)));
	while (sigtimedwait(&all, &said, &(struct timespec){0, 0}) > 0)
		printf("got %d code %d\n", said.si_signo, said.si_code);
}

static void processes(void)
{
	siginfo_t info = {0};
	int status, ends[2];
	char byte;

	puts("pidfd");
	pipe(ends);
	printf("bad %s %s %s %s\n", result(syscall(SYS_pidfd_open, -1, 0)), result(syscall(SYS_pidfd_open, 0, 0)),
	       result(syscall(SYS_pidfd_open, 999999, 0)), result(syscall(SYS_pidfd_open, getpid(), 1)));
	pid_t child = fork();
	if (child == 0) {
		read(ends[0], &byte, 1);
		_exit(6);
	}
	int file = syscall(SYS_pidfd_open, child, 0);
	printf("cloexec %d read %s ready %x\n", fcntl(file, F_GETFD), result(read(file, &byte, 1)), ready(file));
	printf("signal 0 %s bad %s flags %s of a pipe %s\n", result(syscall(SYS_pidfd_send_signal, file, 0, NULL, 0)),
	       result(syscall(SYS_pidfd_send_signal, file, 99, NULL, 0)), result(syscall(SYS_pidfd_send_signal, file, 0, NULL, 64)),
	       result(syscall(SYS_pidfd_send_signal, ends[0], 0, NULL, 0)));
	printf("waitid %s", result(syscall(SYS_waitid, P_PIDFD, file, &info, WEXITED | WNOHANG, NULL)));
	printf(" %d of a pipe %s\n", info.si_pid, result(syscall(SYS_waitid, P_PIDFD, ends[0], &info, WEXITED, NULL)));
	write(ends[1], "x", 1);
	struct pollfd fd = {file, POLLIN, 0};
	printf("poll %s", result(poll(&fd, 1, 10000)));
	printf(" %x waitid %s", fd.revents, result(syscall(SYS_waitid, P_PIDFD, file, &info, WEXITED, NULL)));
	printf(" %d status %d\n", info.si_pid == child, info.si_status);
	printf("gone: %s ready %d\n", result(syscall(SYS_pidfd_send_signal, file, SIGTERM, NULL, 0)), (ready(file) & POLLIN) != 0);
	child = fork();
	if (child == 0)
		for (;;)
			pause();
	file = syscall(SYS_pidfd_open, child, 0);
	printf("killed %s", result(syscall(SYS_pidfd_send_signal, file, SIGKILL, NULL, 0)));
	waitpid(child, &status, 0);
	printf(" %d\n", WTERMSIG(status));
}

static const char *status_groups(void)
{
	static char line[256];
	FILE *file = fopen("/proc/self/status", "r");

	while (fgets(line, sizeof(line), file))
		if (strncmp(line, "Groups:", 7) == 0)
			break;
	fclose(file);
	return line;
}

static void groups(void)
{
	gid_t many[40], list[64];
	const char *name = "/tmp/notify_groups";

	puts("groups");
	for (int i = 0; i < 40; i++)
		many[i] = (i * 7 % 40) + 100;
	printf("none %s", result(setgroups(0, NULL)));
	printf(" %s %s", result(getgroups(0, NULL)), status_groups());
	printf("40 %s", result(setgroups(40, many)));
	printf(" %s short %s bad %s negative %s", result(getgroups(0, NULL)), result(getgroups(39, list)), result(getgroups(40, (void *)8)),
	       result(getgroups(-1, list)));
	printf(" too many %s address %s\n", result(setgroups(65537, many)), result(setgroups(3, (void *)8)));
	printf("all %s:", result(getgroups(64, list)));
	for (int i = 0; i < 40; i++)
		printf(" %d", list[i]);
	printf("\n%s", status_groups());
	many[0] = 777;
	many[1] = 5;
	many[2] = -1;
	printf("no group %s two %s\n", result(setgroups(3, many)), result(setgroups(2, many)));
	int file = open(name, O_RDWR | O_CREAT, 0640);
	fchmod(file, 0640);
	fchown(file, 1000, 777);
	/* Before the ids go: what belongs to root and the group alone. */
	int segment = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0640);
	struct shmid_ds ds;
	shmctl(segment, IPC_STAT, &ds);
	ds.shm_perm.gid = 777;
	shmctl(segment, IPC_SET, &ds);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		setresgid(2000, 2000, 2000);
		setresuid(2000, 2000, 2000);
		printf("as somebody: %s", status_groups());
		printf("setgroups %s\n", result(setgroups(0, NULL)));
		printf("read %s write %s access %s %s\n", result(open(name, O_RDONLY) < 0 ? -1 : 0), result(open(name, O_RDWR)),
		       result(access(name, R_OK)), result(access(name, W_OK)));
		printf("segment read %s write %s\n", result(shmat(segment, NULL, SHM_RDONLY) == (void *)-1 ? -1 : 0),
		       result((long)shmat(segment, NULL, 0)));
		int own = open("/tmp/notify_own", O_RDWR | O_CREAT, 0644);
		printf("chown to a group of its own %s, to another %s", result(fchown(own, -1, 5)), result(fchown(own, -1, 6)));
		fchmod(own, 02755);
		struct stat st;
		fstat(own, &st);
		printf(" keeps the bit %o", st.st_mode & 07777);
		unlink("/tmp/notify_own");
		pid_t grandchild = fork();
		if (grandchild == 0)
			_exit(getgroups(64, list) == 2 && list[0] == 5 && list[1] == 777 ? 3 : 4);
		int status;
		waitpid(grandchild, &status, 0);
		printf(" a child has them %d\n", WEXITSTATUS(status));
		fflush(stdout);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	setgroups(0, NULL);
	child = fork();
	if (child == 0) {
		setresgid(2000, 2000, 2000);
		setresuid(2000, 2000, 2000);
		printf("without: read %s segment %s\n", result(open(name, O_RDONLY)), result((long)shmat(segment, NULL, SHM_RDONLY)));
		fflush(stdout);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	shmctl(segment, IPC_RMID, NULL);
	unlink(name);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	alarm(60);
	timers();
	signals();
	processes();
	groups();
	return 0;
}
