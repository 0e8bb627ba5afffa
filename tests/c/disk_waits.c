/* What others do while a program's page comes from a disk that takes its time: they run. For a guest whose swap disk is served beside it and
 * is late (--swap-io thread --swap-latency fixed:50ms). Prints one line for each thing that is as it should be. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGES 6
#define PAGE 4096
/* Pages between those that are touched, so that none is read ahead. */
#define STEP 2

static struct {
    /* Faults under way, and how many began while another was. */
    volatile long under_way, together;
    volatile long turns, computed, ready, done;
    volatile long waits[2], major[2];
} *shared;

static long out(void) {
    static char text[16384];
    int fd = open("/proc/vmstat", O_RDONLY);
    long n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    char *at = strstr(text, "\npswpout ");
    return at ? atol(at + 9) : -1;
}

/* Pages that are on the disk and nowhere else. */
static volatile unsigned char *on_disk(int kind) {
    unsigned char *at = mmap(0, PAGES * STEP * PAGE, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) exit(10);
    for (int i = 0; i < PAGES * STEP; i++) at[i * PAGE] = i / STEP + 1;
    long before = out();
    if (madvise(at, PAGES * STEP * PAGE, MADV_PAGEOUT)) exit(11);
    while (out() < before + PAGES * STEP) {
        struct timespec ms = {0, 1000000};
        nanosleep(&ms, 0);
    }
    return at;
}

static void touch_all(volatile unsigned char *at, int who) {
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    for (int i = 0; i < PAGES; i++) {
        if (++shared->under_way == 2) shared->together++;
        if (at[i * STEP * PAGE] != i + 1) _exit(12);
        shared->under_way--;
    }
    getrusage(RUSAGE_SELF, &after);
    shared->waits[who] = after.ru_nvcsw - before.ru_nvcsw;
    shared->major[who] = after.ru_majflt - before.ru_majflt;
}

static int status_of(pid_t child) {
    int status;
    while (waitpid(child, &status, 0) != child) {}
    return status;
}

/* A child that faults, while this process computes. */
static void others_compute(int kind) {
    shared->done = 0;
    pid_t child = fork();
    if (!child) {
        volatile unsigned char *at = on_disk(kind);
        long before = shared->turns;
        touch_all(at, 0);
        shared->computed = shared->turns - before;
        shared->done = 1;
        _exit(0);
    }
    while (!shared->done) shared->turns++;
    if (status_of(child)) exit(13);
    /* A page or two may have been there at once, if this machine stood still meanwhile. */
    printf("%s: others compute meanwhile: %s\n", kind == MAP_SHARED ? "shared" : "private",
           shared->waits[0] >= PAGES / 2 && shared->computed > 0 && shared->major[0] == PAGES ? "yes" : "no");
}

/* Two that fault have their pages read at the same time. */
static void two_at_a_time(int kind) {
    shared->under_way = shared->together = shared->ready = 0;
    pid_t children[2];
    for (int who = 0; who < 2; who++) {
        children[who] = fork();
        if (!children[who]) {
            volatile unsigned char *at = on_disk(kind);
            shared->ready++;
            while (shared->ready < 2) {
                struct timespec ms = {0, 1000000};
                nanosleep(&ms, 0);
            }
            touch_all(at, who);
            _exit(0);
        }
    }
    for (int who = 0; who < 2; who++)
        if (status_of(children[who])) exit(14);
    printf("%s: two wait at a time: %s\n", kind == MAP_SHARED ? "shared" : "private",
           shared->together >= PAGES && shared->waits[0] >= PAGES / 2 && shared->waits[1] >= PAGES / 2 ? "yes" : "no");
}

/* Who waits for a page can be killed, and does not wait then. */
static void killed(void) {
    shared->ready = 0;
    pid_t child = fork();
    if (!child) {
        volatile unsigned char *at = on_disk(MAP_PRIVATE);
        shared->ready = 1;
        for (int i = 0; i < PAGES; i++) shared->turns += at[i * STEP * PAGE];
        pause();
    }
    while (!shared->ready) {
        struct timespec ms = {0, 1000000};
        nanosleep(&ms, 0);
    }
    kill(child, SIGKILL);
    printf("killed: %d\n", WTERMSIG(status_of(child)));
}

int main(void) {
    setvbuf(stdout, 0, _IONBF, 0);
    shared = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || mlock(shared, PAGE)) return 9;
    others_compute(MAP_PRIVATE);
    others_compute(MAP_SHARED);
    two_at_a_time(MAP_PRIVATE);
    two_at_a_time(MAP_SHARED);
    killed();
    return 0;
}
