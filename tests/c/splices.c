/* FIFOs, splice and its relatives, vectors at offsets, eventfd and epoll: what each does, and what it says of bad arguments. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

static volatile int signals;
static char buffer[1 << 17];

static void count(int signal)
{
	(void)signal;
	signals++;
}

static void mask(const char *what, int fd)
{
	struct pollfd one = { .fd = fd, .events = POLLIN | POLLOUT };
	int found = poll(&one, 1, 0);

	printf("poll %s: %d %#x\n", what, found, one.revents);
}

static void fifos(void)
{
	char name[64];
	struct stat stat;
	struct sigaction action = { .sa_handler = count };
	int fd, other;

	snprintf(name, sizeof name, "/dev/shm/fifo-%d", getpid());
	must(!mkfifo(name, 0640), "mkfifo");
	must(!lstat(name, &stat), "lstat");
	printf("mode %o, size %ld, rdev %ld\n", stat.st_mode, (long)stat.st_size, (long)stat.st_rdev);
	say("write alone, not waiting", open(name, O_WRONLY | O_NONBLOCK));
	say("neither", open(name, 3));
	say("as a directory", open(name, O_RDONLY | O_DIRECTORY));
	say("exclusively", open(name, O_RDWR | O_CREAT | O_EXCL, 0600));
	fd = open(name, O_RDONLY | O_NONBLOCK);
	must(fd >= 0, "open");
	mask("a FIFO that nobody has written", fd);
	say("read of it", read(fd, buffer, 10));
	other = open(name, O_WRONLY | O_NONBLOCK);
	must(other >= 0, "open");
	say("read of it with a writer", read(fd, buffer, 10));
	say("write", write(other, "hello", 5));
	must(!fstat(fd, &stat), "fstat");
	printf("fstat: mode %o, size %ld, links %ld\n", stat.st_mode, (long)stat.st_size, (long)stat.st_nlink);
	close(other);
	mask("one that has been written", fd);
	say("read", read(fd, buffer, 10));
	mask("one that was written", fd);
	say("read of the end", read(fd, buffer, 10));
	say("lseek", lseek(fd, 0, SEEK_SET));
	say("ftruncate", ftruncate(fd, 0));
	say("truncate", truncate(name, 0));
	close(fd);
	fd = open(name, O_RDWR);
	say("write to both ends", write(fd, "both", 4));
	say("read of both ends", read(fd, buffer, 10));
	mask("both ends", fd);
	printf("F_GETFL %#o\n", fcntl(fd, F_GETFL));
	close(fd);

	if (!once_asleep()) {
		fd = open(name, O_WRONLY);
		must(write(fd, "one", 3) == 3, "write");
		_exit(0);
	}
	fd = open(name, O_RDONLY);
	printf("a reader that waited: %d\n", fd >= 0);
	say("reads", read(fd, buffer, 10));
	close(fd);
	wait(NULL);
	if (!once_asleep()) {
		fd = open(name, O_RDONLY | O_NONBLOCK);
		must(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, -1) == 1, "poll");
		_exit(read(fd, buffer, 10));
	}
	fd = open(name, O_WRONLY);
	printf("a writer that waited: %d\n", fd >= 0);
	say("writes", write(fd, "two", 3));
	wait(&other);
	printf("the child read %d\n", WEXITSTATUS(other));
	close(fd);
	/* A partner that has gone by the time that the waiter looks was one. */
	if (!once_asleep()) {
		fd = open(name, O_WRONLY | O_NONBLOCK);
		must(write(fd, "gone", 4) == 4, "write");
		close(fd);
		_exit(0);
	}
	fd = open(name, O_RDONLY);
	say("reads what a partner left", read(fd, buffer, 10));
	say("reads what a partner left", read(fd, buffer, 10));
	close(fd);
	wait(NULL);

	sigaction(SIGUSR1, &action, NULL);
	if (!once_asleep()) {
		kill(getppid(), SIGUSR1);
		_exit(0);
	}
	say("open, interrupted", open(name, O_RDONLY));
	wait(NULL);
	say("nobody is left of it", open(name, O_WRONLY | O_NONBLOCK));
	fflush(stdout);
	pid_t child = fork();
	if (!child) {
		open(name, O_RDONLY);
		_exit(0);
	}
	while ((fd = open(name, O_WRONLY | O_NONBLOCK)) < 0)
		usleep(1000);
	printf("one that waits is there: %d\n", fd >= 0);
	close(fd);
	waitpid(child, NULL, 0);
	child = fork();
	if (!child) {
		open(name, O_RDONLY);
		_exit(0);
	}
	until_asleep(child);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	say("nobody is left of one that was killed", open(name, O_WRONLY | O_NONBLOCK));
	must(!unlink(name), "unlink");
}

