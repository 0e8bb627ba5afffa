/* Two processes, a POSIX shared memory object and a file of the root: what the C library makes of them. It prints the same on every Linux. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

int main(void)
{
	/* Its number makes the name this process's own. */
	char name[32];
	struct stat stat;
	int status;

	snprintf(name, sizeof(name), "/faultlab-%d", getpid());
	int file = shm_open(name, O_CREAT | O_EXCL | O_RDWR, 0600);
	check(file >= 0, "shm_open");
	check(shm_open(name, O_CREAT | O_EXCL | O_RDWR, 0600) < 0 && errno == EEXIST, "shm_open of what is there");
	check(ftruncate(file, 8192) == 0, "ftruncate");
	char *shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	check(shared != MAP_FAILED, "mmap");
	pid_t child = fork();
	check(child >= 0, "fork");
	if (child == 0) {
		int other = shm_open(name, O_RDWR, 0);
		char *view = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);
		check(other >= 0 && view != MAP_FAILED, "the child's view");
		strcpy(view + 4096, "from the child");
		_exit(3);
	}
	check(waitpid(child, &status, 0) == child, "waitpid");
	printf("%s, status %d\n", shared + 4096, WEXITSTATUS(status));
	check(fstat(file, &stat) == 0, "fstat");
	printf("%ld bytes, %ld blocks, mode %o\n", (long)stat.st_size, (long)stat.st_blocks, stat.st_mode);
	check(shm_unlink(name) == 0, "shm_unlink");
	printf("without a name: %s\n", shm_open(name, O_RDWR, 0) < 0 ? strerror(errno) : "there");
	printf("mapped: %s\n", shared + 4096);
	return 0;
}
