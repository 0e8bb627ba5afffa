/*
 * Huge pages of the pool: rules A21 to A27, B12, G9. Shows what each call returns and what the pool has then; the pool is the machine's, so nobody
 * else may use it meanwhile: it never has the 8 pages of the smallest guest. Needs root. Says SKIPPED where the pool cannot be set.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define HUGE (2UL << 20)
#define RW (PROT_READ | PROT_WRITE)
#define POOL "/proc/sys/vm/nr_hugepages"
#define OVERCOMMIT "/proc/sys/vm/nr_overcommit_hugepages"
#define GROUP "/proc/sys/vm/hugetlb_shm_group"

#ifndef SHM_HUGETLB
#define SHM_HUGETLB 04000
#endif
#ifndef SHM_NORESERVE
#define SHM_NORESERVE 010000
#endif
#define PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB)
#define SHARED (MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB)
#define SIZE(log2) ((log2) << 26)

static void say(const char *format, ...) {
	char line[256];
	va_list arguments;
	va_start(arguments, format);
	int len = vsnprintf(line, sizeof line, format, arguments);
	va_end(arguments);
	if (write(1, line, len) != len)
		_exit(1);
}

/* What a call returned: an error, a small number, or an address, of which only its place in a huge page counts. */
static void ret(const char *rule, const char *what, long value) {
	if (value == -1)
		say("%s %s: %s\n", rule, what, strerrorname_np(errno));
	else if (value >= 0 && value < 4096)
		say("%s %s: %ld\n", rule, what, value);
	else
		say("%s %s: address, %ld beyond a huge page's\n", rule, what, value % (long)HUGE);
}

static long meminfo(const char *name) {
	static char text[8192];
	int fd = open("/proc/meminfo", O_RDONLY);
	ssize_t len = read(fd, text, sizeof text - 1);
	close(fd);
	text[len > 0 ? len : 0] = 0;
	const char *line = strstr(text, name);
	return line ? atol(line + strlen(name)) : -1;
}

static void pool(const char *rule, const char *when) {
	say("%s %s: total %ld free %ld reserved %ld surplus %ld\n", rule, when, meminfo("HugePages_Total:"),
	    meminfo("HugePages_Free:"), meminfo("HugePages_Rsvd:"), meminfo("HugePages_Surp:"));
}

static int set(const char *path, const char *value) {
	int fd = open(path, O_WRONLY);
	ssize_t len = write(fd, value, strlen(value));
	close(fd);
	return len < 0 ? -1 : 0;
}

static long get(const char *path) {
	char text[32] = "";
	int fd = open(path, O_RDONLY);
	ssize_t len = read(fd, text, sizeof text - 1);
	close(fd);
	return len > 0 ? atol(text) : -1;
}

static void size_pool(const char *pages, const char *overcommit) {
	set(POOL, pages);
	set(OVERCOMMIT, overcommit);
}

static sigjmp_buf back;
static volatile int got_signal, got_code;

static void on_signal(int signal, siginfo_t *info, void *context) {
	(void)context;
	got_signal = signal;
	got_code = info->si_code;
	siglongjmp(back, 1);
}

static void store(const char *rule, const char *what, char *at, char value) {
	if (sigsetjmp(back, 1))
		say("%s %s: signal %d code %d\n", rule, what, got_signal, got_code);
	else {
		*(volatile char *)at = value;
		say("%s %s: stored\n", rule, what);
	}
}

static void load(const char *rule, const char *what, char *at) {
	if (sigsetjmp(back, 1))
		say("%s %s: signal %d code %d\n", rule, what, got_signal, got_code);
	else {
		int value = *(volatile char *)at;
		say("%s %s: %d\n", rule, what, value);
	}
}

static char *map(unsigned long len, int flags) {
	return mmap(NULL, len, RW, flags, -1, 0);
}

