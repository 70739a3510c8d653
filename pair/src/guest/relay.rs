// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The host's end of a guest's virtio-serial port: QEMU's socket on one side, a socket for any
//! number of clients on the other.

use std::fs;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use agent::mux::{Mux, TrunkError};

/// Between two looks for QEMU's socket, in a boot that takes a second.
const LOOK: Duration = Duration::from_millis(10);
/// After an error: long enough for the guest to notice that we were gone.
const RECOVERY: Duration = Duration::from_millis(500);

/// A thread that carries the commands of one guest. Dropped, it hangs up on all of them.
///
/// QEMU may come later, and the guest may reboot: clients are hung up on while nobody serves.
#[derive(Debug)]
pub struct Relay {
    state: Arc<Mutex<State>>,
    listen: PathBuf,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    over: bool,
    /// To end a wait for the trunk.
    trunk: Option<UnixStream>,
}

impl Relay {
    /// Begins for guest `name`: `port` is QEMU's socket, `listen` is made for the clients.
    ///
    /// # Errors
    /// `listen` cannot be made, or the thread cannot be started.
    pub fn start(
        name: &str,
        port: impl Into<PathBuf>,
        listen: impl Into<PathBuf>,
    ) -> io::Result<Self> {
        let (port, listen) = (port.into(), listen.into());
        let listener = UnixListener::bind(&listen)?;
        listener.set_nonblocking(true)?;
        let state = Arc::new(Mutex::new(State::default()));
        let (name, shared) = (name.to_owned(), state.clone());
        let thread = thread::Builder::new()
            .name(format!("relay {name}"))
            .spawn(move || carry(&name, &port, &listener, &shared))?;
        Ok(Relay {
            state,
            listen,
            thread: Some(thread),
        })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.over = true;
            if let Some(trunk) = &state.trunk {
                let _ = trunk.shutdown(std::net::Shutdown::Both);
            }
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = fs::remove_file(&self.listen);
    }
}

fn carry(name: &str, port: &Path, listener: &UnixListener, state: &Mutex<State>) {
    loop {
        // Without a second descriptor nobody could end the wait.
        let trunk = UnixStream::connect(port).and_then(|trunk| Ok((trunk.try_clone()?, trunk)));
        let trunk = {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.over {
                return;
            }
            state.trunk = None;
            trunk.map(|(shutdown, trunk)| {
                state.trunk = Some(shutdown);
                trunk
            })
        };
        let pause = match trunk
            .map_err(TrunkError::from)
            .and_then(|trunk| run(trunk, listener))
        {
            Ok(never) => match never {},
            // There is no QEMU, or none yet.
            Err(TrunkError::Io(_) | TrunkError::Ended) => LOOK,
            Err(error) => {
                log::warn!("commands of guest {name}: {error}");
                RECOVERY
            }
        };
        // Nobody to serve them.
        while listener.accept().is_ok() {}
        thread::sleep(pause);
    }
}

fn run(trunk: UnixStream, listener: &UnixListener) -> Result<std::convert::Infallible, TrunkError> {
    trunk.set_nonblocking(true)?;
    let mut mux = Mux::host(trunk);
    loop {
        mux.turn(Some(listener), drop)?;
    }
}
