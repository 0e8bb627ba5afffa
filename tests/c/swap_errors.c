// Rules F24 and F25. swapon and swapoff: what is refused, with which error, and what /proc/swaps says of what is not. On Linux the area is a
// small file that this program prepares; in faultlab's guest it is the disk, which is taken back first and given back last.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define PAGES 64

static const char *area;

static void say(const char *what, int result) {
    printf("%s: %s\n", what, result == 0 ? "ok" : strerrorname_np(errno));
}

// A file of as many pages, all written, so that none is a hole; with the header that mkswap writes, if wanted.
static void make(const char *path, int pages, int with_header) {
    static char page[PAGE];
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    for (int i = 0; i < pages; i++) {
        memset(page, 0, PAGE);
        if (i == 0 && with_header) {
            *(uint32_t *)(page + 1024) = 1;
            *(uint32_t *)(page + 1028) = pages - 1;
            memcpy(page + PAGE - 10, "SWAPSPACE2", 10);
        }
        if (write(fd, page, PAGE) != PAGE) exit(3);
    }
    fsync(fd);
    close(fd);
}

// The priority of the area as /proc/swaps has it, and whether it has one of its own; what it is called differs.
static void priority(const char *what) {
    char line[512];
    int lines = 0, last = 0;
    FILE *swaps = fopen("/proc/swaps", "r");
    while (fgets(line, sizeof line, swaps)) {
        char *end = strrchr(line, '\t');
        // Links are resolved, so it is known by its end.
        if (lines++ > 0 && strstr(line, strrchr(area, '/')) && end) last = atoi(end);
    }
    fclose(swaps);
    if (last < 0) printf("%s: below zero\n", what);
    else printf("%s: %d\n", what, last);
}

static void on_and_off(const char *what, int flags) {
    char text[128];
    int result = swapon(area, flags);
    say(what, result);
    if (result != 0) return;
    snprintf(text, sizeof text, "%s, priority", what);
    priority(text);
    say("  and off", swapoff(area));
}

static void unprivileged(void) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        if (setuid(12345) != 0) exit(4);
        say("unprivileged: swapon", swapon(area, 0));
        say("unprivileged: swapon of nothing", swapon("/nonexistent", 0));
        say("unprivileged: swapon at no address", swapon((const char *)8, 0));
        say("unprivileged: unknown flags", swapon(area, 0x80000));
        say("unprivileged: swapoff", swapoff(area));
        say("unprivileged: swapoff of nothing", swapoff("/nonexistent"));
        fflush(stdout);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    printf("unprivileged: %d\n", status);
}

static void both(const char *what, const char *path) {
    printf("%s, on ", what);
    say("", swapon(path, 0));
    printf("%s, off ", what);
    say("", swapoff(path));
}

int main(void) {
    char directory[] = "/tmp/swap_errorsXXXXXX", path[PATH_MAX], long_path[PATH_MAX + 16];
    if (!mkdtemp(directory) || chdir(directory) != 0) return 2;
    int in_guest = access("/dev/faultlab", F_OK) == 0;
    if (in_guest) {
        area = "/dev/vda";
        if (swapoff(area) != 0) return 5;
    } else {
        snprintf(path, sizeof path, "%s/area", directory);
        area = path;
        make(area, PAGES, 1);
    }
    unprivileged();

    both("nothing", "/nonexistent");
    both("an empty path", "");
    both("no address", NULL);
    both("a bad address", (const char *)8);
    both("a directory", "/tmp");
    both("a character device", "/dev/null");
    make("plain", 16, 0);
    make("plain/below", 0, 0);
    both("no signature", "plain");
    make("short", 0, 0);
    both("an empty file", "short");
    both("below a file", "plain/below");
    if (symlink("loop", "loop") != 0) return 6;
    both("links in a circle", "loop");
    memset(long_path, 'a', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = 0;
    both("a path too long", long_path);
    long_path[300] = 0;
    both("a name too long", long_path);
    if (symlink("nowhere", "dangling") != 0) return 7;
    both("a link to nothing", "dangling");

    say("off what is not on", swapoff(area));
    for (unsigned bit = 19; bit < 32; bit++) {
        if (swapon(area, 1u << bit) == 0 || errno != EINVAL) printf("flag %u: %s\n", bit, strerrorname_np(errno));
    }
    on_and_off("no flags", 0);
    on_and_off("a priority without its flag", 5);
    on_and_off("priority 0", SWAP_FLAG_PREFER);
    on_and_off("priority 5", SWAP_FLAG_PREFER | 5);
    on_and_off("the highest priority", SWAP_FLAG_PREFER | 0x7fff);
    on_and_off("discard", SWAP_FLAG_PREFER | 3 | SWAP_FLAG_DISCARD);
    on_and_off("discard once", SWAP_FLAG_PREFER | 3 | SWAP_FLAG_DISCARD | 0x20000);
    on_and_off("discard pages", SWAP_FLAG_PREFER | 3 | SWAP_FLAG_DISCARD | 0x40000);
    on_and_off("how to discard, but not to", SWAP_FLAG_PREFER | 3 | 0x60000);

    if (symlink(area, "link") != 0) return 8;
    say("through a link", swapon("link", SWAP_FLAG_PREFER | 1));
    say("twice", swapon(area, 0));
    say("twice, through the link", swapon("link", SWAP_FLAG_PREFER | 9));
    say("unknown flags of what is on", swapon(area, 0x80000));
    priority("as before");
    say("off through the link", swapoff("link"));
    say("off again", swapoff("link"));
    if (in_guest) {
        if (swapon(area, 0) != 0) return 9;
    } else {
        unlink(area);
    }
    for (const char *const *name = (const char *const[]){"plain", "short", "loop", "dangling", "link", NULL}; *name; name++) unlink(*name);
    return chdir("/") != 0 || rmdir(directory) != 0;
}
