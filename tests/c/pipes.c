/* Pipes, and waiting for descriptors: a pipeline of processes, a loop around poll, and what each call says of bad arguments. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static volatile int signals;

static void count(int signal)
{
	(void)signal;
	signals++;
}

/* Numbers go through processes that each add one: as many pipes, every byte of 128 KiB. */
static void pipeline(void)
{
	enum { STAGES = 5, BYTES = 1 << 17 };
	int in = -1, ends[2], status;

	for (int stage = 0; stage < STAGES; stage++) {
		must(!pipe(ends), "pipe");
		pid_t child = fork();
		must(child >= 0, "fork");
		if (!child) {
			static unsigned char buffer[30011];
			long left = BYTES, got;

			close(ends[0]);
			while (left > 0) {
				long part = left < (long)sizeof buffer ? left : (long)sizeof buffer;
				if (stage)
					must((part = read(in, buffer, part)) > 0, "read");
				else
					for (got = 0; got < part; got++)
						buffer[got] = (BYTES - left + got) % 251;
				for (got = 0; got < part; got++)
					buffer[got]++;
				must(write(ends[1], buffer, part) == part, "write");
				left -= part;
			}
			_exit(0);
		}
		close(ends[1]);
		if (stage)
			close(in);
		in = ends[0];
	}
	static unsigned char all[BYTES + 1];
	long got = 0, part, wrong = 0;
	while ((part = read(in, all + got, sizeof all - got)) > 0)
		got += part;
	for (long i = 0; i < got; i++)
		wrong += all[i] != (unsigned char)(i % 251 + STAGES);
	printf("pipeline: %ld bytes, %ld wrong\n", got, wrong);
	close(in);
	while (wait(&status) > 0)
		if (status)
			printf("a stage ended with %d\n", status);
}

/* Several writers of records up to PIPE_BUF: none comes into another. */
static void atomic(void)
{
	enum { WRITERS = 4, RECORDS = 40 };
	int ends[2], torn = 0, records = 0;
	unsigned char head[2], body[PIPE_BUF];

	must(!pipe(ends), "pipe");
	for (int writer = 0; writer < WRITERS; writer++)
		if (!fork()) {
			for (int i = 0; i < RECORDS; i++) {
				unsigned short len = 2 + (i * 977 + writer * 331) % (PIPE_BUF - 2);
				memset(body, 'a' + writer, len);
				memcpy(body, &len, 2);
				must(write(ends[1], body, len) == len, "write");
			}
			_exit(0);
		}
	close(ends[1]);
	for (;;) {
		unsigned short len;
		long got = 0, part;
		if (read(ends[0], head, 2) != 2)
			break;
		memcpy(&len, head, 2);
		while (got < len - 2 && (part = read(ends[0], body + got, len - 2 - got)) > 0)
			got += part;
		for (long i = 1; i < got; i++)
			torn += body[i] != body[0];
		records++;
	}
	printf("atomic: %d records, %d bytes of others\n", records, torn);
	close(ends[0]);
	while (wait(NULL) > 0)
		;
}

/* One process asks several, over a pipe to and a pipe from each, and takes answers as they come. */
static void poll_loop(void)
{
	enum { WORKERS = 3, QUESTIONS = 12 };
	struct pollfd fds[WORKERS];
	int to[WORKERS], sent[WORKERS] = { 0 }, open = WORKERS;
	long sum = 0;

	for (int i = 0; i < WORKERS; i++) {
		int ask[2], answer[2];
		must(!pipe2(ask, O_CLOEXEC) && !pipe2(answer, O_CLOEXEC), "pipe2");
		if (!fork()) {
			int number;
			close(ask[1]);
			close(answer[0]);
			for (int j = 0; j < i; j++)
				close(to[j]);
			while (read(ask[0], &number, sizeof number) == sizeof number) {
				number = number * number;
				must(write(answer[1], &number, sizeof number) == sizeof number, "answer");
			}
			_exit(i);
		}
		close(ask[0]);
		close(answer[1]);
		to[i] = ask[1];
		fds[i] = (struct pollfd){ .fd = answer[0], .events = POLLIN };
		must(write(to[i], &sent[i], sizeof(int)) == sizeof(int), "ask");
	}
	while (open) {
		must(poll(fds, WORKERS, -1) > 0, "poll");
		for (int i = 0; i < WORKERS; i++) {
			int number;
			if (fds[i].revents & POLLIN) {
				must(read(fds[i].fd, &number, sizeof number) == sizeof number, "read");
				sum += number;
				if (++sent[i] < QUESTIONS)
					must(write(to[i], &sent[i], sizeof(int)) == sizeof(int), "ask");
				else
					close(to[i]);
			} else if (fds[i].revents & POLLHUP) {
				close(fds[i].fd);
				fds[i].fd = -1;
				open--;
			}
		}
	}
	printf("poll loop: %ld\n", sum);
	while (wait(NULL) > 0)
		;
}

