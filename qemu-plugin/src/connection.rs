// SPDX-License-Identifier: GPL-2.0-or-later
//! The connection to the device: each set of windows takes effect in the arena, and is answered at once.
//!
//! A vCPU may be waiting for the device, which waits for this answer, and holds QEMU's big lock all the
//! while. So nothing here takes that lock, or one that is held across a change of QEMU's memory tree.

use crate::arena::Arena;
use crate::protocol::{Change, State};
use crate::range::Range;
use abi::windows::{Ack, Hello, GOODBYE, MAX_MESSAGE};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    connect, recv, recvmsg, sendmsg, setsockopt, socket, sockopt, AddressFamily, ControlMessage,
    ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr,
};
use nix::sys::time::TimeVal;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often to look for a socket that is not there yet.
const RETRY: Duration = Duration::from_millis(20);
/// Room for descriptors in one message; more than the protocol has, so that too many are noticed.
const FILES: usize = 4;

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The device lives, and closed it.
    Dropped,
    /// The device is no more: it said no goodbye.
    Gone,
    /// It could not go on: why.
    Broken(String),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// Connects to the device, which listens before it lets a QEMU start, or soon.
///
/// # Errors
/// The socket's last error when `patience` ran out.
pub fn open(path: &Path, patience: Duration) -> io::Result<OwnedFd> {
    let deadline = Instant::now() + patience;
    loop {
        let flags = SockFlag::SOCK_CLOEXEC;
        let stream = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
        match connect(stream.as_raw_fd(), &UnixAddr::new(path)?) {
            Ok(()) => return Ok(stream),
            Err(Errno::ENOENT | Errno::ECONNREFUSED | Errno::EINTR | Errno::EAGAIN)
                if Instant::now() < deadline =>
            {
                sleep(RETRY);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Says who this is, then follows the device until the connection ends; every window is void afterwards.
///
/// Once a set is in force, `publish` gets all pages that are windows now, before the device gets its answer:
/// what the device does next cannot overtake what `publish` asks the main loop for, if it takes the same
/// way. An MSI does. The first call means that the device has accepted this library, which it must within
/// `patience`.
pub fn serve(
    stream: &OwnedFd,
    side: u32,
    patience: Duration,
    arena: &Arena,
    mut publish: impl FnMut(Vec<Range>),
) -> End {
    let mut state = State::default();
    let end = match greet(stream, side, patience, arena) {
        Ok(()) => loop {
            let before = state.windows_now();
            if let Err(end) = turn(stream, &mut state, &before, arena, &mut publish) {
                // A step that failed halfway has left both behind.
                void(arena, &before);
                break end;
            }
        },
        Err(error) => error.into(),
    };
    void(arena, &state.windows_now());
    end
}

fn greet(stream: &OwnedFd, side: u32, patience: Duration, arena: &Arena) -> io::Result<()> {
    wait_at_most(stream, patience)?;
    tell(stream, &Hello::new(side).to_bytes(), None)?;
    match arena.fence() {
        Some((file, fence)) => tell(stream, &fence.to_bytes(), Some(file)),
        None => Ok(()),
    }
}

/// One message, and what follows from it. `before` are the windows so far.
fn turn(
    stream: &OwnedFd,
    state: &mut State,
    before: &[Range],
    arena: &Arena,
    publish: &mut impl FnMut(Vec<Range>),
) -> Result<(), End> {
    let mut buffer = [0; MAX_MESSAGE + 1];
    let (message, files) = receive(stream, &mut buffer)?;
    if message == GOODBYE {
        return Err(End::Dropped);
    }
    let change = state.receive(message, files);
    let change = change.map_err(|malformed| End::Broken(malformed.into()))?;
    let Some(mut change) = change else {
        return Ok(());
    };
    if dropped(stream) {
        // The device did not wait for this set: it need not hold any more, and nothing of it may be laid.
        change = Change {
            seq: change.seq,
            void: before.to_vec(),
            map: Vec::new(),
            wanted: Vec::new(),
        };
    }
    follow(arena, state, &change)?;
    if change.seq == 1 {
        wait_at_most(stream, Duration::ZERO)?;
    }
    publish(change.wanted);
    tell(stream, &Ack { seq: change.seq }.to_bytes(), None)?;
    Ok(())
}

/// Makes the arena show what the set says. From then on no access of the guest reaches the peer's RAM
/// anywhere else, whatever QEMU's memory tree looks like.
fn follow(arena: &Arena, state: &State, change: &Change) -> io::Result<()> {
    for &range in &change.void {
        arena.void(range)?;
    }
    for placed in &change.map {
        let (file, offset) = state.memory(placed).ok_or(io::ErrorKind::NotFound)?;
        arena.map(placed.range, file, offset)?;
    }
    Ok(())
}

/// Voids as much as it can: there is nobody to tell.
fn void(arena: &Arena, ranges: &[Range]) {
    for &range in ranges {
        let _ = arena.void(range);
    }
}

/// Sleeps until there is a message.
fn receive<'a>(stream: &OwnedFd, buffer: &'a mut [u8]) -> Result<(&'a [u8], Vec<OwnedFd>), End> {
    let mut control = cmsg_space!([RawFd; FILES]);
    let mut files = Vec::new();
    let (bytes, lost) = loop {
        let mut parts = [IoSliceMut::new(buffer)];
        let (stream, flags) = (stream.as_raw_fd(), MsgFlags::MSG_CMSG_CLOEXEC);
        let received = match recvmsg::<()>(stream, &mut parts, Some(&mut control), flags) {
            Ok(received) => received,
            // The end is closed that has not read everything. The kernel says that once, before what that
            // end has said.
            Err(Errno::EINTR | Errno::ECONNRESET) => continue,
            Err(Errno::EAGAIN) => return Err(End::Broken("the device does not answer".into())),
            Err(error) => return Err(io::Error::from(error).into()),
        };
        for entry in received.cmsgs().into_iter().flatten() {
            if let ControlMessageOwned::ScmRights(raw) = entry {
                // SAFETY: the kernel has just made these descriptors for this call, and nobody else
                // knows them.
                files.extend(
                    raw.into_iter()
                        .map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }),
                );
            }
        }
        let cut = MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC;
        break (received.bytes, received.flags.intersects(cut));
    };
    match buffer.get(..bytes) {
        _ if bytes == 0 => Err(End::Gone),
        Some(message) if !lost => Ok((message, files)),
        _ => Err(End::Broken("a message that is too long".into())),
    }
}

/// Whether the next message is the device's last.
fn dropped(stream: &OwnedFd) -> bool {
    let mut next = [0; GOODBYE.len()];
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recv(stream.as_raw_fd(), &mut next, flags) == Ok(GOODBYE.len()) && next == GOODBYE
}

/// Says it. If nobody hears it any more, what is received next tells why.
fn tell(stream: &OwnedFd, message: &[u8], file: Option<BorrowedFd>) -> io::Result<()> {
    let parts = [IoSlice::new(message)];
    let raw = file.map(|file| [file.as_raw_fd()]);
    let rights = raw.as_ref().map(|raw| [ControlMessage::ScmRights(raw)]);
    let control = rights.as_ref().map_or(&[][..], |rights| &rights[..]);
    loop {
        let (stream, flags) = (stream.as_raw_fd(), MsgFlags::MSG_NOSIGNAL);
        match sendmsg::<UnixAddr>(stream, &parts, control, flags, None) {
            Ok(_) | Err(Errno::EPIPE | Errno::ECONNRESET) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// How long a message may take to come; zero is for ever.
fn wait_at_most(stream: &OwnedFd, patience: Duration) -> io::Result<()> {
    let seconds = i64::try_from(patience.as_secs()).unwrap_or(i64::MAX);
    let time = TimeVal::new(seconds, patience.subsec_micros().into());
    Ok(setsockopt(stream, sockopt::ReceiveTimeout, &time)?)
}

#[cfg(test)]
mod tests;
