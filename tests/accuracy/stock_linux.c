// The first program of a stock Linux whose disk is faultlab's swap disk: run by tests/accuracy/stock-linux. Everything that Linux's virtio_blk can ask of
// the disk is asked, through files and ioctls of the kernel's, and what comes back is compared: sectors, name, zeroes, discards, flushes; and Linux swaps to it.
// The driver is then taken off the disk and put on it again, which resets the device, and what was written is still there.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define DISK "/dev/vda"
#define DISK_PAGES 16384
// What one process has, and what it may have in memory.
#define SWAPPED 1536
#define RESIDENT "3M"

static void say(const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    // To the port itself: the machine's first one is all that the kernel's console has, and without an interrupt it is no terminal.
    char line[600];
    int len = snprintf(line, sizeof line, "stock-linux: %s\n", text);
    for (int i = 0; i < len; i++) outb(line[i], 0x3f8);
}

static void must(int good, const char *what);

static void end(void) {
    sync();
    reboot(RB_AUTOBOOT);
    for (;;) pause();
}

// Runs another program, whose lines are said, in the place of all that follows.
static void run(const char *path) {
    int ends[2], status;
    must(pipe(ends) == 0, "pipe");
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], 1), dup2(ends[1], 2), close(ends[0]), close(ends[1]);
        execl(path, path, NULL);
        _exit(127);
    }
    close(ends[1]);
    FILE *lines = fdopen(ends[0], "r");
    char line[256];
    while (fgets(line, sizeof line, lines)) {
        line[strcspn(line, "\n")] = 0;
        say("%s", line);
    }
    waitpid(child, &status, 0);
    if (status == 0) say("ok");
    else say("status %#x", status);
    end();
}

static void must(int good, const char *what) {
    if (good) return;
    say("WRONG: %s (errno %d, %s)", what, errno, strerror(errno));
    if (getpid() == 1) end();
    _exit(1);
}

static void store(const char *path, const char *text) {
    int fd = open(path, O_WRONLY);
    must(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), path);
    close(fd);
}

// A small file without its newline.
static char *load(const char *path) {
    static char text[1 << 16];
    int fd = open(path, O_RDONLY);
    must(fd >= 0, path);
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    must(len >= 0, path);
    if (len > 0 && text[len - 1] == '\n') len--;
    text[len] = 0;
    return text;
}

static long vmstat(const char *name) {
    char line[64];
    snprintf(line, sizeof line, "\n%s ", name);
    char *text = load("/proc/vmstat"), *at = strstr(text, line);
    must(at != NULL, name);
    return atol(at + strlen(line));
}

// Field `which` of the disk's statistics, from 1: Documentation/block/stat.rst.
static long disk_stat(int which) {
    char *word = strtok(load("/sys/block/vda/stat"), " ");
    while (--which > 0 && word) word = strtok(NULL, " ");
    must(word != NULL, "stat");
    return atol(word);
}

// What belongs at `page` in `generation`.
static void fill(uint64_t *words, uint64_t page, uint64_t generation) {
    for (int i = 0; i < PAGE / 8; i++) words[i] = generation << 48 | page << 16 | i;
}

static int holds(const uint64_t *words, uint64_t page, uint64_t generation) {
    for (int i = 0; i < PAGE / 8; i++)
        if (words[i] != (generation << 48 | page << 16 | i)) return 0;
    return 1;
}

static int is_zero(const uint64_t *words) {
    for (int i = 0; i < PAGE / 8; i++)
        if (words[i]) return 0;
    return 1;
}

static uint64_t *buffer;

static void write_pages(int fd, uint64_t first, int pages, uint64_t generation) {
    for (int i = 0; i < pages; i++) fill(buffer + i * (PAGE / 8), first + i, generation);
    must(pwrite(fd, buffer, pages * PAGE, first * PAGE) == pages * PAGE, "pwrite");
}

static const uint64_t *read_pages(int fd, uint64_t first, int pages) {
    memset(buffer, 0xa5, pages * PAGE);
    must(pread(fd, buffer, pages * PAGE, first * PAGE) == pages * PAGE, "pread");
    return buffer;
}

