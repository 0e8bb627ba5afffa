//! The structures that `shmctl` fills and takes.
//!
//! Source: Linux, include/uapi/asm-generic/shmbuf.h, ipcbuf.h, include/uapi/linux/shm.h.

use faultlab_mm::ipc::{ShmInfo, ShmLimits, ShmidDs};

/// `struct shmid64_ds`: 48 bytes of `ipc64_perm`, then the segment.
#[must_use]
pub fn shmid64_ds(ds: &ShmidDs) -> [u8; 112] {
    let mut bytes = [0; 112];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    for (index, field) in [ds.key, ds.uid, ds.gid, ds.cuid, ds.cgid, ds.mode].iter().enumerate() {
        put(4 * index, &field.to_le_bytes());
    }
    put(24, &(ds.seq as u16).to_le_bytes());
    put(48, &ds.segsz.to_le_bytes());
    put(56, &ds.atime.to_le_bytes());
    put(64, &ds.dtime.to_le_bytes());
    put(72, &ds.ctime.to_le_bytes());
    put(80, &ds.cpid.to_le_bytes());
    put(84, &ds.lpid.to_le_bytes());
    put(88, &ds.nattch.to_le_bytes());
    bytes
}

/// What `IPC_SET` takes of a `struct shmid64_ds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of ipc64_perm")]
pub struct IpcSet {
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
}

impl IpcSet {
    /// From a program's `struct shmid64_ds`.
    #[must_use]
    pub fn parse(bytes: &[u8; 112]) -> Self {
        let word = |at: usize| crate::le(bytes, at).map_or(0, u32::from_le_bytes);
        Self {
            uid: word(4),
            gid: word(8),
            mode: word(20),
        }
    }
}

/// `struct shminfo64`: the limits. Rule A56.
#[must_use]
pub fn shminfo64(limits: &ShmLimits) -> [u8; 72] {
    let mni = u64::from(limits.mni);
    let mut bytes = [0; 72];
    for (index, field) in [limits.max_bytes, 1, mni, mni, limits.all_pages].iter().enumerate() {
        bytes[8 * index..8 * index + 8].copy_from_slice(&field.to_le_bytes());
    }
    bytes
}

/// `struct shm_info`: what all segments use. Rule A57.
#[must_use]
pub fn shm_info(info: &ShmInfo) -> [u8; 48] {
    let mut bytes = [0; 48];
    let fields = [u64::from(info.used_ids), info.tot, info.rss, info.swp];
    for (index, field) in fields.iter().enumerate() {
        bytes[8 * index..8 * index + 8].copy_from_slice(&field.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_what_is_told() {
        let mut bytes = [0xff; 112];
        bytes[4..8].copy_from_slice(&1u32.to_le_bytes());
        bytes[8..12].copy_from_slice(&2u32.to_le_bytes());
        bytes[20..24].copy_from_slice(&0o640u32.to_le_bytes());
        let set = IpcSet::parse(&bytes);
        assert_eq!((set.uid, set.gid, set.mode), (1, 2, 0o640));
    }

    #[test]
    fn information() {
        let info = ShmInfo {
            used_ids: 1,
            highest_index: 9,
            tot: 2,
            rss: 3,
            swp: 4,
        };
        let long = |bytes: &[u8], at: usize| crate::le(bytes, at).map(u64::from_le_bytes).expect("inside");
        assert_eq!(
            [0, 8, 16, 24, 32, 40].map(|at| long(&shm_info(&info), at)),
            [1, 2, 3, 4, 0, 0]
        );
        let limits = ShmLimits {
            max_bytes: 5,
            all_pages: 6,
            mni: 7,
        };
        let bytes = shminfo64(&limits);
        assert_eq!([0, 8, 16, 24, 32].map(|at| long(&bytes, at)), [5, 1, 7, 7, 6]);
        assert_eq!([40, 48, 56, 64].map(|at| long(&bytes, at)), [0; 4]);
    }

    #[test]
    fn fields_lie_where_linux_has_them() {
        let ds = ShmidDs {
            key: 1,
            uid: 2,
            gid: 3,
            cuid: 4,
            cgid: 5,
            mode: 0o1600,
            seq: 7,
            segsz: 8,
            atime: 9,
            dtime: -10,
            ctime: 11,
            cpid: 12,
            lpid: 13,
            nattch: 14,
        };
        let bytes = shmid64_ds(&ds);
        let word = |at: usize| crate::le(&bytes, at).map(u32::from_le_bytes).expect("inside");
        let long = |at: usize| crate::le(&bytes, at).map(u64::from_le_bytes).expect("inside");
        assert_eq!([0, 4, 8, 12, 16, 20, 24].map(word), [1, 2, 3, 4, 5, 0o1600, 7]);
        assert_eq!([48, 56, 72, 88].map(long), [8, 9, 11, 14]);
        assert_eq!(long(64), (-10i64).cast_unsigned());
        assert_eq!([80, 84].map(word), [12, 13]);
        assert_eq!([32, 40, 96, 104].map(long), [0; 4]);
    }
}
