// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The connection to the library inside one QEMU: what it has been told, and waiting until it follows.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use abi::windows::{
    self as layout, Ack, Hello, Map, SetHeader, Unmap, Window, GOODBYE, MAX_MAPS, MAX_WINDOWS,
};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{
    recvmsg, send, sendmsg, shutdown, ControlMessage, ControlMessageOwned, MsgFlags, Shutdown,
    UnixAddr,
};
use thiserror::Error;

use super::fence::Fence;
use crate::fabric::windows;
use crate::vfio_user::memory::Share;

/// The most descriptors that come with one message (the kernel's `SCM_MAX_FD`). With room for them none is cut off: of
/// a message that is cut, nix does not show those that came.
const SCM_MAX_FD: usize = 253;

/// Why a library's connection was closed.
#[derive(Debug, Error)]
pub enum LibraryError {
    /// The other end is gone.
    #[error("it closed the connection")]
    Closed,
    /// It took longer than [`abi::windows::ACK_DEADLINE_MS`].
    #[error("{what} within {} ms", abi::windows::ACK_DEADLINE_MS)]
    Late {
        /// What it did not do.
        what: &'static str,
    },
    /// It said something that makes no sense here.
    #[error("{what} was expected; there came {len} bytes that are none")]
    Unexpected {
        /// What should have come.
        what: &'static str,
        /// Length of what came.
        len: usize,
    },
    /// It sent file descriptors.
    #[error("it sent file descriptors")]
    Descriptors,
    /// It says hello in another version.
    #[error(
        "it speaks version {0}, this is version {version}; build both from the same sources",
        version = abi::windows::VERSION
    )]
    Version(u32),
    /// There are two sides.
    #[error("there is no side {0}")]
    Side(u32),
    /// Its QEMU's side has one.
    #[error("that side has a library already")]
    Second,
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Socket(#[from] Errno),
}

/// A library that said hello.
pub struct Library {
    socket: Arc<OwnedFd>,
    /// The last set's number.
    seq: u64,
    /// What it has been told; `None` before the first set.
    told: Option<Vec<windows::Window>>,
    /// What it had been told before, which holds in its QEMU until it answers.
    before: Vec<windows::Window>,
    /// How to close all that without it.
    fence: Option<Fence>,
    /// Whether the last set has not been answered yet.
    owing: bool,
    /// The name of each map that it holds, by [`Share::number`].
    maps: BTreeMap<u64, u32>,
    next_map: u32,
}

impl Library {
    /// A library behind `socket` that knows of nothing yet.
    pub fn new(socket: Arc<OwnedFd>) -> Self {
        Self {
            socket,
            seq: 0,
            told: None,
            before: Vec::new(),
            fence: None,
            owing: false,
            maps: BTreeMap::new(),
            next_map: 1,
        }
    }

    /// Whether this is the library behind `socket`.
    pub fn is_behind(&self, socket: &Arc<OwnedFd>) -> bool {
        Arc::ptr_eq(&self.socket, socket)
    }

    /// The windows that it was told last.
    pub fn windows(&self) -> &[windows::Window] {
        self.told.as_deref().unwrap_or_default()
    }

    /// How many maps it holds.
    pub fn maps(&self) -> usize {
        self.maps.len()
    }

