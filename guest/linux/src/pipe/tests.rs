//! Pipes over a fake machine: the cases of the manual, and drawn calls against a queue of bytes.

use std::collections::VecDeque;

use faultlab_mm::testing::{FakeMachine, machine};
use faultlab_mm::vma::MmId;
use faultlab_mm::{Memory, mmap};

use crate::copy::Place;
use crate::cred::Cred;
use crate::fdtable::TableId;
use crate::file::{File, Kind, o};
use crate::iov::IovIter;
use crate::poll::event;
use crate::read_write::{At, Buffer};
use crate::wait::{Call, Keys, Waiter};
use crate::writer::Writer;
use crate::{Errno, Linux};

const F_SETPIPE_SZ: u64 = 1031;
const F_GETPIPE_SZ: u64 = 1032;
const P: u64 = 4096;
/// Bytes of the program's buffer.
const ROOM: u64 = 40 * P;

/// A process with a buffer. Dropping it checks that nothing is left.
struct World<'m> {
    memory: &'m Memory<FakeMachine>,
    linux: Linux<'m, FakeMachine>,
    table: TableId,
    mm: MmId,
    buffer: u64,
    waiter: Waiter,
}

impl<'m> World<'m> {
    fn new(memory: &'m Memory<FakeMachine>) -> Self {
        let linux = Linux::new(memory);
        let table = linux.standard_table().expect("a table");
        let mm = memory.mm_alloc().expect("an address space");
        let flags = mmap::map_flag::PRIVATE | mmap::map_flag::ANONYMOUS;
        let buffer = memory.do_mmap(mm, 0, ROOM, 3, flags, None, 0).expect("a buffer");
        Self {
            memory,
            linux,
            table,
            mm,
            buffer,
            waiter: Waiter::new(),
        }
    }

    fn pipe(&self, flags: u64) -> (u64, u64) {
        self.linux.pipe2(self.table, flags, Cred::ROOT).expect("a pipe")
    }

    fn file(&self, number: u64) -> File<'_> {
        self.linux.get(self.table, number).expect("open")
    }

    fn iter(&self, at: u64, len: u64) -> IovIter {
        let buffer = Buffer {
            mm: self.mm,
            addr: self.buffer + at,
            len,
        };
        IovIter::of_buffer(buffer).expect("a buffer")
    }

    fn write(&self, number: u64, at: u64, len: u64) -> Result<Call, Errno> {
        let file = self.file(number);
        let Kind::Pipe(inode) = file.kind() else {
            panic!("no pipe")
        };
        self.linux.pipe_write(&self.waiter, file, inode, self.iter(at, len))
    }

    fn read(&self, number: u64, at: u64, len: u64) -> Result<Call, Errno> {
        let file = self.file(number);
        let Kind::Pipe(inode) = file.kind() else {
            panic!("no pipe")
        };
        self.linux.pipe_read(&self.waiter, file, inode, self.iter(at, len))
    }

    fn mask(&self, number: u64) -> u32 {
        self.linux.poll(self.file(number)).mask
    }

    fn available(&self, number: u64) -> u64 {
        let Kind::Pipe(inode) = self.file(number).kind() else {
            panic!("no pipe")
        };
        self.linux.pipe_available(inode)
    }

    fn fcntl(&self, number: u64, command: u64, argument: u64) -> Result<u64, Errno> {
        self.linux.fcntl(Cred::ROOT, self.table, number, command, argument)
    }

    /// Fills bytes of the buffer.
    fn put(&self, at: u64, bytes: &[u8]) {
        for (index, part) in bytes.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            let addr = self.buffer + at + index as u64 * 8;
            self.memory
                .store(self.mm, addr, u64::from_le_bytes(word))
                .expect("the buffer");
        }
    }

    fn bytes(&self, at: u64, len: u64) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        self.linux
            .peek_user(self.mm, self.buffer + at, &mut bytes)
            .expect("the buffer");
        bytes
    }
}

