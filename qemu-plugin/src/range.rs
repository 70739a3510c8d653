// SPDX-License-Identifier: GPL-2.0-or-later
//! Ranges of BARs, and what is to be done when one set of them follows another. Pure.

use abi::windows::PAGE_SIZE;
pub use abi::windows::REACH;
use std::cmp::{max, min};

/// BARs of a PCI function.
pub const BARS: u32 = 6;

/// Whole pages of one BAR: never empty, never beyond [`REACH`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    bar: u32,
    start: u64,
    end: u64,
}

impl Range {
    /// `len` bytes from `offset` in BAR number `bar`; `None` if they are not whole pages within
    /// [`REACH`], or none at all.
    pub fn new(bar: u32, offset: u64, len: u64) -> Option<Self> {
        let end = offset.checked_add(len)?;
        let whole = offset % PAGE_SIZE == 0 && len % PAGE_SIZE == 0 && len != 0;
        (bar < BARS && whole && end <= REACH).then_some(Self {
            bar,
            start: offset,
            end,
        })
    }

    /// Number of the BAR, below [`BARS`].
    pub fn bar(self) -> u32 {
        self.bar
    }

    /// First byte in the BAR.
    pub fn start(self) -> u64 {
        self.start
    }

    /// The byte behind the last in the BAR.
    pub fn end(self) -> u64 {
        self.end
    }

    /// Bytes.
    pub fn len(self) -> u64 {
        self.end - self.start
    }

    /// Whether it ends before `other` begins.
    pub fn precedes(self, other: Self) -> bool {
        (self.bar, self.end) <= (other.bar, other.start) || self.bar < other.bar
    }
}

/// The same pages in as few ranges as possible. `ranges` are sorted and none overlaps another.
pub fn join(ranges: impl IntoIterator<Item = Range>) -> Vec<Range> {
    let mut joined: Vec<Range> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.bar == range.bar && last.end == range.start => last.end = range.end,
            _ => joined.push(range),
        }
    }
    joined
}

/// The pages of `ranges` that are not in `without`.
pub fn subtract(ranges: &[Range], without: &[Range]) -> Vec<Range> {
    let mut left = ranges.to_vec();
    for cut in without {
        let halves = |range: Range| {
            let keep = |start, end| {
                let part = Range {
                    start,
                    end,
                    ..range
                };
                (start < end).then_some(part)
            };
            if range.bar != cut.bar {
                return [Some(range), None];
            }
            [
                keep(range.start, min(range.end, cut.start)),
                keep(max(range.start, cut.end), range.end),
            ]
        };
        left = left.into_iter().flat_map(halves).flatten().collect();
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn pages(ranges: &[Range]) -> BTreeSet<(u32, u64)> {
        let mut pages = BTreeSet::new();
        for range in ranges {
            for page in range.start / PAGE_SIZE..range.end / PAGE_SIZE {
                assert!(pages.insert((range.bar, page)), "{range:?} overlaps");
            }
        }
        pages
    }

    #[test]
    fn only_whole_pages_within_reach() {
        let page = PAGE_SIZE;
        assert!(Range::new(0, 0, page).is_some());
        assert!(Range::new(5, REACH - page, page).is_some());
        for (bar, offset, len) in [
            (6, 0, page),
            (u32::MAX, 0, page),
            (0, 0, 0),
            (0, 1, page),
            (0, 0, page - 1),
            (0, REACH, page),
            (0, REACH - page, 2 * page),
            (0, u64::MAX - page + 1, page),
            (0, u64::MAX - page + 1, 2 * page),
        ] {
            assert_eq!(Range::new(bar, offset, len), None, "{bar} {offset} {len}");
        }
    }

    #[test]
    fn ranges_of_two_bars_are_not_joined() {
        let last = Range::new(1, REACH - PAGE_SIZE, PAGE_SIZE).unwrap();
        let first = Range::new(2, 0, PAGE_SIZE).unwrap();
        assert_eq!(join([last, first]), [last, first]);
    }

    /// Sorted ranges of two BARs, some touching, none overlapping.
    fn sets() -> impl Strategy<Value = Vec<Range>> {
        let steps = prop::collection::vec((0u64..3, 1u64..4), 0..8);
        [steps.clone(), steps].prop_map(|bars| {
            let mut ranges = Vec::new();
            for (bar, steps) in bars.iter().enumerate() {
                let mut at = 0;
                for (gap, len) in steps {
                    at += gap * PAGE_SIZE;
                    ranges.extend(Range::new(bar as u32, at, len * PAGE_SIZE));
                    at += len * PAGE_SIZE;
                }
            }
            ranges
        })
    }

    proptest! {
        #[test]
        fn joining_keeps_the_pages_and_leaves_gaps(set in sets()) {
            let joined = join(set.clone());
            prop_assert_eq!(pages(&joined), pages(&set));
            for pair in joined.windows(2) {
                prop_assert!(pair[0].precedes(pair[1]) && !pair[1].precedes(pair[0]));
                prop_assert!(pair[0].bar != pair[1].bar || pair[0].end < pair[1].start);
            }
        }

        #[test]
        fn subtracting_leaves_the_other_pages(a in sets(), b in sets()) {
            let left = pages(&subtract(&a, &b));
            let expected: BTreeSet<_> = pages(&a).difference(&pages(&b)).copied().collect();
            prop_assert_eq!(left, expected);
        }
    }
}