static void fill(char *bytes, long count, int seed)
{
	for (long i = 0; i < count; i++)
		bytes[i] = 'a' + (i * 7 + i / 4096 + seed) % 26;
}

static unsigned sum(const char *bytes, long count)
{
	unsigned sum = 1;
	for (long i = 0; i < count; i++)
		sum = sum * 31 + (unsigned char)bytes[i];
	return sum;
}

static int available(int fd)
{
	int bytes = -1;
	ioctl(fd, FIONREAD, &bytes);
	return bytes;
}

static void splices(void)
{
	int from = memfd_create("from", 0), to = memfd_create("to", 0), a[2], b[2];
	loff_t in, out;
	struct stat stat;
	long got;

	must(!pipe2(a, O_NONBLOCK) && !pipe2(b, O_NONBLOCK), "pipe2");
	fill(buffer, 50000, 1);
	must(write(from, buffer, 50000) == 50000, "write");
	must(!ftruncate(from, 300000), "ftruncate");
	say("without a pipe", splice(from, NULL, to, NULL, 10, 0));
	say("a pipe with itself", splice(a[0], NULL, a[1], NULL, 10, 0));
	say("from the wrong end", splice(a[1], NULL, b[1], NULL, 10, 0));
	say("to the wrong end", splice(a[0], NULL, b[0], NULL, 10, 0));
	say("of nothing", splice(99, NULL, 98, NULL, 0, -1));
	say("of a bad descriptor", splice(99, NULL, a[1], NULL, 1, 0));
	say("with bad flags", splice(from, NULL, a[1], NULL, 1, 16));
	in = 0;
	say("an offset of a pipe", splice(a[0], &in, b[1], NULL, 1, 0));
	say("an offset to a pipe", splice(from, NULL, a[1], &in, 1, 0));
	say("an offset from nowhere", splice(from, (void *)8, a[1], NULL, 1, 0));
	in = -1;
	say("a negative offset", splice(from, &in, a[1], NULL, 1, 0));
	say("an empty pipe", splice(a[0], NULL, to, NULL, 10, 0));
	in = 100;
	say("from a file", splice(from, &in, a[1], NULL, 10000, 0));
	printf("offset %ld, position %ld, %d bytes\n", (long)in, (long)lseek(from, 0, SEEK_CUR), available(a[0]));
	got = read(a[0], buffer, sizeof buffer);
	printf("%ld %#x\n", got, sum(buffer, got));
	in = 49000;
	say("into a hole", splice(from, &in, a[1], NULL, 1 << 20, 0));
	say("once more", splice(from, &in, a[1], NULL, 1 << 20, 0));
	fstat(from, &stat);
	printf("offset %ld, %d bytes, blocks %ld\n", (long)in, available(a[0]), (long)stat.st_blocks);
	say("to another pipe, a part", splice(a[0], NULL, b[1], NULL, 5000, 0));
	printf("%d %d\n", available(a[0]), available(b[0]));
	say("to another pipe", splice(a[0], NULL, b[1], NULL, 1 << 20, 0));
	printf("%d %d\n", available(a[0]), available(b[0]));
	say("back by tee", tee(b[0], a[1], 9000, 0));
	printf("%d %d\n", available(a[0]), available(b[0]));
	got = read(a[0], buffer, sizeof buffer);
	printf("%ld %#x\n", got, sum(buffer, got));
	out = 77;
	say("to a file", splice(b[0], NULL, to, &out, 10001, 0));
	fstat(to, &stat);
	printf("offset %ld, size %ld\n", (long)out, (long)stat.st_size);
	say("the rest", splice(b[0], NULL, to, NULL, 1 << 20, 0));
	fstat(to, &stat);
	printf("position %ld, size %ld\n", (long)lseek(to, 0, SEEK_CUR), (long)stat.st_size);
	got = pread(to, buffer, sizeof buffer, 0);
	printf("%ld %#x\n", got, sum(buffer, got));
	in = 300000;
	say("at the end of a file", splice(from, &in, a[1], NULL, 10, 0));
	fcntl(to, F_SETFL, O_APPEND);
	must(write(a[1], "x", 1) == 1, "write");
	say("to a file that is appended to", splice(a[0], NULL, to, NULL, 10, 0));
	say("tee to a file", tee(a[0], to, 10, 0));
	say("tee to itself", tee(a[0], a[1], 10, 0));
	say("tee", tee(a[0], b[1], 10, 0));
	say("tee from an empty pipe", (read(a[0], buffer, 1), tee(a[0], b[1], 10, 0)));
	close(a[1]);
	say("splice from a pipe without writers", splice(a[0], NULL, b[1], NULL, 10, 0));
	say("tee from it", tee(a[0], b[1], 10, 0));
	close(b[0]);
	signal(SIGPIPE, SIG_IGN);
	say("splice to a pipe that nobody reads", splice(from, NULL, b[1], NULL, 10, 0));
	signal(SIGPIPE, SIG_DFL);
	close(a[0]);
	close(b[1]);

	must(!pipe(a), "pipe");
	say("splice that may not wait", splice(a[0], NULL, to, NULL, 1, SPLICE_F_NONBLOCK));
	fcntl(to, F_SETFL, 0);
	if (!once_asleep()) {
		must(write(a[1], "late", 4) == 4, "write");
		_exit(0);
	}
	say("splice that waits", splice(a[0], NULL, to, NULL, 100, 0));
	wait(NULL);

	struct iovec vector[] = { { buffer + 10, 5000 }, { buffer, 0 }, { buffer + 20000, 3 } };
	fill(buffer, 30000, 5);
	say("vmsplice", vmsplice(a[1], vector, 3, 0));
	say("vmsplice of none", vmsplice(a[1], vector, 0, 0));
	say("vmsplice of bad flags", vmsplice(a[1], vector, 3, 16));
	say("vmsplice to a file", vmsplice(to, vector, 3, 0));
	say("vmsplice of nowhere", vmsplice(a[1], (void *)8, 1, 0));
	vector[2].iov_base = (void *)8;
	say("vmsplice with a bad vector", vmsplice(a[1], vector, 3, 0));
	printf("%d bytes\n", available(a[0]));
	vector[0] = (struct iovec){ buffer + 40000, 4000 };
	vector[2] = (struct iovec){ buffer + 50000, 8000 };
	say("vmsplice from a pipe", vmsplice(a[0], vector, 3, 0));
	printf("%#x %#x\n", sum(buffer + 40000, 4000), sum(buffer + 50000, 6003));
	say("vmsplice from an empty pipe", vmsplice(a[0], vector, 3, SPLICE_F_NONBLOCK));

	off_t offset = 3;
	say("sendfile to a pipe", sendfile(a[1], from, &offset, 10));
	printf("offset %ld, %d bytes\n", (long)offset, available(a[0]));
	say("sendfile to a pipe, more than fits", sendfile(a[1], from, &offset, 1 << 20));
	printf("offset %ld, %d bytes\n", (long)offset, available(a[0]));
	say("sendfile from a pipe", sendfile(to, a[0], NULL, 10));
	say("sendfile from a pipe at an offset", sendfile(to, a[0], &offset, 10));
	say("sendfile to the wrong end", sendfile(a[0], from, NULL, 10));
	say("copy_file_range to a pipe", copy_file_range(from, NULL, a[1], NULL, 10, 0));
	fcntl(a[1], F_SETFL, O_NONBLOCK);
	say("sendfile to a full pipe", sendfile(a[1], from, NULL, 10));
	int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDONLY);
	say("splice to /dev/null", splice(a[0], NULL, null, NULL, 1 << 20, 0));
	say("splice from /dev/zero", splice(zero, NULL, a[1], NULL, 100, 0));
	say("splice from /dev/null", splice(null, NULL, a[1], NULL, 100, 0));
	say("read", read(a[0], buffer, 1000));
	printf("%#x\n", sum(buffer, 100));
	close(null);
	close(zero);
	close(a[0]);
	close(a[1]);
	close(from);
	close(to);
}

