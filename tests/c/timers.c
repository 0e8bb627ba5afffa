/* Time, timers and what is told of them: properties that hold on Linux and here, whatever things take. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000LL
#define S 1000000000LL

static volatile sig_atomic_t caught;
static volatile siginfo_t last;

static void count(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	caught++;
	last = *info;
}

static void on(int signal)
{
	struct sigaction action = {.sa_sigaction = count, .sa_flags = SA_SIGINFO};

	caught = 0;
	sigaction(signal, &action, NULL);
}

static long long now(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec * S + time.tv_nsec;
}

static long long since;

static void begin(void)
{
	since = now(CLOCK_MONOTONIC);
}

/* Whether at least so much time has passed; much more never means anything. */
static const char *at_least(long long ns)
{
	return now(CLOCK_MONOTONIC) - since >= ns ? "yes" : "no";
}

static const char *result(long value)
{
	static char text[64];

	if (value < 0)
		snprintf(text, sizeof(text), "%s", strerrorname_np(errno));
	else
		snprintf(text, sizeof(text), "%ld", value);
	return text;
}

static struct timespec ns(long long ns)
{
	return (struct timespec){ns / S, ns % S};
}

static void clocks(void)
{
	static const int numbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, -1, 99};
	struct timespec time, bad = {0, S};
	clockid_t clock;

	puts("clocks");
	for (unsigned i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		printf("%d: %s", numbers[i], result(syscall(SYS_clock_gettime, numbers[i], &time)));
		printf(" resolution %s\n", result(syscall(SYS_clock_getres, numbers[i], NULL)));
	}
	long long before = now(CLOCK_MONOTONIC), later = now(CLOCK_MONOTONIC);
	printf("monotonic does not go back: %d\n", later >= before);
	struct timeval tv;
	gettimeofday(&tv, NULL);
	long long real = now(CLOCK_REALTIME);
	printf("gettimeofday is the real time: %d\n", real / S - tv.tv_sec <= 5 && real / S >= tv.tv_sec);
	time_t seconds = syscall(SYS_time, NULL);
	printf("time is, too: %d\n", seconds - real / S >= 0 && seconds - real / S <= 5);
	clock_getcpuclockid(0, &clock);
	printf("own CPU clock: %d\n", now(clock) > 0);
	printf("of process 1000000: %s\n", result(syscall(SYS_clock_gettime, (~1000000) << 3 | 2, &time)));
	printf("set monotonic: %s\n", result(syscall(SYS_clock_settime, CLOCK_MONOTONIC, &time)));
	printf("set to nothing: %s\n", result(syscall(SYS_clock_settime, CLOCK_REALTIME, &bad)));
	printf("bad address: %s\n", result(syscall(SYS_clock_gettime, 0, 8)));
}

static void sleeps(void)
{
	struct timespec bad = {0, S}, negative = {-1, 0}, some = ns(5 * MS), rest;

	puts("sleeps");
	printf("bad: %s", result(syscall(SYS_nanosleep, &bad, NULL)));
	printf(" %s\n", result(syscall(SYS_nanosleep, &negative, NULL)));
	printf("clocks: raw %s", result(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC_RAW, 0, &some, NULL)));
	printf(" coarse %s", result(syscall(SYS_clock_nanosleep, CLOCK_REALTIME_COARSE, 0, &some, NULL)));
	printf(" thread %s", result(syscall(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &some, NULL)));
	printf(" none %s\n", result(syscall(SYS_clock_nanosleep, 12, 0, &some, NULL)));
	begin();
	printf("nanosleep %s", result(nanosleep(&some, NULL)));
	printf(" long enough: %s\n", at_least(5 * MS));
	begin();
	struct timespec until = ns(now(CLOCK_REALTIME) + 5 * MS);
	printf("until %s", result(syscall(SYS_clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL)));
	printf(" long enough: %s\n", at_least(4 * MS));
	until = ns(1);
	printf("until long ago %s\n", result(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL)));
	on(SIGALRM);
	/* Again and again, in case the first comes before the call begins. */
	struct itimerval soon = {{0, 100000}, {0, 10000}}, never = {{0, 0}, {0, 0}};
	setitimer(ITIMER_REAL, &soon, NULL);
	some = ns(1000 * S);
	begin();
	printf("interrupted %s", result(nanosleep(&some, &rest)));
	printf(" by %d, rest: %d\n", caught > 0, rest.tv_sec > 900 && rest.tv_sec < 1000);
	setitimer(ITIMER_REAL, &soon, NULL);
	until = ns(now(CLOCK_MONOTONIC) + 1000 * S);
	rest = ns(77);
	printf("until, interrupted %s", result(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &until, &rest)));
	printf(" rest %ld\n", rest.tv_nsec);
	setitimer(ITIMER_REAL, &never, NULL);
}

