// What a call that waits remembers, and its end: whatever it comes to, the thread's next call finds nothing of it; and a descriptor names for
// it what it named when the call began, whatever becomes of the number meanwhile. Other threads act when the one that waits is seen asleep.

#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "common.h"

static volatile int waits;
static int ends[2], others[2];
static char *page;
static char bytes[200000];

// The next call of this thread is the one to wait in.
static void announce(void) { waits = syscall(SYS_gettid); }

static void until_it_sleeps(void) {
    until_thread_asleep(&waits);
    waits = 0;
}

static void told(const char *what, long result) {
    printf("%s: %ld %s\n", what, result, result < 0 ? strerrorname_np(errno) : "-");
}

static long drain(int from) {
    static char sink[sizeof bytes];
    long got, sum = 0;
    while ((got = read(from, sink, sizeof sink)) > 0) sum += got;
    return sum;
}

// A write of more than a pipe holds, whose descriptor is closed; then one to another pipe.
static void *writes(void *unused) {
    announce();
    told("write", write(ends[1], bytes, sizeof bytes));
    told("the next write", write(others[1], "hello, world", 12));
    char text[16];
    fcntl(others[0], F_SETFL, O_NONBLOCK);
    told("and read", read(others[0], text, sizeof text));
    return unused;
}

static void of_a_write(void) {
    pthread_t thread;
    pipe(ends);
    pipe(others);
    pthread_create(&thread, NULL, writes, NULL);
    until_it_sleeps();
    close(ends[1]);
    long drained = drain(ends[0]);
    pthread_join(thread, NULL);
    printf("%ld bytes until the end\n", drained);
    close(ends[0]);
}

static void *reads(void *unused) {
    char text[16] = "";
    announce();
    told("read", read(ends[0], text, 15));
    puts(text);
    return unused;
}

// A read whose descriptor becomes another pipe's, and one whose descriptor is closed.
static void of_a_read(void) {
    pthread_t thread;
    pipe(ends);
    fcntl(others[0], F_SETFL, 0);
    write(others[1], "new", 3);
    pthread_create(&thread, NULL, reads, NULL);
    until_it_sleeps();
    dup2(others[0], ends[0]);
    write(ends[1], "old", 3);
    pthread_join(thread, NULL);
    close(ends[0]);
    close(ends[1]);
    pipe(ends);
    pthread_create(&thread, NULL, reads, NULL);
    until_it_sleeps();
    close(ends[0]);
    long written = write(ends[1], "data", 4);
    pthread_join(thread, NULL);
    told("its writer's write", written);
    // It was the last reader.
    told("and the next", write(ends[1], "data", 4));
    close(ends[1]);
}

// The name of a FIFO goes while its open waits; then another is opened.
static void *opens(void *unused) {
    announce();
    int first = open(page, O_RDONLY);
    printf("a FIFO: %s\n", first < 0 ? "not opened" : "opened");
    int second = open("waiting.2", O_RDONLY | O_NONBLOCK);
    struct stat opened, meant;
    fstat(second, &opened);
    stat("waiting.2", &meant);
    printf("another: %s\n", opened.st_ino == meant.st_ino ? "itself" : "not itself");
    close(second);
    return unused;
}

static void of_an_open(void) {
    char name[] = "/tmp/waitingXXXXXX";
    mkdir("/tmp", 01777);
    if (!mkdtemp(name) || chdir(name)) exit(1);
    mkfifo("waiting.1", 0600);
    mkfifo("waiting.2", 0600);
    pthread_t thread;
    strcpy(page, "waiting.1");
    pthread_create(&thread, NULL, opens, NULL);
    until_it_sleeps();
    mprotect(page, 4096, PROT_NONE);
    int writer = open("waiting.1", O_RDWR | O_NONBLOCK);
    pthread_join(thread, NULL);
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
    close(writer);
    unlink("waiting.1");
    unlink("waiting.2");
    chdir("/");
    rmdir(name);
}

// A wait for a time fails; then a sleep takes its whole time.
static void *takes_time(void *unused) {
    struct timespec time = {0, 200000000}, before, after;
    sigset_t *set = (sigset_t *)page;
    sigemptyset(set);
    sigaddset(set, SIGUSR1);
    announce();
    // EAGAIN at the end of the time, or EFAULT if the set is read again then: not what is looked at here.
    syscall(SYS_rt_sigtimedwait, set, NULL, &time, 8);
    clock_gettime(CLOCK_MONOTONIC, &before);
    time.tv_nsec = 100000000;
    told("sleep", nanosleep(&time, NULL));
    clock_gettime(CLOCK_MONOTONIC, &after);
    long ns = (after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec;
    printf("%s\n", ns >= 100000000 ? "for its time" : "too short");
    return unused;
}

static void of_a_sleep(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_t thread;
    pthread_create(&thread, NULL, takes_time, NULL);
    until_it_sleeps();
    mprotect(page, 4096, PROT_NONE);
    pthread_join(thread, NULL);
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

// A lock is waited for by who closes its file meanwhile.
static int locked;

static void *locks(void *unused) {
    struct flock all = {.l_type = F_WRLCK};
    announce();
    told("lock", fcntl(locked, F_SETLKW, &all));
    return unused;
}

static void of_a_lock(void) {
    char name[] = "/tmp/waitingXXXXXX", byte;
    int file = mkstemp(name), go[2];
    locked = dup(file);
    pipe(go);
    pipe(ends);
    pid_t child = fork();
    if (child == 0) {
        struct flock all = {.l_type = F_WRLCK};
        fcntl(file, F_SETLK, &all);
        write(go[1], "", 1);
        read(ends[0], &byte, 1);
        _exit(0);
    }
    read(go[0], &byte, 1);
    pthread_t thread;
    pthread_create(&thread, NULL, locks, NULL);
    until_it_sleeps();
    close(locked);
    write(ends[1], "", 1);
    pthread_join(thread, NULL);
    unlink(name);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    of_a_write();
    of_a_read();
    of_an_open();
    of_a_sleep();
    of_a_lock();
    return 0;
}
