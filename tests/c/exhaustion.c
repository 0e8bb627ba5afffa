/* Each thing that there is so much of and no more is driven to its end: the error there is Linux's, everything can be given back, and afterwards as
 * much is there as before. Each part is a child's, with limits of its own, so that on Linux nobody else is in the way. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include "common.h"

#define DESCRIPTORS 24

static void limit(int resource, rlim_t value)
{
	struct rlimit limit = { value, value };

	must(!setrlimit(resource, &limit), "setrlimit");
}

/* Runs a part in a child. */
static void part(const char *name, void (*body)(void))
{
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	must(child >= 0, "fork");
	if (child == 0) {
		body();
		fflush(stdout);
		_exit(0);
	}
	must(waitpid(child, &status, 0) == child, "waitpid");
	printf("%s: %s\n", name, status == 0 ? "all given back" : "FAILED");
}

/* Makes as many as go with `make`, and says how many more than were there, and why no more; then closes them. */
static void descriptors_of(const char *name, int (*make)(void))
{
	int first = dup(0), last = first, made = 0;

	close(first);
	while ((last = make()) >= 0)
		made++;
	printf("%s: %d, then %s\n", name, made, strerror(errno));
	for (int number = first; number < DESCRIPTORS; number++)
		close(number);
	last = make();
	printf("%s: again %s\n", name, last >= 0 ? "one" : strerror(errno));
	close_range(first, ~0u, 0);
}

static int an_eventfd(void)
{
	return eventfd(0, 0);
}

static int a_timerfd(void)
{
	return timerfd_create(CLOCK_MONOTONIC, 0);
}

static int an_epoll(void)
{
	return epoll_create1(0);
}

static int a_userfaultfd(void)
{
	return syscall(SYS_userfaultfd, 0);
}

static int a_memfd(void)
{
	return memfd_create("m", 0);
}

static int a_pipe(void)
{
	int ends[2];

	return pipe(ends) ? -1 : ends[1];
}

static int a_file(void)
{
	return open("file", O_RDWR | O_CREAT, 0600);
}

static int a_dup(void)
{
	return dup(0);
}

static int a_pidfd(void)
{
	return syscall(SYS_pidfd_open, getpid(), 0);
}

static void descriptors(void)
{
	limit(RLIMIT_NOFILE, DESCRIPTORS);
	close_range(3, ~0u, 0);
	descriptors_of("dup", a_dup);
	descriptors_of("open", a_file);
	descriptors_of("pipe", a_pipe);
	descriptors_of("eventfd", an_eventfd);
	descriptors_of("timerfd", a_timerfd);
	descriptors_of("epoll", an_epoll);
	descriptors_of("userfaultfd", a_userfaultfd);
	descriptors_of("memfd", a_memfd);
	descriptors_of("pidfd", a_pidfd);
	CALL(fcntl(0, F_DUPFD, DESCRIPTORS));
	CALL(dup2(0, DESCRIPTORS));
	CALL(dup2(0, DESCRIPTORS - 1));
}

/* Processes of a user that nobody else is. */
static void processes(void)
{
	pid_t children[20];
	int made = 0, status;

	limit(RLIMIT_NPROC, 8);
	must(!setresgid(54321, 54321, 54321) && !setresuid(54321, 54321, 54321), "setresuid");
	while (made < 20 && (children[made] = fork()) >= 0) {
		if (children[made] == 0) {
			pause();
			_exit(0);
		}
		made++;
	}
	printf("fork: %d, then %s\n", made, strerror(errno));
	for (int which = 0; which < made; which++) {
		kill(children[which], SIGKILL);
		waitpid(children[which], &status, 0);
	}
	children[0] = fork();
	if (children[0] == 0)
		_exit(0);
	printf("fork: again %s\n", children[0] > 0 ? "one" : strerror(errno));
	waitpid(children[0], &status, 0);
}

static void say_limit(const char *what, int made)
{
	int error = errno;

	printf("%s: %d, then %s\n", what, made, strerror(error));
	fflush(stdout);
}