/* The lines about the mapping at an address that begin with one of the names. */
static void smaps(const char *rule, char *at) {
	static const char *const names[] = { "KernelPageSize:", "MMUPageSize:", "Rss:", "Shared_Hugetlb:", "Private_Hugetlb:",
					     "Locked:", "VmFlags:" };
	char start[32], line[512];
	snprintf(start, sizeof start, "%lx-", (unsigned long)at);
	FILE *file = fopen("/proc/self/smaps", "r");
	int found = 0;
	while (fgets(line, sizeof line, file)) {
		char *name = strchr(line, '/');
		if (!strncmp(line, start, strlen(start))) {
			found = 1;
			say("%s %s", rule, name ? name : "no name\n");
		} else if (line[0] >= '0' && line[0] <= '9')
			found = 0;
		for (unsigned i = 0; found && i < sizeof names / sizeof *names; i++)
			if (!strncmp(line, names[i], strlen(names[i])))
				say("%s %s", rule, line);
	}
	fclose(file);
}

static void status(const char *rule, const char *name) {
	char line[512];
	FILE *file = fopen("/proc/self/status", "r");
	while (fgets(line, sizeof line, file))
		if (!strncmp(line, name, strlen(name)))
			say("%s %s", rule, line);
	fclose(file);
}

static void mappings(void) {
	size_pool("0", "0");
	pool("G9", "an empty pool");
	ret("B12", "reserve of an empty pool", (long)map(HUGE, PRIVATE));
	char *at = map(HUGE, PRIVATE | MAP_NORESERVE);
	ret("B12", "no reserve of an empty pool", (long)at);
	store("A24", "a store then", at, 1);
	munmap(at, HUGE);
	ret("B12", "pages of 8 KiB", (long)map(HUGE, PRIVATE | SIZE(13)));
	ret("B12", "pages of 1 GiB", (long)map(1 << 30, PRIVATE | SIZE(30)));
	size_pool("6", "0");
	pool("G9", "a pool of 6");
	at = map(3 * HUGE - 5000, PRIVATE | SIZE(21));
	ret("B12", "3 pages, the last not whole", (long)at);
	pool("B12", "reserved");
	store("B12", "behind the length, in the last page", at + 3 * HUGE - 1, 1);
	pool("B12", "one used");
	load("B12", "a read of the first", at);
	pool("B12", "a read takes one, too");
	store("B12", "a store there", at, 7);
	pool("B12", "and no other");
	status("I10", "HugetlbPages");
	status("I10", "VmRSS:\t       0");
	smaps("I3", at);
	ret("A26", "munmap of a small page", munmap(at, 4096));
	ret("A26", "munmap from a small page on", munmap(at + 4096, HUGE));
	ret("A26", "munmap of a byte", munmap(at + HUGE, 1));
	ret("A26", "mprotect of a small page", mprotect(at, 4096, PROT_READ));
	ret("A26", "mprotect from a small page on", mprotect(at + 4096, HUGE, PROT_READ));
	ret("A26", "mprotect of a huge page", mprotect(at, HUGE, PROT_READ));
	store("A26", "a store to it", at, 1);
	ret("A26", "mprotect back", mprotect(at, HUGE, RW));
	store("A26", "a store again", at, 8);
	ret("B31", "mlock", mlock(at, HUGE));
	status("B31", "VmLck");
	ret("B31", "munlock", munlock(at, HUGE));
	ret("B29", "msync", msync(at, 3 * HUGE, MS_SYNC));
	unsigned char resident[1536];
	memset(resident, 9, sizeof resident);
	ret("B30", "mincore", mincore(at, 3 * HUGE, resident));
	say("B30 of the pages: %d %d %d\n", resident[0] & 1, resident[512] & 1, resident[1535] & 1);
	ret("B27", "mremap to a larger size", (long)mremap(at, 3 * HUGE, 4 * HUGE, MREMAP_MAYMOVE));
	ret("B27", "mremap within a page", (long)mremap(at, 4096, 8192, MREMAP_MAYMOVE));
	ret("B27", "mremap from a small page on", (long)mremap(at + 4096, HUGE, HUGE, MREMAP_MAYMOVE));
	ret("B27", "mremap of nothing", (long)mremap(at, 0, HUGE, MREMAP_MAYMOVE));
	char *room = mmap((void *)0x500000000000, 4 * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ret("B27", "mremap to a small page", (long)mremap(at, 2 * HUGE, 2 * HUGE, MREMAP_MAYMOVE | MREMAP_FIXED, room + 4096));
	ret("B27", "mremap leaving the old", (long)mremap(at, HUGE, HUGE, MREMAP_MAYMOVE | 4, NULL));
	char *moved = mremap(at, 2 * HUGE, 2 * HUGE, MREMAP_MAYMOVE | MREMAP_FIXED, room);
	ret("B27", "mremap of two of three pages", (long)moved);
	load("B27", "the content moved", moved);
	store("B27", "a store to the page without one", moved + HUGE, 4);
	pool("B27", "what was reserved moved as well");
	load("B27", "the third page", at + 2 * HUGE);
	ret("B27", "mremap to a smaller size", (long)mremap(moved, 2 * HUGE, HUGE - 5, 0));
	pool("B27", "smaller");
	munmap(at, 3 * HUGE);
	munmap(room, 4 * HUGE);
	pool("A27", "all unmapped");
	ret("A26", "a fixed place in a huge page", (long)mmap(room + 4096, HUGE, RW, PRIVATE | MAP_FIXED, -1, 0));
	at = mmap(room + 4096, HUGE, RW, PRIVATE, -1, 0);
	say("A26 a hint is rounded up: %ld\n", (long)(at - room));
	munmap(at, HUGE);
	ret("B12", "from page 1 on", (long)mmap(NULL, HUGE, RW, PRIVATE, -1, 4096));
	at = mmap(NULL, HUGE, RW, PRIVATE, -1, HUGE);
	ret("B12", "from huge page 1 on", (long)at);
	store("B12", "a store there", at, 1);
	munmap(at, HUGE);
	at = mmap(NULL, HUGE, PROT_READ, SHARED, -1, HUGE);
	load("B12", "the same for reading, behind the end", at);
	munmap(at, HUGE);
	at = map(HUGE, MAP_SHARED_VALIDATE | MAP_ANONYMOUS | MAP_HUGETLB);
	ret("B3", "MAP_SHARED_VALIDATE", (long)at);
	munmap(at, HUGE);
	ret("B3", "with MAP_SYNC", (long)map(HUGE, MAP_SHARED_VALIDATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_SYNC));
	ret("B12", "a stack", (long)map(HUGE, PRIVATE | MAP_GROWSDOWN));
	ret("B12", "no type", (long)map(HUGE, MAP_ANONYMOUS | MAP_HUGETLB));
	ret("B12", "nothing", (long)map(0, PRIVATE));
	ret("B12", "everything", (long)map(-1UL, PRIVATE));
	ret("B12", "more than addresses", (long)map(1UL << 47, PRIVATE));
	at = map(2 * HUGE, PRIVATE | MAP_POPULATE);
	pool("B14", "populated");
	munmap(at, 2 * HUGE);
	at = map(2 * HUGE, PRIVATE | MAP_LOCKED);
	pool("B14", "locked");
	status("B14", "VmLck");
	munmap(at, 2 * HUGE);
	at = mmap(NULL, HUGE, PROT_NONE, PRIVATE, -1, 0);
	pool("B12", "without rights");
	load("B36", "a read then", at);
	munmap(at, HUGE);
}

static void advice(void) {
	static const int kinds[] = { MADV_NORMAL, MADV_RANDOM, MADV_WILLNEED, MADV_FREE, MADV_REMOVE, MADV_DONTFORK, MADV_DOFORK,
				     MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_DONTDUMP, MADV_DODUMP, MADV_WIPEONFORK, MADV_KEEPONFORK, 20,
				     21, 22, 23, 24 };
	size_pool("6", "0");
	char *at = map(2 * HUGE, PRIVATE);
	ret("B32", "flags of a small page", madvise(at, 4096, MADV_RANDOM));
	ret("B32", "flags from a small page on", madvise(at + 4096, 4096, MADV_DONTFORK));
	ret("B35", "a small page ahead", madvise(at + 4096, 4096, 23));
	pool("B35", "ahead");
	store("B32", "a store", at, 3);
	ret("B33", "DONTNEED from a small page on", madvise(at + 4096, HUGE, MADV_DONTNEED));
	ret("B33", "DONTNEED of a small page", madvise(at, 4096, MADV_DONTNEED));
	load("B33", "which stays", at);
	ret("B33", "DONTNEED of a page and a half", madvise(at, HUGE + HUGE / 2, MADV_DONTNEED));
	pool("B33", "the page is free, and reserved again");
	load("B33", "zeroes", at);
	pool("B33", "used again");
	for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		char what[32];
		snprintf(what, sizeof what, "advice %d", kinds[i]);
		ret("B32", what, madvise(at, HUGE, kinds[i]));
	}
	munmap(at, 2 * HUGE);
	pool("B33", "unmapped");
	at = map(2 * HUGE, SHARED);
	store("B34", "a store to shared pages", at, 5);
	ret("B34", "REMOVE of a huge page", madvise(at, HUGE, MADV_REMOVE));
	pool("B34", "it is free, and reserved no longer");
	load("B34", "zeroes", at);
	store("B34", "a store", at, 6);
	ret("B34", "REMOVE of a small page", madvise(at, 4096, MADV_REMOVE));
	load("B34", "zeroes", at);
	ret("B34", "DONTNEED", madvise(at, HUGE, MADV_DONTNEED));
	munmap(at, 2 * HUGE);
	mlockall(MCL_FUTURE);
	at = map(HUGE, PRIVATE);
	pool("B31", "mlockall fills what comes");
	status("B31", "VmLck");
	munlockall();
	munmap(at, HUGE);
	pool("G9", "the end of advice");
}

