// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Letting a long burst of posted writes pile up.
//!
//! A client that posts one write after the other never waits for this end. Who keeps pace with it takes each
//! message in by a system call of its own, and looks for the next one in between; who rests a while takes in
//! hundreds at once. And while the socket is full QEMU's client puts up to 200 writes into one message
//! (*VFIO_USER_REGION_WRITE_MULTI*), which spares both ends most of the work. The price is that the end of a
//! burst is seen later: by a fraction of the time that the burst has taken.

use std::time::{Duration, Instant};

/// A burst lasts this long before there is a rest.
const LONG: Duration = Duration::from_micros(400);

/// The part of a burst's time so far that one rest takes.
const PART: u32 = 8;

/// The longest rest. QEMU's client needs that long to be a thousand messages ahead, which is when it begins to
/// put writes together.
const LONGEST: Duration = Duration::from_millis(2);

/// Each message of a burst takes less time than this, waiting for it included.
const PACE: Duration = Duration::from_micros(20);

/// A write of 4 bytes, in bytes: no message of a burst is smaller.
const MESSAGE: usize = 36;

/// So many bytes waiting are not worth a rest: they are more than one message of QEMU's.
pub const FEW: usize = 1024;

/// The burst that is under way, if one is.
pub struct Burst {
    /// When it began; messages that ask for a reply, and silence, begin a new one.
    began: Instant,
}

impl Burst {
    /// None yet.
    pub const fn new(now: Instant) -> Self {
        Self { began: now }
    }

    /// The client was sent a reply, or paused: whatever comes next is no burst yet.
    pub const fn ends(&mut self, now: Instant) {
        self.began = now;
    }

    /// `bytes` came after waiting for them from `since` to `now`.
    pub fn arrived(&mut self, bytes: usize, since: Instant, now: Instant) {
        let messages = u32::try_from(bytes / MESSAGE).unwrap_or(u32::MAX);
        if now - since > PACE.saturating_mul(messages) {
            self.ends(now);
        }
    }

    /// How long to rest now, if [`FEW`] bytes or less are waiting.
    pub fn rest(&self, now: Instant) -> Option<Duration> {
        let lasted = now - self.began;
        (lasted >= LONG).then(|| (lasted / PART).min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSECOND: Duration = Duration::from_micros(1);

    /// Feeds a burst messages of 36 bytes, one each `gap`, for `time`; how many rests there were, and how long
    /// they took together. During a rest messages go on coming.
    fn rests(gap: Duration, time: Duration) -> (u32, Duration) {
        let begin = Instant::now();
        let mut now = begin;
        let mut burst = Burst::new(begin);
        let (mut count, mut total) = (0, Duration::ZERO);
        while now - begin < time {
            let since = now;
            let rest = burst.rest(now);
            now += rest.unwrap_or(gap);
            let messages = (now - since).as_nanos() / gap.as_nanos();
            burst.arrived(messages as usize * MESSAGE, since, now);
            if let Some(rest) = rest {
                assert!(rest <= (since - begin) / 8, "a rest of {rest:?}");
                assert!(rest <= LONGEST);
                count += 1;
                total += rest;
            }
        }
        (count, total)
    }

    #[test]
    fn a_long_burst_is_mostly_rested_through() {
        let (count, total) = rests(MICROSECOND, 100_000 * MICROSECOND);
        assert!(count < 150, "{count} rests");
        assert!(total > 95_000 * MICROSECOND, "{total:?}");
    }

    #[test]
    fn a_packet_is_taken_in_as_it_comes() {
        assert_eq!(rests(MICROSECOND, 390 * MICROSECOND).0, 0);
    }

    #[test]
    fn doorbells_are_no_burst() {
        assert_eq!(rests(100 * MICROSECOND, 100_000 * MICROSECOND).0, 0);
    }

    #[test]
    fn a_burst_ends_with_a_reply_and_with_silence() {
        let begin = Instant::now();
        let later = begin + 10 * LONG;
        let mut burst = Burst::new(begin);
        assert!(burst.rest(later).is_some());
        burst.ends(later);
        assert_eq!(burst.rest(later + LONG / 2), None);

        // One message took as long as two of a burst may; and a hundred did.
        let mut burst = Burst::new(begin);
        burst.arrived(MESSAGE, later, later + 2 * PACE);
        assert_eq!(burst.rest(later + LONG), None);
        let mut burst = Burst::new(begin);
        burst.arrived(100 * MESSAGE, later, later + 2 * PACE);
        assert!(burst.rest(later + LONG).is_some());
    }
}
