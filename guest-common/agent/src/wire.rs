// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The framing between the runner and the guest: one connection carries one command.
//!
//! A frame is `{ kind: u8, length: u32 little-endian, payload }`. The host opens with
//! [`ToGuest::Start`]; then standard input, signals and terminal sizes go one way, output and at
//! last [`ToHost::Exit`] the other. Whoever loses the connection before `Exit` treats the command
//! as lost; the guest then kills it.
//!
//! Standard input has a window: the host may have at most [`STDIN_WINDOW`] bytes on the way that
//! the guest has not given back by [`ToHost::Credit`]. So the guest can always read the connection
//! to its end with bounded memory, and a signal is never stuck behind input that the command does
//! not read. Output has none: it is held back by the connection itself.

use std::fmt;
use std::io::{self, Read};

/// What the first byte of [`Start`] has to be; raised with every change of layout.
pub const VERSION: u8 = 1;
/// Bytes before the payload: kind and length.
pub const HEADER: usize = 5;
/// The largest payload, in bytes. Larger than `MAX_ARG_STRLEN` of Linux, which bounds a command.
pub const MAX_PAYLOAD: usize = 192 * 1024;
/// The largest payload of a data frame that senders make, in bytes.
pub const CHUNK: usize = 64 * 1024;
/// Bytes of standard input that may be on the way without a [`ToHost::Credit`] for them.
pub const STDIN_WINDOW: u32 = 256 * 1024;

/// Frame kinds. Bit 7 tells the direction.
mod kind {
    pub const START: u8 = 0x01;
    pub const STDIN: u8 = 0x02;
    pub const SIGNAL: u8 = 0x03;
    pub const RESIZE: u8 = 0x04;
    pub const STDOUT: u8 = 0x81;
    pub const STDERR: u8 = 0x82;
    pub const CREDIT: u8 = 0x83;
    pub const STDIN_CLOSED: u8 = 0x84;
    pub const EXIT: u8 = 0x85;
    pub const REFUSED: u8 = 0x86;
}

/// Why a peer's bytes make no sense. After one of these the stream is out of step: close it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WireError {
    /// A frame announces more than [`MAX_PAYLOAD`] bytes.
    TooLong {
        /// The frame's kind.
        kind: u8,
        /// What it announced, in bytes.
        length: u32,
    },
    /// No frame of this kind goes in this direction.
    UnknownKind(u8),
    /// The payload does not have the layout of its kind.
    BadPayload {
        /// The frame's kind.
        kind: u8,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The peer speaks another version of this protocol.
    Version(u8),
    /// The host sent more standard input than its window allows.
    WindowExceeded,
    /// The first frame was not `Start`, or a later one was.
    OutOfOrder(u8),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::TooLong { kind, length } => {
                write!(
                    f,
                    "frame {kind:#04x} of {length} bytes, at most {MAX_PAYLOAD} are allowed"
                )
            }
            WireError::UnknownKind(kind) => write!(f, "unknown frame kind {kind:#04x}"),
            WireError::BadPayload { kind, what } => write!(f, "frame {kind:#04x}: {what}"),
            WireError::Version(version) => {
                write!(f, "protocol version {version}, this side speaks {VERSION}")
            }
            WireError::WindowExceeded => {
                write!(
                    f,
                    "more standard input than the window of {STDIN_WINDOW} bytes"
                )
            }
            WireError::OutOfOrder(kind) => write!(f, "frame {kind:#04x} out of order"),
        }
    }
}

impl std::error::Error for WireError {}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// What to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// For the shell's `-c`; empty asks for an interactive login shell.
    pub command: String,
    /// The working directory; empty for the server's, which is root's home.
    pub directory: String,
    /// Added to the guest's own environment.
    pub environment: Vec<(String, String)>,
    /// A pseudo-terminal of this size in place of three pipes.
    pub terminal: Option<WindowSize>,
}

/// What the host says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToGuest<'a> {
    /// Start a command; the first frame, and only that.
    Start(Start),
    /// Standard input; empty for its end.
    Stdin(&'a [u8]),
    /// Send this signal (1 to 64) to the command's process group.
    Signal(u8),
    /// The terminal has a new size.
    Resize(WindowSize),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It returned this status.
    Code(u8),
    /// This signal killed it.
    Signal(u8),
}

impl Exit {
    /// The status as a shell shows it: 128 + n for signal n.
    pub fn status(self) -> u8 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128u8.saturating_add(signal),
        }
    }
}

