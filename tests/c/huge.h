// What the programs about huge pages do alike.
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PAGE 4096L
#define M (1L << 20)
#define HUGE (2 * M)
#define AT "/dev/shm"

static const char *why(long result) { return result < 0 ? strerrorname_np(errno) : "ok"; }

// A field of the mapping at an address, in KiB; -1 where there is no such mapping.
static long smaps(const void *mapping, const char *name) {
    FILE *file = fopen("/proc/self/smaps", "r");
    char line[512];
    long value = -1;
    int inside = 0;
    while (file && fgets(line, sizeof line, file)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            inside = from <= (uintptr_t)mapping && (uintptr_t)mapping < to;
        else if (inside && !strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
            value = atol(line + strlen(name) + 1);
    }
    if (file)
        fclose(file);
    return value;
}

static long blocks(int fd) {
    struct stat st;
    fstat(fd, &st);
    return st.st_blocks;
}
