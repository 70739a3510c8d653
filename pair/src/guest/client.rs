// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The host's side of [`agent::wire`]: one connection, one command.
//!
//! Receiving is one thread's; sending may come from several (input, signals), one whole frame at a
//! time. The window of standard input keeps every send short.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agent::wire::{Decoder, Exit, Start, ToGuest, ToHost, CHUNK, STDIN_WINDOW};

use super::connect::connect;
use super::{Guest, GuestError};

/// Which of the command's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

/// Why [`Client::receive`] stopped early.
#[derive(Debug)]
pub enum Error {
    /// Its deadline passed.
    Deadline,
    /// Anything else.
    Guest(GuestError),
}

impl From<GuestError> for Error {
    fn from(error: GuestError) -> Self {
        Error::Guest(error)
    }
}

/// A command that runs in a guest. Dropped early, the guest kills it.
#[derive(Debug)]
pub struct Client {
    guest: String,
    stream: UnixStream,
    decoder: Decoder,
    sender: Arc<Sender>,
}

impl Client {
    /// Connects and starts the command.
    pub fn start(guest: &Guest, start: Start, deadline: Instant) -> Result<Self, GuestError> {
        let mut frame = Vec::new();
        ToGuest::Start(start)
            .encode(&mut frame)
            .map_err(|source| GuestError::Protocol {
                guest: guest.name.clone(),
                source,
            })?;
        let stream = connect(guest, deadline)?;
        let lost = |_| GuestError::Lost {
            guest: guest.name.clone(),
        };
        let (writer, shutdown) = (
            stream.try_clone().map_err(lost)?,
            stream.try_clone().map_err(lost)?,
        );
        (&writer).write_all(&frame).map_err(lost)?;
        let input = Input {
            credit: STDIN_WINDOW,
            closed: false,
        };
        Ok(Client {
            guest: guest.name.clone(),
            stream,
            decoder: Decoder::default(),
            sender: Arc::new(Sender {
                stream: Mutex::new(writer),
                shutdown,
                input: Mutex::new(input),
                changed: Condvar::new(),
            }),
        })
    }

    /// For other threads.
    pub fn sender(&self) -> Arc<Sender> {
        self.sender.clone()
    }

    /// Hands all output to `take` until the command ends, or until `deadline`.
    pub fn receive(
        &mut self,
        deadline: Option<Instant>,
        mut take: impl FnMut(Stream, &[u8]) -> Result<(), GuestError>,
    ) -> Result<Exit, Error> {
        loop {
            let protocol = |source| GuestError::Protocol {
                guest: self.guest.clone(),
                source,
            };
            while let Some(frame) = self.decoder.next_frame().map_err(protocol)? {
                match ToHost::parse(frame).map_err(protocol)? {
                    ToHost::Stdout(data) => take(Stream::Stdout, data)?,
                    ToHost::Stderr(data) => take(Stream::Stderr, data)?,
                    ToHost::Credit(bytes) => self.sender.add_credit(bytes),
                    ToHost::StdinClosed => self.sender.close_input(),
                    ToHost::Exit(exit) => return Ok(exit),
                    ToHost::Refused(reason) => {
                        let (guest, reason) = (self.guest.clone(), reason.to_owned());
                        return Err(GuestError::Refused { guest, reason }.into());
                    }
                }
            }
            self.fill(deadline)?;
        }
    }

    fn fill(&mut self, deadline: Option<Instant>) -> Result<(), Error> {
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Err(Error::Deadline);
        }
        let lost = || {
            Error::Guest(GuestError::Lost {
                guest: self.guest.clone(),
            })
        };
        self.stream.set_read_timeout(left).map_err(|_| lost())?;
        match self.decoder.fill(&mut self.stream) {
            Ok(0) => Err(lost()),
            Ok(_) => Ok(()),
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => Ok(()),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Err(Error::Deadline),
                _ => Err(lost()),
            },
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.sender.close();
    }
}

#[derive(Debug)]
struct Input {
    /// Bytes that the guest has room for.
    credit: u32,
    /// The command takes no more.
    closed: bool,
}

/// The sending half of a [`Client`].
#[derive(Debug)]
pub struct Sender {
    stream: Mutex<UnixStream>,
    /// The same connection, to end it whoever holds the lock.
    shutdown: UnixStream,
    input: Mutex<Input>,
    changed: Condvar,
}

impl Sender {
    /// Sends one frame. An error means that the connection is lost, which the receiver notices too.
    pub fn send(&self, message: &ToGuest) -> io::Result<()> {
        let mut frame = Vec::new();
        message.encode(&mut frame).map_err(io::Error::other)?;
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        stream.write_all(&frame)
    }

    /// Sends `source` as the command's input, to its end or until the command wants no more.
    /// A source that fails ends like one that is empty.
    pub fn pump(&self, mut source: impl Read) {
        let mut buffer = vec![0; CHUNK];
        while let Some(room) = self.wait_for_credit() {
            let count = match source.read(&mut buffer[..room.min(CHUNK)]) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    log::debug!("standard input: {error}");
                    0
                }
            };
            self.input().credit -= count as u32;
            // An empty frame tells the end.
            if self.send(&ToGuest::Stdin(&buffer[..count])).is_err() || count == 0 {
                return;
            }
        }
    }

    /// Bytes that may be sent, at least one; `None` if the command takes no more.
    fn wait_for_credit(&self) -> Option<usize> {
        let wait = |input: &mut Input| input.credit == 0 && !input.closed;
        let input = self.changed.wait_while(self.input(), wait);
        let input = input.unwrap_or_else(PoisonError::into_inner);
        (!input.closed).then_some(input.credit as usize)
    }

    fn add_credit(&self, bytes: u32) {
        let mut input = self.input();
        input.credit = input.credit.saturating_add(bytes);
        self.changed.notify_all();
    }

    fn close_input(&self) {
        self.input().closed = true;
        self.changed.notify_all();
    }

    /// Ends the connection, and whoever sends.
    pub fn close(&self) {
        self.close_input();
        let _ = self.shutdown.shutdown(Shutdown::Both);
    }

    fn input(&self) -> MutexGuard<'_, Input> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