static void vectors(void)
{
	int fd = memfd_create("vectors", 0), pair[2];
	char a[5], b[8], c[20];
	struct iovec out[] = { { "abc", 3 }, { "", 0 }, { "defgh", 5 } };
	struct iovec in[] = { { a, 4 }, { b, 2 }, { c, 20 } };

	must(!pipe(pair), "pipe");
	say("pwritev", pwritev(fd, out, 3, 10));
	say("preadv", preadv(fd, in, 3, 8));
	printf("%.2s %.2s %.4s, position %ld\n", a + 2, b, c, (long)lseek(fd, 0, SEEK_CUR));
	say("pwritev at a negative offset", pwritev(fd, out, 3, -1));
	say("pwritev2 at the position", pwritev2(fd, out, 3, -1, 0));
	say("preadv2 at the position", preadv2(fd, in, 3, -1, 0));
	say("preadv2 at a negative offset", preadv2(fd, in, 3, -2, 0));
	say("pwritev2 to the end", pwritev2(fd, out, 3, 0, RWF_APPEND));
	say("position", lseek(fd, 0, SEEK_CUR));
	say("pwritev2 to the end, with the position", pwritev2(fd, out, 3, -1, RWF_APPEND));
	say("position", lseek(fd, 0, SEEK_CUR));
	say("pwritev2 with unknown flags", pwritev2(fd, out, 3, 0, 0x4000));
	say("preadv2, synchronous", preadv2(fd, in, 3, 0, RWF_SYNC | RWF_DSYNC | RWF_HIPRI));
	say("preadv of too many", preadv(fd, in, 1025, 0));
	say("preadv to nowhere", preadv(fd, (void *)8, 1, 0));
	say("preadv of a bad descriptor", preadv(99, in, 3, 0));
	say("preadv of a pipe", preadv(pair[0], in, 3, 0));
	say("pwritev of a pipe", pwritev(pair[1], out, 3, 0));
	say("pwritev2 of a pipe", pwritev2(pair[1], out, 3, -1, 0));
	say("preadv2 of a pipe", preadv2(pair[0], in, 3, -1, 0));
	in[1].iov_base = (void *)8;
	say("preadv with a hole", preadv(fd, in, 3, 0));
	in[0].iov_base = (void *)8;
	say("preadv without a first", preadv(fd, in, 3, 0));
	close(fd);
	close(pair[0]);
	close(pair[1]);
}

