/*
 * RLIMIT_FSIZE and its signal (C17); set-id bits and capabilities that writing takes; O_NOATIME. It works in a tmpfs of its own: on Linux in a
 * mount namespace of its own, which needs root.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "common.h"

#define USER 1000

static char bytes[20000];
static volatile int caught;

static void count(int signal)
{
	(void)signal;
	caught++;
}

/* Says how many signals came since the last time, too. */
#define LIMITED(call) \
	do { \
		caught = 0; \
		CALL(call); \
		if (caught) \
			printf("   SIGXFSZ, %d\n", caught); \
	} while (0)

static void show(int fd)
{
	struct stat stat;

	must(!fstat(fd, &stat), "fstat");
	printf("   size %ld, blocks %ld, at %ld\n", (long)stat.st_size, (long)stat.st_blocks, (long)lseek(fd, 0, SEEK_CUR));
}

static void limit(long limit)
{
	struct rlimit limits = { limit, RLIM_INFINITY };

	must(!setrlimit(RLIMIT_FSIZE, &limits), "setrlimit");
	printf("limit %ld\n", limit);
}

static int new_file(const char *name)
{
	int fd = open(name, O_CREAT | O_RDWR, 0666);

	must(fd >= 0, name);
	return fd;
}

/* What is beyond the limit is not written; at the limit, the signal comes. */
static void writes(int fd)
{
	struct iovec parts[3] = { { bytes, 4000 }, { bytes, 4000 }, { bytes, 4000 } };

	limit(10000);
	LIMITED(write(fd, bytes, 8000));
	show(fd);
	LIMITED(write(fd, bytes, 8000));
	show(fd);
	LIMITED(write(fd, bytes, 1));
	show(fd);
	LIMITED(write(fd, bytes, 0));
	LIMITED(pwrite(fd, bytes, 100, 9990));
	LIMITED(pwrite(fd, bytes, 100, 10000));
	LIMITED(pwrite(fd, bytes, 100, 20000));
	LIMITED(pwrite(fd, bytes, 0, 20000));
	lseek(fd, 0, SEEK_SET);
	LIMITED(writev(fd, parts, 3));
	LIMITED(writev(fd, parts, 3));
}

/* Sizes beyond the limit are refused, unless they are what the file has already. */
static void sizes(int fd)
{
	LIMITED(ftruncate(fd, 10000));
	LIMITED(ftruncate(fd, 10001));
	show(fd);
	LIMITED(ftruncate(fd, 5000));
	LIMITED(ftruncate(fd, 10001));
	LIMITED(truncate("f", 10001));
	LIMITED(truncate("f", 9999));
	LIMITED(fallocate(fd, 0, 0, 10000));
	LIMITED(fallocate(fd, 0, 0, 10001));
	show(fd);
	LIMITED(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 10001));
	LIMITED(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 20000));
	LIMITED(fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 20000));
	LIMITED(fallocate(fd, 0, 20000, 1));
	show(fd);
}

/* A file that was longer than the limit before it was set. */
static void longer(int fd)
{
	int appending = open("f", O_WRONLY | O_APPEND);

	limit(4096);
	show(fd);
	LIMITED(pwrite(fd, bytes, 100, 0));
	LIMITED(pwrite(fd, bytes, 100, 5000));
	LIMITED(pwrite(fd, bytes, 100, 4090));
	LIMITED(ftruncate(fd, 9000));
	LIMITED(ftruncate(fd, 8000));
	LIMITED(ftruncate(fd, 8001));
	LIMITED(fallocate(fd, 0, 0, 8000));
	LIMITED(fallocate(fd, 0, 0, 8001));
	LIMITED(write(appending, bytes, 10));
	LIMITED(ftruncate(fd, 4000));
	LIMITED(write(appending, bytes, 1000));
	LIMITED(write(appending, bytes, 1));
	show(appending);
}

