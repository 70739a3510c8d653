// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the runner does with the inside of a guest: composes what it boots from, and runs commands.
//!
//! - [`layer`]: the run's initramfs, written by [`cpio`];
//! - [`relay`]: the runner's end of the guest's virtio-serial port;
//! - [`connect`]: a connection to the guest's agent through it;
//! - [`exec`]: a command with the caller's own standard streams (`ep`, `rc`);
//! - [`Guest::run`]: a command whose output is collected.

mod client;
pub mod connect;
pub mod cpio;
mod escape;
pub mod exec;
pub mod layer;
pub mod relay;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use agent::wire::{Exit, Start, WireError};

use client::{Client, Stream};

/// How long a command waits for a guest that is said to be ready.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// The most output, in bytes, that [`Guest::run`] collects.
const MAX_OUTPUT: usize = 256 << 20;

/// Why a command in a guest could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// Nothing answered within the deadline.
    #[error("waited {:.1} s for the agent of guest {guest} at {}: {last}", .waited.as_secs_f64(), .socket.display())]
    NotReady {
        /// The guest's name.
        guest: String,
        /// Where its relay takes connections.
        socket: PathBuf,
        /// How long.
        waited: Duration,
        /// How the last attempt ended.
        last: connect::ConnectError,
    },
    /// The guest went away or rebooted, or the runner ended.
    #[error("guest {guest} went away before the command ended: it rebooted, was switched off, or the pair has ended")]
    Lost {
        /// The guest's name.
        guest: String,
    },
    /// The guest could not start the command.
    #[error("guest {guest}: {reason}")]
    Refused {
        /// The guest's name.
        guest: String,
        /// The agent's words.
        reason: String,
    },
    /// The command did not end in time; it has been killed.
    #[error("waited {:.1} s for the end of `{command}` in guest {guest}", .waited.as_secs_f64())]
    Timeout {
        /// The guest's name.
        guest: String,
        /// The command.
        command: String,
        /// How long.
        waited: Duration,
    },
    /// The command wrote more than can be collected; it has been killed.
    #[error("`{command}` in guest {guest} wrote more than {} MiB", MAX_OUTPUT >> 20)]
    TooMuchOutput {
        /// The guest's name.
        guest: String,
        /// The command.
        command: String,
    },
    /// The agent broke the protocol, or speaks another version of it.
    #[error("the agent of guest {guest} makes no sense")]
    Protocol {
        /// The guest's name.
        guest: String,
        /// What it did.
        source: WireError,
    },
    /// One of the caller's own streams failed.
    #[error("{what}")]
    Local {
        /// Which one.
        what: &'static str,
        /// How.
        source: std::io::Error,
    },
}

/// What a command left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub exit: Exit,
    /// Everything it wrote to standard output.
    pub stdout: Vec<u8>,
    /// Everything it wrote to standard error.
    pub stderr: Vec<u8>,
}

/// A guest, as its relay shows it. It need not be up, and may come and go.
#[derive(Debug, Clone)]
pub struct Guest {
    name: String,
    socket: PathBuf,
}

impl Guest {
    /// The guest `name` (`ep`, `rc`) behind the relay's socket `socket`.
    pub fn new(name: impl Into<String>, socket: impl Into<PathBuf>) -> Self {
        Guest {
            name: name.into(),
            socket: socket.into(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The relay's socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Waits until the agent takes commands: the guest has booted and loaded its modules.
    pub fn wait_ready(&self, timeout: Duration) -> Result<(), GuestError> {
        connect::connect(self, Instant::now() + timeout).map(drop)
    }

    /// Runs a shell command with no input and collects what it writes.
    pub fn run(&self, command: &str, timeout: Duration) -> Result<Output, GuestError> {
        self.run_with_input(command, &[], timeout)
    }

    /// Runs a shell command with `input` as its standard input and collects what it writes.
    pub fn run_with_input(
        &self,
        command: &str,
        input: &[u8],
        timeout: Duration,
    ) -> Result<Output, GuestError> {
        let started = Instant::now();
        let deadline = started + timeout;
        let start = Start {
            command: command.into(),
            ..Start::default()
        };
        let mut client = Client::start(self, start, deadline.min(started + CONNECT_TIMEOUT))?;
        let mut output = Output {
            exit: Exit::Code(0),
            stdout: Vec::new(),
            stderr: Vec::new(),
        };
        let sender = client.sender();
        std::thread::scope(|scope| {
            scope.spawn(|| sender.pump(input));
            let result = client.receive(Some(deadline), |stream, data| {
                match stream {
                    Stream::Stdout => output.stdout.extend_from_slice(data),
                    Stream::Stderr => output.stderr.extend_from_slice(data),
                }
                match output.stdout.len() + output.stderr.len() > MAX_OUTPUT {
                    true => Err(GuestError::TooMuchOutput {
                        guest: self.name.clone(),
                        command: command.into(),
                    }),
                    false => Ok(()),
                }
            });
            // Whatever happened: the thread above shall not wait for credit any more.
            sender.close();
            result
        })
        .map(|exit| output.exit = exit)
        .map_err(|error| match error {
            client::Error::Deadline => GuestError::Timeout {
                guest: self.name.clone(),
                command: command.into(),
                waited: started.elapsed(),
            },
            client::Error::Guest(error) => error,
        })?;
        Ok(output)
    }
}

#[cfg(test)]
mod test_guest;
#[cfg(test)]
mod tests;
