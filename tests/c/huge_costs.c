/*
 * What faults take, in cycles, under every setting of the knobs for huge pages where small pages come out all the same: one line a setting,
 * with the median of each kind. The first fault under a page table (`first-...`) has a table made for it. At last, what a fault takes that gets
 * a page of 2 MiB (`huge`). The simulated machine counts instructions for cycles, so these numbers can be compared one by one.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#define PAGE 4096ul
#define HUGE (2ul << 20)
/* Places that are measured of each kind. */
#define COUNT 64
/* What is mapped begins so far behind a multiple of 2 MiB, and ends before the next: nothing of 2 MiB fits. */
#define BEHIND (256 * 1024ul)
#define BASE ((char *)0x150000000000)

static void fail(const char *what) {
	perror(what);
	exit(1);
}

static void set(const char *knob, const char *word) {
	char path[96];
	snprintf(path, sizeof path, "/sys/kernel/mm/transparent_hugepage/%s", knob);
	int fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, word, strlen(word)) < 0 || close(fd) < 0)
		fail(path);
}

static char *map(char *at, unsigned long len, int fd, unsigned long offset, int advice) {
	int flags = MAP_FIXED | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
	if (mmap(at, len, PROT_READ | PROT_WRITE, flags, fd, offset) == MAP_FAILED)
		fail("mmap");
	if (advice && madvise(at, len, advice) < 0)
		fail("madvise");
	return at;
}

static int object(unsigned long len) {
	int fd = memfd_create("costs", 0);
	if (fd < 0 || ftruncate(fd, len) < 0)
		fail("memfd_create");
	return fd;
}

static int compare(const void *a, const void *b) {
	long x = *(const long *)a, y = *(const long *)b;
	return (x > y) - (x < y);
}

static long costs[COUNT];

/* Touches `COUNT` places that are so far apart, each timed. */
static void touch(const char *kind, char *first, unsigned long apart, int store) {
	for (int i = 0; i < COUNT; i++) {
		volatile char *at = first + i * apart;
		long start = __rdtsc();
		if (store)
			*at = 1;
		else
			(void)*at;
		costs[i] = __rdtsc() - start;
	}
	qsort(costs, COUNT, sizeof *costs, compare);
	printf(" %s %ld", kind, costs[COUNT / 2]);
}

/* Pages of one mapping, whose page table is there: an anchor was touched. */
static void under_a_table(int advice) {
	unsigned long len = (COUNT + 1) * PAGE;
	char *at = BASE + BEHIND;
	int fd = object(len);

	map(at, len, -1, 0, advice)[0] = 1;
	touch("anon", at + PAGE, PAGE, 1);
	map(at, len, -1, 0, advice)[0] = 1;
	touch("zero", at + PAGE, PAGE, 0);
	map(at, len, -1, 0, advice);
	memset(at, 1, len);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		at[0] = 2;
		touch("cow", at + PAGE, PAGE, 1);
		fflush(stdout);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	map(at, len, fd, 0, advice)[0] = 1;
	touch("alloc", at + PAGE, PAGE, 1);
	map(at, len, fd, 0, advice)[0] = 1;
	touch("minor", at + PAGE, PAGE, 1);
	munmap(at, len);
	close(fd);
}

/* Mappings of a page each, under a page table each, which is not there. */
static void first_of_a_table(int advice) {
	unsigned long len = COUNT * 2 * HUGE;
	char *at = BASE + BEHIND;
	int fd = object(COUNT * PAGE);

	for (int kind = 0; kind < 3; kind++) {
		for (int i = 0; i < COUNT; i++)
			map(at + i * HUGE * 2, PAGE, kind == 2 ? fd : -1, kind == 2 ? i * PAGE : 0, advice);
		touch(kind == 0 ? "first-anon" : kind == 1 ? "first-zero" : "first-alloc", at, HUGE * 2, kind != 1);
		munmap(BASE, len);
	}
	close(fd);
}

/*
 * An object that grows by 2 MiB and a page each time, which is the first under a page table, in a mapping that has room for huge pages. Where `beside`,
 * the object has one, at its beginning. Then, pages under one table.
 */
static void room_in_the_mapping(const char *name, const char *shmem_enabled, int beside) {
	unsigned long len = COUNT * HUGE;
	int fd = object(len);

	if (beside) {
		set("shmem_enabled", "always");
		map(BASE - 2 * HUGE, HUGE, fd, 0, 0)[0] = 1;
	}
	set("shmem_enabled", shmem_enabled);
	printf("%s", name);
	map(BASE, len, fd, 0, 0);
	for (int i = 0; i < COUNT; i++) {
		if (ftruncate(fd, (i + !!beside) * HUGE + PAGE) < 0)
			fail("ftruncate");
		volatile char *at = BASE + (i + !!beside) * HUGE % len;
		long start = __rdtsc();
		*at = 1;
		costs[i] = __rdtsc() - start;
	}
	qsort(costs, COUNT, sizeof *costs, compare);
	printf(" first-alloc %ld", costs[COUNT / 2]);
	if (ftruncate(fd, len) < 0)
		fail("ftruncate");
	touch("alloc", BASE + HUGE + PAGE, PAGE, 1);
	munmap(BASE, len);
	map(BASE, len, fd, 0, 0)[HUGE] = 1;
	touch("minor", BASE + HUGE + PAGE, PAGE, 1);
	munmap(BASE, len);
	munmap(BASE - 2 * HUGE, HUGE);
	close(fd);
	puts("");
}

static void setting(const char *name, const char *enabled, const char *shmem_enabled, int advice) {
	set("enabled", enabled);
	set("shmem_enabled", shmem_enabled);
	printf("%s", name);
	under_a_table(advice);
	first_of_a_table(advice);
	puts("");
	fflush(stdout);
}

/* Faults on an object that each get 2 MiB; the same frames again and again, and the tables above are there. */
static void huge(void) {
	int fd = object(2 * HUGE);
	set("shmem_enabled", "always");
	map(BASE, 2 * HUGE, fd, 0, 0)[HUGE] = 1;
	for (int i = 0; i < COUNT; i++) {
		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, HUGE) < 0)
			fail("fallocate");
		volatile char *at = BASE;
		long start = __rdtsc();
		*at = 1;
		costs[i] = __rdtsc() - start;
	}
	qsort(costs, COUNT, sizeof *costs, compare);
	printf("huge %ld\n", costs[COUNT / 2]);
}

int main(void) {
	/* Once for nothing: then the host has backed what is used. */
	setting("warm-up", "never", "never", 0);
	setting("never", "never", "never", 0);
	setting("advised", "madvise", "advise", 0);
	setting("declined", "always", "always", MADV_NOHUGEPAGE);
	setting("no-room", "always", "within_size", 0);
	set("enabled", "never");
	room_in_the_mapping("never-room", "never", 0);
	set("enabled", "always");
	room_in_the_mapping("private-only", "never", 0);
	room_in_the_mapping("tail", "within_size", 0);
	room_in_the_mapping("beside", "never", 1);
	huge();
	return 0;
}