static void copies(int from, int to)
{
	off_t out, in = 0;

	LIMITED(write(from, bytes, 4096));
	LIMITED(sendfile(to, from, &in, 4096));
	in = 0;
	LIMITED(sendfile(to, from, &in, 10));
	show(to);
	in = 0, out = 4000;
	LIMITED(copy_file_range(from, &in, to, &out, 1000, 0));
	in = 0, out = 4096;
	LIMITED(copy_file_range(from, &in, to, &out, 1000, 0));
}

/* Seals are asked after the limit; a mapping, and what is no file, is not limited. */
static void others(int from, int to)
{
	int sealed = memfd_create("m", MFD_ALLOW_SEALING), null = open("/dev/null", O_WRONLY);
	char *mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, from, 0);

	LIMITED(ftruncate(sealed, 5000));
	LIMITED(fcntl(sealed, F_ADD_SEALS, F_SEAL_GROW));
	LIMITED(fallocate(sealed, 0, 0, 5000));
	LIMITED(ftruncate(sealed, 5000));
	LIMITED(pwrite(sealed, bytes, 10, 5000));
	limit(0);
	LIMITED(pwrite(to, bytes, 1, 0));
	LIMITED(ftruncate(to, 0));
	LIMITED(ftruncate(to, 1));
	mapped[0] = 1;
	puts("a mapping is not limited");
	LIMITED(write(null, bytes, 100));
	limit(-1);
	LIMITED(pwrite(to, bytes, 100, 100000));
}

/* The signal ends who does not care for it, and nobody who ignores it. */
static void signals(int fd)
{
	void (*const handlers[])(int) = { SIG_DFL, SIG_IGN };
	int status;

	for (int i = 0; i < 2; i++) {
		fflush(stdout);
		if (!fork()) {
			signal(SIGXFSZ, handlers[i]);
			must(!setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 0, 0 }), "setrlimit");
			must(!ftruncate(fd, 0), "ftruncate");
			_exit(write(fd, bytes, 1) < 0 && errno == EFBIG);
		}
		wait(&status);
		printf("%s: signal %d, status %d\n", i ? "ignored" : "by default", WTERMSIG(status), WEXITSTATUS(status));
	}
}

/* A file of a user's, with a mode. */
static void owned(const char *name, uid_t uid, gid_t gid, mode_t mode)
{
	int fd = new_file(name);

	must(write(fd, bytes, 5000) == 5000, "write");
	close(fd);
	must(!chown(name, uid, gid), "chown");
	must(!chmod(name, mode), "chmod");
}

static void show_mode(const char *name)
{
	struct stat file;

	must(!stat(name, &file), name);
	printf("   %s has mode %o\n", name, file.st_mode);
}

/* A change that root makes takes no set-id bits; one of ownership does. */
static void set_id_of_root(void)
{
	int fd;

	owned("r", USER, USER, 06777);
	fd = open("r", O_RDWR);
	CALL(write(fd, bytes, 1));
	show_mode("r");
	CALL(ftruncate(fd, 10));
	show_mode("r");
	CALL(fchown(fd, -1, -1));
	show_mode("r");
	owned("locks", USER, USER, 02766);
	fd = open("locks", O_RDWR);
	CALL(fchown(fd, -1, -1));
	show_mode("locks");
}

/* Every way to change a file, made by its owner, or by a user whose group it is not (`other`). */
static void set_id_of_user(void)
{
	static const char *const names[] = { "write", "ftruncate", "truncate", "fallocate", "chown", "open", "mapping" };
	int fd;
	char *mapped;

	for (int i = 0; i < 7; i++)
		owned(names[i], USER, USER, 06777);
	owned("group", USER, USER, 02766);
	owned("other", USER, 2 * USER, 02766);
	fflush(stdout);
	if (fork()) {
		wait(NULL);
		return;
	}
	must(!setgroups(0, NULL) && !setgid(USER) && !setuid(USER), "setuid");
	CALL(write(fd = open("write", O_RDWR), bytes, 0));
	show_mode("write");
	CALL(write(fd, bytes, 1));
	show_mode("write");
	CALL(ftruncate(open("ftruncate", O_RDWR), 10));
	show_mode("ftruncate");
	CALL(truncate("truncate", 10));
	show_mode("truncate");
	CALL(fallocate(open("fallocate", O_RDWR), 0, 0, 10));
	show_mode("fallocate");
	CALL(write(open("group", O_RDWR), bytes, 1));
	show_mode("group");
	CALL(write(open("other", O_RDWR), bytes, 1));
	show_mode("other");
	CALL(fchown(open("chown", O_RDWR), -1, -1));
	show_mode("chown");
	CALL(close(open("open", O_RDWR | O_TRUNC)));
	show_mode("open");
	fd = open("mapping", O_RDWR);
	mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	mapped[0] = 1;
	show_mode("mapping");
	CALL(chmod("mapping", 06777));
	show_mode("mapping");
	CALL(pwrite(fd, bytes, 1, 0));
	show_mode("mapping");
	CALL(write(open("r", O_RDWR), bytes, 1));
	show_mode("r");
	fflush(stdout);
	_exit(0);
}

