/* Programs whose segments share pages, come in any order, or have nothing in the file: where they overlap, the one that comes last has the page. Each
 * ends with status 5, or by the signal that the wrong rights earn it. */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEGMENTS 3

static const unsigned char code[] = {
	0xb8, 60, 0, 0, 0, /* mov $60, %eax */
	0x8b, 0x3c, 0x25, 0x00, 0x11, 0x40, 0, /* mov 0x401100, %edi */
	0x0f, 0x05, /* syscall */
};

struct variant {
	const char *name;
	Elf64_Phdr segments[SEGMENTS];
};

#define LOAD(rights, offset, address, in_file, in_memory) { PT_LOAD, rights, offset, address, address, in_file, in_memory, 16 }
#define R PF_R
#define W PF_W
#define X PF_X

/* The code is at 0x401000, the number that it ends with at 0x401100; both are in the file's second page. */
static const struct variant variants[] = {
	{ "one segment", { LOAD(R | X, 0x1000, 0x401000, 0x200, 0x200) } },
	{ "code, then data, on one page", { LOAD(R | X, 0x1000, 0x401000, 0x80, 0x80), LOAD(R | W, 0x1100, 0x401100, 4, 4) } },
	{ "data, then code", { LOAD(R | W, 0x1100, 0x401100, 4, 4), LOAD(R | X, 0x1000, 0x401000, 0x80, 0x80) } },
	{ "both executable", { LOAD(R | X, 0x1000, 0x401000, 0x80, 0x80), LOAD(R | W | X, 0x1100, 0x401100, 4, 4) } },
	{ "the same twice", { LOAD(R | X, 0x1000, 0x401000, 0x200, 0x200), LOAD(R | X, 0x1000, 0x401000, 0x200, 0x200) } },
	{ "from above down", { LOAD(R | W, 0x2000, 0x403000, 4, 0x3000), LOAD(R | X, 0x1000, 0x401000, 0x200, 0x200) } },
	{ "zeroes over the code", { LOAD(R | X, 0x1000, 0x401000, 0x200, 0x200), LOAD(R | W, 0, 0x401800, 0, 0x10) } },
	{ "zeroes under the code", { LOAD(R | W, 0, 0x401800, 0, 0x10), LOAD(R | X, 0x1000, 0x401000, 0x200, 0x200) } },
	{ "zeroes elsewhere", { LOAD(R | X, 0x1000, 0x401000, 0x200, 0x200), LOAD(R | W, 0x123, 0x405801, 0, 0x3000) } },
	{ "a tail of zeroes into the code", { LOAD(R | X, 0x1000, 0x401000, 0x200, 0x200), LOAD(R | W, 0x2000, 0x400000, 4, 0x1800) } },
	{ "the code into a tail of zeroes", { LOAD(R | W, 0x2000, 0x400000, 4, 0x1800), LOAD(R | X, 0x1000, 0x401000, 0x200, 0x200) } },
	{ "a tail of zeroes that cannot be written", { LOAD(R, 0x2000, 0x403000, 4, 0x10), LOAD(R | X, 0x1000, 0x401000, 0x200, 0x200) } },
	{ "a tail of zeroes over the number", { LOAD(R | W | X, 0x1000, 0x401000, 0x80, 0x200) } },
};

int main(void)
{
	static char file[3 * 4096];
	char path[] = "/tmp/segmentsXXXXXX";
	int number = 5;

	close(mkstemp(path));
	for (unsigned i = 0; i < sizeof variants / sizeof *variants; i++) {
		Elf64_Ehdr *header = (void *)file;
		int status, output;
		pid_t child;

		memset(file, 0, sizeof file);
		memcpy(header->e_ident, ELFMAG "\2\1\1", 7);
		header->e_type = ET_EXEC;
		header->e_machine = EM_X86_64;
		header->e_version = 1;
		header->e_phoff = sizeof *header;
		header->e_ehsize = sizeof *header;
		header->e_phentsize = sizeof(Elf64_Phdr);
		header->e_phnum = SEGMENTS;
		header->e_entry = 0x401000;
		memcpy(file + sizeof *header, variants[i].segments, sizeof variants[i].segments);
		memcpy(file + 0x1000, code, sizeof code);
		memcpy(file + 0x1100, &number, sizeof number);
		/* A file of its own each time: the last may still be mapped by who is about to be forgotten. */
		unlink(path);
		output = open(path, O_WRONLY | O_CREAT | O_EXCL, 0755);
		if (output < 0 || write(output, file, sizeof file) != sizeof file || fchmod(output, 0755) || close(output)) {
			perror(path);
			return 1;
		}
		fflush(stdout);
		child = fork();
		if (child == 0) {
			execl(path, path, NULL);
			perror("execl");
			_exit(99);
		}
		waitpid(child, &status, 0);
		printf("%s: %s %d\n", variants[i].name, WIFEXITED(status) ? "status" : "signal", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	}
	unlink(path);
	return 0;
}
