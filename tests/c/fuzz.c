/* System calls drawn from a seed: plausible ones and wild ones, by several processes with threads at a time, which share files, pipes, segments and
 * memory, stop, kill and fork each other, and change what an administrator may. Nothing is expected of them but that the kernel goes on, and that
 * everything of theirs can be taken away after each round: processes, mounts, segments, the swap area.
 *
 * Only for a guest: everything here is done as root, and whoever runs is killed. Options: --seed S, --calls N, --rounds-of N, --show tells each call,
 * --balance compares the kernel's records (/proc/slabinfo among others) after every round with those after the first. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096l
/* Processes of a round at its beginning, and threads of each. */
#define PROCESSES 4
#define THREADS 2
/* A round in which nobody got on that often is over. */
#define LOOKS 20
/* Pages that calls about memory are about. */
#define REGION ((char *)0x200000000)
#define REGION_PAGES 256

/* What all processes of a round share. */
struct shared {
	long calls, wanted;
	char scratch[8 * 4096];
};
static struct shared *shared;
static int show, balance;

struct random {
	uint64_t state;
};

/* Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators" (SplitMix64). */
static uint64_t number(struct random *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static uint64_t below(struct random *r, uint64_t end)
{
	return number(r) % end;
}

#define ONE_OF(r, ...) ((const long[]){ __VA_ARGS__ }[below(r, sizeof((const long[]){ __VA_ARGS__ }) / sizeof(long))])

/* Kinds of arguments. */
enum kind {
	NONE, ANY, FD, DIRFD, PATH, NAME, BUFFER, LENGTH, OFFSET, FLAGS, SMALL, PROT, MAP, ADDRESS, SPAN, SIGNAL, SET, ACTION, SPEC, ITIMER, VECTOR,
	COUNT, PID, ID, SHMID, KEY, WORD, FUTEX_OP, MODE, CLOCK, ADVICE, OPENING, STRUCT, RESOURCE, FCNTL, WHENCE, FALLOC, MREMAP, SHM_CMD, SHM_FLAGS,
	EPOLL_OP, POLLS, IOCTL, ARGV, MOUNT_TYPE, MOUNT_FLAGS, MOUNT_DATA, PIPE_FLAGS, MEMFD, PRCTL, TIMER, SEVENT, WAIT_FLAGS, IDTYPE, EIGHT, ZERO,
	RANGE_FLAGS, POINTER, MOUNTPOINT, AREA,
};

struct call {
	const char *name;
	int number;
	/* How often, beside the others. */
	int weight;
	uint8_t kinds[6];
};

#define C(name, weight, ...) { #name, SYS_##name, weight, { __VA_ARGS__ } }
static const struct call calls[] = {
	C(read, 6, FD, BUFFER, LENGTH), C(write, 6, FD, BUFFER, LENGTH), C(open, 4, PATH, OPENING, MODE), C(openat, 4, DIRFD, PATH, OPENING, MODE),
	C(close, 3, FD), C(stat, 1, PATH, STRUCT), C(fstat, 1, FD, STRUCT), C(lstat, 1, PATH, STRUCT), C(poll, 1, POLLS, COUNT, SMALL),
	C(lseek, 2, FD, OFFSET, WHENCE), C(mmap, 8, ADDRESS, SPAN, PROT, MAP, FD, OFFSET), C(mprotect, 5, ADDRESS, SPAN, PROT),
	C(munmap, 4, ADDRESS, SPAN), C(brk, 1, ANY), C(rt_sigaction, 2, SIGNAL, ACTION, STRUCT, EIGHT),
	C(rt_sigprocmask, 2, SMALL, SET, STRUCT, EIGHT), C(rt_sigreturn, 1), C(ioctl, 3, FD, IOCTL, STRUCT), C(pread64, 2, FD, BUFFER, LENGTH, OFFSET),
	C(pwrite64, 3, FD, BUFFER, LENGTH, OFFSET), C(readv, 2, FD, VECTOR, COUNT), C(writev, 2, FD, VECTOR, COUNT), C(access, 1, PATH, SMALL),
	C(pipe, 2, STRUCT), C(select, 1, SMALL, STRUCT, STRUCT, STRUCT, SPEC), C(sched_yield, 1), C(mremap, 6, ADDRESS, SPAN, SPAN, MREMAP, ADDRESS),
	C(msync, 2, ADDRESS, SPAN, SMALL), C(mincore, 2, ADDRESS, SPAN, BUFFER), C(madvise, 8, ADDRESS, SPAN, ADVICE),
	C(shmget, 4, KEY, SPAN, SHM_FLAGS), C(shmat, 4, SHMID, ADDRESS, SHM_FLAGS), C(shmctl, 4, SHMID, SHM_CMD, STRUCT), C(dup, 2, FD),
	C(dup2, 2, FD, FD), C(pause, 1), C(nanosleep, 1, SPEC, STRUCT), C(getitimer, 1, SMALL, STRUCT), C(alarm, 1, SMALL),
	C(setitimer, 2, SMALL, ITIMER, STRUCT), C(getpid, 1), C(sendfile, 2, FD, FD, STRUCT, LENGTH), C(fork, 2), C(vfork, 1),
	C(execve, 1, PATH, ARGV, ARGV), C(exit, 1, SMALL), C(wait4, 2, PID, STRUCT, WAIT_FLAGS, STRUCT), C(kill, 2, PID, SIGNAL), C(uname, 1, STRUCT),
	C(shmdt, 3, ADDRESS), C(fcntl, 4, FD, FCNTL, STRUCT), C(flock, 2, FD, SMALL), C(fsync, 1, FD), C(fdatasync, 1, FD), C(truncate, 2, PATH, OFFSET),
	C(ftruncate, 4, FD, OFFSET), C(getdents64, 2, FD, STRUCT, LENGTH), C(getcwd, 1, STRUCT, LENGTH), C(chdir, 1, PATH), C(fchdir, 1, FD),
	C(rename, 2, PATH, PATH), C(mkdir, 2, PATH, MODE), C(rmdir, 1, PATH), C(creat, 1, PATH, MODE), C(link, 2, PATH, PATH), C(unlink, 2, PATH),
	C(symlink, 2, PATH, PATH), C(readlink, 1, PATH, BUFFER, LENGTH), C(chmod, 1, PATH, MODE), C(fchmod, 1, FD, MODE), C(chown, 1, PATH, ID, ID),
	C(fchown, 1, FD, ID, ID), C(lchown, 1, PATH, ID, ID), C(umask, 1, MODE), C(gettimeofday, 1, STRUCT, STRUCT), C(getrlimit, 1, RESOURCE, STRUCT),
	C(getrusage, 1, SMALL, STRUCT), C(sysinfo, 1, STRUCT), C(times, 1, STRUCT), C(getuid, 1), C(setuid, 1, ID), C(setgid, 1, ID),
	C(setpgid, 1, PID, PID), C(setsid, 1), C(setreuid, 1, ID, ID), C(setregid, 1, ID, ID), C(getgroups, 1, SMALL, STRUCT),
	C(setgroups, 1, SMALL, STRUCT), C(setresuid, 1, ID, ID, ID), C(setresgid, 1, ID, ID, ID), C(getpgid, 1, PID), C(setfsuid, 1, ID),
	C(getsid, 1, PID), C(rt_sigpending, 1, STRUCT, EIGHT), C(rt_sigtimedwait, 1, SET, STRUCT, SPEC, EIGHT),
	C(rt_sigqueueinfo, 2, PID, SIGNAL, STRUCT), C(rt_sigsuspend, 1, SET, EIGHT), C(sigaltstack, 1, STRUCT, STRUCT), C(utime, 1, PATH, STRUCT),
	C(mknod, 2, PATH, MODE, SMALL), C(personality, 1, SMALL), C(statfs, 1, PATH, STRUCT), C(fstatfs, 1, FD, STRUCT), C(getpriority, 1, SMALL, PID),
	C(setpriority, 1, SMALL, PID, SMALL), C(sched_setparam, 1, PID, STRUCT), C(sched_getparam, 1, PID, STRUCT),
	C(sched_setscheduler, 1, PID, SMALL, STRUCT), C(sched_rr_get_interval, 1, PID, STRUCT), C(mlock, 3, ADDRESS, SPAN), C(munlock, 3, ADDRESS, SPAN),
	C(mlockall, 1, SMALL), C(munlockall, 1), C(prctl, 2, PRCTL, STRUCT, SMALL, SMALL, SMALL), C(arch_prctl, 1, ANY, ANY),
	C(setrlimit, 2, RESOURCE, STRUCT), C(chroot, 1, PATH), C(sync, 1), C(mount, 2, NAME, MOUNTPOINT, MOUNT_TYPE, MOUNT_FLAGS, MOUNT_DATA),
	C(umount2, 2, PATH, FLAGS), C(swapon, 2, AREA, FLAGS), C(swapoff, 2, AREA), C(sethostname, 1, BUFFER, SMALL), C(gettid, 1),
	C(readahead, 1, FD, OFFSET, LENGTH), C(setxattr, 2, PATH, NAME, BUFFER, LENGTH, SMALL), C(fsetxattr, 2, FD, NAME, BUFFER, LENGTH, SMALL),
	C(getxattr, 1, PATH, NAME, BUFFER, LENGTH), C(fgetxattr, 1, FD, NAME, BUFFER, LENGTH), C(listxattr, 1, PATH, BUFFER, LENGTH),
	C(removexattr, 1, PATH, NAME), C(fremovexattr, 1, FD, NAME), C(tkill, 1, PID, SIGNAL), C(time, 1, STRUCT),
	C(futex, 8, WORD, FUTEX_OP, SMALL, SPEC, WORD, SMALL), C(sched_setaffinity, 1, PID, SMALL, STRUCT), C(sched_getaffinity, 1, PID, LENGTH, STRUCT),
	C(epoll_create, 1, SMALL), C(remap_file_pages, 1, ADDRESS, SPAN, ZERO, OFFSET, FLAGS), C(set_tid_address, 1, WORD),
	C(fadvise64, 1, FD, OFFSET, LENGTH, SMALL), C(timer_create, 3, CLOCK, SEVENT, STRUCT), C(timer_settime, 4, TIMER, SMALL, ITIMER, STRUCT),
	C(timer_gettime, 1, TIMER, STRUCT), C(timer_getoverrun, 1, TIMER), C(timer_delete, 2, TIMER), C(clock_gettime, 1, CLOCK, STRUCT),
	C(clock_getres, 1, CLOCK, STRUCT), C(clock_nanosleep, 1, CLOCK, SMALL, SPEC, STRUCT), C(exit_group, 1, SMALL),
	C(epoll_wait, 2, FD, STRUCT, COUNT, SMALL), C(epoll_ctl, 5, FD, EPOLL_OP, FD, STRUCT), C(tgkill, 1, PID, PID, SIGNAL),
	C(utimes, 1, PATH, STRUCT), C(waitid, 2, IDTYPE, PID, STRUCT, WAIT_FLAGS, STRUCT), C(mkdirat, 1, DIRFD, PATH, MODE),
	C(mknodat, 1, DIRFD, PATH, MODE, SMALL), C(fchownat, 1, DIRFD, PATH, ID, ID, FLAGS), C(newfstatat, 1, DIRFD, PATH, STRUCT, FLAGS),
	C(unlinkat, 1, DIRFD, PATH, FLAGS), C(renameat2, 2, DIRFD, PATH, DIRFD, PATH, SMALL), C(linkat, 2, DIRFD, PATH, DIRFD, PATH, FLAGS),
	C(symlinkat, 1, PATH, DIRFD, PATH), C(readlinkat, 1, DIRFD, PATH, BUFFER, LENGTH), C(fchmodat, 1, DIRFD, PATH, MODE),
	C(faccessat, 1, DIRFD, PATH, SMALL), C(pselect6, 1, SMALL, STRUCT, STRUCT, STRUCT, SPEC, STRUCT), C(ppoll, 2, POLLS, COUNT, SPEC, SET, EIGHT),
	C(set_robust_list, 2, STRUCT, LENGTH), C(get_robust_list, 1, PID, STRUCT, STRUCT), C(splice, 4, FD, STRUCT, FD, STRUCT, LENGTH, SMALL),
	C(tee, 2, FD, FD, LENGTH, SMALL), C(sync_file_range, 1, FD, OFFSET, LENGTH, SMALL), C(vmsplice, 4, FD, VECTOR, COUNT, SMALL),
	C(utimensat, 1, DIRFD, PATH, STRUCT, FLAGS), C(epoll_pwait, 1, FD, STRUCT, COUNT, SMALL, SET, EIGHT), C(signalfd4, 1, FD, SET, EIGHT, PIPE_FLAGS),
	C(timerfd_create, 1, CLOCK, PIPE_FLAGS), C(eventfd2, 2, SMALL, PIPE_FLAGS), C(fallocate, 4, FD, FALLOC, OFFSET, LENGTH),
	C(timerfd_settime, 1, FD, SMALL, ITIMER, STRUCT), C(timerfd_gettime, 1, FD, STRUCT), C(epoll_create1, 2, PIPE_FLAGS), C(dup3, 1, FD, FD, PIPE_FLAGS),
	C(pipe2, 2, STRUCT, PIPE_FLAGS), C(preadv, 1, FD, VECTOR, COUNT, OFFSET), C(pwritev, 1, FD, VECTOR, COUNT, OFFSET),
	C(rt_tgsigqueueinfo, 1, PID, PID, SIGNAL, STRUCT), C(prlimit64, 2, PID, RESOURCE, STRUCT, STRUCT), C(syncfs, 1, FD), C(getcpu, 1, STRUCT, STRUCT),
	C(process_vm_readv, 1, PID, VECTOR, COUNT, VECTOR, COUNT, ZERO), C(getrandom, 1, BUFFER, LENGTH, SMALL), C(memfd_create, 5, NAME, MEMFD),
	C(userfaultfd, 2, PIPE_FLAGS), C(membarrier, 1, SMALL, SMALL, SMALL), C(mlock2, 2, ADDRESS, SPAN, SMALL),
	C(copy_file_range, 3, FD, STRUCT, FD, STRUCT, LENGTH, ZERO), C(preadv2, 1, FD, VECTOR, COUNT, OFFSET, ZERO, SMALL),
	C(pwritev2, 1, FD, VECTOR, COUNT, OFFSET, ZERO, SMALL), C(statx, 1, DIRFD, PATH, FLAGS, SMALL, STRUCT), C(rseq, 1, WORD, LENGTH, SMALL, SMALL),
	C(clone3, 1, STRUCT, LENGTH), C(close_range, 1, FD, FD, RANGE_FLAGS), C(faccessat2, 1, DIRFD, PATH, SMALL, FLAGS),
	C(process_madvise, 1, FD, VECTOR, COUNT, ADVICE, ZERO), C(epoll_pwait2, 1, FD, STRUCT, COUNT, SPEC, SET, EIGHT), C(openat2, 1, DIRFD, PATH, STRUCT, LENGTH),
	C(pidfd_open, 1, PID, ZERO),
};
#define CALLS (sizeof calls / sizeof *calls)
static int weights;

/* Some of them are made when the round begins. */
static const char *const paths[] = {
	"a", "b", "c", "d", "d/a", "d/b", "d/e", "d/e/f", "d/e/f/g", "link", "loop", "fifo", "program", "script", "mnt", "mnt/a", "mnt/d", "mnt/d/b", ".", "d/..",
	"", "null", "zero", "full", "random", "tty", "shm/a", "shm/b", "shm", "proc/self/maps", "proc/self/smaps",
	"proc/self/status", "proc/self/stat", "proc/self/pagemap", "proc/self/fd", "proc/self/fd/3", "proc/self/fd/5", "proc/self/cwd",
	"proc/self/task", "proc/self/mounts", "proc/self/oom_score_adj", "proc/self/fdinfo/3", "proc/self/environ", "proc/self/auxv", "proc/self/limits",
	"proc/self/mem", "proc/self/clear_refs", "proc/meminfo", "proc/vmstat", "proc/swaps", "proc/zoneinfo", "proc/buddyinfo", "proc/sysvipc/shm", "proc",
	"proc/self/smaps_rollup", "proc/self/comm", "proc/sys/vm/drop_caches", "proc/sys/vm/compact_memory", "proc/sys/vm/swappiness", "proc/slabinfo",
	"proc/sys/vm/page-cluster", "proc/sys/kernel/shmmax", "proc/sys/kernel/shm_next_id", "proc/sys/fs/pipe-max-size", "proc/1", "proc/1/status",
	"proc/sys/vm/max_map_count", "proc/sys/vm/overcommit_ratio", "proc/sys/kernel/shm_rmid_forced", "nothing/at/all", "proc/stat",
};
static const char *const mountpoints[] = { "mnt", "d", "d/e", "mnt/d", "proc", "a", "fifo", "nothing" };
static const char *const areas[] = { "/dev/vda", "/dev/vda", "a", "nothing" };
static const char *const names[] = { "user.a", "user.b", "trusted.c", "security.d", "user.", "system.posix_acl_access", "tmpfs", "none", "x" };
static const char *const types[] = { "tmpfs", "ramfs", "proc", "ext4", "" };
static const char *const options[] = {
	"size=64k", "size=50%", "nr_inodes=5", "mode=777,uid=5", "huge=always", "huge=advise,size=4M", "size=-1", "mode=9", "huge=within_size", "noswap",
};

static long wild(struct random *r)
{
	uint64_t z = number(r);

	switch (z % 8) {
	case 0:
	case 1:
		return ONE_OF(r, 0, 1, 7, 4095, 4096, 65535, 1 << 20, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 0x7fffffffe000, 0x7fffffffeffc,
			0x7ffffffff000, 0x800000000000, 0x7fffffffffffffff, 0x8000000000000000, 0xffff888000000000, 0xffffffff80100000,
			0xffffffffff5fb000, -4096, -4095, -100, -22, -2, -1);
	case 2:
		return z / 8 % 16;
	case 3:
		return (1ull << z / 8 % 64) - (z >> 60 & 1);
	case 4:
		return (long)shared->scratch + z / 8 % sizeof shared->scratch;
	case 5:
		return (long)REGION + z / 8 % (REGION_PAGES * PAGE);
	case 6:
		return (long)REGION + z / 8 % (REGION_PAGES + 2) * PAGE - below(r, 24);
	default:
		return z;
	}
}

/* A place in memory that is likely there, of up to a page. */
static char *place(struct random *r)
{
	if (below(r, 4) == 0)
		return REGION + below(r, REGION_PAGES) * PAGE + ONE_OF(r, 0, 0, 8, 2048, 4088, 4095);
	return shared->scratch + below(r, sizeof shared->scratch - PAGE) / 8 * 8;
}

/* The same, and it is there; what is in it is up to others as well. */
static void *mine(struct random *r)
{
	return shared->scratch + below(r, sizeof shared->scratch - PAGE) / 8 * 8;
}

static char *text(struct random *r, const char *const *texts, size_t count)
{
	return strcpy(mine(r), texts[below(r, count)]);
}
#define TEXT(r, texts) (long)text(r, texts, sizeof texts / sizeof *texts)

static long spec(struct random *r, void *at)
{
	struct timespec *spec = at;

	spec->tv_sec = below(r, 16) ? 0 : wild(r);
	spec->tv_nsec = below(r, 16) ? (long)below(r, 2000000) : wild(r);
	return (long)at;
}

/* What structures are made of: descriptors, addresses, small numbers. */
static long structure(struct random *r)
{
	uint64_t *words = mine(r);

	if (below(r, 3) == 0)
		for (int i = 0; i < 16; i++)
			switch (below(r, 5)) {
			case 0:
				words[i] = (uint64_t)REGION + below(r, REGION_PAGES) * PAGE;
				break;
			case 1:
				words[i] = (1 + below(r, 16)) * PAGE;
				break;
			case 2:
				words[i] = below(r, 40) | below(r, 40) << 32;
				break;
			case 3:
				words[i] = wild(r);
				break;
			default:
				words[i] = 0;
			}
	return (long)words;
}

static long argument(struct random *r, enum kind kind)
{
	uint64_t *words;

	if (kind != PATH && kind != MOUNTPOINT && kind != AREA && below(r, 20) == 0)
		return wild(r);
	switch (kind) {
	case NONE:
	case ZERO:
		return 0;
	case EIGHT:
		return 8;
	case FD:
		return below(r, 24);
	case DIRFD:
		return below(r, 3) ? AT_FDCWD : (long)below(r, 24);
	case PATH:
		if (below(r, 40) == 0)
			return wild(r);
		return TEXT(r, paths);
	case AREA:
		return TEXT(r, areas);
	case MOUNTPOINT:
		return TEXT(r, mountpoints);
	case NAME:
		return TEXT(r, names);
	case BUFFER:
		return (long)place(r);
	case STRUCT:
	case SEVENT:
		return below(r, 6) ? structure(r) : 0;
	case LENGTH:
		return below(r, 50) ? ONE_OF(r, 0, 1, 8, 64, 100, 4095, 4096, 4097, 10000, 65536) : 1 << 20;
	case OFFSET:
		return ONE_OF(r, 0, 1, 100, 4096, 8192, 65536, 1 << 20, 2 << 20, 5000000, 1l << 40, 0x7ffffffffffff000, -1);
	case FLAGS:
		return ONE_OF(r, 0, 0, 1, 2, 4, 8, 0x100, 0x200, 0x400, 0x800, 0x1000, 0x8000, -1);
	case SMALL:
		return below(r, 10);
	case PROT:
		return ONE_OF(r, 0, 1, 3, 3, 3, 5, 7, 2, 0x01000003);
	case MAP:
		return ONE_OF(r, MAP_PRIVATE, MAP_SHARED, MAP_SHARED_VALIDATE, MAP_PRIVATE | MAP_ANONYMOUS, MAP_SHARED | MAP_ANONYMOUS) |
			ONE_OF(r, MAP_FIXED, MAP_FIXED, MAP_FIXED, 0, MAP_FIXED_NOREPLACE) |
			ONE_OF(r, 0, 0, 0, MAP_POPULATE, MAP_NORESERVE, MAP_LOCKED, MAP_GROWSDOWN, MAP_HUGETLB, 0x40);
	case ADDRESS:
		if (below(r, 8) == 0)
			return (long)REGION + below(r, 4) * (256 << 10) / 2;
		return (long)REGION + below(r, REGION_PAGES) * PAGE;
	case SPAN:
		return (below(r, 30) ? ONE_OF(r, 1, 2, 3, 4, 8, 16, 32) : ONE_OF(r, 64, 256, 512, 600)) * PAGE - ONE_OF(r, 0, 0, 0, 1);
	case SIGNAL:
		return below(r, 20) ? ONE_OF(r, SIGUSR1, SIGUSR2, SIGALRM, SIGCHLD, SIGCONT, SIGSTOP, SIGSEGV, SIGBUS, SIGTSTP, SIGURG, SIGPIPE, 34, 40, 64, 0)
				    : (long)below(r, 70);
	case SET:
		words = mine(r);
		*words = below(r, 4) ? 1ull << below(r, 64) | 1ull << below(r, 64) : number(r);
		return (long)words;
	case ACTION:
		words = mine(r);
		/* Mostly what is there; a handler that is none at times. */
		words[0] = ONE_OF(r, 0, 0, 1, 1, 1, (long)REGION);
		words[1] = ONE_OF(r, 0, 4, 0x04000000, 0x10000000, 0x40000000, 0x80000000, 0x08000000) | 0x04000000;
		words[2] = (long)REGION;
		words[3] = 0;
		return below(r, 4) ? (long)words : 0;
	case SPEC:
		return below(r, 30) ? spec(r, mine(r)) : 0;
	case ITIMER:
		words = mine(r);
		spec(r, words);
		spec(r, words + 2);
		return (long)words;
	case VECTOR: {
		struct iovec *vectors = mine(r);

		for (int i = 0; i < 8; i++) {
			vectors[i].iov_base = below(r, 20) ? place(r) : (void *)wild(r);
			vectors[i].iov_len = argument(r, LENGTH);
		}
		return (long)vectors;
	}
	case COUNT:
		return ONE_OF(r, 0, 1, 2, 3, 8, 8, 16, 1024, 1025);
	case PID:
		return below(r, 4) ? getpid() + (long)below(r, 8) - 4 : ONE_OF(r, 0, 0, 1, -1);
	case ID:
		return ONE_OF(r, 0, 0, 0, 1, 65534, -1);
	case SHMID:
		return ONE_OF(r, 0, 1, 2, 3, 4, 32768, 32769, 65536, 65537, 98304, below(r, 1 << 20));
	case KEY:
		return ONE_OF(r, 0, 1, 2, 3, 4);
	case WORD:
		return (long)shared->scratch + below(r, 4) * 64 + ONE_OF(r, 0, 0, 0, 1, 4) + (below(r, 3) ? 0 : REGION - shared->scratch);
	case FUTEX_OP:
		return ONE_OF(r, 0, 1, 3, 4, 5, 9, 10, 6, 7, 8, 11, 12) | ONE_OF(r, 0, 128, 256);
	case MODE:
		return ONE_OF(r, 0, 0600, 0777, 04755, 0100644, 0010600, 0020666, 0060666, 0140755, 0040755, 022);
	case CLOCK:
		return ONE_OF(r, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11);
	case ADVICE:
		return ONE_OF(r, 0, 1, 2, 3, 4, 4, 4, 8, 9, 9, 10, 11, 12, 13, 14, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 100, 101);
	case OPENING:
		return ONE_OF(r, O_RDONLY, O_WRONLY, O_RDWR, O_RDWR) | ONE_OF(r, 0, O_CREAT, O_CREAT, O_CREAT | O_EXCL, O_TRUNC, O_DIRECTORY, O_PATH, O_TMPFILE) |
			ONE_OF(r, O_NONBLOCK, O_NONBLOCK, 0, O_APPEND, O_CLOEXEC, O_NOFOLLOW, O_DIRECT);
	case RESOURCE:
		return below(r, 17);
	case FCNTL:
		return ONE_OF(r, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 36, 37, 38, 1024, 1025, 1030, 1031, 1032, 1033, 1034, 1036);
	case WHENCE:
		return below(r, 6);
	case FALLOC:
		return ONE_OF(r, 0, 0, 1, 3, 3, 8, 0x10, 0x20, 0x40);
	case MREMAP:
		return ONE_OF(r, 0, 1, 1, 3, 3, 3, 4, 5, 7);
	case SHM_CMD:
		return ONE_OF(r, 0, 0, 1, 2, 3, 11, 12, 13, 14, 15);
	case SHM_FLAGS:
		return ONE_OF(r, 0, 0600, 01600, 01600, 03600, 010000, 020000, 040000, 0100000, 04000 | 01600, 064000);
	case EPOLL_OP:
		return 1 + below(r, 3);
	case POLLS:
		words = mine(r);
		for (int i = 0; i < 8; i++)
			words[i] = below(r, 24) | below(r, 64) << 32;
		return (long)words;
	case IOCTL:
		return ONE_OF(r, 0x5401, 0x5402, 0x5403, 0x540e, 0x540f, 0x5410, 0x5413, 0x5414, 0x541b, 0x5421, 0x5450, 0x5451, 0xc018aa3f, 0xc020aa00,
			0x8010aa01, 0x8010aa02, 0xc028aa03, 0xc020aa04, 0xc018aa06, 0xc020aa07, 0xc0106611, 0xc0287f05);
	case ARGV:
		words = mine(r);
		words[0] = TEXT(r, paths);
		words[1] = below(r, 4) ? (uint64_t)TEXT(r, names) : (uint64_t)wild(r);
		words[2] = 0;
		return below(r, 4) ? (long)words : 0;
	case MOUNT_TYPE:
		return TEXT(r, types);
	case MOUNT_FLAGS:
		return ONE_OF(r, 0, 0, 0, MS_RDONLY, MS_REMOUNT, MS_BIND, MS_MOVE, MS_NOSUID | MS_NOEXEC, MS_PRIVATE, MS_REMOUNT | MS_RDONLY);
	case MOUNT_DATA:
		return below(r, 2) ? TEXT(r, options) : 0;
	case PIPE_FLAGS:
		return ONE_OF(r, 0, O_NONBLOCK, O_CLOEXEC, O_NONBLOCK | O_CLOEXEC, 1);
	case MEMFD:
		return ONE_OF(r, 0, 1, 2, 3, 4, 6, 8, 16);
	case PRCTL:
		return ONE_OF(r, 1, 2, 3, 4, 8, 15, 16, 22, 36, 38, 39, 41, 42, 47, 0x53564d41);
	case TIMER:
		return below(r, 6);
	case WAIT_FLAGS:
		return ONE_OF(r, 1, 1, 3, 5, 0xb, 1, 0x1000005, 0x40000001);
	case IDTYPE:
		return below(r, 4);
	case RANGE_FLAGS:
		return ONE_OF(r, 0, 2, 4);
	case POINTER:
	case ANY:
		return wild(r);
	}
	return 0;
}

/* Who must not be killed, and whose limits stay: this program is the first process of the guest, whose end is its end. */
static int spares_the_first(int nr, const long *args)
{
	int pid = args[0];

	switch (nr) {
	case SYS_kill:
		return pid == -1 || pid == -2 || pid == 2;
	case SYS_tkill:
	case SYS_rt_sigqueueinfo:
	case SYS_prlimit64:
	case SYS_process_vm_writev:
		return pid == 2;
	case SYS_tgkill:
	case SYS_rt_tgsigqueueinfo:
		return pid == 2 || (int)args[1] == 2;
	}
	return 0;
}

static void start_thread(struct random *r, long flags);

static void one_call(struct random *r)
{
	long args[6], result;
	int nr, draw;
	const char *name = "?";

	if (below(r, 50) == 0) {
		nr = below(r, 470);
		for (int i = 0; i < 6; i++)
			args[i] = wild(r);
		if (nr == SYS_clone || nr == SYS_reboot)
			return;
	} else {
		const struct call *call = calls;

		for (draw = below(r, weights); draw >= call->weight; call++)
			draw -= call->weight;
		nr = call->number;
		name = call->name;
		for (int i = 0; i < 6; i++)
			args[i] = argument(r, call->kinds[i]);
	}
	/* A process ends rarely; another that begins draws other calls. */
	if ((nr == SYS_exit || nr == SYS_exit_group || nr == SYS_rt_sigreturn || nr == SYS_execve || nr == SYS_pause || nr == SYS_rt_sigsuspend) && below(r, 4))
		return;
	if (spares_the_first(nr, args))
		return;
	if (show) {
		char line[200];
		int bytes = snprintf(line, sizeof line, "%d %s(%#lx, %#lx, %#lx, %#lx, %#lx, %#lx)\n", (int)syscall(SYS_gettid), name, args[0], args[1],
				     args[2], args[3], args[4], args[5]);
		syscall(SYS_write, 1000, line, bytes);
	}
	__atomic_add_fetch(&shared->calls, 1, __ATOMIC_RELAXED);
	if (nr == SYS_vfork || nr == SYS_fork || nr == SYS_clone3) {
		if (nr == SYS_vfork || below(r, 2))
			start_thread(r, ONE_OF(r, SIGCHLD, CLONE_VM | SIGCHLD, CLONE_VM | CLONE_VFORK | SIGCHLD, CLONE_FILES | SIGCHLD, CLONE_FS | SIGUSR1,
					       CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD, CLONE_VM | CLONE_SIGHAND,
					       CLONE_PARENT | SIGCHLD));
		else if (syscall(SYS_fork) == 0)
			r->state ^= getpid() * 0x9e3779b97f4a7c15;
		return;
	}
	result = syscall(nr, args[0], args[1], args[2], args[3], args[4], args[5]);
	(void)result;
	/* What was mapped is used. */
	if (below(r, 4) == 0)
		*(volatile char *)(REGION + below(r, REGION_PAGES) * PAGE) += 1;
}

static void calls_until_the_end(struct random *r)
{
	while (__atomic_load_n(&shared->calls, __ATOMIC_RELAXED) < shared->wanted)
		one_call(r);
	syscall(SYS_exit, 0);
}

#define STACK 65536
static int thread(void *argument)
{
	struct random r = { (uint64_t)argument ^ getpid() };

	calls_until_the_end(&r);
	return 0;
}

/* A process or a thread, as the flags say, that draws calls of its own. */
static void start_thread(struct random *r, long flags)
{
	char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (stack != MAP_FAILED)
		clone(thread, stack + STACK, flags, (void *)number(r), NULL, NULL, NULL);
}

static void on_signal(int signal)
{
	(void)signal;
}

/* Where something should be is something again; elsewhere it is the end. */
static void on_fault(int signal, siginfo_t *info, void *context)
{
	char *page = (char *)((long)info->si_addr & -PAGE);

	(void)signal;
	(void)context;
	if (page < REGION || page >= REGION + REGION_PAGES * PAGE ||
	    mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		_exit(1);
}

/* The one that others of a round come from. */
static void process(struct random r)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct rlimit core = { 0, 0 };
	static const int handled[] = { SIGALRM, SIGUSR1, SIGUSR2, SIGPIPE, SIGTTOU, SIGTSTP, SIGPROF, SIGVTALRM, SIGIO, SIGXFSZ, 34, 40, 64 };
	int fds[2], own = open("proc/self/oom_score_adj", O_WRONLY);

	/* The first program must not be the one that is ended when memory is short. */
	if (own >= 0 && write(own, "500", 3) == 3)
		close(own);
	setsid();
	setrlimit(RLIMIT_CORE, &core);
	for (unsigned i = 0; i < sizeof handled / sizeof *handled; i++)
		sigaction(handled[i], &action, NULL);
	action.sa_sigaction = on_fault;
	action.sa_flags = SA_SIGINFO | SA_NODEFER;
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	close(0);
	close(1);
	close(2);
	/* The round's own: what a call gives it, extended attributes for instance, goes with the round. */
	for (int i = 0; i < 3; i++)
		open("null", O_RDWR);
	open("a", O_RDWR | O_CREAT, 0600);
	open("d", O_RDONLY | O_DIRECTORY);
	open("d/b", O_RDWR | O_CREAT | O_APPEND, 0644);
	open("fifo", O_RDWR | O_NONBLOCK);
	if (pipe(fds) == 0)
		fcntl(fds[0], F_SETFL, O_NONBLOCK);
	if (pipe2(fds, O_NONBLOCK) == 0)
		fcntl(fds[0], F_SETPIPE_SZ, PAGE);
	syscall(SYS_memfd_create, "m", 2);
	syscall(SYS_eventfd2, 0, O_NONBLOCK);
	syscall(SYS_epoll_create1, 0);
	syscall(SYS_userfaultfd, O_NONBLOCK);
	open("proc/self/maps", O_RDONLY);
	mmap(REGION, REGION_PAGES / 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	mmap(REGION + REGION_PAGES / 2 * PAGE, REGION_PAGES / 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	for (int i = 0; i < THREADS; i++)
		start_thread(&r, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM);
	calls_until_the_end(&r);
}

/* What this program may not do without. */
static void must(int done, const char *what)
{
	if (!done) {
		printf("%s: %s\n", what, strerror(errno));
		exit(1);
	}
}

/* Knobs that are as they were before the next round. */
static const char *const knobs[] = {
	"vm/swappiness", "vm/page-cluster", "kernel/shmmax", "kernel/shmall", "kernel/shmmni", "kernel/shm_next_id", "fs/pipe-max-size",
	"vm/max_map_count", "vm/overcommit_ratio", "vm/overcommit_memory", "kernel/shm_rmid_forced", "fs/file-max", "fs/nr_open", "vm/min_free_kbytes",
};
#define KNOBS (sizeof knobs / sizeof *knobs)
static char was[KNOBS][32];

static long knob(unsigned which, int set)
{
	char path[80];
	long bytes;
	int file;

	snprintf(path, sizeof path, "/proc/sys/%s", knobs[which]);
	file = open(path, set ? O_WRONLY : O_RDONLY);
	if (file < 0)
		return 0;
	bytes = set ? write(file, was[which], strlen(was[which])) : read(file, was[which], sizeof was[which] - 1);
	close(file);
	return bytes;
}

/* A directory of its own for each round, with a proc of its own. */
static void prepare(void)
{
	static const struct { const char *name; int major, minor; } devices[] = {
		{ "null", 1, 3 }, { "zero", 1, 5 }, { "full", 1, 7 }, { "random", 1, 8 }, { "tty", 5, 0 },
	};
	int file;

	must(mount("fuzz", "/round", "tmpfs", 0, "size=16M,mode=755") == 0 && chdir("/round") == 0, "mount of a tmpfs");
	must(mkdir("d", 0755) == 0 && mkdir("d/e", 0755) == 0 && mkdir("mnt", 0755) == 0 && mkdir("proc", 0755) == 0, "mkdir");
	must(mount("none", "proc", "proc", 0, NULL) == 0 && mount("none", "mnt", "tmpfs", 0, NULL) == 0, "mount");
	must(symlink("d/a", "link") == 0 && symlink("loop", "loop") == 0 && mkfifo("fifo", 0600) == 0, "links");
	must(mkdir("shm", 01777) == 0 && mount("shm", "shm", "tmpfs", 0, NULL) == 0, "mount");
	for (unsigned i = 0; i < sizeof devices / sizeof *devices; i++)
		must(mknod(devices[i].name, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)) == 0, devices[i].name);
	file = open("script", O_WRONLY | O_CREAT, 0755);
	must(file >= 0 && write(file, "#! program x\n", 13) == 13 && close(file) == 0, "a script");
	file = open("program", O_WRONLY | O_CREAT, 0755);
	must(file >= 0 && write(file, "\177ELF\2\1\1", 7) == 7 && close(file) == 0, "a program");
}

/* A wild pointer can lead into the middle of a path, so that what it names lies in the root: whatever was not there at the beginning goes. */
static void clean_root(void)
{
	static char known[32][32];
	static int count;
	DIR *root = opendir("/");
	struct dirent *entry;
	int learning = count == 0, found;

	must(root != NULL, "opendir");
	while ((entry = readdir(root)) != NULL) {
		if (learning) {
			must(count < 32, "names in the root");
			snprintf(known[count++], sizeof *known, "%.31s", entry->d_name);
			continue;
		}
		found = 0;
		for (int i = 0; i < count; i++)
			found |= strcmp(known[i], entry->d_name) == 0;
		if (!found && unlinkat(dirfd(root), entry->d_name, 0) != 0)
			unlinkat(dirfd(root), entry->d_name, AT_REMOVEDIR);
	}
	closedir(root);
}

static void clean_up(void)
{
	int id, count;
	struct shmid_ds segment;

	/* Nobody is left but this program. */
	kill(-1, SIGKILL);
	while (waitpid(-1, NULL, __WALL) > 0 || errno != ECHILD)
		;
	for (unsigned i = 0; i < KNOBS; i++)
		knob(i, 1);
	must(chdir("/") == 0, "chdir");
	while (umount2("/round", MNT_DETACH) == 0)
		;
	clean_root();
	/* It may have been left; and nothing of this program is to be there. */
	swapoff("/dev/vda");
	swapon("/dev/vda", 0);
	count = shmctl(0, IPC_INFO, &segment);
	for (int index = 0; index <= count; index++)
		if ((id = shmctl(index, SHM_STAT, &segment)) >= 0)
			must(shmctl(id, IPC_RMID, NULL) == 0, "IPC_RMID");
}

static uint64_t milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ull + now.tv_nsec / 1000000;
}

static void round_of(uint64_t seed, long wanted)
{
	struct timespec tick = { 0, 20000000 };
	uint64_t began = milliseconds();
	long before = -1, left;
	int alive = 0, begun = 0, looks = 0;

	prepare();
	shared->calls = 0;
	shared->wanted = wanted;
	while (shared->calls < wanted && looks < LOOKS) {
		if (alive < PROCESSES) {
			pid_t pid = fork();

			must(pid >= 0, "fork");
			if (pid == 0)
				process((struct random){ seed + begun * 0x1234567 });
			alive++;
			begun++;
			continue;
		}
		nanosleep(&tick, NULL);
		while ((pid_t)(left = waitpid(-1, NULL, WNOHANG | __WALL)) > 0)
			alive--;
		if (alive < 0 || (left < 0 && errno == ECHILD))
			alive = 0;
		/* Whoever waits or is stopped goes on. */
		if (shared->calls == before) {
			kill(-1, SIGCONT);
			kill(-1, SIGALRM);
			looks++;
		} else {
			looks = 0;
		}
		before = shared->calls;
	}
	clean_up();
	if (show)
		fprintf(stderr, "%ld calls in %lu ms\n", shared->calls, (unsigned long)(milliseconds() - began));
}

/* The kernel keeps names of proc that were looked up once: so all of them are, and those of processes that are gone make place for another's. */
static void look_at_proc(void)
{
	struct stat stat;
	char path[80];
	pid_t child = fork();

	must(child >= 0, "fork");
	if (child == 0)
		_exit(0);
	snprintf(path, sizeof path, "/proc/%d", child);
	must(lstat(path, &stat) == 0 && waitpid(child, NULL, 0) == child, path);
	for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++)
		if (strncmp(paths[i], "proc/", 5) == 0) {
			snprintf(path, sizeof path, "/%s", paths[i]);
			lstat(path, &stat);
		}
}

