/*
 * RLIMIT_FSIZE and its signal (C17); set-id bits that writing takes; O_NOATIME. It works in a tmpfs of its own on /dev/shm: on Linux in a mount namespace
 * of its own, which needs root.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <signal.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/mount.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/wait.h>
static volatile int got;
static void on(int s){got=s;}
#define R(x) do{errno=0;got=0;long r=(x);printf("%-58s %ld %s%s\n",#x,r,r<0?strerrorname_np(errno):"",got?" SIGXFSZ":"");}while(0)
static void size(int fd){struct stat s;fstat(fd,&s);printf("   size %ld blocks %ld pos %ld\n",(long)s.st_size,(long)s.st_blocks,(long)lseek(fd,0,SEEK_CUR));}
static void limit(long n){struct rlimit l={n,RLIM_INFINITY};setrlimit(RLIMIT_FSIZE,&l);printf("limit %ld\n",n);}
static void mode(const char*n){struct stat s;stat(n,&s);printf("   mode %o\n",s.st_mode);}
int main(){
	unshare(CLONE_NEWNS);mount(0,"/",0,MS_REC|MS_PRIVATE,0);mount("x","/dev/shm","tmpfs",0,"size=4m");chdir("/dev/shm");
	signal(SIGXFSZ,on);static char b[20000];memset(b,'x',sizeof b);
	int fd=open("f",O_CREAT|O_RDWR,0666);
	limit(10000);
	R(write(fd,b,8000));
	size(fd);
	R(write(fd,b,8000));
	size(fd);
	R(write(fd,b,1));
	size(fd);
	R(write(fd,b,0));
	R(pwrite(fd,b,100,9990));
	R(pwrite(fd,b,100,10000));
	R(pwrite(fd,b,100,20000));
	R(pwrite(fd,b,0,20000));
	struct iovec v[3]={{b,4000},{b,4000},{b,4000}};lseek(fd,0,0);
	R(writev(fd,v,3));
	R(writev(fd,v,3));
	R(ftruncate(fd,10000));
	R(ftruncate(fd,10001));
	size(fd);
	R(ftruncate(fd,5000));
	R(ftruncate(fd,10001));
	R(truncate("f",10001));
	R(truncate("f",9999));
	R(fallocate(fd,0,0,10000));
	R(fallocate(fd,0,0,10001));
	size(fd);
	R(fallocate(fd,1,0,10001));
	R(fallocate(fd,1,0,20000));
	R(fallocate(fd,3,0,20000));
	R(fallocate(fd,0,20000,1));
	size(fd);
	limit(4096);
	size(fd);
	R(pwrite(fd,b,100,0));
	R(pwrite(fd,b,100,5000));
	R(pwrite(fd,b,100,4090));
	R(ftruncate(fd,9000));
	R(ftruncate(fd,8000));
	R(ftruncate(fd,8001));
	R(fallocate(fd,0,0,8000));
	R(fallocate(fd,0,0,8001));
	int ap=open("f",O_WRONLY|O_APPEND);
	R(write(ap,b,10));
	R(ftruncate(fd,4000));
	R(write(ap,b,1000));
	R(write(ap,b,1));
	size(ap);
	int src=open("s",O_CREAT|O_RDWR,0666);int g=open("g",O_CREAT|O_RDWR,0666);
	R(write(src,b,4096));off_t o=0,o2=0;
	R(sendfile(g,src,&o,4096));o=0;
	R(sendfile(g,src,&o,10));
	size(g);
	o=0;o2=4000;
	R(copy_file_range(src,&o,g,&o2,1000,0));o=0;o2=4096;
	R(copy_file_range(src,&o,g,&o2,1000,0));
	int m=memfd_create("m",MFD_ALLOW_SEALING);
	R(ftruncate(m,5000));
	R(fcntl(m,F_ADD_SEALS,F_SEAL_GROW));
	R(fallocate(m,0,0,5000));
	R(ftruncate(m,5000));
	R(pwrite(m,b,10,5000));
	limit(0);
	R(pwrite(g,b,1,0));
	R(ftruncate(g,0));
	R(ftruncate(g,1));
	char*p=mmap(0,4096,3,MAP_SHARED,src,0);p[0]=1;puts("a mapping is not limited");
	{int null=open("/dev/null",O_WRONLY);R(write(null,b,100));}
	limit(-1);
	R(pwrite(g,b,100,100000));
	fflush(0);
	if(!fork()){signal(SIGXFSZ,SIG_DFL);struct rlimit l={0,0};setrlimit(RLIMIT_FSIZE,&l);ftruncate(g,0);write(g,b,1);_exit(0);}
	int st;wait(&st);printf("by default: signal %d core %d\n",WTERMSIG(st),0);
	signal(SIGXFSZ,SIG_IGN);
	{struct rlimit l={0,0};if(!fork()){setrlimit(RLIMIT_FSIZE,&l);int r=write(g,b,1)<0&&errno==EFBIG;_exit(r);}wait(&st);printf("ignored: %d\n",WEXITSTATUS(st));}
	signal(SIGXFSZ,on);
/* set-id bits */
	puts("set-id");
	#define FILE_(n,m) do{int f_=open(n,O_CREAT|O_RDWR,0);write(f_,b,5000);close(f_);chown(n,1000,1000);chmod(n,m);}while(0)
	int f;
	FILE_("r",06777);f=open("r",O_RDWR);
	R(write(f,b,1));
	mode("r");
	R(ftruncate(f,10));
	mode("r");
	R(fchown(f,-1,-1));
	mode("r");
	FILE_("rg",02766);f=open("rg",O_RDWR);
	R(fchown(f,-1,-1));
	mode("rg");
	fflush(0);
	if(!fork()){setgid(1000);setuid(1000);
	 FILE_("u",0);_exit(0);}
	wait(0);
	const char*n[]={"a","b","c","d","e","h","i","j","k"};
	int modes[]={06777,06777,06777,06777,02766,06777,06777,06777,02766};
	for(int i=0;i<9;i++)FILE_(n[i],modes[i]);
	chown("k",1000,2000);chmod("k",02766);chown("e",1000,1000);chmod("e",02766);
	for(int i=0;i<9;i++)mode(n[i]);
	fflush(0);
	if(!fork()){setgroups(0,0);setgid(1000);setuid(1000);
	 R(write(f=open("a",O_RDWR),b,0));
	mode("a");
	R(write(f,b,1));
	mode("a");
	 R(ftruncate(f=open("b",O_RDWR),10));mode("b");
	 R(truncate("c",10));mode("c");
	 R(fallocate(f=open("d",O_RDWR),0,0,10));mode("d");
	 R(write(f=open("e",O_RDWR),b,1));mode("e");
	 R(write(f=open("k",O_RDWR),b,1));mode("k");
	 R(fchown(f=open("h",O_RDWR),-1,-1));mode("h");
	 R(close(open("i",O_RDWR|O_TRUNC)));mode("i");
	 f=open("j",O_RDWR);p=mmap(0,4096,3,MAP_SHARED,f,0);p[0]=1;mode("j");
	 R(chmod("j",06777));
	mode("j");
	R(pwrite(f,b,1,0));
	mode("j");
	 R(write(open("r",O_RDWR),b,1));mode("r");
	 fflush(0);_exit(0);}
	wait(0);
	puts("capability");
	{unsigned cap[5]={0x02000000,1,0,0,0};FILE_("cap",0777);setxattr("cap","security.capability",cap,20,0);char q[99];f=open("cap",O_RDWR);R(fgetxattr(f,"security.capability",q,99));R(write(f,b,1));R(fgetxattr(f,"security.capability",q,99));
	setxattr("cap","security.capability",cap,20,0);
	R(fchown(f,0,0));
	R(fgetxattr(f,"security.capability",q,99));setxattr("cap","security.capability",cap,20,0);
	R(ftruncate(f,0));
	R(fgetxattr(f,"security.capability",q,99));}
	puts("noatime");
	{struct stat s,t;f=open("na",O_CREAT|O_RDWR,0644);write(f,b,10);usleep(5000);int h=open("na",O_RDONLY|O_NOATIME);stat("na",&s);read(h,b,5);stat("na",&t);printf("%d\n",s.st_atim.tv_nsec!=t.st_atim.tv_nsec);usleep(5000);read(f,b,1);h=open("na",O_RDONLY);read(h,b,5);stat("na",&t);printf("%d\n",s.st_atim.tv_nsec!=t.st_atim.tv_nsec);printf("%x\n",fcntl(open("na",O_RDONLY|O_NOATIME),F_GETFL)&O_NOATIME);
	 usleep(5000);write(f,b,1);usleep(5000);stat("na",&s);
	R(fcntl(h,F_SETFL,O_NOATIME));read(h,b,1);stat("na",&t);printf("%d\n",s.st_atim.tv_nsec!=t.st_atim.tv_nsec);
	 fflush(0);chmod("na",0666);if(!fork()){setuid(1000);
	R(open("na",O_RDONLY|O_NOATIME));h=open("na",O_RDONLY);
	R(fcntl(h,F_SETFL,O_NOATIME));
	R(fcntl(h,F_SETFL,0));fflush(0);_exit(0);}wait(0);
	 h=open("na",O_RDONLY|O_NOATIME);usleep(5000);write(f,b,1);usleep(5000);stat("na",&s);p=mmap(0,4096,1,MAP_SHARED,h,0);volatile char c=p[0];stat("na",&t);printf("mapped %d\n",s.st_atim.tv_nsec!=t.st_atim.tv_nsec);
	 o=0;
	R(sendfile(f,h,&o,1));
}
}
