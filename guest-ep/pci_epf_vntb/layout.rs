// SPDX-License-Identifier: GPL-2.0

//! Which BAR has what, and whether the settings can be met. Nothing is touched here.

use kernel::prelude::*;

use crate::{
    pci_ep_dma,
    pci_epf::Attached,
    pci_epf_bar::BarNumber,
    settings::Values,
    vntb::{
        control::{Control, MwPlace, Version, WORD},
        irq,
        routing::Routing,
        slice::Slice,
        MAX_CHANNELS, MAX_DB_COUNT, MAX_MWS, MIN_DB_COUNT,
    },
};

/// MSIs of a function for which configfs says nothing, as of the stock driver.
const DEFAULT_VECTORS: u8 = 16;

/// Largest control BAR: what the page allocator gives without complaint.
const MAX_CONTROL_SIZE: usize = 1 << 20;

/// A memory window.
#[derive(Clone, Copy)]
pub(crate) struct Mw {
    /// Its BAR, from the start.
    pub(crate) bar: BarNumber,
    /// Its size.
    pub(crate) size: usize,
}

/// Exported DMA channels.
#[derive(Clone, Copy)]
pub(crate) struct Dma {
    /// BAR of the slice; it may be that of a memory window, which then ends where the slice starts.
    pub(crate) bar: BarNumber,
    /// The slice.
    pub(crate) slice: Slice,
    /// Whom each channel's transfers are told.
    pub(crate) routing: [Routing; MAX_CHANNELS],
}

/// What a function is going to be.
pub(crate) struct Layout {
    /// BAR of the control block and the scratchpads.
    pub(crate) control_bar: BarNumber,
    /// BAR of the doorbells.
    pub(crate) doorbell_bar: BarNumber,
    mws: KVec<Mw>,
    /// Doorbell slots, of which the first [`irq::FIRST_DOORBELL`] are no doorbells.
    pub(crate) slots: u16,
    /// Scratchpads of each side.
    pub(crate) spads: u32,
    /// MSIs.
    pub(crate) vectors: u8,
    /// Number of the virtual bus.
    pub(crate) bus_number: u8,
    /// Ids of the virtual device.
    pub(crate) vendor: u16,
    /// See `vendor`.
    pub(crate) device: u16,
    /// What is exported, if anything.
    pub(crate) dma: Option<Dma>,
}

impl Layout {
    /// Lays a function out; says why it cannot be where it cannot.
    pub(crate) fn new(function: &Attached, values: &Values) -> Result<Self> {
        let features = function.features()?;
        if !features.msi_capable() && !features.msix_capable() {
            dev_err!(function, "MSI or MSI-X is required for doorbell\n");
            return Err(EINVAL);
        }
        if !(MIN_DB_COUNT..=MAX_DB_COUNT).contains(&values.db_count) {
            dev_err!(
                function,
                "DB count {} out of range ({} - {})\n",
                values.db_count,
                MIN_DB_COUNT,
                MAX_DB_COUNT
            );
            return Err(EINVAL);
        }

        let mut bars = Assignment {
            taken: values.mw_bars,
            others: [values.ctrl_bar, values.db_bar],
            next: 0,
        };
        let mut assign = |wanted: Option<BarNumber>| -> Result<BarNumber> {
            wanted
                .or_else(|| bars.next(|bar| features.usable(bar)))
                .ok_or_else(|| {
                    dev_err!(function, "there is no BAR left\n");
                    ENOENT
                })
        };
        let control_bar = assign(values.ctrl_bar)?;
        let doorbell_bar = assign(values.db_bar)?;
        let mut mws = KVec::with_capacity(MAX_MWS, GFP_KERNEL)?;
        let windows = values.mw_bars.iter().zip(values.mws);
        for (&bar, size) in windows.take(values.num_mws as usize) {
            let mw = Mw {
                bar: assign(bar)?,
                size: usize::try_from(size)?,
            };
            mws.push(mw, GFP_KERNEL)?;
        }

        let this = Self {
            control_bar,
            doorbell_bar,
            mws,
            // Both were checked to be small.
            slots: u16::try_from(values.db_count)?,
            spads: values.spad_count,
            vectors: vectors(function, values)?,
            bus_number: values.vbus_number,
            vendor: values.vntb_vid,
            device: values.vntb_pid,
            dma: dma(function, values)?,
        };
        this.checked(function)
    }

    /// Refuses two uses of one BAR, and a control block that is too large.
    fn checked(self, function: &Attached) -> Result<Self> {
        let mut used = 0u32;
        let mws = self.mws.iter().map(|mw| mw.bar);
        let others = [self.control_bar, self.doorbell_bar];
        for bar in Iterator::chain(mws, others) {
            let bit = 1 << u32::from(bar);
            if used & bit != 0 {
                dev_err!(function, "BAR {} has two uses\n", u32::from(bar));
                return Err(EINVAL);
            }
            used |= bit;
        }
        if let Some(dma) = &self.dma {
            self.check_dma(function, dma, used)?;
        }
        if self.control_size() > MAX_CONTROL_SIZE {
            dev_err!(function, "spad_count {} is too large\n", self.spads);
            return Err(EINVAL);
        }
        Ok(self)
    }