static void mask(const char *what, int fd, int events)
{
	struct pollfd one = { .fd = fd, .events = events, .revents = 0x7777 };
	int found = poll(&one, 1, 0);

	printf("poll %s: %d %#x\n", what, found, one.revents);
}

static void ends(void)
{
	static char buffer[1 << 17];
	int pair[2], size;
	struct stat stat;

	say("pipe2 with a bad flag", pipe2(pair, O_APPEND));
	say("pipe2 to nowhere", pipe2((void *)8, 0));
	must(!pipe2(pair, O_NONBLOCK), "pipe2");
	printf("descriptors %d %d\n", pair[0], pair[1]);
	printf("F_GETFL %#x %#x, F_GETFD %d\n", fcntl(pair[0], F_GETFL), fcntl(pair[1], F_GETFL), fcntl(pair[0], F_GETFD));
	must(!fstat(pair[0], &stat), "fstat");
	printf("fstat: mode %o, links %ld, size %ld, blocks %ld, block %ld, uid %d\n", stat.st_mode, (long)stat.st_nlink,
	       (long)stat.st_size, (long)stat.st_blocks, (long)stat.st_blksize, stat.st_uid);
	mask("an empty pipe to read", pair[0], POLLIN | POLLOUT);
	mask("an empty pipe to write", pair[1], POLLIN | POLLOUT | POLLWRNORM);
	say("read of an empty pipe", read(pair[0], buffer, 10));
	say("read of the wrong end", read(pair[1], buffer, 10));
	say("write to the wrong end", write(pair[0], buffer, 10));
	say("read of nothing", read(pair[0], buffer, 0));
	say("write of nothing", write(pair[1], buffer, 0));
	say("read to nowhere", read(pair[0], (void *)8, 10));
	say("write from nowhere", write(pair[1], (void *)8, 10));
	say("write from nowhere, of much", write(pair[1], (void *)8, 10000));
	say("write from the kernel", write(pair[1], (void *)(1ul << 63), 10));
	say("lseek", lseek(pair[0], 0, SEEK_CUR));
	say("pread", pread(pair[0], buffer, 1, 0));
	say("pwrite", pwrite(pair[1], buffer, 1, 0));
	say("ftruncate", ftruncate(pair[1], 0));
	say("fallocate", fallocate(pair[1], 0, 0, 1));
	say("fsync", fsync(pair[1]));
	say("mmap", mmap(0, 4096, PROT_READ, MAP_SHARED, pair[0], 0) == MAP_FAILED ? -1 : 0);
	say("F_GETPIPE_SZ", fcntl(pair[0], F_GETPIPE_SZ));
	say("F_GETPIPE_SZ of a file", fcntl(0, F_GETPIPE_SZ));
	say("write until full", write(pair[1], buffer, sizeof buffer));
	say("write to a full pipe", write(pair[1], buffer, 1));
	mask("a full pipe to write", pair[1], POLLIN | POLLOUT);
	mask("a full pipe to read", pair[0], POLLIN | POLLRDNORM);
	ioctl(pair[0], FIONREAD, &size);
	printf("FIONREAD %d\n", size);
	ioctl(pair[1], FIONREAD, &size);
	printf("FIONREAD of the other end %d\n", size);
	say("FIONREAD to nowhere", ioctl(pair[0], FIONREAD, 8));
	say("F_SETPIPE_SZ to less than is in it", fcntl(pair[0], F_SETPIPE_SZ, 4096));
	say("F_SETPIPE_SZ of 100000", fcntl(pair[0], F_SETPIPE_SZ, 100000));
	say("write of what fits", write(pair[1], buffer, sizeof buffer));
	say("read of one", read(pair[0], buffer, 1));
	say("write of one, a page being in the way", write(pair[1], buffer, 1));
	say("read of the rest of the page", read(pair[0], buffer, 4095));
	say("write of one", write(pair[1], buffer, 1));
	say("write of a page, one byte more than fits", write(pair[1], buffer, 4096));
	say("write of what the last page has room for", write(pair[1], buffer, 4095));
	say("read of all", read(pair[0], buffer, sizeof buffer));
	say("read of what is left", read(pair[0], buffer, sizeof buffer));
	say("F_SETPIPE_SZ of 0", fcntl(pair[0], F_SETPIPE_SZ, 0));
	say("F_SETPIPE_SZ of 1 MiB", fcntl(pair[0], F_SETPIPE_SZ, 1 << 20));
	say("F_SETPIPE_SZ of 2 GiB and more", fcntl(pair[0], F_SETPIPE_SZ, (1u << 31) + 1));
	say("write", write(pair[1], "abc", 3));
	say("a read that ends nowhere", readv(pair[0], (struct iovec[]){ { buffer, 1 }, { (void *)8, 5 } }, 2));
	close(pair[1]);
	mask("what is left without a writer", pair[0], POLLIN);
	say("read of it", read(pair[0], buffer, 10));
	mask("nothing without a writer", pair[0], POLLIN);
	say("read of that", read(pair[0], buffer, 10));
	close(pair[0]);

	must(!pipe(pair), "pipe");
	close(pair[0]);
	mask("a pipe that nobody reads", pair[1], POLLOUT);
	signal(SIGPIPE, SIG_IGN);
	say("write that nobody reads", write(pair[1], buffer, 1));
	say("write of nothing that nobody reads", write(pair[1], buffer, 0));
	signal(SIGPIPE, count);
	say("the same, handled", write(pair[1], buffer, 1));
	printf("%d signals\n", signals);
	signal(SIGPIPE, SIG_DFL);
	pid_t child = fork();
	int status;
	if (!child) {
		say("the same, not handled", write(pair[1], buffer, 1));
		_exit(0);
	}
	waitpid(child, &status, 0);
	printf("wait status %#x\n", status);
	close(pair[1]);
}

