// SPDX-License-Identifier: GPL-2.0

//! Transfers that did not end well, by their cookies.

/// Runs of cookies that are remembered one by one.
const RUNS: usize = 16;

/// The latest failures of a channel. The dmaengine's cookies tell ended from not ended and no more, so
/// whoever asks about a transfer that failed would hear that it is complete.
///
/// What is older than all that is remembered counts as failed: never is a failure taken for a success.
pub(super) struct Failures {
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
        let (known, _) = self.runs.split_at_mut(self.count);
        if let Some(run) = known.last_mut() {
            if run.1.wrapping_add(1) == first {
                run.1 = last;
                return;
            }
        }
        if self.count == RUNS {
            self.forgotten = Some(self.runs[0].1);
            self.runs.rotate_left(1);
            self.count -= 1;
        }
        self.runs[self.count] = (first, last);
        self.count += 1;
    }

    /// Whether an ended transfer failed, or may have.
    pub(super) fn contains(&self, cookie: i32) -> bool {
        // Cookies are positive and start over after the largest: half of them are before, as with
        // sequence numbers.
        let not_after = |a: i32, b: i32| (b.wrapping_sub(a) & i32::MAX) < 1 << 30;
        self.forgotten.is_some_and(|last| not_after(cookie, last))
            || self.runs[..self.count]
                .iter()
                .any(|&(first, last)| not_after(first, cookie) && not_after(cookie, last))
    }
}
