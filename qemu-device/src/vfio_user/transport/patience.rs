// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether to look for a message before sleeping.
//!
//! Where the client runs on another CPU, waking a thread on an idle one takes as long as all the rest of
//! a register read: who looks instead is there at once, at the price of a CPU. Where the scheduler keeps
//! both ends on one CPU, sleeping hands it over at once, and looking drives the client away to a CPU that
//! has to be woken. Nobody tells which it is, but the time from a reply to the next request does: so both
//! ways are tried now and then ([`Contest`]), and the faster one is taken. After a posted write the client
//! runs on, and to sleep would make each of a burst wake this thread. Looking lasts a short while only, is
//! given up while it does not pay, and while others want the CPU. A long burst is let pile up ([`Burst`]).

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use super::burst::{Burst, FEW};

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
    contest: Contest,
    burst: Burst,
    /// Looks in vain in a row.
    misses: u32,
    /// For how many messages not to look, because the CPU is wanted.
    pause: u32,
    /// What `pause` was set to last: doubles when the CPU is wanted, halves when a look pays.
    backoff: u32,
    /// The client was sent a reply, and may wait for nothing else.
    replied: bool,
    /// Since when the next message is waited for.
    since: Instant,
}

impl Patience {
    /// Nothing learned yet.
    pub fn new() -> Self {
        let now = Instant::now();
        Self {
            contest: Contest::new(),
            burst: Burst::new(now),
            misses: 0,
            pause: 0,
            backoff: 1,
            replied: false,
            since: now,
        }
    }

    /// A reply has been sent.
    pub const fn replied(&mut self) {
        self.replied = true;
    }

    /// Returns when `stream` has something to receive, or when it is time to sleep until it has.
    pub fn wait(&mut self, stream: &UnixStream) {
        self.since = Instant::now();
        if self.replied {
            self.burst.ends(self.since);
        } else if let Some(rest) = self.burst.rest(self.since) {
            if waiting(stream).is_some_and(|bytes| bytes <= FEW) {
                thread::sleep(rest);
            }
            return;
        }
        if self.misses >= MISSES || (self.replied && self.contest.way() == Way::Sleep) {
            return;
        }
        if self.pause > 0 {
            self.pause -= 1;
            return;
        }
        if readable(stream) {
            self.misses = 0;
            return;
        }
        let mut now = self.since;
        while now - self.since < LIMIT {
            let before = now;
            thread::yield_now();
            now = Instant::now();
            if readable(stream) {
                self.misses = 0;
                self.backoff = (self.backoff / 2).max(1);
                return;
            }
            if now - before >= YIELD {
                self.backoff = (2 * self.backoff).min(MAX_BACKOFF);
                self.pause = self.backoff;
                return;
            }
        }
        self.misses += 1;
    }

    /// Messages of so many `bytes` came. If that was soon, it was worth waiting for in one way or the other.
    pub fn arrived(&mut self, bytes: usize) {
        let now = Instant::now();
        let waited = now - self.since;
        self.burst.arrived(bytes, self.since, now);
        if waited < 2 * LIMIT {
            self.misses = 0;
            if self.replied {
                self.contest.record(waited);
            }
        }
        self.replied = false;
    }
}

/// Whether there is something to receive, or an error to be told.
fn readable(stream: &UnixStream) -> bool {
    waiting(stream) != Some(0)
}

/// How many bytes there are to receive; `None` if there is an error to be told.
fn waiting(stream: &UnixStream) -> Option<usize> {
    let mut available: libc::c_int = 0;
    // FIONREAD, not MSG_PEEK: that one takes locks which the sender needs.
    // SAFETY: FIONREAD stores one int.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::FIONREAD, &mut available) };
    (result == 0).then(|| usize::try_from(available).unwrap_or(0))
}

/// How to wait for a message that comes soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Look,
    Sleep,
}

/// Compares the two ways by the time from a reply to the next request, which holds the client's own
/// part as well: what is compared is how fast the conversation goes.
///
/// Rounds of [`ROUND`] messages go the better way; after each, [`TRIAL`] messages go the other one.
struct Contest {
    way: Way,
    /// Messages in this round or trial.
    messages: u32,
    trial: bool,
    /// The mean over the end of the last round.
    incumbent: Duration,
    /// The sum over the end of this one.
    sum: Duration,
}

/// Messages for which the better way is taken before the other one is tried again.
const ROUND: u32 = 4096;
/// Messages of a trial; those before the last [`COUNTED`] let the scheduler settle.
const TRIAL: u32 = 96;
/// Messages at the end of a round or a trial whose times count.
const COUNTED: u32 = 64;

impl Contest {
    const fn new() -> Self {
        Self {
            way: Way::Look,
            // The first trial comes early.
            messages: ROUND - TRIAL,
            trial: false,
            incumbent: Duration::ZERO,
            sum: Duration::ZERO,
        }
    }

    const fn way(&self) -> Way {
        self.way
    }

    /// The next message came after `waited`.
    fn record(&mut self, waited: Duration) {
        let length = if self.trial { TRIAL } else { ROUND };
        self.messages += 1;
        if self.messages > length - COUNTED {
            self.sum += waited;
        }
        if self.messages < length {
            return;
        }
        let mean = self.sum / COUNTED;
        // A trial has to be clearly better: otherwise chance alone would decide.
        if !self.trial || mean > self.incumbent * 7 / 8 {
            self.way = self.other();
        }
        self.incumbent = mean;
        self.trial = !self.trial;
        self.messages = 0;
        self.sum = Duration::ZERO;
    }

    const fn other(&self) -> Way {
        match self.way {
            Way::Look => Way::Sleep,
            Way::Sleep => Way::Look,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a contest ends up if waiting takes this many microseconds each way, and how often it
    /// takes the other way.
    fn settle(look: u64, sleep: u64) -> (Way, f64) {
        let mut contest = Contest::new();
        let mut looks = 0;
        let total = 20 * (ROUND + TRIAL);
        for _ in 0..total {
            let took = match contest.way() {
                Way::Look => {
                    looks += 1;
                    look
                }
                Way::Sleep => sleep,
            };
            contest.record(Duration::from_micros(took));
        }
        let looks = f64::from(looks) / f64::from(total);
        if looks > 0.5 {
            (Way::Look, 1.0 - looks)
        } else {
            (Way::Sleep, looks)
        }
    }

    #[test]
    fn the_faster_way_wins_and_the_other_is_tried_rarely() {
        for (look, sleep, winner) in [(10, 60, Way::Look), (25, 9, Way::Sleep)] {
            let (way, lost) = settle(look, sleep);
            assert_eq!(way, winner);
            assert!(lost < 0.05, "{lost}");
        }
    }

    #[test]
    fn what_is_as_good_stays() {
        assert_eq!(settle(10, 10).0, Way::Look);
    }

    #[test]
    fn a_conversation_that_changes_is_noticed() {
        let mut contest = Contest::new();
        let rounds = |contest: &mut Contest, look: u64, sleep: u64| {
            for _ in 0..3 * (ROUND + TRIAL) {
                let took = if contest.way() == Way::Look {
                    look
                } else {
                    sleep
                };
                contest.record(Duration::from_micros(took));
            }
        };
        rounds(&mut contest, 25, 9);
        rounds(&mut contest, 10, 60);
        let looks = (0..ROUND)
            .filter(|_| {
                let way = contest.way();
                contest.record(Duration::from_micros(if way == Way::Look {
                    10
                } else {
                    60
                }));
                way == Way::Look
            })
            .count();
        assert!(looks > ROUND as usize * 9 / 10, "{looks}");
    }
}
