/* Thread groups: who is told of what, who shares what, and what the kernel is told that it must not believe. It prints the same on every Linux. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

static void a_while(void)
{
	struct timespec left = { .tv_nsec = 20000000 };

	while (nanosleep(&left, &left))
		;
}

static long futex(volatile void *word, int op, int value, const void *timeout)
{
	return syscall(SYS_futex, word, op, value, timeout, NULL, 0);
}

static volatile int word, tid, result, code;

static void *waits(void *timeout)
{
	tid = gettid();
	result = futex(&word, FUTEX_WAIT_PRIVATE, 0, timeout);
	code = errno;
	return NULL;
}

static volatile int handled;

static void handler(int signal)
{
	handled = signal;
}

/* A handler runs while a thread waits for a futex. */
static void interrupted(void)
{
	static const struct timespec long_time = { .tv_sec = 100 };
	pthread_t thread;

	for (int restart = 0; restart < 2; restart++)
		for (int timed = 0; timed < 2; timed++) {
			struct sigaction action = { .sa_handler = handler, .sa_flags = restart ? SA_RESTART : 0 };

			sigaction(SIGUSR1, &action, NULL);
			word = handled = tid = 0;
			result = 77;
			pthread_create(&thread, NULL, waits, timed ? (void *)&long_time : NULL);
			until_thread_asleep(&tid);
			pthread_kill(thread, SIGUSR1);
			while (!handled)
				sched_yield();
			printf("restart %d, timed %d: ", restart, timed);
			/* Not changed: one that went on waiting would not be told otherwise. */
			if (restart && !timed) {
				until_thread_asleep(&tid);
				say("woken", futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL));
			}
			pthread_join(thread, NULL);
			printf("%d %s\n", result, result ? strerror(code) : "");
		}
}

/* Stopped and continued, a thread waits on. */
static void stopped(void)
{
	int status, ends[2];
	char byte = 0;

	if (pipe(ends))
		return;
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		pthread_t thread;

		word = tid = 0;
		pthread_create(&thread, NULL, waits, NULL);
		until_thread_asleep(&tid);
		raise(SIGSTOP);
		/* That it goes on is told before it has ended. */
		if (read(ends[0], &byte, 1) != 1)
			exit(1);
		until_thread_asleep(&tid);
		word = 1;
		printf("woken after a stop: %ld\n", futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL));
		pthread_join(thread, NULL);
		printf("its call: %d\n", result);
		exit(0);
	}
	waitpid(child, &status, WUNTRACED);
	printf("stopped: %d\n", WIFSTOPPED(status));
	fflush(stdout);
	kill(child, SIGCONT);
	waitpid(child, &status, WCONTINUED);
	printf("continued: %d\n", WIFCONTINUED(status));
	fflush(stdout);
	if (write(ends[1], &byte, 1) != 1)
		return;
	waitpid(child, &status, 0);
}

static int threads_told(void)
{
	char line[128];
	int threads = -1;
	FILE *file = fopen("/proc/self/status", "r");

	while (fgets(line, sizeof line, file))
		sscanf(line, "Threads: %d", &threads);
	fclose(file);
	return threads;
}

static int threads_listed(void)
{
	DIR *dir = opendir("/proc/self/task");
	int count = 0;

	for (struct dirent *entry; (entry = readdir(dir));)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

static void *changes_everything(void *unused)
{
	mkdir("/tmp/thread-groups", 0755);
	umask(0123);
	chdir("/tmp/thread-groups");
	setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 100, 100 });
	signal(SIGUSR2, SIG_IGN);
	return (void *)(long)open("/dev/null", O_RDONLY);
}

static void shared(void)
{
	char path[64];
	pthread_t threads[3];
	struct rlimit limit;
	void *descriptor;

	printf("threads: %d %d\n", threads_told(), threads_listed());
	word = 0;
	for (int i = 0; i < 3; i++) {
		tid = 0;
		pthread_create(&threads[i], NULL, waits, NULL);
		until_thread_asleep(&tid);
	}
	printf("threads: %d %d\n", threads_told(), threads_listed());
	word = 1;
	say("woken", futex(&word, FUTEX_WAKE_PRIVATE, 10, NULL));
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	pthread_create(&threads[0], NULL, changes_everything, NULL);
	pthread_join(threads[0], &descriptor);
	getrlimit(RLIMIT_NOFILE, &limit);
	printf("umask %o, in %s, %ld descriptors, ignored %d, closed %d\n", umask(022), getcwd(path, sizeof path),
	       (long)limit.rlim_cur, signal(SIGUSR2, SIG_DFL) == SIG_IGN, close((int)(long)descriptor));
	chdir("/");
	rmdir("/tmp/thread-groups");
}

static int stays(void *argument)
{
	return argument ? (int)getppid() : pause();
}

static char stack[65536], other_stack[65536];