static void spin(long long cpu)
{
	long long until = now(CLOCK_PROCESS_CPUTIME_ID) + cpu;

	while (now(CLOCK_PROCESS_CPUTIME_ID) < until)
		;
}

static void intervals(void)
{
	struct itimerval value = {{0, 0}, {0, 20000}}, old, bad = {{0, 0}, {0, 1000000}};
	int last_left = 1000000, falls = 1;

	puts("intervals");
	printf("alarm %u", alarm(100));
	printf(" then %u", alarm(0));
	printf(" then %u\n", alarm(0));
	printf("bad %s", result(setitimer(ITIMER_REAL, &bad, NULL)));
	printf(" %s", result(syscall(SYS_setitimer, 3, &value, NULL)));
	printf(" %s\n", result(syscall(SYS_getitimer, -1, &value)));
	on(SIGALRM);
	begin();
	setitimer(ITIMER_REAL, &value, NULL);
	while (!caught) {
		getitimer(ITIMER_REAL, &old);
		if (caught)
			break;
		falls &= old.it_value.tv_usec <= last_left && old.it_value.tv_sec == 0;
		last_left = old.it_value.tv_usec;
	}
	printf("spinning: caught %d, in time: %s, what is left falls: %d\n", caught, at_least(20 * MS), falls);
	getitimer(ITIMER_REAL, &old);
	printf("it is off: %ld.%06ld\n", old.it_value.tv_sec, old.it_value.tv_usec);
	on(SIGALRM);
	begin();
	alarm(1);
	printf("pause %s", result(pause()));
	printf(" caught %d after a second: %s, code %d\n", caught, at_least(S), last.si_code == SI_KERNEL);
	value.it_interval.tv_usec = 5000;
	value.it_value.tv_usec = 5000;
	on(SIGALRM);
	begin();
	setitimer(ITIMER_REAL, &value, NULL);
	while (caught < 5)
		;
	printf("five times: %s\n", at_least(24 * MS));
	setitimer(ITIMER_REAL, NULL, &old);
	printf("its interval was %ld\n", old.it_interval.tv_usec);
	/* Long, because a handler takes milliseconds of CPU time where the kernel is interpreted. */
	value.it_interval.tv_usec = value.it_value.tv_usec = 40000;
	for (int which = ITIMER_VIRTUAL; which <= ITIMER_PROF; which++) {
		int signal = which == ITIMER_VIRTUAL ? SIGVTALRM : SIGPROF;

		on(signal);
		begin();
		setitimer(which, &value, NULL);
		struct timespec some = ns(30 * MS);
		int result = nanosleep(&some, NULL);
		printf("%d: sleep is not interrupted: %d", which, result);
		while (caught < 2)
			;
		value.it_value.tv_usec = 0;
		setitimer(which, &value, &old);
		value.it_value.tv_usec = 40000;
		printf(", spinning does: %s, interval %ld\n", at_least(109 * MS), old.it_interval.tv_usec);
	}
	/* A child has none; a program that is replaced keeps its own. */
	alarm(50);
	if (fork() == 0)
		_exit(alarm(0));
	int status;
	wait(&status);
	printf("a child's alarm: %d, ours is %s\n", status, alarm(0) > 40 ? "there" : "gone");
	on(SIGALRM);
	value.it_interval.tv_usec = 1000;
	value.it_value.tv_usec = 1;
	setitimer(ITIMER_REAL, &value, NULL);
	while (caught < 20)
		;
	setitimer(ITIMER_REAL, NULL, NULL);
	puts("every millisecond: the program goes on");
}

