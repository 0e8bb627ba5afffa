/* Who watches files and directories is told what happens to them: inotify, and F_NOTIFY's signals. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "common.h"

static int instance;
static uint32_t cookie;

/* What was told since the last question, a line each. */
static void told(const char *what)
{
	static const char *names[] = {"ACCESS", "MODIFY", "ATTRIB", "CLOSE_WRITE", "CLOSE_NOWRITE", "OPEN", "MOVED_FROM", "MOVED_TO",
				      "CREATE", "DELETE", "DELETE_SELF", "MOVE_SELF", "", "UNMOUNT", "Q_OVERFLOW", "IGNORED"};
	char buffer[8192] __attribute__((aligned(8)));
	int available = 0;

	printf("%s\n", what);
	ioctl(instance, FIONREAD, &available);
	ssize_t bytes = read(instance, buffer, sizeof buffer);
	if (bytes < 0)
		printf("    %s\n", strerror(errno));
	else if (bytes != available)
		printf("    %zd bytes, %d told\n", bytes, available);
	for (ssize_t at = 0; at < bytes;) {
		struct inotify_event *event = (void *)(buffer + at);
		printf("    %d", event->wd);
		for (int bit = 0; bit < 16; bit++)
			if (event->mask >> bit & 1)
				printf(" %s", names[bit]);
		if (event->mask & IN_ISDIR)
			printf(" ISDIR");
		if (event->len)
			printf(" \"%s\" in %u", event->name, event->len);
		if (event->cookie)
			printf(" %s", event->cookie == cookie ? "the same cookie" : "a cookie");
		cookie = event->cookie;
		puts("");
		at += sizeof *event + event->len;
	}
	fflush(stdout);
}

static void errors(void)
{
	char small[16];
	int null = open("/dev/null", O_RDONLY);

	CALL(inotify_init1(1));
	CALL(inotify_add_watch(-1, ".", IN_OPEN));
	CALL(inotify_add_watch(null, ".", IN_OPEN));
	CALL(inotify_add_watch(instance, ".", 0));
	CALL(inotify_add_watch(instance, ".", 0x00010000));
	CALL(inotify_add_watch(instance, ".", IN_OPEN | IN_MASK_ADD | IN_MASK_CREATE));
	CALL(inotify_add_watch(instance, "nothing", IN_OPEN));
	CALL(inotify_add_watch(instance, (char *)1, IN_OPEN));
	CALL(inotify_add_watch(instance, "/dev/null", IN_OPEN | IN_ONLYDIR));
	CALL(inotify_rm_watch(instance, 1));
	CALL(inotify_rm_watch(null, 1));
	CALL(inotify_rm_watch(-1, 1));
	CALL(read(instance, small, sizeof small));
	CALL(write(instance, small, 1));
	CALL(lseek(instance, 0, SEEK_SET));
	CALL(fcntl(instance, F_GETFL));
	CALL(inotify_add_watch(instance, ".", IN_CREATE));
	close(open("made", O_CREAT | O_WRONLY, 0600));
	CALL(read(instance, small, sizeof small));
	struct pollfd ready = {instance, POLLIN | POLLOUT, 0};
	CALL(poll(&ready, 1, 0));
	printf("%x\n", ready.revents);
	CALL(read(instance, (char *)1, 1000));
	told("not read");
	CALL(poll(&ready, 1, 0));
	CALL(inotify_add_watch(instance, ".", IN_CREATE | IN_MASK_CREATE));
	CALL(inotify_add_watch(instance, ".", IN_DELETE | IN_MASK_ADD));
	close(open("made2", O_CREAT | O_WRONLY, 0600));
	unlink("made2");
	told("both");
	CALL(inotify_add_watch(instance, ".", IN_DELETE));
	close(open("made2", O_CREAT | O_WRONLY, 0600));
	unlink("made2");
	told("one");
	CALL(inotify_rm_watch(instance, 1));
	told("ended");
	CALL(inotify_rm_watch(instance, 1));
	unlink("made");
	close(null);
}