static void segments(void) {
	struct shmid_ds ds;
	struct { int used_ids; unsigned long shm_tot, shm_rss, shm_swp, attempts, successes; } info;
	int state;
	/* Segments of others are none of these. Where there are no namespaces, there are no others. */
	(void)!unshare(CLONE_NEWIPC);
	size_pool("4", "0");
	int id = shmget(IPC_PRIVATE, HUGE + 1, IPC_CREAT | SHM_HUGETLB | SIZE(21) | 0600);
	say("A21 a segment of a page and a byte: %s\n", id < 0 ? strerrorname_np(errno) : "made");
	pool("A23", "reserved");
	shmctl(id, IPC_STAT, &ds);
	shmctl(0, 14, (struct shmid_ds *)&info);
	say("A22 size %lu, pages of all segments %lu\n", (unsigned long)ds.shm_segsz, info.shm_tot);
	ret("A21", "pages of 8 KiB", shmget(IPC_PRIVATE, HUGE, SHM_HUGETLB | SIZE(13)));
	ret("A21", "pages of 1 GiB", shmget(IPC_PRIVATE, 1 << 30, SHM_HUGETLB | SIZE(30)));
	int small = shmget(IPC_PRIVATE, 4096, SIZE(13) | 0600);
	say("A21 the size of small pages is ignored: %d\n", small >= 0);
	shmctl(small, IPC_RMID, NULL);
	ret("A23", "more than there are", shmget(IPC_PRIVATE, 3 * HUGE, SHM_HUGETLB | 0600));
	ret("A26", "attached at a small page", (long)shmat(id, (void *)0x500000001000, 0));
	ret("A26", "the same, rounded", (long)shmat(id, (void *)0x500000201000, SHM_RND));
	char *at = shmat(id, NULL, 0);
	ret("A26", "attached anywhere", (long)at);
	store("A22", "a store to the first page", at, 1);
	store("A22", "behind the size, in the second", at + HUGE + 4097, 2);
	load("A22", "the last byte", at + 2 * HUGE - 1);
	pool("A23", "both used");
	ret("A26", "SHM_LOCK", shmctl(id, SHM_LOCK, NULL));
	shmctl(id, IPC_STAT, &ds);
	say("A26 mode %o, attached %lu\n", ds.shm_perm.mode, (unsigned long)ds.shm_nattch);
	ret("A26", "mprotect of one", mprotect(at, HUGE, PROT_READ));
	ret("A26", "and back", mprotect(at, HUGE, RW));
	shmctl(id, IPC_STAT, &ds);
	say("A38 attached %lu\n", (unsigned long)ds.shm_nattch);
	char *second = shmat(id, NULL, SHM_RDONLY);
	load("A26", "attached for reading", second);
	store("A35", "a store there", second, 1);
	smaps("I3", at);
	if (fork() == 0) {
		load("A60", "a child's read", at);
		store("A60", "a child's store", at, 3);
		_exit(0);
	}
	wait(&state);
	load("A60", "the parent's read", at);
	at = mremap(at, HUGE, HUGE, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)0x510000000000);
	load("A46", "the first page at another place", at);
	ret("A46", "once more by mremap", (long)mremap(second, 0, 2 * HUGE, MREMAP_MAYMOVE));
	ret("A41", "detached at a small page", shmdt(second + 4096));
	ret("A41", "detached", shmdt(second));
	ret("A41", "detached where it was moved to", shmdt(at));
	shmctl(id, IPC_STAT, &ds);
	say("A38 attached %lu\n", (unsigned long)ds.shm_nattch);
	ret("A27", "IPC_RMID", shmctl(id, IPC_RMID, NULL));
	pool("A27", "removed, and attached");
	/* It goes with the process. */
}

