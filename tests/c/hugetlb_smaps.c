/*
 * What /proc says of huge pages, those of the pool and others: smaps, pagemap, status and meminfo. Rules A26, G7, G9, I3, I4. The pool is the machine's,
 * so nobody else may use it meanwhile. Needs root. Says SKIPPED where the pool cannot be set, or nobody may have other huge pages.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL
#define HUGE (2UL << 20)
#define RW (PROT_READ | PROT_WRITE)
#define PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS)
#define SHARED (MAP_SHARED | MAP_ANONYMOUS)
#define AT ((char *)0x150000000000)
#define POOL "/proc/sys/vm/nr_hugepages"

static void read_text(const char *path, char *text, int size) {
	int fd = open(path, O_RDONLY);
	ssize_t len = read(fd, text, size - 1);
	close(fd);
	text[len > 0 ? len : 0] = 0;
}

static void size_pool(const char *pages) {
	int fd = open(POOL, O_WRONLY);
	if (fd < 0 || write(fd, pages, strlen(pages)) < 0)
		perror(POOL);
	close(fd);
}

static char *map(char *at, unsigned long len, int flags, int fd) {
	char *mapped = mmap(at, len, RW, flags | MAP_FIXED, fd, 0);
	if (mapped == MAP_FAILED)
		perror("mmap");
	return mapped;
}

/* The lines of a file that begin so. */
static void lines(const char *path, const char *beginning) {
	char line[512];
	FILE *file = fopen(path, "r");
	while (file && fgets(line, sizeof line, file))
		if (!strncmp(line, beginning, strlen(beginning)))
			fputs(line, stdout);
	if (file)
		fclose(file);
	fflush(stdout);
}

static void numbers(void) {
	lines("/proc/self/status", "HugetlbPages");
	lines("/proc/meminfo", "Huge");
}

/* Of the first page, the second and the 512th: the bits, and how far its frame is from the first one's, as far as there are any. */
static void pagemap(const char *at) {
	static const unsigned long pages[] = { 0, 1, 511 };
	uint64_t first = 0, entry = 0, frame = (1ULL << 55) - 1;
	int fd = open("/proc/self/pagemap", O_RDONLY);
	for (int i = 0; i < 3; i++) {
		if (pread(fd, &entry, 8, ((unsigned long)at / PAGE + pages[i]) * 8) != 8)
			perror("pagemap");
		if (i == 0)
			first = entry & frame;
		printf("page %lu: bits %#llx, frame %lld\n", pages[i], (unsigned long long)(entry >> 55),
		       entry >> 63 ? (long long)((entry & frame) - first) : 0);
	}
	close(fd);
}

static void show(const char *what, const char *at) {
	char line[512];
	int inside = 0;
	FILE *file = fopen("/proc/self/smaps", "r");
	printf("-- %s\n", what);
	while (file && fgets(line, sizeof line, file)) {
		unsigned long from, to;
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = from <= (unsigned long)at && (unsigned long)at < to;
		else if (inside && strncmp(line, "ProtectionKey", 13))
			fputs(line, stdout);
	}
	if (file)
		fclose(file);
	pagemap(at);
	fflush(stdout);
}

/* Shows a mapping while a child has it, too, and has stored to it if it shall. */
static void show_with_child(const char *what, char *at, int stores) {
	int here[2], there[2];
	char byte = 0;
	if (pipe(here) < 0 || pipe(there) < 0)
		perror("pipe");
	pid_t child = fork();
	if (child == 0) {
		if (stores)
			at[0] = 2;
		_exit(write(there[1], "x", 1) != 1 || read(here[0], &byte, 1) != 1);
	}
	if (read(there[0], &byte, 1) == 1)
		show(what, at);
	numbers();
	if (write(here[1], "x", 1) == 1)
		waitpid(child, NULL, 0);
}

static void of_the_pool(void) {
	char *at = map(AT, 2 * HUGE, PRIVATE | MAP_HUGETLB, -1);
	at[0] = 1;
	show("private", at);
	numbers();
	show_with_child("private, and a child", at, 0);
	munmap(at, 2 * HUGE);
	at = map(AT, 2 * HUGE, SHARED | MAP_HUGETLB, -1);
	show("shared, untouched", at);
	at[0] = 1;
	show("shared", at);
	show_with_child("shared, and a child", at, 1);
	madvise(at, HUGE, MADV_DONTNEED);
	show("shared, given up", at);
	munmap(at, 2 * HUGE);
}

static void others(void) {
	char *at = map(AT, 2 * HUGE, PRIVATE, -1);
	madvise(at, 2 * HUGE, MADV_HUGEPAGE);
	at[0] = 1;
	show("anonymous", at);
	show_with_child("anonymous, and a child", at, 0);
	mprotect(at + PAGE, PAGE, PROT_READ);
	show("anonymous, in parts", at);
	munmap(at, 2 * HUGE);
	if (mount("x", "/dev/shm", "tmpfs", 0, "huge=always") < 0)
		perror("mount");
	int fd = open("/dev/shm/f", O_RDWR | O_CREAT, 0600);
	if (ftruncate(fd, 2 * HUGE) < 0)
		perror("ftruncate");
	at = map(AT, 2 * HUGE, MAP_SHARED, fd);
	at[0] = 1;
	show("tmpfs", at);
	char *askew = map(AT + 8 * HUGE + PAGE, HUGE, MAP_SHARED, fd);
	askew[0] = 1;
	show("tmpfs, out of phase", askew);
	munmap(askew, HUGE);
	munmap(at, 2 * HUGE);
	at = map(AT, 2 * HUGE, MAP_PRIVATE, fd);
	*(volatile char *)at;
	show("tmpfs, private, read", at);
	at[0] = 1;
	show("tmpfs, private, written", at);
	munmap(at, 2 * HUGE);
	close(fd);
	umount("/dev/shm");
}

int main(void) {
	char before[32], text[64];
	read_text(POOL, before, sizeof before);
	size_pool("2");
	read_text(POOL, text, sizeof text);
	int sized = atoi(text) == 2;
	read_text("/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof text);
	if (!sized || strstr(text, "[never]")) {
		size_pool(before);
		puts("SKIPPED: no pool of 2 huge pages, or no others");
		return 0;
	}
	unshare(CLONE_NEWNS);
	mount(0, "/", 0, MS_REC | MS_PRIVATE, 0);
	of_the_pool();
	size_pool(before);
	others();
	return 0;
}