static void events(void)
{
	uint64_t number = 3;
	int fd = eventfd(2, EFD_NONBLOCK);
	struct stat stat;

	say("eventfd with bad flags", eventfd(0, 4));
	must(fd >= 0, "eventfd");
	fstat(fd, &stat);
	printf("mode %o, F_GETFL %#o\n", stat.st_mode, fcntl(fd, F_GETFL));
	mask("an eventfd of 2", fd);
	say("write", write(fd, &number, 8));
	say("read", read(fd, &number, 8));
	printf("%ld\n", (long)number);
	mask("an eventfd of 0", fd);
	say("read of 0", read(fd, &number, 8));
	say("a short read", read(fd, &number, 4));
	say("a short write", write(fd, &number, 4));
	say("a long write", write(fd, buffer, 16));
	number = -1;
	say("write of too much", write(fd, &number, 8));
	number = -2;
	say("write of nearly too much", write(fd, &number, 8));
	mask("a full one", fd);
	number = 1;
	say("write of one more", write(fd, &number, 8));
	say("write from nowhere", write(fd, (void *)8, 8));
	say("read to nowhere", read(fd, (void *)8, 8));
	mask("what that left", fd);
	say("lseek", lseek(fd, 0, SEEK_CUR));
	say("pread", pread(fd, &number, 8, 0));
	say("ftruncate", ftruncate(fd, 0));
	close(fd);
	fd = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
	say("semaphore", read(fd, &number, 8));
	say("semaphore", read(fd, &number, 8));
	say("semaphore", read(fd, &number, 8));
	printf("%ld\n", (long)number);
	close(fd);
	fd = eventfd(0, 0);
	if (!once_asleep()) {
		must(write(fd, &number, 8) == 8, "write");
		_exit(0);
	}
	say("read that waits", read(fd, &number, 8));
	wait(NULL);
	number = -2;
	must(write(fd, &number, 8) == 8, "write");
	if (!once_asleep()) {
		must(read(fd, &number, 8) == 8, "read");
		_exit(0);
	}
	number = 5;
	say("write that waits", write(fd, &number, 8));
	wait(NULL);
	say("read", read(fd, &number, 8));
	printf("%ld\n", (long)number);
	close(fd);
}

static void watch(int epoll, const char *what, int ms)
{
	struct epoll_event found[4] = { 0 };
	int number = epoll_wait(epoll, found, 4, ms);

	printf("%s: %d", what, number);
	for (int i = 0; i < number; i++)
		printf(" %#x/%ld", found[i].events, (long)found[i].data.u64);
	puts("");
	fflush(stdout);
}

static int control(int epoll, int op, int fd, unsigned events, long data)
{
	struct epoll_event event = { .events = events, .data.u64 = data };
	return epoll_ctl(epoll, op, fd, &event);
}

