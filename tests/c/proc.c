// What /proc and /dev show of this process, its memory and its segments, rule by rule (docs/rules.md, section I, and A62).
//
// On Linux it belongs to root, and makes itself namespaces of its own for mounts and System V objects; it changes nothing outside. Numbers
// that depend on the machine are not printed.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
static char text[1 << 20];

static const char *why(long result) { return result < 0 ? strerrorname_np(errno) : "ok"; }
#define SHOW(rule, call)                                                                                                                 \
    do {                                                                                                                                 \
        errno = 0;                                                                                                                       \
        long result_ = (long)(call);                                                                                                     \
        printf(rule " " #call ": %s\n", why(result_));                                                                                   \
    } while (0)

// The whole text of a file, read with a buffer of so many bytes; its length, or -1.
static long slurp(const char *path, char *to, size_t room, size_t step) {
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return -1;
    size_t done = 0;
    while (done + step < room) {
        long got = read(fd, to + done, step);
        if (got <= 0)
            break;
        done += got;
    }
    close(fd);
    to[done] = 0;
    return done;
}

static const char *whole(const char *path) {
    if (slurp(path, text, sizeof text, 65536) < 0)
        snprintf(text, sizeof text, "%s\n", strerrorname_np(errno));
    return text;
}

// The line of a text that begins with a word; empty if there is none.
static const char *line_in(const char *from, const char *word) {
    static char line[512];
    line[0] = 0;
    for (const char *at = from; at && *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : 0)
        if (!strncmp(at, word, strlen(word))) {
            snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
            break;
        }
    return line;
}

// The same of a file.
static const char *line_of(const char *path, const char *word) { return line_in(whole(path), word); }

static void put(const char *path, const char *value) {
    int fd = open(path, O_WRONLY);
    if (fd < 0 || write(fd, value, strlen(value)) < 0)
        printf("%s: %s\n", path, strerrorname_np(errno));
    close(fd);
}

// A knob after a write to it: what the write said, and what it is.
static void knob(const char *rule, const char *path, const char *value) {
    char now[64] = "";
    int fd = open(path, O_RDWR);
    if (fd < 0) {
        printf("%s %s: open: %s\n", rule, path, strerrorname_np(errno));
        return;
    }
    long wrote = write(fd, value, strlen(value));
    int error = errno;
    lseek(fd, 0, SEEK_SET);
    long got = read(fd, now, sizeof now - 1);
    now[got < 0 ? 0 : strcspn(now, "\n")] = 0;
    char shown[64];
    snprintf(shown, sizeof shown, "%s", value);
    for (char *at = shown; *at; at++)
        if (*at == '\n')
            *at = '|';
    if (wrote < 0)
        printf("%s %s <- \"%s\": %s, is %s\n", rule, path, shown, strerrorname_np(error), now);
    else
        printf("%s %s <- \"%s\": %ld, is %s\n", rule, path, shown, wrote, now);
    close(fd);
}

// Rights, offset, whether the inode is a given one, and name of the mapping at an address.
static void map_of(const char *rule, const char *what, void *at, long ino) {
    const char *next = whole("/proc/self/maps");
    while (next && *next) {
        unsigned long start, end, offset, inode;
        unsigned major, minor;
        char rights[8], name[256] = "";
        int end_of_line = strcspn(next, "\n");
        char line[512];
        snprintf(line, sizeof line, "%.*s", end_of_line, next);
        sscanf(line, "%lx-%lx %7s %lx %x:%x %lu %255[^\n]", &start, &end, rights, &offset, &major, &minor, &inode, name);
        if (start <= (unsigned long)at && (unsigned long)at < end) {
            printf("%s %s: %s %lx %lu pages, inode %s, \"%s\"", rule, what, rights, offset, (end - start) / PAGE,
                   ino < 0 ? (inode ? "some" : "none") : inode == (unsigned long)ino ? "right" : "wrong", name);
            char *slash = strchr(line, '/');
            printf("%s%s\n", major == 0 && minor == 1 ? ", internal mount" : "", slash ? (slash - line == 73 ? ", in column" : ", out of column") : "");
            return;
        }
        next = strchr(next, '\n') + 1;
    }
    printf("%s %s: not mapped\n", rule, what);
}

// Chosen lines of the mapping at an address in smaps.
static void smap_of(const char *rule, const char *what, void *at) {
    static const char *const names[] = {"Size:", "Rss:", "Pss:", "Shared_Clean:", "Shared_Dirty:", "Private_Clean:", "Private_Dirty:",
                                        "Anonymous:", "Swap:", "SwapPss:", "Locked:", "VmFlags:"};
    const char *next = whole("/proc/self/smaps");
    int inside = 0;
    printf("%s %s:", rule, what);
    while (next && *next) {
        unsigned long start, end;
        if (strcspn(next, "-") < 17 && sscanf(next, "%lx-%lx ", &start, &end) == 2)
            inside = start <= (unsigned long)at && (unsigned long)at < end;
        for (unsigned i = 0; inside && i < sizeof names / sizeof *names; i++)
            if (!strncmp(next, names[i], strlen(names[i]))) {
                if (names[i][0] == 'V')
                    printf(" %.*s", (int)strcspn(next, "\n"), next);
                else
                    printf(" %s%d", names[i], atoi(next + strlen(names[i])));
            }
        next = strchr(next, '\n') + 1;
    }
    printf("\n");
}

static long number_of(const char *path, const char *word) {
    const char *line = line_of(path, word);
    return *line ? atol(line + strlen(word)) : -1;
}

static void segments(void) {
    int key = 0x5eed0001, id = shmget(key, 5000, IPC_CREAT | 0640);
    char *at = shmat(id, 0, 0);
    memset(at, 1, PAGE + 1);
    const char *heading = whole("/proc/sysvipc/shm");
    printf("I1 %.*s\n", (int)strcspn(heading, "\n"), heading);
    int key_shown, id_shown, uid, gid, cuid, cgid;
    unsigned perms, cpid, lpid;
    unsigned long size, nattch, rss, swap;
    long long atime, dtime, ctime;
    const char *row = strchr(heading, '\n') + 1;
    sscanf(row, "%d %d %o %lu %u %u %lu %d %d %d %d %lld %lld %lld %lu %lu", &key_shown, &id_shown, &perms, &size, &cpid, &lpid, &nattch, &uid,
           &gid, &cuid, &cgid, &atime, &dtime, &ctime, &rss, &swap);
    printf("I1 key %x id %d perms %o size %lu cpid %d lpid %d nattch %lu of %d %d %d %d times %d %d %d rss %lu swap %lu, %zu columns\n", key_shown,
           id_shown - id, perms, size, cpid == (unsigned)getpid(), lpid == (unsigned)getpid(), nattch, uid, gid, cuid, cgid, atime > 0, dtime > 0,
           ctime > 0, rss, swap, strcspn(row, "\n"));
    map_of("I2", "segment", at, id);
    shmctl(id, IPC_RMID, 0);
    map_of("I2", "segment, removed", at, id);
    row = strchr(whole("/proc/sysvipc/shm"), '\n') + 1;
    sscanf(row, "%d %d %o", &key_shown, &id_shown, &perms);
    printf("I1 removed: key %d perms %o\n", key_shown, perms);
    shmdt(at);
    printf("I1 gone: %s\n", strchr(whole("/proc/sysvipc/shm"), '\n')[1] ? "a row" : "no row");
}

static int forked(int (*child)(int), int argument) {
    pid_t pid = fork();
    if (!pid)
        _exit(child(argument));
    int status = 0;
    waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}

static int leave_one(int mode) { return shmget(0x5eed0002 + mode, PAGE, IPC_CREAT | 0600) < 0; }
static int there(int mode) { return shmget(0x5eed0002 + mode, 0, 0) >= 0; }

static void forced(void) {
    const char *path = "/proc/sys/kernel/shm_rmid_forced";
    forked(leave_one, 0);
    printf("A63 orphan with forced=0: %s\n", there(0) ? "stays" : "goes");
    leave_one(1);
    int attached = shmget(0x5eed0005, PAGE, IPC_CREAT | 0600);
    char *at = shmat(attached, 0, 0);
    put(path, "1");
    printf("A62 forced=1: orphan %s, own %s, attached %s\n", there(0) ? "stays" : "goes", there(1) ? "stays" : "goes", there(3) ? "stays" : "goes");
    shmdt(at);
    printf("A62 detached: %s\n", there(3) ? "stays" : "goes");
    forked(leave_one, 2);
    printf("A62 never attached, creator ended: %s\n", there(2) ? "stays" : "goes");
    put(path, "0");
    shmctl(shmget(0x5eed0003, 0, 0), IPC_RMID, 0);
}

static void knobs(void) {
    static const char *const values[] = {"100", "100\n", " 200 x", "32769", "-1", "", "\n", "5x", "0x10", "010", "5 6", "00000000000000000000000000005", "32768", "4096"};
    for (unsigned i = 0; i < sizeof values / sizeof *values; i++)
        knob("I5", "/proc/sys/kernel/shmmni", values[i]);
    knob("I5", "/proc/sys/kernel/shm_rmid_forced", "2");
    knob("I5", "/proc/sys/kernel/shmmax", "-1");
    knob("I5", "/proc/sys/kernel/shmmax", "18446744073709551616");
    knob("I5", "/proc/sys/kernel/shmmax", "18446744073709551615");
    knob("I5", "/proc/sys/kernel/shmmax", "4096");
    SHOW("A8", shmget(IPC_PRIVATE, 4097, 0600));
    knob("I5", "/proc/sys/kernel/shmmax", "18446744073692774399");
    knob("I5", "/proc/sys/kernel/shmall", "3");
    SHOW("A9", shmget(IPC_PRIVATE, 4 * PAGE, 0600));
    knob("I5", "/proc/sys/kernel/shmall", "18446744073692774399");
    knob("I5", "/proc/sys/kernel/shmmni", "0");
    SHOW("A10", shmget(IPC_PRIVATE, PAGE, 0600));
    knob("I5", "/proc/sys/kernel/shmmni", "4096");
    knob("I5", "/proc/sys/kernel/shm_next_id", "-1");
    knob("I5", "/proc/sys/kernel/shm_next_id", "100");
    int id = shmget(IPC_PRIVATE, PAGE, 0600);
    printf("A18 next id 100: %d\n", id);
    shmctl(id, IPC_RMID, 0);
    printf("A18 then: %s", whole("/proc/sys/kernel/shm_next_id"));
    // What is wrong changes nothing; these are the whole machine's.
    static const char *const bad[][2] = {{"vm/overcommit_memory", "3"}, {"vm/swappiness", "201"}, {"vm/max_map_count", "-1"},
                                         {"vm/page-cluster", "-1"}, {"vm/watermark_scale_factor", "0"}, {"vm/watermark_scale_factor", "3001"},
                                         {"vm/min_free_kbytes", "-1"}, {"vm/overcommit_kbytes", "-1"}, {"vm/drop_caches", "0"},
                                         {"vm/compact_memory", "2"}};
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/sys/%s", bad[i][0]);
        int fd = open(path, O_WRONLY);
        printf("I6 %s <- %s: %s\n", bad[i][0], bad[i][1], why(write(fd, bad[i][1], strlen(bad[i][1]))));
        close(fd);
    }
    SHOW("I6", open("/proc/sys/vm/drop_caches", O_RDONLY));
    SHOW("I5", open("/proc/sys/kernel/ostype", O_WRONLY));
    printf("I5 ostype %s", whole("/proc/sys/kernel/ostype"));
    char some[8] = "";
    int fd = open("/proc/sys/kernel/shmmni", O_RDWR);
    printf("I5 in pieces: %ld", read(fd, some, 1));
    printf(" %ld, elsewhere %ld", read(fd, some, 1), pread(fd, some, 4, 2));
    printf(", written elsewhere %ld, from the end %ld, truncated %d\n", write(fd, "7", 1), lseek(fd, 0, SEEK_END), ftruncate(fd, 0));
    close(fd);
    printf("I5 still %s", whole("/proc/sys/kernel/shmmni"));
}