impl Drop for World<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.linux.close_table(self.table);
        self.memory.mmput(self.mm, 1);
        for (name, objects) in self.linux.live_records().into_iter().chain(self.memory.live_records()) {
            assert_eq!(objects, 0, "{name} left");
        }
        self.memory.check_invariants();
    }
}

/// pipe(7), "I/O on pipes and FIFOs".
#[test]
fn what_is_written_is_read_and_the_ends_tell() {
    let memory = machine(256, 0);
    let world = World::new(&memory);
    let (read, write) = world.pipe(0);
    assert_eq!(world.mask(read), 0);
    assert_eq!(world.mask(write), event::WRITABLE);
    assert_eq!(world.read(read, 0, 10), Ok(Call::Wait));
    let waits = world.waiter.keys();
    world.linux.take_woken();
    world.put(0, b"hello, pipe");
    assert_eq!(world.write(write, 0, 11), Ok(Call::Done(11)));
    assert!(world.linux.take_woken().meets(waits), "the reader is woken");
    assert_eq!(world.available(read), 11);
    assert_eq!(world.read(read, 100, 5), Ok(Call::Done(5)));
    assert_eq!(world.read(read, 105, 50), Ok(Call::Done(6)));
    assert_eq!(world.bytes(100, 11), b"hello, pipe");
    world.linux.close(world.table, write).expect("open");
    assert_eq!(world.mask(read), event::HUP);
    assert_eq!(world.read(read, 0, 10), Ok(Call::Done(0)), "the end");
}

#[test]
fn a_write_goes_on_where_it_stopped_and_says_how_far_it_came() {
    let memory = machine(256, 0);
    let world = World::new(&memory);
    let (read, write) = world.pipe(0);
    let bytes: Vec<u8> = (0..20 * P).map(|at| (at % 251) as u8).collect();
    world.put(0, &bytes);
    assert_eq!(world.write(write, 0, 20 * P), Ok(Call::Wait));
    assert_eq!(world.waiter.progress(), 16 * P);
    let waits = world.waiter.keys();
    world.linux.take_woken();
    let reader = Waiter::new();
    let file = world.file(read);
    let Kind::Pipe(inode) = file.kind() else {
        panic!("no pipe")
    };
    let take = |at, len| world.linux.pipe_read(&reader, file, inode, world.iter(at, len));
    assert_eq!(take(20 * P, 3 * P), Ok(Call::Done(3 * P)));
    assert!(world.linux.take_woken().meets(waits), "the writer is woken");
    assert_eq!(world.write(write, 0, 20 * P), Ok(Call::Wait));
    assert_eq!(take(23 * P, P), Ok(Call::Done(P)));
    assert_eq!(world.write(write, 0, 20 * P), Ok(Call::Done(20 * P)));
    assert_eq!(take(24 * P, 16 * P), Ok(Call::Done(16 * P)));
    assert_eq!(world.bytes(20 * P, 20 * P), bytes);
    // Interrupted, it has written what it has.
    assert_eq!(world.write(write, 0, 17 * P), Ok(Call::Wait));
    assert_eq!(world.linux.end_wait(&world.waiter), Some(16 * P));
    assert_eq!(world.waiter.keys(), Keys::NONE);
}

#[test]
fn nobody_reads() {
    let memory = machine(256, 0);
    let world = World::new(&memory);
    let (read, write) = world.pipe(0);
    world.linux.close(world.table, read).expect("open");
    assert_eq!(world.mask(write), event::WRITABLE | event::ERR);
    assert_eq!(world.write(write, 0, 0), Ok(Call::Done(0)));
    assert!(!world.waiter.take_broken());
    assert_eq!(world.write(write, 0, 1), Err(Errno::EPIPE));
    assert!(world.waiter.take_broken() && !world.waiter.take_broken());
}