static void packets(void)
{
	char buffer[9000];
	int pair[2];

	if (pipe2(pair, O_DIRECT | O_NONBLOCK)) {
		perror("packets");
		return;
	}
	printf("F_GETFL %#x %#x\n", fcntl(pair[0], F_GETFL), fcntl(pair[1], F_GETFL));
	say("packet of 10", write(pair[1], "0123456789", 10));
	say("packet of 3", write(pair[1], "abc", 3));
	say("packet of 5000", write(pair[1], buffer, 5000));
	say("read of 4", read(pair[0], buffer, 4));
	say("read of 100", read(pair[0], buffer, 100));
	say("read of 9000", read(pair[0], buffer, 9000));
	say("read of 9000", read(pair[0], buffer, 9000));
	say("read of 9000", read(pair[0], buffer, 9000));
	close(pair[0]);
	close(pair[1]);
}

static void vectors(void)
{
	char a[10] = "", b[5000], c[20] = "";
	int pair[2], size;
	struct iovec out[] = { { "one ", 4 }, { "", 0 }, { "two ", 4 }, { "three", 6 } };
	struct iovec in[] = { { a, 3 }, { b, 0 }, { c, 10 } };

	must(!pipe(pair), "pipe");
	say("writev", writev(pair[1], out, COUNT(out)));
	say("readv", readv(pair[0], in, COUNT(in)));
	printf("'%s' '%s'\n", a, c);
	say("writev of none", writev(pair[1], out, 0));
	say("writev of too many", writev(pair[1], out, 1025));
	out[1].iov_len = -1;
	say("writev of a negative length", writev(pair[1], out, COUNT(out)));
	out[1] = (struct iovec){ (void *)8, 3 };
	say("writev with a hole", writev(pair[1], out, COUNT(out)));
	ioctl(pair[0], FIONREAD, &size);
	printf("FIONREAD %d\n", size);
	out[1] = (struct iovec){ (void *)(1ul << 63), 3 };
	say("writev from the kernel", writev(pair[1], out, COUNT(out)));
	say("writev of vectors from nowhere", writev(pair[1], (void *)8, 2));
	ioctl(pair[0], FIONREAD, &size);
	printf("FIONREAD %d\n", size);
	close(pair[0]);
	close(pair[1]);
}

