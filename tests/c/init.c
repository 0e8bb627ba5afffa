/* What a program sees of process 1, and of who started it. It prints the same on every Linux where it is not process 1's own child. */
#define _GNU_SOURCE
#include "common.h"
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static const char *result(long value)
{
	return value < 0 ? strerrorname_np(errno) : "done";
}

/* The numbers of /proc/1/stat behind the state: parent, group, session. */
static void stat_of_init(int numbers[3])
{
	FILE *file = fopen("/proc/1/stat", "r");
	if (!file || fscanf(file, "1 (%*[^)]) %*c %d %d %d", numbers, numbers + 1, numbers + 2) != 3)
		perror("/proc/1/stat");
	if (file)
		fclose(file);
}

/* A process whose parent ends is init's, or that of who asked for orphans: not nobody's. */
static void orphan(void)
{
	int ends[2];
	char seen = 0;
	if (pipe(ends))
		exit(1);
	if (!fork()) {
		pid_t middle = getpid();
		if (!fork()) {
			while (getppid() == middle)
				sched_yield();
			seen = getppid() > 0 ? 'p' : '0';
			if (write(ends[1], &seen, 1) != 1)
				_exit(1);
			_exit(0);
		}
		_exit(0);
	}
	wait(NULL);
	close(ends[1]);
	printf("an orphan has a parent: %s\n", read(ends[0], &seen, 1) == 1 && seen == 'p' ? "yes" : "no");
	printf("and is not waited for: %s\n", result(wait(NULL)));
}

int main(void)
{
	int numbers[3] = { -1, -1, -1 };
	struct sched_param param;
	struct rlimit limit;

	setvbuf(stdout, NULL, _IONBF, 0);
	printf("taken for an orphan: %s\n", getppid() == 1 ? "yes" : "no");
	stat_of_init(numbers);
	printf("init's parent is %d, its group is %s, its session is %s\n", numbers[0],
	       numbers[1] == getpgid(1) ? "what getpgid says" : "another", numbers[2] == getsid(1) ? "what getsid says" : "another");
	printf("whether it is there: %s\n", result(kill(1, 0)));
	/* Signals that it has no handler for do not reach it; this one would do nothing to anybody else, either. */
	printf("SIGURG: %s\n", result(kill(1, SIGURG)));
	printf("SIGURG to the thread: %s\n", result(syscall(SYS_tgkill, 1, 1, SIGURG)));
	printf("a signal that is none: %s\n", result(kill(1, 77)));
	printf("as a child: %s %s\n", result(waitpid(1, NULL, WNOHANG)), result(setpgid(1, 0)));
	printf("a pidfd: %s\n", result(syscall(SYS_pidfd_open, 1, 0)));
	printf("policy: %s, priority: %s\n", result(sched_getscheduler(1)), result(sched_getparam(1, &param)));
	printf("limits: %s\n", result(prlimit(1, RLIMIT_NOFILE, NULL, &limit)));
	orphan();
	if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
		perror("setresuid");
	printf("from nobody: %s %s\n", result(kill(1, 0)), result(kill(1, SIGURG)));
	printf("and its limits: %s\n", result(prlimit(1, RLIMIT_NOFILE, NULL, &limit)));
	return 0;
}
