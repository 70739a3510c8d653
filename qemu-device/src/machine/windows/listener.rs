// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the libraries connect, and the thread that stays with each connection.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    accept4, bind, listen, socket, AddressFamily, Backlog, SockFlag, SockType, UnixAddr,
};

use super::library::{greet, part, until_closed};
use super::{Side, DEADLINE};
use crate::clients::Clients;
use crate::machine::Machine;

/// The most connections at a time. Two are libraries; the others have not said hello yet.
const MAX_CONNECTIONS: usize = 8;

/// Until accept(2) is tried again after it failed, as when there are too many descriptors.
const RECOVERY: Duration = Duration::from_millis(100);

/// A socket on which libraries connect.
#[derive(Debug)]
pub struct WindowsListener(OwnedFd);

impl WindowsListener {
    /// Listens at `path`, replacing a socket that an earlier process left there.
    ///
    /// # Errors
    /// The path is too long, or nothing can be made there.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let fd = socket(
            AddressFamily::Unix,
            SockType::SeqPacket,
            SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
        listen(&fd, Backlog::new(MAX_CONNECTIONS as i32)?)?;
        Ok(Self(fd))
    }

    fn accept(&self) -> OwnedFd {
        loop {
            match accept4(self.0.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
                // SAFETY: a descriptor that has just been made for us.
                Ok(fd) => return unsafe { OwnedFd::from_raw_fd(fd) },
                Err(Errno::EINTR | Errno::ECONNABORTED) => {}
                Err(errno) => {
                    log::warn!("windows: no connection: {errno}");
                    thread::sleep(RECOVERY);
                }
            }
        }
    }
}

impl Machine {
    /// Serves the libraries that connect to `listener`, on threads of its own.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn serve_windows(self: &Arc<Self>, listener: WindowsListener) -> io::Result<()> {
        let machine = self.clone();
        let clients = Clients::at_most(MAX_CONNECTIONS);
        let serve = move || loop {
            let socket = listener.accept();
            let Some(present) = clients.admit("windows") else {
                part(socket.as_fd());
                continue;
            };
            let machine = machine.clone();
            let spawned = thread::Builder::new()
                .name("windows-client".into())
                .spawn(move || {
                    stay(&machine, socket);
                    drop(present);
                });
            if let Err(error) = spawned {
                log::error!("windows: no thread for a connection: {error}");
            }
        };
        thread::Builder::new()
            .name("windows".into())
            .spawn(serve)
            .map(drop)
    }
}

/// From the hello to the end of one connection. In between it is the threads which change something
/// that talk to the library.
fn stay(machine: &Machine, socket: OwnedFd) {
    let socket = Arc::new(socket);
    let joined = greet(socket.as_fd(), Instant::now() + DEADLINE)
        .and_then(Side::try_from)
        .and_then(|side| machine.admit(side, &socket).map(|()| side));
    match joined {
        Ok(side) => {
            until_closed(socket.as_fd());
            machine.dismiss(side, &socket);
        }
        Err(error) => {
            log::warn!("windows: a connection is refused: {error}");
            part(socket.as_fd());
        }
    }
}
