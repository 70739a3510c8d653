// SPDX-License-Identifier: Apache-2.0 OR MIT

//! One connection, one command: the guest's side of [`wire`](crate::wire).
//!
//! A loop around poll(2) with bounded buffers. Output is read from the command only when all that
//! was read before is on its way, so a host that does not read stops the command and nobody else.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{poll, PollFd, PollFlags, PollTimeout};

use crate::process::{set_nonblocking, Process};
use crate::wire::{
    stderr_header, stdout_header, Decoder, Exit, Start, ToGuest, ToHost, WireError, CHUNK, HEADER,
    STDIN_WINDOW,
};

/// How long a fresh connection may wait with its first frame.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// A command's descendants may hold its output open after it ended. This much silence ends the wait.
const LINGER: Duration = Duration::from_millis(250);
/// Credit is given back in portions of at least this many bytes while input is waiting.
const CREDIT_PORTION: u32 = STDIN_WINDOW / 4;

/// Why a session ended early. The command, if there was one, has been killed.
#[derive(Debug)]
pub enum SessionError {
    /// The host went away before the command ended.
    Lost,
    /// Nothing came within 30 s of the connection.
    NoStart,
    /// The host broke the protocol.
    Wire(WireError),
    /// The connection or a descriptor failed.
    Io(io::Error),
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionError::Lost => f.write_str("the host closed the connection"),
            SessionError::NoStart => write!(f, "no command within {START_TIMEOUT:?}"),
            SessionError::Wire(error) => write!(f, "protocol error: {error}"),
            SessionError::Io(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for SessionError {}

impl From<WireError> for SessionError {
    fn from(error: WireError) -> Self {
        SessionError::Wire(error)
    }
}

impl From<io::Error> for SessionError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A host that hangs up without reading to the end.
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => SessionError::Lost,
            _ => SessionError::Io(error),
        }
    }
}

/// Serves the connection `link` until the host closes it.
pub fn serve(link: OwnedFd) -> Result<(), SessionError> {
    set_nonblocking(&link)?;
    let mut link = Link {
        stream: link.into(),
        decoder: Decoder::default(),
        out: Outbox::default(),
    };
    let start = link.start()?;
    match Process::spawn(&start) {
        Ok(process) => {
            let mut session = Session {
                process,
                input: Input::default(),
                exit: None,
                quiet: None,
            };
            match session.run(&mut link) {
                Ok(()) => link.finish(),
                Err(error) => {
                    session.process.kill();
                    Err(error)
                }
            }
        }
        Err(reason) => {
            link.out.message(&ToHost::Refused(&reason));
            link.finish()
        }
    }
}

/// Bytes on their way to the host: room for a frame of each stream and the small ones.
#[derive(Debug)]
struct Outbox {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Default for Outbox {
    fn default() -> Self {
        let bytes = vec![0; 3 * (HEADER + CHUNK)].into_boxed_slice();
        Outbox {
            bytes,
            start: 0,
            end: 0,
        }
    }
}

impl Outbox {
    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Adds a small frame. Called on a nearly empty outbox only, so there is room.
    fn message(&mut self, message: &ToHost) {
        let mut frame = Vec::new();
        message.encode(&mut frame);
        if let Some(room) = self.bytes.get_mut(self.end..self.end + frame.len()) {
            room.copy_from_slice(&frame);
            self.end += frame.len();
        }
    }

