/* Whom a descriptor tells that something happened: F_SETOWN and its relatives, O_ASYNC, leases, notes of directories. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common.h"

#ifndef F_GETOWNER_UIDS
#define F_GETOWNER_UIDS 17
#endif
#ifndef F_CREATED_QUERY
#define F_CREATED_QUERY (1024 + 4)
#endif

static volatile int last_signal, last_code, last_fd, signals;
static volatile long last_band;

static void note(int number, siginfo_t *info, void *context)
{
	(void)context;
	last_signal = number;
	last_code = info->si_code;
	last_fd = info->si_fd;
	last_band = info->si_band;
	signals++;
}

static void told(const char *what)
{
	if (signals == 0)
		printf("%-40s nothing\n", what);
	else if (last_code == SI_KERNEL)
		printf("%-40s %d times %d by the kernel\n", what, signals, last_signal);
	else
		printf("%-40s %d times %d code %d fd %d band %lx\n", what, signals, last_signal, last_code, last_fd, last_band);
	fflush(stdout);
	signals = 0;
}

static void pause_a_little(void)
{
	struct timespec some = {0, 1000000};

	nanosleep(&some, NULL);
}

static void listen_to(int number)
{
	struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESTART};

	must(!sigaction(number, &action, NULL), "sigaction");
}

static int owner_is(int fd)
{
	int owner = fcntl(fd, F_GETOWN);

	return owner == getpid() ? 1 : owner == -getpgrp() ? -1 : owner == 0 ? 0 : 2;
}

static void names(void)
{
	struct f_owner_ex owner = {0, 0};
	unsigned users[2] = {7, 7};
	int ends[2];

	must(!pipe(ends), "pipe");
	CALL(owner_is(ends[0]));
	CALL(fcntl(ends[0], F_GETSIG));
	CALL(fcntl(ends[0], F_GETOWN_EX, &owner));
	printf("%d %d\n", owner.type, owner.pid);
	CALL(fcntl(ends[0], F_SETOWN, getpid()));
	CALL(owner_is(ends[0]));
	CALL(owner_is(ends[1]));
	CALL(fcntl(ends[0], F_SETOWN, -getpgrp()));
	CALL(owner_is(ends[0]));
	CALL(fcntl(ends[0], F_GETOWN_EX, &owner));
	printf("%d %d\n", owner.type, owner.pid == getpgrp());
	CALL(fcntl(ends[0], F_SETOWN, INT_MIN));
	CALL(fcntl(ends[0], F_SETOWN, 3999999));
	CALL(fcntl(ends[0], F_SETOWN, -3999999));
	CALL(owner_is(ends[0]));
	owner = (struct f_owner_ex){F_OWNER_TID, gettid()};
	CALL(fcntl(ends[0], F_SETOWN_EX, &owner));
	CALL(owner_is(ends[0]));
	owner = (struct f_owner_ex){3, getpid()};
	CALL(fcntl(ends[0], F_SETOWN_EX, &owner));
	owner = (struct f_owner_ex){F_OWNER_PID, 3999999};
	CALL(fcntl(ends[0], F_SETOWN_EX, &owner));
	owner = (struct f_owner_ex){F_OWNER_PID, -1};
	CALL(fcntl(ends[0], F_SETOWN_EX, &owner));
	CALL(fcntl(ends[0], F_SETOWN_EX, NULL));
	CALL(fcntl(ends[0], F_GETOWN_EX, NULL));
	CALL(fcntl(ends[0], F_GETOWN_EX, &owner));
	printf("%d %d\n", owner.type, owner.pid == getpid());
	CALL(fcntl(ends[0], F_GETOWNER_UIDS, users));
	printf("%d %d\n", users[0] == getuid(), users[1] == geteuid());
	CALL(fcntl(ends[0], F_SETSIG, 65));
	CALL(fcntl(ends[0], F_SETSIG, -1));
	CALL(fcntl(ends[0], F_SETSIG, SIGRTMIN + 1));
	CALL(fcntl(ends[0], F_GETSIG));
	CALL(fcntl(ends[0], F_SETSIG, 0));
	/* Whoever was named has ended. */
	fflush(stdout);
	pid_t child = fork();
	if (child == 0)
		pause();
	CALL(fcntl(ends[0], F_SETOWN, child));
	CALL(fcntl(ends[0], F_GETOWN) == child);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	CALL(fcntl(ends[0], F_GETOWN));
	CALL(fcntl(ends[0], F_SETOWN, 0));
	CALL(owner_is(ends[0]));
	int directory = open("/", O_PATH);
	CALL(fcntl(directory, F_GETOWN));
	CALL(fcntl(directory, F_SETOWN, getpid()));
	close(directory);
	close(ends[0]);
	close(ends[1]);
}

