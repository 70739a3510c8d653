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
use crate::vfio_user::memory::{MAX_DMA_MAPS, MAX_MAPPED, MAX_MAPPINGS};
use crate::vfio_user::server;

/// The most links whose connection may stand, those that are gone included. QEMU closes its own when the
/// guest lets go of the function; each costs a thread and up to `MAX_DMA_MAPS` mappings.
const MAX_CONNECTIONS: usize = 8;

// The EP has one more.
const _: () = assert!((MAX_CONNECTIONS + 1) * MAX_DMA_MAPS <= MAX_MAPPINGS);
// An x86-64 process has 128 TiB.
const _: () = assert!((MAX_CONNECTIONS as u64 + 1) * MAX_MAPPED <= 64 << 40);

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
    /// Threads that listen for, or serve, the connection of this link and of earlier ones.
    serving: usize,
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

    /// Nobody can connect any more. Who has connected is served: the RC's QEMU does not survive it to be refused
    /// then. A connection that stands is left to it to close.
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
        let told = self.follow_link_locked(&mut self.rc_socket.state());
        for event in told.into_iter().flatten() {
            log::info!("{event:?}");
        }
    }

    /// Returns what was told, for the log.
    fn follow_link_locked(self: &Arc<Self>, state: &mut State) -> [Option<Event>; 2] {
        let generation = self.silicon().controller.link_generation();
        if state.generation == generation {
            return [None, None];
        }
        let down = state.generation.take().map(|ended| {
            if let Some(listener) = state.listener.take() {
                self.rc_socket.close(&listener);
            }
            self.events.link(false, ended)
        });
        let up = generation.map(|generation| {
            state.generation = Some(generation);
            // Listens before anyone is told.
            self.listen_for_rc(state);
            self.events.link(true, generation)
        });
        [down, up]
    }

    /// Listens for the RC's QEMU if the link is up and there is room for its connection.
    fn listen_for_rc(self: &Arc<Self>, state: &mut State) {
        let (Some(generation), None) = (state.generation, &state.listener) else {
            return;
        };
        // Better no socket than one whose connections are refused: QEMU does not survive that.
        if state.serving >= MAX_CONNECTIONS {
            log::error!("rc: {MAX_CONNECTIONS} connections of earlier links still stand");
            return;
        }
        match self.rc_socket.open(self, generation) {
            Ok(listener) => {
                state.listener = Some(listener);
                state.serving += 1;
            }
            Err(error) => log::error!(
                "cannot serve the RC at {}: {error}",
                self.rc_socket.path.display()
            ),
        }
    }

    /// The RC's QEMU connected to the link of this `generation`, and plugs the function as it is now; it may be
    /// gone by now, of which QEMU hears once it has plugged it.
    fn attach_rc(self: &Arc<Self>, attachment: &Attachment, generation: u32) -> RcFace {
        // QEMU knows nothing of what it wrote before it was unplugged.
        self.change(self.silicon(), |silicon, _| {
            if silicon.controller.link_generation() == Some(generation) {
                silicon.controller.rc_reset();
            }
        });
        let state = self.rc_socket.state();
        let face = {
            let controller = &mut self.silicon().controller;
            let face = RcFace::plug(controller);
            for correction in face.corrections() {
                if controller.count_corrected() {
                    log::warn!("rc: the function is plugged with its {correction}");
                }
            }
            face
        };
        if state.generation == Some(generation) {
            let mut rc = self.rc.write().unwrap_or_else(PoisonError::into_inner);
            *rc = Some(Plugged {
                attachment: attachment.clone(),
                face: face.clone(),
                generation,
            });
            let told = self.events.rc_attached(true);
            drop((rc, state));
            log::info!("{told:?}");
        }
        face
    }

    /// Forgets the RC's connection, unless a newer one has taken its place.
    fn detach_rc(&self, attachment: &Attachment) {
        let state = self.rc_socket.state();
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

/// Waits for the next client of `listener`; `None` once it is `over` and nobody waits. Whatever else fails passes.
pub fn accept(listener: &UnixListener, over: impl Fn() -> bool) -> Option<UnixStream> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => return Some(stream),
            Err(_) if over() => return None,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                log::warn!("no connection: {error}");
                thread::sleep(RECOVERY);
            }
        }
    }
}

/// Serves one connection after the other until the link goes down and all that had connected are gone.
fn serve_all(machine: &Arc<Machine>, listener: &UnixListener, generation: u32) {
    let over = || machine.rc_socket.state().generation != Some(generation);
    while let Some(stream) = accept(listener, over) {
        serve(machine, stream, generation);
    }
    let mut state = machine.rc_socket.state();
    state.serving -= 1;
    machine.listen_for_rc(&mut state);
}

fn serve(machine: &Arc<Machine>, stream: UnixStream, generation: u32) {
    let attachment = Attachment::default();
    let face = machine.attach_rc(&attachment, generation);
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
        machine.attach_rc(&current, 2);
        machine.attach_rc(&late, 1);
        let attached = machine.rc().unwrap();
        assert!(Arc::ptr_eq(&attached.memory, &current.memory));
        machine.detach_rc(&late);
        assert!(machine.rc().is_some());
    }

    /// Waits for the threads of links that are gone.
    fn eventually(done: impl Fn() -> bool) {
        for _ in 0..1000 {
            if done() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("not within 10 s");
    }

    #[test]
    fn who_has_connected_before_the_link_went_down_is_served() {
        let (dir, machine) = machine();
        let hold = machine.rc_socket.state();
        drop(hold);
        machine.perform(set_link(&machine, true));
        let clients: Vec<_> = (0..3)
            .map(|_| UnixStream::connect(dir.path().join("rc.sock")).unwrap())
            .collect();
        machine.perform(set_link(&machine, false));
        for mut client in clients {
            let version = [&[1, 0, 1, 0, 20, 0, 0, 0][..], &[0; 8], &[0, 0, 0, 0]].concat();
            std::io::Write::write_all(&mut client, &version).unwrap();
            let mut reply = [0; 16];
            std::io::Read::read_exact(&mut client, &mut reply).unwrap();
            assert_eq!(reply[12..], [0; 4], "no error");
        }
        eventually(|| machine.rc_socket.state().serving == 0);
    }

    #[test]
    fn connections_that_nobody_closes_are_bounded() {
        let (dir, machine) = machine();
        let path = dir.path().join("rc.sock");
        let mut stale: Vec<_> = (0..MAX_CONNECTIONS)
            .map(|_| {
                machine.perform(set_link(&machine, true));
                let client = UnixStream::connect(&path).unwrap();
                eventually(|| machine.rc().is_some());
                machine.perform(set_link(&machine, false));
                client
            })
            .collect();
        machine.perform(set_link(&machine, true));
        assert_eq!(machine.rc_socket.current(), None);
        assert!(!path.exists());
        stale.pop();
        eventually(|| machine.rc_socket.current().is_some());
        UnixStream::connect(&path).unwrap();
    }
}
