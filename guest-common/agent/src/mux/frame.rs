// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The frames of the trunk: `{ kind: u8, channel: u32 LE, length: u32 LE, payload }`, or the lone
//! byte 0, which means nothing.

use std::fmt;
use std::io::{self, ErrorKind, Read};

/// Bytes before the payload.
pub const HEADER: usize = 9;
/// What a guest's kernel takes in one write (drivers/char/virtio_console.c, `port_fops_write`).
/// All that is sent at once fits in it and consists of whole frames, so that a guest which is
/// reset leaves no half of one.
pub const BATCH: usize = 32 * 1024;
/// The largest payload.
pub const MAX_PAYLOAD: usize = BATCH - HEADER;
/// A guest's greeting names its boot by a text of this many bytes: a UUID.
pub const BOOT_ID: usize = 36;

/// One frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Guest to host: an agent has started; whatever was before is void.
    Hello(&'a [u8; BOOT_ID]),
    /// Host to guest: the answer to this greeting; from here on the stream counts.
    Welcome(&'a [u8; BOOT_ID]),
    /// Host to guest: a new channel. Guest to host: it is there.
    Open(u32),
    /// Bytes of a channel.
    Data(u32, &'a [u8]),
    /// The sender has handed on so many bytes of a channel: as many more may come.
    Credit(u32, u32),
    /// The channel is over for the sender.
    Close(u32),
}

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const OPEN: u8 = 3;
const DATA: u8 = 4;
const CREDIT: u8 = 5;
const CLOSE: u8 = 6;

/// A trunk's bytes that make no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonsense {
    /// The frame's kind.
    pub kind: u8,
    /// Its length, in bytes.
    pub length: u32,
}

impl fmt::Display for Nonsense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "frame of kind {} and {} bytes makes no sense here",
            self.kind, self.length
        )
    }
}

impl std::error::Error for Nonsense {}

/// The header of a frame with data, for a sender that reads the payload in place.
pub fn data_header(channel: u32, length: usize) -> [u8; HEADER] {
    header(DATA, channel, length)
}

fn header(kind: u8, channel: u32, length: usize) -> [u8; HEADER] {
    let mut header = [kind; HEADER];
    header[1..5].copy_from_slice(&channel.to_le_bytes());
    header[5..].copy_from_slice(&(length as u32).to_le_bytes());
    header
}

impl<'a> Frame<'a> {
    /// Appends the frame's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let credit;
        let (kind, channel, payload) = match *self {
            Frame::Hello(boot) => (HELLO, 0, &boot[..]),
            Frame::Welcome(boot) => (WELCOME, 0, &boot[..]),
            Frame::Open(channel) => (OPEN, channel, &[][..]),
            Frame::Data(channel, data) => (DATA, channel, data),
            Frame::Credit(channel, bytes) => {
                credit = bytes.to_le_bytes();
                (CREDIT, channel, &credit[..])
            }
            Frame::Close(channel) => (CLOSE, channel, &[][..]),
        };
        out.extend_from_slice(&header(kind, channel, payload.len()));
        out.extend_from_slice(payload);
    }

    fn parse(kind: u8, channel: u32, payload: &'a [u8]) -> Option<Self> {
        Some(match kind {
            HELLO => Frame::Hello(payload.try_into().ok()?),
            WELCOME => Frame::Welcome(payload.try_into().ok()?),
            OPEN if payload.is_empty() => Frame::Open(channel),
            DATA => Frame::Data(channel, payload),
            CREDIT => Frame::Credit(channel, u32::from_le_bytes(payload.try_into().ok()?)),
            CLOSE if payload.is_empty() => Frame::Close(channel),
            _ => return None,
        })
    }
}

/// Cuts the trunk's bytes into frames, in one bounded buffer.
#[derive(Debug)]
pub struct Decoder {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder {
            buffer: vec![0; 2 * BATCH].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }
}

