// SPDX-License-Identifier: GPL-2.0

//! What the RC reaches in a BAR that is a memory window, a DMA slice, or both.

use kernel::{dma::DmaAddress, prelude::*};

use crate::{
    dw_iatu::{Region, Translation},
    pci_epf::Attached,
    pci_epf_bar::{Bar, BarNumber, SubRange},
    vntb::locator::ALIGN,
};

/// Where nothing is.
const NOWHERE: DmaAddress = 0;

/// A BAR whose first part is a memory window, and whose second part, if any, is a slice.
///
/// With a slice each part needs a translation of its own. Such translations match addresses on the
/// RC's bus, so they can be made only when the RC has given the BAR one: at first the BAR as a whole
/// leads nowhere (`stage`), and a command of the RC's driver shows that it is time ([`activate`]).
/// A new driver there may mean a new address ([`stage_again`]).
///
/// From then on the BAR is not set again, whatever buffer the window gets: that would take the slice
/// away for a moment, and the descriptors that the RC writes to it meanwhile would be lost.
///
/// [`activate`]: Self::activate
/// [`stage_again`]: Self::stage_again
pub(crate) struct Inbound {
    bar: Bar,
    number: BarNumber,
    /// Bytes of the memory window, 0 if there is none.
    window: usize,
    /// The buffer behind the memory window.
    buffer: Option<SubRange>,
    slice: KVec<SubRange>,
    /// What changes the window alone; always there if there is a window and a slice.
    translation: Option<Translation>,
    /// Its region of the window in front of the slice, since the BAR was set in parts.
    region: Option<Region>,
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
        let translation = Translation::new(function);
        if window != 0 && !slice.is_empty() && translation.is_err() {
            dev_err!(
                function,
                "the controller cannot change a window beside a slice: give dma_bar a BAR of its own\n"
            );
            return Err(EOPNOTSUPP);
        }
        let mut bar = Bar::take(function, number)?;
        bar.point(NOWHERE, size)?;
        bar.set()?;
        Ok(Self {
            bar,
            number,
            window,
            buffer: None,
            slice,
            translation: translation.ok(),
            region: None,
            active: false,
        })
    }

    /// Makes the memory window lead to a buffer of at most its size, and nowhere behind that.
    pub(crate) fn set_buffer(&mut self, address: DmaAddress, size: usize) -> Result {
        if size > self.window {
            return Err(EINVAL);
        }
        if self.slice.is_empty() {
            self.bar.point(address, size)?;
            return self.bar.set();
        }
        let size = size
            .checked_next_multiple_of(ALIGN as usize)
            .filter(|size| *size <= self.window)
            .ok_or(EINVAL)?;
        self.buffer = Some(SubRange { address, size });
        match (self.active, &self.translation, self.region) {
            (true, _, _) => self.lead(),
            // It led to the buffer before this one.
            (false, Some(translation), Some(region)) => {
                translation.close(region);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Makes the memory window lead nowhere: its buffer is about to go.
    pub(crate) fn clear_buffer(&mut self) -> Result {
        self.buffer = None;
        let Some(translation) = &self.translation else {
            self.bar.point(NOWHERE, self.window)?;
            return self.bar.set();
        };
        let region = match self.slice.is_empty() {
            true => translation.of_bar(self.number),
            false => self.region,
        };
        // There is none if nothing was opened, or it is closed already.
        if let Some(region) = region {
            translation.close(region);
        }
        Ok(())
    }

    /// The RC has given the BAR an address.
    pub(crate) fn activate(&mut self) -> Result {
        if self.slice.is_empty() || self.active {
            return Ok(());
        }
        let mut ranges = KVec::with_capacity(self.slice.len() + 1, GFP_KERNEL)?;
        if self.window != 0 {
            let nothing = SubRange {
                address: NOWHERE,
                size: self.window,
            };
            ranges.push(nothing, GFP_KERNEL)?;
        }
        ranges.extend_from_slice(&self.slice, GFP_KERNEL)?;
        self.region = None;
        self.bar.set_sub_ranges(&ranges)?;
        if let (Some(translation), Some(slice)) = (&self.translation, self.slice.first()) {
            if self.window != 0 {
                let region = translation.of_part(self.window as u64, slice.address);
                self.region = Some(region.ok_or(ENXIO)?);
            }
        }
        self.lead()?;
        self.active = true;
        Ok(())
    }

    /// The RC may give the BAR another address.
    pub(crate) fn stage_again(&mut self) {
        self.active = false;
    }

    /// Makes the memory window in front of the slice lead to its buffer.
    fn lead(&self) -> Result {
        let (Some(translation), Some(region)) = (&self.translation, self.region) else {
            return Ok(());
        };
        match self.buffer {
            Some(SubRange { address, size }) => {
                translation.point(region, address, u32::try_from(size)?)
            }
            None => {
                translation.close(region);
                Ok(())
            }
        }
    }
}