    /// Refuses a slice that does not fill its BAR together with the memory window before it.
    fn check_dma(&self, function: &Attached, dma: &Dma, used: u32) -> Result {
        let bar = u32::from(dma.bar);
        let window = dma.slice.window();
        let before = match self.mws.iter().find(|mw| mw.bar == dma.bar) {
            Some(mw) => mw.size as u64,
            None if used & 1 << bar != 0 => {
                dev_err!(function, "dma_bar {} has another use\n", bar);
                return Err(EINVAL);
            }
            None => 0,
        };
        if u64::from(window.offset) != before {
            dev_err!(
                function,
                "dma_offset {:#x} is not {:#x}, where the rest of BAR {} starts\n",
                window.offset,
                before,
                bar
            );
            return Err(EINVAL);
        }
        if !window.end().is_power_of_two() {
            dev_err!(
                function,
                "a slice of {:#x} bytes at {:#x} does not end at a power of two\n",
                window.size,
                window.offset
            );
            return Err(EINVAL);
        }
        if !function.features()?.subrange_mapping() {
            dev_err!(function, "the controller cannot map parts of a BAR\n");
            return Err(EOPNOTSUPP);
        }
        Ok(())
    }

    fn version(&self) -> Version {
        match self.dma {
            // As the stock driver has it, for peers that know nothing else.
            None => Version::Legacy,
            Some(_) => Version::V1,
        }
    }

    /// The memory windows.
    pub(crate) fn mws(&self) -> &[Mw] {
        &self.mws
    }

    /// Bytes of the control block and the scratchpads of both sides.
    pub(crate) fn control_size(&self) -> usize {
        // Cannot overflow 64 bits.
        self.version().block_size() as usize + 2 * WORD as usize * self.spads as usize
    }

    /// The control block, with everything but the doorbells.
    pub(crate) fn control(&self) -> Control {
        let mut mws = [MwPlace::default(); MAX_MWS];
        if self.version() == Version::V1 {
            for (place, mw) in mws.iter_mut().zip(&self.mws) {
                // CAST: Windows next to a slice end below 4 GiB, others say 0 for "larger".
                place.size = u32::try_from(mw.size).unwrap_or(0);
            }
        }
        Control {
            version: self.version(),
            // CAST: At most `MAX_MWS`.
            num_mws: self.mws.len() as u32,
            spad_offset: self.version().block_size(),
            spad_count: self.spads,
            mws,
            dma: self.dma.map(|dma| dma.slice.locator()),
            ..Control::default()
        }
    }
}

/// Hands BARs out in ascending order, but for those that the user has given a use.
struct Assignment {
    taken: [Option<BarNumber>; MAX_MWS],
    others: [Option<BarNumber>; 2],
    next: u32,
}

impl Assignment {
    fn next(&mut self, usable: impl Fn(BarNumber) -> bool) -> Option<BarNumber> {
        let found = BarNumber::all().find(|&bar| {
            u32::from(bar) >= self.next
                && usable(bar)
                && !self.taken.contains(&Some(bar))
                && !self.others.contains(&Some(bar))
        })?;
        self.next = u32::from(found) + 1;
        Some(found)
    }
}

/// How many MSIs: what configfs says, or else what the doorbells need.
fn vectors(function: &Attached, values: &Values) -> Result<u8> {
    // Slot n is raised as vector n, so there is one vector for each slot; completions of exported
    // channels come on the last ones.
    let needed = values.db_count + values.dma_num_chans;
    if needed > irq::MAX_VECTORS {
        dev_err!(
            function,
            "db_count {} and dma_num_chans {} need {} MSIs, and there are {}\n",
            values.db_count,
            values.dma_num_chans,
            needed,
            irq::MAX_VECTORS
        );
        return Err(EINVAL);
    }
    let wanted = match u32::from(function.msi_interrupts()) {
        0 => needed.next_power_of_two().max(DEFAULT_VECTORS.into()),
        wanted => wanted,
    };
    if wanted < needed || wanted > irq::MAX_VECTORS {
        dev_err!(
            function,
            "msi_interrupts {} is not {} (db_count and dma_num_chans) to {}\n",
            wanted,
            needed,
            irq::MAX_VECTORS
        );
        return Err(EINVAL);
    }
    Ok(u8::try_from(wanted)?)
}

/// The slice of exported channels, if there are any.
fn dma(function: &Attached, values: &Values) -> Result<Option<Dma>> {
    if values.dma_num_chans == 0 {
        return Ok(None);
    }
    let Some(bar) = values.dma_bar else {
        dev_err!(function, "dma_num_chans is set, dma_bar is not\n");
        return Err(EINVAL);
    };
    let slice = pci_ep_dma::plan(function, bar, values.dma_offset, values.dma_num_chans)?;
    Ok(Some(Dma {
        bar,
        slice,
        routing: values.dma_routing.0,
    }))
}
