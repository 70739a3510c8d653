// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The RC's socket lives as long as the link: it appears at link-up and goes at link-down.
//!
//! QEMU freezes BARs and capabilities when it plugs a device, so there is nothing to connect to before
//! the EP's driver has programmed the function and enabled the LTSSM.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::{Attachment, Machine, RcPort};
use crate::vfio_user::server;

/// The listening socket of the link that stands, if one does.
pub struct RcSocket {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Counts link-ups, from 1.
    generation: u32,
    listener: Option<Arc<UnixListener>>,
}

impl RcSocket {
    /// Will listen at `path` while the link is up; whatever stands there is replaced.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The generation of the link that stands.
    pub fn current(&self) -> Option<u32> {
        let state = self.state();
        state.listener.as_ref().map(|_| state.generation)
    }

    /// Link up: listens before anyone is told. Returns the generation, counted from 1.
    pub(super) fn open(&self, machine: &Arc<Machine>) -> u32 {
        let mut state = self.state();
        state.generation += 1;
        let generation = state.generation;
        match listen(&self.path) {
            Ok(listener) => {
                let listener = Arc::new(listener);
                state.listener = Some(listener.clone());
                let machine = machine.clone();
                thread::Builder::new()
                    .name(format!("rc-{generation}"))
                    .spawn(move || accept(&machine, &listener, generation))
                    .map(drop)
                    .unwrap_or_else(|error| log::error!("no thread for the RC's socket: {error}"));
            }
            Err(error) => log::error!("cannot listen at {}: {error}", self.path.display()),
        }
        generation
    }

    /// Link down: nobody can connect any more. A connection that stands is left to the RC's QEMU to
    /// close. Returns the generation that ended.
    pub(super) fn close(&self) -> u32 {
        let mut state = self.state();
        if let Some(listener) = state.listener.take() {
            let _ = std::fs::remove_file(&self.path);
            // Wakes the thread that waits in accept(2).
            // SAFETY: shutdown(2) takes no pointers, and the listener keeps its descriptor open.
            unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) };
        }
        state.generation
    }
}

/// Listens at `path`, replacing a socket that an earlier process left there.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => UnixListener::bind(path),
    }
}

/// Serves one connection after the other until the link goes down.
fn accept(machine: &Arc<Machine>, listener: &UnixListener, generation: u32) {
    while machine.rc_socket.current() == Some(generation) {
        match listener.accept() {
            Ok((stream, _)) => serve(machine, stream, generation),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                if machine.rc_socket.current() == Some(generation) {
                    log::error!("the RC's socket fails: {error}");
                }
                return;
            }
        }
    }
}

fn serve(machine: &Arc<Machine>, stream: UnixStream, generation: u32) {
    let attachment = Attachment::default();
    machine.attach_rc(attachment.clone());
    let mut port = RcPort::new(machine.clone(), generation);
    let end = server::serve(
        stream,
        &attachment.memory,
        &attachment.interrupts,
        &mut port,
    );
    match end {
        Ok(()) => log::info!("rc: QEMU closed the connection"),
        Err(error) => log::warn!("rc: connection closed: {error}"),
    }
    machine.detach_rc(&attachment);
}
