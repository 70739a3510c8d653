// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A channel's descriptor memory as a ring, against an engine that knows only memory and the rules of
//! the hardware: follow links, toggle on TCB, stop at the first data element with another cycle bit.

use abi::edma::{control, element};
use abi::edma_ring::{Cycle, Ring, MOST_SLOTS};
use proptest::prelude::*;

/// The endpoint's memory and one channel of its engine.
struct Engine {
    words: Vec<u32>,
    base: u64,
    llp: u64,
    ccs: bool,
    done: u64,
}

impl Engine {
    fn new(base: u64, size: u32) -> Self {
        Self {
            words: vec![0; (size / element::SIZE) as usize],
            base,
            llp: base,
            ccs: true,
            done: 0,
        }
    }

    fn write(&mut self, offset: u32, word: u32) {
        assert_eq!(offset % element::SIZE, 0);
        self.words[(offset / element::SIZE) as usize] = word;
    }

    fn push(&mut self, ring: &mut Ring) -> bool {
        let Some(slot) = ring.push() else {
            return false;
        };
        if let Some((offset, word)) = slot.link {
            self.write(offset, word);
        }
        self.write(slot.offset, slot.control);
        true
    }

    /// Works on `most` elements, or until the list ends; links that follow are taken or not.
    fn run(&mut self, most: usize, greedy: bool) {
        let mut left = most;
        loop {
            let index = ((self.llp - self.base) / u64::from(element::SIZE)) as usize;
            let word = self.words[index];
            if control::LLP.is_set(word) {
                if left == 0 && !greedy {
                    return;
                }
                self.ccs ^= control::TCB.is_set(word);
                self.llp = self.base;
            } else if control::CB.is_set(word) != self.ccs || left == 0 {
                return;
            } else {
                left -= 1;
                self.done += 1;
                self.llp += u64::from(element::SIZE);
            }
        }
    }
}

#[test]
fn a_page_holds_169_elements_and_the_link() {
    let mut ring = Ring::new(0x1000, 0x1000).unwrap();
    assert_eq!(ring.slots(), 169);
    assert_eq!(ring.link_offset(), 169 * 24);
    assert_eq!(ring.room(), 168);
    assert_eq!(ring.offsets().last(), Some(168 * 24));
    let slots: Vec<_> = std::iter::from_fn(|| ring.push()).collect();
    assert_eq!(slots.len(), 168);
    assert!(slots
        .iter()
        .all(|slot| slot.control == 1 && slot.link.is_none()));
    ring.advance(168);
    // The last slot of the first lap brings the link, the next one is of the second lap.
    let last = ring.push().unwrap();
    assert_eq!(
        (last.offset, last.control, last.link),
        (168 * 24, 1, Some((169 * 24, 0b110)))
    );
    let next = ring.push().unwrap();
    assert_eq!((next.offset, next.control, next.link), (0, 0, None));
}

#[test]
fn pointers_that_the_engine_cannot_have_are_none() {
    let mut ring = Ring::new(0xffff_fff0, 0x1000).unwrap();
    for _ in 0..3 {
        ring.push();
    }
    let at = |index: u32| 0xffff_fff0u32.wrapping_add(index * 24);
    assert_eq!(ring.locate(at(0)), Some(0));
    assert_eq!(ring.locate(at(3)), Some(3));
    assert_eq!(ring.locate(at(4)), None, "beyond what was written");
    assert_eq!(ring.locate(at(1) + 8), None, "between elements");
    assert_eq!(ring.locate(at(170)), None, "behind the link");
    assert_eq!(ring.locate(u32::MAX), None, "nobody answers");
    assert_eq!(ring.locate(0), None, "after a reset");
    ring.advance(2);
    assert_eq!(ring.locate(at(1)), None, "backwards");
}

#[test]
fn memory_that_is_too_small_is_refused() {
    for size in 0..72 {
        assert_eq!(Ring::new(0, size), None);
    }
    assert_eq!(Ring::new(0, 72).unwrap().room(), 1);
    assert_eq!(Cycle::new(0, 0x1000, 0), None);
    assert_eq!(Cycle::new(0, 0x1000, 170), None);
    assert!(Cycle::new(0, 0x1000, 169).is_some());
}