static void unreserved_segment(void) {
	size_pool("4", "0");
	int id = shmget(IPC_PRIVATE, 6 * HUGE, IPC_CREAT | SHM_HUGETLB | SHM_NORESERVE | 0600);
	pool("A24", "6 pages, none reserved");
	char *at = shmat(id, NULL, 0);
	for (int i = 0; i < 6; i++)
		store("A24", "a store", at + i * HUGE, i);
	pool("A24", "used up");
	shmctl(id, IPC_RMID, NULL);
	shmdt(at);
	pool("A27", "gone");
}

static void surplus(void) {
	size_pool("4", "2");
	char *at = map(6 * HUGE, SHARED);
	pool("G9", "6 reserved of 4 and 2");
	ret("G9", "one more", (long)map(HUGE, SHARED));
	for (int i = 0; i < 6; i++)
		at[i * HUGE] = i;
	pool("G9", "used");
	set(POOL, "5");
	pool("G9", "a pool of 5");
	set(POOL, "1");
	pool("G9", "a pool of 1");
	say("G9 nr_hugepages is %ld\n", get(POOL));
	ret("A26", "munmap of half", munmap(at, 3 * HUGE));
	pool("G9", "the object keeps its pages");
	munmap(at + 3 * HUGE, 3 * HUGE);
	pool("A27", "all gone");
	size_pool("4", "2");
	at = map(6 * HUGE, PRIVATE);
	at[0] = 1;
	pool("G9", "6 private, one used");
	madvise(at, HUGE, MADV_DONTNEED);
	pool("G9", "a surplus page goes, and is not reserved again");
	store("G9", "a store there", at, 2);
	pool("G9", "another one");
	munmap(at, 6 * HUGE);
	pool("G9", "gone");
	size_pool("4", "0");
	at = map(3 * HUGE, PRIVATE);
	set(POOL, "0");
	pool("G9", "a pool of 0 with 3 reserved");
	store("G9", "a store", at, 1);
	pool("G9", "used");
	munmap(at, 3 * HUGE);
	pool("G9", "unmapped");
	ret("I6", "nr_hugepages of x", set(POOL, "x"));
	ret("I6", "nr_hugepages of -1", set(POOL, "-1"));
	ret("I6", "hugetlb_shm_group of -1", set(GROUP, "-1"));
	say("I6 hugetlb_shm_group is %ld\n", get(GROUP));
	set(GROUP, "0");
}

