//! System V shared memory: segments that all processes know, by number and by key.

use faultlab_programs::arena::Plain;
use faultlab_programs::println;
use faultlab_programs::sys::Errno;
use faultlab_programs::sys::memory::PAGE_BYTES;
use faultlab_programs::sys::sysv_shm::{self, ShmidDs, number};

use crate::Call;
use crate::draw::Draw;
use crate::space::{Page, any_page, page};
use crate::stage::{SEGMENTS, Stage};

/// Keys in use. A segment with key `k` is known as number `k - 1`, the private ones by the numbers above.
const KEYS: usize = 3;

pub(crate) fn make(stage: &Stage, call: &Call, draw: &mut Draw) {
    let index = draw.below(SEGMENTS);
    let id = stage.segment(index);
    match draw.below(12) {
        0 | 1 => get(stage, call, draw),
        2..=5 => attach(call, draw, index, id),
        6 | 7 => {
            let at = any_page(draw);
            let odd = if draw.once_in(8) { 16 } else { 0 };
            // SAFETY: only the arena has attachments, and no Rust object is there.
            let answer = unsafe { sysv_shm::detach((page(at) + odd) as *mut u8) };
            call.show(
                format_args!("shmdt {at}{}", if odd == 0 { "" } else { " and 16 bytes" }),
                Plain(answer.map(|()| 0)),
            );
        }
        8 => call.show(
            format_args!("remove segment {index}"),
            Plain(sysv_shm::remove(id).map(|()| 0)),
        ),
        9 => change(call, draw, index, id),
        10 => match sysv_shm::stat(id) {
            Ok(ds) => call.show(
                format_args!("segment {index}"),
                format_args!(
                    "{} attached, {} bytes, mode {:o}, made by {}, last used by {}",
                    ds.nattch,
                    ds.segsz,
                    ds.perm[2] >> 32,
                    stage.name_of(ds.cpid),
                    stage.name_of(ds.lpid)
                ),
            ),
            Err(errno) => call.show(format_args!("segment {index}"), errno),
        },
        _ => totals(|used, pages| call.show("all segments", format_args!("{used}, {pages} pages"))),
    }
}

fn get(stage: &Stage, call: &Call, draw: &mut Draw) {
    let key = draw.below(KEYS + 2).saturating_sub(1);
    let bytes = draw.one_of(&[1, PAGE_BYTES, 2 * PAGE_BYTES, 12000, 0, 8 * PAGE_BYTES]);
    let (flags, shown) = draw.one_of(&[
        (number::IPC_CREAT, "create"),
        (number::IPC_CREAT, "create"),
        (number::IPC_CREAT | number::IPC_EXCL, "create anew"),
        (0, "find"),
    ]);
    let mode = draw.one_of(&[0o600, 0o666, 0o444, 0o640]);
    let index = match key {
        0 => KEYS + draw.below(SEGMENTS - KEYS),
        key => key - 1,
    };
    if key == 0 && sysv_shm::stat(stage.segment(index)).is_ok_and(|ds| ds.perm[2] >> 32 & 0o1000 == 0) {
        return call.show(format_args!("shmget private as {index}"), "there is one");
    }
    let answer = sysv_shm::get(key as i32, bytes, flags | mode);
    match answer {
        Ok(id) => {
            stage.set_segment(index, id);
            call.show(
                format_args!("shmget key {key} {bytes} bytes {shown} {mode:o}"),
                format_args!("{id}, segment {index}"),
            );
        }
        Err(errno) => call.show(format_args!("shmget key {key} {bytes} bytes {shown} {mode:o}"), errno),
    }
}

fn attach(call: &Call, draw: &mut Draw, index: usize, id: i32) {
    let at = any_page(draw);
    let (flags, shown) = draw.one_of(&[
        (0, ""),
        (0, ""),
        (number::SHM_REMAP, " over what is there"),
        (number::SHM_REMAP, " over what is there"),
        (number::SHM_RDONLY, " for reading"),
        (
            number::SHM_RDONLY | number::SHM_REMAP,
            " for reading, over what is there",
        ),
        (number::SHM_EXEC, " for execution"),
    ]);
    let odd = if draw.once_in(8) { 100 } else { 0 };
    let round = if draw.once_in(4) { number::SHM_RND } else { 0 };
    // SAFETY: what is replaced is of the arena.
    let answer = unsafe { sysv_shm::attach_with(id, page(at) + odd, flags | round) };
    call.show(
        format_args!(
            "shmat segment {index} at {at}{}{shown}{}",
            if odd == 0 { "" } else { " and 100 bytes" },
            if round == 0 { "" } else { ", rounded" }
        ),
        Page(answer),
    );
}

fn change(call: &Call, draw: &mut Draw, index: usize, id: i32) {
    let (what, answer) = match draw.below(3) {
        0 => ("lock", control(id, number::SHM_LOCK, None)),
        1 => ("unlock", control(id, number::SHM_UNLOCK, None)),
        _ => {
            let mode: u64 = draw.one_of(&[0o600, 0o666, 0o400, 0]);
            let mut ds = ShmidDs::default();
            ds.perm[2] = mode << 32;
            ("change rights of", control(id, number::IPC_SET, Some(ds)))
        }
    };
    call.show(format_args!("{what} segment {index}"), Plain(answer));
}

fn control(id: i32, command: i32, ds: Option<ShmidDs>) -> Result<usize, Errno> {
    let mut buffer = ds.unwrap_or_default();
    // SAFETY: every command used here takes this structure, or nothing.
    unsafe { sysv_shm::control(id, command, &raw mut buffer as usize) }.map(|value| value as usize)
}

fn totals(show: impl FnOnce(u64, u64)) {
    match sysv_shm::info() {
        Ok(info) => show(info.used_ids, info.tot),
        Err(errno) => println!("SHM_INFO: {errno}"),
    }
}

/// Removes every segment.
pub(crate) fn remove_all() {
    // More than were ever alive at once.
    for index in 0..64 {
        let mut ds = ShmidDs::default();
        // SAFETY: the command takes this structure.
        if let Ok(id) = unsafe { sysv_shm::control(index, number::SHM_STAT_ANY, &raw mut ds as usize) } {
            _ = sysv_shm::remove(id);
        }
    }
}

/// What is left at the end: what this process has attached.
pub(crate) fn show_totals() {
    totals(|used, pages| println!("left: {used} segments, {pages} pages"));
}
