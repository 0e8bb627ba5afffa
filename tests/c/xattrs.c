/*
 * Extended attributes of a tmpfs: what each call says about good and bad names, values, files and callers, and what they take (C38). It
 * works in a tmpfs of its own: on Linux in a mount namespace of its own, which needs root.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#include "common.h"

#define USER 1000

static const unsigned capability[5] = { 0x02000000, 1 };
static char big[70000], value[70000];

static void show_free(void)
{
	struct statfs stat;

	must(!statfs(".", &stat), "statfs");
	printf("   files %ld, free %ld, free blocks %ld\n", (long)stat.f_files, (long)stat.f_ffree, (long)stat.f_bfree);
}

static void new_file(const char *name, uid_t owner, mode_t mode)
{
	must(!close(open(name, O_CREAT | O_RDWR, 0666)), name);
	must(!chown(name, owner, owner), "chown");
	must(!chmod(name, mode), "chmod");
}

/* Values come, grow, shrink; and what XATTR_CREATE and XATTR_REPLACE say. */
static void values(void)
{
	show_free();
	CALL(setxattr("f", "user.a", "hello", 5, 0));
	show_free();
	CALL(setxattr("f", "user.b", big, 1000, 0));
	show_free();
	CALL(setxattr("f", "user.b", big, 2000, 0));
	show_free();
	CALL(setxattr("f", "user.b", big, 0, 0));
	show_free();
	CALL(setxattr("f", "user.a", "x", 1, XATTR_CREATE));
	CALL(setxattr("f", "user.n", "x", 1, XATTR_REPLACE));
	CALL(setxattr("f", "user.n", "x", 1, 4));
	CALL(setxattr("f", "user.n", "x", 1, XATTR_CREATE | XATTR_REPLACE));
	CALL(setxattr("f", "user.a", "x", 1, XATTR_CREATE | XATTR_REPLACE));
}

/* Which names there are: of users, of trusted programs, of security; and which not. */
static void names(void)
{
	static const char *const all[] = {
		"user.", "", "foo", "system.foo", "system.", "trusted.t", "trusted.", "security.s", "security.", "security.capability",
		"security.selinux",
	};

	for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
		printf("%s\n", all[i]);
		CALL(setxattr("f", all[i], "x", 1, 0));
	}
	static const char *const absent[] = { "system.foo", "foo", "", "user.", "user.zz", "trusted.zz", "security.zz" };
	for (unsigned i = 0; i < sizeof absent / sizeof *absent; i++) {
		printf("%s\n", absent[i]);
		CALL(getxattr("f", absent[i], value, 100));
		CALL(removexattr("f", absent[i]));
	}
}

static void capabilities(void)
{
	const unsigned third[6] = { 0x03000000, 1 };

	CALL(setxattr("f", "security.capability", capability, sizeof capability, 0));
	CALL(getxattr("f", "security.capability", value, 100));
	CALL(setxattr("f", "security.capability", third, sizeof third, 0));
	CALL(getxattr("f", "security.capability", value, 100));
	CALL(getxattr("f", "security.capability", value, 0));
	CALL(getxattr("f", "security.capability", value, 5));
	CALL(removexattr("f", "security.capability"));
}

/* The largest value, the longest name, and one more. */
static void limits(void)
{
	char name[300] = "user.";

	CALL(setxattr("f", "user.big", big, 65536, 0));
	show_free();
	CALL(setxattr("f", "user.big", big, 65537, 0));
	CALL(removexattr("f", "user.big"));
	CALL(setxattr("f", "user.big", big, 60000, 0));
	show_free();
	memset(name + 5, 'n', 250);
	CALL(setxattr("f", name, "x", 1, 0));
	show_free();
	name[255] = 'n';
	CALL(setxattr("f", name, "x", 1, 0));
	CALL(getxattr("f", name, value, 1));
	CALL(removexattr("f", name));
	name[255] = 0;
	CALL(removexattr("f", name));
}

static void pointers_and_sizes(void)
{
	void *volatile nowhere = NULL;

	CALL(setxattr("f", "user.p", (void *)8, 5, 0));
	CALL(setxattr("f", (void *)8, "x", 1, 0));
	CALL(getxattr("f", "user.a", (void *)8, 100));
	CALL(listxattr("f", (void *)8, 100));
	CALL(getxattr("f", (void *)8, value, 100));
	CALL(setxattr("f", "user.p", (void *)8, 0, 0));
	CALL(setxattr("f", "user.q", nowhere, 0, 0));
	CALL(setxattr("f", "user.r", nowhere, 3, 0));
	CALL(listxattr("f", value, 100));
	long bytes = listxattr("f", value, 1000);
	for (long at = 0; at < bytes; at += strlen(value + at) + 1)
		printf("   %s\n", value + at);
	CALL(listxattr("f", value, 0));
	CALL(listxattr("f", value, 3));
	CALL(getxattr("f", "user.a", value, 0));
	CALL(getxattr("f", "user.a", value, 4));
	CALL(getxattr("f", "user.a", value, 5));
	CALL(getxattr("f", "user.a", value, sizeof value));
}