static void stat_line(const char *what, int fd) {
	struct stat st;
	fstat(fd, &st);
	say("G9 %s: size %ld, blocks %ld of 512 bytes\n", what, (long)st.st_size, (long)st.st_blocks);
}

static void memory_files(void) {
	struct stat st;
	struct statfs fs;
	char byte = 0, bytes[100];
	size_pool("4", "0");
	ret("C46", "pages of 8 KiB", memfd_create("x", MFD_HUGETLB | SIZE(13)));
	ret("C46", "the size of small pages", memfd_create("x", SIZE(21)));
	int fd = memfd_create("huge", MFD_HUGETLB | MFD_ALLOW_SEALING | SIZE(21));
	fstat(fd, &st);
	say("C46 mode %o, size %ld, blocks %ld, of %ld bytes, names %ld\n", st.st_mode, (long)st.st_size, (long)st.st_blocks,
	    (long)st.st_blksize, (long)st.st_nlink);
	fstatfs(fd, &fs);
	say("C46 file system %lx, blocks of %ld bytes\n", (unsigned long)fs.f_type, (long)fs.f_bsize);
	ret("C18", "ftruncate to a small page", ftruncate(fd, 4096));
	ret("C18", "ftruncate to 3 pages", ftruncate(fd, 3 * HUGE));
	pool("A23", "a size reserves nothing");
	ret("C14", "write", write(fd, "x", 1));
	ret("C13", "read of a hole", read(fd, &byte, 1));
	ret("C13", "pread across pages", pread(fd, bytes, 100, HUGE - 50));
	pool("C13", "a read takes nothing");
	say("C21 data from 0 on at %ld, a hole at %ld\n", (long)lseek(fd, 0, SEEK_DATA), (long)lseek(fd, 0, SEEK_HOLE));
	ret("C21", "data from the end on", lseek(fd, 3 * HUGE, SEEK_DATA));
	ret("B12", "mapped from page 1 on", (long)mmap(NULL, HUGE, RW, MAP_SHARED, fd, 4096));
	char *at = mmap(NULL, 1, RW, MAP_SHARED, fd, HUGE);
	ret("B12", "a byte mapped is a page", (long)at);
	pool("B12", "reserved");
	smaps("I3", at);
	store("B12", "a store", at, 4);
	store("B12", "to its last byte", at + HUGE - 1, 5);
	stat_line("a page", fd);
	ret("C13", "pread of it", pread(fd, &byte, 1, HUGE));
	say("C13 which is %d\n", byte);
	char *own = mmap(NULL, 3 * HUGE, RW, MAP_PRIVATE, fd, 0);
	pool("B12", "3 private pages reserved");
	load("B39", "a private read of the file's page", own + HUGE);
	pool("B39", "takes none");
	store("B41", "a private store", own + HUGE, 9);
	load("B41", "is not seen in the file", at);
	pool("B41", "takes a reserved one");
	load("B39", "a private read of a hole", own);
	pool("B39", "takes one, too");
	stat_line("and none of the file's", fd);
	ret("C28", "a hole", fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, HUGE, HUGE));
	pool("C28", "the file's page and the copy are free");
	load("C28", "zeroes in the file", at);
	load("C28", "zeroes in the private mapping", own + HUGE);
	pool("C28", "one page for both");
	at[HUGE - 1] = 8;
	at[4096] = 8;
	ret("C28", "a hole in a page", fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, HUGE + 4000, 8192));
	load("C28", "zeroes there", at + 4096);
	load("C28", "and not beside it", at + HUGE - 1);
	munmap(own, 3 * HUGE);
	pool("A27", "private pages are free");
	ret("C24", "fallocate across two pages", fallocate(fd, 0, HUGE / 2, HUGE));
	stat_line("then", fd);
	ret("C24", "fallocate behind the end", fallocate(fd, FALLOC_FL_KEEP_SIZE, 3 * HUGE, HUGE));
	stat_line("then", fd);
	ret("C26", "fallocate of too much", fallocate(fd, 0, 0, 9 * HUGE));
	stat_line("what was had stays", fd);
	pool("C26", "used up");
	ret("C18", "ftruncate to a page", ftruncate(fd, HUGE));
	pool("C18", "shorter");
	load("B37", "a read behind the end", at);
	munmap(at, HUGE);
	at = mmap(NULL, 2 * HUGE, RW, MAP_SHARED, fd, HUGE);
	stat_line("a writable mapping makes it longer", fd);
	munmap(at, 2 * HUGE);
	pool("A23", "what a file reserved it keeps");
	ret("C24", "fallocate to an odd size", fallocate(fd, 0, 0, 2 * HUGE + 5));
	stat_line("then", fd);
	ret("C48", "a seal", fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
	ret("C49", "ftruncate then", ftruncate(fd, 0));
	say("C48 seals %x\n", fcntl(fd, F_GET_SEALS));
	int ends[2];
	if (pipe(ends))
		return;
	ret("C22", "splice", splice(fd, NULL, ends[1], NULL, 100, 0));
	ret("C19", "fsync", fsync(fd));
	int other = memfd_create("small", 0);
	ret("B12", "MAP_HUGETLB of small pages", (long)mmap(NULL, HUGE, RW, MAP_SHARED | MAP_HUGETLB, other, 0));
	at = mmap(NULL, HUGE, RW, MAP_SHARED | MAP_HUGETLB | SIZE(13), fd, 0);
	ret("B12", "and of huge ones, whatever the size", (long)at);
	close(fd);
	pool("A27", "closed, and mapped");
	munmap(at, HUGE);
	pool("A27", "unmapped");
}

