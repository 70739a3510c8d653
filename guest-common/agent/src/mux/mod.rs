// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Many connections over one stream: between runner and guest there is one virtio-serial port.
//!
//! The host opens channels, and the guest confirms each. A channel is a Unix stream at either end, and has a window of [`WINDOW`] bytes in each
//! direction. So the trunk is always read, whoever is slow holds up only himself, and memory is
//! bounded. Both ends run the same loop ([`Mux::turn`]).
//!
//! The guest begins, by [`Frame::Hello`] behind a whole batch of padding: if a reset cut the
//! stream before, the padding completes what was cut. The host answers with [`Frame::Welcome`],
//! for which the guest looks byte by byte. So both ends are in step however the last one ended.

pub mod frame;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};

use frame::{data_header, Decoder, Frame, Nonsense, BATCH, BOOT_ID, HEADER, MAX_PAYLOAD};

/// The name of the virtio-serial port.
pub const PORT_NAME: &str = "spider.commands";
/// What the host's end tells a client once the guest has opened its channel.
pub const GREETING: &[u8] = b"OK\n";
/// Bytes of a channel that may be on the way in one direction.
pub const WINDOW: u32 = 256 * 1024;
/// Channels at a time. More clients wait.
pub const MAX_CHANNELS: usize = 128;
/// Credit is given back in portions of at least this many bytes while data is waiting.
const CREDIT_PORTION: u32 = WINDOW / 4;

/// Why the trunk is of no use any more. All channels are closed.
#[derive(Debug)]
pub enum TrunkError {
    /// The other end has gone.
    Ended,
    /// The other end breaks the protocol.
    Nonsense(Nonsense),
    /// The other end sends more than a channel's window.
    WindowExceeded,
    /// The stream failed.
    Io(io::Error),
}

impl fmt::Display for TrunkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrunkError::Ended => f.write_str("the other end has gone"),
            TrunkError::Nonsense(error) => error.fmt(f),
            TrunkError::WindowExceeded => write!(f, "more than a window of {WINDOW} bytes"),
            TrunkError::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TrunkError {}

impl From<io::Error> for TrunkError {
    fn from(error: io::Error) -> Self {
        TrunkError::Io(error)
    }
}

impl From<Nonsense> for TrunkError {
    fn from(error: Nonsense) -> Self {
        TrunkError::Nonsense(error)
    }
}

/// Which end this is.
#[derive(Debug)]
enum Role {
    /// Answers greetings; the last one's boot, if there was one.
    Host(Option<[u8; BOOT_ID]>),
    /// Has greeted with this boot.
    Guest,
}

/// One end of a channel.
#[derive(Debug)]
struct Channel {
    local: UnixStream,
    /// From the trunk, not taken by `local` yet.
    pending: VecDeque<u8>,
    /// Bytes that the other end has room for.
    credit: u32,
    /// Bytes that `local` took and the other end has not been told about.
    owed: u32,
    /// The other end has closed: what is pending is all.
    ending: bool,
    /// `local` is gone: to be told, then forgotten.
    gone: bool,
    /// `local` has something to read.
    readable: bool,
    /// At the host: the guest has confirmed it.
    greeted: bool,
}

impl Channel {
    fn new(local: UnixStream) -> io::Result<Self> {
        local.set_nonblocking(true)?;
        Ok(Channel {
            local,
            pending: VecDeque::new(),
            credit: WINDOW,
            owed: 0,
            ending: false,
            gone: false,
            readable: true,
            greeted: false,
        })
    }

    fn receive(&mut self, data: &[u8]) -> Result<(), TrunkError> {
        if self.pending.len() + self.owed as usize + data.len() > WINDOW as usize {
            return Err(TrunkError::WindowExceeded);
        }
        if !self.gone {
            self.pending.extend(data);
            self.pass_on();
        }
        Ok(())
    }

    /// Tells a client that the guest has its channel; `local` is fresh, so there is room.
    fn greet(&mut self) {
        let greeted = std::mem::replace(&mut self.greeted, true);
        self.gone |= !greeted && self.local.write_all(GREETING).is_err();
    }

    /// Gives `local` what it takes now.
    fn pass_on(&mut self) {
        while !self.pending.is_empty() {
            match self.local.write(self.pending.as_slices().0) {
                Ok(count) => {
                    self.pending.drain(..count);
                    self.owed += count as u32;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.gone = true;
                    self.pending = VecDeque::new();
                }
            }
        }
    }

    fn owes(&self) -> bool {
        self.owed >= CREDIT_PORTION || (self.owed > 0 && self.pending.is_empty())
    }

    fn is_over(&self) -> bool {
        self.ending && (self.gone || self.pending.is_empty())
    }
}

/// One end of the trunk and all channels on it.
#[derive(Debug)]
pub struct Mux<T> {
    trunk: T,
    role: Role,
    decoder: Decoder,
    out: Vec<u8>,
    channels: BTreeMap<u32, Channel>,
    /// The next channel's number, at the host.
    next: u32,
    /// Whose turn it is to send.
    turn: u32,
}

