//! The number of segments: rule A10.

use faultlab_programs::println;
use faultlab_programs::sys::sysv_shm;

use crate::show::{need, new, rmid, show_ok};

pub(crate) fn run() {
    let mut ids = [0; 4096];
    for slot in &mut ids {
        *slot = new(1, 0o600);
    }
    println!("A10 A16 4096 segments: {} to {}", ids[0], ids[4095]);
    show_ok("A10", "one more", sysv_shm::get(0, 1, 0o600));
    show_ok("A10", "one more, size 0", sysv_shm::get(0, 0, 0o600));
    show_ok("A10 A11", "one more, too large", sysv_shm::get(0, 1 << 46, 0o600));
    need("IPC_RMID", rmid(ids[7]));
    let id = sysv_shm::get(0, 1, 0o600);
    show_ok("A10", "one less, one more", id);
    ids[7] = need("shmget", id);
    println!("A65 pages: {}", need("SHM_INFO", sysv_shm::info()).tot);
    for id in ids {
        need("IPC_RMID", rmid(id));
    }
    let info = need("SHM_INFO", sysv_shm::info());
    println!("A65 all removed: {} segments, {} pages", info.used_ids, info.tot);
}
