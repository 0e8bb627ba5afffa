// The knobs of huge pages, which hold for the whole machine (docs/rules.md, G1): what can be written to them, what they then show, and who
// gets huge pages. Whatever happens they are left as they were found. Needs root.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "huge.h"

#define KNOBS "/sys/kernel/mm/transparent_hugepage/"

// What a knob shows, without the line's end.
static const char *shown(const char *knob) {
    static char text[256];
    char path[256];
    snprintf(path, sizeof path, KNOBS "%s", knob);
    int fd = open(path, O_RDONLY);
    long len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    close(fd);
    text[len < 0 ? 0 : len] = 0;
    if (len > 0 && text[len - 1] == '\n')
        text[len - 1] = 0;
    return len < 0 ? "not readable" : text;
}
// Writes to a knob: bytes taken, or -1.
static long set(const char *knob, const char *text) {
    char path[256];
    snprintf(path, sizeof path, KNOBS "%s", knob);
    int fd = open(path, O_WRONLY);
    if (fd < 0)
        return -1;
    long taken = write(fd, text, strlen(text));
    int error = errno;
    close(fd);
    errno = error;
    return taken;
}

static const char *knobs[] = {"enabled", "shmem_enabled", "defrag"};
static char found[3][64];
static void keep(void) {
    for (int i = 0; i < 3; i++) {
        const char *open_ = strchr(shown(knobs[i]), '[');
        sscanf(open_ ? open_ : "[]", "[%63[^]]", found[i]);
    }
}
static void restore(void) {
    for (int i = 0; i < 3; i++)
        set(knobs[i], found[i]);
}
static void interrupted(int number) {
    restore();
    _exit(128 + number);
}

static void texts(void) {
    static const char *cases[][2] = {
        {"enabled", "always\n"}, {"enabled", "never"},      {"enabled", "madvise\n"}, {"enabled", "madvise "},
        {"enabled", " never"},   {"enabled", "alway"},      {"enabled", "\n"},        {"enabled", "madvise\n\n"},
        {"enabled", "1"},        {"shmem_enabled", "always\n"},     {"shmem_enabled", "within_size"}, {"shmem_enabled", "advise"},
        {"shmem_enabled", "deny"}, {"shmem_enabled", "force\n"},    {"shmem_enabled", "sometimes"},   {"shmem_enabled", "never "},
        {"shmem_enabled", "never"}, {"defrag", "always"}, {"defrag", "defer"}, {"defrag", "defer+madvise"}, {"defrag", "never"},
        {"defrag", "direct"},    {"defrag", "madvise\n"},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        errno = 0;
        long taken = set(cases[i][0], cases[i][1]);
        char text[64];
        strcpy(text, cases[i][1]);
        for (char *end; (end = strchr(text, '\n'));)
            *end = '$';
        printf("G1 %s \"%s\": %ld %s, %s\n", cases[i][0], text, taken, taken < 0 ? why(taken) : "ok", shown(cases[i][0]));
    }
    printf("hpage_pmd_size %s\n", shown("hpage_pmd_size"));
    errno = 0;
    printf("to be written: %s\n", why(open(KNOBS "hpage_pmd_size", O_WRONLY)));
    int fd = open(KNOBS "enabled", O_RDWR);
    char text[64] = "";
    printf("from the middle: %ld", (long)pread(fd, text, 6, 7));
    printf(" \"%s\"\n", text);
    printf("to the middle: %ld, %s\n", (long)pwrite(fd, "always", 6, 3), shown("enabled"));
    printf("nothing: %ld\n", (long)write(fd, "", 0));
    close(fd);
    struct stat st;
    stat(KNOBS "enabled", &st);
    printf("%o %ld %ld\n", st.st_mode, (long)st.st_size, (long)st.st_nlink);
    stat(KNOBS "hpage_pmd_size", &st);
    printf("%o %ld\n", st.st_mode, (long)st.st_size);
    struct statfs fs;
    statfs(KNOBS, &fs);
    printf("file system %lx\n", (long)fs.f_type);
    printf("mkdir: %s\n", why(mkdir(KNOBS "made", 0777)));
    printf("unlink: %s\n", why(unlink(KNOBS "enabled")));
    printf("truncate: %s\n", why(truncate(KNOBS "enabled", 0)));
    printf("%s\n", shown("enabled"));
}