static void verify(int fd, uint64_t first, int pages, uint64_t generation) {
    const uint64_t *words = read_pages(fd, first, pages);
    for (int i = 0; i < pages; i++) must(holds(words + i * (PAGE / 8), first + i, generation), "what was written is read");
}

// Reads and writes past the page cache, from one sector to 1 MiB.
static void sectors(int fd) {
    for (int pages = 1; pages <= 256; pages *= 4) {
        uint64_t first = 1 + 40 * pages;
        write_pages(fd, first, pages, pages);
        verify(fd, first, pages, pages);
    }
    fill(buffer, 7, 99);
    must(pwrite(fd, buffer, 512, 12345 * 512) == 512, "a sector");
    memset(buffer, 0, 512);
    must(pread(fd, buffer, 512, 12345 * 512) == 512 && buffer[63] == (99ULL << 48 | 7 << 16 | 63), "a sector is read");
    must(pread(fd, buffer, PAGE, (uint64_t)DISK_PAGES * PAGE) == 0, "the disk's end");
    must(fsync(fd) == 0, "fsync");
    say("sectors and pages are read as written; name %s, cache %s", strdup(load("/sys/block/vda/serial")), strdup(load("/sys/block/vda/queue/write_cache")));
}

// Zeroes and discards of a part, whose neighbours stay.
static void ranges(int fd) {
    const struct { unsigned long request; const char *name; } kinds[] = {{BLKZEROOUT, "BLKZEROOUT"}, {BLKDISCARD, "BLKDISCARD"}};
    for (int kind = 0; kind < 2; kind++) {
        write_pages(fd, 100, 64, 3);
        uint64_t range[2] = {110 * PAGE, 40 * PAGE};
        must(ioctl(fd, kinds[kind].request, range) == 0, kinds[kind].name);
        verify(fd, 100, 10, 3);
        verify(fd, 150, 14, 3);
        const uint64_t *words = read_pages(fd, 110, 40);
        for (int i = 0; i < 40; i++) must(is_zero(words + i * (PAGE / 8)), kinds[kind].name);
    }
    must(atol(load("/sys/block/vda/queue/write_zeroes_max_bytes")) > 0, "the disk zeroes by itself");
    must(atol(load("/sys/block/vda/queue/discard_max_bytes")) > 0, "the disk discards");
    say("BLKZEROOUT and BLKDISCARD zero their part and no more; %ld discards, %ld flushes", disk_stat(12), disk_stat(16));
}

