/* Programs and scripts that a seed has damaged, executed by hundreds: the header, the program headers, what is loaded, the first line. Whatever comes of
 * it comes of it to them alone, and nothing is left. A refusal that needs no look at memory is the same on every Linux: it is told; of the rest
 * only that it is one of those that can be.
 *
 * Options: --seed S, --count N, --show tells each with what came of it. */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common.h"

#define PROGRAM "mutant"
#define BYTES_MAX 65536

static uint64_t state;

/* Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators" (SplitMix64). */
static uint64_t number(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static uint64_t below(uint64_t end)
{
	return number() % end;
}

#define ONE_OF(...) ((const uint64_t[]){ __VA_ARGS__ }[below(sizeof((const uint64_t[]){ __VA_ARGS__ }) / 8)])

/* A number that a field may be set to: at an edge, or any. */
static uint64_t edge(void)
{
	if (below(4) == 0)
		return number() >> below(64);
	return ONE_OF(0, 1, 7, 55, 56, 57, 63, 64, 65, 0xfff, 0x1000, 0x1001, 0x7fff, 0xffff, 0x10000, 0x400000, 0x401000, 0x7fffffff, 0x80000000, 0xffffffff,
		      0x7fffffffe000, 0x7ffffffff000, 0x800000000000, 0x7fffffffffffffff, 0x8000000000000000, 0xffff800000000000,
		      0xfffffffffffff000, 0xffffffffffffffff);
}

/* A program of 64 bytes of code that ends with status 5, in two segments: code, and data with more memory than file. */
static size_t sound(char *file)
{
	static const unsigned char code[] = {
		0xb8, 60, 0, 0, 0, /* mov $60, %eax */
		0xbf, 5, 0, 0, 0, /* mov $5, %edi */
		0x0f, 0x05, /* syscall */
		0xf4, /* hlt */
	};
	Elf64_Ehdr *header = (void *)file;
	Elf64_Phdr *segments = (void *)(file + sizeof *header);

	memset(file, 0, 3 * 4096);
	memcpy(header->e_ident, ELFMAG "\2\1\1", 7);
	header->e_type = below(4) ? ET_EXEC : ET_DYN;
	header->e_machine = EM_X86_64;
	header->e_version = 1;
	header->e_phoff = sizeof *header;
	header->e_ehsize = sizeof *header;
	header->e_phentsize = sizeof *segments;
	header->e_phnum = 3;
	header->e_entry = 0x400000 + 0x1000;
	segments[0] = (Elf64_Phdr){ PT_LOAD, PF_R | PF_X, 0x1000, 0x401000, 0x401000, sizeof code, sizeof code, 4096 };
	segments[1] = (Elf64_Phdr){ PT_LOAD, PF_R | PF_W, 0x2000, 0x402000, 0x402000, 100, 0x3000, 4096 };
	segments[2] = (Elf64_Phdr){ PT_GNU_STACK, PF_R | PF_W, 0, 0, 0, 0, 0, 16 };
	memcpy(file + 0x1000, code, sizeof code);
	return 3 * 4096;
}

static void put(char *file, size_t at, size_t bytes, uint64_t value)
{
	memcpy(file + at, &value, bytes);
}

/* Damages one place. */
static size_t damage(char *file, size_t bytes)
{
	static const struct { uint8_t at, bytes; } header[] = {
		{ 0, 4 }, { 4, 1 }, { 5, 1 }, { 6, 1 }, { 7, 1 }, { 16, 2 }, { 18, 2 }, { 20, 4 }, { 24, 8 }, { 32, 8 }, { 40, 8 }, { 48, 4 }, { 52, 2 }, { 54, 2 },
		{ 56, 2 }, { 58, 2 }, { 60, 2 }, { 62, 2 },
	}, segment[] = { { 0, 4 }, { 4, 4 }, { 8, 8 }, { 16, 8 }, { 24, 8 }, { 32, 8 }, { 40, 8 }, { 48, 8 } };
	unsigned which;

	switch (below(8)) {
	case 0:
	case 1:
		which = below(sizeof header / sizeof *header);
		put(file, header[which].at, header[which].bytes, edge());
		return bytes;
	case 2:
	case 3:
	case 4:
		/* But for an interpreter, which the guest has none of. */
		which = below(sizeof segment / sizeof *segment);
		put(file, 64 + 56 * below(3) + segment[which].at, segment[which].bytes, which == 0 ? ONE_OF(0, 1, 1, 2, 4, 5, 6, 7, 8) : edge());
		return bytes;
	case 5:
		file[below(bytes + 1)] ^= 1 << below(8);
		return bytes;
	case 6:
		/* Code of chance. */
		for (unsigned i = 0; i < 64; i++)
			file[0x1000 + i] = number();
		return bytes;
	default:
		return ONE_OF(0, 1, 4, 16, 63, 64, 65, 119, 120, 231, 232, 256, 257, 0x1000, 0x100c, 0x2000, 0x2063, 0x2064);
	}
}

/* A script's first line. */
static size_t script(char *file)
{
	static const char *const lines[] = {
		"#!", "#!\n", "#! \t\n", "#!/no/such/file\n", "#!mutant\n", "#!/dev/null\n", "#!.\n", "#!/dev/null x y z\n", "#!sound\n", "#! sound with words \n",
		"#!\0sound\n", "#!//sound", "# !sound\n", "#!sound\r\n", "#!sound/\n", "#!script\n",
	};
	size_t bytes = 0;

	switch (below(4)) {
	case 0:
		/* Too long a line, or just not. */
		bytes = ONE_OF(126, 127, 128, 254, 255, 256, 257, 4096);
		memset(file, below(2) ? 'x' : ' ', bytes);
		memcpy(file, "#!", 2);
		if (below(2))
			file[bytes - 1] = '\n';
		break;
	default: {
		const char *line = lines[below(sizeof lines / sizeof *lines)];

		bytes = line[2] == 0 && below(2) ? 9 : strlen(line);
		memcpy(file, line, bytes);
		if (below(3) == 0 && bytes > 2)
			file[2 + below(bytes - 2)] = number();
	}
	}
	return bytes;
}

static void store(const char *name, const char *content, size_t bytes, mode_t mode)
{
	int file = open(name, O_WRONLY | O_CREAT | O_TRUNC, mode);

	must(file >= 0 && write(file, content, bytes) == (ssize_t)bytes && !close(file), name);
}

/* Executes it in a child; its wait status, and its error if that could tell one. */
static int execute(int *error)
{
	static char *const argv[] = { PROGRAM, "argument", NULL }, *const envp[] = { "A=b", NULL };
	struct rlimit core = { 0, 0 }, time = { 2, 2 };
	int ends[2], status;
	pid_t child;

	*error = 0;
	must(!pipe2(ends, O_CLOEXEC), "pipe");
	child = fork();
	must(child >= 0, "fork");
	if (child == 0) {
		setrlimit(RLIMIT_CORE, &core);
		/* Code of chance may go round for ever. */
		setrlimit(RLIMIT_CPU, &time);
		alarm(20);
		execve("./" PROGRAM, argv, envp);
		*error = errno;
		_exit(write(ends[1], error, sizeof *error) == sizeof *error ? 99 : 98);
	}
	close(ends[1]);
	if (read(ends[0], error, sizeof *error) < 0)
		*error = 0;
	close(ends[0]);
	must(waitpid(child, &status, 0) == child, "waitpid");
	return status;
}

/* Whether that can come of a damaged program. */
static int is_sane(int status, int error)
{
	switch (error) {
	case 0:
		/* It ran, or it was killed where there was no way back. */
		return WIFEXITED(status) || WIFSIGNALED(status);
	case ENOEXEC: case ENOMEM: case EINVAL: case EACCES: case ENOENT: case ELOOP: case EIO: case ELIBBAD: case ENOTDIR: case EISDIR: case E2BIG:
	case ENAMETOOLONG: case EPERM: case EFAULT:
		return WIFEXITED(status) && WEXITSTATUS(status) == 99;
	default:
		return 0;
	}
}

int main(int argc, char **argv)
{
	static char file[BYTES_MAX], before[8192], after[8192];
	long count = 300, wrong = 0;
	uint64_t seed = 1;
	int show = 0, scripts, error, status;

	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--show") == 0)
			show = 1;
		else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
			seed = strtoull(argv[++i], NULL, 0);
		else if (i + 1 < argc && strcmp(argv[i], "--count") == 0)
			count = strtol(argv[++i], NULL, 0);
	enter_own_tmpfs("size=1M");
	state = 1;
	store("sound", file, sound(file), 0755);
	store("script", "#!script\n", 9, 0755);
	for (long which = 0; which < count; which++) {
		size_t bytes;

		/* The first ones made what is made once. */
		if (which == 20)
			records(before, sizeof before);

		state = seed * 1000003 + which;
		scripts = which % 4 == 3;
		bytes = scripts ? script(file) : sound(file);
		for (uint64_t times = scripts ? 0 : below(4); times > 0; times--)
			bytes = damage(file, bytes);
		unlink(PROGRAM);
		store(PROGRAM, file, bytes, 0755);
		status = execute(&error);
		if (!is_sane(status, error)) {
			printf("%ld: wait status %#x, %s\n", which, status, strerror(error));
			wrong++;
		}
		if (show)
			printf("%ld %s%s: %s\n", which, scripts ? "script " : "", error ? "refused" : "began",
			       error ? strerror(error) : WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : WEXITSTATUS(status) == 5 ? "ran" : "ran otherwise");
	}
	records(after, sizeof after);
	if (count > 20 && strcmp(before, after) != 0) {
		printf("before:\n%safter:\n%s", before, after);
		return 1;
	}
	unlink(PROGRAM);
	printf("%ld damaged programs of seed %lu, %ld did what no Linux lets them\n", count, (unsigned long)seed, wrong);
	return wrong != 0;
}
