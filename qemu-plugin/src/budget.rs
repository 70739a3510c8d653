// SPDX-License-Identifier: GPL-2.0-or-later
//! How long the vCPUs may stand still for windows. Pure: time is told to it.

use std::time::{Duration, Instant};

/// One part in so many of the time.
const SHARE: u32 = 10;

/// Time that may be spent: it comes back with time, a tenth as fast.
pub struct Budget {
    most: Duration,
    left: Duration,
    /// What was spent beyond it.
    owed: Duration,
    at: Instant,
}

impl Budget {
    /// All of `most` is there; what is not spent does not become more.
    pub fn new(most: Duration, now: Instant) -> Self {
        Self {
            most,
            left: most,
            owed: Duration::ZERO,
            at: now,
        }
    }

    /// How long to wait before something is spent again.
    pub fn wait(&mut self, now: Instant) -> Duration {
        let earned = now.saturating_duration_since(self.at) / SHARE;
        self.at = self.at.max(now);
        let rest = earned.saturating_sub(self.owed);
        self.owed = self.owed.saturating_sub(earned);
        self.left = self.left.saturating_add(rest).min(self.most);
        self.owed.saturating_mul(SHARE)
    }

    /// So much was spent, until `now`.
    pub fn spend(&mut self, time: Duration, now: Instant) {
        self.wait(now);
        self.owed = self.owed.saturating_add(time.saturating_sub(self.left));
        self.left = self.left.saturating_sub(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_burst_is_free_and_what_follows_waits() {
        let begun = Instant::now();
        let mut budget = Budget::new(5 * MS, begun);
        for _ in 0..5 {
            assert_eq!(budget.wait(begun), Duration::ZERO);
            budget.spend(MS, begun);
        }
        assert_eq!(budget.wait(begun), Duration::ZERO);
        budget.spend(2 * MS, begun);
        assert_eq!(budget.wait(begun), 20 * MS);
        assert_eq!(budget.wait(begun + 15 * MS), 5 * MS);
        assert_eq!(budget.wait(begun + 20 * MS), Duration::ZERO);
        // Idle for long, and yet not more than at first.
        assert_eq!(budget.wait(begun + 10_000 * MS), Duration::ZERO);
        assert_eq!(budget.left, 5 * MS);
    }

    proptest! {
        #[test]
        fn who_waits_as_told_spends_a_tenth(
            spent in prop::collection::vec((0u32..5000, 0u32..5000), 1..200),
        ) {
            let begun = Instant::now();
            let (mut now, mut total, mut longest) = (begun, Duration::ZERO, Duration::ZERO);
            let mut budget = Budget::new(5 * MS, begun);
            for (idle, time) in spent {
                now += Duration::from_micros(idle.into());
                now += budget.wait(now);
                let time = Duration::from_micros(time.into());
                now += time;
                budget.spend(time, now);
                total += time;
                longest = longest.max(time);
            }
            prop_assert!(total <= (now - begun) / SHARE + 5 * MS + longest);
        }
    }
}