impl<T: Read + Write + AsFd> Mux<T> {
    /// The host's end. `trunk` must not block.
    pub fn host(trunk: T) -> Self {
        Self::new(trunk, Role::Host(None))
    }

    /// The guest's end: greets, and waits until the host answers. `trunk` must not block.
    pub fn guest(trunk: T, boot: &[u8; BOOT_ID]) -> Result<Self, TrunkError> {
        const AGAIN: Duration = Duration::from_secs(1);
        let mut mux = Self::new(trunk, Role::Guest);
        loop {
            mux.out.resize(BATCH, 0);
            mux.flush_all()?;
            Frame::Hello(boot).encode(&mut mux.out);
            mux.flush_all()?;
            while wait(
                &mut [PollFd::new(mux.trunk.as_fd(), PollFlags::POLLIN)],
                Some(AGAIN),
            )? {
                if !mux.decoder.fill(&mut mux.trunk)? {
                    return Err(TrunkError::Ended);
                }
                if mux.decoder.skip_to_welcome(boot) {
                    return Ok(mux);
                }
            }
        }
    }

    fn new(trunk: T, role: Role) -> Self {
        Mux {
            trunk,
            role,
            decoder: Decoder::default(),
            out: Vec::with_capacity(2 * BATCH),
            channels: BTreeMap::new(),
            next: 1,
            turn: 0,
        }
    }

    /// True once the other end has greeted; at the guest always.
    pub fn is_established(&self) -> bool {
        !matches!(self.role, Role::Host(None))
    }

    /// Waits until something can move, and moves it. At the host, `listener`'s clients become
    /// channels, or are hung up on while there is no guest; at the guest, each new channel's
    /// stream is handed to `opened`.
    pub fn turn(
        &mut self,
        listener: Option<&UnixListener>,
        mut opened: impl FnMut(UnixStream),
    ) -> Result<(), TrunkError> {
        while let Some(frame) = self.decoder.next_frame()? {
            match (frame, &mut self.role) {
                (Frame::Hello(boot), Role::Host(last)) => {
                    if last.as_ref() != Some(boot) {
                        *last = Some(*boot);
                        self.channels.clear();
                        self.out.clear();
                    }
                    // A guest that greets without listening is not owed ever more answers.
                    if self.out.len() < BATCH {
                        Frame::Welcome(boot).encode(&mut self.out);
                    }
                }
                (Frame::Open(channel), Role::Guest) => {
                    let (near, far) = UnixStream::pair()?;
                    self.channels.insert(channel, Channel::new(near)?);
                    Frame::Open(channel).encode(&mut self.out);
                    opened(far);
                }
                // Only now: what a guest in the middle of a reboot is told would be lost.
                (Frame::Open(channel), Role::Host(_)) => {
                    if let Some(channel) = self.channels.get_mut(&channel) {
                        channel.greet();
                    }
                }
                (Frame::Welcome(_), Role::Guest) => {}
                (Frame::Data(channel, data), _) => {
                    if let Some(channel) = self.channels.get_mut(&channel) {
                        channel.receive(data)?;
                    }
                }
                (Frame::Credit(channel, bytes), _) => {
                    if let Some(channel) = self.channels.get_mut(&channel) {
                        channel.credit = channel.credit.saturating_add(bytes);
                    }
                }
                (Frame::Close(channel), _) => {
                    if let Some(channel) = self.channels.get_mut(&channel) {
                        channel.ending = true;
                    }
                }
                (Frame::Hello(_), Role::Guest) | (Frame::Welcome(_), Role::Host(_)) => {
                    return Err(Nonsense { kind: 0, length: 0 }.into());
                }
            }
        }
        self.send()?;
        self.channels.retain(|_, channel| !channel.is_over());
        self.wait(listener)
    }

    /// Fills and empties the outgoing batch as long as the trunk takes it.
    fn send(&mut self) -> Result<(), TrunkError> {
        loop {
            self.flush()?;
            if !self.out.is_empty() {
                return Ok(());
            }
            self.gather();
            if self.out.is_empty() {
                return Ok(());
            }
        }
    }

