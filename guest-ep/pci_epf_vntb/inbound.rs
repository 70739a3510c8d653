// SPDX-License-Identifier: GPL-2.0

//! What the RC reaches in a BAR that is a memory window, a DMA slice, or both.

use kernel::{dma::DmaAddress, prelude::*};

use crate::{
    pci_epf::Attached,
    pci_epf_bar::{Bar, BarNumber, SubRange},
    vntb::locator::ALIGN,
};

/// Where nothing is, so that the RC reads all ones and writes nothing: high up in the 40 bits that the
/// endpoints' buses have. Address 0 will not do, as there may be a ROM. Aligned to any BAR.
const NOWHERE: DmaAddress = 0xff_0000_0000;

/// A BAR whose first part is a memory window, and whose second part, if any, is a slice.
///
/// With a slice each part needs a translation of its own. Such translations match addresses on the
/// RC's bus, so they can be made only when the RC has given the BAR one: at first the BAR as a whole
/// leads nowhere (`stage`), and a command of the RC's driver shows that it is time ([`activate`]).
/// A new driver there may mean a new address ([`stage_again`]).
///
/// [`activate`]: Self::activate
/// [`stage_again`]: Self::stage_again
pub(crate) struct Inbound {
    bar: Bar,
    /// Bytes of the memory window, 0 if there is none.
    window: usize,
    /// The buffer behind the memory window.
    buffer: Option<SubRange>,
    slice: KVec<SubRange>,
    active: bool,
}

impl Inbound {
    /// A BAR that leads nowhere yet.
    pub(crate) fn new(
        function: &Attached,
        number: BarNumber,
        window: usize,
        slice: KVec<SubRange>,
    ) -> Result<Self> {
        let size = slice
            .iter()
            .try_fold(window, |sum, range| sum.checked_add(range.size))
            .ok_or(EOVERFLOW)?;
        let mut bar = Bar::take(function, number)?;
        bar.point(NOWHERE, size)?;
        bar.set()?;
        Ok(Self {
            bar,
            window,
            buffer: None,
            slice,
            active: false,
        })
    }

    /// Makes the memory window lead to a buffer of at most its size.
    pub(crate) fn set_buffer(&mut self, address: DmaAddress, size: usize) -> Result {
        if size > self.window {
            return Err(EINVAL);
        }
        if self.slice.is_empty() {
            self.bar.point(address, size)?;
            return self.bar.set();
        }
        self.buffer = Some(SubRange { address, size });
        match self.active {
            true => self.map(),
            false => Ok(()),
        }
    }

    /// Makes the memory window lead nowhere: its buffer is its owner's again.
    pub(crate) fn clear_buffer(&mut self) -> Result {
        if self.slice.is_empty() {
            self.bar.point(NOWHERE, self.window)?;
            return self.bar.set();
        }
        self.buffer = None;
        match self.active {
            true => self.map(),
            false => Ok(()),
        }
    }

    /// The RC has given the BAR an address.
    pub(crate) fn activate(&mut self) -> Result {
        if self.slice.is_empty() || self.active {
            return Ok(());
        }
        self.map()?;
        self.active = true;
        Ok(())
    }

    /// The RC may give the BAR another address.
    pub(crate) fn stage_again(&mut self) {
        self.active = false;
    }

    fn map(&mut self) -> Result {
        let mut ranges = KVec::with_capacity(self.slice.len() + 2, GFP_KERNEL)?;
        let mut rest = self.window;
        if let Some(buffer) = self.buffer {
            let size = buffer
                .size
                .checked_next_multiple_of(ALIGN as usize)
                .filter(|size| *size <= rest)
                .ok_or(EINVAL)?;
            rest -= size;
            ranges.push(SubRange { size, ..buffer }, GFP_KERNEL)?;
        }
        if rest != 0 {
            let nothing = SubRange {
                address: NOWHERE,
                size: rest,
            };
            ranges.push(nothing, GFP_KERNEL)?;
        }
        ranges.extend_from_slice(&self.slice, GFP_KERNEL)?;
        self.bar.set_sub_ranges(&ranges)
    }
}