static void input(void)
{
	char buffer[65536] = {0};
	int ends[2], on = 1, off = 0;

	listen_to(SIGIO);
	listen_to(SIGRTMIN + 1);
	listen_to(SIGUSR1);
	must(!pipe2(ends, O_NONBLOCK), "pipe2");
	CALL(fcntl(ends[0], F_SETFL, O_NONBLOCK | O_ASYNC));
	CALL(fcntl(ends[0], F_GETFL));
	CALL(write(ends[1], "x", 1));
	told("without an owner");
	fcntl(ends[0], F_SETOWN, getpid());
	CALL(write(ends[1], "x", 1));
	told("written");
	CALL(write(ends[1], "", 0));
	told("nothing written");
	CALL(read(ends[0], buffer, 1));
	told("read");
	fcntl(ends[0], F_SETSIG, SIGRTMIN + 1);
	CALL(write(ends[1], "x", 1));
	told("written, of choice");
	fcntl(ends[0], F_SETSIG, SIGUSR1);
	CALL(write(ends[1], "x", 1));
	told("written, of choice, standard");
	fcntl(ends[0], F_SETSIG, SIGIO);
	CALL(write(ends[1], "x", 1));
	told("written, of choice, the same");
	CALL(fcntl(ends[0], F_SETSIG, 0));
	/* A writer. */
	CALL(fcntl(ends[1], F_SETOWN, getpid()));
	CALL(fcntl(ends[1], F_SETSIG, SIGRTMIN + 1));
	CALL(ioctl(ends[1], FIOASYNC, &on));
	CALL(fcntl(ends[1], F_GETFL));
	CALL(read(ends[0], buffer, 1));
	told("read, the writer is told");
	CALL(ioctl(ends[0], FIOASYNC, &off));
	CALL(fcntl(ends[0], F_GETFL));
	CALL(write(ends[1], buffer, sizeof buffer));
	told("written, nobody reads");
	CALL(write(ends[1], buffer, 1));
	told("full");
	CALL(read(ends[0], buffer, sizeof buffer));
	told("emptied");
	CALL(read(ends[0], buffer, 1));
	told("empty");
	int copy = dup(ends[1]);
	close(ends[1]);
	CALL(read(ends[0], buffer, 1));
	told("by a copy's name");
	CALL(close(ends[0]));
	told("the other end goes");
	CALL(close(copy));
	told("this one goes");
	/* One that cannot tell. */
	int event = eventfd(0, 0);
	CALL(fcntl(event, F_SETFL, O_ASYNC));
	CALL(fcntl(event, F_GETFL));
	CALL(ioctl(event, FIOASYNC, &on));
	CALL(ioctl(event, FIOASYNC, &off));
	CALL(ioctl(event, FIONBIO, &on));
	CALL(fcntl(event, F_GETFL));
	CALL(ioctl(event, FIOCLEX));
	CALL(fcntl(event, F_GETFD));
	CALL(ioctl(event, FIONCLEX));
	CALL(fcntl(event, F_GETFD));
	CALL(ioctl(event, FIONBIO, NULL));
	close(event);
}

/* Another process is told; one of another user is not. */
static void others(void)
{
	int ends[2], ready[2];
	char byte;

	must(!pipe(ends) && !pipe(ready), "pipe");
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		sigset_t set, old;
		sigemptyset(&set);
		sigaddset(&set, SIGIO);
		sigprocmask(SIG_BLOCK, &set, &old);
		fcntl(ends[0], F_SETOWN, getpid());
		fcntl(ends[0], F_SETFL, O_ASYNC);
		write(ready[1], "x", 1);
		sigsuspend(&old);
		told("the child");
		exit(0);
	}
	read(ready[0], &byte, 1);
	write(ends[1], "x", 1);
	waitpid(child, NULL, 0);
	told("the parent");
	fcntl(ends[0], F_SETOWN, -getpgrp());
	write(ends[1], "x", 1);
	told("the group");
	if (geteuid() == 0) {
		child = fork();
		if (child == 0) {
			must(!setresuid(99, 99, 99), "setresuid");
			fcntl(ends[0], F_SETOWN, getppid());
			exit(0);
		}
		waitpid(child, NULL, 0);
		write(ends[1], "x", 1);
		told("by somebody else");
	}
	close(ends[0]);
	close(ends[1]);
}