/// What the guest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToHost<'a> {
    /// Standard output.
    Stdout(&'a [u8]),
    /// Standard error.
    Stderr(&'a [u8]),
    /// So many more bytes of standard input may be sent.
    Credit(u32),
    /// The command has closed its standard input: send no more.
    StdinClosed,
    /// The command ended and all of its output was sent; the last frame.
    Exit(Exit),
    /// The command was not started, for this reason; the last frame.
    Refused(&'a str),
}

/// The first bytes of a frame whose payload the caller writes by itself.
fn header(kind: u8, length: usize) -> [u8; HEADER] {
    debug_assert!(length <= MAX_PAYLOAD);
    let [a, b, c, d] = (length as u32).to_le_bytes();
    [kind, a, b, c, d]
}

/// The header of a [`ToHost::Stdout`] frame of `length` bytes, for a sender that reads the payload in place.
pub fn stdout_header(length: usize) -> [u8; HEADER] {
    header(kind::STDOUT, length)
}

/// The header of a [`ToHost::Stderr`] frame of `length` bytes, for a sender that reads the payload in place.
pub fn stderr_header(length: usize) -> [u8; HEADER] {
    header(kind::STDERR, length)
}

fn frame(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    out.extend_from_slice(&header(kind, payload.len()));
    out.extend_from_slice(payload);
}

impl WindowSize {
    fn encode(self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.rows.to_le_bytes(), self.columns.to_le_bytes());
        [a, b, c, d]
    }
}

impl Start {
    fn encode(&self) -> Result<Vec<u8>, WireError> {
        let mut payload = vec![VERSION];
        match self.terminal {
            Some(size) => {
                payload.push(1);
                payload.extend_from_slice(&size.encode());
            }
            None => payload.push(0),
        }
        let pairs = self
            .environment
            .iter()
            .flat_map(|(name, value)| [name, value]);
        for text in [&self.command, &self.directory].into_iter().chain(pairs) {
            payload.extend_from_slice(&(text.len() as u32).to_le_bytes());
            payload.extend_from_slice(text.as_bytes());
        }
        if payload.len() > MAX_PAYLOAD {
            return Err(bad(kind::START, "command and environment are too long"));
        }
        Ok(payload)
    }

    fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let mut rest = Fields {
            kind: kind::START,
            bytes: payload,
        };
        let [version] = rest.array()?;
        if version != VERSION {
            return Err(WireError::Version(version));
        }
        let terminal = match rest.array()? {
            [0] => None,
            [1] => Some(rest.window_size()?),
            _ => return Err(bad(kind::START, "terminal flag is neither 0 nor 1")),
        };
        let (command, directory) = (rest.text()?, rest.text()?);
        let mut environment = Vec::new();
        while !rest.bytes.is_empty() {
            let (name, value) = (rest.text()?, rest.text()?);
            if name.is_empty() || name.contains('=') {
                return Err(bad(kind::START, "name of an environment variable"));
            }
            environment.push((name, value));
        }
        Ok(Start {
            command,
            directory,
            environment,
            terminal,
        })
    }
}

impl<'a> ToGuest<'a> {
    /// Appends the frame to `out`. Only a `Start` that is too long fails.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        match self {
            ToGuest::Start(start) => frame(out, kind::START, &start.encode()?),
            ToGuest::Stdin(data) => frame(out, kind::STDIN, data),
            ToGuest::Signal(signal) => frame(out, kind::SIGNAL, &[*signal]),
            ToGuest::Resize(size) => frame(out, kind::RESIZE, &size.encode()),
        }
        Ok(())
    }

    /// What a frame from the host means.
    pub fn parse(frame: Frame<'a>) -> Result<Self, WireError> {
        let mut rest = frame.fields();
        let message = match frame.kind {
            kind::START => return Start::parse(frame.payload).map(ToGuest::Start),
            kind::STDIN => return Ok(ToGuest::Stdin(frame.payload)),
            kind::SIGNAL => match rest.array()? {
                [signal @ 1..=64] => ToGuest::Signal(signal),
                _ => return Err(bad(frame.kind, "no such signal")),
            },
            kind::RESIZE => ToGuest::Resize(rest.window_size()?),
            other => return Err(WireError::UnknownKind(other)),
        };
        rest.end()?;
        Ok(message)
    }
}

