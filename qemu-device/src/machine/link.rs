// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The RC's socket lives as long as the link: it appears at link-up and goes at link-down.
//!
//! QEMU freezes BARs and capabilities when it plugs a device, so there is nothing to connect to before
//! the EP's driver has programmed the function and enabled the LTSSM.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::{Attachment, Machine, Plugged, RcPort};
use crate::control::Event;
use crate::rc_face::RcFace;
use crate::vfio_user::memory::{MAX_DMA_MAPS, MAX_MAPPINGS};
use crate::vfio_user::server;

/// The most connections of links that are gone which may still stand. Each QEMU closes its own when
/// the guest lets go of the function; each costs a thread and up to `MAX_DMA_MAPS` mappings.
const MAX_CONNECTIONS: usize = 8;

// The EP has one more.
const _: () = assert!((MAX_CONNECTIONS + 1) * MAX_DMA_MAPS <= MAX_MAPPINGS);

/// Until accept(2) is tried again after it failed, as when there are too many descriptors.
const RECOVERY: Duration = Duration::from_millis(100);

/// The listening socket of the link that stands, if one does.
pub struct RcSocket {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The link as the world was told: which rise it is, counted from 1, while it is up.
    generation: Option<u32>,
    listener: Option<Arc<UnixListener>>,
    /// Connections of this link and of earlier ones.
    connections: usize,
}

impl RcSocket {
    /// Will listen at `path` while the link is up; whatever stands there is replaced.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The generation of the link that stands.
    pub fn current(&self) -> Option<u32> {
        let state = self.state();
        state.generation.filter(|_| state.listener.is_some())
    }

    /// Listens for the RC's QEMU, and serves it on a thread of its own.
    fn open(&self, machine: &Arc<Machine>, generation: u32) -> io::Result<Arc<UnixListener>> {
        let listener = Arc::new(listen(&self.path)?);
        let (machine, accepting) = (machine.clone(), listener.clone());
        thread::Builder::new()
            .name(format!("rc-{generation}"))
            .spawn(move || serve_all(&machine, &accepting, generation))
            // A socket that nobody serves would keep QEMU waiting.
            .inspect_err(|_| drop(std::fs::remove_file(&self.path)))?;
        Ok(listener)
    }

    /// Nobody can connect any more. A connection that stands is left to the RC's QEMU to close.
    fn close(&self, listener: &UnixListener) {
        let _ = std::fs::remove_file(&self.path);
        // Wakes the thread that waits in accept(2).
        // SAFETY: shutdown(2) takes no pointers, and the listener keeps its descriptor open.
        unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) };
    }
}

impl Machine {
    /// Lets the socket follow the link, and tells whoever listens to events.
    ///
    /// Either guest can change the link, each on its port's thread, and they may get here in another
    /// order than they changed it. So what counts is how the link is now; the socket's lock is held
    /// while looking and acting, and taken before the silicon's.
    pub(super) fn follow_link(self: &Arc<Self>) {
        let mut told = Vec::new();
        let opened = self.follow_link_locked(&mut self.rc_socket.state(), &mut told);
        if let Err(error) = opened {
            log::error!(
                "cannot serve the RC at {}: {error}",
                self.rc_socket.path.display()
            );
        }
        for event in told {
            log::info!("{event:?}");
        }
    }

    /// What is to be said of it is said once the lock is let go of.
    fn follow_link_locked(
        self: &Arc<Self>,
        state: &mut State,
        told: &mut Vec<Event>,
    ) -> io::Result<()> {
        let generation = self.silicon().controller.link_generation();
        if state.generation == generation {
            return Ok(());
        }
        if let Some(ended) = state.generation.take() {
            if let Some(listener) = state.listener.take() {
                self.rc_socket.close(&listener);
            }
            told.push(self.events.link(false, ended));
        }
        let Some(generation) = generation else {
            return Ok(());
        };
        state.generation = Some(generation);
        // Listens before anyone is told.
        let opened = self.rc_socket.open(self, generation);
        told.push(self.events.link(true, generation));
        state.listener = Some(opened?);
        Ok(())
    }

    /// The RC's QEMU connected to the link of this `generation`, and plugs the function as it is now.
    /// `None` if that link is gone by now, or if too many connections of earlier ones still stand.
    fn attach_rc(&self, attachment: &Attachment, generation: u32) -> Option<RcFace> {
        let mut state = self.rc_socket.state();
        if state.generation != Some(generation) {
            return None;
        }
        if state.connections >= MAX_CONNECTIONS {
            drop(state);
            log::error!("rc: {MAX_CONNECTIONS} connections of earlier links still stand");
            return None;
        }
        state.connections += 1;
        let face = RcFace::plug(&self.silicon().controller);
        let mut rc = self.rc.write().unwrap_or_else(PoisonError::into_inner);
        *rc = Some(Plugged {
            attachment: attachment.clone(),
            face: face.clone(),
            generation,
        });
        let told = self.events.rc_attached(true);
        drop((rc, state));
        log::info!("{told:?}");
        Some(face)
    }

