// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A channel's descriptor memory as a ring, against an engine that knows only memory and the rules of
//! the hardware: follow links, toggle on TCB, stop at the first data element with another cycle bit.

use abi::edma::{control, element};
use abi::edma_ring::{Cycle, Ring};
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

#[test]
fn a_cycle_has_no_end() {
    let cycle = Cycle::new(0x8000, 0x1000, 3).unwrap();
    let mut engine = Engine::new(0x8000, 0x1000);
    for offset in cycle.offsets() {
        engine.write(offset, cycle.control());
    }
    let (offset, word) = cycle.link();
    engine.write(offset, word);
    for step in 1..=100 {
        engine.run(1, false);
        assert_eq!(engine.done, step);
        assert_eq!(cycle.locate(engine.llp as u32), Some((step % 3) as u32));
    }
    assert_eq!(cycle.locate(0x8000 + 4 * 24), None);
    assert_eq!(cycle.locate(0x8001), None);
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
