// Huge pages of private memory and of files on a tmpfs, rule by rule (docs/rules.md, G1 to G7), as far as no knob of the machine needs to
// be set: those of `huge_knobs.c` do. It wants `madvise` or `always` in transparent_hugepage/enabled, neither `deny` nor `force` in
// shmem_enabled, and, for its mounts, root and a mount namespace of its own.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include "huge.h"

#define SHOW(rule, call)                                                                                                                 \
    do {                                                                                                                                 \
        errno = 0;                                                                                                                       \
        long result_ = (long)(call);                                                                                                     \
        printf("%s %s: %s\n", rule, #call, why(result_));                                                                                \
    } while (0)

#define ANON_HUGE(p) smaps(p, "AnonHugePages")
#define PMD_MAPPED(p) smaps(p, "ShmemPmdMapped")

static long bfree(void) {
    struct statfs fs;
    statfs(AT, &fs);
    return fs.f_bfree;
}

// A number for each page, and whether all of [from, to) still have it.
static void fill(char *p, long bytes) {
    for (long at = 0; at < bytes; at += PAGE)
        *(uint32_t *)(p + at) = 7 + (uint32_t)(at / PAGE);
}
static const char *intact(const char *p, long from, long to) {
    for (long at = from; at < to; at += PAGE)
        if (*(const uint32_t *)(p + at) != 7 + (uint32_t)(at / PAGE))
            return "changed";
    return "intact";
}
static char *private_memory(long bytes) {
    return mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
static char *map_file(int fd, long bytes, long offset) {
    return mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
}

static void private_pages(void) {
    char *p = private_memory(2 * HUGE);
    printf("G6 phase %ld\n", (long)p % HUGE);
    SHOW("G1", madvise(p, 2 * HUGE, MADV_HUGEPAGE));
    p[5] = 1;
    printf("G1 one store: Rss %ld AnonHugePages %ld\n", smaps(p, "Rss"), ANON_HUGE(p));
    fill(p, 2 * HUGE);
    printf("G1 all: Rss %ld AnonHugePages %ld, %s\n", smaps(p, "Rss"), ANON_HUGE(p), intact(p, 0, 2 * HUGE));
    fflush(stdout);
    if (!fork()) {
        *(uint32_t *)p = 77;
        printf("fork: child has AnonHugePages %ld, %u, %s\n", ANON_HUGE(p), *(uint32_t *)p, intact(p, PAGE, 2 * HUGE));
        fflush(stdout);
        _exit(0);
    }
    wait(0);
    printf("fork: parent has AnonHugePages %ld, %s\n", ANON_HUGE(p), intact(p, 0, 2 * HUGE));
    fill(p, 2 * HUGE);
    SHOW("mprotect", mprotect(p + PAGE, PAGE, PROT_READ));
    printf("mprotect of a part: %ld %ld, %s\n", ANON_HUGE(p), ANON_HUGE(p + 2 * PAGE), intact(p, 0, 2 * HUGE));
    SHOW("mprotect", mprotect(p + PAGE, PAGE, PROT_READ | PROT_WRITE));
    SHOW("dontneed", madvise(p + HUGE + 2 * PAGE, PAGE, MADV_DONTNEED));
    printf("dontneed: %u, Rss %ld, %s %s\n", *(uint32_t *)(p + HUGE + 2 * PAGE), smaps(p, "Rss"), intact(p, 0, HUGE + 2 * PAGE),
           intact(p, HUGE + 3 * PAGE, 2 * HUGE));
    munmap(p, 2 * HUGE);

    // Moved as one where both places allow it.
    p = private_memory(2 * HUGE);
    char *to = private_memory(4 * HUGE);
    madvise(p, 2 * HUGE, MADV_HUGEPAGE);
    fill(p, 2 * HUGE);
    p = mremap(p, 2 * HUGE, 2 * HUGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    printf("mremap, aligned: AnonHugePages %ld, %s\n", ANON_HUGE(p), intact(p, 0, 2 * HUGE));
    p = mremap(p, HUGE, HUGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + 2 * HUGE + PAGE);
    printf("mremap, out of phase: AnonHugePages %ld, %s\n", ANON_HUGE(p), intact(p, 0, HUGE));
    munmap(to, 4 * HUGE);

    // Where a huge page does not fit, none is.
    p = private_memory(2 * HUGE);
    munmap(p + 2 * HUGE - PAGE, PAGE);
    madvise(p, 2 * HUGE - PAGE, MADV_HUGEPAGE);
    fill(p, 2 * HUGE - PAGE);
    printf("G1 a page less than two: AnonHugePages %ld Rss %ld\n", ANON_HUGE(p), smaps(p, "Rss"));
    munmap(p, 2 * HUGE);
}

// Who does not want huge pages has none: advice, and prctl.
static void declined(void) {
    char *p = private_memory(HUGE);
    SHOW("G1", madvise(p, HUGE, MADV_HUGEPAGE));
    SHOW("G1", madvise(p, HUGE, MADV_NOHUGEPAGE));
    p[0] = 1;
    printf("G1 MADV_NOHUGEPAGE: AnonHugePages %ld THPeligible %ld\n", ANON_HUGE(p), smaps(p, "THPeligible"));
    munmap(p, HUGE);
    SHOW("G1", prctl(PR_SET_THP_DISABLE, 1, 0, 0, 1));
    SHOW("G1", prctl(PR_GET_THP_DISABLE, 1, 0, 0, 0));
    printf("G1 PR_GET_THP_DISABLE: %d\n", prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
    SHOW("G1", prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
    printf("G1 PR_GET_THP_DISABLE: %d\n", prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
    p = private_memory(HUGE);
    madvise(p, HUGE, MADV_HUGEPAGE);
    p[0] = 1;
    printf("G1 disabled: AnonHugePages %ld THPeligible %ld\n", ANON_HUGE(p), smaps(p, "THPeligible"));
    fflush(stdout);
    if (!fork()) {
        printf("G1 a child: %d\n", prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
        fflush(stdout);
        _exit(0);
    }
    wait(0);
    SHOW("G1", prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0));
    munmap(p, HUGE);
    p = private_memory(HUGE);
    madvise(p, HUGE, MADV_HUGEPAGE);
    p[0] = 1;
    printf("G1 enabled again: AnonHugePages %ld THPeligible %ld\n", ANON_HUGE(p), smaps(p, "THPeligible"));
    munmap(p, HUGE);
}

// What the options of the mount on AT are, from its line in /proc/mounts.
static void options(void) {
    FILE *file = fopen("/proc/mounts", "r");
    char line[512], last[512] = "";
    while (file && fgets(line, sizeof line, file))
        if (strstr(line, " " AT " "))
            strcpy(last, line);
    if (file)
        fclose(file);
    char *huge = strstr(last, "huge=");
    if (huge)
        huge[strcspn(huge, ", ")] = 0;
    printf("C31 %s\n", huge ? huge : "no huge=");
}

static void mount_options(void) {
    static const char *words[] = {"never", "always", "within_size", "advise", "deny", "force", "sometimes", "", "ALWAYS"};
    char text[64];
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++) {
        snprintf(text, sizeof text, "huge=%s", words[i]);
        errno = 0;
        int result = mount("x", AT, "tmpfs", 0, text);
        printf("C31 %s: %s\n", text, why(result));
        if (result == 0) {
            options();
            umount(AT);
        }
    }
    SHOW("C31", mount("x", AT, "tmpfs", 0, "huge"));
    SHOW("C34", mount("x", AT, "tmpfs", 0, "size=16m"));
    options();
    int fd = open(AT "/f", O_CREAT | O_RDWR, 0600);
    pwrite(fd, "a", 1, 0);
    printf("C34 before: %ld\n", blocks(fd));
    SHOW("C34", mount("x", AT, "tmpfs", MS_REMOUNT, "huge=always"));
    options();
    pwrite(fd, "a", 1, HUGE);
    printf("C34 huge=always from now on: %ld\n", blocks(fd));
    SHOW("C34", mount("x", AT, "tmpfs", MS_REMOUNT, "size=20m"));
    options();
    SHOW("C34", mount("x", AT, "tmpfs", MS_REMOUNT, "huge=force"));
    SHOW("C34", mount("x", AT, "tmpfs", MS_REMOUNT, "huge=never"));
    options();
    pwrite(fd, "a", 1, 2 * HUGE);
    printf("C34 huge=never from now on: %ld\n", blocks(fd));
    close(fd);
    umount(AT);
}

// The matrix of mount and advice: a fault behind 2 MiB of a file of 3 MiB, one before them, and a write in a file of its own.
static void policies(void) {
    static const char *words[] = {"never", "always", "within_size", "advise"};
    char text[64];
    for (unsigned i = 0; i < 4; i++) {
        // Where all have huge pages, advice to have them says nothing.
        for (int advice = 0; advice < 3; advice += i == 1 ? 2 : 1) {
            snprintf(text, sizeof text, "huge=%s,size=32m", words[i]);
            mount("x", AT, "tmpfs", 0, text);
            int fd = open(AT "/f", O_CREAT | O_RDWR, 0600), other = open(AT "/g", O_CREAT | O_RDWR, 0600);
            ftruncate(fd, 3 * M);
            char *p = mmap(0, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            if (advice)
                madvise(p, 2 * HUGE, advice == 1 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
            p[HUGE + PAGE] = 1;
            long tail = blocks(fd);
            p[PAGE] = 1;
            long head = blocks(fd) - tail;
            pwrite(other, "a", 1, 0);
            printf("G1 %s, %s: tail %ld head %ld write %ld\n", words[i], advice == 1 ? "advised" : advice == 2 ? "declined" : "no advice", tail,
                   head, blocks(other));
            munmap(p, 2 * HUGE);
            close(fd);
            close(other);
            umount(AT);
        }
    }
}

// Where a mapping has no room for a huge page, or is out of phase, a fault makes none; a write does.
static void no_room(void) {
    static char *const at = (char *)0x150000000000;
    SHOW("G1", mount("x", AT, "tmpfs", 0, "huge=always,size=32m"));
    int fd = open(AT "/f", O_RDWR | O_CREAT, 0600);
    ftruncate(fd, 8 * M);
    char *inside = mmap(at + M / 4, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
    inside[0] = 1;
    printf("G1 a mapping of a page: blocks %ld\n", blocks(fd));
    char *askew = mmap(at + 8 * M + PAGE, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, HUGE);
    askew[0] = 1;
    askew[PAGE] = 1;
    printf("G1 out of phase: blocks %ld\n", blocks(fd));
    pwrite(fd, "a", 1, 2 * HUGE);
    printf("G1 a write: blocks %ld, %c there\n", blocks(fd), askew[HUGE]);
    askew[2 * PAGE] = 1;
    printf("G1 beside it: blocks %ld\n", blocks(fd));
    char *fits = mmap(at + 16 * M, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 3 * HUGE);
    fits[0] = 1;
    printf("G1 where one fits: blocks %ld\n", blocks(fd));
    munmap(inside, PAGE);
    munmap(askew, 2 * HUGE);
    munmap(fits, HUGE);
    close(fd);
    umount(AT);
}

static void files(void) {
    SHOW("G2", mount("x", AT, "tmpfs", 0, "huge=always,size=16m"));
    int fd = open(AT "/f", O_RDWR | O_CREAT, 0600);
    long before = bfree();
    pwrite(fd, "a", 1, 0);
    printf("G2 a byte: blocks %ld bfree %ld\n", blocks(fd), bfree() - before);
    ftruncate(fd, 2 * HUGE);
    char *p = map_file(fd, 2 * HUGE, 0);
    printf("G7 phase %ld\n", (long)p % HUGE);
    p[HUGE + 7] = 3;
    p[1] = 2;
    printf("G7 two stores: blocks %ld ShmemPmdMapped %ld Rss %ld\n", blocks(fd), PMD_MAPPED(p), smaps(p, "Rss"));
    fill(p, 2 * HUGE);
    SHOW("G4", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * PAGE, 2 * PAGE));
    printf("G4 a hole: blocks %ld ShmemPmdMapped %ld bfree %ld, %s %s\n", blocks(fd), PMD_MAPPED(p), bfree() - before, intact(p, 0, 2 * PAGE),
           intact(p, 4 * PAGE, 2 * HUGE));
    uint32_t word = 0;
    pread(fd, &word, 4, 300 * PAGE);
    printf("G3 read behind it: %u\n", word);
    SHOW("G4", ftruncate(fd, HUGE + 2 * PAGE));
    printf("G4 truncated: blocks %ld bfree %ld, %s\n", blocks(fd), bfree() - before, intact(p, 4 * PAGE, HUGE + 2 * PAGE));
    char *q = mmap(0, HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    *(uint32_t *)(q + 5 * PAGE) = 99;
    printf("G4 a private copy: %u, %s\n", *(uint32_t *)(q + 5 * PAGE), intact(p, 4 * PAGE, HUGE + 2 * PAGE));
    munmap(p, 2 * HUGE);
    munmap(q, HUGE);
    ftruncate(fd, 0);
    printf("G4 nothing left: blocks %ld bfree %ld\n", blocks(fd), bfree() - before);
    ftruncate(fd, 6 * M);
    pwrite(fd, "a", 1, 0);
    pwrite(fd, "a", 1, 4 * M);
    SHOW("G4", ftruncate(fd, 4 * M + 8192));
    printf("G4 4 MiB + 8 KiB: blocks %ld\n", blocks(fd));
    // Beside a page that is there, none is put; nor where there is no room.
    ftruncate(fd, 0);
    ftruncate(fd, 6 * M);
    mount("x", AT, "tmpfs", MS_REMOUNT, "huge=never");
    pwrite(fd, "a", 1, 700 * PAGE);
    mount("x", AT, "tmpfs", MS_REMOUNT, "huge=always");
    pwrite(fd, "a", 1, 800 * PAGE);
    // (Recent Linux has sizes in between, G10.)
    long beside = blocks(fd);
    printf("G3 beside a small page: %s\n", beside < 4096 ? "not a huge one" : "a huge one");
    pwrite(fd, "a", 1, 5);
    printf("G3 elsewhere: %ld more blocks\n", blocks(fd) - beside);
    close(fd);
    SHOW("G2", umount(AT));
}

// G5: two files of a byte fill a file system of 4 MiB; the third finds room behind the end of one of them.
static void tails(void) {
    SHOW("G5", mount("x", AT, "tmpfs", 0, "huge=always,size=4m"));
    int fd[3];
    long sum = 0, largest = 0;
    for (int i = 0; i < 3; i++) {
        char name[] = AT "/0";
        name[sizeof name - 2] += i;
        fd[i] = open(name, O_CREAT | O_RDWR, 0600);
        const char *written = why(pwrite(fd[i], "a", 1, 0));
        printf("G5 file %d: %s, bfree %ld\n", i, written, bfree());
    }
    for (int i = 0; i < 3; i++) {
        long has = blocks(fd[i]);
        sum += has;
        largest = has > largest ? has : largest;
        close(fd[i]);
    }
    printf("G5 blocks: largest %ld of %ld\n", largest, sum);
    SHOW("G5", umount(AT));
}

// G6: where mappings of a file on a mount with huge pages go.
static void places(void) {
    static const long cases[][2] = {{512, 0}, {512, 1}, {512, 256}, {513, 0}, {513, 1}, {768, 256}, {1024, 1}, {1024, 256}};
    mount("x", AT, "tmpfs", 0, "huge=always,size=16m");
    int fd = open(AT "/f", O_CREAT | O_RDWR, 0600);
    ftruncate(fd, 16 * M);
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        // So that the next place is out of phase by itself.
        private_memory(5 * PAGE);
        long pages = cases[i][0], first = cases[i][1];
        char *p = map_file(fd, pages * PAGE, first * PAGE);
        printf("G6 %ld pages from %ld on: %s\n", pages, first, ((long)p / PAGE - first) % 512 ? "out of phase" : "in phase");
    }
    char *hint = (char *)0x200000001000;
    char *p = mmap(hint, HUGE, PROT_READ, MAP_SHARED, fd, 0);
    printf("G6 a hint is kept: %d\n", p == hint);
    p = mmap(hint, HUGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
    printf("G6 MAP_FIXED: %d\n", p == hint);
    // Its pages are mapped one by one, and stay huge.
    p = mmap(hint, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
    fill(p, HUGE);
    printf("G7 out of phase: blocks %ld ShmemPmdMapped %ld Rss %ld, %s\n", blocks(fd), PMD_MAPPED(p), smaps(p, "Rss"), intact(p, 0, HUGE));
    close(fd);
    munmap(p, HUGE);
    umount2(AT, MNT_DETACH);
}

int main(void) {
    setvbuf(stdout, 0, _IOLBF, 0);
    unshare(CLONE_NEWNS);
    mount(0, "/", 0, MS_REC | MS_PRIVATE, 0);
    private_pages();
    declined();
    mount_options();
    policies();
    no_room();
    files();
    tails();
    places();
    return 0;
}
