/* Gives back frames of handlers in which anything may be. Whatever becomes of it, it is a signal, and the kernel and this program go on. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define ROUNDS 200

static sigjmp_buf recovery;
static char stack[1 << 16] __attribute__((aligned(64)));
static uint64_t state = 0x2545f4914f6cdd1d;

/* Source: Marsaglia, "Xorshift RNGs". */
static uint64_t number(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* An address at which nothing can be executed. */
static uint64_t nowhere(void)
{
	static const uint64_t places[] = {
		0, 8, 0x7ffffffff000, 0x7fffffffffff, 0x800000000000, 1ull << 62, 0xffff800000000000, 0xffff888000000000,
		0xffffffff80000000, 0xffffffff80100000, 0xffffffffbfe17000, 0xffffffffffffffff,
	};
	return places[number() % (sizeof places / sizeof *places)];
}

static void recover(int signal)
{
	(void)signal;
	siglongjmp(recovery, 1);
}

static void spoil(int signal, siginfo_t *info, void *context)
{
	ucontext_t *frame = context;
	uint8_t *fpu = (uint8_t *)frame->uc_mcontext.fpregs;
	uint64_t what = number();

	(void)signal;
	(void)info;
	for (int i = 0; i < NGREG; i++)
		if (what >> i & 1)
			frame->uc_mcontext.gregs[i] = number() % 3 ? (long long)number() : (long long)nowhere();
	/* MXCSR, what is said of the rest, and the header of the rest. */
	for (int i = 0; i < 16; i++)
		if (what >> 32 & 1)
			fpu[number() % 3 ? 24 + number() % 8 : 464 + number() % 112] = number();
	if ((what >> 33 & 7) == 0)
		frame->uc_mcontext.fpregs = (void *)nowhere();
	if ((what >> 36 & 3) == 0)
		frame->uc_stack.ss_flags = number();
	if ((what >> 38 & 3) == 0)
		frame->uc_flags = number();
	/* Where it goes on has to be nowhere, and what it means to have blocked must not be what tells so. */
	frame->uc_mcontext.gregs[REG_RIP] = nowhere();
	memset(&frame->uc_sigmask, 0, 8);
	/* Handlers inherit alignment checks, and would never come back. */
	frame->uc_mcontext.gregs[REG_EFL] &= ~0x40000ll;
}

int main(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP };
	struct sigaction end = { .sa_handler = recover, .sa_flags = SA_ONSTACK | SA_NODEFER };
	struct sigaction begin = { .sa_sigaction = spoil, .sa_flags = SA_SIGINFO | SA_NODEFER };
	volatile int recovered = 0;

	for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
		sigaction(signals[i], &end, NULL);
	sigaction(SIGUSR1, &begin, NULL);
	for (volatile int round = 0; round < ROUNDS; round++) {
		/* The frame may have taken it away. */
		sigaltstack(&(stack_t){ .ss_sp = stack, .ss_size = sizeof stack }, NULL);
		if (sigsetjmp(recovery, 1))
			recovered++;
		else
			raise(SIGUSR1);
	}
	printf("%d of %d frames led nowhere\n", recovered, ROUNDS);
	return 0;
}
