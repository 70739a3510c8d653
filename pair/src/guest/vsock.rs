// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Connections into a guest through its vsock daemon.
//!
//! The daemon's Unix socket speaks the hybrid protocol that Firecracker began: `CONNECT PORT\n`,
//! answered by `OK PORT\n` once the guest has accepted. If nobody listens it just hangs up.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use agent::wire::PORT;

use super::{Guest, GuestError};

/// The rest between two attempts: short beside a boot.
const PAUSE: Duration = Duration::from_millis(10);
/// How long the first attempt may take. After a guest that said nothing, twice as long.
const FIRST_ATTEMPT: Duration = Duration::from_secs(1);
/// The longest answer; `OK 4294967295\n` has 14 bytes.
const MAX_ANSWER: usize = 32;

/// Why one attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Its vsock daemon does not run, or not yet.
    #[error("no vsock daemon there ({0})")]
    NoDaemon(io::Error),
    /// The agent does not listen (yet).
    #[error("nobody listens on vsock port {PORT} in the guest")]
    NobodyListens,
    /// The guest does not answer: it hangs, or its kernel is not that far.
    #[error("the guest does not answer a vsock connection")]
    Silence,
    /// Something else than a vsock daemon has this socket.
    #[error("the vsock daemon's answer is {0:?}")]
    Nonsense(String),
    /// The socket failed.
    #[error("the vsock daemon's socket failed ({0})")]
    Io(io::Error),
}

/// Connects to the agent, again and again until `deadline`.
pub fn connect(guest: &Guest, deadline: Instant) -> Result<UnixStream, GuestError> {
    let started = Instant::now();
    let mut patience = FIRST_ATTEMPT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let last = match attempt(guest, patience.min(left.max(PAUSE))) {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        if Instant::now() + PAUSE >= deadline {
            return Err(GuestError::NotReady {
                guest: guest.name.clone(),
                socket: guest.socket.clone(),
                waited: started.elapsed(),
                last,
            });
        }
        if matches!(last, ConnectError::Silence) {
            patience = patience.saturating_mul(2);
        }
        sleep(PAUSE);
    }
}

fn attempt(guest: &Guest, patience: Duration) -> Result<UnixStream, ConnectError> {
    let mut stream = UnixStream::connect(&guest.socket).map_err(ConnectError::NoDaemon)?;
    let deadline = Instant::now() + patience;
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ConnectError::Silence,
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ConnectError::NobodyListens,
        _ => ConnectError::Io(error),
    };
    stream.set_write_timeout(Some(patience)).map_err(failed)?;
    stream
        .write_all(format!("CONNECT {PORT}\n").as_bytes())
        .map_err(failed)?;
    let mut answer = Vec::new();
    // A byte at a time: what follows the line belongs to the caller.
    while answer.last() != Some(&b'\n') && answer.len() < MAX_ANSWER {
        let left = deadline.saturating_duration_since(Instant::now());
        stream
            .set_read_timeout(Some(left.max(Duration::from_millis(1))))
            .map_err(failed)?;
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => return Err(ConnectError::NobodyListens),
            Ok(_) => answer.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    if !(answer.starts_with(b"OK ") && answer.ends_with(b"\n")) {
        return Err(ConnectError::Nonsense(
            String::from_utf8_lossy(&answer).into_owned(),
        ));
    }
    stream
        .set_read_timeout(None)
        .and_then(|()| stream.set_write_timeout(None))
        .map_err(failed)?;
    Ok(stream)
}
