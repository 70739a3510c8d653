// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A connection to a guest's agent, by way of the guest's [`Relay`](super::relay::Relay).

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use agent::mux::GREETING;

use super::{Guest, GuestError};

/// The rest between two attempts: short beside a boot.
const PAUSE: Duration = Duration::from_millis(10);

/// Why one attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The pair does not run, or not yet.
    #[error("nothing serves that socket ({0})")]
    NoRelay(io::Error),
    /// The guest boots, reboots or is down.
    #[error("the guest's agent does not answer")]
    NoAgent,
    /// The runner hangs, or serves as many commands as it can.
    #[error("the runner does not answer")]
    Silence,
    /// Something else has this socket.
    #[error("something else than the runner serves that socket")]
    Nonsense,
    /// The socket failed.
    #[error("the socket failed ({0})")]
    Io(io::Error),
}

/// Connects to the agent, again and again until `deadline`.
pub fn connect(guest: &Guest, deadline: Instant) -> Result<UnixStream, GuestError> {
    let started = Instant::now();
    loop {
        let last = match attempt(guest, deadline) {
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
        sleep(PAUSE);
    }
}

fn attempt(guest: &Guest, deadline: Instant) -> Result<UnixStream, ConnectError> {
    let mut stream = UnixStream::connect(&guest.socket).map_err(ConnectError::NoRelay)?;
    let left = deadline
        .saturating_duration_since(Instant::now())
        .max(PAUSE);
    stream
        .set_read_timeout(Some(left))
        .map_err(ConnectError::Io)?;
    let mut greeting = [0; GREETING.len()];
    stream
        .read_exact(&mut greeting)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => ConnectError::NoAgent,
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ConnectError::Silence,
            _ => ConnectError::Io(error),
        })?;
    if greeting != GREETING {
        return Err(ConnectError::Nonsense);
    }
    stream.set_read_timeout(None).map_err(ConnectError::Io)?;
    Ok(stream)
}
