/* What an ordinary C program does with threads. It prints the same on every Linux. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/resource.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

#define THREADS 8

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_key_t key;
static __thread int own = 7;
static int turn, sum, destroyed, serial;

static void *aligned_shared(size_t bytes)
{
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static long futex(volatile void *word, int op, int value, const void *timeout, volatile void *other, int third)
{
	return syscall(SYS_futex, word, op, value, timeout, other, third);
}

/* Long enough for the others to have come to where they wait. */
static void a_while(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
}

/* Which threads end their life with what the key holds. */
static void destroy(void *value)
{
	pthread_mutex_lock(&lock);
	destroyed += *(int *)value;
	pthread_mutex_unlock(&lock);
}

static void *in_turn(void *argument)
{
	int number = (int)(long)argument;

	own += number;
	pthread_setspecific(key, &own);
	pthread_mutex_lock(&lock);
	while (turn != number)
		pthread_cond_wait(&changed, &lock);
	printf("thread %d, its own variable %d, a process of its own %d\n", number, own, gettid() == getpid());
	turn++;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	for (int i = 0; i < 1000; i++) {
		pthread_mutex_lock(&lock);
		sum++;
		if (i % 100 == 0)
			sched_yield();
		pthread_mutex_unlock(&lock);
	}
	if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
		__atomic_add_fetch(&serial, 1, __ATOMIC_SEQ_CST);
	return (void *)(long)(number * number);
}

static void together(void)
{
	pthread_t threads[THREADS];
	long results = 0;

	pthread_barrier_init(&barrier, NULL, THREADS);
	pthread_key_create(&key, destroy);
	for (long i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, in_turn, (void *)i);
	for (int i = 0; i < THREADS; i++) {
		void *result;

		pthread_join(threads[i], &result);
		results += (long)result;
	}
	printf("sum %d, results %ld, destroyed %d, last at the barrier %d, own %d\n", sum, results, destroyed, serial, own);
}

static void timed(void)
{
	struct timespec end, before, after;
	unsigned word = 1;

	pthread_mutex_lock(&lock);
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_nsec += 10000000;
	if (end.tv_nsec >= 1000000000)
		end.tv_sec++, end.tv_nsec -= 1000000000;
	printf("nobody signals: %s\n", strerror(pthread_cond_timedwait(&changed, &lock, &end)));
	pthread_mutex_unlock(&lock);
	clock_gettime(CLOCK_MONOTONIC, &before);
	say("a time that passes", futex(&word, FUTEX_WAIT_PRIVATE, 1, &(struct timespec){ .tv_nsec = 10000000 }, NULL, 0));
	clock_gettime(CLOCK_MONOTONIC, &after);
	long passed = (after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec;
	printf("it passed: %d\n", passed >= 10000000);
	say("a time that passed", futex(&word, FUTEX_WAIT_BITSET, 1, &before, NULL, -1));
	say("of the real clock", futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 1, &end, NULL, -1));
}