    /// Whether it is of no use any more: either end has closed the connection, or it says something while it owes no
    /// answer. Its own end of the connection may be among descriptors with that, which then has no end.
    pub fn is_over(&self) -> bool {
        let mut news = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        poll(&mut news, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Tells it the set that holds from now on, unless it knows. `shares` are the maps that windows may
    /// name. Returns whether there is an answer to wait for.
    ///
    /// # Errors
    /// The library is to be dropped.
    pub fn tell(
        &mut self,
        set: &[windows::Window],
        shares: &[Share],
        deadline: Instant,
    ) -> Result<bool, LibraryError> {
        if self.told.as_deref() == Some(set) {
            return Ok(false);
        }
        let mut message = Vec::with_capacity(SetHeader::SIZE + set.len() * Window::SIZE);
        let header = SetHeader {
            count: set.len() as u32,
            seq: self.seq + 1,
        };
        message.extend_from_slice(&header.to_bytes());
        for window in set {
            let map = match self.maps.get(&window.map) {
                Some(id) => *id,
                None => self.announce(window.map, shares, deadline)?,
            };
            let window = Window {
                bar: window.bar.into(),
                offset: window.offset,
                len: window.len,
                map,
                map_offset: window.map_offset,
                flags: Window::WRITABLE,
            };
            message.extend_from_slice(&window.to_bytes());
        }
        // Also if it cannot be sent: nobody knows then what it has heard.
        self.before = self.told.replace(set.to_vec()).unwrap_or_default();
        self.owing = true;
        self.send(&message, None, deadline)?;
        self.seq = header.seq;
        Ok(true)
    }

    /// Gives it the file of map `number`.
    fn announce(
        &mut self,
        number: u64,
        shares: &[Share],
        deadline: Instant,
    ) -> Result<u32, LibraryError> {
        // Sets are made of `shares`, so it is there; and nobody makes four thousand million maps.
        let share = shares.iter().find(|share| share.number == number);
        let share = share.ok_or(Errno::EINVAL)?;
        let id = self.next_map;
        self.next_map = id.checked_add(1).ok_or(Errno::EOVERFLOW)?;
        let map = Map {
            id,
            size: share.size,
            fd_offset: share.file_offset,
        };
        self.send(&map.to_bytes(), Some(share.file()), deadline)?;
        self.maps.insert(number, id);
        Ok(id)
    }

    /// Waits until the last set is in force.
    ///
    /// # Errors
    /// The library is to be dropped.
    pub fn settle(&mut self, deadline: Instant) -> Result<(), LibraryError> {
        if !self.owing {
            return Ok(());
        }
        let mut buffer = [0; 2 * Ack::SIZE];
        let what = "it did not answer a set";
        loop {
            let (message, file) = receive(self.socket.as_fd(), &mut buffer, deadline, what)?;
            let fence = layout::Fence::from_bytes(message);
            match (Ack::from_bytes(message), fence, file) {
                (Some(ack), None, None) if ack.seq == self.seq => {
                    self.owing = false;
                    return Ok(());
                }
                // Once, before its first answer.
                (None, Some(fence), Some(file)) if self.seq == 1 && self.fence.is_none() => {
                    self.fence = Some(Fence::new(fence, file).ok_or(LibraryError::Descriptors)?);
                }
                (_, _, Some(_)) => return Err(LibraryError::Descriptors),
                _ => {
                    return Err(LibraryError::Unexpected {
                        what: "the answer to a set",
                        len: message.len(),
                    })
                }
            }
        }
    }

    /// Takes back the maps that are gone, and those that no window names if they have become many. Every
    /// set is answered by now.
    ///
    /// # Errors
    /// The library is to be dropped.
    pub fn forget(&mut self, shares: &[Share], deadline: Instant) -> Result<(), LibraryError> {
        let many = self.maps.len() > MAX_MAPS - MAX_WINDOWS;
        let told = self.told.as_deref().unwrap_or_default();
        let named = |number| told.iter().any(|window| window.map == number);
        let known = |number| shares.iter().any(|share| share.number == number);
        let idle: Vec<(u64, u32)> = self
            .maps
            .iter()
            .map(|(number, id)| (*number, *id))
            .filter(|(number, _)| !named(*number) && (many || !known(*number)))
            .collect();
        for (number, id) in idle {
            self.send(&Unmap { id }.to_bytes(), None, deadline)?;
            self.maps.remove(&number);
        }
        Ok(())
    }

    /// Ends the connection; see [`part`]. Its windows are closed to writes, even if its QEMU stands still: a vCPU
    /// may run before the library does. (One that takes a set in at this very moment may lay new windows yet, which
    /// hold now; it hears next that it is to void them.)
    pub fn hang_up(&self) {
        part(self.socket.as_fd());
        if let Some(fence) = &self.fence {
            fence.close(self.before.iter().chain(self.windows()));
        }
    }

    fn send(
        &self,
        message: &[u8],
        fd: Option<BorrowedFd<'_>>,
        deadline: Instant,
    ) -> Result<(), LibraryError> {
        let parts = [IoSlice::new(message)];
        let fds = fd.map(|fd| [fd.as_raw_fd()]);
        let rights = fds
            .as_ref()
            .map(|fds| [ControlMessage::ScmRights(fds.as_slice())]);
        let control = rights.as_ref().map_or(&[][..], |rights| &rights[..]);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        loop {
            match sendmsg::<UnixAddr>(self.socket.as_raw_fd(), &parts, control, flags, None) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    let what = "it did not read what it was sent";
                    wait(self.socket.as_fd(), PollFlags::POLLOUT, deadline, what)?;
                }
                Err(Errno::EPIPE | Errno::ECONNRESET) => return Err(LibraryError::Closed),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// Receives the hello of whoever connected to `socket`, and judges it. Returns the side.
pub fn greet(socket: BorrowedFd<'_>, deadline: Instant) -> Result<u32, LibraryError> {
    let mut buffer = [0; 2 * Hello::SIZE];
    let (message, file) = receive(socket, &mut buffer, deadline, "it did not say hello")?;
    if file.is_some() {
        return Err(LibraryError::Descriptors);
    }
    match Hello::from_bytes(message) {
        Some(hello) if hello.magic == abi::windows::MAGIC => {
            if hello.version == abi::windows::VERSION {
                Ok(hello.side)
            } else {
                Err(LibraryError::Version(hello.version))
            }
        }
        _ => Err(LibraryError::Unexpected {
            what: "a hello",
            len: message.len(),
        }),
    }
}

/// Ends the connection of a library, which hears that this process lives on; whoever waits for the end in
/// [`until_closed`] hears of it too.
pub fn part(socket: BorrowedFd<'_>) {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    // A library has one set at most that it has not read, and few maps: there is room for this as well.
    match send(socket.as_raw_fd(), &GOODBYE, flags) {
        Ok(_) | Err(Errno::EPIPE | Errno::ECONNRESET) => {}
        Err(errno) => log::error!(
            "windows: a library cannot be told that it is dropped: {errno}; its windows read as all ones"
        ),
    }
    let _ = shutdown(socket.as_raw_fd(), Shutdown::Both);
}

/// Sleeps until either end has closed the connection. What the library says meanwhile is not looked at.
pub fn until_closed(socket: BorrowedFd<'_>) {
    let mut ends = [PollFd::new(socket, PollFlags::empty())];
    while poll(&mut ends, PollTimeout::NONE) == Err(Errno::EINTR) {}
}

/// Receives one message into `buffer`, which is longer than any that is expected, and a descriptor that came along.
fn receive<'a>(
    socket: BorrowedFd<'_>,
    buffer: &'a mut [u8],
    deadline: Instant,
    what: &'static str,
) -> Result<(&'a [u8], Option<OwnedFd>), LibraryError> {
    let mut control = cmsg_space!([RawFd; SCM_MAX_FD]);
    loop {
        let mut parts = [std::io::IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let fd = socket.as_raw_fd();
        let (len, cut, mut files) =
            match recvmsg::<UnixAddr>(fd, &mut parts, Some(&mut control), flags) {
                Ok(message) => {
                    let mut files = Vec::new();
                    for entry in message.cmsgs().into_iter().flatten() {
                        if let ControlMessageOwned::ScmRights(raw) = entry {
                            // SAFETY: the kernel has just made these descriptors for this call, and nobody else
                            // knows them.
                            let owned = |raw| unsafe { OwnedFd::from_raw_fd(raw) };
                            files.extend(raw.into_iter().map(owned));
                        }
                    }
                    let cut = message.flags.contains(MsgFlags::MSG_CTRUNC);
                    (message.bytes, cut, files)
                }
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => {
                    wait(socket, PollFlags::POLLIN, deadline, what)?;
                    continue;
                }
                Err(Errno::ECONNRESET) => return Err(LibraryError::Closed),
                Err(errno) => return Err(errno.into()),
            };
        if cut || files.len() > 1 {
            return Err(LibraryError::Descriptors);
        }
        if len == 0 {
            return Err(LibraryError::Closed);
        }
        return Ok((&buffer[..len], files.pop()));
    }
}

/// Waits until `socket` is ready for `events`, or has ended.
fn wait(
    socket: BorrowedFd<'_>,
    events: PollFlags,
    deadline: Instant,
    what: &'static str,
) -> Result<(), LibraryError> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up, or the last fraction of a millisecond would be spent turning round.
        let left = left.saturating_add(Duration::from_nanos(999_999));
        let timeout = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(socket, events)], timeout) {
            Ok(0) if Instant::now() >= deadline => return Err(LibraryError::Late { what }),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}
