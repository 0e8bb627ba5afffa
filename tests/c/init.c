/* What a program sees of process 1, and of who started it. It prints the same on every Linux where it is not process 1's own child. */
#define _GNU_SOURCE
#include "common.h"
#include <sys/prctl.h>
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

/* PR_SET_PDEATHSIG: the end of a parent is a signal to the child that asked for one, not to that one's children. */
static void end_of_a_parent(void)
{
	int ready[2], told[2], number = -1;
	char byte = 0;
	sigset_t set;
	siginfo_t info;

	must(!pipe(ready) && !pipe(told), "pipe");
	say("a signal that is none", prctl(PR_SET_PDEATHSIG, 65));
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fflush(stdout);
	pid_t middle = fork();
	if (!middle) {
		pid_t parent = getpid();
		if (!fork()) {
			prctl(PR_SET_PDEATHSIG, SIGUSR1);
			if (write(ready[1], &byte, 1) == 1 && sigwaitinfo(&set, &info) == SIGUSR1)
				byte = info.si_code == SI_USER && info.si_pid == parent ? 'y' : 'n';
			prctl(PR_GET_PDEATHSIG, &number);
			if (!fork())
				_exit(prctl(PR_GET_PDEATHSIG, &number) || number ? 1 : 0);
			int status;
			wait(&status);
			byte = status ? 'i' : byte;
			_exit(write(told[1], &byte, 1) != 1);
		}
		_exit(read(ready[0], &byte, 1) != 1);
	}
	waitpid(middle, NULL, 0);
	printf("its parent's end is told: %c\n", read(told[0], &byte, 1) == 1 ? byte : '-');
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* SCHED_RESET_ON_FORK: children are as any other. */
static void policies(void)
{
	static const int kept[] = { SCHED_RR, SCHED_BATCH };

	for (int flag = 0; flag < 2; flag++)
		for (int i = 0; i < 2; i++) {
			struct sched_param param = { .sched_priority = kept[i] == SCHED_RR ? 5 : 0 };
			fflush(stdout);
			if (!fork()) {
				say("set", sched_setscheduler(0, kept[i] | (flag ? SCHED_RESET_ON_FORK : 0), &param));
				pid_t child = fork();
				if (!child) {
					say("a child's policy", sched_getscheduler(0));
					must(!sched_getparam(0, &param), "sched_getparam");
					say("and priority", param.sched_priority);
					_exit(0);
				}
				waitpid(child, NULL, 0);
				_exit(0);
			}
			wait(NULL);
		}
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
	end_of_a_parent();
	policies();
	say("beyond the last process", waitpid(4 << 20, NULL, 0));
	if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
		perror("setresuid");
	printf("from nobody: %s %s\n", result(kill(1, 0)), result(kill(1, SIGURG)));
	printf("and its limits: %s\n", result(prlimit(1, RLIMIT_NOFILE, NULL, &limit)));
	return 0;
}
