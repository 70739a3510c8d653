// SPDX-License-Identifier: GPL-2.0

//! Inbound regions of the address translation inside a DesignWare PCIe endpoint, changed one by one.
//!
//! `pci_epc_set_bar()` takes all regions of a BAR away before it makes new ones, so that for a while
//! nothing of the BAR leads anywhere. To change one part of a BAR that others are used of meanwhile, its
//! region is looked up in the registers, where the controller's driver has put it, and changed there. The
//! driver has no operation that would, and each region has registers of its own, so nothing is shared
//! with it as long as the BAR is ours.
//!
//! Stands on `pci_epc.rs`, and on `abi::iatu`.

use core::ptr::NonNull;

use kernel::{
    bindings as kbindings,
    dma::DmaAddress,
    prelude::*,
    time::{delay::fsleep, Delta},
};

use crate::{
    iatu::{self, BAR, BAR_MODE, ENABLE},
    pci_epf::Attached,
    pci_epf_bar::BarNumber,
};

/// How often to look whether a region is enabled, and how long to wait in between (as
/// `dw_pcie_prog_inbound_atu` does).
const LOOKS: u32 = 5;
const PAUSE: Delta = Delta::from_millis(9);

/// The translation's registers, unrolled.
///
/// # Invariants
///
/// `start` is a mapping of the registers of `count` regions.
pub(crate) struct Translation {
    start: NonNull<c_void>,
    count: u32,
}

// SAFETY: A mapping belongs to no thread.
unsafe impl Send for Translation {}
// SAFETY: Registers can be accessed from several threads at the same time.
unsafe impl Sync for Translation {}

/// One of the regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region(u32);

impl Translation {
    /// The registers of the controller that `function` is linked to; `ENODEV` if they are not its
    /// device's own.
    pub(crate) fn new(function: &Attached) -> Result<Self> {
        let (phys, size) = function.memory_resource(c"atu").ok_or(ENODEV)?;
        let count = u32::try_from(size)? / iatu::REGION_STRIDE;
        // SAFETY: The range is the controller's registers, as its driver maps them.
        let start = unsafe { kbindings::ioremap(phys, usize::try_from(size)?) };
        // INVARIANT: Just mapped.
        Ok(Self {
            start: NonNull::new(start).ok_or(ENOMEM)?,
            count,
        })
    }

    fn register(&self, region: Region, register: u32) -> *mut c_void {
        let offset = region.0 * iatu::REGION_STRIDE + iatu::INBOUND + register;
        // SAFETY: A region is one of those that are mapped.
        unsafe { self.start.as_ptr().byte_add(offset as usize) }
    }

    fn read(&self, region: Region, register: u32) -> u32 {
        // SAFETY: A register that is mapped, whose reading has no effect.
        unsafe { kbindings::readl(self.register(region, register)) }
    }

    fn write(&self, region: Region, register: u32, value: u32) {
        // SAFETY: A register that is mapped. Where a region leads is the caller's business, as with
        // `pci_epc_set_bar`.
        unsafe { kbindings::writel(value, self.register(region, register)) };
    }

    fn read_wide(&self, region: Region, low: u32, high: u32) -> u64 {
        u64::from(self.read(region, high)) << 32 | u64::from(self.read(region, low))
    }

    fn base(&self, region: Region) -> u64 {
        self.read_wide(region, iatu::LOWER_BASE, iatu::UPPER_BASE)
    }

    /// The enabled region that `suits`, which is given its second control word.
    fn find(&self, suits: impl Fn(Region, u32) -> bool) -> Option<Region> {
        (0..self.count).map(Region).find(|&region| {
            let control = self.read(region, iatu::CTRL2);
            ENABLE.is_set(control) && suits(region, control)
        })
    }

    /// The region that the whole of a BAR goes through.
    pub(crate) fn of_bar(&self, bar: BarNumber) -> Option<Region> {
        self.find(|_, control| BAR_MODE.is_set(control) && BAR.get(control) == u32::from(bar))
    }

    /// The region of the part of a BAR that begins `before` bytes before the one that leads to
    /// `target`.
    pub(crate) fn of_part(&self, before: u64, target: DmaAddress) -> Option<Region> {
        let by_address = |control| !BAR_MODE.is_set(control);
        let next = self.find(|region, control| {
            by_address(control)
                && self.read_wide(region, iatu::LOWER_TARGET, iatu::UPPER_TARGET) == target
        })?;
        let base = self.base(next).checked_sub(before)?;
        self.find(|region, control| by_address(control) && self.base(region) == base)
    }

    /// Has what goes through a region lead nowhere: the RC reads all ones, and writes nothing.
    pub(crate) fn close(&self, region: Region) {
        self.write(region, iatu::CTRL2, 0);
        // It is so before this returns, and its memory may be given to somebody else.
        self.read(region, iatu::CTRL2);
    }

    /// Has the first `size` bytes of a region lead to `target`, and what is behind them nowhere. Both
    /// are multiples of the granule, and a region crosses no border of 4 GiB. Sleeps.
    pub(crate) fn point(&self, region: Region, target: DmaAddress, size: u32) -> Result {
        let granule = u64::from(iatu::GRANULE);
        let last = size.checked_sub(1).ok_or(EINVAL)?;
        // CAST: Each half.
        let base = self.base(region) as u32;
        let last = base.checked_add(last).ok_or(EINVAL)?;
        if target % granule != 0 || u64::from(size) % granule != 0 {
            return Err(EINVAL);
        }
        self.close(region);
        self.write(region, iatu::LIMIT, last);
        self.write(region, iatu::LOWER_TARGET, target as u32);
        self.write(region, iatu::UPPER_TARGET, (target >> 32) as u32);
        self.write(region, iatu::CTRL2, ENABLE.mask());
        for _ in 0..LOOKS {
            if ENABLE.is_set(self.read(region, iatu::CTRL2)) {
                return Ok(());
            }
            fsleep(PAUSE);
        }
        Err(ETIMEDOUT)
    }
}

impl Drop for Translation {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; nobody uses the mapping any more.
        unsafe { kbindings::iounmap(self.start.as_ptr()) };
    }
}
