// Epolls that watch each other on very many ways: each is looked at once a call, and Linux's limits hold.
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define LEVELS 4

static int levels[LEVELS];

// Has every epoll watch so many copies of the one below it; how many it may, from the lowest on.
static void build(int copies) {
    struct epoll_event in = {.events = EPOLLIN};
    for (int i = LEVELS - 2; i >= 0; i--) {
        int added = 0, error = 0;
        for (int k = 0; k < copies; k++) {
            int copy = dup(levels[i + 1]);
            if (epoll_ctl(levels[i], EPOLL_CTL_ADD, copy, &in) == 0)
                added++;
            else
                error = errno;
        }
        printf("level %d: %d added, %s\n", i, added, error ? strerrorname_np(error) : "-");
    }
}

static void create(void) {
    for (int i = 0; i < LEVELS; i++)
        levels[i] = epoll_create1(0);
}

static void collect(void) {
    struct epoll_event found[2];
    printf("%d found\n", epoll_wait(levels[0], found, 2, 0));
}

int main(void) {
    struct epoll_event in = {.events = EPOLLIN}, edge = {.events = EPOLLIN | EPOLLET};
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < 1024 ? limit.rlim_max : 1024;
    setrlimit(RLIMIT_NOFILE, &limit);
    create();
    // Nothing is below: no limit, and 8,000 ways.
    build(20);
    collect();
    int loop = epoll_ctl(levels[3], EPOLL_CTL_ADD, levels[0], &in);
    printf("a loop: %s\n", loop ? strerrorname_np(errno) : "added");
    for (int i = 3; i < 1024; i++)
        close(i);
    create();
    int bell = eventfd(0, 0);
    epoll_ctl(levels[3], EPOLL_CTL_ADD, bell, &in);
    build(12);
    collect();
    eventfd_write(bell, 1);
    collect();
    eventfd_t count;
    eventfd_read(bell, &count);
    collect();
    // Too many ways to what is below already.
    for (int i = 3; i < 1024; i++)
        close(i);
    create();
    build(12);
    bell = eventfd(0, 0);
    int late = epoll_ctl(levels[3], EPOLL_CTL_ADD, bell, &in);
    printf("below 1728 ways: %s\n", late ? strerrorname_np(errno) : "added");
    late = epoll_ctl(levels[2], EPOLL_CTL_ADD, bell, &edge);
    printf("and below 144: %s\n", late ? strerrorname_np(errno) : "added");
    return 0;
}