static void epolls(void)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC), nested = epoll_create(1), pair[2], file = memfd_create("file", 0);

	must(epoll >= 0 && nested >= 0 && !pipe2(pair, O_NONBLOCK), "epoll_create1");
	say("epoll_create1 with bad flags", epoll_create1(1));
	say("epoll_create of 0", epoll_create(0));
	say("a file", control(epoll, EPOLL_CTL_ADD, file, EPOLLIN, 1));
	say("itself", control(epoll, EPOLL_CTL_ADD, epoll, EPOLLIN, 1));
	say("what is not open", control(epoll, EPOLL_CTL_ADD, 99, EPOLLIN, 1));
	say("of no epoll", control(pair[0], EPOLL_CTL_ADD, pair[1], EPOLLIN, 1));
	say("from nowhere", epoll_ctl(epoll, EPOLL_CTL_ADD, pair[0], (void *)8));
	say("an unknown operation", control(epoll, 7, pair[0], EPOLLIN, 1));
	say("a change of what is not there", control(epoll, EPOLL_CTL_MOD, pair[0], EPOLLIN, 1));
	say("the end of what is not there", control(epoll, EPOLL_CTL_DEL, pair[0], EPOLLIN, 1));
	say("a pipe", control(epoll, EPOLL_CTL_ADD, pair[0], EPOLLIN, 7));
	say("twice", control(epoll, EPOLL_CTL_ADD, pair[0], EPOLLIN, 7));
	say("wait for no events", epoll_wait(epoll, (void *)buffer, 0, 0));
	say("wait to the kernel", epoll_wait(epoll, (void *)(1ul << 63), 1, 0));
	say("wait of a pipe", epoll_wait(pair[0], (void *)buffer, 1, 0));
	watch(epoll, "nothing", 0);
	watch(epoll, "nothing for a while", 20);
	must(write(pair[1], "abc", 3) == 3, "write");
	say("wait to nowhere", epoll_wait(epoll, (void *)8, 1, 0));
	watch(epoll, "something", -1);
	watch(epoll, "and still", 0);
	say("by edges", control(epoll, EPOLL_CTL_MOD, pair[0], EPOLLIN | EPOLLET, 8));
	watch(epoll, "an edge", 0);
	watch(epoll, "no edge", 0);
	must(write(pair[1], "d", 1) == 1, "write");
	watch(epoll, "another", 0);
	must(read(pair[0], buffer, 1) == 1, "read");
	watch(epoll, "a read is none", 0);
	say("once", control(epoll, EPOLL_CTL_MOD, pair[0], EPOLLIN | EPOLLONESHOT, 9));
	watch(epoll, "once", 0);
	must(write(pair[1], "d", 1) == 1, "write");
	watch(epoll, "not twice", 0);
	say("again", control(epoll, EPOLL_CTL_MOD, pair[0], EPOLLIN | EPOLLONESHOT, 10));
	watch(epoll, "again", 0);
	say("the other end", control(epoll, EPOLL_CTL_ADD, pair[1], EPOLLOUT, 11));
	watch(epoll, "the other end", 0);
	say("nested", control(nested, EPOLL_CTL_ADD, epoll, EPOLLIN, 12));
	watch(nested, "nested", 0);
	mask("nested", nested);
	say("a loop", control(epoll, EPOLL_CTL_ADD, nested, EPOLLIN, 13));
	say("exclusive with more", control(nested, EPOLL_CTL_ADD, pair[0], EPOLLPRI | EPOLLEXCLUSIVE, 1));
	say("the end of the other end", epoll_ctl(epoll, EPOLL_CTL_DEL, pair[1], NULL));
	mask("nothing nested", nested);
	int copy = dup(pair[0]);
	say("a copy", control(epoll, EPOLL_CTL_ADD, copy, EPOLLIN, 14));
	watch(epoll, "a copy", 0);
	close(copy);
	watch(epoll, "a copy that is closed but the original is not", 0);
	while (read(pair[0], buffer, 100) > 0)
		;
	if (!once_asleep()) {
		must(write(pair[1], "later", 5) == 5, "write");
		_exit(0);
	}
	watch(epoll, "later", 2000);
	wait(NULL);
	close(pair[1]);
	watch(epoll, "the end", 0);
	close(pair[0]);
	watch(epoll, "closed", 0);
	close(epoll);
	watch(nested, "nested and closed", 0);
	close(nested);
	close(file);
}

int main(void)
{
	alarm(120);
	fifos();
	splices();
	vectors();
	events();
	epolls();
	return 0;
}