/* What is there: records of each kind, slots of the swap area, segments, mounts; a line each. */
#define LINES 128
struct snapshot {
	char lines[LINES][130];
	int count;
};

static void add(struct snapshot *to, const char *file, int heading, const char *format)
{
	FILE *stream = fopen(file, "r");
	char line[512], name[64], number[64];

	must(stream != NULL, file);
	while (fgets(line, sizeof line, stream) != NULL)
		if (heading-- <= 0 && sscanf(line, format, name, number) == 2 && to->count < LINES)
			snprintf(to->lines[to->count++], sizeof *to->lines, "%s %s", name, number);
	fclose(stream);
}

static struct snapshot snapshot(void)
{
	struct snapshot now = { .count = 0 };

	/* Twice: the second finds the names that the first one's child left, and leaves as many in every round. */
	look_at_proc();
	look_at_proc();
	add(&now, "/proc/slabinfo", 2, "%63s %63s");
	add(&now, "/proc/swaps", 1, "%63s %*s %*s %63s");
	add(&now, "/proc/sysvipc/shm", 1, "%63s %63s");
	add(&now, "/proc/self/mounts", 0, "%63s %63s");
	return now;
}

/* Whether both are the same; what differs is said. */
static int same(const struct snapshot *before, const struct snapshot *after)
{
	int differ = 0;

	for (int i = 0; i < LINES; i++)
		if (strcmp(before->lines[i], after->lines[i]) != 0) {
			printf("before: %s, after: %s\n", before->lines[i], after->lines[i]);
			differ = 1;
		}
	return !differ;
}

