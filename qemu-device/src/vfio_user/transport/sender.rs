// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The sending half of a connection: replies, and what this end says unasked, each message whole.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{send, MsgFlags};

use super::deadline::{ready, MESSAGE_DEADLINE};

/// The most bytes that may wait for the client to take in what went before them: many more than there can be of what it
/// has not answered.
pub const MAX_QUEUED: usize = 64 << 10;

/// Sends over one connection, from any thread.
#[derive(Clone, Debug)]
pub struct Sender(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stream: Arc<UnixStream>,
    /// Whoever has it sends.
    turn: Mutex<()>,
    /// Messages, or the rest of one and further ones, that go before anything else.
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: VecDeque<u8>,
    /// There were more than [`MAX_QUEUED`]: the connection is over.
    overrun: bool,
}

impl Sender {
    pub(super) fn new(stream: Arc<UnixStream>) -> Self {
        Self(Arc::new(Shared {
            stream,
            turn: Mutex::default(),
            queue: Mutex::default(),
        }))
    }

    /// Sends `message` whole, in one write(2) if the socket has room, else when it has, until [`MESSAGE_DEADLINE`].
    pub(super) fn send(&self, message: &[u8]) -> io::Result<()> {
        {
            let _turn = lock(&self.0.turn);
            let mut queued = std::mem::take(&mut lock(&self.0.queue).bytes);
            let deadline = Instant::now() + MESSAGE_DEADLINE;
            self.send_whole(queued.make_contiguous(), deadline)?;
            self.send_whole(message, deadline)?;
        }
        self.flush()
    }

    /// Whether the connection is over because too much was [queued](Self::queue).
    pub(super) fn overrun(&self) -> bool {
        lock(&self.0.queue).overrun
    }

    /// Sends `message` as soon as it can be, and waits for nothing: neither for whoever is sending nor for room in the
    /// socket. At the latest it goes with the next [`send`](Self::send).
    ///
    /// # Errors
    /// The connection cannot be used any more. Who leaves [`MAX_QUEUED`] bytes unread has ended it.
    pub fn queue(&self, message: &[u8]) -> io::Result<()> {
        {
            let mut queue = lock(&self.0.queue);
            if queue.bytes.len() + message.len() > MAX_QUEUED {
                queue.overrun = true;
                // The only failure is that the client closed it first.
                let _ = self.0.stream.shutdown(Shutdown::Both);
                return Err(Errno::ENOBUFS.into());
            }
            queue.bytes.extend(message);
        }
        self.flush()
    }

    /// Sends what is queued, as far as there is room. If it is another's turn, that one does so after its own.
    fn flush(&self) -> io::Result<()> {
        while !lock(&self.0.queue).bytes.is_empty() {
            let _turn = match self.0.turn.try_lock() {
                Ok(turn) => turn,
                Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
                Err(TryLockError::WouldBlock) => return Ok(()),
            };
            let bytes = &mut lock(&self.0.queue).bytes;
            match self.send_some(bytes.as_slices().0) {
                Ok(sent) => drop(bytes.drain(..sent)),
                Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn send_whole(&self, mut left: &[u8], deadline: Instant) -> io::Result<()> {
        while !left.is_empty() {
            match self.send_some(left) {
                Ok(sent) => left = &left[sent..],
                Err(Errno::EAGAIN) if ready(&self.0.stream, PollFlags::POLLOUT, deadline)? => {}
                Err(Errno::EAGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Sends as much as there is room for.
    fn send_some(&self, message: &[u8]) -> Result<usize, Errno> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        loop {
            match send(self.0.stream.as_raw_fd(), message, flags) {
                Err(Errno::EINTR) => {}
                other => return other,
            }
        }
    }
}

/// No code panics with the queue half changed: poison means nothing here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