static void made(void)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1, .sigev_value.sival_int = 42};
	struct itimerspec value = {ns(2 * MS), ns(5 * MS)}, old;
	sigset_t set;
	siginfo_t info;
	int first, second;

	puts("made");
	printf("create %s", result(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &first)));
	printf(" another %s", result(syscall(SYS_timer_create, CLOCK_REALTIME, NULL, &second)));
	printf(" numbers rise: %d\n", second > first);
	printf("bad clock %s", result(syscall(SYS_timer_create, 12, &event, &second)));
	printf(" coarse %s", result(syscall(SYS_timer_create, CLOCK_MONOTONIC_COARSE, &event, &second)));
	event.sigev_signo = 65;
	printf(" signal %s", result(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &second)));
	event.sigev_signo = SIGRTMIN + 1;
	event.sigev_notify = 7;
	printf(" notify %s", result(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &second)));
	event.sigev_notify = SIGEV_SIGNAL;
	printf(" address %s\n", result(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, NULL)));
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	printf("settime %s", result(syscall(SYS_timer_settime, first, 0, &value, &old)));
	printf(" was %ld", old.it_value.tv_nsec);
	syscall(SYS_timer_gettime, first, &old);
	printf(" is set: %d, interval %ld\n", old.it_value.tv_nsec > 0, old.it_interval.tv_nsec);
	printf("waited %d", sigwaitinfo(&set, &info) == SIGRTMIN + 1);
	printf(" code %d value %d number %d\n", info.si_code == SI_TIMER, info.si_value.sival_int, info.si_timerid == first);
	struct timespec some = ns(30 * MS);
	nanosleep(&some, NULL);
	sigwaitinfo(&set, &info);
	printf("overrun: %s, told again: %d\n", info.si_overrun >= 8 ? "yes" : "no",
	       syscall(SYS_timer_getoverrun, first) == info.si_overrun);
	value = (struct itimerspec){{0, 0}, {0, 0}};
	printf("off %s", result(syscall(SYS_timer_settime, first, 0, &value, NULL)));
	syscall(SYS_timer_gettime, first, &old);
	printf(" %ld\n", old.it_value.tv_nsec);
	some = ns(0);
	while (sigtimedwait(&set, &info, &some) > 0)
		;
	long long until = now(CLOCK_MONOTONIC) + 10 * MS;
	value.it_value = ns(until);
	syscall(SYS_timer_settime, first, TIMER_ABSTIME, &value, NULL);
	sigwaitinfo(&set, &info);
	printf("until: %s, overrun %d\n", now(CLOCK_MONOTONIC) >= until ? "yes" : "no", info.si_overrun);
	value.it_value = (struct timespec){0, S};
	printf("bad time %s", result(syscall(SYS_timer_settime, first, 0, &value, NULL)));
	printf(" none %s", result(syscall(SYS_timer_settime, first, 0, NULL, NULL)));
	printf(" number %s\n", result(syscall(SYS_timer_gettime, 1000, &old)));
	printf("delete %s", result(syscall(SYS_timer_delete, first)));
	printf(" again %s\n", result(syscall(SYS_timer_delete, first)));
	event.sigev_signo = SIGRTMIN + 1;
	syscall(SYS_timer_create, CLOCK_PROCESS_CPUTIME_ID, &event, &first);
	/* More than a processor is likely to be taken away for, which a machine in a machine counts as used. */
	value.it_value = ns(150 * MS);
	syscall(SYS_timer_settime, first, 0, &value, NULL);
	some = ns(160 * MS);
	printf("CPU time, asleep: %s", result(sigtimedwait(&set, &info, &some)));
	spin(160 * MS);
	some = ns(0);
	printf(", awake: %d\n", sigtimedwait(&set, &info, &some) == SIGRTMIN + 1);
	if (fork() == 0)
		_exit(syscall(SYS_timer_gettime, first, &old) == -1 && errno == EINVAL ? 3 : 4);
	int status;
	wait(&status);
	printf("a child has none: %d\n", WEXITSTATUS(status));
	event.sigev_notify = SIGEV_NONE;
	syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &second);
	value.it_value = ns(100 * S);
	syscall(SYS_timer_settime, second, 0, &value, NULL);
	syscall(SYS_timer_gettime, second, &old);
	printf("one that only counts: %d\n", old.it_value.tv_sec >= 90 && old.it_value.tv_sec < 101);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void waiting(void)
{
	sigset_t set, old;
	siginfo_t info;
	struct timespec some = ns(0), bad = {0, S};

	puts("waiting");
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, &old);
	printf("nothing: %s", result(sigtimedwait(&set, &info, &some)));
	some = ns(5 * MS);
	begin();
	printf(" %s", result(sigtimedwait(&set, &info, &some)));
	printf(" in time: %s", at_least(5 * MS));
	printf(" bad: %s\n", result(sigtimedwait(&set, &info, &bad)));
	kill(getpid(), SIGUSR1);
	printf("sent: %d", sigtimedwait(&set, &info, &some) == SIGUSR1);
	printf(" by ourselves: %d\n", info.si_pid == getpid() && info.si_code == SI_USER);
	pid_t child = fork();
	if (child == 0) {
		struct timespec some = ns(10 * MS);
		nanosleep(&some, NULL);
		kill(getppid(), SIGUSR1);
		pause();
	}
	printf("from a child: %d", sigwaitinfo(&set, &info) == SIGUSR1);
	printf(" %d\n", info.si_pid == child);
	kill(child, SIGTERM);
	printf("its end: %d", sigwaitinfo(&set, &info) == SIGCHLD);
	printf(" %d %d\n", info.si_pid == child, info.si_status);
	waitpid(child, NULL, 0);
	/* A signal that is not waited for. */
	on(SIGALRM);
	/* Again and again, in case the first comes before the call begins. */
	struct itimerval soon = {{0, 100000}, {0, 10000}}, never = {{0, 0}, {0, 0}};
	setitimer(ITIMER_REAL, &soon, NULL);
	printf("another: %s", result(sigwaitinfo(&set, &info)));
	setitimer(ITIMER_REAL, &never, NULL);
	printf(" caught %d\n", caught > 0);
	kill(getpid(), SIGUSR1);
	sigpending(&old);
	printf("afterwards they stay pending: %d\n", sigismember(&old, SIGUSR1));
	sigwaitinfo(&set, &info);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void usage(void)
{
	struct rusage own, children;
	struct tms tms;
	int status;

	puts("usage");
	static char *pages;
	getrusage(RUSAGE_SELF, &own);
	long faults = own.ru_minflt;
	pages = malloc(64 * 4096);
	for (int i = 0; i < 64; i++)
		pages[i * 4096] = 1;
	getrusage(RUSAGE_SELF, &own);
	printf("faults: %d, memory: %d\n", own.ru_minflt - faults >= 60, own.ru_maxrss >= 256);
	spin(30 * MS);
	getrusage(RUSAGE_SELF, &own);
	long long used = (own.ru_utime.tv_sec + own.ru_stime.tv_sec) * S + (own.ru_utime.tv_usec + own.ru_stime.tv_usec) * 1000;
	printf("CPU time: %d, not more than the clock's: %d\n", used >= 30 * MS, used <= now(CLOCK_PROCESS_CPUTIME_ID) + 10 * MS);
	getrusage(RUSAGE_CHILDREN, &children);
	long long before = children.ru_utime.tv_sec * S + children.ru_utime.tv_usec * 1000 + children.ru_stime.tv_sec * S +
			   children.ru_stime.tv_usec * 1000;
	pid_t child = fork();
	if (child == 0) {
		spin(30 * MS);
		_exit(0);
	}
	wait4(child, &status, 0, &own);
	used = (own.ru_utime.tv_sec + own.ru_stime.tv_sec) * S + (own.ru_utime.tv_usec + own.ru_stime.tv_usec) * 1000;
	getrusage(RUSAGE_CHILDREN, &children);
	long long after = children.ru_utime.tv_sec * S + children.ru_utime.tv_usec * 1000 + children.ru_stime.tv_sec * S +
			  children.ru_stime.tv_usec * 1000;
	printf("a child's: %d, and among all: %d\n", used >= 29 * MS, after - before >= 29 * MS);
	printf("bad: %s\n", result(getrusage(5, &own)));
	clock_t ticks = times(&tms);
	printf("times: %d %d\n", ticks > 0, tms.tms_utime + tms.tms_stime >= 1);
	/* As above: the best of a few. */
	long long cost = S;
	for (int tries = 0; tries < 10 && cost >= 25 * MS; tries++) {
		long long cpu = now(CLOCK_THREAD_CPUTIME_ID);
		struct timespec some = ns(30 * MS);
		nanosleep(&some, NULL);
		cost = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
	}
	printf("sleep costs no CPU time: %d\n", cost < 25 * MS);
	struct sysinfo info;
	printf("sysinfo %s", result(sysinfo(&info)));
	printf(" %d %d\n", info.totalram >= info.freeram && info.mem_unit == 1, info.procs > 0 && info.uptime >= 0);
	/* RLIMIT_CPU */
	child = fork();
	if (child == 0) {
		struct rlimit limit = {1, 2};

		setrlimit(RLIMIT_CPU, &limit);
		on(SIGXCPU);
		while (!caught)
			;
		/* The limit is held against ticks that were counted, each as a whole: a busy Linux is early. */
		_exit(now(CLOCK_PROCESS_CPUTIME_ID) >= S / 2 ? 5 : 6);
	}
	waitpid(child, &status, 0);
	printf("limited to a second: %d\n", WEXITSTATUS(status));
}

