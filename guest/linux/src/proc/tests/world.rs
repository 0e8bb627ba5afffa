//! A fake machine with proc mounted, and what is asked of it.

use std::sync::Mutex;

use faultlab_mm::Memory;
use faultlab_mm::mmap::{map_flag, prot};
use faultlab_mm::testing::FakeMachine;
use faultlab_mm::vma::MmId;

use super::super::{Cpu, Nobody, Process, System};
use crate::cred::Cred;
use crate::file::{Kind, o};
use crate::limits::Limits;
use crate::read_write::{At, Buffer};
use crate::vfs::{MountArguments, PathAt, Task};
use crate::{Errno, Linux};

/// Those that there are; the first asks.
#[derive(Debug, Default)]
pub(super) struct Processes(pub(super) Mutex<Vec<Process>>);

impl Processes {
    pub(super) fn all(&self) -> Vec<Process> {
        self.0.lock().expect("one thread").clone()
    }
}

impl System for Processes {
    fn current(&self) -> (u32, u32) {
        self.all().first().map_or((0, 0), |process| (process.pid, process.tgid))
    }
    fn next_group(&self, from: u32) -> Option<u32> {
        self.all()
            .iter()
            .map(|process| process.pid)
            .filter(|&pid| pid >= from)
            .min()
    }
    fn next_thread(&self, tgid: u32, from: u32) -> Option<u32> {
        (tgid >= from).then_some(tgid)
    }
    fn process(&self, pid: u32) -> Option<Process> {
        self.all().into_iter().find(|process| process.pid == pid)
    }
    fn signals(&self, pid: u32) -> [u64; 5] {
        Nobody.signals(pid)
    }
    fn uptime_ns(&self) -> [u64; 2] {
        [12_340_000_000, 10_000_000]
    }
    fn boot_s(&self) -> u64 {
        1_700_000_000
    }
    fn tasks(&self) -> [u64; 5] {
        [7, 30, 1, 2, 7]
    }
    fn cpu(&self) -> Cpu {
        Nobody.cpu()
    }
    fn command_line(&self, to: &mut [u8]) -> usize {
        to[..2].copy_from_slice(b"ab");
        2
    }
    fn random(&self) -> u64 {
        0x0123_4567_89ab_cdef
    }
    fn stack_pages(&self) -> u64 {
        8
    }
    fn set_comm(&self, pid: u32, comm: [u8; 16]) {
        for process in self.0.lock().expect("one thread").iter_mut() {
            if process.pid == pid {
                process.comm = comm;
            }
        }
    }
    fn set_oom_score_adj(&self, pid: u32, adj: i32) {
        for process in self.0.lock().expect("one thread").iter_mut() {
            if process.pid == pid {
                process.oom_score_adj = adj;
            }
        }
    }
}

/// Where programs' buffers are.
pub(super) const BUFFER: u64 = 0x20_0000;
pub(super) const BUFFER_BYTES: u64 = 1 << 16;

/// A system with proc mounted, and processes 2 and 3.
pub(super) struct World<'m> {
    pub(super) memory: &'m Memory<FakeMachine>,
    pub(super) system: &'m Processes,
    pub(super) linux: Linux<'m, FakeMachine>,
    pub(super) task: Task,
    pub(super) mm: MmId,
}

impl<'m> World<'m> {
    pub(super) fn new(memory: &'m Memory<FakeMachine>, system: &'m Processes) -> Self {
        let linux = Linux::of_system(memory, system);
        linux.mount_root().expect("a root");
        let table = linux.standard_table().expect("a table");
        let task = Task {
            cred: Cred::ROOT,
            fs: linux.first_fs(),
            table,
        };
        linux.mkdirat(&task, PathAt::cwd(b"/proc"), 0o755).expect("a directory");
        let arguments = MountArguments {
            source: b"proc",
            target: b"/proc",
            fstype: Some(b"proc"),
            flags: 0,
            data: b"",
        };
        linux.mount(&task, &arguments).expect("mounted");
        linux.mkdirat(&task, PathAt::cwd(b"/sys"), 0o755).expect("a directory");
        let arguments = MountArguments {
            source: b"sysfs",
            target: b"/sys",
            fstype: Some(b"sysfs"),
            ..arguments
        };
        linux.mount(&task, &arguments).expect("mounted");
        let mm = memory.mm_alloc().expect("an address space");
        let flags = map_flag::PRIVATE | map_flag::ANONYMOUS | map_flag::FIXED;
        let rights = prot::READ | prot::WRITE;
        memory
            .do_mmap(mm, BUFFER, BUFFER_BYTES, rights, flags, None, 0)
            .expect("mapped");
        let world = Self {
            memory,
            system,
            linux,
            task,
            mm,
        };
        for pid in [2, 3] {
            world.add(pid);
        }
        world
    }

