/*
 * What the kernel itself takes for a file of a tmpfs, for a page of the page cache and for a System V segment, in bytes each: by how much
 * Slab of /proc/meminfo grows when there are many more of them. Entries of the memory map (64 bytes a frame on Linux) are not in it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 4096
#define PAGES 8192
#define SEGMENTS 2048

static long slab_bytes(void) {
	static char text[8192];
	int fd = open("/proc/meminfo", O_RDONLY);
	ssize_t len = read(fd, text, sizeof text - 1);
	close(fd);
	text[len > 0 ? len : 0] = 0;
	const char *line = strstr(text, "\nSlab:");
	if (!line) {
		puts("no Slab in /proc/meminfo");
		exit(1);
	}
	return atol(line + 6) * 1024;
}

static void say(const char *what, long before, long count) {
	printf("%s %ld\n", what, (slab_bytes() - before) / count);
}

static void check(int failed, const char *what) {
	if (failed) {
		perror(what);
		exit(1);
	}
}

int main(void) {
	static int segments[SEGMENTS];
	static char page[4096];
	char directory[] = "/dev/shm/costs-XXXXXX", path[64];
	check(!mkdtemp(directory), "mkdtemp");

	long before = slab_bytes();
	for (int i = 0; i < FILES; i++) {
		snprintf(path, sizeof path, "%s/%d", directory, i);
		int fd = open(path, O_RDWR | O_CREAT, 0600);
		check(fd < 0 || close(fd) < 0, path);
	}
	say("file", before, FILES);

	snprintf(path, sizeof path, "%s/0", directory);
	int fd = open(path, O_RDWR);
	before = slab_bytes();
	for (int i = 0; i < PAGES; i++)
		check(write(fd, page, sizeof page) != sizeof page, "write");
	say("page", before, PAGES);
	close(fd);

	before = slab_bytes();
	for (int i = 0; i < SEGMENTS; i++) {
		segments[i] = shmget(IPC_PRIVATE, 4096, 0600);
		check(segments[i] < 0, "shmget");
	}
	say("segment", before, SEGMENTS);

	for (int i = 0; i < SEGMENTS; i++)
		shmctl(segments[i], IPC_RMID, 0);
	for (int i = 0; i < FILES; i++) {
		snprintf(path, sizeof path, "%s/%d", directory, i);
		unlink(path);
	}
	rmdir(directory);
	return 0;
}