/* A child that does something to a pipe once its parent waits. */
static pid_t later(int fd, const char *text, int kill_parent)
{
	pid_t child = once_asleep();

	if (child)
		return child;
	if (kill_parent)
		kill(getppid(), kill_parent);
	if (text)
		must(write(fd, text, strlen(text)) > 0, "write");
	_exit(0);
}

static void interrupted(void)
{
	static char buffer[1 << 17];
	int pair[2];
	struct sigaction action = { .sa_handler = count };

	must(!pipe(pair), "pipe");
	signals = 0;
	later(pair[1], "late", 0);
	say("read that waits", read(pair[0], buffer, 10));
	sigaction(SIGUSR1, &action, NULL);
	later(-1, NULL, SIGUSR1);
	say("read, interrupted", read(pair[0], buffer, 10));
	action.sa_flags = SA_RESTART;
	sigaction(SIGUSR1, &action, NULL);
	later(pair[1], "after", SIGUSR1);
	say("read, interrupted and made again", read(pair[0], buffer, 10));
	later(-1, NULL, SIGUSR1);
	say("write, interrupted half-way", write(pair[1], buffer, sizeof buffer));
	action.sa_flags = 0;
	sigaction(SIGUSR1, &action, NULL);
	later(-1, NULL, SIGUSR1);
	say("write, interrupted at once", write(pair[1], buffer, 10));
	printf("%d signals\n", signals);
	while (wait(NULL) > 0)
		;
	pid_t child = once_asleep();
	if (!child) {
		long got = 0, part;
		close(pair[1]);
		while (got < 1 << 16 && (part = read(pair[0], buffer, 1000)) > 0)
			got += part;
		/* Until it is full again. */
		for (int bytes = 0; bytes < 65000; usleep(1000))
			ioctl(pair[0], FIONREAD, &bytes);
		_exit(0);
	}
	close(pair[0]);
	signal(SIGPIPE, SIG_IGN);
	say("write whose reader goes half-way", write(pair[1], buffer, sizeof buffer));
	signal(SIGPIPE, SIG_DFL);
	wait(NULL);
	close(pair[1]);
}

static long ms_since(const struct timespec *start)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - start->tv_sec) * 1000 + (now.tv_nsec - start->tv_nsec) / 1000000;
}