/* A file's capabilities go with any change of its content or its owner. */
static void capabilities(void)
{
	static const char name[] = "security.capability";
	const unsigned capability[5] = { 0x02000000, 1 };
	char value[99];
	int fd;

	owned("cap", 0, 0, 0777);
	fd = open("cap", O_RDWR);
	for (int i = 0; i < 3; i++) {
		CALL(fsetxattr(fd, name, capability, sizeof capability, 0));
		CALL(fgetxattr(fd, name, value, sizeof value));
		if (i == 0)
			CALL(write(fd, bytes, 1));
		if (i == 1)
			CALL(fchown(fd, 0, 0));
		if (i == 2)
			CALL(ftruncate(fd, 0));
		CALL(fgetxattr(fd, name, value, sizeof value));
	}
}

/* Whether reading a byte through a descriptor, or through a mapping of it, stamps the file, which was written to since it was last read. */
static void stamps(const char *what, int writer, int reader, int mapped)
{
	struct stat before, after;

	until_next_tick();
	must(pwrite(writer, bytes, 1, 0) == 1, "write");
	until_next_tick();
	must(!fstat(writer, &before), "fstat");
	if (mapped)
		(void)*(volatile char *)mmap(NULL, 4096, PROT_READ, MAP_SHARED, reader, 0);
	else
		must(pread(reader, bytes, 1, 0) == 1, "read");
	must(!fstat(writer, &after), "fstat");
	printf("%s: %s\n", what, before.st_atim.tv_nsec == after.st_atim.tv_nsec ? "not stamped" : "stamped");
}

static void noatime(void)
{
	int writer = new_file("stamped"), reader = open("stamped", O_RDONLY), silent = open("stamped", O_RDONLY | O_NOATIME);

	stamps("read", writer, reader, 0);
	stamps("read with O_NOATIME", writer, silent, 0);
	stamps("mapped", writer, reader, 1);
	stamps("mapped with O_NOATIME", writer, silent, 1);
	printf("F_GETFL %#o\n", fcntl(silent, F_GETFL) & O_NOATIME);
	CALL(fcntl(reader, F_SETFL, O_NOATIME));
	stamps("read once it is set", writer, reader, 0);
	must(!chmod("stamped", 0666), "chmod");
	fflush(stdout);
	if (fork()) {
		wait(NULL);
		return;
	}
	/* Who neither owns it nor is root may not. */
	must(!setuid(USER), "setuid");
	CALL(open("stamped", O_RDONLY | O_NOATIME));
	reader = open("stamped", O_RDONLY);
	CALL(fcntl(reader, F_SETFL, O_NOATIME));
	CALL(fcntl(reader, F_SETFL, 0));
	fflush(stdout);
	_exit(0);
}

int main(void)
{
	int fd, from, to;

	enter_own_tmpfs("size=4m");
	umask(0);
	memset(bytes, 'x', sizeof bytes);
	fd = new_file("f"), from = new_file("from"), to = new_file("to");
	signal(SIGXFSZ, count);
	writes(fd);
	sizes(fd);
	longer(fd);
	copies(from, to);
	others(from, to);
	signals(to);
	set_id_of_root();
	set_id_of_user();
	capabilities();
	noatime();
	return 0;
}