/* Directories, links, FIFOs, devices, and files that are not there. */
static void kinds(void)
{
	CALL(setxattr("d", "user.a", "x", 1, 0));
	CALL(setxattr("l", "user.l", "x", 1, 0));
	CALL(lsetxattr("l", "user.l", "x", 1, 0));
	CALL(lsetxattr("l", "trusted.l", "x", 1, 0));
	CALL(llistxattr("l", value, 100));
	CALL(lgetxattr("l", "trusted.l", value, 100));
	CALL(lgetxattr("l", "user.l", value, 100));
	CALL(lremovexattr("l", "trusted.l"));
	CALL(lremovexattr("l", "user.l"));
	CALL(setxattr("p", "user.a", "x", 1, 0));
	CALL(setxattr("c", "user.a", "x", 1, 0));
	CALL(getxattr("c", "user.a", value, 9));
	CALL(setxattr("c", "trusted.a", "x", 1, 0));
	CALL(setxattr("c", "security.a", "x", 1, 0));
	CALL(listxattr("c", value, 100));
	CALL(setxattr("none", "user.a", "x", 1, 0));
	CALL(setxattr("none", "", "x", 1, 0));
	CALL(setxattr("none", "foo", "x", 1, 9));
}

/* `name` through a descriptor, as what it was opened as. */
static void through(const char *what, int fd)
{
	static const char *const names[] = { "user.fd", "trusted.fd", "security.fd", "" };

	puts(what);
	for (unsigned i = 0; i < 4; i++) {
		CALL(fsetxattr(fd, names[i], "x", 1, 0));
		CALL(fgetxattr(fd, names[i], value, 9));
		CALL(flistxattr(fd, value, 100));
		CALL(fremovexattr(fd, names[i]));
	}
	CALL(fsetxattr(fd, "", "x", 1, 8));
}

/* Whether a change stamps the file. */
static void stamps(void)
{
	static const char *const what[] = { "set", "not set", "removed" };
	struct stat before, after;

	for (int i = 0; i < 3; i++) {
		must(!stat("f", &before), "stat");
		until_next_tick();
		if (i == 0)
			CALL(setxattr("f", "user.a", "y", 1, 0));
		if (i == 1)
			CALL(setxattr("f", "user.a", "y", 1, XATTR_CREATE));
		if (i == 2)
			CALL(removexattr("f", "user.a"));
		must(!stat("f", &after), "stat");
		printf("%s: ctime %d, mtime %d\n", what[i], before.st_ctim.tv_nsec != after.st_ctim.tv_nsec,
		       before.st_mtim.tv_nsec != after.st_mtim.tv_nsec);
	}
}

/* What attributes take is given back with the last that holds the file. */
static void given_back(int fd)
{
	show_free();
	must(!unlink("f"), "unlink");
	show_free();
	close(fd);
	show_free();
}

/* Who is not root: of his own files, of others', of what he may write but not read, and in a sticky directory. */
static void of_a_user(void)
{
	new_file("own", USER, 0644);
	new_file("root's", 0, 0644);
	new_file("all's", 0, 0666);
	new_file("write-only", 0, 0222);
	must(!mkdir("open", 0777) && !mkdir("sticky", 0777) && !chmod("sticky", 01777), "mkdir");
	must(!setxattr("root's", "user.a", "x", 1, 0), "user");
	must(!setxattr("root's", "trusted.a", "x", 1, 0), "trusted");
	must(!setxattr("root's", "security.a", "x", 1, 0), "security");
	must(!setxattr("own", "trusted.a", "x", 1, 0), "trusted");
	must(!setxattr("write-only", "user.a", "x", 1, 0), "user");
	must(!setgid(USER) && !setuid(USER), "setuid");
	CALL(setxattr("own", "user.a", "x", 1, 0));
	CALL(setxattr("own", "trusted.b", "x", 1, 0));
	CALL(removexattr("own", "trusted.a"));
	CALL(setxattr("own", "security.b", "x", 1, 0));
	CALL(setxattr("own", "security.capability", capability, sizeof capability, 0));
	CALL(getxattr("root's", "user.a", value, 9));
	CALL(getxattr("root's", "trusted.a", value, 9));
	CALL(getxattr("root's", "trusted.none", value, 9));
	CALL(getxattr("root's", "security.a", value, 9));
	CALL(listxattr("root's", value, 100));
	CALL(listxattr("root's", value, 0));
	CALL(setxattr("root's", "user.b", "x", 1, 0));
	CALL(setxattr("root's", "user.b", "x", 1, XATTR_REPLACE));
	CALL(removexattr("root's", "security.a"));
	CALL(removexattr("root's", "user.zz"));
	CALL(removexattr("root's", "user.a"));
	CALL(setxattr("all's", "user.b", "x", 1, 0));
	CALL(getxattr("write-only", "user.a", value, 9));
	CALL(setxattr("write-only", "user.b", "x", 1, 0));
	CALL(listxattr("write-only", value, 100));
	CALL(setxattr("open", "user.a", "x", 1, 0));
	CALL(setxattr("sticky", "user.a", "x", 1, 0));
}

int main(void)
{
	int fd, pair[2];

	enter_own_tmpfs("size=1m,nr_inodes=100");
	umask(0);
	memset(big, 'x', sizeof big);
	new_file("f", 0, 0666);
	must(!mkdir("d", 0777) && !symlink("f", "l"), "mkdir, symlink");
	must(!mknod("p", S_IFIFO | 0666, 0) && !mknod("c", S_IFCHR | 0666, 0x103), "mknod");
	values();
	names();
	capabilities();
	limits();
	pointers_and_sizes();
	kinds();
	fd = open("f", O_RDONLY);
	through("a reader", fd);
	through("nothing", 99);
	through("O_PATH", open("f", O_PATH));
	must(!pipe(pair), "pipe");
	through("a pipe", pair[0]);
	through("a memfd", memfd_create("m", 0));
	stamps();
	given_back(fd);
	of_a_user();
	return 0;
}