int main(int argc, char **argv)
{
	static struct snapshot before, after;
	uint64_t seed = 1;
	long calls_wanted = 10000, per_round = 1000, done = 0, rounds = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--show") == 0)
			show = 1;
		else if (strcmp(argv[i], "--balance") == 0)
			balance = 1;
		else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
			seed = strtoull(argv[++i], NULL, 0);
		else if (i + 1 < argc && strcmp(argv[i], "--calls") == 0)
			calls_wanted = strtol(argv[++i], NULL, 0);
		else if (i + 1 < argc && strcmp(argv[i], "--rounds-of") == 0)
			per_round = strtol(argv[++i], NULL, 0);
	if (getpid() != 2 || access("/dev/faultlab", F_OK) != 0) {
		puts("this kills all processes: run it as the first program of a guest, with faultlab exec");
		return 2;
	}
	for (unsigned i = 0; i < CALLS; i++)
		weights += calls[i].weight;
	if (show)
		dup2(2, 1000);
	must(mkdir("/round", 0755) == 0, "mkdir");
	clean_root();
	for (unsigned i = 0; i < KNOBS; i++)
		knob(i, 0);
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memset(shared, 0, sizeof *shared);
	while (done < calls_wanted) {
		round_of(seed + done * 0x10001, calls_wanted - done < per_round ? calls_wanted - done : per_round);
		done += shared->calls ? shared->calls : 1;
		/* The first round made what is made once. */
		after = snapshot();
		if (rounds++ == 0)
			before = after;
		if (balance && !same(&before, &after)) {
			printf("%ld calls of seed %lu left that\n", done, (unsigned long)seed);
			return 1;
		}
	}
	fprintf(stderr, "%ld rounds\n", rounds);
	printf("%ld calls, and nobody is left of those who made them\n", calls_wanted);
	return 0;
}
