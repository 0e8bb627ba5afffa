//! Timers over a fake machine; the queue against a list that is sorted.

use faultlab_mm::Memory;
use faultlab_mm::testing::{FakeMachine, machine};

use super::*;
use crate::signal::{Shared, Signals, To, code};

const MS: u64 = 1_000_000;

fn with_timers(case: impl FnOnce(&Linux<'_, FakeMachine>, &Timers)) {
    let memory: Memory<FakeMachine> = machine(256, 0);
    let linux = Linux::new(&memory);
    let timers = Timers::new();
    case(&linux, &timers);
    linux.exit_timers(&timers);
    for (name, objects) in linux.live_records() {
        assert_eq!(objects, 0, "{name} left");
    }
    memory.check_invariants();
}

fn at(monotonic: u64) -> Now {
    Now { monotonic, cpu: 0 }
}

fn every(left: u64, interval: u64) -> Setting {
    Setting { left, interval }
}

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// Every timer below another is not before it, and knows its way back.
fn check_heap(linux: &Linux<'_, FakeMachine>, queue: &TimerQueue, expected: usize) {
    let mut open: Vec<TimerId> = queue.root().into_iter().collect();
    let mut found = 0;
    while let Some(id) = open.pop() {
        found += 1;
        let timer = linux.timer(id);
        assert!(timer.queued());
        let (mut back, mut next) = (id, timer.child());
        while let Some(child_id) = next {
            let child = linux.timer(child_id);
            assert!((child.expires(), child.added()) > (timer.expires(), timer.added()));
            assert_eq!(child.back(), Some(back));
            open.push(child_id);
            (back, next) = (child_id, child.sibling());
        }
    }
    assert_eq!(found, expected, "timers in the queue");
}

#[test]
fn the_queue_is_a_sorted_list_whatever_is_added_moved_and_taken_out() {
    with_timers(|linux, timers| {
        for seed in 0..20 {
            let mut state = seed;
            let queue = TimerQueue::new();
            let all: Vec<TimerId> = (0..40)
                .map(|_| {
                    linux.timer_create(
                        timers,
                        1,
                        Made {
                            clock: 1,
                            signal: None,
                            value: None,
                            thread: None,
                        },
                    )
                })
                .map(|number| linux.made_timer(timers, number.unwrap().into()).unwrap())
                .collect();
            // (expires, order of adding, timer)
            let mut model: Vec<(u64, u64, TimerId)> = Vec::new();
            for step in 0..1000 {
                let id = all[random(&mut state) as usize % all.len()];
                match random(&mut state) % 4 {
                    0 => {
                        linux.dequeue_timer(&queue, id);
                        model.retain(|entry| entry.2 != id);
                    }
                    1 => {
                        let first = model.iter().min().map(|entry| (entry.0, entry.2));
                        let now = first.map_or(0, |(expires, _)| expires);
                        assert_eq!(linux.first_expiry(&queue), first.map(|(expires, _)| expires));
                        assert_eq!(linux.expired_timer(&queue, now), first.map(|(_, id)| id));
                        if let Some((_, id)) = first {
                            assert_eq!(
                                linux.expired_timer(&queue, now.wrapping_sub(1)).filter(|_| now > 0),
                                None
                            );
                            linux.dequeue_timer(&queue, id);
                            model.retain(|entry| entry.2 != id);
                        }
                    }
                    _ => {
                        linux.dequeue_timer(&queue, id);
                        model.retain(|entry| entry.2 != id);
                        // Many of the same time.
                        let expires = random(&mut state) % 16;
                        linux.enqueue_timer(&queue, id, expires);
                        model.push((expires, step, id));
                    }
                }
                check_heap(linux, &queue, model.len());
            }
            for (_, _, id) in model {
                linux.dequeue_timer(&queue, id);
            }
            linux.exec_timers(timers);
        }
    });
}

#[test]
fn an_interval_timer_is_due_at_each_multiple_and_never_twice_at_once() {
    with_timers(|linux, timers| {
        let before = linux.setitimer(timers, 7, Itimer::Real, every(10 * MS, 3 * MS), at(MS));
        assert_eq!(before, Ok(every(0, 0)));
        assert_eq!(linux.first_timer(), Some(11 * MS));
        assert_eq!(linux.getitimer(timers, Itimer::Real, at(4 * MS)), every(7 * MS, 3 * MS));
        assert_eq!(linux.expire_timer(11 * MS - 1), None);
        let due = Expired {
            owner: 7,
            thread: None,
            info: Some(Info::kernel(Signal::ALRM)),
        };
        assert_eq!(linux.expire_timer(11 * MS), Some(due));
        assert_eq!(linux.expire_timer(11 * MS), None);
        assert_eq!(linux.first_timer(), Some(14 * MS));
        // Noticed late: those that passed are one.
        assert_eq!(linux.expire_timer(21 * MS), Some(due));
        assert_eq!(linux.expire_timer(21 * MS), None);
        assert_eq!(linux.first_timer(), Some(23 * MS));
        // Due and not noticed is still set.
        assert_eq!(linux.getitimer(timers, Itimer::Real, at(30 * MS)), every(1, 3 * MS));
        let off = linux.setitimer(timers, 7, Itimer::Real, every(0, 5), at(22 * MS));
        assert_eq!(off, Ok(every(MS, 3 * MS)));
        assert_eq!(linux.getitimer(timers, Itimer::Real, at(22 * MS)), every(0, 0));
        assert_eq!(linux.first_timer(), None);
    });
}

#[test]
fn virtual_intervals_run_on_cpu_time() {
    with_timers(|linux, timers| {
        let now = Now {
            monotonic: 500,
            cpu: 100,
        };
        linux.setitimer(timers, 7, Itimer::Prof, every(50, 0), now).unwrap();
        linux.setitimer(timers, 7, Itimer::Virtual, every(20, 0), now).unwrap();
        assert_eq!((linux.first_timer(), linux.first_cpu_timer(timers)), (None, Some(120)));
        let signals: Vec<_> = std::iter::from_fn(|| linux.expire_cpu_timer(timers, 150))
            .map(|expired| expired.info.unwrap().signal)
            .collect();
        assert_eq!(signals, [Signal::VTALRM, Signal::PROF]);
    });
}

#[test]
fn the_times_that_a_waiting_signal_missed_are_its_overrun() {
    with_timers(|linux, timers| {
        let usr1 = Signal::new(10).unwrap();
        let made = Made {
            clock: 1,
            signal: Some(usr1),
            value: Some(99),
            thread: None,
        };
        let number = linux.timer_create(timers, 7, made).unwrap();
        linux
            .timer_settime(timers, number, every(10, 10), None, at(0))
            .expect("a timer");
        // At 10, 20 and 30; then at 40 and 50.
        let info = linux.expire_timer(35).unwrap().info.unwrap();
        assert_eq!(
            (info.code, info.timer_number(), info.rest[1]),
            (code::TIMER, number, 99)
        );
        assert_eq!(linux.expire_timer(55).unwrap().info, None, "it waits already");
        let taken = linux.timer_signal_taken(timers, info);
        assert_eq!(taken.rest[0] >> 32, 4);
        assert_eq!(linux.timer_getoverrun(timers, number), Ok(4));
        let next = linux.expire_timer(60).unwrap().info.unwrap();
        assert_eq!(linux.timer_signal_taken(timers, next).rest[0] >> 32, 0);
        assert_eq!(linux.timer_getoverrun(timers, number), Ok(0));
        linux.timer_delete(timers, number).unwrap();
        assert_eq!(linux.timer_delete(timers, number), Err(Errno::EINVAL));
    });
}

#[test]
fn timers_are_told_apart_by_number_and_go_with_the_program() {
    with_timers(|linux, timers| {
        let made = Made {
            clock: 1,
            signal: None,
            value: None,
            thread: None,
        };
        let numbers: Vec<_> = (0..3).map(|_| linux.timer_create(timers, 7, made).unwrap()).collect();
        assert_eq!(numbers, [0, 1, 2]);
        for (number, left) in [(0, 30), (1, 10), (2, 20)] {
            linux
                .timer_settime(timers, number, every(left, 0), None, at(0))
                .unwrap();
        }
        linux.timer_delete(timers, 1).unwrap();
        assert_eq!(linux.timer_gettime(timers, 1, at(0)), Err(Errno::EINVAL));
        assert_eq!(linux.timer_gettime(timers, 2, at(5)), Ok(every(15, 0)));
        let until = linux.timer_settime(timers, 2, every(1, 4), Some(7), at(5));
        assert_eq!(until, Ok(every(15, 0)));
        assert_eq!(linux.first_timer(), Some(7));
        linux.setitimer(timers, 7, Itimer::Real, every(50, 0), at(0)).unwrap();
        linux.exec_timers(timers);
        assert_eq!(linux.first_timer(), Some(50), "intervals survive");
        assert_eq!(linux.timer_create(timers, 7, made), Ok(0));
    });
}

#[test]
fn a_signal_that_somebody_waits_for_wakes_though_it_is_blocked() {
    let memory: Memory<FakeMachine> = machine(256, 0);
    let linux = Linux::new(&memory);
    let (signals, shared, usr1) = (Signals::new(), Shared::new(), Signal::new(10).unwrap());
    let send = |info: &Info| linux.send(To::Process, &signals, &shared, [&signals], info);
    let set = crate::signal::SigSet::of(usr1);
    signals.set_blocked(set);
    let sent = Info::sent(usr1, code::USER, 3, 0);
    assert_eq!(send(&sent), Ok(true));
    assert!(!signals.wants(usr1), "it is blocked");
    assert_eq!(linux.take_signal(&signals, &shared, set), Some(sent));
    assert_eq!(linux.take_signal(&signals, &shared, set), None);
    signals.wait_for(set);
    assert!(signals.wants(usr1));
}

#[test]
fn times_are_checked_as_linux_does() {
    assert_eq!(timespec_ns([1, 5]), Ok(NS_PER_S + 5));
    assert_eq!(timespec_ns([u64::MAX, 0]), Err(Errno::EINVAL));
    assert_eq!(timespec_ns([0, NS_PER_S]), Err(Errno::EINVAL));
    assert_eq!(timespec_ns([i64::MAX as u64, 0]), Ok(i64::MAX as u64));
    assert_eq!(timeval_ns([2, 999_999]), Ok(2_999_999_000));
    assert_eq!(timeval_ns([0, 1_000_000]), Err(Errno::EINVAL));
}