/* Parent and child take turns. */
static int to_child[2], to_parent[2];

static void pass(int *ends) {
	if (write(ends[1], "x", 1) != 1)
		_exit(1);
}

static void await(int *ends) {
	char byte;
	if (read(ends[0], &byte, 1) != 1)
		_exit(1);
}

static void copies(void) {
	int state;
	if (pipe(to_child) || pipe(to_parent))
		return;
	size_pool("6", "0");
	char *at = map(2 * HUGE, PRIVATE);
	at[0] = 5;
	at[HUGE] = 6;
	if (fork() == 0) {
		load("B41", "a child reads", at);
		store("B41", "a child stores", at, 9);
		pool("B41", "the child has a copy");
		pass(to_parent);
		await(to_child);
		load("B41", "the child's own", at);
		_exit(0);
	}
	await(to_parent);
	load("B41", "the parent's", at);
	store("B41", "the parent stores", at, 7);
	store("B41", "to the page that both have", at + HUGE, 8);
	pool("B41", "the parent has a copy");
	pass(to_child);
	wait(&state);
	pool("A61", "the child ended");
	set(POOL, "2");
	pool("G9", "a pool of 2");
	if (fork() == 0) {
		load("A24", "a child reads", at);
		store("A24", "a child stores, and there is no page", at, 9);
		pass(to_parent);
		await(to_child);
		load("A24", "the page that the parent stored to", at);
		store("A24", "the other one", at + HUGE, 2);
		_exit(0);
	}
	await(to_parent);
	store("A24", "who reserved stores", at, 3);
	pool("A24", "it took the page away from the child");
	pass(to_child);
	wait(&state);
	load("A24", "its own", at);
	munmap(at, 2 * HUGE);
	pool("A27", "unmapped");
	size_pool("3", "0");
	at = map(2 * HUGE, PRIVATE | MAP_NORESERVE);
	at[0] = 1;
	at[HUGE] = 2;
	pool("A24", "two not reserved");
	if (fork() == 0) {
		store("A24", "a child stores", at, 5);
		store("A24", "again, and there is no page", at + HUGE, 5);
		pass(to_parent);
		await(to_child);
		load("A24", "the child's own", at);
		load("A24", "and the page of both", at + HUGE);
		_exit(0);
	}
	await(to_parent);
	load("A24", "the parent's", at);
	store("A24", "the parent stores to it, which is its own", at, 6);
	store("A24", "to the page of both", at + HUGE, 7);
	pass(to_child);
	wait(&state);
	munmap(at, 2 * HUGE);
	pool("A27", "unmapped");
}

