// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The sending half of a connection: replies, and what this end says unasked, each message whole.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use nix::errno::Errno;
use nix::sys::socket::{send, MsgFlags};

/// Sends over one connection, from any thread.
#[derive(Clone, Debug)]
pub struct Sender(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stream: Arc<UnixStream>,
    /// Whoever has it sends.
    turn: Mutex<()>,
    /// Messages, or the rest of one and further ones, that go before anything else.
    queue: Mutex<Vec<u8>>,
}

impl Sender {
    pub(super) fn new(stream: Arc<UnixStream>) -> Self {
        Self(Arc::new(Shared {
            stream,
            turn: Mutex::default(),
            queue: Mutex::default(),
        }))
    }

    /// Sends `message` whole, in one write(2) if the socket has room, else when it has.
    pub(super) fn send(&self, message: &[u8]) -> io::Result<()> {
        {
            let _turn = lock(&self.0.turn);
            let queued = std::mem::take(&mut *lock(&self.0.queue));
            self.send_whole(&queued)?;
            self.send_whole(message)?;
        }
        self.flush()
    }

    /// Sends `message` as soon as it can be, and waits for nothing: neither for whoever is sending nor for room in the
    /// socket. At the latest it goes with the next [`send`](Self::send). The caller bounds how many may wait.
    ///
    /// # Errors
    /// The connection cannot be used any more.
    pub fn queue(&self, message: &[u8]) -> io::Result<()> {
        lock(&self.0.queue).extend_from_slice(message);
        self.flush()
    }

    /// Sends what is queued, as far as there is room. If it is another's turn, that one does so after its own.
    fn flush(&self) -> io::Result<()> {
        while !lock(&self.0.queue).is_empty() {
            let _turn = match self.0.turn.try_lock() {
                Ok(turn) => turn,
                Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
                Err(TryLockError::WouldBlock) => return Ok(()),
            };
            let mut queue = lock(&self.0.queue);
            match self.send_some(&queue, MsgFlags::MSG_DONTWAIT) {
                Ok(sent) => drop(queue.drain(..sent)),
                Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn send_whole(&self, mut left: &[u8]) -> io::Result<()> {
        while !left.is_empty() {
            left = &left[self.send_some(left, MsgFlags::empty())?..];
        }
        Ok(())
    }

    fn send_some(&self, message: &[u8], flags: MsgFlags) -> Result<usize, Errno> {
        loop {
            match send(
                self.0.stream.as_raw_fd(),
                message,
                flags | MsgFlags::MSG_NOSIGNAL,
            ) {
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
