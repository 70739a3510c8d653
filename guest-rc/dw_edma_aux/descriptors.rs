// SPDX-License-Identifier: GPL-2.0

//! Descriptor memory of a channel, through a BAR, and what is meant to be in it.
//!
//! A write can be lost without a word: an endpoint that gives the memory window in the same BAR another
//! buffer takes the whole BAR away for a moment (`dw_pcie_ep_set_bar`). An element would then move what
//! an older one in its place did, and be complete as any other. So whatever makes an element do what it
//! does is read back before its control word makes it valid; and so is the place behind the last one,
//! which may have a valid element of before. A control word that is lost is no danger: the engine stops
//! there, the watchdog finds it, and all that is out is written again ([`Lane`]).
//!
//! [`Lane`]: crate::lane::Lane

use kernel::prelude::*;

use crate::{
    auxiliary_pci::Mapping,
    edma::{control, element},
    edma_ring::Slot,
};

/// How often something is written before that is put off.
const TRIES: u32 = 3;

/// A data element.
#[derive(Clone, Copy, Default)]
pub(crate) struct Element {
    /// Where to read, as the engine has it.
    pub(crate) source: u64,
    /// Where to write.
    pub(crate) destination: u64,
    /// Bytes.
    pub(crate) length: u32,
    /// The control word that makes it valid.
    pub(crate) control: u32,
}

/// The memory.
pub(crate) struct Descriptors {
    window: Mapping,
    /// What is meant to be in each slot.
    meant: KVec<Element>,
    /// Reads so far.
    pub(crate) reads: u64,
    /// Writes that were lost.
    pub(crate) lost: u64,
}

impl Descriptors {
    /// Memory of `slots` data elements and a link.
    pub(crate) fn new(window: Mapping, slots: u32) -> Result<Self> {
        Ok(Self {
            window,
            meant: KVec::from_elem(Element::default(), slots as usize, GFP_KERNEL)?,
            reads: 0,
            lost: 0,
        })
    }

    fn meant(&mut self, offset: u32) -> Option<&mut Element> {
        self.meant.get_mut((offset / element::SIZE) as usize)
    }

    fn read32(&mut self, offset: u32) -> u32 {
        self.reads += 1;
        self.window.read32(offset)
    }

    fn read64(&mut self, offset: u32) -> u64 {
        let low = u64::from(self.read32(offset));
        u64::from(self.read32(offset + 4)) << 32 | low
    }

    /// Writes by `write` until `holds` says that it is there. Says whether it is. `written` is whether
    /// it was written already.
    fn insist(
        &mut self,
        mut written: bool,
        write: impl Fn(&Mapping),
        holds: impl Fn(&mut Self) -> bool,
    ) -> bool {
        for _ in 0..TRIES {
            if holds(self) {
                return true;
            }
            self.lost += u64::from(written);
            write(&self.window);
            written = true;
        }
        holds(self)
    }

    /// Writes an element, but for its control word: it is not valid yet.
    pub(crate) fn fill(&mut self, offset: u32, element: Element) {
        if let Some(meant) = self.meant(offset) {
            *meant = element;
        }
        write_data(&self.window, offset, element);
    }

    /// The control word of an element that was filled in is to be another.
    pub(crate) fn change_control(&mut self, offset: u32, change: impl FnOnce(u32) -> u32) {
        if let Some(meant) = self.meant(offset) {
            meant.control = change(meant.control);
        }
    }

    /// Whether an element that was filled in is there but for its control word; it is written again if
    /// not.
    pub(crate) fn is_filled(&mut self, offset: u32) -> bool {
        let Some(&mut meant) = self.meant(offset) else {
            return false;
        };
        self.insist(
            true,
            |window| write_data(window, offset, meant),
            |this| {
                this.read64(offset + element::SAR) == meant.source
                    && this.read64(offset + element::DAR) == meant.destination
                    && this.read32(offset + element::TRANSFER_SIZE) == meant.length
            },
        )
    }

    /// Makes an element valid that was filled in.
    pub(crate) fn validate(&mut self, offset: u32) {
        if let Some(&mut meant) = self.meant(offset) {
            self.write_control(offset, meant.control);
        }
    }

    /// Whether an element is valid; it is made so if not. Whatever was written before is in the
    /// endpoint's memory then: it goes to another place behind the BAR than the doorbell, which could
    /// overtake it (`dw_edma_v0_sync_ll_data`).
    pub(crate) fn is_valid(&mut self, offset: u32) -> bool {
        let Some(&mut Element { control: word, .. }) = self.meant(offset) else {
            return false;
        };
        self.insist(
            true,
            |window| window.write32(offset + element::CONTROL, word),
            |this| this.read32(offset + element::CONTROL) == word,
        )
    }

    /// Whether the list ends before `slot`, which is not in use; an element of before that would be
    /// valid there is made invalid.
    pub(crate) fn ends_before(&mut self, slot: Slot) -> bool {
        let offset = slot.offset + element::CONTROL;
        let invalid = slot.control ^ control::CB.mask();
        self.insist(
            false,
            |window| window.write32(offset, invalid),
            |this| {
                let word = this.read32(offset);
                word & (control::CB.mask() | control::LLP.mask()) == invalid
            },
        )
    }

    /// Whether the link is there, which leads to `base`; it is written if not.
    pub(crate) fn links(&mut self, (offset, word): (u32, u32), base: u64) -> bool {
        self.insist(
            false,
            |window| {
                window.write64(offset + element::LLP, base);
                window.write32(offset + element::CONTROL, word);
            },
            |this| {
                this.read64(offset + element::LLP) == base
                    && this.read32(offset + element::CONTROL) == word
            },
        )
    }

    /// Writes a control word.
    pub(crate) fn write_control(&self, offset: u32, word: u32) {
        self.window.write32(offset + element::CONTROL, word);
    }
}

fn write_data(window: &Mapping, offset: u32, element: Element) {
    window.write32(offset + element::TRANSFER_SIZE, element.length);
    window.write64(offset + element::SAR, element.source);
    window.write64(offset + element::DAR, element.destination);
}
