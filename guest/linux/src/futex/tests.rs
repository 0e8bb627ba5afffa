//! The queue beside a list that is looked through; what is decoded beside what futex(2) says.

use faultlab_mm::mmap::FutexKey;

use super::*;
use crate::Errno;

const THREADS: usize = 12;

fn key(word: u64) -> FutexKey {
    FutexKey::private(None, 0x1000 + 4 * word)
}

/// Threads in the order of their arrival: what the queue is in one bucket, without links.
#[derive(Default)]
struct Model {
    waiting: Vec<(usize, FutexKey, u32)>,
    woken: Vec<usize>,
}

impl Model {
    fn state(&self, index: usize) -> Wait {
        if self.waiting.iter().any(|waiter| waiter.0 == index) {
            Wait::Queued
        } else if self.woken.contains(&index) {
            Wait::Woken
        } else {
            Wait::Idle
        }
    }

    fn wake(&mut self, key: FutexKey, most: u64, bitset: u32) -> Vec<usize> {
        let matching = self
            .waiting
            .iter()
            .filter(|(_, at, bits)| *at == key && bits & bitset != 0);
        let woken: Vec<usize> = matching.map(|waiter| waiter.0).take(most as usize).collect();
        self.waiting.retain(|waiter| !woken.contains(&waiter.0));
        self.woken.extend(&woken);
        woken
    }

    fn requeue(&mut self, [from, to]: [FutexKey; 2], wake: u64, most: u64) -> (Vec<usize>, u64) {
        let woken = self.wake(from, wake, BITSET_ANY);
        let mut moved = Vec::new();
        if from != to {
            self.waiting.retain(|&(index, at, bits)| {
                let moves = at == from && (moved.len() as u64) < most;
                if moves {
                    moved.push((index, to, bits));
                }
                !moves
            });
        }
        let stay = self
            .waiting
            .iter()
            .filter(|waiter| from == to && waiter.1 == from)
            .count() as u64;
        let count = woken.len() as u64 + moved.len() as u64 + stay.min(most);
        self.waiting.extend(moved);
        (woken, count)
    }

    fn leave(&mut self, index: usize) -> Wait {
        let state = self.state(index);
        self.waiting.retain(|waiter| waiter.0 != index);
        self.woken.retain(|other| *other != index);
        state
    }
}

/// futex(2): the oldest are woken first, of those that are meant.
#[test]
fn the_queue_does_what_a_list_does() {
    let (queue, mut model) = (Futexes::<THREADS>::new(), Model::default());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for step in 0..100_000 {
        let (index, word, bits) = (draw(THREADS as u64) as usize, key(draw(40)), 1 + draw(3) as u32);
        match draw(8) {
            0..=3 if model.state(index) == Wait::Idle => {
                queue.wait(index, word, bits);
                model.waiting.push((index, word, bits));
            }
            4 => {
                let (most, mut woken) = (draw(3), Vec::new());
                let count = queue.wake(word, most, bits, |index| woken.push(index));
                assert_eq!(woken, model.wake(word, most, bits), "step {step}");
                assert_eq!(count, woken.len() as u64);
            }
            5 => {
                let (to, wake, most) = (key(draw(40)), draw(2), draw(3));
                let mut woken = Vec::new();
                let count = queue.requeue([word, to], wake, most, |index| woken.push(index));
                assert_eq!((woken, count), model.requeue([word, to], wake, most), "step {step}");
            }
            6 | 7 => assert_eq!(queue.leave(index), model.leave(index), "step {step}"),
            _ => {}
        }
        for thread in 0..THREADS {
            assert_eq!(queue.state(thread), model.state(thread), "step {step}, thread {thread}");
        }
    }
}

/// futex(2), FUTEX_WAKE_OP.
#[test]
fn operations_on_the_second_word() {
    let word = |op: u32, operand: u32, cmp: u32, to: u32| op << 28 | cmp << 24 | (operand & 0xfff) << 12 | to & 0xfff;
    let apply = |op, operand, old| WakeOp::decode(word(op, operand, 0, 0)).apply(old);
    assert_eq!(apply(0, 7, 1), Ok(7));
    assert_eq!(apply(1, 0xfff, 1), Ok(0), "the operand has a sign");
    assert_eq!(apply(2, 6, 1), Ok(7));
    assert_eq!(apply(3, 6, 7), Ok(1));
    assert_eq!(apply(4, 6, 3), Ok(5));
    assert_eq!(apply(5, 0, 0), Err(Errno::ENOSYS));
    assert_eq!(apply(8, 5, 0), Ok(32), "the operand is a shift");
    let holds = |cmp, to, old| WakeOp::decode(word(0, 0, cmp, to)).holds(old);
    assert_eq!([holds(0, 1, 1), holds(1, 1, 1)], [Ok(true), Ok(false)]);
    assert_eq!([holds(2, 0, u32::MAX), holds(4, 0, u32::MAX)], [Ok(true), Ok(false)]);
    assert_eq!(
        [holds(3, 5, 5), holds(5, 5, 5), holds(5, 5, 4)],
        [Ok(true), Ok(true), Ok(false)]
    );
    assert_eq!(holds(6, 0, 0), Err(Errno::ENOSYS));
}

/// get_robust_list(2).
#[test]
fn locks_that_are_left() {
    const HEAD: u64 = 0x100;
    let walk = |memory: &[(u64, u64)]| {
        let mut found = Vec::new();
        let read = |addr| memory.iter().find(|word| word.0 == addr).map(|word| word.1);
        let whole = walk_robust_list(HEAD, read, |left| {
            found.push((left.addr, left.pi, left.pending));
            Some(())
        });
        (found, whole.is_some())
    };
    let head = |next, pending| [(HEAD, next), (HEAD + 8, 16), (HEAD + 16, pending)];
    assert_eq!(walk(&head(HEAD, 0)), (vec![], true));
    let mut two = head(0x200, 0x301).to_vec();
    two.extend([(0x200, 0x301), (0x300, HEAD)]);
    assert_eq!(walk(&two), (vec![(0x210, false, false), (0x310, true, true)], true));
    let broken = head(0x200, 0);
    assert_eq!(walk(&broken), (vec![(0x210, false, false)], false));
    let mut ring = head(0x200, 0).to_vec();
    ring.push((0x200, 0x200));
    assert_eq!(walk(&ring).0.len(), 2048);

    assert_eq!(left_by(5, 5), Some(FUTEX_OWNER_DIED));
    assert_eq!(left_by(5, 5 | FUTEX_WAITERS), Some(FUTEX_OWNER_DIED | FUTEX_WAITERS));
    assert_eq!((left_by(5, 6), left_by(5, 0)), (None, None));
}
