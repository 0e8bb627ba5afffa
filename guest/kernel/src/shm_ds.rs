//! `struct shmid64_ds`: what `shmctl(IPC_STAT)` tells a program.
//!
//! Source: Linux, include/uapi/asm-generic/shmbuf.h, ipcbuf.h.

use faultlab_mm::ipc::ShmidDs;

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

#[cfg(test)]
mod tests {
    use super::*;

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