/* Errors, in the order in which Linux looks. */
static void errors(void)
{
	unsigned words[4] = { 5, 5 };

	say("another value", futex(words, FUTEX_WAIT, 4, NULL, NULL, 0));
	say("no word", futex((char *)words + 1, FUTEX_WAIT, 5, NULL, NULL, 0));
	say("nowhere", futex((void *)8, FUTEX_WAIT, 5, NULL, NULL, 0));
	say("wake nowhere, private", futex((void *)8, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
	say("wake nowhere, shared", futex((void *)8, FUTEX_WAKE, 1, NULL, NULL, 0));
	say("wake in the kernel", futex((void *)0xffff800000000000, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
	say("wait without bits", futex(words, FUTEX_WAIT_BITSET, 5, NULL, NULL, 0));
	say("wake without bits", futex(words, FUTEX_WAKE_BITSET, 5, NULL, NULL, 0));
	say("no time", futex(words, FUTEX_WAIT, 5, &(struct timespec){ .tv_nsec = 1000000000 }, NULL, 0));
	say("a time from nowhere", futex(words, FUTEX_WAIT, 5, (void *)8, NULL, 0));
	say("requeue, another value", futex(words, FUTEX_CMP_REQUEUE, 1, (void *)1, words + 1, 4));
	say("requeue less than none", futex(words, FUTEX_CMP_REQUEUE, -1, (void *)1, words + 1, 5));
	say("no operation", futex(words, 99, 1, NULL, NULL, 0));
	say("the real clock for a wake", futex(words, FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 1, NULL, NULL, 0));
	say("add and compare", futex(words, FUTEX_WAKE_OP, 1, (void *)1, words + 1, FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 5)));
	printf("the second word: %u\n", words[1]);
	say("no such comparison", futex(words, FUTEX_WAKE_OP, 1, (void *)1, words + 1, FUTEX_OP(FUTEX_OP_SET, 1, 9, 5)));
	printf("the second word: %u\n", words[1]);
}

static volatile unsigned first, second;
static volatile int waiting;
static int woken;

static void *waits(void *bits)
{
	waiting = gettid();
	futex(&first, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, (int)(long)bits);
	__atomic_add_fetch(&woken, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void queues(void)
{
	pthread_t threads[6];

	for (long i = 0; i < 6; i++) {
		waiting = 0;
		pthread_create(&threads[i], NULL, waits, (void *)(i % 2 + 1));
		until_thread_asleep(&waiting);
	}
	say("of a shared word", futex(&first, FUTEX_WAKE, INT_MAX, NULL, NULL, 0));
	say("with the second bit", futex(&first, FUTEX_WAKE_BITSET_PRIVATE, 1, NULL, NULL, 2));
	say("wake one and move two", futex(&first, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)2, &second, 0));
	say("wake the first word", futex(&first, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0));
	say("wake the second word", futex(&second, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0));
	for (int i = 0; i < 6; i++)
		pthread_join(threads[i], NULL);
	printf("woken: %d\n", woken);
}

static void semaphores(void)
{
	sem_t *pair = aligned_shared(2 * sizeof *pair), *named;
	int status;

	sem_init(&pair[0], 1, 0);
	sem_init(&pair[1], 1, 0);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		for (int i = 0; i < 3; i++) {
			sem_wait(&pair[0]);
			sem_post(&pair[1]);
		}
		_exit(0);
	}
	for (int i = 0; i < 3; i++) {
		sem_post(&pair[0]);
		sem_wait(&pair[1]);
	}
	waitpid(child, &status, 0);
	printf("to and fro: %d\n", status);
	named = sem_open("/faultlab-threads", O_CREAT | O_EXCL, 0600, 0);
	if (named == SEM_FAILED) {
		perror("sem_open");
		return;
	}
	child = fork();
	if (child == 0) {
		sem_t *other = sem_open("/faultlab-threads", 0);

		until_asleep(getppid());
		_exit(sem_post(other));
	}
	printf("by its name: %d\n", sem_wait(named));
	sem_unlink("/faultlab-threads");
	waitpid(child, &status, 0);
	say("try once more", sem_trywait(named));
	sem_close(named);
}

static void robust(void)
{
	pthread_mutex_t *mutex = aligned_shared(sizeof *mutex);
	pthread_mutexattr_t attributes;
	int status, result;

	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(mutex, &attributes);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		pthread_mutex_lock(mutex);
		raise(SIGKILL);
	}
	waitpid(child, &status, 0);
	result = pthread_mutex_lock(mutex);
	printf("after its owner's end: %s\n", strerror(result));
	pthread_mutex_consistent(mutex);
	pthread_mutex_unlock(mutex);
	child = fork();
	if (child == 0) {
		pthread_mutex_lock(mutex);
		until_asleep(getppid());
		_exit(0);
	}
	while (pthread_mutex_trylock(mutex) == 0) {
		pthread_mutex_unlock(mutex);
		sched_yield();
	}
	result = pthread_mutex_lock(mutex);
	printf("while it ends: %s\n", strerror(result));
	pthread_mutex_unlock(mutex);
	printf("not made good: %s\n", strerror(pthread_mutex_lock(mutex)));
	waitpid(child, &status, 0);
}

static void cleaned(void *what)
{
	printf("cleaned up: %s\n", (char *)what);
}

static void *cancelled(void *unused)
{
	pthread_cleanup_push(cleaned, "a thread in pause");
	for (;;)
		pause();
	pthread_cleanup_pop(0);
	return unused;
}

static void *cancelled_in_cond_wait(void *unused)
{
	pthread_mutex_lock(&lock);
	pthread_cleanup_push((void (*)(void *))pthread_mutex_unlock, &lock);
	for (;;)
		pthread_cond_wait(&changed, &lock);
	pthread_cleanup_pop(0);
	return unused;
}

static void cancellation(void)
{
	pthread_t threads[2];
	void *results[2];

	pthread_create(&threads[0], NULL, cancelled, NULL);
	pthread_create(&threads[1], NULL, cancelled_in_cond_wait, NULL);
	a_while();
	for (int i = 0; i < 2; i++) {
		pthread_cancel(threads[i]);
		pthread_join(threads[i], &results[i]);
	}
	printf("cancelled: %d %d\n", results[0] == PTHREAD_CANCELED, results[1] == PTHREAD_CANCELED);
}

static volatile int handled, handler_tid;

static void handler(int signal)
{
	handler_tid = gettid();
	handled += signal;
}

static volatile unsigned stop;

static void *takes_signals(void *tid)
{
	sigset_t set;

	sigemptyset(&set);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	*(volatile int *)tid = gettid();
	while (!stop)
		futex(&stop, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
	return NULL;
}

static void signals(void)
{
	struct sigaction action = { .sa_handler = handler };
	volatile int tid = 0;
	pthread_t thread;
	sigset_t set;

	sigaction(SIGUSR1, &action, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_create(&thread, NULL, takes_signals, (void *)&tid);
	until_thread_asleep(&tid);
	kill(getpid(), SIGUSR1);
	while (!handled)
		sched_yield();
	printf("taken by who does not block it: %d, %d\n", handled == SIGUSR1, handler_tid == tid);
	syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1);
	sigpending(&set);
	printf("for one thread only: %d %d\n", handled == SIGUSR1, sigismember(&set, SIGUSR1));
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	printf("taken: %d, %d\n", handled == 2 * SIGUSR1, handler_tid == gettid());
	say("of another group", syscall(SYS_tgkill, 1, tid, 0));
	say("no thread", syscall(SYS_tgkill, getpid(), 1 << 22, 0));
	stop = 1;
	futex(&stop, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	pthread_join(thread, NULL);
}

static void *for_ever(void *unused)
{
	for (;;)
		pause();
	return unused;
}

static void *spins(void *unused)
{
	for (;;)
		sched_yield();
	return unused;
}

static void *executes(void *unused)
{
	execl("/proc/self/exe", "threads", "again", NULL);
	return unused;
}

static void *ends_all(void *unused)
{
	exit(6);
	return unused;
}

static void *faults(void *unused)
{
	volatile int *volatile nowhere = (volatile int *)8;

	a_while();
	*nowhere = 1;
	return unused;
}

static void *ends_late(void *unused)
{
	a_while();
	syscall(SYS_exit, 9);
	return unused;
}

/* How a process of several threads ends. */
static void ends(void)
{
	void *(*bodies[6])(void *) = { ends_all, faults, executes, ends_late };
	int status;

	for (int i = 0; i < 6; i++) {
		fflush(stdout);
		pid_t child = fork();
		if (child == 0) {
			pthread_t thread;

			signal(SIGSEGV, SIG_DFL);
			if (i != 3) {
				pthread_create(&thread, NULL, for_ever, NULL);
				pthread_create(&thread, NULL, spins, NULL);
			}
			a_while();
			if (i == 4)
				_exit(4);
			if (i == 5)
				raise(SIGKILL);
			pthread_create(&thread, NULL, bodies[i], NULL);
			if (i == 3)
				syscall(SYS_exit, 3);
			for (;;)
				pause();
		}
		waitpid(child, &status, 0);
		printf("end %d: status %#x\n", i, status & 0xff7f);
	}
}

static int returns(void *argument)
{
	return *(int *)argument;
}

static void clones(void)
{
	static char stack[65536];
	int value = 5, status;

	say("a thread without handlers", syscall(SYS_clone, CLONE_THREAD | CLONE_VM, 0, 0, 0, 0));
	say("handlers without memory", syscall(SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0));
	say("too short", syscall(SYS_clone3, &value, 8));
	say("from nowhere", syscall(SYS_clone3, (void *)8, 64));
	say("too long", syscall(SYS_clone3, &value, 1 << 20));
	pid_t child = clone(returns, stack + sizeof stack, CLONE_VM | SIGCHLD, &value);
	waitpid(child, &status, 0);
	printf("with the same memory: %d\n", WEXITSTATUS(status));
	child = clone(returns, stack + sizeof stack, CLONE_VM, &value);
	say("not told by a signal", waitpid(child, &status, WNOHANG));
	printf("but waited for: %d\n", waitpid(child, &status, __WCLONE) == child);
	value = 1;
	child = vfork();
	if (child == 0) {
		value = 2;
		_exit(value);
	}
	printf("after the child: %d\n", value);
	waitpid(child, &status, 0);
}

/* What is the process's holds for all its threads: limits, the group, the session. */
static void *asks(void *ends)
{
	struct pollfd readable = { .fd = *(int *)ends, .events = POLLIN };
	struct rlimit limit;

	say("poll in another thread", poll(&readable, 1, -1));
	say("dup2 beyond the limit", getrlimit(RLIMIT_NOFILE, &limit) ? -1 : dup2(0, limit.rlim_cur));
	printf("group %d, session %d\n", getpgrp() == getpgid(getpid()), getsid(0) == getsid(getpid()));
	return NULL;
}

static void of_the_process(void)
{
	int ends[2];
	pthread_t thread;

	if (pipe(ends) || write(ends[1], "x", 1) != 1)
		return;
	pthread_create(&thread, NULL, asks, ends);
	pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		printf("%s: a process of its own %d\n", argv[1], gettid() == getpid());
		return 8;
	}
	together();
	timed();
	errors();
	queues();
	semaphores();
	robust();
	cancellation();
	signals();
	clones();
	of_the_process();
	ends();
	fflush(stdout);
	pthread_t thread;
	pthread_create(&thread, NULL, for_ever, NULL);
	return 3;
}
