// SPDX-License-Identifier: GPL-2.0

//! What the driver of an auxiliary device uses of the PCI function that carries it, beside vectors
//! (`pci_vector.rs`): parts of BARs, and what the messages are that raise its interrupts. They stay the
//! function's: its own driver has requested the BARs and allocated the vectors, and gives neither back
//! before the auxiliary device is gone.
//!
//! C headers: [`include/linux/pci.h`](srctree/include/linux/pci.h),
//! [`include/linux/msi.h`](srctree/include/linux/msi.h)
//!
//! A module mounts this file as `mod auxiliary_pci`, `pci_vector.rs` as `mod pci_vector`, and
//! `bindings.rs` with the helpers `msi` as `mod bindings`.

use kernel::{bindings as kbindings, device::Bound, devres::Devres, pci, prelude::*};

use crate::{bindings, pci_vector::raw};

/// A mapped part of a BAR, as long as the function's driver is bound. An access after that, or out of bounds, is like
/// one to a bus where nobody answers: it reads all ones, and writes nothing.
pub(crate) struct Mapping {
    start: *mut c_void,
    mapped: Devres<Mapped>,
}

// SAFETY: `start` is only told, and the rest can be sent.
unsafe impl Send for Mapping {}
// SAFETY: `start` is only told, and the rest can be shared.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `size` bytes at `offset` of BAR `bar`, which must be memory. Fails with `EINVAL` if they are
    /// not all in the BAR.
    pub(crate) fn new(pdev: &pci::Device<Bound>, bar: u32, offset: u32, size: u32) -> Result<Self> {
        let mapped = Mapped::new(pdev, bar, offset, size)?;
        Ok(Self {
            start: mapped.start,
            mapped: Devres::new(pdev.as_ref(), Ok::<_, Error>(mapped))?,
        })
    }

    /// Where it starts, for C code that is given all of it; valid as long as this value and the function's
    /// driver are there.
    #[allow(dead_code)] // few have such code
    pub(crate) fn start(&self) -> *mut c_void {
        self.start
    }

    /// Reads 32 bits.
    pub(crate) fn read32(&self, offset: u32) -> u32 {
        let read = |mapped: &Mapped| mapped.read32(offset);
        self.mapped.try_access_with(read).unwrap_or(!0)
    }

    /// Writes 32 bits, after whatever was written before.
    pub(crate) fn write32(&self, offset: u32, value: u32) {
        self.mapped
            .try_access_with(|mapped| mapped.write32(offset, value));
    }

    /// Writes 64 bits, after whatever was written before.
    pub(crate) fn write64(&self, offset: u32, value: u64) {
        self.mapped
            .try_access_with(|mapped| mapped.write64(offset, value));
    }
}

/// # Invariants
///
/// `start` is a mapping of `size` bytes.
struct Mapped {
    start: *mut c_void,
    size: usize,
}

// SAFETY: A mapping belongs to no thread.
unsafe impl Send for Mapped {}
// SAFETY: Registers can be accessed from several threads at the same time.
unsafe impl Sync for Mapped {}

impl Mapped {
    fn new(pdev: &pci::Device<Bound>, bar: u32, offset: u32, size: u32) -> Result<Self> {
        let end = u64::from(offset) + u64::from(size);
        if size == 0 || bar >= kbindings::PCI_STD_NUM_BARS || end > pdev.resource_len(bar)? {
            return Err(EINVAL);
        }
        // SAFETY: The device is valid, and the BAR is one of its own.
        let flags = unsafe { (*raw(pdev)).resource[bar as usize].flags };
        if flags & kbindings::IORESOURCE_MEM as c_ulong == 0 {
            return Err(EINVAL);
        }
        let start = pdev.resource_start(bar)? + u64::from(offset);
        let size = size as usize;
        // SAFETY: The range is the device's, and memory of a BAR.
        let start = unsafe { kbindings::ioremap(start, size) };
        if start.is_null() {
            return Err(ENOMEM);
        }
        // INVARIANT: Just mapped.
        Ok(Self { start, size })
    }

    /// The place of an access of `width` bytes, if it is inside and aligned.
    fn at(&self, offset: u32, width: usize) -> Option<*mut c_void> {
        let offset = offset as usize;
        let inside = offset.checked_add(width)? <= self.size && offset % width == 0;
        // SAFETY: The place is in the mapping.
        inside.then(|| unsafe { self.start.byte_add(offset) })
    }

    fn read32(&self, offset: u32) -> u32 {
        let at = self.at(offset, size_of::<u32>());
        // SAFETY: By the type invariant.
        at.map_or(!0, |at| unsafe { kbindings::readl(at) })
    }

    fn write32(&self, offset: u32, value: u32) {
        if let Some(at) = self.at(offset, size_of::<u32>()) {
            // SAFETY: By the type invariant.
            unsafe { kbindings::writel(value, at) };
        }
    }

    fn write64(&self, offset: u32, value: u64) {
        if let Some(at) = self.at(offset, size_of::<u64>()) {
            // SAFETY: By the type invariant.
            unsafe { kbindings::writeq(value, at) };
        }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; nobody uses the mapping any more.
        unsafe { kbindings::iounmap(self.start) };
    }
}

/// What a device writes to raise an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Where, as the device has it.
    pub(crate) address: u64,
    /// What.
    pub(crate) data: u32,
}

/// What a device writes to raise interrupt `irq`; `None` if that is no message.
pub(crate) fn message(irq: u32) -> Option<Message> {
    let (mut address, mut data) = (0, 0);
    // SAFETY: For any number.
    unsafe { bindings::rust_helper_irq_msi_message(irq, &mut address, &mut data) }
        .then_some(Message { address, data })
}