impl<'a> ToHost<'a> {
    /// Appends the frame to `out`. A reason longer than [`CHUNK`] is cut.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            ToHost::Stdout(data) => frame(out, kind::STDOUT, data),
            ToHost::Stderr(data) => frame(out, kind::STDERR, data),
            ToHost::Credit(bytes) => frame(out, kind::CREDIT, &bytes.to_le_bytes()),
            ToHost::StdinClosed => frame(out, kind::STDIN_CLOSED, &[]),
            ToHost::Exit(Exit::Code(code)) => frame(out, kind::EXIT, &[0, *code]),
            ToHost::Exit(Exit::Signal(signal)) => frame(out, kind::EXIT, &[1, *signal]),
            ToHost::Refused(reason) => {
                let end = (0..=reason.len().min(CHUNK))
                    .rev()
                    .find(|&i| reason.is_char_boundary(i));
                frame(out, kind::REFUSED, &reason.as_bytes()[..end.unwrap_or(0)]);
            }
        }
    }

    /// What a frame from the guest means.
    pub fn parse(frame: Frame<'a>) -> Result<Self, WireError> {
        let mut rest = frame.fields();
        let message = match frame.kind {
            kind::STDOUT => return Ok(ToHost::Stdout(frame.payload)),
            kind::STDERR => return Ok(ToHost::Stderr(frame.payload)),
            kind::CREDIT => ToHost::Credit(u32::from_le_bytes(rest.array()?)),
            kind::STDIN_CLOSED => ToHost::StdinClosed,
            kind::EXIT => match rest.array()? {
                [0, code] => ToHost::Exit(Exit::Code(code)),
                [1, signal @ 1..=64] => ToHost::Exit(Exit::Signal(signal)),
                _ => return Err(bad(frame.kind, "neither a status nor a signal")),
            },
            kind::REFUSED => {
                let reason = std::str::from_utf8(frame.payload);
                return reason
                    .map(ToHost::Refused)
                    .map_err(|_| bad(frame.kind, "reason is not UTF-8"));
            }
            other => return Err(WireError::UnknownKind(other)),
        };
        rest.end()?;
        Ok(message)
    }
}

fn bad(kind: u8, what: &'static str) -> WireError {
    WireError::BadPayload { kind, what }
}

/// A payload taken apart from its front.
struct Fields<'a> {
    kind: u8,
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self
            .bytes
            .split_at_checked(count)
            .ok_or(bad(self.kind, "payload is too short"))?;
        self.bytes = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn text(&mut self) -> Result<String, WireError> {
        let length = u32::from_le_bytes(self.array()?);
        let bytes = self.take(length as usize)?;
        if bytes.contains(&0) {
            return Err(bad(self.kind, "text with a NUL"));
        }
        String::from_utf8(bytes.to_vec()).map_err(|_| bad(self.kind, "text is not UTF-8"))
    }

    fn window_size(&mut self) -> Result<WindowSize, WireError> {
        let (rows, columns) = (self.array()?, self.array()?);
        Ok(WindowSize {
            rows: u16::from_le_bytes(rows),
            columns: u16::from_le_bytes(columns),
        })
    }

    fn end(&self) -> Result<(), WireError> {
        match self.bytes {
            [] => Ok(()),
            _ => Err(bad(self.kind, "payload is too long")),
        }
    }
}

/// One whole frame, not yet understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the payload is.
    pub kind: u8,
    /// At most [`MAX_PAYLOAD`] bytes.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    fn fields(&self) -> Fields<'a> {
        Fields {
            kind: self.kind,
            bytes: self.payload,
        }
    }
}

/// Cuts a stream of bytes into frames, in one bounded buffer.
#[derive(Debug)]
pub struct Decoder {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder {
            buffer: vec![0; HEADER + MAX_PAYLOAD].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }
}

