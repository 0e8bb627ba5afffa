//! What an ordinary Rust program does with threads, by its standard library alone. It prints the same on every Linux.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Barrier, Condvar, Mutex, Once, RwLock};
use std::thread;
use std::time::{Duration, Instant};

thread_local! {
    static OWN: Cell<u64> = const { Cell::new(7) };
}

/// Primes below `end`, found by threads that are handed candidates and hand back what they found.
fn primes(end: u64) -> u64 {
    const WORKERS: usize = 4;
    let (found, results) = mpsc::channel();
    let (hand, candidates) = mpsc::sync_channel::<u64>(3);
    let candidates = Arc::new(Mutex::new(candidates));
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let (candidates, found) = (Arc::clone(&candidates), found.clone());
            thread::spawn(move || {
                loop {
                    let next = candidates.lock().unwrap().recv();
                    let Ok(number) = next else { break };
                    if (2..number)
                        .take_while(|by| by * by <= number)
                        .all(|by| number % by != 0)
                    {
                        found.send(number).unwrap();
                    }
                }
            })
        })
        .collect();
    drop(found);
    for number in 2..end {
        hand.send(number).unwrap();
    }
    drop(hand);
    let sum = results.iter().sum();
    for worker in workers {
        worker.join().unwrap();
    }
    sum
}

fn scoped() {
    let mut parts = [0u64; 6];
    let (barrier, once, last) = (Barrier::new(parts.len()), Once::new(), AtomicU64::new(0));
    thread::scope(|scope| {
        for (number, part) in (1..).zip(&mut parts) {
            let (barrier, once, last) = (&barrier, &once, &last);
            scope.spawn(move || {
                OWN.set(OWN.get() + number);
                once.call_once(|| println!("once"));
                last.fetch_add(u64::from(barrier.wait().is_leader()), Ordering::SeqCst);
                *part = OWN.get();
            });
        }
    });
    println!("parts {parts:?}, leaders {}, own {}", last.into_inner(), OWN.get());
}

fn shared() {
    let words: RwLock<BTreeMap<u64, u64>> = RwLock::default();
    let ready = (Mutex::new(0), Condvar::new());
    thread::scope(|scope| {
        for number in 0..4u64 {
            let (words, ready) = (&words, &ready);
            scope.spawn(move || {
                for step in 0..20 {
                    *words.write().unwrap().entry(step % 5).or_default() += number;
                    let _sum: u64 = words.read().unwrap().values().sum();
                }
                *ready.0.lock().unwrap() += 1;
                ready.1.notify_all();
            });
        }
        let all = ready.1.wait_while(ready.0.lock().unwrap(), |ready| *ready < 4).unwrap();
        println!("ready {all}");
    });
    println!("{:?}", words.into_inner().unwrap());
}

fn times() {
    let (hand, never) = mpsc::channel::<()>();
    let begun = Instant::now();
    let result = never.recv_timeout(Duration::from_millis(10));
    println!(
        "{:?}, long enough {}",
        result == Err(RecvTimeoutError::Timeout),
        begun.elapsed() >= Duration::from_millis(10)
    );
    let parked = thread::spawn(|| {
        thread::park();
        drop(hand);
        thread::sleep(Duration::from_millis(1));
    });
    parked.thread().unpark();
    println!("{:?}", never.recv());
    parked.join().unwrap();
}

fn panics() {
    std::panic::set_hook(Box::new(|_| {}));
    let lock = Arc::new(Mutex::new(1));
    let poisoned = Arc::clone(&lock);
    let result = thread::Builder::new()
        .name("unlucky".into())
        .stack_size(256 << 10)
        .spawn(move || {
            let _guard = poisoned.lock().unwrap();
            panic!("{}", thread::current().name().unwrap());
        })
        .unwrap()
        .join();
    let message = result.unwrap_err().downcast::<String>().unwrap();
    println!("{message}, poisoned {}", lock.is_poisoned());
}

fn main() {
    println!("primes {}", primes(120));
    scoped();
    shared();
    times();
    panics();
    let many: Vec<_> = (0..20u64)
        .map(|number| thread::spawn(move || number * number))
        .collect();
    let sum: u64 = many.into_iter().map(|thread| thread.join().unwrap()).sum();
    println!("many {sum}");
    // Still at work when the process ends.
    thread::spawn(|| {
        loop {
            thread::yield_now();
        }
    });
    std::process::exit(9);
}
