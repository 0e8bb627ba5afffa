/*
 * Several processes keep patterns in all vector registers that the processor has, and look after each switch whether they are still there. First
 * they switch by themselves; then each spins until all have come, so that on one processor each is interrupted in the middle of it.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 40
#define SPINNING_ROUNDS 3
#define PROCESSES 3

/* How many times somebody came, for all processes. */
static uint64_t *arrived;

/* Lets others run: with a target, until that many have come; otherwise once. */
#define SWITCH \
	"test %[target], %[target]\n\t jz 2f\n\t lock incq (%[arrived])\n\t" \
	"1: pause\n\t cmp %[target], (%[arrived])\n\t jb 1b\n\t jmp 3f\n\t" \
	"2: syscall\n\t 3:\n\t"
#define SWITCH_INPUTS [arrived] "r"(arrived), [target] "r"(target)

/* Loads 32 bytes into each of five registers, switches, and stores them again. */
__attribute__((target("avx"), noinline)) static void round_avx(const uint8_t (*in)[32], uint8_t (*out)[32], uint64_t target)
{
	__asm__ volatile(
		"vmovdqu (%[in]), %%ymm0\n\t vmovdqu 32(%[in]), %%ymm1\n\t vmovdqu 64(%[in]), %%ymm7\n\t"
		"vmovdqu 96(%[in]), %%ymm8\n\t vmovdqu 128(%[in]), %%ymm15\n\t"
		SWITCH
		"vmovdqu %%ymm0, (%[out])\n\t vmovdqu %%ymm1, 32(%[out])\n\t vmovdqu %%ymm7, 64(%[out])\n\t"
		"vmovdqu %%ymm8, 96(%[out])\n\t vmovdqu %%ymm15, 128(%[out])\n\t vzeroupper"
		:
		: [in] "r"(in), [out] "r"(out), SWITCH_INPUTS, "a"(SYS_sched_yield)
		: "rcx", "r11", "memory", "xmm0", "xmm1", "xmm7", "xmm8", "xmm15");
}

/* The same with 64 bytes, the upper sixteen registers and masks. */
__attribute__((target("avx512f"), noinline)) static void round_avx512(const uint8_t (*in)[64], uint8_t (*out)[64], uint64_t target)
{
	__asm__ volatile(
		"vmovdqu64 (%[in]), %%zmm0\n\t vmovdqu64 64(%[in]), %%zmm15\n\t vmovdqu64 128(%[in]), %%zmm16\n\t"
		"vmovdqu64 192(%[in]), %%zmm31\n\t kmovw 256(%[in]), %%k1\n\t kmovw 258(%[in]), %%k7\n\t"
		SWITCH
		"vmovdqu64 %%zmm0, (%[out])\n\t vmovdqu64 %%zmm15, 64(%[out])\n\t vmovdqu64 %%zmm16, 128(%[out])\n\t"
		"vmovdqu64 %%zmm31, 192(%[out])\n\t kmovw %%k1, 256(%[out])\n\t kmovw %%k7, 258(%[out])\n\t vzeroupper"
		:
		: [in] "r"(in), [out] "r"(out), SWITCH_INPUTS, "a"(SYS_sched_yield)
		: "rcx", "r11", "memory", "xmm0", "xmm15");
}

static void round_sse(const uint8_t (*in)[16], uint8_t (*out)[16], uint64_t target)
{
	__asm__ volatile(
		"movdqu (%[in]), %%xmm0\n\t movdqu 16(%[in]), %%xmm1\n\t movdqu 32(%[in]), %%xmm15\n\t"
		"fninit\n\t fldl 48(%[in])\n\t"
		SWITCH
		"movdqu %%xmm0, (%[out])\n\t movdqu %%xmm1, 16(%[out])\n\t movdqu %%xmm15, 32(%[out])\n\t fstpl 48(%[out])"
		:
		: [in] "r"(in), [out] "r"(out), SWITCH_INPUTS, "a"(SYS_sched_yield)
		: "rcx", "r11", "memory", "xmm0", "xmm1", "xmm15", "st");
}

/* With `meeting`, all processes do the same number of rounds, and meet in each of them. */
static int differences(int seed, int rounds, int meeting)
{
	static uint8_t in[512], out[512];
	int wrong = 0;
	uint64_t target = 0, step = meeting ? PROCESSES : 0;

	for (int round = 0; round < rounds; round++) {
		for (int i = 0; i < 512; i++)
			in[i] = (seed * 37 + i * 11 + round) & 0x3f;
		round_sse((void *)in, (void *)out, target += step);
		wrong += memcmp(in, out, 56) != 0;
		if (__builtin_cpu_supports("avx")) {
			round_avx((void *)in, (void *)out, target += step);
			wrong += memcmp(in, out, 160) != 0;
		}
		if (__builtin_cpu_supports("avx512f")) {
			round_avx512((void *)in, (void *)out, target += step);
			wrong += memcmp(in, out, 260) != 0;
		}
	}
	return wrong;
}

int main(void)
{
	pid_t children[PROCESSES];
	int status;

	arrived = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < PROCESSES; i++) {
		children[i] = fork();
		if (children[i] == 0)
			_exit(differences(i + 1, ROUNDS, 0) != 0 || differences(i + 1, SPINNING_ROUNDS, 1) != 0);
	}
	for (int i = 0; i < PROCESSES; i++) {
		waitpid(children[i], &status, 0);
		printf("process %d: %s\n", i, status == 0 ? "everything as it was" : "registers of others");
	}
	return 0;
}
