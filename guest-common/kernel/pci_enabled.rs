// SPDX-License-Identifier: GPL-2.0

//! A PCI device as long as it is enabled, which `kernel::pci` of Linux 7.3 never ends.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

use core::ptr;

use kernel::{bindings, device::Core, pci, prelude::*};

/// A device whose memory is decoded and which may write to memory; dropped, it is disabled again.
pub(crate) struct Enabled<'a>(&'a pci::Device<kernel::device::Bound>);

impl<'a> Enabled<'a> {
    /// Enables the device's BARs and bus mastering.
    pub(crate) fn new(pdev: &'a pci::Device<Core<'_>>) -> Result<Self> {
        pdev.enable_device_mem()?;
        pdev.set_master();
        Ok(Self(pdev))
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