static void files(void)
{
	char buffer[100];
	struct timespec times[2] = {{1, 0}, {0, UTIME_OMIT}};

	CALL(inotify_add_watch(instance, ".", IN_ALL_EVENTS));
	int file = open("file", O_CREAT | O_RDWR, 0600);
	told("open that makes");
	write(file, "hello", 5);
	told("write");
	write(file, "hello", 5);
	write(file, "hello", 5);
	told("two writes");
	pwrite(file, "hello", 5, 0);
	pread(file, buffer, 5, 0);
	read(file, buffer, 5);
	pread(file, buffer, 5, 1000);
	told("write and read");
	ftruncate(file, 3);
	told("ftruncate");
	CALL(fallocate(file, 0, 0, 10000));
	told("fallocate");
	fchmod(file, 0644);
	told("fchmod");
	fchown(file, getuid(), getgid());
	told("fchown");
	futimens(file, times);
	told("time of access");
	times[1] = times[0];
	futimens(file, times);
	told("both times");
	times[0].tv_nsec = UTIME_OMIT;
	futimens(file, times);
	told("time of change");
	fsetxattr(file, "user.x", "1", 1, 0);
	fremovexattr(file, "user.x");
	told("attributes");
	int copy = dup(file);
	close(copy);
	told("a copy");
	close(file);
	told("close");
	close(open("file", O_RDONLY));
	told("for reading");
	close(open("file", O_PATH));
	told("its place");
	close(open("file", O_WRONLY | O_TRUNC));
	told("truncated");
	truncate("file", 10);
	told("truncate");
	link("file", "other");
	told("link");
	rename("other", "third");
	told("rename");
	rename("third", "file2");
	link("file", "file3");
	symlink("file", "link");
	mkfifo("fifo", 0600);
	told("some names");
	unlink("file2");
	unlink("file3");
	unlink("link");
	unlink("fifo");
	told("fewer names");
	int from = open("file", O_RDONLY), to = open("to", O_CREAT | O_WRONLY, 0600);
	told("two opened");
	sendfile(to, from, NULL, 5);
	told("sendfile");
	close(from);
	close(to);
	told("two closed");
	rename("to", "file");
	told("over another");
	unlink("file");
	told("unlink");
	CALL(access("x", F_OK));
	struct stat stat_buffer;
	CALL(stat("x", &stat_buffer));
	told("nothing");
	inotify_rm_watch(instance, 2);
	told("ended");
}

static void directories(void)
{
	mkdir("d", 0700);
	int watch = inotify_add_watch(instance, ".", IN_ALL_EVENTS);
	int below = inotify_add_watch(instance, "d", IN_ALL_EVENTS);
	printf("%d %d\n", watch, below);
	mkdir("d/e", 0700);
	told("mkdir below");
	mkdir("f", 0700);
	told("mkdir");
	int directory = open("d", O_RDONLY | O_DIRECTORY);
	told("open");
	char buffer[1000];
	CALL(getdents64(directory, buffer, sizeof buffer) > 0);
	told("list");
	close(directory);
	told("close");
	chmod("d", 0755);
	told("chmod");
	rename("d/e", "e");
	told("rename out");
	rename("d", "g");
	told("rename");
	CALL(renameat2(AT_FDCWD, "g", AT_FDCWD, "f", 2));
	told("exchange");
	rmdir("e");
	rmdir("g");
	told("rmdir");
	rmdir("f");
	told("rmdir of what is watched");
	CALL(inotify_rm_watch(instance, below));
	inotify_rm_watch(instance, watch);
	told("ended");
}