/* Inodes and blocks of a mount. */
static void files(void)
{
	char name[32];
	static char block[4096];
	int made = 0, file;

	must(!mkdir("m", 0755) && !mount("m", "m", "tmpfs", 0, "nr_inodes=20,size=64k") && !chdir("m"), "mount");
	for (;; made++) {
		snprintf(name, sizeof name, "f%d", made);
		file = open(name, O_CREAT | O_EXCL | O_RDWR, 0600);
		if (file < 0)
			break;
		close(file);
	}
	say_limit("files", made);
	say("mkdir", mkdir("d", 0755));
	say("symlink", symlink("f0", "l"));
	say("mkfifo", mkfifo("p", 0600));
	say("link", link("f0", "again"));
	say("open O_TMPFILE", open(".", O_TMPFILE | O_RDWR, 0600));
	for (int which = 0; which < made; which++) {
		snprintf(name, sizeof name, "f%d", which);
		must(!unlink(name), name);
	}
	unlink("again");
	say("mkdir", mkdir("d", 0755));
	file = open("big", O_CREAT | O_RDWR, 0600);
	for (made = 0; write(file, block, sizeof block) == sizeof block; made++)
		;
	say_limit("blocks", made);
	say("fallocate", fallocate(file, 0, 0, 1 << 20));
	say("ftruncate", ftruncate(file, 0));
	say("fallocate", fallocate(file, 0, 0, 65536));
	say("fallocate", fallocate(file, 0, 65536, 1));
	close(file);
	say("unlink", unlink("big"));
	say("rmdir", rmdir("d"));
	must(!chdir("..") && !umount("m") && !rmdir("m"), "umount");
}

/* Mappings of a process, and its address space. */
static void mappings(void)
{
	char *region;
	long pages = 0;
	FILE *knob = fopen("/proc/sys/vm/max_map_count", "r");
	int most;

	must(knob && fscanf(knob, "%d", &most) == 1, "max_map_count");
	fclose(knob);
	/* Every other page has other rights, so none become one. */
	region = mmap(NULL, (most + 10l) * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	must(region != MAP_FAILED, "mmap");
	if (most > 2000) {
		/* So many take too long where every instruction is interpreted. */
		printf("mappings: more than 2000 may be\n");
	} else {
		while (!mprotect(region + pages * 4096, 4096, pages % 2 ? PROT_NONE : PROT_READ))
			pages++;
		printf("mappings: %s\n", strerror(errno));
		say("mmap", (long)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) < 0 ? -1 : 0);
		say("munmap of a middle", munmap(region + 4096 * 8, 4096) ? -1 : 0);
	}
	must(!munmap(region, (most + 10l) * 4096), "munmap");
	limit(RLIMIT_AS, 64 << 20);
	for (pages = 0; mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED; pages++)
		;
	printf("address space: %s\n", strerror(errno));
	say("brk", (long)sbrk(1 << 20) == -1 ? -1 : 0);
}