static void mappings(void) {
    char *heap = sbrk(PAGE);
    const char *stack = strstr(whole("/proc/self/maps"), "[stack]");
    const char *brk_line = strstr(whole("/proc/self/maps"), "[heap]");
    printf("I2 [heap] %s, [stack] %s\n", brk_line ? "shown" : "missing", stack ? "shown" : "missing");
    (void)heap;
    char *shared = mmap(0, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char *private = mmap(0, 3 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int memfd = memfd_create("a name", 0), zero = open("/dev/zero", O_RDWR);
    ftruncate(memfd, 4 * PAGE);
    char *file = mmap(0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, PAGE);
    char *copies = mmap(0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, memfd, 0);
    char *zeroes = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, zero, 0);
    char *device = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
    struct stat stat;
    fstat(memfd, &stat);
    map_of("I2", "shared anonymous", shared, -1);
    map_of("I2", "memfd", file, stat.st_ino);
    map_of("I2", "memfd, private", copies, stat.st_ino);
    map_of("I2", "/dev/zero, shared", zeroes, -1);
    zeroes[5] = 1, device[5] = 2;
    printf("/dev/zero keeps %d %d, reads %d\n", zeroes[5], device[5], (int)pread(zero, text, 8, 0));
    (void)private;
    int named = open("/dev/shm/a file", O_CREAT | O_EXCL | O_RDWR, 0600);
    ftruncate(named, PAGE);
    char *path = mmap(0, PAGE, PROT_READ, MAP_SHARED, named, 0);
    fstat(named, &stat);
    map_of("I2", "file", path, stat.st_ino);
    rename("/dev/shm/a file", "/dev/shm/another");
    map_of("I2", "file, renamed", path, stat.st_ino);
    unlink("/dev/shm/another");
    map_of("I2", "file, removed", path, stat.st_ino);
    close(named);
    map_of("I2", "file, removed and closed", path, stat.st_ino);
    shared[0] = 1, shared[PAGE] = 1;
    file[0] = 1;
    copies[0] = 1;
    smap_of("I3", "memfd, private, one page copied", copies);
    pid_t pid = fork();
    if (!pid) {
        shared[0] = 2;
        pause();
    }
    while (*(volatile char *)shared != 2)
        sched_yield();
    smap_of("I3", "shared anonymous, a page of it by two", shared);
    kill(pid, SIGKILL);
    waitpid(pid, 0, 0);
    shared[2 * PAGE] = 1;
    mlock(shared, 3 * PAGE);
    smap_of("I3", "shared anonymous, locked", shared);
    printf("I10 VmLck %s\n", line_of("/proc/self/status", "VmLck:") + 6);
    munlock(shared, 3 * PAGE);
    long before = number_of("/proc/self/status", "RssShmem:"), anon = number_of("/proc/self/status", "RssAnon:");
    char *more = mmap(0, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    char *own = mmap(0, 32 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    printf("I10 RssShmem + %ld, RssAnon + %ld kB\n", number_of("/proc/self/status", "RssShmem:") - before,
           number_of("/proc/self/status", "RssAnon:") - anon);
    munmap(more, 64 * PAGE);
    munmap(own, 32 * PAGE);

    int pagemap = open("/proc/self/pagemap", O_RDONLY);
    uint64_t entries[4];
    char *pages = mmap(0, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pages[0] = 1;
    (void)*(volatile char *)(pages + PAGE);
    printf("pagemap %ld bytes", pread(pagemap, entries, sizeof entries, (uintptr_t)pages / PAGE * 8));
    for (int i = 0; i < 3; i++)
        printf(", present %d file %d exclusive %d swapped %d frame %s", (int)(entries[i] >> 63), (int)(entries[i] >> 61 & 1), (int)(entries[i] >> 56 & 1),
               (int)(entries[i] >> 62 & 1), entries[i] << 9 ? "some" : "none");
    pread(pagemap, entries, 8, (uintptr_t)shared / PAGE * 8);
    printf(", shared: present %d file %d\n", (int)(entries[0] >> 63), (int)(entries[0] >> 61 & 1));
    SHOW("pagemap", pread(pagemap, entries, 7, 0));
    SHOW("pagemap", pread(pagemap, entries, 8, 4));
    close(pagemap);

    int mem = open("/proc/self/mem", O_RDWR);
    char byte = 9;
    SHOW("B36", pwrite(mem, &byte, 1, (uintptr_t)pages));
    printf("B36 stored %d\n", pages[0]);
    ftruncate(memfd, PAGE);
    SHOW("B36", pread(mem, &byte, 1, (uintptr_t)file));
    SHOW("B36", pread(mem, &byte, 1, 0));
    close(mem);
    close(memfd);
    close(zero);
}

static void files(void) {
    static const char *const names[] = {"maps", "mounts", "cmdline", "comm", "statm"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/%s", names[i]);
        static char first[1 << 17], again[1 << 17];
        long length = slurp(path, first, sizeof first, 65536);
        int same = 1;
        for (size_t step = length > 300 ? 61 : 1; step < 200; step += 69) {
            long got = slurp(path, again, sizeof again, step);
            same &= got == length && !memcmp(first, again, length);
        }
        int fd = open(path, O_RDONLY);
        long at = length / 3, got = pread(fd, again, 64, at);
        same &= got >= 0 && !memcmp(first + at, again, got);
        same &= lseek(fd, at / 2, SEEK_SET) == at / 2 && (got = read(fd, again, 32)) >= 0 && !memcmp(first + at / 2, again, got);
        close(fd);
        printf("%s: %s text whatever the buffer\n", names[i], length >= 0 && same ? "one" : "not one");
    }
    char link[256] = "", path[64];
    int fd = open("/dev/shm/open", O_CREAT | O_RDWR, 0600);
    write(fd, "content", 7);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    readlink(path, link, sizeof link - 1);
    struct stat stat;
    lstat(path, &stat);
    printf("fd: -> %s, mode %o, size %ld\n", link, stat.st_mode, (long)stat.st_size);
    unlink("/dev/shm/open");
    memset(link, 0, sizeof link);
    readlink(path, link, sizeof link - 1);
    int again = open(path, O_RDONLY);
    char content[8] = "";
    read(again, content, 7);
    printf("fd: removed -> %s, reads %s, links %d\n", link, content, (int)(fstat(again, &stat), stat.st_nlink));
    char info[64];
    snprintf(info, sizeof info, "/proc/self/fdinfo/%d", again);
    printf("fdinfo: %s", line_of(info, "pos:"));
    printf(", %s\n", line_of(info, "flags:"));
    close(again);
    close(fd);
    SHOW("fd", readlink(path, link, sizeof link));
    DIR *dir = opendir("/proc/self/fd");
    int standard = 0, own = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        standard += strchr("012", entry->d_name[0]) && !entry->d_name[1];
        own += entry->d_name[0] != '.' && atoi(entry->d_name) == dirfd(dir);
    }
    closedir(dir);
    printf("fd: %d of the standard ones, %d itself\n", standard, own);
    memset(link, 0, sizeof link);
    readlink("/proc/self/root", link, sizeof link - 1);
    printf("root -> %s", link);
    chdir("/dev/shm");
    memset(link, 0, sizeof link);
    readlink("/proc/self/cwd", link, sizeof link - 1);
    printf(", cwd -> %s", link);
    mkdir("/dev/shm/gone", 0700);
    chdir("/dev/shm/gone");
    rmdir("/dev/shm/gone");
    memset(link, 0, sizeof link);
    readlink("/proc/self/cwd", link, sizeof link - 1);
    printf(", removed %s\n", link);
    chdir("/");
    char expected[64], self[64] = "";
    snprintf(expected, sizeof expected, "%d", getpid());
    readlink("/proc/self", self, sizeof self - 1);
    printf("self: %s", strcmp(self, expected) ? "another" : "this");
    snprintf(expected, sizeof expected, "%d/task/%d", getpid(), getpid());
    memset(self, 0, sizeof self);
    readlink("/proc/thread-self", self, sizeof self - 1);
    printf(", thread-self: %s\n", strcmp(self, expected) ? "another" : "this");
    put("/proc/self/comm", "a name that is too long\n");
    printf("comm %s", whole("/proc/self/comm"));
    char state;
    int pid, parent, group;
    char name[32];
    sscanf(whole("/proc/self/stat"), "%d (%31[^)]) %c %d %d", &pid, name, &state, &parent, &group);
    int spaces = 0;
    for (const char *at = strrchr(text, ')'); at && *at; at++)
        spaces += *at == ' ';
    printf("stat: pid %d ppid %d pgrp %d name %s state %c, %d fields\n", pid == getpid(), parent == getppid(), group == getpgrp(), name, state, spaces + 2);
    long tgid = number_of("/proc/self/status", "Tgid:"), threads = number_of("/proc/self/status", "Threads:");
    printf("status: Tgid %d Threads %ld %s\n", tgid == getpid(), threads, line_of("/proc/self/status", "State:"));
    knob("I6", "/proc/self/oom_score_adj", "1001");
    knob("I6", "/proc/self/oom_score_adj", "x");
    knob("I6", "/proc/self/oom_score_adj", "17\n");
    knob("I6", "/proc/self/oom_score_adj", "0");
}

static void errors(void) {
    SHOW("proc", mkdir("/proc/made", 0777));
    SHOW("proc", mkdir("/proc/self/made", 0777));
    SHOW("proc", open("/proc/made", O_CREAT | O_RDWR, 0666));
    SHOW("proc", open("/proc/sys/made", O_CREAT | O_RDWR, 0666));
    SHOW("proc", symlink("a", "/proc/made"));
    SHOW("proc", mknod("/proc/made", S_IFREG | 0666, 0));
    SHOW("proc", unlink("/proc/meminfo"));
    SHOW("proc", unlink("/proc/self/maps"));
    SHOW("proc", unlink("/proc/made"));
    SHOW("proc", rmdir("/proc/sys"));
    SHOW("proc", rename("/proc/meminfo", "/dev/shm/made"));
    SHOW("proc", link("/proc/meminfo", "/dev/shm/made"));
    SHOW("proc", chmod("/proc/self/maps", 0777));
    SHOW("proc", truncate("/proc/sys/vm/swappiness", 0));
    SHOW("proc", truncate("/proc/meminfo", 0));
    SHOW("proc", write(open("/proc/self/maps", O_RDWR), "x", 1));
    SHOW("proc", write(open("/proc/meminfo", O_RDWR), "x", 1));
    SHOW("proc", access("/proc/meminfo", X_OK));
    SHOW("proc", access("/proc/sys/kernel/ostype", W_OK));
    SHOW("proc", open("/proc/999999/maps", O_RDONLY));
    SHOW("proc", open("/proc/01", O_RDONLY));
    SHOW("proc", open("/proc/self/fd/999", O_RDONLY));
    SHOW("proc", open("/proc/self/task/999999", O_RDONLY));
    SHOW("proc", lseek(open("/proc/meminfo", O_RDONLY), 0, SEEK_END));
    SHOW("proc", lseek(open("/proc/meminfo", O_RDONLY), -1, SEEK_SET));
    static const char *const names[] = {"/proc", "/proc/sys", "/proc/sys/vm", "/proc/sysvipc", "/proc/meminfo", "/proc/self", "/proc/self/fd", "/proc/self/maps",
                                        "/proc/self/exe", "/proc/sys/vm/swappiness", "/proc/sys/vm/drop_caches", "/proc/mounts", "/proc/self/environ"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        struct stat stat, root;
        lstat("/proc", &root);
        if (!lstat(names[i], &stat))
            printf("%s: mode %o, size %ld, blocks %ld, of %u %u, %s\n", names[i], stat.st_mode, S_ISREG(stat.st_mode) ? (long)stat.st_size : 0, (long)stat.st_blocks,
                   stat.st_uid, stat.st_gid, stat.st_dev == root.st_dev ? "one file system" : "another file system");
    }
    struct statfs fs;
    statfs("/proc", &fs);
    printf("statfs: type %lx, %ld blocks, names up to %ld\n", (long)fs.f_type, (long)fs.f_blocks, (long)fs.f_namelen);
    // A process that is no longer there, and its files.
    pid_t pid = fork();
    if (!pid)
        pause();
    char path[64];
    snprintf(path, sizeof path, "/proc/%d", pid);
    int dir = open(path, O_RDONLY | O_DIRECTORY);
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    int statm = open(path, O_RDONLY);
    kill(pid, SIGKILL);
    printf("zombie: %s\n", (waitid(P_PID, pid, 0, WEXITED | WNOWAIT), snprintf(path, sizeof path, "/proc/%d/status", pid), line_of(path, "State:")));
    waitpid(pid, 0, 0);
    SHOW("gone", openat(dir, "status", O_RDONLY));
    SHOW("gone", read(statm, text, 10));
    SHOW("gone", open(path, O_RDONLY));
    close(dir);
    close(statm);
}

static void lists(void) {
    mkdir("/dev/shm/mnt", 0700);
    static const char *const options[] = {"size=8m", "size=300000,mode=700", "nr_inodes=100,uid=7,gid=8", ""};
    for (unsigned i = 0; i < sizeof options / sizeof *options; i++) {
        mount("a source", "/dev/shm/mnt", "tmpfs", i == 3 ? MS_RDONLY : 0, options[i]);
        const char *line = strstr(whole("/proc/mounts"), "/dev/shm/mnt");
        printf("I8 %s: %.*s\n", options[i], line ? (int)strcspn(line, "\n") : 0, line);
        const char *source = strstr(text, "a\\040source");
        printf("I8 source %s\n", source ? "escaped" : "missing");
        if (!i) {
            mount(0, "/dev/shm/mnt", 0, MS_REMOUNT, "size=0");
            line = strstr(whole("/proc/mounts"), "/dev/shm/mnt");
            printf("I8 remounted without a limit: %.*s\n", line ? (int)strcspn(line, "\n") : 0, line);
        }
        umount("/dev/shm/mnt");
    }
    mount("p", "/dev/shm/mnt", "proc", 0, 0);
    printf("I8 a second proc: %s", whole("/dev/shm/mnt/sys/kernel/ostype"));
    umount("/dev/shm/mnt");
    rmdir("/dev/shm/mnt");
    printf("I9 %.*s\n", (int)strcspn(whole("/proc/swaps"), "\n"), text);
    int columns = 0;
    const char *line = whole("/proc/buddyinfo");
    for (const char *at = strstr(line, "DMA32"); at && *at && *at != '\n'; at++)
        columns += *at != ' ' && at[1] == ' ';
    printf("I9 buddyinfo: %d columns\n", columns - 1);
    static const char *const marks[] = {"\n        min ", "\n        low ", "\n        high ", "\n        managed ", "protection: ("};
    whole("/proc/zoneinfo");
    for (unsigned i = 0; i < sizeof marks / sizeof *marks; i++)
        printf("I9 zoneinfo %s: %s\n", marks[i] + (i < 4), strstr(text, marks[i]) ? "shown" : "missing");
    static const char *const memory[] = {"MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "SwapCached", "Active", "Inactive", "Active(anon)", "Unevictable", "Mlocked",
                                         "SwapTotal", "SwapFree", "AnonPages", "Mapped", "Shmem", "Slab", "PageTables", "CommitLimit", "Committed_AS", "ShmemHugePages",
                                         "ShmemPmdMapped", "HugePages_Total", "HugePages_Free", "HugePages_Rsvd", "HugePages_Surp", "Hugepagesize"};
    whole("/proc/meminfo");
    for (unsigned i = 0; i < sizeof memory / sizeof *memory; i++) {
        char word[64];
        snprintf(word, sizeof word, "%s:", memory[i]);
        const char *row = line_in(text, word);
        printf("I4 %s%s\n", memory[i], !*row ? " missing" : strlen(row) < 24 || strlen(row) > 29 ? " malformed" : "");
    }
    static const char *const events[] = {"pswpin", "pswpout", "pgmajfault", "pgscan_kswapd", "pgscan_direct", "pgsteal_kswapd", "pgsteal_direct", "workingset_refault_anon",
                                         "swap_ra", "swap_ra_hit", "oom_kill", "nr_free_pages", "nr_shmem", "pgfault", "pgfree"};
    whole("/proc/vmstat");
    for (unsigned i = 0; i < sizeof events / sizeof *events; i++) {
        char word[64];
        snprintf(word, sizeof word, "%s ", events[i]);
        printf("I7 %s%s\n", events[i], *line_in(text, word) ? "" : " missing");
    }
    char *pages = mmap(0, 100 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    long before = number_of("/proc/vmstat", "pgfault ");
    memset(pages, 1, 100 * PAGE);
    printf("I7 pgfault %s\n", number_of("/proc/vmstat", "pgfault ") - before >= 100 ? "counts" : "does not count");
}

static void devices(void) {
    static const struct {
        const char *name;
        int major, minor;
    } all[] = {{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        char path[64], bytes[16];
        struct stat stat;
        snprintf(path, sizeof path, "/dev/%s", all[i].name);
        lstat(path, &stat);
        mknod("/dev/shm/node", S_IFCHR | 0600, makedev(all[i].major, all[i].minor));
        int fd = open("/dev/shm/node", O_RDWR);
        memset(bytes, 0x55, sizeof bytes);
        long got = read(fd, bytes, sizeof bytes);
        int zeroes = 0;
        for (int at = 0; at < got; at++)
            zeroes += bytes[at] == 0;
        errno = 0;
        printf("/dev/%s: mode %o, %d:%d, reads %ld, %s zero, writes %s\n", all[i].name, stat.st_mode, major(stat.st_rdev), minor(stat.st_rdev), got,
               zeroes == got ? "all" : "not all", why(write(fd, "x", 1)));
        close(fd);
        unlink("/dev/shm/node");
    }
    mknod("/dev/shm/node", S_IFCHR | 0600, makedev(60, 99));
    SHOW("device", open("/dev/shm/node", O_RDONLY));
    unlink("/dev/shm/node");
    char link[64] = "";
    readlink("/dev/fd", link, sizeof link - 1);
    printf("/dev/fd -> %s\n", link);
    SHOW("device", mmap(0, PAGE, PROT_READ, MAP_PRIVATE, open("/dev/null", O_RDWR), 0) == MAP_FAILED ? -1 : 0);
    SHOW("device", mmap(0, PAGE, PROT_READ, MAP_PRIVATE, open("/proc/self/maps", O_RDONLY), 0) == MAP_FAILED ? -1 : 0);
}

int main(void) {
    setvbuf(stdout, 0, _IOLBF, 0);
    // The guest has nobody to keep apart.
    unshare(CLONE_NEWIPC | CLONE_NEWNS);
    mount(0, "/", 0, MS_REC | MS_PRIVATE, 0);
    mount("tmpfs", "/dev/shm", "tmpfs", 0, 0);
    segments();
    forced();
    knobs();
    mappings();
    files();
    errors();
    lists();
    devices();
    return 0;
}