    /// Forgets the RC's connection, unless a newer one has taken its place.
    fn detach_rc(&self, attachment: &Attachment) {
        let mut state = self.rc_socket.state();
        state.connections = state.connections.saturating_sub(1);
        let mut rc = self.rc.write().unwrap_or_else(PoisonError::into_inner);
        let ours = |current: &Plugged| Arc::ptr_eq(&current.attachment.memory, &attachment.memory);
        let told = rc.take_if(|current| ours(current));
        let told = told.map(|_| self.events.rc_attached(false));
        drop((rc, state));
        if let Some(event) = told {
            log::info!("{event:?}");
        }
        self.follow_memory();
    }
}

/// Listens at `path`, replacing a socket that an earlier process left there.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => UnixListener::bind(path),
    }
}

/// Waits for the next client of `listener`; `None` once it is `over`. Whatever else fails passes.
pub fn accept(listener: &UnixListener, over: impl Fn() -> bool) -> Option<UnixStream> {
    loop {
        let client = listener.accept();
        if over() {
            return None;
        }
        match client {
            Ok((stream, _)) => return Some(stream),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                log::warn!("no connection: {error}");
                thread::sleep(RECOVERY);
            }
        }
    }
}

/// Serves one connection after the other until the link goes down.
fn serve_all(machine: &Arc<Machine>, listener: &UnixListener, generation: u32) {
    let over = || machine.rc_socket.state().generation != Some(generation);
    while let Some(stream) = accept(listener, over) {
        serve(machine, stream, generation);
        if over() {
            return;
        }
    }
}

fn serve(machine: &Arc<Machine>, stream: UnixStream, generation: u32) {
    let attachment = Attachment::default();
    let Some(face) = machine.attach_rc(&attachment, generation) else {
        return;
    };
    let mut port = RcPort::new(machine.clone(), face, generation);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::{Config, Effects};
    use abi::{app, spider};

    fn machine() -> (tempfile::TempDir, Arc<Machine>) {
        let dir = tempfile::tempdir().unwrap();
        let socket = RcSocket::new(&dir.path().join("rc.sock"));
        let machine = Machine::new(Config::default(), socket, Arc::default());
        (dir, machine)
    }

    /// Changes the link; the world has not been told yet.
    fn set_link(machine: &Arc<Machine>, up: bool) -> Effects {
        let mut effects = Effects::default();
        let value = app::LTSSM_ENABLE.place(up.into());
        machine.silicon().controller.ep_write_bytes(
            (spider::APP.offset + app::RESET_CONTROL_1).into(),
            &value.to_le_bytes(),
            &mut effects,
        );
        assert!(!effects.is_empty());
        effects
    }

    #[test]
    fn the_socket_is_as_the_link_whoever_says_so_first() {
        let (dir, machine) = machine();
        let path = dir.path().join("rc.sock");
        machine.perform(set_link(&machine, true));
        assert_eq!(machine.rc_socket.current(), Some(1));

        let (down, up) = (set_link(&machine, false), set_link(&machine, true));
        machine.perform(up);
        machine.perform(down);
        assert_eq!(machine.rc_socket.current(), Some(2));
        UnixStream::connect(&path).unwrap();

        machine.perform(set_link(&machine, false));
        let (up, down) = (set_link(&machine, true), set_link(&machine, false));
        machine.perform(down);
        machine.perform(up);
        assert_eq!(machine.rc_socket.current(), None);
        assert!(!path.exists());
    }

    #[test]
    fn a_client_of_an_earlier_link_does_not_take_the_place_of_a_later_ones() {
        let (_dir, machine) = machine();
        machine.perform(set_link(&machine, true));
        machine.perform(set_link(&machine, false));
        machine.perform(set_link(&machine, true));
        let (late, current) = (Attachment::default(), Attachment::default());
        assert!(machine.attach_rc(&current, 2).is_some());
        assert!(machine.attach_rc(&late, 1).is_none());
        let attached = machine.rc().unwrap();
        assert!(Arc::ptr_eq(&attached.memory, &current.memory));
    }

    #[test]
    fn connections_that_nobody_closes_are_bounded() {
        let (_dir, machine) = machine();
        let stale: Vec<_> = (1..)
            .map(|generation| {
                machine.perform(set_link(&machine, true));
                let attachment = Attachment::default();
                let attached = machine.attach_rc(&attachment, generation);
                machine.perform(set_link(&machine, false));
                attached.map(|_| attachment)
            })
            .take_while(Option::is_some)
            .flatten()
            .collect();
        assert_eq!(stale.len(), MAX_CONNECTIONS);
        machine.detach_rc(&stale[0]);
        machine.perform(set_link(&machine, true));
        let generation = machine.rc_socket.current().unwrap();
        let attached = machine.attach_rc(&Attachment::default(), generation);
        assert!(attached.is_some());
    }
}
