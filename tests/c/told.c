/* Calls that tell, times of files, memory of other processes, locks with inheritance of priorities, restartable sequences. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/rseq.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif

static const char *result(long value)
{
	static char text[8][32];
	static int next;
	char *to = text[next++ % 8];

	if (value < 0)
		snprintf(to, 32, "%s", strerrorname_np(errno));
	else
		snprintf(to, 32, "%ld", value);
	return to;
}

static void capabilities(void)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0}, old = {5, 0};
	struct __user_cap_data_struct data[2];

	puts("capabilities");
	printf("get %s", result(syscall(SYS_capget, &head, data)));
	/* Which root has is the machine's affair: that it may change owners is enough here. */
	printf(" chown %d inheritable %u\n", data[0].effective & data[0].permitted & 1, data[0].inheritable);
	printf("set as it is %s", result(syscall(SYS_capset, &head, data)));
	printf(" unknown version %s", result(syscall(SYS_capget, &old, data)));
	printf(" says %x", old.version);
	old.version = 5;
	printf(" only asked %s", result(syscall(SYS_capget, &old, NULL)));
	head.pid = 999999;
	printf(" nobody %s", result(syscall(SYS_capget, &head, data)));
	head.pid = -5;
	printf(" negative %s", result(syscall(SYS_capget, &head, data)));
	head.pid = 1;
	printf(" set another's %s\n", result(syscall(SYS_capset, &head, data)));
	fflush(stdout);
	if (fork() == 0) {
		struct __user_cap_header_struct own = {_LINUX_CAPABILITY_VERSION_3, 0};

		seteuid(1000);
		syscall(SYS_capget, &own, data);
		printf("acting as another: effective %x permitted %d\n", data[0].effective, data[0].permitted & 1);
		seteuid(0);
		setresuid(1000, 1000, 1000);
		syscall(SYS_capget, &own, data);
		printf("another for good: effective %x permitted %x\n", data[0].effective, data[0].permitted);
		data[0].effective = data[0].permitted = 1;
		printf("set %s\n", result(syscall(SYS_capset, &own, data)));
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
}

static void clocks(void)
{
	struct timex timex = {0};
	int state = adjtimex(&timex);

	puts("clocks");
	printf("state %d tick %ld tolerance %ld time %d\n", state >= 0 && state <= 5, timex.tick, timex.tolerance, timex.time.tv_sec > 1000000);
	timex.modes = 0;
	printf("realtime %d monotonic %s", clock_adjtime(CLOCK_REALTIME, &timex) >= 0, result(clock_adjtime(CLOCK_MONOTONIC, &timex)));
	printf(" none %s address %s\n", result(clock_adjtime(99, &timex)), result(syscall(SYS_adjtimex, 8)));
	printf("personality %lx", syscall(SYS_personality, 0xffffffff) & ~ADDR_NO_RANDOMIZE);
	syscall(SYS_personality, ADDR_NO_RANDOMIZE);
	printf(" set %lx\n", syscall(SYS_personality, 0xffffffff));
	printf("ioprio %s nobody %s which %s", result(syscall(SYS_ioprio_get, 1, 0)), result(syscall(SYS_ioprio_get, 1, 999999)),
	       result(syscall(SYS_ioprio_get, 7, 0)));
	printf(" set %s\n", result(syscall(SYS_ioprio_set, 1, 0, 0)));
}

