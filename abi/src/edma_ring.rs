// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Descriptor memory of one eDMA channel as a ring: data elements, and a link at the end that leads back
//! to the start and toggles the cycle bit.
//!
//! The engine stops at the first data element whose cycle bit is not its own, so software can put
//! elements behind those that are being worked on, and ring the doorbell again. How far the engine is
//! says its linked-list pointer: every element before it is done *(inferred)*.

use super::edma::{control, element};

/// Most data elements of a ring, however much memory there is for more: software goes through all of
/// them with interrupts off, and the other side says how much memory it is.
pub const MOST_SLOTS: u32 = 512;

/// Fewest data elements of a [`Cycle`], if its periods have room for it more than once: with one, the
/// engine's pointer would never move.
const FEWEST_OF_CYCLE: u32 = 8;

/// Where an element goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Offset in the descriptor memory, in bytes.
    pub offset: u32,
    /// Control word that makes it valid: its cycle bit, and nothing else.
    pub control: u32,
    /// The link has to be written before this element: offset and control word.
    pub link: Option<(u32, u32)>,
}

/// How far software and engine are. Positions count data elements since the start, and never wrap.
///
/// One slot stays empty, as a full ring's pointer would be that of an empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// Address of the memory, as the engine has it.
    base: u64,
    /// Data elements that there is room for.
    slots: u32,
    /// Elements that were written.
    head: u64,
    /// Elements of them that are done.
    tail: u64,
}

impl Ring {
    /// An empty ring in `size` bytes of memory at `base`; `None` if fewer than two data elements and
    /// the link have room, or if the words of an element would not be aligned. No more than
    /// [`MOST_SLOTS`] are used.
    pub const fn new(base: u64, size: u32) -> Option<Self> {
        let slots = match (size / element::SIZE).checked_sub(1) {
            Some(slots) if slots > MOST_SLOTS => MOST_SLOTS,
            Some(slots) if slots >= 2 => slots,
            _ => return None,
        };
        if base % 4 != 0 {
            return None;
        }
        Some(Self {
            base,
            slots,
            head: 0,
            tail: 0,
        })
    }

    /// Starts over: nothing is written. Every element in memory has to be invalid, which a control word
    /// of 0 makes it, before the engine starts at [`Ring::base`] with [`CCS`](control::CCS) set.
    pub fn reset(&mut self) {
        self.head = 0;
        self.tail = 0;
    }

    /// Where the engine starts, and where the link leads.
    pub const fn base(&self) -> u64 {
        self.base
    }

    /// Data elements that the memory has room for.
    pub const fn slots(&self) -> u32 {
        self.slots
    }

    /// Offset of every data element.
    pub fn offsets(&self) -> impl Iterator<Item = u32> {
        (0..self.slots).map(|slot| slot * element::SIZE)
    }

    /// Offset of the link.
    pub const fn link_offset(&self) -> u32 {
        self.slots * element::SIZE
    }

    /// Position after the last element that was written.
    pub const fn head(&self) -> u64 {
        self.head
    }

    /// Position of the first element that is not done.
    pub const fn tail(&self) -> u64 {
        self.tail
    }

    /// Whether all that was written is done.
    pub const fn is_idle(&self) -> bool {
        self.head == self.tail
    }

    /// Elements that can be written now.
    pub const fn room(&self) -> u32 {
        // No more than `slots - 1` are ever out.
        self.slots - 1 - (self.head - self.tail) as u32
    }

    /// The place for one more element, if there is room.
    pub fn push(&mut self) -> Option<Slot> {
        if self.room() == 0 {
            return None;
        }
        let slot = self.slot(self.head);
        self.head += 1;
        Some(slot)
    }

    /// The slot behind all that was written: where the engine stops, if nothing there is valid.
    pub fn end(&self) -> Slot {
        self.slot(self.head)
    }

    /// Where the element at a position is.
    fn slot(&self, position: u64) -> Slot {
        let slots = u64::from(self.slots);
        let slot = (position % slots) as u32;
        // The cycle bit is set in the first lap.
        let cycle = u32::from(position / slots % 2 == 0);
        // The stock driver's links have the cycle bit that follows (`dw_edma_v0_core_ll_link`).
        let link = control::LLP.mask() | control::TCB.mask() | control::CB.place(1 - cycle);
        Slot {
            offset: slot * element::SIZE,
            control: control::CB.place(cycle),
            link: (slot == self.slots - 1).then_some((self.link_offset(), link)),
        }
    }

    /// The position that the low half of the engine's linked-list pointer stands for; `None` if it
    /// points at no element that the engine can have come to.
    pub fn locate(&self, pointer: u32) -> Option<u64> {
        let offset = pointer.wrapping_sub(self.base as u32);
        if offset % element::SIZE != 0 {
            return None;
        }
        let slot = match offset / element::SIZE {
            link if link == self.slots => 0,
            slot if slot < self.slots => slot,
            _ => return None,
        };
        let at = (self.tail % u64::from(self.slots)) as u32;
        let ahead = match slot.checked_sub(at) {
            Some(ahead) => ahead,
            None => self.slots - at + slot,
        };
        let position = self.tail + u64::from(ahead);
        (position <= self.head).then_some(position)
    }

    /// The slots of all that was written and is not done, in their order, as [`Ring::push`] gave them.
    pub fn out(&self) -> impl Iterator<Item = Slot> {
        let ring = *self;
        (self.tail..self.head).map(move |position| ring.slot(position))
    }

    /// Everything before `position`, which [`Ring::locate`] found, is done.
    pub fn advance(&mut self, position: u64) {
        self.tail = position.clamp(self.tail, self.head);
    }
}

/// A list that never ends: one data element for each period, all periods several times if they are
/// few, and a link that leads back and toggles nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cycle {
    base: u64,
    periods: u32,
    elements: u32,
}

impl Cycle {
    /// A list of `periods` in `size` bytes at `base`; `None` if there is none, or no room.
    pub const fn new(base: u64, size: u32, periods: u32) -> Option<Self> {
        let Some(room) = (size / element::SIZE).checked_sub(1) else {
            return None;
        };
        if periods == 0 || periods > room {
            return None;
        }
        let wanted = FEWEST_OF_CYCLE.div_ceil(periods);
        let most = room / periods;
        let laps = if wanted < most { wanted } else { most };
        Some(Self {
            base,
            periods,
            elements: periods * laps,
        })
    }

    /// Data elements. Element n is of period n modulo the number of periods.
    pub const fn elements(&self) -> u32 {
        self.elements
    }

    /// Offset of each element.
    pub fn offsets(&self) -> impl Iterator<Item = u32> {
        (0..self.elements).map(|index| index * element::SIZE)
    }

    /// Control word that makes an element valid.
    pub const fn control(&self) -> u32 {
        control::CB.mask()
    }

    /// Offset and control word of the link.
    pub const fn link(&self) -> (u32, u32) {
        let word = control::LLP.mask() | control::CB.mask();
        (self.elements * element::SIZE, word)
    }

    /// The element that the engine works on, by the low half of its linked-list pointer.
    pub fn locate(&self, pointer: u32) -> Option<u32> {
        let offset = pointer.wrapping_sub(self.base as u32);
        match offset / element::SIZE {
            _ if offset % element::SIZE != 0 => None,
            link if link == self.elements => Some(0),
            index => (index < self.elements).then_some(index),
        }
    }

    /// The period of an element.
    pub const fn period(&self, index: u32) -> u32 {
        index % self.periods
    }
}