    /// Reads once from `source` into a data frame. False at the end of the stream.
    fn data(&mut self, source: &mut File, header: fn(usize) -> [u8; HEADER]) -> io::Result<bool> {
        let room = &mut self.bytes[self.end..];
        let chunk = room.len().saturating_sub(HEADER).min(CHUNK);
        if chunk == 0 {
            return Ok(true);
        }
        let (head, payload) = room[..HEADER + chunk].split_at_mut(HEADER);
        match source.read(payload) {
            Ok(0) => Ok(false),
            Ok(count) => {
                head.copy_from_slice(&header(count));
                self.end += HEADER + count;
                Ok(true)
            }
            Err(e) if is_retry(&e) => Ok(true),
            // The last slave side of a terminal was closed.
            Err(e) if e.raw_os_error() == Some(nix::libc::EIO) => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn flush(&mut self, stream: &mut File) -> io::Result<()> {
        while self.start < self.end {
            match stream.write(&self.bytes[self.start..self.end]) {
                Ok(count) => self.start += count,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        (self.start, self.end) = (0, 0);
        Ok(())
    }
}

/// The connection to the host.
struct Link {
    stream: File,
    decoder: Decoder,
    out: Outbox,
}

impl Link {
    /// Waits for the first frame.
    fn start(&mut self) -> Result<Start, SessionError> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return match ToGuest::parse(frame)? {
                    ToGuest::Start(start) => Ok(start),
                    _ => Err(WireError::OutOfOrder(frame.kind).into()),
                };
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(SessionError::NoStart);
            }
            wait(
                &mut [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)],
                Some(left),
            )?;
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Result<(), SessionError> {
        match self.decoder.fill(&mut self.stream) {
            Ok(0) => Err(SessionError::Lost),
            Ok(_) => Ok(()),
            Err(e) if is_retry(&e) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Sends what is left and waits for the host to close. Closing first could discard what the
    /// host has not read yet: with unread input a close is a reset.
    fn finish(&mut self) -> Result<(), SessionError> {
        loop {
            self.out.flush(&mut self.stream)?;
            while self.decoder.next_frame()?.is_some() {}
            let mut interest = PollFlags::POLLIN;
            interest.set(PollFlags::POLLOUT, !self.out.is_empty());
            let mut fds = [PollFd::new(self.stream.as_fd(), interest)];
            wait(&mut fds, None)?;
            if happened(&fds[0]) & !PollFlags::POLLOUT != PollFlags::empty() {
                match self.fill() {
                    Err(SessionError::Lost) if self.out.is_empty() => return Ok(()),
                    other => other?,
                }
            }
        }
    }
}

/// Standard input that the command has not taken yet; bounded by the window.
#[derive(Debug, Default)]
struct Input {
    queue: VecDeque<u8>,
    /// The host has said that no more comes.
    ended: bool,
    /// Bytes taken by the command that the host has not been told about.
    owed: u32,
    /// The command closed its end, and the host has not been told.
    tell_closed: bool,
}

impl Input {
    fn push(&mut self, data: &[u8]) -> Result<(), WireError> {
        let held = self.queue.len() + self.owed as usize + data.len();
        if held > STDIN_WINDOW as usize {
            return Err(WireError::WindowExceeded);
        }
        self.queue.extend(data);
        Ok(())
    }

    /// Writes what the command takes now; closes `stdin` behind the last byte, or if nobody reads.
    fn feed(&mut self, stdin: &mut Option<File>, terminal: bool) {
        while let Some(file) = stdin {
            let (data, _) = self.queue.as_slices();
            if data.is_empty() {
                if self.ended && !terminal {
                    *stdin = None;
                }
                return;
            }
            match file.write(data) {
                Ok(count) => {
                    self.queue.drain(..count);
                    self.owed += count as u32;
                }
                Err(e) if is_retry(&e) => return,
                Err(_) => self.close(stdin),
            }
        }
    }

    fn close(&mut self, stdin: &mut Option<File>) {
        *stdin = None;
        self.queue = VecDeque::new();
        self.tell_closed = !self.ended;
    }

    /// Adds what the host should know about its input.
    fn report(&mut self, out: &mut Outbox) {
        if std::mem::take(&mut self.tell_closed) {
            out.message(&ToHost::StdinClosed);
        }
        if self.owed >= CREDIT_PORTION || (self.owed > 0 && self.queue.is_empty()) {
            out.message(&ToHost::Credit(std::mem::take(&mut self.owed)));
        }
    }
}

struct Session {
    process: Process,
    input: Input,
    exit: Option<Exit>,
    /// Since when the ended command's output has been silent.
    quiet: Option<Instant>,
}

/// The end-of-file character of a terminal in its usual setting.
const END_OF_TRANSMISSION: u8 = 0x04;

impl Session {
    /// Carries everything until the `Exit` frame is in the outbox.
    fn run(&mut self, link: &mut Link) -> Result<(), SessionError> {
        let terminal = self.process.stderr.is_none();
        loop {
            while let Some(frame) = link.decoder.next_frame()? {
                let kind = frame.kind;
                match ToGuest::parse(frame)? {
                    ToGuest::Start(_) => return Err(WireError::OutOfOrder(kind).into()),
                    ToGuest::Stdin([]) => {
                        if terminal && !self.input.ended {
                            self.input.queue.push_back(END_OF_TRANSMISSION);
                        }
                        self.input.ended = true;
                    }
                    ToGuest::Stdin(_) if self.process.stdin.is_none() => {}
                    ToGuest::Stdin(data) => self.input.push(data)?,
                    // The command may have ended just now: no error.
                    ToGuest::Signal(signal) if self.exit.is_none() => {
                        let _ = self.process.signal(signal);
                    }
                    ToGuest::Resize(size) => {
                        let _ = self.process.resize(size);
                    }
                    ToGuest::Signal(_) => {}
                }
            }
            self.input.feed(&mut self.process.stdin, terminal);
            link.out.flush(&mut link.stream)?;
            if link.out.is_empty() {
                self.input.report(&mut link.out);
                link.out.flush(&mut link.stream)?;
            }
            if self.is_drained(&link.out) {
                if let Some(exit) = self.exit {
                    link.out.message(&ToHost::Exit(exit));
                    return Ok(());
                }
            }
            self.turn(link)?;
        }
    }

    /// True when the command has ended and all of its output is sent.
    fn is_drained(&mut self, out: &Outbox) -> bool {
        if self.exit.is_none() || !out.is_empty() {
            self.quiet = None;
            return false;
        }
        if self.process.stdout.is_none() && self.process.stderr.is_none() {
            return true;
        }
        self.quiet.get_or_insert_with(Instant::now).elapsed() >= LINGER
    }

    /// Waits until something can move, and moves it.
    fn turn(&mut self, link: &mut Link) -> Result<(), SessionError> {
        let process = &mut self.process;
        let out_empty = link.out.is_empty();
        let (none, input) = (PollFlags::empty(), PollFlags::POLLIN);
        let when = |condition, flags| if condition { flags } else { none };

        let mut watch = Watch::default();
        let link_place = watch.add(
            Some(&link.stream),
            input | when(!out_empty, PollFlags::POLLOUT),
        );
        let ended = watch.add(Some(&process.ended).filter(|_| self.exit.is_none()), input);
        let pending = !self.input.queue.is_empty();
        let stdin = watch.add(process.stdin.as_ref(), when(pending, PollFlags::POLLOUT));
        let stdout = watch.add(process.stdout.as_ref().filter(|_| out_empty), input);
        let stderr = watch.add(process.stderr.as_ref().filter(|_| out_empty), input);
        let timeout = self
            .quiet
            .map(|since| LINGER.saturating_sub(since.elapsed()));
        wait(&mut watch.fds, timeout)?;
        let from_host = watch.seen(link_place) & !PollFlags::POLLOUT != none;
        let [ended, stdin, stdout, stderr] =
            [ended, stdin, stdout, stderr].map(|place| watch.seen(place));

        if stdout != none || stderr != none {
            self.quiet = None;
        }
        read_output(&mut process.stdout, stdout, &mut link.out, stdout_header)?;
        read_output(&mut process.stderr, stderr, &mut link.out, stderr_header)?;
        if stdin.intersects(PollFlags::POLLERR | PollFlags::POLLHUP) {
            self.input.close(&mut process.stdin);
        }
        if ended != none {
            self.exit = process.exit()?;
        }
        if from_host {
            link.fill()?;
        }
        Ok(())
    }
}

/// The descriptors of one poll(2). What is of no interest now has to stay out, since poll reports
/// hang-ups whether asked or not.
#[derive(Default)]
struct Watch<'a> {
    fds: Vec<PollFd<'a>>,
}

impl<'a> Watch<'a> {
    fn add(&mut self, fd: Option<&'a impl AsFd>, flags: PollFlags) -> Option<usize> {
        self.fds.push(PollFd::new(fd?.as_fd(), flags));
        Some(self.fds.len() - 1)
    }

    fn seen(&self, place: Option<usize>) -> PollFlags {
        place.map_or(PollFlags::empty(), |place| happened(&self.fds[place]))
    }
}

fn read_output(
    stream: &mut Option<File>,
    seen: PollFlags,
    out: &mut Outbox,
    header: fn(usize) -> [u8; HEADER],
) -> io::Result<()> {
    if let Some(file) = stream.as_mut().filter(|_| !seen.is_empty()) {
        if !out.data(file, header)? {
            *stream = None;
        }
    }
    Ok(())
}

fn is_retry(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn happened(fd: &PollFd) -> PollFlags {
    fd.revents().unwrap_or(PollFlags::POLLERR)
}

fn wait(fds: &mut [PollFd], timeout: Option<Duration>) -> io::Result<()> {
    // A millisecond more, so that a short rest does not become a busy loop.
    let timeout = timeout.map_or(PollTimeout::NONE, |time| {
        PollTimeout::try_from(time + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
    });
    match poll(fds, timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(e) => Err(e.into()),
    }
}
