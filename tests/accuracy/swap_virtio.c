// What a swap-out and a swap-in of one shared page cost Linux on a virtio disk, in cycles of the time-stamp counter: run by tests/accuracy/swap-virtio on
// the Linux of a simulated machine, with the modules to load first. The disk keeps nothing, so this program's own pages are locked, and reclaim is asked for
// its control group alone. Linux keeps a page in its swap cache after it was written; it is taken out of there before it is read back.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

#define PAGES 1024
#define PAGE 4096
#define WORDS (PAGE / 8)

static uint64_t samples[PAGES];

static void must(int good, const char *what) {
    if (good) return;
    perror(what);
    exit(1);
}

static void store(const char *path, const char *text) {
    int fd = open(path, O_WRONLY);
    must(fd >= 0 && write(fd, text, strlen(text)) > 0, path);
    close(fd);
}

// A counter of /proc/vmstat.
static long count(const char *name) {
    static char text[1 << 16];
    char line[64];
    int fd = open("/proc/vmstat", O_RDONLY);
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    text[len > 0 ? len : 0] = 0;
    snprintf(line, sizeof line, "\n%s ", name);
    char *at = strstr(text, line);
    must(at != NULL, name);
    return atol(at + strlen(line));
}

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void show(const char *name, long pages) {
    uint64_t sum = 0;
    for (int i = 0; i < PAGES; i++) sum += samples[i];
    qsort(samples, PAGES, sizeof *samples, by_value);
    printf("%-10s %8lu %8lu   %s\n", name, samples[PAGES / 2], sum / PAGES, pages == PAGES ? "ok" : "WRONG COUNT");
}

static void begin_to_swap(const char *disk) {
    static unsigned char header[PAGE];
    // With pages as blocks, swapon finds the header in the page cache; the disk has forgotten it. So the disk stays open.
    int fd = open(disk, O_RDWR), block = PAGE;
    must(fd >= 0 && ioctl(fd, BLKBSZSET, &block) == 0, disk);
    *(uint32_t *)(header + 1024) = 1;
    *(uint32_t *)(header + 1028) = 16383;
    memcpy(header + PAGE - 10, "SWAPSPACE2", 10);
    must(pwrite(fd, header, PAGE, 0) == PAGE && swapon(disk, 0) == 0, "swapon");
    store("/proc/sys/vm/page-cluster", "0");
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        int fd = open(argv[i], O_RDONLY);
        must(syscall(SYS_finit_module, fd, "", 0) == 0, argv[i]);
        close(fd);
    }
    mkdir("/cgroup", 0755);
    must(mount("none", "/cgroup", "cgroup2", 0, NULL) == 0, "cgroup2");
    store("/cgroup/cgroup.subtree_control", "+memory");
    mkdir("/cgroup/own", 0755);
    store("/cgroup/own/cgroup.procs", "0");
    must(mlockall(MCL_CURRENT) == 0, "mlockall");
    for (int tries = 0; access("/dev/vda", F_OK) != 0 && tries < 100; tries++) usleep(10000);
    begin_to_swap("/dev/vda");
    volatile uint64_t *pages = mmap(0, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(pages != MAP_FAILED, "mmap");
    printf("%-10s %8s %8s\n", "", "p50", "mean");
    // The first time is a rehearsal.
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < PAGES; i++) pages[i * WORDS] = i;
        long before = count("pswpout");
        for (int i = 0; i < PAGES; i++) {
            uint64_t start = __rdtsc();
            madvise((void *)(pages + i * WORDS), PAGE, MADV_PAGEOUT);
            samples[i] = __rdtsc() - start;
        }
        usleep(100000);
        if (round) show("swap-out", count("pswpout") - before);
        for (int tries = 0; tries < 40 && count("nr_swapcached") > 8; tries++) {
            int fd = open("/cgroup/own/memory.reclaim", O_WRONLY);
            // It fails when less is left than is asked for.
            if (write(fd, "2M", 2) < 0) usleep(1000);
            close(fd);
        }
        before = count("pswpin");
        for (int i = 0; i < PAGES; i++) {
            uint64_t start = __rdtsc();
            pages[i * WORDS] = i;
            samples[i] = __rdtsc() - start;
        }
        if (round) show("swap-in", count("pswpin") - before);
    }
    return 0;
}
