// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A QEMU and a guest for the unit tests: the agent's sessions, run on the host behind a relay.

use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use agent::mux::frame::BOOT_ID;
use agent::mux::{Mux, TrunkError};

use super::relay::Relay;
use super::Guest;

/// A guest under test; dropped, its relay ends.
pub struct TestGuest {
    /// To run commands in.
    pub guest: Guest,
    /// Carries them.
    pub relay: Relay,
    port: UnixListener,
    _dir: tempfile::TempDir,
}

/// A guest whose commands run on this host.
pub fn guest() -> TestGuest {
    serve(session)
}

/// Serves one connection as the agent does.
pub fn session(stream: UnixStream) {
    let _ = agent::session::serve(stream.into());
}

/// A guest whose agent does as told.
pub fn serve(session: fn(UnixStream)) -> TestGuest {
    let test = off();
    test.boot(1, session);
    test
}

/// A guest that has not booted.
pub fn off() -> TestGuest {
    let dir = tempfile::tempdir().unwrap();
    let (port, socket) = (dir.path().join("port"), dir.path().join("commands"));
    let listener = UnixListener::bind(&port).unwrap();
    let relay = Relay::start("ep", &port, &socket).unwrap();
    TestGuest {
        guest: Guest::new("ep", socket),
        relay,
        port: listener,
        _dir: dir,
    }
}

impl TestGuest {
    /// An agent starts, `number` times by now, on the relay's latest connection.
    pub fn boot(&self, number: u8, session: fn(UnixStream)) -> UnixStream {
        let trunk = self.port.accept().unwrap().0;
        Self::start_agent(trunk.try_clone().unwrap(), number, session);
        trunk
    }

    /// An agent starts on this connection.
    pub fn start_agent(trunk: UnixStream, number: u8, session: fn(UnixStream)) {
        trunk.set_nonblocking(true).unwrap();
        thread::spawn(move || {
            let mut mux = Mux::guest(trunk, &[number; BOOT_ID])?;
            loop {
                mux.turn(None, |stream| drop(thread::spawn(move || session(stream))))?;
            }
            #[allow(unreachable_code)]
            Ok::<(), TrunkError>(())
        });
        thread::sleep(Duration::from_millis(1));
    }
}
