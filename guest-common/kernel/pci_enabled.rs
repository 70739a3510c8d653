// SPDX-License-Identifier: GPL-2.0

//! A PCI device as long as it is enabled, which `kernel::pci` of Linux 7.3 never ends.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

use core::ptr;

use kernel::{bindings, device::Core, pci, prelude::*};

/// A device whose memory is decoded; dropped, it is disabled again, and writes to no memory.
pub(crate) struct Enabled<'a>(&'a pci::Device<kernel::device::Bound>);

impl<'a> Enabled<'a> {
    /// Enables the device's BARs alone: it is not to write to memory yet, which `set_master` allows.
    #[allow(dead_code)] // for those who first have something to say to it
    pub(crate) fn without_master(pdev: &'a pci::Device<Core<'_>>) -> Result<Self> {
        pdev.enable_device_mem()?;
        Ok(Self(pdev))
    }

    /// Enables the device's BARs and bus mastering.
    #[allow(dead_code)] // as above
    pub(crate) fn new(pdev: &'a pci::Device<Core<'_>>) -> Result<Self> {
        let this = Self::without_master(pdev)?;
        pdev.set_master();
        Ok(this)
    }
}

impl Drop for Enabled<'_> {
    fn drop(&mut self) {
        // CAST: `pci::Device` is a `#[repr(transparent)]` wrapper of `struct pci_dev`.
        let pdev: *mut bindings::pci_dev = ptr::from_ref(self.0).cast_mut().cast();
        // SAFETY: The device is valid and was enabled by us once.
        unsafe { bindings::pci_disable_device(pdev) };
    }
}
