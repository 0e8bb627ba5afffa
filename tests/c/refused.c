// What a program may not do by a way round: writes past RLIMIT_FSIZE and to others' set-user-ID files by splice and sendfile, the memory of
// others in /proc, files without names where there are none, vectors that change while they are read, a call's number with an upper half.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "common.h"

static volatile sig_atomic_t exceeded;

static void count(int signal) { exceeded += signal == SIGXFSZ; }

static void said(const char *what, long result) {
    printf("%s: %ld %s, SIGXFSZ %d\n", what, result, result < 0 ? strerrorname_np(errno) : "-", exceeded);
    fflush(stdout);
    exceeded = 0;
}

static void past_the_limit(int file, int source) {
    static char bytes[8192];
    struct rlimit limit = {4096, RLIM_INFINITY};
    loff_t at = 0;
    int ends[2];
    signal(SIGXFSZ, count);
    pipe(ends);
    pwrite(source, bytes, sizeof bytes, 0);
    setrlimit(RLIMIT_FSIZE, &limit);
    write(ends[1], bytes, 8192);
    said("splice across the limit", splice(ends[0], NULL, file, &at, 8192, 0));
    at = 8192;
    said("splice beyond it", splice(ends[0], NULL, file, &at, 100, 0));
    at = 0;
    said("splice up to it", splice(ends[0], NULL, file, &at, 4096, 0));
    ftruncate(file, 0);
    off_t from = 0;
    said("sendfile across it", sendfile(file, source, &from, 8192));
    said("sendfile beyond it", sendfile(file, source, &from, 100));
    lseek(file, 0, SEEK_SET);
    from = 4096;
    said("sendfile up to it", sendfile(file, source, &from, 8192));
    limit.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_FSIZE, &limit);
    if (fork() == 0) {
        struct stat now;
        fchown(file, 1000, 1000);
        fchmod(file, 06777);
        setgid(1000);
        setuid(1000);
        write(ends[1], bytes, 10);
        at = 0;
        splice(ends[0], NULL, file, &at, 10, 0);
        fstat(file, &now);
        printf("mode %o\n", now.st_mode);
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
}

static void opened(const char *path, int flags) {
    int file = open(path, flags, 0600);
    printf("%s %s\n", path[1] == 'p' && path[6] >= '0' && path[6] <= '9' ? strrchr(path, '/') : path,
           file < 0 ? strerrorname_np(errno) : "opened");
    fflush(stdout);
    if (file >= 0)
        close(file);
}

static void others_memory(void) {
    static const char *const names[] = {"maps", "smaps", "smaps_rollup", "mem", "pagemap", "environ", "auxv", "stat", "status", "statm", "cmdline"};
    pid_t root = getpid();
    if (fork() == 0) {
        setgid(1000);
        setuid(1000);
        for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
            char path[64];
            snprintf(path, sizeof path, "/proc/%d/%s", root, names[i]);
            opened(path, O_RDONLY);
        }
        _exit(0);
    }
    wait(NULL);
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/%s", names[i]);
        opened(path, O_RDONLY);
    }
}

// The first vector's bytes are put over the second vector.
static void changing_vectors(void) {
    static char to[64];
    static struct iovec vectors[2];
    struct iovec other = {to + 32, 8};
    char bytes[24];
    char name[] = "/tmp/refusedXXXXXX";
    int file = mkstemp(name);
    memcpy(bytes, &other, 16);
    memcpy(bytes + 16, "ABCDEFGH", 8);
    write(file, bytes, sizeof bytes);
    for (int way = 0; way < 2; way++) {
        memset(to, '-', sizeof to);
        vectors[0] = (struct iovec){&vectors[1], 16};
        vectors[1] = (struct iovec){to, 8};
        lseek(file, 0, SEEK_SET);
        long got = way ? preadv(file, vectors, 2, 0) : readv(file, vectors, 2);
        printf("%ld %.8s %.8s\n", got, to, to + 32);
    }
    close(file);
    unlink(name);
}

int main(void) {
    char name[] = "/tmp/refusedXXXXXX", source[] = "/tmp/refusedXXXXXX";
    mkdir("/tmp", 01777);
    past_the_limit(mkstemp(name), mkstemp(source));
    unlink(name);
    unlink(source);
    others_memory();
    static const char *const places[] = {"/proc", "/proc/self", "/proc/self/fd", "/proc/sys/vm", "/sys/kernel"};
    for (int i = 0; i < 5; i++)
        opened(places[i], O_TMPFILE | O_RDWR);
    changing_vectors();
    printf("a number with an upper half: %s\n", syscall(1L << 32 | SYS_getpid) == getpid() ? "getpid" : "none");
    printf("and one that takes the long way: %s\n", syscall(1L << 32 | SYS_getpgrp) == getpgrp() ? "getpgrp" : "none");
    return 0;
}
