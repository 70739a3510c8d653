// SPDX-License-Identifier: GPL-2.0

//! Interrupt vectors of a PCI device, with one handler for all that knows which it was.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)
//!
//! A module mounts this file as `mod pci_irq`, and `pci_vector.rs` as `mod pci_vector`.

use kernel::{device::Bound, pci, prelude::*, sync::Arc};

use crate::pci_vector::{Handler, Vector};

/// Vectors of a device; dropped, they are freed.
pub(crate) struct Vectors<'a> {
    pdev: &'a pci::Device<Bound>,
    all: pci::IrqVectorRegistration<'a>,
}

impl<'a> Vectors<'a> {
    /// Allocates as many vectors as the device has, MSI-X or else MSI, between `min` and `max`.
    pub(crate) fn new(pdev: &'a pci::Device<Bound>, min: u32, max: u32) -> Result<Self> {
        let types = pci::IrqTypes::default()
            .with(pci::IrqType::MsiX)
            .with(pci::IrqType::Msi);
        let all = pdev.alloc_irq_vectors(min, max, types)?;
        Ok(Self { pdev, all })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        // CAST: At most what was asked for, which has 32 bits.
        self.all.len() as u32
    }

    /// Whether they are MSI-X.
    pub(crate) fn is_msix(&self) -> bool {
        matches!(self.all.irq_type(), pci::IrqType::MsiX)
    }

    /// Lets `handler` hear the first `used` vectors. `name` is what `/proc/interrupts` calls them.
    ///
    /// # Safety
    ///
    /// The caller must not `mem::forget()` the result or otherwise keep its destructor from running:
    /// the handler would be called after its module has gone.
    pub(crate) unsafe fn listen<H: Handler>(
        self,
        handler: &Arc<H>,
        used: u32,
        name: &'static CStr,
    ) -> Result<Listening<'a, H>> {
        let mut requested = KVec::new();
        for vector in 0..used.min(self.count()) {
            let handler = handler.clone();
            // SAFETY: Dropped before `self`, as the result's fields or here; the caller leaks none.
            let vector = unsafe { Vector::request(self.pdev, vector, handler, vector, name) }?;
            requested.push(vector, GFP_KERNEL)?;
        }
        Ok(Listening {
            _requested: requested,
            _vectors: self,
        })
    }
}

/// Vectors with a handler. Dropped, no handler runs any more, and then the vectors are freed.
pub(crate) struct Listening<'a, H: Handler> {
    _requested: KVec<Vector<H>>,
    _vectors: Vectors<'a>,
}
