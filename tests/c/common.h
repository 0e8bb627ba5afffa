/* What several of these programs do alike: say what a call returned, and wait for others without guessing how long they take. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))

/* What a call returned, or what its error is called. Pending output would be written twice after a fork. */
UNUSED static void say(const char *what, long result)
{
	if (result < 0)
		printf("%s: %s\n", what, strerror(errno));
	else
		printf("%s: %ld\n", what, result);
	fflush(stdout);
}

/* What the program needs before it can compare anything. */
UNUSED static void must(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

/* Makes a call, and says what it was, and what came of it. */
#define CALL(call) \
	do { \
		errno = 0; \
		long result = (call); \
		printf("%-60s %ld %s\n", #call, result, result < 0 ? strerror(errno) : ""); \
	} while (0)

/* A tmpfs on /dev/shm becomes the working directory. Only root may; on Linux it is nobody else's. The guest, all of it the program's, has no
 * namespaces. */
UNUSED static void enter_own_tmpfs(const char *options)
{
	if (!unshare(CLONE_NEWNS))
		must(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "mount of /");
	else
		must(errno == ENOSYS, "unshare");
	must(!mount("x", "/dev/shm", "tmpfs", 0, options), "mount of /dev/shm");
	must(!chdir("/dev/shm"), "chdir");
}

/* Until the clock that files are stamped by has gone on. */
UNUSED static void until_next_tick(void)
{
	struct timespec before, now;

	clock_gettime(CLOCK_REALTIME_COARSE, &before);
	do {
		sched_yield();
		clock_gettime(CLOCK_REALTIME_COARSE, &now);
	} while (now.tv_sec == before.tv_sec && now.tv_nsec == before.tv_nsec);
}

/* Whether a thread sleeps, or is no more, as /proc says at `format` (stat of a process, or of a thread of this one). */
static int sleeps(const char *format, pid_t id)
{
	char path[64], line[256], *state;

	snprintf(path, sizeof path, format, id);
	FILE *file = fopen(path, "r");
	if (file == NULL)
		return errno == ENOENT;
	state = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
	fclose(file);
	return state == NULL || strchr("SZ", state[2]) != NULL;
}

/* Until a process sleeps, as it does in the call that it makes next. */
UNUSED static void until_asleep(pid_t pid)
{
	while (!sleeps("/proc/%d/stat", pid))
		sched_yield();
}

/* The same of a thread of this process, which writes its number to `tid` when it begins. */
UNUSED static void until_thread_asleep(volatile int *tid)
{
	while (*tid == 0 || !sleeps("/proc/self/task/%d/stat", *tid))
		sched_yield();
}

/* Forks; the child goes on once its parent sleeps, in the call that it makes next. */
UNUSED static pid_t once_asleep(void)
{
	fflush(stdout);
	pid_t parent = getpid(), child = fork();

	if (child == 0)
		until_asleep(parent);
	return child;
}

/* The kernel's records, where this is about a guest: nobody else makes any there. */
UNUSED static void records(char *text, size_t room)
{
	FILE *stream = access("/dev/faultlab", F_OK) ? NULL : fopen("/proc/slabinfo", "r");
	char line[512], name[64], count[64];

	*text = 0;
	while (stream != NULL && fgets(line, sizeof line, stream) != NULL)
		if (*line != '#' && sscanf(line, "%63s %63s", name, count) == 2 && strlen(text) + 130 < room)
			sprintf(text + strlen(text), "%s %s\n", name, count);
	if (stream != NULL)
		fclose(stream);
}
