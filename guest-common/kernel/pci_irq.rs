// SPDX-License-Identifier: GPL-2.0

//! Interrupt vectors of a PCI device, with one handler for all that knows which it was.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)
//!
//! Everything here is counted and not borrowed, so a driver keeps it where it likes.
//!
//! A module mounts this file as `mod pci_irq`, and `pci_vector.rs` as `mod pci_vector`.

use kernel::{
    bindings,
    device::Bound,
    error::to_result,
    pci,
    prelude::*,
    sync::{aref::ARef, Arc},
};

use crate::pci_vector::{raw, Handler, Vector};

/// Vectors of a device; dropped, they are freed.
///
/// # Invariants
///
/// The device has `count` vectors, which nobody else frees.
pub(crate) struct Vectors {
    pdev: ARef<pci::Device>,
    count: u32,
}

impl Vectors {
    /// Allocates as many vectors as the device has, MSI-X or else MSI, between `min` and `max`.
    pub(crate) fn new(pdev: &pci::Device<Bound>, min: u32, max: u32) -> Result<Self> {
        let types = [bindings::PCI_IRQ_MSIX, bindings::PCI_IRQ_MSI];
        let mut last = ENODEV;
        for kind in types {
            // SAFETY: The device is valid and bound to the driver that calls this.
            let count = unsafe { bindings::pci_alloc_irq_vectors(raw(pdev), min, max, kind) };
            match to_result(count) {
                Ok(()) => {
                    // INVARIANT: Just allocated.
                    return Ok(Self {
                        pdev: pdev.into(),
                        count: u32::try_from(count)?,
                    });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Whether they are MSI-X.
    pub(crate) fn is_msix(&self) -> bool {
        // SAFETY: The device is valid.
        unsafe { (*raw(&self.pdev)).msix_enabled() != 0 }
    }

    /// Lets `handler` hear the first `used` vectors. `name` is what `/proc/interrupts` calls them.
    pub(crate) fn listen<H: Handler>(
        self,
        handler: &Arc<H>,
        used: u32,
        name: &'static CStr,
    ) -> Result<Listening<H>> {
        let mut requested = KVec::new();
        for vector in 0..used.min(self.count) {
            let vector = Vector::request(&self.pdev, vector, handler.clone(), vector, name)?;
            requested.push(vector, GFP_KERNEL)?;
        }
        Ok(Listening {
            _requested: requested,
            _vectors: self,
        })
    }
}

impl Drop for Vectors {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; no vector has a handler of ours any more.
        unsafe { bindings::pci_free_irq_vectors(raw(&self.pdev)) };
    }
}

/// Vectors with a handler. Dropped, no handler runs any more, and then the vectors are freed.
pub(crate) struct Listening<H: Handler> {
    _requested: KVec<Vector<H>>,
    _vectors: Vectors,
}
