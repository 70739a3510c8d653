// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether to look for a message before sleeping.
//!
//! Waking a thread on an idle CPU takes as long as all the rest of a register read. A thread that looks
//! instead is there at once, at the price of a CPU: so it looks for a short while only, not while that
//! does not pay, and not while others want the CPU, for then CPUs are not idle and waking is cheap.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

/// How long to look.
const LIMIT: Duration = Duration::from_micros(100);

/// After so many looks in vain in a row, sleep at once until messages come fast again.
const MISSES: u32 = 16;

/// Giving the CPU away and getting it back takes less than this if nobody wants it.
const YIELD: Duration = Duration::from_micros(4);

/// The most messages for which not to look once somebody wanted the CPU.
const MAX_BACKOFF: u32 = 1024;

/// Decides, and learns from how it went.
pub struct Patience {
    /// Looks in vain in a row.
    misses: u32,
    /// For how many messages not to look, because the CPU is wanted.
    pause: u32,
    /// What `pause` was set to last: doubles when the CPU is wanted, halves when a look pays.
    backoff: u32,
    /// Since when the next message is waited for.
    since: Instant,
}

impl Patience {
    /// Nothing learned yet.
    pub fn new() -> Self {
        Self {
            misses: 0,
            pause: 0,
            backoff: 1,
            since: Instant::now(),
        }
    }

    /// Returns when `stream` has something to receive, or when it is time to sleep until it has.
    pub fn wait(&mut self, stream: &UnixStream) {
        self.since = Instant::now();
        if self.pause > 0 {
            self.pause -= 1;
            return;
        }
        if self.misses >= MISSES {
            return;
        }
        let mut now = self.since;
        loop {
            // FIONREAD, not MSG_PEEK: that one takes locks which the sender needs.
            let mut available: libc::c_int = 0;
            // SAFETY: FIONREAD stores one int.
            let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::FIONREAD, &mut available) };
            if result != 0 || available > 0 {
                self.misses = 0;
                if now > self.since {
                    self.backoff = (self.backoff / 2).max(1);
                }
                return;
            }
            if now - self.since >= LIMIT {
                self.misses += 1;
                return;
            }
            let before = now;
            thread::yield_now();
            now = Instant::now();
            if now - before >= YIELD {
                self.backoff = (2 * self.backoff).min(MAX_BACKOFF);
                self.pause = self.backoff;
                return;
            }
        }
    }

    /// A message came. If that was soon, looking for it would have paid.
    pub fn arrived(&mut self) {
        if self.misses >= MISSES && self.since.elapsed() < 2 * LIMIT {
            self.misses = 0;
        }
    }
}
