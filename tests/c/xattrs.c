/*
 * Extended attributes of a tmpfs: what each call says about good and bad names, values, files and callers, and what they take (C38). It works in a tmpfs of its own on /dev/shm: on Linux in a mount namespace
 * of its own, which needs root.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <sched.h>
#define R(x) do{errno=0;long r=(x);printf("%-60s %ld %s\n",#x,r,r<0?strerrorname_np(errno):"");}while(0)
static void free_(void){struct statfs s;statfs(".",&s);printf("   files %ld ffree %ld bfree %ld\n",(long)s.f_files,(long)s.f_ffree,(long)s.f_bfree);}
int main(){
	unshare(CLONE_NEWNS);mount(0,"/",0,MS_REC|MS_PRIVATE,0);
	R(mount("x","/dev/shm","tmpfs",0,"size=1m,nr_inodes=100"));chdir("/dev/shm");
	char big[70000];memset(big,'x',sizeof big);char b[70000];
	close(open("f",O_CREAT|O_RDWR,0666));mkdir("d",0777);mkdir("sd",01777);symlink("f","l");mknod("p",S_IFIFO|0666,0);mknod("c",S_IFCHR|0666,0x103);
	free_();
	R(setxattr("f","user.a","hello",5,0));
	free_();
	R(setxattr("f","user.b",big,1000,0));
	free_();
	R(setxattr("f","user.b",big,2000,0));
	free_();
	R(setxattr("f","user.b",big,0,0));
	free_();
	R(setxattr("f","user.a","x",1,XATTR_CREATE));
	R(setxattr("f","user.n","x",1,XATTR_REPLACE));
	R(setxattr("f","user.n","x",1,4));
	R(setxattr("f","user.n","x",1,3));
	R(setxattr("f","user.a","x",1,3));
	R(setxattr("f","user.","x",1,0));
	R(setxattr("f","","x",1,0));
	R(setxattr("f","foo","x",1,0));
	R(setxattr("f","system.foo","x",1,0));
	R(setxattr("f","system.","x",1,0));
	R(setxattr("f","trusted.t","T",1,0));
	R(setxattr("f","trusted.","T",1,0));
	R(setxattr("f","security.s","S",1,0));
	R(setxattr("f","security.","S",1,0));
	R(setxattr("f","security.capability","S",1,0));
	R(setxattr("f","security.selinux","S",1,0));
	unsigned cap[5]={0x02000000,1,0,0,0};unsigned cap3[6]={0x03000000,1,0,0,0,0};
	R(setxattr("f","security.capability",cap,20,0));
	R(getxattr("f","security.capability",b,100));
	R(setxattr("f","security.capability",cap3,24,0));
	R(getxattr("f","security.capability",b,100));
	R(getxattr("f","security.capability",b,0));
	R(getxattr("f","security.capability",b,5));
	R(removexattr("f","security.capability"));
	R(getxattr("f","system.foo",b,100));
	R(getxattr("f","foo",b,100));
	R(getxattr("f","",b,100));
	R(getxattr("f","user.",b,100));
	R(getxattr("f","user.zz",b,100));
	R(getxattr("f","trusted.zz",b,100));
	R(getxattr("f","security.zz",b,100));
	R(removexattr("f","user.zz"));
	R(removexattr("f","foo"));
	R(removexattr("f","user."));
	R(removexattr("f",""));
	R(removexattr("f","trusted.zz"));
	R(setxattr("f","user.big",big,65536,0));
	free_();
	R(setxattr("f","user.big",big,65537,0));
	R(removexattr("f","user.big"));
	R(setxattr("f","user.big",big,60000,0));
	free_();
	{char n[300]="user.";memset(n+5,'n',250);n[255]=0;R(setxattr("f",n,"x",1,0));free_();n[255]='n';n[256]=0;R(setxattr("f",n,"x",1,0));R(getxattr("f",n,b,1));R(removexattr("f",n));n[255]=0;R(removexattr("f",n));}
	R(setxattr("f","user.p",(void*)8,5,0));
	R(setxattr("f",(void*)8,"x",1,0));
	R(getxattr("f","user.a",(void*)8,100));
	R(listxattr("f",(void*)8,100));
	R(getxattr("f",(void*)8,b,100));
	R(setxattr("f","user.p",(void*)8,0,0));
	R(setxattr("f","user.q",0,0,0));
	R(setxattr("f","user.r",0,3,0));
	R(listxattr("f",b,100));{int n=listxattr("f",b,1000);for(int i=0;i<n;i+=strlen(b+i)+1)printf("  %s\n",b+i);}
	R(listxattr("f",b,0));
	R(listxattr("f",b,3));
	R(getxattr("f","user.a",b,0));
	R(getxattr("f","user.a",b,4));
	R(getxattr("f","user.a",b,5));
	R(getxattr("f","user.a",b,70000));
	R(setxattr("d","user.a","x",1,0));
	R(setxattr("l","user.l","x",1,0));
	R(lsetxattr("l","user.l","x",1,0));
	R(lsetxattr("l","trusted.l","x",1,0));
	R(llistxattr("l",b,100));
	R(lgetxattr("l","trusted.l",b,100));
	R(lgetxattr("l","user.l",b,100));
	R(lremovexattr("l","trusted.l"));
	R(lremovexattr("l","user.l"));
	R(setxattr("p","user.a","x",1,0));
	R(setxattr("c","user.a","x",1,0));
	R(getxattr("c","user.a",b,9));
	R(setxattr("c","trusted.a","x",1,0));
	R(setxattr("c","security.a","x",1,0));
	R(listxattr("c",b,100));
	R(setxattr("none","user.a","x",1,0));
	R(setxattr("none","","x",1,0));
	R(setxattr("none","foo","x",1,9));
	int fd=open("f",O_RDONLY);
	R(fsetxattr(fd,"user.fd","x",1,0));
	R(fgetxattr(fd,"user.fd",b,9));
	R(flistxattr(fd,b,0));
	R(fremovexattr(fd,"user.fd"));
	R(fsetxattr(99,"user.a","x",1,0));
	R(fsetxattr(99,"","x",1,8));
	int pf=open("f",O_PATH);
	R(fsetxattr(pf,"user.fd","x",1,0));
	R(fgetxattr(pf,"user.a",b,9));
	R(flistxattr(pf,b,9));
	R(fremovexattr(pf,"user.a"));
	int pp[2];pipe(pp);
	R(fsetxattr(pp[0],"user.fd","x",1,0));
	R(fgetxattr(pp[0],"user.fd",b,9));
	R(flistxattr(pp[0],b,9));
	R(fsetxattr(pp[0],"trusted.fd","x",1,0));
	R(fsetxattr(pp[0],"security.fd","x",1,0));
	R(fremovexattr(pp[0],"trusted.fd"));
	int mf=memfd_create("a",0);
	R(fsetxattr(mf,"user.fd","x",1,0));
	R(fsetxattr(mf,"trusted.fd","x",1,0));
	R(flistxattr(mf,b,100));
	R(fgetxattr(mf,"user.fd",b,100));
	struct stat st,st2;stat("f",&st);usleep(20000);setxattr("f","user.a","y",1,0);stat("f",&st2);printf("ctime %d mtime %d\n",st.st_ctim.tv_nsec!=st2.st_ctim.tv_nsec,st.st_mtim.tv_nsec!=st2.st_mtim.tv_nsec);
	st=st2;usleep(20000);setxattr("f","user.a","y",1,XATTR_CREATE);removexattr("f","user.zzz");stat("f",&st2);printf("failed: ctime %d\n",st.st_ctim.tv_nsec!=st2.st_ctim.tv_nsec);
	st=st2;usleep(20000);removexattr("f","user.a");stat("f",&st2);printf("remove: ctime %d\n",st.st_ctim.tv_nsec!=st2.st_ctim.tv_nsec);
	free_();unlink("f");
	free_();close(fd);close(pf);
	free_();
/* unprivileged */
	close(open("g",O_CREAT|O_RDWR,0644));chown("g",1000,1000);close(open("h",O_CREAT|O_RDWR,0644));close(open("w",O_CREAT|O_RDWR,0666));chmod("w",0666);close(open("wo",O_CREAT|O_RDWR,0));chmod("wo",0222);
	setxattr("h","user.a","x",1,0);setxattr("h","trusted.a","x",1,0);setxattr("h","security.a","x",1,0);setxattr("g","trusted.a","x",1,0);setxattr("wo","user.a","x",1,0);
	mkdir("pd",0777);chmod("pd",0777);chmod("sd",01777);
	setgid(1000);setuid(1000);puts("as 1000");
	R(setxattr("g","user.a","x",1,0));
	R(setxattr("h","user.b","x",1,0));
	R(setxattr("w","user.b","x",1,0));
	R(getxattr("h","user.a",b,9));
	R(getxattr("wo","user.a",b,9));
	R(setxattr("wo","user.b","x",1,0));
	R(listxattr("wo",b,100));
	R(getxattr("h","trusted.a",b,9));
	R(getxattr("h","security.a",b,9));
	R(listxattr("h",b,100));
	R(setxattr("g","trusted.b","x",1,0));
	R(removexattr("g","trusted.a"));
	R(setxattr("g","security.b","x",1,0));
	R(removexattr("h","security.a"));
	R(setxattr("g","security.capability",cap,20,0));
	R(setxattr("pd","user.a","x",1,0));
	R(setxattr("sd","user.a","x",1,0));
	R(getxattr("h","trusted.none",b,9));
	R(listxattr("h",b,0));
	R(setxattr("h","user.b","x",1,XATTR_REPLACE));
	R(removexattr("h","user.zz"));
	R(removexattr("h","user.a"));
}