static void private_memory(void) {
    static const char *words[] = {"always", "madvise", "never"}, *advices[] = {"no advice", "advised", "declined"};
    for (int i = 0; i < 3; i++) {
        set("enabled", words[i]);
        for (int advice = 0; advice < 3; advice++) {
            for (int disabled = 0; disabled < 2; disabled++) {
                char *p = mmap(0, HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                if (advice)
                    madvise(p, HUGE, advice == 1 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
                prctl(PR_SET_THP_DISABLE, disabled, 0, 0, 0);
                p[PAGE] = 1;
                prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
                printf("G1 enabled %s, %s%s: AnonHugePages %ld\n", words[i], advices[advice], disabled ? ", prctl" : "",
                       smaps(p, "AnonHugePages"));
                munmap(p, HUGE);
            }
        }
    }
    set("enabled", "madvise");
}

static const char *policies[] = {"always", "within_size", "advise", "never", "deny", "force"};

static void mounted(void) {
    char text[64];
    // The others say nothing about mounts, and a huge page takes long where ring 0 is emulated.
    static const int those[] = {0, 4, 5}, mounts[] = {1, 3};
    for (int at = 0; at < 3; at++) {
        int knob = those[at];
        set("shmem_enabled", policies[knob]);
        for (int which = 0; which < 2; which++) {
            int i = mounts[which];
            for (int advised = 0; advised < 2; advised++) {
                snprintf(text, sizeof text, "huge=%s,size=32m", policies[i]);
                mount("x", AT, "tmpfs", 0, text);
                int fd = open(AT "/f", O_CREAT | O_RDWR, 0600), other = open(AT "/g", O_CREAT | O_RDWR, 0600);
                ftruncate(fd, 3 * M);
                char *p = mmap(0, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
                if (advised)
                    madvise(p, 2 * HUGE, MADV_HUGEPAGE);
                p[HUGE + PAGE] = 1;
                long tail = blocks(fd);
                p[PAGE] = 1;
                long head = blocks(fd) - tail;
                pwrite(other, "a", 1, 0);
                printf("G1 shmem_enabled %s, huge=%s%s: tail %ld head %ld write %ld\n", policies[knob], policies[i],
                       advised ? ", advised" : "", tail, head, blocks(other));
                munmap(p, 2 * HUGE);
                close(fd);
                close(other);
                umount(AT);
            }
        }
    }
}

// Objects without a mounted file system: memory files, shared memory without a name, segments.
static void unmounted(void) {
    for (int knob = 0; knob < 6; knob++) {
        set("shmem_enabled", policies[knob]);
        for (int advised = 0; advised < (knob == 2 || knob == 3 ? 2 : 1); advised++) {
            int fd = memfd_create("m", 0), other = memfd_create("o", 0);
            ftruncate(fd, 3 * M);
            char *p = mmap(0, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            char *q = mmap(0, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
            int id = shmget(IPC_PRIVATE, HUGE, 0600);
            char *s = shmat(id, (void *)0x200000000000, 0);
            shmctl(id, IPC_RMID, 0);
            if (advised) {
                madvise(p, 2 * HUGE, MADV_HUGEPAGE);
                madvise(q, HUGE, MADV_HUGEPAGE);
                madvise(s, HUGE, MADV_HUGEPAGE);
            }
            p[HUGE + PAGE] = p[PAGE] = q[PAGE] = s[PAGE] = 1;
            pwrite(other, "a", 1, 0);
            printf("G1 shmem_enabled %s%s: memfd %ld, write %ld, ShmemPmdMapped %ld, shared %ld, segment %ld\n", policies[knob],
                   advised ? ", advised" : "", blocks(fd), blocks(other), smaps(p, "ShmemPmdMapped"), smaps(q, "ShmemPmdMapped"),
                   smaps(s, "ShmemPmdMapped"));
            munmap(p, 2 * HUGE);
            munmap(q, HUGE);
            shmdt(s);
            close(fd);
            close(other);
        }
    }
}

int main(void) {
    setvbuf(stdout, 0, _IOLBF, 0);
    unshare(CLONE_NEWNS);
    mount(0, "/", 0, MS_REC | MS_PRIVATE, 0);
    keep();
    atexit(restore);
    signal(SIGINT, interrupted);
    signal(SIGTERM, interrupted);
    signal(SIGSEGV, interrupted);
    signal(SIGBUS, interrupted);
    texts();
    private_memory();
    mounted();
    unmounted();
    return 0;
}
