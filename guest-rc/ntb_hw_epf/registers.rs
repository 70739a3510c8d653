// SPDX-License-Identifier: GPL-2.0

//! BARs as long as the device is there.

use kernel::{
    device::Bound,
    io::Io,
    pci,
    prelude::*, //
};

/// A mapped BAR. An access to a device that is gone, or out of bounds, is like one to a bus where
/// nobody answers: it reads all ones, and writes nothing.
pub(crate) struct Registers(pci::DevresBar);

impl Registers {
    /// Claims and maps a BAR.
    pub(crate) fn map(pdev: &pci::Device<Bound>, bar: u32) -> Result<Self> {
        pdev.iomap_region(bar, c"ntb")
            .and_then(|bar| bar.into_devres())
            .map(Self)
            .inspect_err(|_| dev_err!(pdev, "Cannot obtain BAR {}\n", bar))
    }

    /// Reads 16 bits.
    pub(crate) fn read16(&self, offset: u32) -> u16 {
        let read = |bar: &pci::Bar<'_>| bar.try_read16(offset as usize).unwrap_or(!0);
        self.0.try_access_with(read).unwrap_or(!0)
    }

    /// Reads 32 bits.
    pub(crate) fn read32(&self, offset: u32) -> u32 {
        let read = |bar: &pci::Bar<'_>| bar.try_read32(offset as usize).unwrap_or(!0);
        self.0.try_access_with(read).unwrap_or(!0)
    }

    /// Writes 16 bits.
    pub(crate) fn write16(&self, offset: u32, value: u16) {
        let write = |bar: &pci::Bar<'_>| bar.try_write16(value, offset as usize);
        let _ = self.0.try_access_with(write);
    }

    /// Writes 32 bits.
    pub(crate) fn write32(&self, offset: u32, value: u32) {
        let write = |bar: &pci::Bar<'_>| bar.try_write32(value, offset as usize);
        let _ = self.0.try_access_with(write);
    }
}