static void themselves(void)
{
	int file = open("file", O_CREAT | O_RDWR, 0600);
	int watch = inotify_add_watch(instance, "file", IN_ALL_EVENTS);
	CALL(inotify_add_watch(instance, "file", IN_ALL_EVENTS) == watch);
	write(file, "x", 1);
	told("write");
	rename("file", "file2");
	told("rename");
	link("file2", "file");
	told("link");
	unlink("file");
	told("unlink of one");
	unlink("file2");
	told("unlink of the last");
	write(file, "x", 1);
	told("without a name");
	close(file);
	told("gone");
	file = open("file", O_CREAT | O_RDWR, 0600);
	CALL(inotify_add_watch(instance, "file", IN_MODIFY | IN_ONESHOT) > 0);
	write(file, "x", 1);
	write(file, "x", 1);
	told("once");
	symlink("file", "link");
	CALL(inotify_add_watch(instance, "link", IN_ATTRIB | IN_DONT_FOLLOW) > 0);
	fchmod(file, 0600);
	told("of the file, not the link");
	unlink("link");
	told("of the link");
	CALL(inotify_add_watch(instance, "file", IN_DELETE_SELF) > 0);
	close(file);
	unlink("file");
	told("its end");
}

/* Somebody waits for it. */
static void waiting(void)
{
	CALL(inotify_add_watch(instance, ".", IN_CREATE) > 0);
	fcntl(instance, F_SETFL, 0);
	if (once_asleep() == 0) {
		close(open("made", O_CREAT | O_WRONLY, 0600));
		exit(0);
	}
	told("waited");
	wait(NULL);
	unlink("made");
	fcntl(instance, F_SETFL, O_NONBLOCK);
	close(open("made", O_CREAT | O_WRONLY, 0600));
	unlink("made");
	close(instance);
}

static volatile int signals, last_code, last_fd;

static void note(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	signals++;
	last_code = info->si_code;
	last_fd = info->si_fd;
}

static void signalled(const char *what)
{
	printf("%-40s %d times, code %d, %s\n", what, signals, last_code, last_fd ? "a descriptor" : "");
	signals = last_code = last_fd = 0;
}

static void notes(void)
{
	struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESTART};

	sigaction(SIGRTMIN + 1, &action, NULL);
	sigaction(SIGIO, &action, NULL);
	int directory = open(".", O_RDONLY), file = open("file", O_CREAT | O_RDWR, 0600);
	CALL(fcntl(file, F_NOTIFY, DN_CREATE));
	CALL(fcntl(directory, F_NOTIFY, DN_CREATE));
	close(open("a", O_CREAT | O_RDWR, 0600));
	signalled("made, once");
	close(open("b", O_CREAT | O_RDWR, 0600));
	signalled("made, again");
	fcntl(directory, F_SETSIG, SIGRTMIN + 1);
	CALL(fcntl(directory, F_NOTIFY, DN_CREATE | DN_DELETE | DN_MULTISHOT));
	unlink("a");
	signalled("removed");
	close(open("a", O_CREAT | O_RDWR, 0600));
	signalled("made");
	rename("a", "c");
	signalled("renamed");
	write(file, "x", 1);
	signalled("written, not asked for");
	CALL(fcntl(directory, F_NOTIFY, DN_MODIFY | DN_ACCESS | DN_ATTRIB | DN_RENAME | DN_MULTISHOT));
	write(file, "x", 1);
	signalled("written");
	char byte;
	pread(file, &byte, 1, 0);
	signalled("read");
	fchmod(file, 0644);
	signalled("changed");
	rename("c", "d");
	signalled("renamed");
	CALL(fcntl(directory, F_NOTIFY, 0));
	unlink("b");
	signalled("given up");
	CALL(fcntl(directory, F_NOTIFY, DN_DELETE));
	close(directory);
	unlink("d");
	signalled("closed");
	close(file);
	unlink("file");
}

int main(void)
{
	char directory[] = "/tmp/watches-XXXXXX";
	static char before[16384], after[16384];

	must(mkdtemp(directory) && !chdir(directory), "a directory");
	instance = inotify_init1(IN_NONBLOCK);
	must(instance >= 0, "inotify_init1");
	errors();
	files();
	directories();
	themselves();
	waiting();
	notes();
	instance = inotify_init1(IN_NONBLOCK);
	records(before, sizeof before);
	waiting();
	notes();
	instance = inotify_init1(IN_NONBLOCK);
	records(after, sizeof after);
	if (strcmp(before, after))
		printf("left behind:\n%s\n%s\n", before, after);
	must(!chdir("/") && !rmdir(directory), "an empty directory");
	return 0;
}
