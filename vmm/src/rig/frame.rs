//! What the two ends of the machine's second serial port say to each other: tagged records, one after another.
//!
//! A record is one tag byte, the payload's length in four bytes (little-endian), and the payload. The stream starts
//! with [`GREETING`]; whatever firmware or drivers put on the wire before it is skipped.
//!
//! Standard output and standard error share the port, so their relative order survives, and any byte can be sent.

use std::io::{self, Write};

/// First bytes of the stream. Its number changes with the format.
pub(super) const GREETING: &[u8] = b"\0faultlab-rig/1\0";

/// Largest payload, in bytes: more is a damaged stream.
pub(super) const PAYLOAD_MAX: usize = 64 << 10;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// The program is about to start.
    Started,
    /// It wrote this to its standard output.
    Stdout(Vec<u8>),
    /// It wrote this to its standard error.
    Stderr(Vec<u8>),
    /// The next bytes of an output file, by its place in [`super::plan::Plan::outputs`].
    File(u32, Vec<u8>),
    /// That file is complete.
    FileEnd(u32),
    /// The machine could not be set up; the reason, one line.
    Failure(Vec<u8>),
    /// The program ended with this exit status (128 + n for signal n). The last record.
    Status(u8),
}

impl Frame {
    /// Writes the record.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let (tag, index, bytes): (u8, Option<u32>, &[u8]) = match self {
            Frame::Started => (b'G', None, &[]),
            Frame::Stdout(bytes) => (b'O', None, bytes),
            Frame::Stderr(bytes) => (b'E', None, bytes),
            Frame::File(index, bytes) => (b'F', Some(*index), bytes),
            Frame::FileEnd(index) => (b'f', Some(*index), &[]),
            Frame::Failure(bytes) => (b'!', None, bytes),
            Frame::Status(status) => (b'S', None, std::slice::from_ref(status)),
        };
        let index = index.map(u32::to_le_bytes);
        let index: &[u8] = index.as_ref().map_or(&[], |bytes| bytes);
        let length = index.len() + bytes.len();
        assert!(
            length <= PAYLOAD_MAX,
            "a payload of {length} bytes: senders split at PAYLOAD_MAX"
        );
        // One write, so that a port shared by threads cannot interleave records.
        let mut record = Vec::with_capacity(5 + length);
        record.push(tag);
        record.extend_from_slice(&(length as u32).to_le_bytes());
        record.extend_from_slice(index);
        record.extend_from_slice(bytes);
        out.write_all(&record)
    }

    fn decode(tag: u8, payload: &[u8]) -> Option<Frame> {
        let indexed = || {
            payload
                .split_first_chunk()
                .map(|(index, rest)| (u32::from_le_bytes(*index), rest))
        };
        Some(match (tag, payload) {
            (b'G', []) => Frame::Started,
            (b'O', bytes) => Frame::Stdout(bytes.to_vec()),
            (b'E', bytes) => Frame::Stderr(bytes.to_vec()),
            (b'F', _) => indexed().map(|(index, rest)| Frame::File(index, rest.to_vec()))?,
            (b'f', _) => indexed()
                .filter(|(_, rest)| rest.is_empty())
                .map(|(index, _)| Frame::FileEnd(index))?,
            (b'!', bytes) => Frame::Failure(bytes.to_vec()),
            (b'S', [status]) => Frame::Status(*status),
            _ => return None,
        })
    }
}

/// The stream is no sequence of records.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damaged {
    /// The tag where it stopped making sense.
    pub(super) tag: u8,
    /// The length there, in bytes.
    pub(super) length: usize,
}

/// Takes the stream in pieces of any size and hands out records.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    buffer: Vec<u8>,
    greeted: bool,
}

impl Decoder {
    /// Takes the next bytes of the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        if !self.greeted {
            let found = self
                .buffer
                .windows(GREETING.len())
                .position(|window| window == GREETING);
            // Without it, only its possible beginning is worth keeping.
            let skip = found.map_or(self.buffer.len().saturating_sub(GREETING.len() - 1), |at| {
                at + GREETING.len()
            });
            self.buffer.drain(..skip);
            self.greeted = found.is_some();
        }
    }

    /// The next record; `None` if it has not arrived completely.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Damaged> {
        let Some(([tag, length @ ..], rest)) = self.buffer.split_first_chunk::<5>().filter(|_| self.greeted) else {
            return Ok(None);
        };
        let (tag, length) = (*tag, u32::from_le_bytes(*length) as usize);
        if length > PAYLOAD_MAX {
            return Err(Damaged { tag, length });
        }
        let Some(payload) = rest.get(..length) else {
            return Ok(None);
        };
        let frame = Frame::decode(tag, payload).ok_or(Damaged { tag, length })?;
        self.buffer.drain(..5 + length);
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_frame() -> Vec<Frame> {
        let all_bytes: Vec<u8> = (0..=255).collect();
        vec![
            Frame::Started,
            Frame::Stdout(all_bytes.clone()),
            Frame::Stderr(b"\r\n\x04\x03\x11\x13".to_vec()),
            Frame::File(0, vec![]),
            Frame::File(u32::MAX, vec![0; PAYLOAD_MAX - 4]),
            Frame::FileEnd(7),
            Frame::Failure(b"no".to_vec()),
            Frame::Status(143),
        ]
    }

    fn stream(frames: &[Frame]) -> Vec<u8> {
        // What a serial driver's probe may leave, with a false start of the greeting.
        let mut bytes = [b"\xff\0\0faultlab-\0", GREETING].concat();
        frames.iter().for_each(|frame| frame.write(&mut bytes).unwrap());
        bytes
    }

    fn decoded(bytes: &[u8], piece: usize) -> Vec<Frame> {
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        for bytes in bytes.chunks(piece) {
            decoder.push(bytes);
            while let Some(frame) = decoder.next().unwrap() {
                frames.push(frame);
            }
        }
        frames
    }

    #[test]
    fn frames_survive_any_segmentation() {
        let bytes = stream(&every_frame());
        for piece in [1, 2, 3, 5, 7, 64, 4096, bytes.len()] {
            assert_eq!(decoded(&bytes, piece), every_frame(), "{piece}");
        }
    }

    #[test]
    fn nothing_comes_of_a_stream_without_greeting() {
        assert_eq!(decoded(&[b'S'; 1000], 10), []);
    }

    #[test]
    fn a_damaged_stream_is_noticed() {
        let cases: [&[u8]; 7] = [
            b"?\0\0\0\0",
            b"O\xff\xff\xff\xff",
            b"S\0\0\0\0",
            b"S\x02\0\0\0ab",
            b"G\x01\0\0\0a",
            b"F\x03\0\0\0abc",
            b"f\x05\0\0\0\0\0\0\0x",
        ];
        for record in cases {
            let mut decoder = Decoder::default();
            decoder.push(&[GREETING, record].concat());
            assert_eq!(decoder.next().unwrap_err().tag, record[0], "{record:?}");
        }
    }

    #[test]
    fn a_truncated_stream_ends_without_its_last_frame() {
        let bytes = stream(&[Frame::Started, Frame::Status(1)]);
        assert_eq!(decoded(&bytes[..bytes.len() - 1], 4096), [Frame::Started]);
    }
}
