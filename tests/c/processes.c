/* What an ordinary C program does with processes and signals. It prints the same on every Linux. */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static sigjmp_buf recovery;
static volatile int seen;

static void count(int signal)
{
	seen += signal;
}

static void recover(int signal, siginfo_t *info, void *context)
{
	(void)context;
	printf("signal %d code %d address %p\n", signal, info->si_code, info->si_addr);
	siglongjmp(recovery, 1);
}

static void signals(void)
{
	struct sigaction action = { .sa_sigaction = recover, .sa_flags = SA_SIGINFO };
	sigset_t set, old;
	volatile int *volatile nowhere = (volatile int *)16;

	signal(SIGUSR1, count);
	raise(SIGUSR1);
	printf("after a handler: %d\n", seen);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, &old);
	raise(SIGUSR1);
	sigpending(&set);
	printf("pending: %d, handled: %d\n", sigismember(&set, SIGUSR1), seen);
	sigprocmask(SIG_SETMASK, &old, NULL);
	printf("unblocked: %d\n", seen);

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGFPE, &action, NULL);
	if (!sigsetjmp(recovery, 1))
		*nowhere = 1;
	char *page = mmap((void *)0x10000000, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (!sigsetjmp(recovery, 1))
		*(volatile char *)(page + 0x123) = 1;
	munmap(page, 4096);
	signal(SIGSEGV, SIG_DFL);
	signal(SIGFPE, SIG_DFL);
}

static void children(void)
{
	int status;
	siginfo_t info;
	int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		*shared = 42;
		exit(3);
	}
	waitpid(child, &status, 0);
	printf("child: exited %d status %d, shared %d\n", WIFEXITED(status), WEXITSTATUS(status), *shared);
	fflush(stdout);
	child = fork();
	if (child == 0)
		for (;;)
			pause();
	kill(child, SIGTERM);
	waitid(P_PID, child, &info, WEXITED);
	printf("child: code %d status %d\n", info.si_code, info.si_status);
	fflush(stdout);
	child = fork();
	if (child == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		abort();
	}
	waitpid(child, &status, 0);
	printf("child: signal %d\n", WTERMSIG(status));
	child = wait(NULL);
	printf("no child: %d %s\n", child, strerror(errno));
}

static void times(void)
{
	struct timespec before, after, pause = { .tv_nsec = 5000000 };

	clock_gettime(CLOCK_MONOTONIC, &before);
	nanosleep(&pause, NULL);
	clock_gettime(CLOCK_MONOTONIC, &after);
	long slept = (after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec;
	printf("slept: %s\n", slept >= pause.tv_nsec ? "long enough" : "too short");
}

static void memory(void)
{
	unsigned sum = 0;
	char *blocks[64];

	for (int i = 0; i < 64; i++) {
		blocks[i] = malloc(1 << (i % 18));
		memset(blocks[i], i, 1 << (i % 18));
	}
	for (int i = 0; i < 64; i++) {
		sum += blocks[i][(1 << (i % 18)) - 1];
		free(blocks[i]);
	}
	printf("allocated: %u\n", sum);
}

int main(int argc, char **argv)
{
	struct utsname name;
	unsigned char noise[16];

	uname(&name);
	printf("%s %s, %d arguments, the last is \"%s\"\n", name.sysname, name.machine, argc, argv[argc - 1]);
	printf("random bytes: %zd\n", getrandom(noise, sizeof noise, 0));
	printf("%.3f %e %d\n", 1.0 / 3, 2e100, 1 << 30);
	if (argc > 2) {
		printf("MARK=%s\n", getenv("MARK"));
		return 5;
	}
	memory();
	signals();
	children();
	times();
	fflush(stdout);
	setenv("MARK", "set by its former self", 1);
	execl("/proc/self/exe", "again", "one", "two", (char *)NULL);
	perror("execl");
	return 1;
}