static void created(void)
{
	unlink("new");
	int file = open("new", O_CREAT | O_RDWR, 0600);
	CALL(fcntl(file, F_CREATED_QUERY, 0));
	int again = open("new", O_CREAT | O_RDWR, 0600);
	CALL(fcntl(again, F_CREATED_QUERY, 0));
	CALL(fcntl(dup(file), F_CREATED_QUERY, 0));
	close(file);
	close(again);
	file = open("new", O_RDONLY);
	CALL(fcntl(file, F_CREATED_QUERY, 0));
	close(file);
	unlink("new");
	file = open("new", O_CREAT | O_EXCL | O_RDWR, 0600);
	CALL(fcntl(file, F_CREATED_QUERY, 0));
	close(file);
	file = open(".", O_TMPFILE | O_RDWR, 0600);
	CALL(fcntl(file, F_CREATED_QUERY, 0));
	close(file);
	unlink("new");
}

static void sizes(void)
{
	int ends[2];

	must(!pipe(ends), "pipe");
	CALL(fcntl(ends[0], F_GETPIPE_SZ));
	CALL(fcntl(ends[0], F_SETPIPE_SZ, 1));
	CALL(fcntl(ends[0], F_GETPIPE_SZ));
	CALL(fcntl(ends[0], F_SETPIPE_SZ, 4097));
	CALL(fcntl(ends[0], F_SETPIPE_SZ, 1 << 20));
	CALL(fcntl(ends[0], F_SETPIPE_SZ, -1));
	close(ends[0]);
	close(ends[1]);
}

/* Whether leases are taken away after so many seconds from now on. Not everybody may say so, not even every root. */
static int set_break_time(int seconds)
{
	FILE *file = fopen("/proc/sys/fs/lease-break-time", "w");

	return file != NULL && fprintf(file, "%d", seconds) > 0 && !fclose(file);
}

/* What a child gets that opens the file while somebody has a lease. */
static void try_open(const char *what, int flags)
{
	fflush(stdout);
	pid_t child = fork();

	if (child == 0) {
		int file = open("leased", flags | O_NONBLOCK);
		printf("%-40s %s\n", what, file < 0 ? strerror(errno) : "opened");
		exit(0);
	}
	waitpid(child, NULL, 0);
	told("    the holder");
}

/* Gives up the lease once the child that opens the file waits for it. */
static void open_waiting(const char *what, int flags, int file, int change)
{
	fflush(stdout);
	pid_t child = fork();

	if (child == 0) {
		struct sigaction action = {.sa_handler = SIG_DFL};
		sigaction(SIGIO, &action, NULL);
		int opened = flags < 0 ? truncate("leased", 3) : open("leased", flags);
		printf("%-40s %s\n", what, opened < 0 ? strerror(errno) : "opened");
		exit(0);
	}
	while (signals == 0)
		pause_a_little();
	until_asleep(child);
	told("    the holder");
	CALL(fcntl(file, F_GETLEASE));
	CALL(fcntl(file, F_SETLEASE, change));
	waitpid(child, NULL, 0);
	CALL(fcntl(file, F_GETLEASE));
	fcntl(file, F_SETLEASE, F_UNLCK);
}

