// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Messages over a Unix stream, with the file descriptors that come along (*Socket*).
//!
//! Made for the two things that a guest's driver does all day. A register read is one message each way,
//! and most of its time is spent waking threads up: [`Transport::receive`] therefore looks for the next
//! message for a short while before it sleeps. Posted writes come in bursts: one recvmsg(2) takes in as
//! many as there are, and a long burst is left alone now and then until there are many.

mod burst;
mod deadline;
mod patience;
mod scm;
mod sender;

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use nix::poll::PollFlags;
use thiserror::Error;
use zerocopy::FromBytes;

pub use self::deadline::MESSAGE_DEADLINE;
use self::patience::Patience;
use self::scm::{Control, Received};
pub use self::sender::{Sender, MAX_QUEUED};
use super::descriptor::Descriptor;
use super::wire::{Header, HEADER_SIZE, MAX_MESSAGE_FDS, MAX_MESSAGE_SIZE};

/// The receive buffer to start with, in bytes: a few hundred posted writes.
const BUFFER_SIZE: usize = 16 << 10;

/// Why no message can be had any more.
#[derive(Debug, Error)]
pub enum TransportError {
    /// The socket failed.
    #[error("the socket fails")]
    Socket(#[from] io::Error),
    /// The client went away in the middle of a message.
    #[error("the connection ended {0} bytes into a message")]
    Truncated(usize),
    /// The client sent part of a message, and not the rest.
    #[error(
        "the rest of a message did not come within {after} s, {0} bytes did",
        after = MESSAGE_DEADLINE.as_secs()
    )]
    Late(usize),
    /// The size in the header cannot be.
    #[error("a message of {} bytes, {HEADER_SIZE} to {MAX_MESSAGE_SIZE} make sense", .0.message_size)]
    Size(Header),
    /// The client has answered what it cannot have read, or was asked more than it reads.
    #[error("the client leaves {MAX_QUEUED} bytes of requests unread")]
    Overrun,
    /// Descriptors arrived that no message could be meant to carry.
    #[error("{0} file descriptors arrived, at most {MAX_MESSAGE_FDS} are taken with a message")]
    TooManyFds(usize),
    /// The kernel could not hand over all descriptors, as when the process has too many.
    #[error("the kernel dropped file descriptors that came along")]
    FdsLost,
}

/// One message, as received.
#[derive(Debug)]
pub struct Message<'a> {
    /// Its header; the size in it has been checked.
    pub header: Header,
    /// What follows the header.
    pub payload: &'a [u8],
    /// The descriptors that came with it.
    pub fds: Vec<Descriptor>,
}

/// One end of a connection.
pub struct Transport {
    stream: Arc<UnixStream>,
    sender: Sender,
    /// `buffer[start..end]` has been received and not been taken.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// How many bytes were received in all: the stream position of `buffer[end]`.
    received: u64,
    /// Descriptors not taken yet, with the stream position after the bytes they came with.
    fds: VecDeque<(u64, Descriptor)>,
    control: Box<Control>,
    patience: Patience,
}

impl Transport {
    /// Talks over `stream`, which must block.
    pub fn new(stream: UnixStream) -> Self {
        let stream = Arc::new(stream);
        Self {
            sender: Sender::new(stream.clone()),
            stream,
            buffer: vec![0; BUFFER_SIZE],
            start: 0,
            end: 0,
            received: 0,
            fds: VecDeque::new(),
            control: Box::default(),
            patience: Patience::new(),
        }
    }

    /// Waits for the next message; `None` at the end of the connection.
    ///
    /// # Errors
    /// No further message can be had.
    pub fn receive(&mut self) -> Result<Option<Message<'_>>, TransportError> {
        let mut deadline = None;
        let (header, size) = loop {
            let buffered = &self.buffer[self.start..self.end];
            let missing = match Header::read_from_prefix(buffered) {
                Ok((header, _)) => {
                    if !(HEADER_SIZE as u32..=MAX_MESSAGE_SIZE).contains(&header.message_size) {
                        return Err(TransportError::Size(header));
                    }
                    let size = header.message_size as usize;
                    if buffered.len() >= size {
                        break (header, size);
                    }
                    size
                }
                Err(_) => HEADER_SIZE,
            };
            self.make_room(missing);
            if self.start != self.end {
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + MESSAGE_DEADLINE);
                if !deadline::ready(&self.stream, PollFlags::POLLIN, deadline)? {
                    return Err(TransportError::Late(self.end - self.start));
                }
            }
            if self.fill()? == 0 {
                if self.sender.overrun() {
                    return Err(TransportError::Overrun);
                }
                return match self.end - self.start {
                    0 => Ok(None),
                    some => Err(TransportError::Truncated(some)),
                };
            }
        };
        let start = self.start;
        self.start += size;
        let position = self.received - (self.end - self.start) as u64;
        let fds = self.take_fds(position);
        let payload = &self.buffer[start + HEADER_SIZE..self.start];
        Ok(Some(Message {
            header,
            payload,
            fds,
        }))
    }

    /// Sends `message` whole, in one write(2) if the socket has room.
    ///
    /// # Errors
    /// The connection cannot be used any more.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.patience.replied();
        self.sender.send(message)
    }

    /// What else may send over this connection, from any thread.
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Sees to it that a message of `size` bytes, bounded by [`MAX_MESSAGE_SIZE`], fits at `start`.
    fn make_room(&mut self, size: usize) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.buffer.len() - self.start < size {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.buffer.len() < size {
                self.buffer.resize(size, 0);
            }
        }
    }

    /// Receives what there is, after waiting until there is something. 0 is the end.
    fn fill(&mut self) -> Result<usize, TransportError> {
        self.patience.wait(&self.stream);
        // Each is owned before anything else is judged: it must be closed whatever comes.
        let mut came = Vec::new();
        let Received { bytes, fds_lost } = scm::receive(
            &self.stream,
            &mut self.buffer[self.end..],
            &mut self.control,
            |fd| came.push(Descriptor::from(fd)),
        )?;
        let position = self.received + bytes as u64;
        self.fds.extend(came.into_iter().map(|fd| (position, fd)));
        self.patience.arrived(bytes);
        self.end += bytes;
        self.received += bytes as u64;
        if fds_lost {
            return Err(TransportError::FdsLost);
        }
        if self.fds.len() > MAX_MESSAGE_FDS {
            return Err(TransportError::TooManyFds(self.fds.len()));
        }
        Ok(bytes)
    }

    /// The descriptors of the message that ends at stream position `end`.
    ///
    /// The kernel never returns bytes that were sent after descriptors together with these, so
    /// descriptors belong to the last bytes of what came with them. As a message and its descriptors
    /// are sent in one piece, they are the message's that holds the last of these bytes.
    fn take_fds(&mut self, end: u64) -> Vec<Descriptor> {
        let mut taken = Vec::new();
        while self
            .fds
            .front()
            .is_some_and(|(position, _)| *position <= end)
        {
            taken.extend(self.fds.pop_front().map(|(_, fd)| fd));
        }
        taken
    }
}

impl Drop for Transport {
    /// Closes the connection even if a [`Stop`](super::server::Stop) still holds the socket.
    fn drop(&mut self) {
        // The only failure is that the client closed it first.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests;