static void rights(void) {
	int state;
	size_pool("4", "0");
	for (int group = 0; group < 2; group++) {
		set(GROUP, group ? "100" : "0");
		if (fork() == 0) {
			if (setgid(100) || setuid(1000))
				_exit(1);
			int id = shmget(IPC_PRIVATE, HUGE, SHM_HUGETLB | 0600);
			say("A25 a segment as a user, of the group %d: %s\n", group, id < 0 ? strerrorname_np(errno) : "made");
			shmctl(id, IPC_RMID, NULL);
			ret("A25", "of pages of 8 KiB", shmget(IPC_PRIVATE, HUGE, SHM_HUGETLB | SIZE(13)));
			ret("A25", "of nothing", shmget(IPC_PRIVATE, 0, SHM_HUGETLB));
			say("A25 a mapping: %d\n", map(HUGE, PRIVATE) != MAP_FAILED);
			say("A25 a memory file: %d\n", memfd_create("u", MFD_HUGETLB) >= 0);
			_exit(0);
		}
		wait(&state);
	}
	set(GROUP, "0");
	set("/proc/sys/vm/overcommit_memory", "2");
	char *at = map(9 * HUGE, PRIVATE | MAP_NORESERVE);
	say("B20 MAP_NORESERVE counts without overcommit, too: %d\n", at != MAP_FAILED);
	set("/proc/sys/vm/overcommit_memory", "0");
	munmap(at, 9 * HUGE);
	pool("G9", "the end of rights");
}