/// With every number of frames left: `ENOMEM` and nothing left, or all that it should.
#[test]
fn without_memory() {
    for frames in 6..60 {
        let memory = machine(frames, 0);
        let linux = Linux::new(&memory);
        let Ok(table) = linux.standard_table() else { continue };
        let pipes: Vec<_> = (0..40).map(|_| linux.pipe2(table, 0, Cred::ROOT)).collect();
        assert!(pipes.iter().all(|pipe| matches!(pipe, Ok(_) | Err(Errno::ENOMEM))));
        if let Some(Ok((_, write))) = pipes.first() {
            let sized = linux.fcntl(Cred::ROOT, table, *write, F_SETPIPE_SZ, 1 << 20);
            assert!(matches!(sized, Ok(0x10_0000) | Err(Errno::ENOMEM)));
        }
        linux.close_table(table);
        for (name, objects) in linux.live_records().into_iter().chain(memory.live_records()) {
            assert_eq!(objects, 0, "{name} left");
        }
        memory.check_invariants();
    }
}

/// Source: Vigna, "xorshift*".
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % most
    }

    /// Small, about a page, or large.
    fn len(&mut self) -> u64 {
        match self.below(4) {
            0 => self.below(20),
            1 => P - 3 + self.below(6),
            2 => self.below(P),
            _ => self.below(19 * P),
        }
    }
}

/// Drawn reads, writes and sizes of a pipe that does not wait, against a queue of bytes.
#[test]
fn a_pipe_is_a_queue_of_bytes() {
    for seed in 1..60 {
        let memory = machine(512, 0);
        let world = World::new(&memory);
        let (read, write) = world.pipe(o::NONBLOCK);
        let (mut random, mut queue, mut next) = (Random(seed), VecDeque::new(), 0u8);
        for step in 0..120 {
            let size = world.fcntl(read, F_GETPIPE_SZ, 0).expect("a size");
            match random.below(8) {
                0 => {
                    let wanted = 1 + random.below(40 * P);
                    match world.fcntl(write, F_SETPIPE_SZ, wanted) {
                        Ok(size) => assert_eq!(size, wanted.max(P).next_power_of_two()),
                        Err(errno) => assert!(errno == Errno::EBUSY && !queue.is_empty(), "{errno:?}"),
                    }
                }
                1..=4 => {
                    let len = random.len();
                    let at = random.below(ROOM - len);
                    let bytes: Vec<u8> = (0..len)
                        .map(|_| {
                            next = next.wrapping_add(1);
                            next
                        })
                        .collect();
                    let at = at & !7;
                    world.put(at, &bytes);
                    let taken = match world.write(write, at, len) {
                        Ok(Call::Done(taken)) => taken,
                        Err(Errno::EAGAIN) => 0,
                        other => panic!("seed {seed}, step {step}: {other:?}"),
                    };
                    assert!(
                        taken == len || taken == 0 || len > super::PIPE_BUF,
                        "torn: {taken} of {len}"
                    );
                    assert!(
                        taken == len.min(size) || !queue.is_empty(),
                        "{taken} of {len} in an empty pipe"
                    );
                    queue.extend(&bytes[..taken as usize]);
                    assert!(queue.len() as u64 <= size, "more than fits");
                }
                _ => {
                    let len = random.len();
                    let at = random.below(ROOM - len);
                    let wanted = len.min(queue.len() as u64);
                    match world.read(read, at, len) {
                        Ok(Call::Done(taken)) => {
                            assert_eq!(taken, wanted, "seed {seed}, step {step}");
                            let expected: Vec<u8> = queue.drain(..taken as usize).collect();
                            assert_eq!(world.bytes(at, taken), expected, "seed {seed}, step {step}");
                        }
                        Err(Errno::EAGAIN) => assert!(queue.is_empty() && len != 0),
                        other => panic!("seed {seed}, step {step}: {other:?}"),
                    }
                }
            }
            assert_eq!(world.available(read), queue.len() as u64, "seed {seed}, step {step}");
            assert_eq!(world.mask(read) & event::IN != 0, !queue.is_empty());
            assert!(world.mask(write) & event::OUT != 0 || !queue.is_empty());
        }
    }
}