    fn flush(&mut self) -> Result<(), TrunkError> {
        while !self.out.is_empty() {
            match self.trunk.write(&self.out) {
                Ok(0) => return Err(TrunkError::Ended),
                Ok(count) => {
                    self.out.drain(..count);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::BrokenPipe => return Err(TrunkError::Ended),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// For the greeting only, before there is anything else to do.
    fn flush_all(&mut self) -> Result<(), TrunkError> {
        const PATIENCE: Duration = Duration::from_secs(10);
        loop {
            self.flush()?;
            if self.out.is_empty() {
                return Ok(());
            }
            let mut trunk = [PollFd::new(self.trunk.as_fd(), PollFlags::POLLOUT)];
            let in_time = wait(&mut trunk, Some(PATIENCE))?;
            if !in_time || seen(&trunk[0]).contains(PollFlags::POLLHUP) {
                return Err(TrunkError::Ended);
            }
        }
    }

    /// Collects a batch: news about channels first, then their data, each in its turn.
    fn gather(&mut self) {
        const NEWS: usize = HEADER + 4;
        for (number, channel) in &mut self.channels {
            if self.out.len() + 2 * NEWS > BATCH {
                return;
            }
            if channel.gone && !channel.ending {
                Frame::Close(*number).encode(&mut self.out);
                channel.ending = true;
            } else if channel.owes() {
                let owed = std::mem::take(&mut channel.owed);
                Frame::Credit(*number, owed).encode(&mut self.out);
            }
        }
        let turn = self.turn;
        let (before, after): (Vec<_>, Vec<_>) = self
            .channels
            .iter_mut()
            .partition(|(number, _)| **number <= turn);
        for (number, channel) in after.into_iter().chain(before) {
            let room = BATCH - self.out.len();
            let length = room
                .saturating_sub(HEADER)
                .min(channel.credit as usize)
                .min(MAX_PAYLOAD);
            if length == 0 || !channel.readable || channel.gone || channel.ending {
                continue;
            }
            let start = self.out.len();
            self.out.resize(start + HEADER + length, 0);
            let result = channel.local.read(&mut self.out[start + HEADER..]);
            let count = *result.as_ref().unwrap_or(&0);
            self.out
                .truncate(start + if count > 0 { HEADER + count } else { 0 });
            match result {
                Ok(count) if count > 0 => {
                    self.out[start..start + HEADER].copy_from_slice(&data_header(*number, count));
                    channel.credit -= count as u32;
                    self.turn = *number;
                }
                Err(e) if is_retry(&e) => channel.readable = false,
                Ok(_) | Err(_) => {
                    Frame::Close(*number).encode(&mut self.out);
                    (channel.gone, channel.ending) = (true, true);
                }
            }
        }
    }

    fn wait(&mut self, listener: Option<&UnixListener>) -> Result<(), TrunkError> {
        let blocked = !self.out.is_empty();
        let when = |condition, flag| if condition { flag } else { PollFlags::empty() };
        let trunk = PollFlags::POLLIN | when(blocked, PollFlags::POLLOUT);
        // A guest that closes channels without listening frees no room for news of others.
        let full = self.channels.len() >= MAX_CHANNELS || self.out.len() >= BATCH;
        let listener = listener.filter(|_| !full);
        let mut fds = vec![PollFd::new(self.trunk.as_fd(), trunk)];
        fds.extend(listener.map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN)));
        let first = fds.len();
        let mut waiting = Vec::new();
        for (number, channel) in &self.channels {
            let read = !channel.readable && channel.credit > 0 && !channel.ending;
            let flags = when(read, PollFlags::POLLIN)
                | when(!channel.pending.is_empty(), PollFlags::POLLOUT);
            // poll reports hang-ups whether asked or not: who waits for the trunk only stays out.
            let waits = channel.readable && flags.is_empty();
            if !channel.gone && !waits {
                fds.push(PollFd::new(channel.local.as_fd(), flags));
                waiting.push(*number);
            }
        }
        wait(&mut fds, None)?;
        let seen: Vec<_> = fds.iter().map(seen).collect();
        for (number, seen) in waiting.iter().zip(&seen[first..]) {
            if let Some(channel) = self.channels.get_mut(number) {
                if !(*seen & !PollFlags::POLLIN).is_empty() {
                    channel.pass_on();
                }
                channel.readable |= seen.contains(PollFlags::POLLIN);
                if seen.intersects(PollFlags::POLLHUP | PollFlags::POLLERR) {
                    // What it said last is still read, as the other end gives room for it.
                    channel.readable = true;
                }
            }
        }
        if let Some(listener) = listener.filter(|_| !seen[1].is_empty()) {
            self.accept(listener)?;
        }
        if !(seen[0] & !PollFlags::POLLOUT).is_empty() && !self.decoder.fill(&mut self.trunk)? {
            return Err(TrunkError::Ended);
        }
        Ok(())
    }

    fn accept(&mut self, listener: &UnixListener) -> Result<(), TrunkError> {
        let client = match listener.accept() {
            Ok((client, _)) => client,
            // It has gone already, or there is no descriptor for it: it tries again.
            Err(_) => return Ok(()),
        };
        if !self.is_established() {
            return Ok(());
        }
        while self.channels.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        self.channels.insert(self.next, Channel::new(client)?);
        Frame::Open(self.next).encode(&mut self.out);
        self.next = self.next.wrapping_add(1);
        Ok(())
    }
}

fn is_retry(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn seen(fd: &PollFd) -> PollFlags {
    fd.revents().unwrap_or(PollFlags::POLLERR)
}

/// False if nothing happened within `timeout`.
fn wait(fds: &mut [PollFd], timeout: Option<Duration>) -> io::Result<bool> {
    let timeout = timeout.map_or(PollTimeout::NONE, |time| {
        PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX)
    });
    match poll(fds, timeout) {
        Ok(count) => Ok(count > 0),
        Err(Errno::EINTR) => Ok(true),
        Err(e) => Err(e.into()),
    }
}