static void leases(void)
{
	int ends[2], file = open("leased", O_CREAT | O_RDWR, 0600), other;

	puts("leases");
	must(!pipe(ends), "pipe");
	CALL(fcntl(ends[0], F_SETLEASE, F_RDLCK));
	CALL(fcntl(file, F_GETLEASE));
	CALL(fcntl(file, F_SETLEASE, F_RDLCK));
	CALL(fcntl(file, F_SETLEASE, F_UNLCK));
	CALL(fcntl(file, F_SETLEASE, 3));
	CALL(fcntl(file, F_SETLEASE, F_WRLCK));
	CALL(fcntl(file, F_GETLEASE));
	CALL(owner_is(file));
	CALL(fcntl(file, F_SETLEASE, F_WRLCK));
	CALL(fcntl(file, F_SETLEASE, F_RDLCK));
	CALL(fcntl(file, F_SETLEASE, F_UNLCK));
	CALL(fcntl(file, F_GETLEASE));
	other = open("leased", O_RDONLY);
	CALL(fcntl(file, F_SETLEASE, F_WRLCK));
	CALL(fcntl(other, F_SETLEASE, F_RDLCK));
	close(file);
	CALL(fcntl(other, F_SETLEASE, F_RDLCK));
	file = open("leased", O_RDONLY);
	CALL(fcntl(file, F_SETLEASE, F_RDLCK));
	CALL(fcntl(file, F_SETLEASE, F_WRLCK));
	CALL(fcntl(other, F_SETLEASE, F_WRLCK));
	close(other);
	CALL(fcntl(file, F_SETLEASE, F_WRLCK));
	CALL(fcntl(file, F_GETLEASE));
	CALL(fcntl(file, F_SETLEASE, F_RDLCK));
	CALL(fcntl(file, F_GETLEASE));
	int null = open("/dev/null", O_RDONLY), root = open("/", O_RDONLY);
	CALL(fcntl(null, F_SETLEASE, F_RDLCK));
	CALL(fcntl(root, F_SETLEASE, F_RDLCK));
	close(null);
	close(root);

	listen_to(SIGIO);
	try_open("reading beside reading", O_RDONLY);
	try_open("writing beside reading", O_WRONLY);
	CALL(fcntl(file, F_GETLEASE));
	try_open("writing once more", O_WRONLY);
	try_open("reading", O_RDONLY);
	other = open("leased", O_RDONLY);
	CALL(fcntl(other, F_SETLEASE, F_RDLCK));
	close(other);
	CALL(fcntl(file, F_SETLEASE, F_RDLCK));
	CALL(fcntl(file, F_GETLEASE));
	CALL(fcntl(file, F_SETLEASE, F_UNLCK));
	try_open("writing", O_WRONLY);
	CALL(fcntl(file, F_SETLEASE, F_WRLCK));
	fcntl(file, F_SETSIG, SIGRTMIN + 1);
	try_open("reading beside writing", O_RDONLY);
	CALL(fcntl(file, F_GETLEASE));
	try_open("writing now", O_WRONLY);
	CALL(fcntl(file, F_GETLEASE));
	CALL(fcntl(file, F_SETLEASE, F_UNLCK));
	CALL(fcntl(file, F_SETSIG, 0));

	CALL(fcntl(file, F_SETLEASE, F_WRLCK));
	open_waiting("reading waits", O_RDONLY, file, F_RDLCK);
	CALL(fcntl(file, F_SETLEASE, F_RDLCK));
	open_waiting("writing waits", O_WRONLY, file, F_UNLCK);
	CALL(fcntl(file, F_SETLEASE, F_RDLCK));
	open_waiting("truncating waits", -1, file, F_UNLCK);
	pid_t child;
	if (set_break_time(1)) {
		must(!fcntl(file, F_SETLEASE, F_WRLCK), "a lease");
		fflush(stdout);
		child = fork();
		if (child == 0)
			exit(open("leased", O_RDWR) < 0);
		int status;
		waitpid(child, &status, 0);
		must(status == 0 && signals == 1 && fcntl(file, F_GETLEASE) == F_UNLCK, "a lease that was taken away");
		signals = 0;
		set_break_time(45);
	}
	if (geteuid() == 0) {
		fflush(stdout);
		child = fork();
		if (child == 0) {
			must(!setresuid(99, 99, 99), "setresuid");
			CALL(fcntl(file, F_SETLEASE, F_RDLCK));
			exit(0);
		}
		waitpid(child, NULL, 0);
	}
	/* It goes with its description. */
	CALL(fcntl(file, F_SETLEASE, F_WRLCK));
	other = dup(file);
	close(file);
	try_open("a copy is left", O_RDONLY);
	close(other);
	try_open("none is left", O_RDONLY);
	unlink("leased");
	close(ends[0]);
	close(ends[1]);
}

int main(void)
{
	char directory[] = "/tmp/owners-XXXXXX";

	must(mkdtemp(directory) && !chdir(directory), "a directory");
	setpgid(0, 0);
	names();
	input();
	others();
	created();
	sizes();
	leases();
	must(!chdir("/") && !rmdir(directory), "an empty directory");
	return 0;
}
