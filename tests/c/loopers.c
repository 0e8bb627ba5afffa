/* Processes that loop keep nobody waiting: others sleep and wake, are heard, and can end them. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOOPERS 3

static volatile unsigned long *counts;

static void loop(int which)
{
	for (;;)
		counts[which]++;
}

static void wait_ms(long ms)
{
	struct timespec time = {0, ms * 1000000};

	nanosleep(&time, NULL);
}

int main(void)
{
	pid_t children[LOOPERS];
	int status;

	counts = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < LOOPERS; i++) {
		children[i] = fork();
		if (children[i] == 0)
			loop(i);
	}
	/* The parent loops as well, until each of them got somewhere. */
	for (int i = 0; i < LOOPERS; i++)
		while (counts[i] == 0)
			;
	puts("all of them run");
	unsigned long before = counts[0] + counts[1] + counts[2];
	for (int i = 0; i < 3; i++)
		wait_ms(10);
	/* Three sleeps are at least 30 ms for the others, whose turn it is of them. */
	printf("sleeping lets them: %s\n", counts[0] + counts[1] + counts[2] > before ? "yes" : "no");
	kill(children[0], SIGSTOP);
	waitpid(children[0], &status, WUNTRACED);
	before = counts[0];
	wait_ms(10);
	printf("stopped: %d, at rest: %s\n", WIFSTOPPED(status), counts[0] == before ? "yes" : "no");
	for (int i = 0; i < LOOPERS; i++) {
		kill(children[i], i == 0 ? SIGKILL : SIGTERM);
		waitpid(children[i], &status, 0);
		printf("ended by signal %d\n", WTERMSIG(status));
	}
	return 0;
}
