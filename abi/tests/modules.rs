// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pure parts of the kernel modules, which can be tested outside of a kernel. A module is no crate of
//! the workspace, so its files are mounted here.

#[path = "../../guest-rc/dw_edma_aux/due.rs"]
mod due;
#[path = "../../guest-common/kernel/dmaengine/provider/failures.rs"]
mod failures;

use due::{Again, Due, Step};
use failures::{next, Failures};

/// The cookie `n` after `cookie`, as the dmaengine counts (`dma_cookie_assign`).
fn after(cookie: i32, n: u32) -> i32 {
    let sum = i64::from(cookie) - 1 + i64::from(n);
    (sum % i64::from(i32::MAX)) as i32 + 1
}

/// Transfers that end well, from the one after `cookie`, as far as `n` later; some of them are shown.
fn good(failures: &mut Failures, cookie: i32, n: u32) -> i32 {
    let mut at = cookie;
    let mut left = n;
    while left > 0 {
        let step = left.min(1 << 20);
        left -= step;
        at = after(at, step);
        failures.ended(at);
    }
    at
}

#[test]
fn a_failure_is_remembered_and_what_is_around_it_is_none() {
    let mut failures = Failures::new();
    failures.add(5, 5);
    failures.add(6, 9);
    failures.add(12, 12);
    let failed: Vec<_> = (1..20)
        .filter(|&cookie| failures.contains(cookie))
        .collect();
    assert_eq!(failed, [5, 6, 7, 8, 9, 12]);
}

#[test]
fn what_is_older_than_all_that_is_remembered_counts_as_failed() {
    let mut failures = Failures::new();
    for cookie in (10..).step_by(2).take(20) {
        failures.add(cookie, cookie);
    }
    assert!(failures.contains(3));
    assert!(failures.contains(10));
    assert!(!failures.contains(47));
    assert!(failures.contains(48));
    assert!(!failures.contains(49));
}

#[test]
fn good_transfers_stay_good_however_many_there_are() {
    for first in [1, 1000, 1 << 30, i32::MAX - 3] {
        let mut failures = Failures::new();
        // More than are remembered one by one, so that some are forgotten.
        let mut at = first;
        for _ in 0..20 {
            failures.add(at, at);
            at = after(at, 2);
        }
        // Four times round.
        for _ in 0..(1 << 6) {
            at = good(&mut failures, at, 1 << 27);
            for cookie in [at, after(at, 1), after(at, 1000)] {
                assert!(
                    !failures.contains(cookie),
                    "cookie {cookie:#x} after {first:#x}"
                );
            }
        }
        failures.add(at, at);
        assert!(failures.contains(at));
        assert!(!failures.contains(after(at, 1)));
    }
}

#[test]
fn a_run_across_the_largest_cookie_is_one() {
    let mut failures = Failures::new();
    failures.add(i32::MAX - 1, i32::MAX - 1);
    failures.add(i32::MAX, 3);
    assert!(!failures.contains(i32::MAX - 2));
    let mut cookie = i32::MAX - 2;
    for _ in 0..5 {
        cookie = next(cookie);
        assert!(failures.contains(cookie), "{cookie:#x}");
    }
    assert_eq!(next(cookie), 4);
    assert!(!failures.contains(4));
}

#[test]
fn soon_is_not_lost_behind_later() {
    let mut due = Due::default();
    assert_eq!(due.arm(Again::Later), Step::Queue);
    assert_eq!(due.arm(Again::Soon), Step::Hasten);
}

/// Who arms again and again puts nothing off.
#[test]
fn what_is_due_is_not_put_off() {
    let mut due = Due::default();
    assert_eq!(due.arm(Again::Soon), Step::Queue);
    for _ in 0..3 {
        assert_eq!(due.arm(Again::Soon), Step::Nothing);
        assert_eq!(due.arm(Again::Later), Step::Nothing);
    }
    due.begun();
    assert_eq!(due.arm(Again::Later), Step::Queue);
    assert_eq!(due.arm(Again::Later), Step::Nothing);
    assert_eq!(due.arm(Again::Soon), Step::Hasten);
    assert_eq!(due.arm(Again::Soon), Step::Nothing);
}