static void locked(void)
{
	char *region = mmap(NULL, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	limit(RLIMIT_MEMLOCK, 8 * 4096);
	must(!setresuid(54321, 54321, 54321), "setresuid");
	say("mlock of 8", mlock(region, 8 * 4096));
	say("mlock of one more", mlock(region + 8 * 4096, 4096));
	say("mlockall", mlockall(MCL_CURRENT));
	say("munlock", munlock(region, 4096));
	say("mlock of one more", mlock(region + 8 * 4096, 4096));
}

/* How much a pipe takes, and how little it may. */
static void pipes(void)
{
	static char buffer[1 << 16];
	int ends[2];
	long bytes = 0, wrote;

	must(!pipe2(ends, O_NONBLOCK), "pipe2");
	while ((wrote = write(ends[1], buffer, sizeof buffer)) > 0)
		bytes += wrote;
	printf("pipe: %ld bytes, then %s\n", bytes, strerror(errno));
	say("smaller than what it holds", fcntl(ends[1], F_SETPIPE_SZ, 4096));
	must(!setresuid(54321, 54321, 54321), "setresuid");
	say("larger than anybody may", fcntl(ends[1], F_SETPIPE_SZ, 2 << 20));
	say("as large as there is", fcntl(ends[1], F_SETPIPE_SZ, 1 << 18));
	while ((wrote = write(ends[1], buffer, sizeof buffer)) > 0)
		bytes += wrote;
	printf("pipe: %ld bytes, then %s\n", bytes, strerror(errno));
	while ((wrote = read(ends[0], buffer, sizeof buffer)) > 0)
		bytes -= wrote;
	printf("pipe: %ld bytes left, then %s\n", bytes, strerror(errno));
}

/* What watches each other, and what counts. */
static void others(void)
{
	int depth = 0, last = epoll_create1(0), next;
	struct epoll_event event = { EPOLLIN, { 0 } };
	uint64_t most = ~0ull - 1;

	/* A chain of epolls may be so long. */
	while (depth < 10) {
		next = epoll_create1(0);
		if (epoll_ctl(next, EPOLL_CTL_ADD, last, &event))
			break;
		last = next;
		depth++;
	}
	say_limit("epolls that watch each other", depth);
	last = eventfd(0, EFD_NONBLOCK);
	must(write(last, &most, 8) == 8, "eventfd");
	most = 1;
	say("eventfd full", write(last, &most, 8));
}

/* Segments of System V: knobs, where they may be set, which is in a guest. */
static void segments(void)
{
	struct shminfo was;
	struct shm_info info;
	int ids[16], made = 0;
	char text[64];
	FILE *knob;

	must(shmctl(0, IPC_INFO, (void *)&was) >= 0 && shmctl(0, SHM_INFO, (void *)&info) >= 0, "IPC_INFO");
	if ((knob = fopen("/proc/sys/kernel/shmmni", "w")) != NULL) {
		snprintf(text, sizeof text, "%d", info.used_ids + 5);
		must(fputs(text, knob) >= 0 && !fclose(knob), "shmmni");
	}
	while (made < 16 && (ids[made] = shmget(IPC_PRIVATE, 4096, 0600)) >= 0)
		made++;
	say_limit("shmget", made);
	while (made > 0)
		must(!shmctl(ids[--made], IPC_RMID, NULL), "IPC_RMID");
	if ((knob = fopen("/proc/sys/kernel/shmmni", "w")) != NULL)
		must(fprintf(knob, "%lu", was.shmmni) > 0 && !fclose(knob), "shmmni");
	if ((knob = fopen("/proc/sys/kernel/shmall", "w")) != NULL)
		must(fprintf(knob, "%lu", info.shm_tot + 4) > 0 && !fclose(knob), "shmall");
	say("shmget of 5 pages", shmget(IPC_PRIVATE, 5 * 4096, 0600));
	ids[0] = shmget(IPC_PRIVATE, 4 * 4096, 0600);
	say("shmget of 4 pages", ids[0] >= 0 ? 0 : -1);
	say("shmget of one more", shmget(IPC_PRIVATE, 1, 0600));
	must(!shmctl(ids[0], IPC_RMID, NULL), "IPC_RMID");
	if ((knob = fopen("/proc/sys/kernel/shmall", "w")) != NULL)
		must(fprintf(knob, "%lu", was.shmall) > 0 && !fclose(knob), "shmall");
}

int main(void)
{
	static char before[8192], after[8192];

	signal(SIGXFSZ, SIG_IGN);
	enter_own_tmpfs("size=1M");
	/* Segments and their knobs of our own. The guest has no others'. */
	must(!unshare(CLONE_NEWIPC) || errno == ENOSYS, "unshare");
	must(!chmod(".", 0777), "chmod");
	for (int times = 0; times < 2; times++) {
		part("descriptors", descriptors);
		part("processes", processes);
		part("files", files);
		part("mappings", mappings);
		part("locked", locked);
		part("pipes", pipes);
		part("others", others);
		part("segments", segments);
		/* The first time made what is made once. */
		records(times ? after : before, sizeof before);
	}
	if (strcmp(before, after) != 0)
		printf("before:\n%safter:\n%s", before, after);
	return 0;
}
