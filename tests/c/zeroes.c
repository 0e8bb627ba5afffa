/* Mappings of /dev/zero through descriptors of every kind: what they may be, now and later. */
#define _GNU_SOURCE
#include "common.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

static const char *result(int failed)
{
	return failed ? strerrorname_np(errno) : "done";
}

int main(void)
{
	static const struct {
		const char *name;
		int value;
	} opened[] = { { "to read", O_RDONLY }, { "to write", O_WRONLY }, { "for both", O_RDWR } },
	  kinds[] = { { "private", MAP_PRIVATE }, { "shared", MAP_SHARED }, { "validated", MAP_SHARED_VALIDATE } },
	  rights[] = { { "none", PROT_NONE }, { "read", PROT_READ }, { "write", PROT_READ | PROT_WRITE } };

	setvbuf(stdout, NULL, _IONBF, 0);
	for (int o = 0; o < 3; o++)
		for (int k = 0; k < 3; k++)
			for (int r = 0; r < 3; r++) {
				int fd = open("/dev/zero", opened[o].value);
				volatile char *at = mmap(NULL, 8192, rights[r].value, kinds[k].value, fd, 0);
				printf("%s, %s, %s: %s", opened[o].name, kinds[k].name, rights[r].name, result(at == MAP_FAILED));
				close(fd);
				if (at == MAP_FAILED) {
					puts("");
					continue;
				}
				printf(", then to read: %s", result(mprotect((void *)at, 8192, PROT_READ)));
				printf(" %d", at[5000]);
				int written = !mprotect((void *)at, 8192, PROT_READ | PROT_WRITE);
				printf(", to write: %s", result(!written));
				if (written) {
					fflush(stdout);
					if (!fork()) {
						at[5000] = 7;
						_exit(0);
					}
					wait(NULL);
					printf(", a child's store: %s", at[5000] ? "seen" : "its own");
				}
				puts("");
				munmap((void *)at, 8192);
			}
	return 0;
}
