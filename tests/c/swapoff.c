/* Rules F26 and B20. swapoff brings everything back, or what it was asked does not happen: the area stays in use, and every page is as it was written. On a
 * Linux that has the disk /dev/vda for itself (tests/accuracy/stock-linux), and in the guest.
 *
 * Where memory is promised and not there, both say ENOMEM. Where it is just not there, Linux begins, and kills the caller half-way; the guest
 * looks first, and says ENOMEM: the program prints for both that it did not happen. */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <sys/wait.h>

#include "common.h"

#define AREA "/dev/vda"
#define PAGE 4096
#define WORDS (PAGE / 8)

/* Private pages and shared ones, as many of each. */
static uint64_t *kinds[2];
static size_t room, count;

static void store(const char *path, const char *format, long value)
{
	int fd = open(path, O_WRONLY);

	must(fd >= 0 && dprintf(fd, format, value) > 0, path);
	close(fd);
}

/* A line of /proc/meminfo, in KiB. */
static long meminfo(const char *name)
{
	char line[128];
	long value = -1;
	FILE *file = fopen("/proc/meminfo", "r");

	while (fgets(line, sizeof line, file))
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
			value = atol(line + strlen(name) + 1);
	fclose(file);
	must(value >= 0, name);
	return value;
}

/* Address space for as many pages of each kind. */
static void reserve(size_t wanted)
{
	room = wanted;
	count = 0;
	for (int kind = 0; kind < 2; kind++) {
		int flags = MAP_ANONYMOUS | MAP_NORESERVE | (kind ? MAP_SHARED : MAP_PRIVATE);

		kinds[kind] = mmap(NULL, room * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
		must(kinds[kind] != MAP_FAILED, "mmap");
	}
}

static uint64_t value(int kind, size_t page, int word)
{
	return (uint64_t)kind << 60 | page << 16 | word;
}

/* Writes to the next pages what only they have. */
static void fill(size_t pages)
{
	must(count + pages <= room, "room");
	for (size_t end = count + pages; count < end; count++)
		for (int kind = 0; kind < 2; kind++)
			for (int word = 0; word < WORDS; word += 64)
				kinds[kind][count * WORDS + word] = value(kind, count, word);
}

static void page_out(void)
{
	for (int kind = 0; kind < 2; kind++)
		madvise(kinds[kind], count * PAGE, MADV_PAGEOUT);
}

static void give_back(size_t left)
{
	/* A shared mapping's pages are its object's. */
	must(!madvise(kinds[1] + left * WORDS, (room - left) * PAGE, MADV_REMOVE), "MADV_REMOVE");
	for (int kind = 0; kind < 2; kind++)
		munmap(kinds[kind] + left * WORDS, (room - left) * PAGE);
	room = count = left;
}

static void verify(const char *when)
{
	size_t wrong = 0;

	for (size_t page = 0; page < count; page++)
		for (int kind = 0; kind < 2; kind++)
			for (int word = 0; word < WORDS; word += 64)
				wrong += kinds[kind][page * WORDS + word] != value(kind, page, word);
	printf("%s: %s\n", when, wrong ? "LOST" : "every page as written");
}

static void is_on(const char *when)
{
	printf("%s: the area is %s\n", when, meminfo("SwapTotal") ? "in use" : "off");
}

/* By a child, which Linux may kill. */
static void short_of_memory(void)
{
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0)
		_exit(swapoff(AREA) == 0 ? 0 : errno);
	must(waitpid(child, &status, 0) == child, "waitpid");
	if (WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == ENOMEM)
		puts("memory is short: it does not happen");
	else
		printf("memory is short: status %#x\n", status);
}

static void off(const char *what)
{
	int result = swapoff(AREA);

	printf("%s: %s\n", what, result ? strerrorname_np(errno) : "off");
}

static void on(void)
{
	must(!swapon(AREA, 0), "swapon");
}

int main(void)
{
	static unsigned char header[PAGE];
	long in_use;

	setvbuf(stdout, NULL, _IOLBF, 0);
	swapoff(AREA);
	if (access("/dev/faultlab", F_OK)) {
		int fd = open(AREA, O_RDWR);

		*(uint32_t *)(header + 1024) = 1;
		*(uint32_t *)(header + 1028) = 4095;
		memcpy(header + PAGE - 10, "SWAPSPACE2", 10);
		must(pwrite(fd, header, PAGE, 0) == PAGE && !fsync(fd), "mkswap");
		close(fd);
	}
	on();

	/* What the area stands for is promised, and RAM is not enough for the promises. */
	reserve(64);
	fill(64);
	page_out();
	in_use = meminfo("Committed_AS");
	store("/proc/sys/vm/overcommit_kbytes", "%ld", in_use / 2);
	store("/proc/sys/vm/overcommit_memory", "%ld", 2);
	off("promised too much");
	is_on("promised too much");
	verify("promised too much");
	store("/proc/sys/vm/overcommit_kbytes", "%ld", in_use + (64 << 10));
	page_out();
	off("promised less");
	is_on("promised less");
	verify("promised less");
	give_back(0);
	store("/proc/sys/vm/overcommit_memory", "%ld", 0);
	store("/proc/sys/vm/overcommit_kbytes", "%ld", 0);

	/* Three quarters of the area hold what has no room in memory. */
	on();
	reserve(meminfo("MemTotal") / 8 + meminfo("SwapTotal") / 8);
	while (meminfo("SwapFree") > meminfo("SwapTotal") / 4)
		fill(16);
	for (int round = 0; round < 2; round++) {
		short_of_memory();
		is_on("memory is short");
	}
	verify("memory is short");
	give_back(count / 4);
	off("and is there again");
	is_on("and is there again");
	verify("and is there again");
	on();
	is_on("at the end");
	return 0;
}