// Private and shared pages, twice what may be in memory, written and verified in turns, by a parent and a child that shares them.
static void swap_pages(void) {
    static unsigned char header[PAGE];
    *(uint32_t *)(header + 1024) = 1;
    *(uint32_t *)(header + 1028) = DISK_PAGES - 1;
    memcpy(header + PAGE - 10, "SWAPSPACE2", 10);
    int fd = open(DISK, O_RDWR);
    must(fd >= 0 && pwrite(fd, header, PAGE, 0) == PAGE && fsync(fd) == 0, "mkswap");
    close(fd);
    must(swapon(DISK, SWAP_FLAG_DISCARD) == 0, "swapon");
    long out = vmstat("pswpout"), in = vmstat("pswpin");
    pid_t child = fork();
    if (child == 0) {
        store("/cgroup/small/cgroup.procs", "0");
        uint64_t *pages[2];
        for (int kind = 0; kind < 2; kind++) {
            int flags = MAP_ANONYMOUS | (kind ? MAP_SHARED : MAP_PRIVATE);
            pages[kind] = mmap(0, SWAPPED / 2 * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
            must(pages[kind] != MAP_FAILED, "mmap");
        }
        for (uint64_t generation = 1; generation <= 2; generation++) {
            for (int i = 0; i < SWAPPED; i++) fill(pages[i % 2] + i / 2 * (PAGE / 8), i, generation);
            // The first time, a child sees all of it, and changes its own copy of what is private.
            pid_t grandchild = generation == 1 ? fork() : 1;
            if (grandchild == 0) {
                for (int i = 0; i < SWAPPED; i++) {
                    must(holds(pages[i % 2] + i / 2 * (PAGE / 8), i, generation), "a page comes back to a child");
                    if (i % 2 == 0) fill(pages[0] + i / 2 * (PAGE / 8), i, 77);
                }
                _exit(0);
            }
            int status;
            must(generation > 1 || (waitpid(grandchild, &status, 0) == grandchild && status == 0), "a child");
            for (int i = 0; i < SWAPPED; i++) must(holds(pages[i % 2] + i / 2 * (PAGE / 8), i, generation), "a page comes back");
        }
        // From another process: everything that is out comes back.
        pid_t off = fork();
        if (off == 0) {
            store("/cgroup/cgroup.procs", "0");
            store("/cgroup/small/memory.max", "max");
            must(swapoff(DISK) == 0, "swapoff");
            _exit(0);
        }
        int status;
        must(waitpid(off, &status, 0) == off && status == 0, "swapoff");
        for (int i = 0; i < SWAPPED; i++) must(holds(pages[i % 2] + i / 2 * (PAGE / 8), i, 2), "a page is there after swapoff");
        _exit(0);
    }
    int status;
    must(waitpid(child, &status, 0) == child && status == 0, "the process that swaps");
    out = vmstat("pswpout") - out;
    in = vmstat("pswpin") - in;
    must(out > SWAPPED && in > SWAPPED, "pages went to the disk and came back");
    say("%ld pages swapped out, %ld in, and swapoff brought back the rest", out, in);
}

// The driver leaves, which resets the device, and comes again; what the disk held is there.
static void again(void) {
    int fd = open(DISK, O_RDWR | O_DIRECT);
    must(fd >= 0, DISK);
    write_pages(fd, 5000, 128, 5);
    close(fd);
    store("/sys/bus/virtio/drivers/virtio_blk/unbind", "virtio0");
    must(access("/sys/block/vda", F_OK) != 0, "the disk is gone");
    store("/sys/bus/virtio/drivers/virtio_blk/bind", "virtio0");
    fd = open(DISK, O_RDWR | O_DIRECT);
    must(fd >= 0, DISK);
    verify(fd, 5000, 128, 5);
    close(fd);
    say("unbound and bound again, the disk is as it was");
}

// The disk's line of /proc/interrupts.
static long interrupts(void) {
    char *line = strstr(load("/proc/interrupts"), "virtio0");
    must(line != NULL, "no interrupt");
    while (line[-1] != '\n') line--;
    return atol(strchr(line, ':') + 1);
}

int main(void) {
    if (ioperm(0x3f8, 1, 1) != 0) return 1;
    mkdir("/proc", 0755), mkdir("/sys", 0755), mkdir("/dev", 0755), mkdir("/cgroup", 0755);
    mount("none", "/proc", "proc", 0, NULL), mount("none", "/sys", "sysfs", 0, NULL), mount("none", "/dev", "devtmpfs", 0, NULL);
    must(mount("none", "/cgroup", "cgroup2", 0, NULL) == 0, "cgroup2");
    store("/cgroup/cgroup.subtree_control", "+memory");
    mkdir("/cgroup/small", 0755);
    store("/cgroup/small/memory.max", RESIDENT);
    for (int number = 0;; number++) {
        char path[32];
        snprintf(path, sizeof path, "/%d.ko", number);
        int fd = open(path, O_RDONLY);
        if (fd < 0) break;
        must(syscall(SYS_finit_module, fd, "", 0) == 0, path);
        close(fd);
    }
    must(access(DISK, F_OK) == 0, "no " DISK);
    if (access("/program", X_OK) == 0) run("/program");
    char *version = load("/proc/version");
    version[strcspn(version, "(")] = 0;
    say("%s", version);
    say("features %s", load("/sys/bus/virtio/devices/virtio0/features"));
    buffer = mmap(0, 256 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = open(DISK, O_RDWR | O_DIRECT);
    must(fd >= 0 && buffer != MAP_FAILED, DISK);
    must(strcmp(load("/sys/block/vda/serial"), "faultlab-swap") == 0, "the disk's name");
    must(atol(load("/sys/block/vda/size")) == DISK_PAGES * 8, "the disk's size");
    sectors(fd);
    ranges(fd);
    close(fd);
    swap_pages();
    say("%ld interrupts", interrupts());
    again();
    say("ok");
    end();
}