impl Decoder {
    /// Reads once. `Ok(false)` at the end of the stream; nothing there is no error. Take all
    /// frames out before.
    pub fn fill(&mut self, source: &mut impl Read) -> io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        match source.read(&mut self.buffer[self.end..]) {
            Ok(count) => {
                self.end += count;
                Ok(count > 0)
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Ok(true)
            }
            Err(e) => Err(e),
        }
    }

    /// The next whole frame, or `None` if more bytes are needed.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, Nonsense> {
        let bytes = &self.buffer[self.start..self.end];
        let Some(skip) = bytes.iter().position(|byte| *byte != 0) else {
            self.start = self.end;
            return Ok(None);
        };
        self.start += skip;
        let bytes = &self.buffer[self.start..self.end];
        let Some((&[kind, a, b, c, d, ref length @ ..], rest)) =
            bytes.split_first_chunk::<HEADER>()
        else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length);
        let nonsense = Nonsense { kind, length };
        if length as usize > MAX_PAYLOAD || kind > CLOSE {
            return Err(nonsense);
        }
        let Some(payload) = rest.get(..length as usize) else {
            return Ok(None);
        };
        self.start += HEADER + payload.len();
        Frame::parse(kind, u32::from_le_bytes([a, b, c, d]), payload)
            .ok_or(nonsense)
            .map(Some)
    }

    /// Skips everything up to and with the welcome for this boot, wherever it begins. False if it
    /// is not there (yet).
    pub fn skip_to_welcome(&mut self, boot: &[u8; BOOT_ID]) -> bool {
        let mut wanted = Vec::new();
        Frame::Welcome(boot).encode(&mut wanted);
        let bytes = &self.buffer[self.start..self.end];
        match bytes
            .windows(wanted.len())
            .position(|window| window == wanted)
        {
            Some(place) => {
                self.start += place + wanted.len();
                true
            }
            None => {
                // Its first part may be there.
                self.start += (bytes.len() + 1).saturating_sub(wanted.len());
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: &[u8; BOOT_ID] = b"01234567-0123-0123-0123-0123456789ab";

    fn decode(bytes: &[u8], chunk: usize) -> Result<Vec<String>, Nonsense> {
        let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
        for mut piece in bytes.chunks(chunk) {
            while !piece.is_empty() {
                assert!(decoder.fill(&mut piece).unwrap());
                while let Some(frame) = decoder.next_frame()? {
                    frames.push(format!("{frame:?}"));
                }
            }
        }
        Ok(frames)
    }

    #[test]
    fn frames_survive_cuts_and_padding() {
        let data = vec![0; MAX_PAYLOAD];
        let sent = [
            Frame::Hello(BOOT),
            Frame::Welcome(BOOT),
            Frame::Open(1),
            Frame::Data(u32::MAX, &data),
            Frame::Data(0, &[]),
            Frame::Credit(1, 1 << 31),
            Frame::Close(1),
        ];
        let mut bytes = Vec::new();
        for frame in sent {
            frame.encode(&mut bytes);
            bytes.extend([0; 3]);
        }
        let expected: Vec<_> = sent.iter().map(|frame| format!("{frame:?}")).collect();
        for chunk in [1, 8, 9, 10, 4096, bytes.len()] {
            assert_eq!(decode(&bytes, chunk).unwrap(), expected);
        }
    }

    #[test]
    fn nonsense_is_a_typed_error() {
        for bytes in [
            &b"\x07\0\0\0\0\0\0\0\0"[..],
            b"\x04\0\0\0\0\xff\xff\xff\xff",
            b"\x05\0\0\0\0\x01\0\0\0\0",
            b"\x03\0\0\0\0\x01\0\0\0\0",
            b"\x01\0\0\0\0\0\0\0\0",
        ] {
            assert!(decode(bytes, 100).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_greeting_is_heard_after_half_a_frame_and_a_batch_of_padding() {
        let mut bytes = data_header(3, MAX_PAYLOAD).to_vec();
        bytes.extend([7; 100]);
        bytes.extend([0; BATCH]);
        Frame::Hello(BOOT).encode(&mut bytes);
        let frames = decode(&bytes, 1000).unwrap();
        assert_eq!(frames.last(), Some(&format!("{:?}", Frame::Hello(BOOT))));
    }

    #[test]
    fn a_welcome_is_found_in_any_rubbish() {
        let mut bytes = vec![0x5a; 3 * BATCH + 17];
        Frame::Welcome(BOOT).encode(&mut bytes);
        Frame::Open(7).encode(&mut bytes);
        for chunk in [1, 44, 45, 46, 1000] {
            let mut decoder = Decoder::default();
            let found = bytes.chunks(chunk).position(|mut piece| {
                decoder.fill(&mut piece).unwrap();
                decoder.skip_to_welcome(BOOT)
            });
            let mut rest = &bytes[((found.unwrap() + 1) * chunk).min(bytes.len())..];
            while !rest.is_empty() {
                decoder.fill(&mut rest).unwrap();
            }
            assert_eq!(decoder.next_frame(), Ok(Some(Frame::Open(7))));
        }
    }
}
