// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The command server: a thread for each vsock connection.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use agent::session::{self, SessionError};
use agent::wire::PORT;
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{
    accept4, bind, listen, socket, AddressFamily, Backlog, SockFlag, SockType, VsockAddr,
};

use crate::console::say;

/// Serves for ever; returns only if it cannot listen.
pub fn run() -> ExitCode {
    // At a shutdown PID 1 ends everybody by SIGTERM; the server lives on to tell how they ended.
    // Blocked, not ignored: an ignored signal would stay so in every command.
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGTERM);
    let _ = mask.thread_block();

    let listener = match open() {
        Ok(listener) => listener,
        Err(e) => {
            say!("cannot listen on vsock port {PORT}: {e} (CONFIG_VIRTIO_VSOCKETS?)");
            return ExitCode::FAILURE;
        }
    };
    say!("ready for commands");
    loop {
        match accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
            Ok(fd) => {
                // SAFETY: accept4 made this descriptor, and nobody else has it.
                let link = unsafe { OwnedFd::from_raw_fd(fd) };
                let started = thread::Builder::new()
                    .name("session".into())
                    .spawn(|| serve(link));
                if let Err(e) = started {
                    say!("no thread for a connection: {e}");
                }
            }
            Err(Errno::EINTR | Errno::ECONNABORTED) => {}
            Err(e) => {
                say!("accept: {e}");
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

fn open() -> nix::Result<OwnedFd> {
    let listener = socket(
        AddressFamily::Vsock,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    bind(
        listener.as_raw_fd(),
        &VsockAddr::new(libc::VMADDR_CID_ANY, PORT),
    )?;
    listen(&listener, Backlog::new(128)?)?;
    Ok(listener)
}

fn serve(link: OwnedFd) {
    match session::serve(link) {
        // A host that leaves is everyday.
        Ok(()) | Err(SessionError::Lost) => {}
        Err(SessionError::Io(e)) if e.raw_os_error() == Some(libc::ECONNRESET) => {}
        Err(e) => say!("command connection: {e}"),
    }
}