static void show(const char *name, const char *what)
{
	struct stat st;

	stat(name, &st);
	printf("%s: %ld.%09ld %ld.%09ld\n", what, st.st_atim.tv_sec, st.st_atim.tv_nsec, st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

static void times(void)
{
	const char *name = "/dev/shm/told_times";
	struct utimbuf seconds = {1000, 2000};
	struct timeval us[2] = {{3000, 5}, {4000, 999999}}, bad[2] = {{1, 1000000}, {1, 0}};
	int file = open(name, O_RDWR | O_CREAT, 0600);
	struct stat st;

	puts("times");
	printf("utime %s\n", result(syscall(SYS_utime, name, &seconds)));
	show(name, "is");
	printf("utimes %s bad %s\n", result(syscall(SYS_utimes, name, us)), result(syscall(SYS_utimes, name, bad)));
	show(name, "is");
	us[0].tv_sec = 7;
	printf("futimesat %s", result(syscall(SYS_futimesat, AT_FDCWD, name, us)));
	printf(" of a descriptor %s none %s\n", result(syscall(SYS_futimesat, file, NULL, us)), result(syscall(SYS_futimesat, 900, NULL, us)));
	show(name, "is");
	printf("now %s", result(syscall(SYS_utime, name, NULL)));
	stat(name, &st);
	printf(" %d not there %s\n", st.st_mtime > 1000000, result(syscall(SYS_utimes, "/dev/shm/told_none", us)));
	int ends[2];
	pipe(ends);
	printf("sync_file_range %s flags %s negative %s pipe %s closed %s\n", result(syscall(SYS_sync_file_range, file, 0L, 4096L, 7)),
	       result(syscall(SYS_sync_file_range, file, 0L, 0L, 8)), result(syscall(SYS_sync_file_range, file, -1L, 5L, 0)),
	       result(syscall(SYS_sync_file_range, ends[0], 0L, 0L, 0)), result(syscall(SYS_sync_file_range, 900, 0L, 0L, 0)));
	unlink(name);
}

static void memory(void)
{
	char *there = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *here = calloc(1, 8192);
	int ends[2];
	char byte;

	puts("memory of another");
	pipe(ends);
	munmap(there + 2 * 4096, 4096);
	memset(there, 'a', 8192);
	pid_t child = fork();
	if (child == 0) {
		memset(there + 4000, 'b', 200);
		write(ends[1], "x", 1);
		for (;;)
			pause();
	}
	read(ends[0], &byte, 1);
	struct iovec near[2] = {{here, 50}, {here + 1000, 7000}}, far[2] = {{there + 3990, 30}, {there + 4096, 4096}};
	printf("read %s", result(process_vm_readv(child, near, 2, far, 2, 0)));
	printf(" %.15s|%.10s|%.5s|%c\n", here, here + 25, here + 1000 + 60, here[1000 + 4075]);
	far[1].iov_len = 8192;
	printf("beyond the end %s nothing there %s\n", result(process_vm_readv(child, near, 2, far, 2, 0)),
	       result(process_vm_readv(child, near, 1, &(struct iovec){there + 8192, 10}, 1, 0)));
	memcpy(here, "written", 7);
	near[0].iov_len = 7;
	far[0].iov_len = 7;
	printf("write %s", result(process_vm_writev(child, near, 1, far, 1, 0)));
	memset(here, 0, 100);
	process_vm_readv(child, near, 1, far, 1, 0);
	printf(" %s, ours %c\n", here, there[3990]);
	printf("flags %s nobody %s many %s none %s", result(process_vm_readv(child, near, 1, far, 1, 1)), result(process_vm_readv(999999, near, 1, far, 1, 0)),
	       result(process_vm_readv(child, near, 2000, far, 1, 0)), result(process_vm_readv(child, near, 0, far, 1, 0)));
	printf(" vectors %s\n", result(process_vm_readv(child, (void *)8, 1, far, 1, 0)));
	fflush(stdout);
	if (fork() == 0) {
		setresuid(1000, 1000, 1000);
		printf("not ours %s\n", result(process_vm_readv(child, near, 1, far, 1, 0)));
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
	kill(child, SIGKILL);
	wait(NULL);
}

static long futex(unsigned *word, int op, const struct timespec *time)
{
	return syscall(SYS_futex, word, op, 0, time, NULL, 0);
}

static pthread_mutex_t mutex;
static long counter;

static void *add(void *unused)
{
	(void)unused;
	for (int i = 0; i < 200; i++) {
		pthread_mutex_lock(&mutex);
		long seen = counter;
		if (i % 50 == 0)
			sched_yield();
		counter = seen + 1;
		pthread_mutex_unlock(&mutex);
	}
	return NULL;
}

static void locks(void)
{
	unsigned *word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct timespec past = {1, 0};
	pthread_mutexattr_t attributes;
	pthread_t threads[3];
	unsigned own = syscall(SYS_gettid);

	puts("locks");
	printf("free %s", result(futex(word, FUTEX_LOCK_PI, NULL)));
	printf(" ours %d again %s try %s\n", *word == own, result(futex(word, FUTEX_LOCK_PI, NULL)), result(futex(word, FUTEX_TRYLOCK_PI, NULL)));
	pid_t child = fork();
	if (child == 0) {
		printf("a child: try %s", result(futex(word, FUTEX_TRYLOCK_PI, NULL)));
		printf(" unlock %s timed %s", result(futex(word, FUTEX_UNLOCK_PI, NULL)), result(futex(word, FUTEX_LOCK_PI, &past)));
		printf(" timed too %s", result(futex(word, FUTEX_LOCK_PI2, &past)));
		fflush(stdout);
		word[1] = 1;
		printf(" waits %s", result(futex(word, FUTEX_LOCK_PI, NULL)));
		printf(" has it %d\n", (*word & FUTEX_TID_MASK) == (unsigned)syscall(SYS_gettid));
		fflush(stdout);
		_exit(futex(word, FUTEX_UNLOCK_PI, NULL) == 0 && *word == 0 ? 3 : 4);
	}
	int status;
	while (!((volatile unsigned *)word)[1] || !(*(volatile unsigned *)word & FUTEX_WAITERS))
		usleep(1000);
	long unlocked = futex(word, FUTEX_UNLOCK_PI, NULL);
	waitpid(child, &status, 0);
	printf("unlock %ld, the child's end %d\n", unlocked, WEXITSTATUS(status));
	*word = 999999;
	printf("of nobody %s\n", result(futex(word, FUTEX_LOCK_PI, NULL)));
	pthread_mutexattr_init(&attributes);
	printf("protocol %d", pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT));
	printf(" mutex %d\n", pthread_mutex_init(&mutex, &attributes));
	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, add, NULL);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	printf("counted %ld\n", counter);
	/* One that ends with it. */
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutex_t *shared = (void *)(word + 64);
	pthread_mutex_init(shared, &attributes);
	child = fork();
	if (child == 0) {
		pthread_mutex_lock(shared);
		word[2] = 1;
		usleep(20000);
		_exit(0);
	}
	while (!((volatile unsigned *)word)[2])
		usleep(1000);
	printf("of one that ends: %s\n", strerrorname_np(pthread_mutex_lock(shared)));
	pthread_mutex_consistent(shared);
	printf("consistent, unlock %d\n", pthread_mutex_unlock(shared));
	waitpid(child, NULL, 0);
}

/* A section that spins until it is thrown out: by the timer, or by a handler. */
static struct rseq area __attribute__((aligned(32)));

static int section(void)
{
	int aborted;

	__asm__ __volatile__(
		".pushsection .data.rseq_cs, \"aw\"\n\t"
		".balign 32\n"
		"3:\n\t"
		".long 0, 0\n\t"
		".quad 1f, 2f - 1f, 4f\n\t"
		".popsection\n\t"
		"leaq 3b(%%rip), %%rax\n\t"
		"movq %%rax, %1\n"
		"1:\n\t"
		"jmp 1b\n"
		"2:\n\t"
		"movl $0, %0\n\t"
		"jmp 5f\n\t"
		".byte 0x0f, 0xb9, 0x3d\n\t"
		".long 0x53053053\n"
		"4:\n\t"
		"movl $1, %0\n"
		"5:\n"
		: "=r"(aborted), "+m"(area.rseq_cs)
		:
		: "rax", "memory");
	return aborted;
}

static volatile sig_atomic_t caught;

static void count(int signal)
{
	(void)signal;
	caught++;
}

static void *sequences(void *unused)
{
	(void)unused;
	/* Again and again, in case the first comes before the section begins. */
	struct itimerval soon = {{0, 20000}, {0, 5000}}, never = {{0, 0}, {0, 0}};

	printf("register %s", result(syscall(SYS_rseq, &area, 32, 0, 0x53053053)));
	printf(" again %s other %s signature %s\n", result(syscall(SYS_rseq, &area, 32, 0, 0x53053053)), result(syscall(SYS_rseq, &area + 1, 32, 0, 0x53053053)),
	       result(syscall(SYS_rseq, &area, 32, 0, 5)));
	printf("cpu %d\n", (int)area.cpu_id >= 0 && area.cpu_id == area.cpu_id_start);
	signal(SIGALRM, count);
	setitimer(ITIMER_REAL, &soon, NULL);
	printf("by a handler: %d", section());
	/* Somebody else's turn may have thrown it out before. */
	while (!caught)
		;
	setitimer(ITIMER_REAL, &never, NULL);
	printf(" caught %d section %llu\n", caught > 0, (unsigned long long)area.rseq_cs);
	/* Another process wants the processor, wherever there is but one. */
	pid_t child = fork();
	if (child == 0)
		for (;;)
			;
	cpu_set_t set;
	sched_getaffinity(0, sizeof(set), &set);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set)) {
			CPU_ZERO(&set);
			CPU_SET(cpu, &set);
			break;
		}
	sched_setaffinity(child, sizeof(set), &set);
	sched_setaffinity(0, sizeof(set), &set);
	printf("by another's turn: %d\n", section());
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	printf("unregister wrong %s", result(syscall(SYS_rseq, &area, 32, 1, 5)));
	printf(" flags %s right %s", result(syscall(SYS_rseq, &area, 32, 3, 0x53053053)), result(syscall(SYS_rseq, &area, 32, 1, 0x53053053)));
	printf(" cpu %d again %s\n", (int)area.cpu_id, result(syscall(SYS_rseq, &area, 32, 1, 0x53053053)));
	printf("not aligned %s short %s\n", result(syscall(SYS_rseq, (char *)&area + 8, 32, 0, 1)), result(syscall(SYS_rseq, &area, 16, 0, 1)));
	return NULL;
}

int main(int argc, char **argv)
{
	(void)argc;
	setvbuf(stdout, NULL, _IOLBF, 0);
	/* The C library would register its own: it is told not to. */
	if (!getenv("GLIBC_TUNABLES")) {
		setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0", 1);
		execv("/proc/self/exe", argv);
	}
	alarm(60);
	capabilities();
	clocks();
	times();
	memory();
	locks();
	puts("restartable sequences");
	sequences(NULL);
	return 0;
}