/// However much descriptor memory the endpoint claims to have.
#[test]
fn a_ring_is_of_bounded_length() {
    for size in [0x4000, 1 << 20, 1 << 28, u32::MAX] {
        let ring = Ring::new(0x1000, size).unwrap();
        assert_eq!(ring.slots(), MOST_SLOTS);
        assert_eq!(ring.offsets().count(), MOST_SLOTS as usize);
    }
}

#[test]
fn memory_whose_words_are_not_aligned_is_refused() {
    for base in 1..4 {
        assert_eq!(Ring::new(0x1000 + base, 0x1000), None);
    }
}

#[test]
fn a_cycle_has_no_end() {
    for periods in [1, 2, 3, 7, 8, 169] {
        let cycle = Cycle::new(0x8000, 0x1000, periods).unwrap();
        let mut engine = Engine::new(0x8000, 0x1000);
        for offset in cycle.offsets() {
            engine.write(offset, cycle.control());
        }
        let (offset, word) = cycle.link();
        engine.write(offset, word);
        let mut before = cycle.locate(engine.llp as u32).unwrap();
        for step in 1..=1000 {
            engine.run(1, false);
            assert_eq!(engine.done, step);
            let now = cycle.locate(engine.llp as u32).unwrap();
            assert_ne!(now, before, "the pointer tells that a period is over");
            assert_eq!(cycle.period(now), (step % u64::from(periods)) as u32);
            before = now;
        }
        let end = 0x8000 + (cycle.elements() + 1) * element::SIZE;
        assert_eq!(cycle.locate(end), None);
        assert_eq!(cycle.locate(0x8001), None);
        assert_eq!(cycle.locate(u32::MAX), None, "nobody answers");
    }
    // No room for more than one lap.
    assert_eq!(Cycle::new(0, 72, 2).unwrap().elements(), 2);
    assert_eq!(Cycle::new(0, 72, 1).unwrap().elements(), 2);
}

proptest! {
    #[test]
    fn the_pointer_tells_how_far_the_engine_is(
        slots in 2u32..12,
        base in prop_oneof![Just(0x4000u64), Just(0xffff_ff80), Just(0x1_ffff_fff8)],
        steps in prop::collection::vec((0usize..14, 0usize..14, any::<bool>(), any::<bool>()), 1..200),
    ) {
        let size = (slots + 1) * element::SIZE;
        let mut ring = Ring::new(base, size).unwrap();
        let mut engine = Engine::new(base, size);
        for (push, run, greedy, look) in steps {
            for _ in 0..push {
                let room = ring.room();
                prop_assert_eq!(engine.push(&mut ring), room > 0);
            }
            engine.run(run, greedy);
            prop_assert!(engine.done <= ring.head(), "never past what was written");
            let end = engine.words[(ring.end().offset / element::SIZE) as usize];
            prop_assert_ne!(control::CB.get(end), ring.end().control, "nothing is valid behind");
            let out: Vec<_> = ring.out().collect();
            prop_assert_eq!(out.len() as u64, ring.head() - ring.tail());
            for slot in out.iter().skip((engine.done - ring.tail()) as usize) {
                let word = engine.words[(slot.offset / element::SIZE) as usize];
                prop_assert_eq!(word, slot.control, "what is out can be written again");
            }
            if look {
                prop_assert_eq!(ring.locate(engine.llp as u32), Some(engine.done));
                ring.advance(engine.done);
                prop_assert_eq!(ring.room(), slots - 1 - (ring.head() - ring.tail()) as u32);
            }
        }
        engine.run(usize::MAX, true);
        prop_assert_eq!(engine.done, ring.head(), "all that was written is done");
        prop_assert_eq!(ring.locate(engine.llp as u32), Some(ring.head()));
        ring.advance(engine.done);
        prop_assert!(ring.is_idle());
    }
}