static void waiting(void)
{
	int pair[2], full[2];
	char buffer[1 << 16];
	struct timespec start, time = { .tv_nsec = 30000000 };
	struct timeval tv = { .tv_usec = 30000 };
	struct sigaction action = { .sa_handler = count };
	struct pollfd fds[4];
	sigset_t none, user1;
	fd_set in, out;

	must(!pipe(pair) && !pipe2(full, O_NONBLOCK), "pipe");
	must(write(full[1], buffer, sizeof buffer) == sizeof buffer, "write");
	fds[0] = (struct pollfd){ .fd = pair[0], .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = 99, .events = POLLIN };
	fds[2] = (struct pollfd){ .fd = -5, .events = POLLIN, .revents = 7 };
	fds[3] = (struct pollfd){ .fd = full[1], .events = POLLOUT };
	clock_gettime(CLOCK_MONOTONIC, &start);
	say("poll for a while", poll(fds, 1, 30));
	printf("waited: %d\n", ms_since(&start) >= 30 && ms_since(&start) < 3000);
	say("poll of a bad descriptor", poll(fds, 4, -1));
	printf("%#x %#x %#x %#x\n", fds[0].revents, fds[1].revents, fds[2].revents, fds[3].revents);
	say("poll of none", poll(NULL, 0, 1));
	say("poll of nowhere", poll((void *)8, 1, 0));
	say("poll of many", poll(fds, 1u << 31, 0));
	fds[1].fd = -1;
	later(pair[1], "x", 0);
	say("poll that waits", poll(fds, 4, -1));
	printf("%#x %#x %#x %#x\n", fds[0].revents, fds[1].revents, fds[2].revents, fds[3].revents);
	must(read(pair[0], buffer, 1) == 1, "read");
	if (!once_asleep()) {
		must(read(full[0], buffer, 4096) == 4096, "read");
		_exit(0);
	}
	say("poll for room", poll(fds, 4, 1000));
	printf("%#x %#x %#x %#x\n", fds[0].revents, fds[1].revents, fds[2].revents, fds[3].revents);

	clock_gettime(CLOCK_MONOTONIC, &start);
	say("ppoll for a while", syscall(271, fds, 1, &time, NULL, 0));
	printf("waited: %d, left: %ld %ld\n", ms_since(&start) >= 30, time.tv_sec, time.tv_nsec);
	time.tv_nsec = 1000000000;
	say("ppoll for a bad while", ppoll(fds, 1, &time, NULL));
	say("ppoll with a mask of a bad size", syscall(271, fds, 1, NULL, &none, 4));
	sigemptyset(&none);
	sigemptyset(&user1);
	sigaddset(&user1, SIGUSR1);
	signals = 0;
	sigaction(SIGUSR1, &action, NULL);
	sigprocmask(SIG_BLOCK, &user1, NULL);
	raise(SIGUSR1);
	say("ppoll, a signal let in", ppoll(fds, 1, NULL, &none));
	printf("%d signals\n", signals);
	raise(SIGUSR1);
	fds[3].events = POLLOUT;
	say("ppoll, a signal let in but something there", ppoll(fds, 4, NULL, &none));
	printf("%d signals\n", signals);
	time = (struct timespec){ 0 };
	say("ppoll, a signal let in and no time", ppoll(fds, 1, &time, &none));
	printf("%d signals\n", signals);
	sigprocmask(SIG_UNBLOCK, &user1, NULL);
	action.sa_flags = SA_RESTART;
	sigaction(SIGUSR1, &action, NULL);
	later(-1, NULL, SIGUSR1);
	say("poll, interrupted", poll(fds, 1, -1));

	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_SET(pair[0], &in);
	clock_gettime(CLOCK_MONOTONIC, &start);
	say("select for a while", select(pair[0] + 1, &in, &out, NULL, &tv));
	printf("waited: %d, left: %ld %ld, set: %d\n", ms_since(&start) >= 30, (long)tv.tv_sec, (long)tv.tv_usec,
	       FD_ISSET(pair[0], &in) != 0);
	FD_SET(pair[0], &in);
	FD_SET(full[1], &out);
	FD_SET(1, &out);
	say("select of two", select(64, &in, &out, NULL, NULL));
	printf("set: %d %d %d\n", FD_ISSET(pair[0], &in) != 0, FD_ISSET(full[1], &out) != 0, FD_ISSET(1, &out) != 0);
	FD_SET(40, &in);
	say("select of a bad descriptor", select(64, &in, NULL, NULL, NULL));
	say("select of a negative number", select(-1, NULL, NULL, NULL, NULL));
	say("select of nowhere", select(10, (void *)8, NULL, NULL, NULL));
	FD_ZERO(&in);
	FD_SET(pair[0], &in);
	later(pair[1], "y", 0);
	say("pselect that waits", pselect(64, &in, NULL, NULL, NULL, &none));
	tv = (struct timeval){ .tv_sec = -1 };
	say("select for a bad while", select(64, &in, NULL, NULL, &tv));
	while (wait(NULL) > 0)
		;
}

int main(void)
{
	alarm(120);
	pipeline();
	atomic();
	poll_loop();
	ends();
	packets();
	vectors();
	interrupted();
	waiting();
	return 0;
}
