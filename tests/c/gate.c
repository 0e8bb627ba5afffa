/*
 * A jump to the guest's gate page (cpu/ring3.rs), where system calls enter on some hosts, with interrupts "off" among the flags that a
 * system call would have kept: the timer has to interrupt what follows all the same. Elsewhere nothing is there to jump to.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
	struct timespec moment = {0, 20000000};
	pid_t child = fork();

	if (child == 0)
		__asm__ volatile("mov $0xffffffffbfe00000, %%rdx\n\t"
				 "lea 1f(%%rip), %%rcx\n\t"
				 "mov $2, %%r11d\n\t"
				 "mov $39, %%eax\n\t" /* getpid */
				 "jmp *%%rdx\n"
				 "1:	jmp 1b"
				 : : : "rax", "rcx", "rdx", "r11", "memory");
	nanosleep(&moment, NULL);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	puts("others run");
	return 0;
}
