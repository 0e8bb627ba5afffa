/* How late timers are while somebody loops: the worst of many, in microseconds. Sleeps, an interval timer's signal, and a wait that ends. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TIMES 20

static long long now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000ll + now.tv_nsec / 1000;
}

static volatile long long rang;

static void ring(int signal)
{
	(void)signal;
	rang = now_us();
}

int main(void)
{
	long long worst[3] = { 0 }, late, since;
	pid_t looper = fork();

	if (looper == 0)
		for (;;)
			;
	signal(SIGALRM, ring);
	for (int i = 0; i < TIMES; i++) {
		struct timespec sleep = { 0, (i + 1) * 300000 };
		struct itimerval timer = { { 0, 0 }, { 0, (i + 1) * 300 } };

		since = now_us();
		nanosleep(&sleep, NULL);
		late = now_us() - since - (i + 1) * 300;
		worst[0] = late > worst[0] ? late : worst[0];
		since = now_us();
		poll(NULL, 0, i + 1);
		late = now_us() - since - (i + 1) * 1000;
		worst[1] = late > worst[1] ? late : worst[1];
		rang = 0;
		since = now_us();
		setitimer(ITIMER_REAL, &timer, NULL);
		/* This process loops, too. */
		while (rang == 0)
			;
		late = rang - since - (i + 1) * 300;
		worst[2] = late > worst[2] ? late : worst[2];
	}
	kill(looper, SIGKILL);
	waitpid(looper, NULL, 0);
	printf("nanosleep %lld\npoll %lld\nsetitimer %lld\n", worst[0], worst[1], worst[2]);
	return 0;
}
