// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Waiting for a client, but not for ever.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};

/// How long a client may take over one message: to send the rest of one that it has begun, or to take a reply in. QEMU
/// sends a message at once, and waits for its reply.
pub const MESSAGE_DEADLINE: Duration = Duration::from_secs(10);

/// Waits until `stream` is ready for `events`, or has ended. Returns whether that was before `deadline`.
///
/// # Errors
/// The kernel cannot wait.
pub fn ready(stream: &UnixStream, events: PollFlags, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up, or the last fraction of a millisecond would be spent turning round.
        let left = left.saturating_add(Duration::from_nanos(999_999));
        let timeout = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(stream.as_fd(), events)], timeout) {
            Ok(0) if Instant::now() >= deadline => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
}