#define SYSFS "/sys/kernel/mm/hugepages/hugepages-%s/%s"

/* What a file of sysfs says, after something was written to it, or not. */
static void attribute(const char *size, const char *name, const char *value) {
	char path[96], text[32] = "";
	struct stat stat_;
	snprintf(path, sizeof path, SYSFS, size, name);
	stat(path, &stat_);
	int fd = open(path, value ? O_WRONLY : O_RDONLY);
	ssize_t len = value ? write(fd, value, strlen(value)) : read(fd, text, sizeof text - 1);
	if (len < 0)
		snprintf(text, sizeof text, "%s\n", strerrorname_np(errno));
	else if (value)
		snprintf(text, sizeof text, "%zd\n", len);
	say("G9 %s/%s %o %s: %s", size, name, stat_.st_mode & 0777, value ? value : "", text);
	close(fd);
}

static void sysfs(void) {
	static const char *const names[] = { "nr_hugepages", "nr_hugepages_mempolicy", "free_hugepages", "resv_hugepages",
		"surplus_hugepages", "nr_overcommit_hugepages" };
	static const char *const values[] = { "3", "4\n", "+2", "", "x", "-1", "2x", " 2", "99999999999999999999999", "0x2" };
	size_pool("5", "1");
	char *at = map(2 * HUGE, PRIVATE);
	at[0] = 1;
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		attribute("2048kB", names[i], NULL);
	for (unsigned i = 0; i < sizeof values / sizeof *values; i++)
		attribute("2048kB", "nr_overcommit_hugepages", values[i]);
	attribute("2048kB", "nr_overcommit_hugepages", NULL);
	attribute("2048kB", "nr_hugepages", "1");
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		attribute("2048kB", names[i], NULL);
	attribute("2048kB", "nr_hugepages_mempolicy", "3");
	pool("G9", "three pages");
	munmap(at, 2 * HUGE);
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		attribute("1048576kB", names[i], NULL);
	attribute("1048576kB", "nr_hugepages", "0");
	attribute("1048576kB", "nr_hugepages", "x");
	attribute("1048576kB", "nr_overcommit_hugepages", "1");
	attribute("1048576kB", "demote_size", NULL);
	attribute("1048576kB", "demote", "0");
	attribute("1048576kB", "demote", "x");
	size_pool("5", "0");
	pool("G9", "the end of sysfs");
}

int main(int argc, char **argv) {
	static const struct { const char *name; void (*run)(void); } parts[] = {
		{ "mappings", mappings }, { "advice", advice }, { "segments", segments }, { "unreserved", unreserved_segment },
		{ "surplus", surplus }, { "files", memory_files }, { "copies", copies }, { "rights", rights }, { "sysfs", sysfs },
	};
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER };
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	long pages = get(POOL), overcommit = get(OVERCOMMIT);
	if (pages != 0 || set(POOL, "7") < 0 || get(POOL) != 7) {
		puts("SKIPPED: the pool of huge pages cannot be set, or is somebody's");
		if (pages == 0)
			set(POOL, "0");
		return 0;
	}
	int failed = 0;
	for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++) {
		if (argc > 1 && strcmp(argv[1], parts[i].name))
			continue;
		fflush(stdout);
		int state;
		/* Whatever a part leaves goes with its process. */
		if (fork() == 0) {
			say("-- %s\n", parts[i].name);
			parts[i].run();
			_exit(0);
		}
		wait(&state);
		failed |= state;
	}
	char text[32];
	set(POOL, "0");
	snprintf(text, sizeof text, "%ld", overcommit);
	set(OVERCOMMIT, text);
	pool("G9", "the end");
	return failed != 0;
}