/// Rule C22: drawn moves of bytes between two pipes and an object, against queues and a vector of bytes.
#[test]
fn splices_move_bytes_and_lose_none() {
    const SPLICE_NONBLOCK: u64 = 2;
    const SIZE: usize = 20 * P as usize;
    for seed in 1..40 {
        let memory = machine(768, 0);
        let world = World::new(&memory);
        let pipes = [world.pipe(o::NONBLOCK), world.pipe(o::NONBLOCK)];
        let object = world.linux.memfd_create(world.table, 0, (0, 0)).expect("an object");
        world
            .linux
            .ftruncate(crate::writer::Writer::ANY, world.file(object), SIZE as u64)
            .expect("a size");
        let mut random = Random(seed);
        let (mut queues, mut content, mut next) = ([VecDeque::new(), VecDeque::new()], vec![0u8; SIZE], 0u8);
        for step in 0..150 {
            let which = random.below(2) as usize;
            let len = 1 + random.below(3 * P);
            let pos = random.below(SIZE as u64 - len);
            let ((from, from_end), (to, to_end)) = ((which, pipes[which].0), (1 - which, pipes[1 - which].1));
            let at = |number, at| Place {
                file: world.file(number),
                at,
            };
            let done = |result| match result {
                Ok(Call::Done(done)) => done as usize,
                Err(Errno::EAGAIN) => 0,
                other => panic!("seed {seed}, step {step}: {other:?}"),
            };
            match random.below(5) {
                0 => {
                    let bytes: Vec<u8> = (0..len)
                        .map(|_| {
                            next = next.wrapping_add(1);
                            next
                        })
                        .collect();
                    world.put(0, &bytes);
                    let moved = done(world.write(pipes[which].1, 0, len));
                    queues[which].extend(&bytes[..moved]);
                }
                1 => {
                    let (source, target) = (at(from_end, At::Position), at(to_end, At::Position));
                    let moved =
                        done(
                            world
                                .linux
                                .splice((&world.waiter, Writer::ANY), source, target, len, SPLICE_NONBLOCK),
                        );
                    let bytes: Vec<u8> = queues[from].drain(..moved).collect();
                    queues[to].extend(bytes);
                }
                2 => {
                    let (source, target) = (world.file(from_end), world.file(to_end));
                    let moved = done(world.linux.tee(&world.waiter, source, target, len, SPLICE_NONBLOCK));
                    let bytes: Vec<u8> = queues[from].iter().take(moved).copied().collect();
                    assert_eq!(bytes.len(), moved);
                    queues[to].extend(bytes);
                }
                3 => {
                    let (source, target) = (at(object, At::Offset(pos)), at(to_end, At::Position));
                    let moved =
                        done(
                            world
                                .linux
                                .splice((&world.waiter, Writer::ANY), source, target, len, SPLICE_NONBLOCK),
                        );
                    queues[to].extend(&content[pos as usize..pos as usize + moved]);
                }
                _ => {
                    let (source, target) = (at(from_end, At::Position), at(object, At::Offset(pos)));
                    let moved =
                        done(
                            world
                                .linux
                                .splice((&world.waiter, Writer::ANY), source, target, len, SPLICE_NONBLOCK),
                        );
                    for (byte, place) in queues[from].drain(..moved).zip(&mut content[pos as usize..]) {
                        *place = byte;
                    }
                }
            }
            for (queue, (read, _)) in queues.iter().zip(pipes) {
                assert_eq!(world.available(read), queue.len() as u64, "seed {seed}, step {step}");
            }
        }
        for (queue, (read, _)) in queues.iter().zip(pipes) {
            let expected: Vec<u8> = queue.iter().copied().collect();
            let len = expected.len() as u64;
            if len != 0 {
                assert_eq!(world.read(read, 0, len), Ok(Call::Done(len)));
                assert_eq!(world.bytes(0, len), expected, "seed {seed}");
            }
        }
        let Kind::Object(inode) = world.file(object).kind() else {
            panic!("no object")
        };
        let buffer = Buffer {
            mm: world.mm,
            addr: world.buffer,
            len: SIZE as u64,
        };
        let read = world.linux.read(world.file(object), inode, At::Offset(0), buffer);
        assert_eq!(read, Ok(SIZE as u64));
        assert_eq!(world.bytes(0, SIZE as u64), content, "seed {seed}");
    }
}