impl Decoder {
    /// Reads once from `source`; 0 is the end of the stream. Take all frames out with
    /// [`Decoder::next_frame`] before, or there may be no space (`WriteZero`).
    pub fn fill(&mut self, source: &mut impl Read) -> io::Result<usize> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let count = source.read(&mut self.buffer[self.end..])?;
        self.end += count;
        Ok(count)
    }

    /// The next whole frame, or `None` if more bytes are needed.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, WireError> {
        let bytes = &self.buffer[self.start..self.end];
        let Some(([kind, length @ ..], rest)) = bytes.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let (kind, length) = (*kind, u32::from_le_bytes(*length));
        if length as usize > MAX_PAYLOAD {
            return Err(WireError::TooLong { kind, length });
        }
        let Some(payload) = rest.get(..length as usize) else {
            return Ok(None);
        };
        self.start += HEADER + payload.len();
        Ok(Some(Frame { kind, payload }))
    }

    /// True if the stream ended inside a frame.
    pub fn has_partial_frame(&self) -> bool {
        self.start != self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_all(bytes: &[u8], chunk: usize) -> Result<Vec<(u8, Vec<u8>)>, WireError> {
        let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
        for mut piece in bytes.chunks(chunk) {
            while !piece.is_empty() {
                decoder.fill(&mut piece).unwrap();
                while let Some(frame) = decoder.next_frame()? {
                    frames.push((frame.kind, frame.payload.to_vec()));
                }
            }
        }
        Ok(frames)
    }

    #[test]
    fn frames_survive_any_cut_of_the_stream() {
        let start = Start {
            command: "echo 'ä' | cat".into(),
            directory: "/tmp".into(),
            environment: vec![
                ("TERM".into(), "xterm".into()),
                ("EMPTY".into(), String::new()),
            ],
            terminal: Some(WindowSize {
                rows: 24,
                columns: 80,
            }),
        };
        let large: Vec<u8> = (0..MAX_PAYLOAD).map(|i| i as u8).collect();
        let sent = [
            ToGuest::Start(start),
            ToGuest::Stdin(&large),
            ToGuest::Stdin(&[]),
            ToGuest::Signal(2),
            ToGuest::Resize(WindowSize {
                rows: 1,
                columns: u16::MAX,
            }),
        ];
        let mut bytes = Vec::new();
        for message in &sent {
            message.encode(&mut bytes).unwrap();
        }
        for chunk in [1, 2, 3, 7, 4096, bytes.len()] {
            let frames = decode_all(&bytes, chunk).unwrap();
            let received: Vec<_> = frames
                .iter()
                .map(|(kind, payload)| {
                    ToGuest::parse(Frame {
                        kind: *kind,
                        payload,
                    })
                    .unwrap()
                })
                .collect();
            assert_eq!(received, sent);
        }
    }

    #[test]
    fn answers_survive_the_way() {
        let sent = [
            ToHost::Stdout(b"out"),
            ToHost::Stderr(b""),
            ToHost::Credit(u32::MAX),
            ToHost::StdinClosed,
            ToHost::Exit(Exit::Code(255)),
            ToHost::Exit(Exit::Signal(9)),
            ToHost::Refused("no such directory"),
        ];
        let mut bytes = Vec::new();
        for message in &sent {
            message.encode(&mut bytes);
        }
        let frames = decode_all(&bytes, 4).unwrap();
        let received: Vec<_> = frames
            .iter()
            .map(|(kind, payload)| {
                ToHost::parse(Frame {
                    kind: *kind,
                    payload,
                })
                .unwrap()
            })
            .collect();
        assert_eq!(received, sent);
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_before_its_payload_arrives() {
        let error = decode_all(&[2, 0xff, 0xff, 0xff, 0xff], 1).unwrap_err();
        assert_eq!(
            error,
            WireError::TooLong {
                kind: 2,
                length: u32::MAX
            }
        );
    }

    #[test]
    fn malformed_payloads_are_typed_errors() {
        let guest = |kind, payload: &'static [u8]| ToGuest::parse(Frame { kind, payload });
        let host = |kind, payload: &'static [u8]| ToHost::parse(Frame { kind, payload });
        assert_eq!(guest(0x77, b""), Err(WireError::UnknownKind(0x77)));
        assert_eq!(
            guest(kind::STDOUT, b""),
            Err(WireError::UnknownKind(kind::STDOUT))
        );
        assert_eq!(
            host(kind::START, b""),
            Err(WireError::UnknownKind(kind::START))
        );
        assert_eq!(guest(kind::START, b"\x09"), Err(WireError::Version(9)));
        for (kind, payload) in [
            (kind::START, &b""[..]),
            (kind::START, b"\x01"),
            (kind::START, b"\x01\x02"),
            (kind::START, b"\x01\x00\xff\xff\xff\xff"),
            (kind::START, b"\x01\x00\x01\0\0\0\xff\0\0\0\0"),
            (kind::START, b"\x01\x00\x01\0\0\0\0\0\0\0\0"),
            (kind::START, b"\x01\x00\0\0\0\0\0\0\0\0\x01\0\0\0="),
            (kind::SIGNAL, b""),
            (kind::SIGNAL, b"\0"),
            (kind::SIGNAL, b"\x41"),
            (kind::SIGNAL, b"\x02\x02"),
            (kind::RESIZE, b"\0\0\0"),
        ] {
            let result = guest(kind, payload);
            assert!(
                matches!(result, Err(WireError::BadPayload { .. })),
                "{kind} {payload:?}"
            );
        }
        for (kind, payload) in [
            (kind::CREDIT, &b"\0\0\0"[..]),
            (kind::EXIT, b"\x02\x00"),
            (kind::EXIT, b"\x01\x00"),
            (kind::EXIT, b"\x00"),
            (kind::REFUSED, b"\xff"),
        ] {
            let result = host(kind, payload);
            assert!(
                matches!(result, Err(WireError::BadPayload { .. })),
                "{kind} {payload:?}"
            );
        }
    }

    #[test]
    fn a_command_that_fits_no_frame_is_refused_by_its_sender() {
        let start = Start {
            command: "x".repeat(MAX_PAYLOAD),
            ..Start::default()
        };
        assert!(ToGuest::Start(start).encode(&mut Vec::new()).is_err());
    }
}