static void scheduling(void)
{
	struct sched_param param = {0};
	struct timespec slice;
	cpu_set_t set;

	puts("scheduling");
	printf("policy %s", result(sched_getscheduler(0)));
	printf(" of nobody %s", result(sched_getscheduler(1000000)));
	printf(" bad %s", result(sched_getscheduler(-1)));
	printf(" param %s\n", result(sched_getparam(0, &param)));
	for (int policy = 0; policy < 8; policy++) {
		printf("%d: %s", policy, result(sched_get_priority_min(policy)));
		printf(" %s\n", result(sched_get_priority_max(policy)));
	}
	param.sched_priority = 5;
	printf("set %s", result(sched_setscheduler(0, SCHED_OTHER, &param)));
	param.sched_priority = 0;
	printf(" %s", result(sched_setscheduler(0, SCHED_FIFO, &param)));
	printf(" %s", result(sched_setscheduler(0, 9, &param)));
	printf(" %s", result(sched_setscheduler(0, SCHED_BATCH, &param)));
	printf(" %s\n", result(sched_getscheduler(0)));
	sched_setscheduler(0, SCHED_OTHER, &param);
	printf("slice %s\n", result(sched_rr_get_interval(0, &slice)));
	CPU_ZERO(&set);
	printf("no processor %s", result(sched_setaffinity(0, sizeof(set), &set)));
	CPU_SET(0, &set);
	printf(" the first %s", result(sched_setaffinity(0, sizeof(set), &set)));
	printf(" short %s", result(syscall(SYS_sched_getaffinity, 0, 4, &set)));
	CPU_ZERO(&set);
	sched_getaffinity(0, sizeof(set), &set);
	printf(" set %d\n", CPU_COUNT(&set));
	unsigned cpu = 9, node = 9;
	printf("getcpu %s", result(syscall(SYS_getcpu, &cpu, &node, NULL)));
	printf(" %u\n", cpu);
	printf("nice %ld", syscall(SYS_getpriority, PRIO_PROCESS, 0));
	printf(" bad %s", result(syscall(SYS_getpriority, 3, 0)));
	printf(" nobody %s", result(syscall(SYS_getpriority, PRIO_PROCESS, 1000000)));
	printf(" set %s", result(setpriority(PRIO_PROCESS, 0, 5)));
	printf(" is %ld", syscall(SYS_getpriority, PRIO_PROCESS, 0));
	if (fork() == 0)
		_exit(syscall(SYS_getpriority, PRIO_PROCESS, 0));
	int status;
	wait(&status);
	printf(" a child's %d", WEXITSTATUS(status));
	setpriority(PRIO_PROCESS, 0, 100);
	printf(" most %ld\n", syscall(SYS_getpriority, PRIO_PROCESS, 0));
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	clocks();
	sleeps();
	intervals();
	made();
	waiting();
	usage();
	scheduling();
	return 0;
}