/* A brother, a child that shares descriptors until it executes, one that shares handlers. */
static void relatives(void)
{
	int status, own = getpid();

	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		pid_t brother = clone(stays, stack + sizeof stack, CLONE_PARENT | SIGCHLD, &own);

		say("not its child", waitpid(brother, &status, 0));
		fflush(stdout);
		_exit(1);
	}
	waitpid(child, &status, 0);
	printf("a brother: %d\n", waitpid(-1, &status, 0) > 0 && WEXITSTATUS(status) == (own & 0xff));
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	child = vfork();
	if (child == 0) {
		execl("/proc/self/exe", "thread_groups", "again", NULL);
		_exit(127);
	}
	waitpid(child, &status, 0);
	printf("executed: %d, open still %d\n", WEXITSTATUS(status), fcntl(null, F_GETFD));
	child = clone(stays, stack + sizeof stack, CLONE_VM | CLONE_FILES | CLONE_SIGHAND | SIGCHLD, NULL);
	signal(SIGUSR2, SIG_IGN);
	kill(child, SIGUSR2);
	a_while();
	printf("it ignores what is ignored here: %d\n", waitpid(child, &status, WNOHANG));
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	signal(SIGUSR2, SIG_DFL);
	close(null);
}

/* The vfork of one thread does not hold up the others, and ends with its process. */
static void *forks(void *unused)
{
	if (vfork() == 0) {
		nanosleep(&(struct timespec){ .tv_nsec = 60000000 }, NULL);
		_exit(0);
	}
	return unused;
}

static void vforks(void)
{
	pthread_t thread;
	int status;

	pthread_create(&thread, NULL, forks, NULL);
	a_while();
	puts("meanwhile");
	pthread_join(thread, NULL);
	say("its child is one's own", waitpid(-1, &status, 0) > 0);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		if (vfork() == 0) {
			nanosleep(&(struct timespec){ .tv_nsec = 900000000 }, NULL);
			_exit(0);
		}
		_exit(1);
	}
	a_while();
	kill(child, SIGTERM);
	waitpid(child, &status, 0);
	printf("but at once: %d\n", WTERMSIG(status));
}

static int leaves(void *unused)
{
	syscall(SYS_exit, 0);
	return unused != NULL;
}

/* What is told to the kernel is wrong. */
static void wrong(void)
{
	static const unsigned long places[] = { 8, 0x7ffffffff000, 0xffff888000000000, 0xffffffffffffffff, 1 };
	struct { void *next; long offset; void *pending; } list = { &list, 0, NULL };
	void *head;
	size_t bytes;
	int status;

	say("a list of another size", syscall(SYS_set_robust_list, &list, 23));
	say("the list of nobody", syscall(SYS_get_robust_list, 1 << 22, &head, &bytes));
	say("the list to nowhere", syscall(SYS_get_robust_list, 0, 8, &bytes));
	syscall(SYS_set_robust_list, &list, 24);
	say("the list", syscall(SYS_get_robust_list, 0, &head, &bytes));
	printf("it is that: %d, %zu\n", head == &list, bytes);
	for (unsigned i = 0; i < 5; i++)
		for (int way = 0; way < 5; way++) {
			int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD;
			void *place = (void *)places[i];
			pid_t child = fork();

			if (child == 0) {
				if (way == 0)
					syscall(SYS_set_robust_list, place, 24);
				list.next = place;
				if (way == 1)
					syscall(SYS_set_robust_list, &list, 24);
				list.pending = place;
				list.offset = way;
				if (way == 2)
					syscall(SYS_set_tid_address, place);
				if (way == 3)
					clone(leaves, stack + sizeof stack, flags | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID, NULL,
					      place, NULL, place);
				else
					clone(leaves, stack + sizeof stack, flags, NULL);
				if (way == 4)
					clone(leaves, other_stack + sizeof other_stack, flags | CLONE_SETTLS, NULL, NULL, place, NULL);
				sched_yield();
				syscall(SYS_exit, way + 1);
			}
			waitpid(child, &status, 0);
			if (!WIFEXITED(status) && i != 3 && i != 2)
				printf("place %u, way %d: %#x\n", i, way, status);
		}
	puts("all ended");
	say("barriers", syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0) & MEMBARRIER_CMD_PRIVATE_EXPEDITED);
	say("no such barrier", syscall(SYS_membarrier, 1 << 30, 0));
	say("registered", syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0));
	say("a barrier", syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0));
	say("the number", syscall(SYS_set_tid_address, NULL) == getpid());
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return fcntl(3, F_GETFD) == -1 ? 11 : 12;
	/* Nothing but the three streams, whoever started this. */
	for (int i = 3; i < 20; i++)
		close(i);
	interrupted();
	stopped();
	shared();
	relatives();
	vforks();
	wrong();
	return argv[1] != NULL;
}
