// SPDX-License-Identifier: GPL-2.0

//! Transfers that did not end well, by their cookies. Nothing but cookies, so that it can be tested
//! outside of a kernel (`abi/tests/modules.rs`).
//!
//! Cookies are positive and start over at 1 after the largest (`dma_cookie_assign`). As with sequence
//! numbers, of two that are less than half a round apart one is before the other; what is remembered is
//! kept closer to the newest cookie than that ([`Failures::ended`]).

/// Runs of cookies that are remembered one by one.
const RUNS: usize = 16;

/// Cookies after which a failure is too old for anybody to ask about it: a quarter of all.
const OLD: i32 = 1 << 29;

/// How many cookies `to` is after `from`.
const fn distance(from: i32, to: i32) -> i32 {
    // CAST: Less than the modulus, which is the largest cookie.
    (to as i64 - from as i64).rem_euclid(i32::MAX as i64) as i32
}

/// The cookie after `cookie`.
pub(super) const fn next(cookie: i32) -> i32 {
    match cookie {
        i32::MAX => 1,
        cookie => cookie + 1,
    }
}

/// Whether `a` is `b`, or before it.
const fn not_after(a: i32, b: i32) -> bool {
    distance(a, b) < 1 << 30
}

/// The latest failures of a channel. The dmaengine's cookies tell ended from not ended and no more, so
/// whoever asks about a transfer that failed would hear that it is complete.
///
/// What is older than all that is remembered counts as failed, as long as that is not [`OLD`]: a failure
/// is not taken for a success.
pub(super) struct Failures {
    /// First and last of each, ascending.
    runs: [(i32, i32); RUNS],
    count: usize,
    forgotten: Option<i32>,
}

impl Failures {
    /// Nothing has failed.
    pub(super) const fn new() -> Self {
        Self {
            runs: [(0, 0); RUNS],
            count: 0,
            forgotten: None,
        }
    }

    /// Cookies `first` to `last` failed, later ones than any before.
    pub(super) fn add(&mut self, first: i32, last: i32) {
        self.ended(last);
        if let Some(run) = self.runs[..self.count].last_mut() {
            if distance(run.1, first) == 1 && distance(run.0, last) < OLD {
                run.1 = last;
                return;
            }
        }
        if self.count == RUNS {
            self.forgotten = Some(self.runs[0].1);
            self.remove_first();
        }
        self.runs[self.count] = (first, last);
        self.count += 1;
    }

    /// All up to `newest` have ended: drops what is too old, which would seem to be ahead some time.
    pub(super) fn ended(&mut self, newest: i32) {
        let old = |cookie| distance(cookie, newest) >= OLD;
        if self.forgotten.is_some_and(old) {
            self.forgotten = None;
        }
        while self.count > 0 && old(self.runs[0].1) {
            self.remove_first();
        }
    }

    fn remove_first(&mut self) {
        self.runs.rotate_left(1);
        self.count -= 1;
    }

    /// Whether an ended transfer failed, or may have.
    pub(super) fn contains(&self, cookie: i32) -> bool {
        self.forgotten.is_some_and(|last| not_after(cookie, last))
            || self.runs[..self.count]
                .iter()
                .any(|&(first, last)| not_after(first, cookie) && not_after(cookie, last))
    }
}