    pub(super) fn add(&self, pid: u32) {
        let mut comm = [0; 16];
        comm[..4].copy_from_slice(b"test");
        self.system.0.lock().expect("one thread").push(Process {
            pid,
            tgid: pid,
            parent: 1,
            group: 2,
            session: 2,
            comm,
            state: b'R',
            mm: Some(self.mm),
            files: Some(self.task.table),
            fs: self.task.fs,
            exe: None,
            cred: Cred::ROOT,
            groups: None,
            limits: Limits::INIT,
            threads: 1,
            start_ns: 5_000_000_000,
            times_ns: [0; 2],
            children_ns: [0; 2],
            faults: [0; 2],
            oom_score_adj: 0,
        });
    }

    pub(super) fn open(&self, path: &str, flags: u64) -> Result<u64, Errno> {
        self.linux.openat(&self.task, PathAt::cwd(path.as_bytes()), flags, 0)
    }

    pub(super) fn transfer(&self, number: u64, at: At, len: u64, write: bool) -> Result<u64, Errno> {
        let file = self.linux.get(self.task.table, number)?;
        let buffer = Buffer {
            mm: self.mm,
            addr: BUFFER,
            len,
        };
        match (file.kind(), write) {
            (Kind::Proc(inode), false) => self.linux.proc_read(file, inode, at, buffer),
            (Kind::Proc(inode), true) => self.linux.proc_write(file, inode, at, buffer),
            _ => Err(Errno::EINVAL),
        }
    }

    pub(super) fn buffer(&self, len: u64) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        self.memory.copy_from_user(self.mm, &mut bytes, BUFFER).expect("mapped");
        bytes
    }

    /// From the position on, a buffer of so many bytes at a time.
    pub(super) fn rest(&self, number: u64, step: u64) -> Result<Vec<u8>, Errno> {
        let mut text = Vec::new();
        loop {
            match self.transfer(number, At::Position, step, false)? {
                0 => return Ok(text),
                len => text.extend(self.buffer(len)),
            }
        }
    }

    pub(super) fn read(&self, path: &str) -> Result<String, Errno> {
        let number = self.open(path, o::RDONLY)?;
        let text = self.rest(number, BUFFER_BYTES);
        self.linux.close(self.task.table, number).expect("open");
        text.map(|text| String::from_utf8(text).expect("text"))
    }

    pub(super) fn write(&self, path: &str, text: &str) -> Result<u64, Errno> {
        let number = self.open(path, o::WRONLY)?;
        self.memory
            .copy_to_user(self.mm, BUFFER, text.as_bytes())
            .expect("mapped");
        let done = self.transfer(number, At::Position, text.len() as u64, true);
        self.linux.close(self.task.table, number).expect("open");
        done
    }

    pub(super) fn list(&self, path: &str) -> Vec<(String, u8)> {
        let number = self.open(path, o::DIRECTORY).expect("a directory");
        let file = self.linux.get(self.task.table, number).expect("open");
        let mut names = Vec::new();
        self.linux
            .iterate_dir(file, &mut |entry| {
                names.push((String::from_utf8_lossy(entry.name).into_owned(), entry.d_type));
                Ok(true)
            })
            .expect("a listing");
        self.linux.close(self.task.table, number).expect("open");
        names
    }

    /// Paths of everything below a directory, with their types.
    pub(super) fn all(&self, path: &str) -> Vec<(String, u8)> {
        let mut all = Vec::new();
        for (name, kind) in self.list(path).into_iter().skip(2) {
            // The listing's own descriptor is closed by now.
            if path.contains("/fd") && name == "3" {
                continue;
            }
            let below = format!("{path}/{name}");
            if kind == 4 {
                all.extend(self.all(&below));
            }
            all.push((below, kind));
        }
        all
    }

    pub(super) fn end(self) {
        self.linux.umount(&self.task, b"/proc", 0).expect("unused");
        self.linux.umount(&self.task, b"/sys", 0).expect("unused");
        self.linux.close_table(self.task.table);
        self.memory.mmput(self.mm, 2);
        let names = ["file", "files_cache", "seq_text", "object_name"];
        for (name, objects) in self.linux.live_records().into_iter().chain(self.memory.live_records()) {
            assert!(!names.contains(&name) || objects == 0, "{name} left");
        }
        // The root, its directories for proc and sysfs, and no more.
        assert_eq!(self.memory.live_records()[3], ("inode", 3));
    }
}
