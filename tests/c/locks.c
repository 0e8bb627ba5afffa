/* Locks of files: a process's on ranges, a description's, flock; and close_range. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

static void count(int signal)
{
	(void)signal;
}

static int lock(int fd, int command, int type, long start, long len)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };
	return fcntl(fd, command, &lock);
}

/* What somebody else finds in the way of a lock on everything, range by range. */
static void show(int fd)
{
	fflush(stdout);
	if (!fork()) {
		long at = 0;
		for (;;) {
			struct flock lock = { .l_type = F_WRLCK, .l_start = at };
			must(!fcntl(fd, F_GETLK, &lock), "F_GETLK");
			if (lock.l_type == F_UNLCK)
				break;
			/* The lowest of whoever of several was there first. */
			printf(" %s %ld+%ld%s", lock.l_type == F_RDLCK ? "shared" : "exclusive", (long)lock.l_start,
			       (long)lock.l_len, lock.l_pid == getppid() ? "" : lock.l_pid == -1 ? " of a description" : " of another");
			if (!lock.l_len)
				break;
			at = lock.l_start + lock.l_len;
		}
		puts("");
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
}

static void ranges(int fd)
{
	say("exclusive", lock(fd, F_SETLK, F_WRLCK, 10, 90));
	show(fd);
	say("shared in the middle", lock(fd, F_SETLK, F_RDLCK, 40, 20));
	show(fd);
	say("nothing across", lock(fd, F_SETLK, F_UNLCK, 30, 15));
	show(fd);
	say("exclusive, beside", lock(fd, F_SETLK, F_WRLCK, 100, 50));
	show(fd);
	say("shared, to the end", lock(fd, F_SETLK, F_RDLCK, 120, 0));
	show(fd);
	say("exclusive, backwards", lock(fd, F_SETLK, F_WRLCK, 60, -60));
	show(fd);
	say("before the start", lock(fd, F_SETLK, F_WRLCK, 10, -60));
	say("negative", lock(fd, F_SETLK, F_WRLCK, -1, 5));
	say("too far", lock(fd, F_SETLK, F_WRLCK, 0x7fffffffffffffff, 2));
	say("of no type", lock(fd, F_SETLK, 7, 0, 5));
	say("F_GETLK of no type", lock(fd, F_GETLK, 7, 0, 5));
	say("F_GETLK of none", lock(fd, F_GETLK, F_UNLCK, 0, 5));
	say("from nowhere", fcntl(fd, F_SETLK, 8));
	say("of nothing", lock(99, F_SETLK, F_WRLCK, 0, 5));
	if (!fork()) {
		say("of a child", lock(fd, F_SETLK, F_RDLCK, 20, 5));
		say("of a child, elsewhere", lock(fd, F_SETLK, F_RDLCK, 500, 5));
		say("the same, exclusive", lock(fd, F_SETLK, F_WRLCK, 500, 5));
		_exit(0);
	}
	wait(NULL);
	close(dup(fd));
	printf("after a copy was closed:");
	show(fd);
}

static void waits(int fd)
{
	struct sigaction action = { .sa_handler = count };
	int pair[2];
	char byte;

	must(!pipe(pair), "pipe");
	if (!fork()) {
		say("child locks", lock(fd, F_SETLK, F_WRLCK, 0, 10));
		must(write(pair[1], "x", 1) == 1, "write");
		until_asleep(getppid());
		must(!lock(fd, F_SETLK, F_UNLCK, 0, 10), "unlock");
		_exit(0);
	}
	must(read(pair[0], &byte, 1) == 1, "read");
	say("not waiting", lock(fd, F_SETLK, F_WRLCK, 5, 1));
	say("waiting", lock(fd, F_SETLKW, F_WRLCK, 5, 1));
	wait(NULL);
	lock(fd, F_SETLK, F_UNLCK, 0, 0);
	if (!fork()) {
		lock(fd, F_SETLK, F_WRLCK, 0, 10);
		must(write(pair[1], "x", 1) == 1, "write");
		until_asleep(getppid());
		_exit(0);
	}
	must(read(pair[0], &byte, 1) == 1, "read");
	say("waiting for one that ends", lock(fd, F_SETLKW, F_WRLCK, 5, 1));
	wait(NULL);
	lock(fd, F_SETLK, F_UNLCK, 0, 0);

	sigaction(SIGUSR1, &action, NULL);
	pid_t child = fork();
	if (!child) {
		lock(fd, F_SETLK, F_WRLCK, 0, 10);
		must(write(pair[1], "x", 1) == 1, "write");
		until_asleep(getppid());
		kill(getppid(), SIGUSR1);
		pause();
	}
	must(read(pair[0], &byte, 1) == 1, "read");
	say("interrupted", lock(fd, F_SETLKW, F_WRLCK, 5, 1));
	kill(child, SIGKILL);
	wait(NULL);
	say("the killer's", lock(fd, F_SETLK, F_WRLCK, 5, 1));

	/* One waits for this process, and this one would wait for it. */
	child = fork();
	if (!child) {
		lock(fd, F_SETLK, F_WRLCK, 20, 1);
		must(write(pair[1], "x", 1) == 1, "write");
		lock(fd, F_SETLKW, F_WRLCK, 5, 1);
		_exit(0);
	}
	must(read(pair[0], &byte, 1) == 1, "read");
	until_asleep(child);
	say("each waits for the other", lock(fd, F_SETLKW, F_WRLCK, 20, 1));
	say("unlocked", lock(fd, F_SETLK, F_UNLCK, 5, 1));
	wait(NULL);
	close(pair[0]);
	close(pair[1]);
}

static void descriptions(const char *name, int fd)
{
	int other = open(name, O_RDWR), reader = open(name, O_RDONLY), copy = dup(fd);
	struct flock of = { .l_type = F_WRLCK, .l_pid = 1 };

	must(other >= 0 && reader >= 0, "open");
	say("with a process", fcntl(fd, F_OFD_SETLK, &of));
	say("of one", lock(fd, F_OFD_SETLK, F_WRLCK, 0, 10));
	say("of a copy", lock(copy, F_OFD_SETLK, F_WRLCK, 5, 10));
	say("of another", lock(other, F_OFD_SETLK, F_WRLCK, 5, 1));
	say("of the process", lock(fd, F_SETLK, F_WRLCK, 5, 1));
	say("exclusive of a reader", lock(reader, F_OFD_SETLK, F_WRLCK, 50, 1));
	say("shared of a reader", lock(reader, F_OFD_SETLK, F_RDLCK, 50, 1));
	show(fd);
	close(copy);
	show(fd);
	say("flock, shared", flock(fd, LOCK_SH));
	say("flock of another, exclusive", flock(other, LOCK_EX | LOCK_NB));
	say("flock of another, shared", flock(other, LOCK_SH | LOCK_NB));
	say("flock, exclusive", flock(fd, LOCK_EX | LOCK_NB));
	say("flock of another, exclusive: the first is lost", flock(other, LOCK_EX | LOCK_NB));
	say("flock of an unknown kind", flock(fd, 64));
	say("flock of both", flock(fd, LOCK_SH | LOCK_EX));
	say("flock of nothing", flock(99, LOCK_SH));
	say("flock, gone", flock(other, LOCK_UN));
	if (!fork()) {
		say("flock of a child", flock(fd, LOCK_EX));
		_exit(0);
	}
	wait(NULL);
	say("which is the parent's", flock(other, LOCK_SH | LOCK_NB));
	fflush(stdout);
	if (!fork()) {
		close(other);
		until_asleep(getppid());
		flock(fd, LOCK_UN);
		_exit(0);
	}
	say("flock that waits", flock(other, LOCK_EX));
	wait(NULL);
	close(other);
	close(reader);
}

static void close_ranges(void)
{
	int first = dup(0);

	for (int i = 0; i < 5; i++)
		must(dup2(0, 40 + i) == 40 + i, "dup2");
	say("close_range", close_range(41, 42, 0));
	for (int i = 39; i < 46; i++)
		printf("%d", fcntl(i, F_GETFD) >= 0);
	puts("");
	say("close_range with execve", close_range(43, ~0u, CLOSE_RANGE_CLOEXEC));
	printf("%d %d\n", fcntl(40, F_GETFD), fcntl(44, F_GETFD));
	say("close_range backwards", close_range(43, 42, 0));
	say("close_range with bad flags", close_range(43, 43, 1));
	say("close_range of what is not there", close_range(900, ~0u, 0));
	say("close_range of all", close_range(3, ~0u, 0));
	printf("%d\n", dup(0) == first - 1);
}

int main(void)
{
	char name[64];

	alarm(120);
	snprintf(name, sizeof name, "/dev/shm/locks-%d", getpid());
	int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	must(fd >= 0, "open");
	ranges(fd);
	waits(fd);
	descriptions(name, fd);
	unlink(name);
	close_ranges();
	return 0;
}
