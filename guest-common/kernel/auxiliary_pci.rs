// SPDX-License-Identifier: GPL-2.0

//! What the driver of an auxiliary device uses of the PCI function that carries it: parts of BARs, and
//! interrupt vectors. They stay the function's: its own driver has requested the BARs and allocated the
//! vectors, and gives neither back before the auxiliary device is gone.
//!
//! C headers: [`include/linux/pci.h`](srctree/include/linux/pci.h),
//! [`include/linux/msi.h`](srctree/include/linux/msi.h)
//!
//! A module mounts this file as `mod auxiliary_pci`, and `bindings.rs` with the helpers `msi` as
//! `mod bindings`.

use core::ptr;

use kernel::{
    bindings as kbindings,
    device::{Bound, DeviceContext},
    error::to_result,
    pci,
    prelude::*,
    sync::Arc,
};

use crate::bindings;

/// The `struct pci_dev` behind a device, which `pci::Device` keeps to itself.
fn raw<Ctx: DeviceContext>(pdev: &pci::Device<Ctx>) -> *mut kbindings::pci_dev {
    // CAST: `pci::Device` is a `#[repr(transparent)]` wrapper of `struct pci_dev`.
    ptr::from_ref(pdev).cast_mut().cast()
}

/// A mapped part of a BAR. An access out of bounds reads all ones, and writes nothing.
///
/// After the function is gone nobody answers, which reads all ones as well; but the addresses can be
/// another device's then, so whoever has a mapping drops it when the auxiliary device goes.
///
/// # Invariants
///
/// `start` is a mapping of `size` bytes.
pub(crate) struct Mapping {
    start: *mut c_void,
    size: usize,
}

// SAFETY: A mapping belongs to no thread.
unsafe impl Send for Mapping {}
// SAFETY: Registers can be accessed from several threads at the same time.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `size` bytes at `offset` of BAR `bar`, which must be memory. Fails with `EINVAL` if they are
    /// not all in the BAR.
    pub(crate) fn new(pdev: &pci::Device<Bound>, bar: u32, offset: u32, size: u32) -> Result<Self> {
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

    /// Where it starts, for C code that is given all of it.
    #[allow(dead_code)] // few have such code
    pub(crate) fn start(&self) -> *mut c_void {
        self.start
    }

    /// The place of an access of `width` bytes, if it is inside and aligned.
    fn at(&self, offset: u32, width: usize) -> Option<*mut c_void> {
        let offset = offset as usize;
        let inside = offset.checked_add(width)? <= self.size && offset % width == 0;
        // SAFETY: The place is in the mapping.
        inside.then(|| unsafe { self.start.byte_add(offset) })
    }

    /// Reads 32 bits.
    pub(crate) fn read32(&self, offset: u32) -> u32 {
        let at = self.at(offset, size_of::<u32>());
        // SAFETY: By the type invariant.
        at.map_or(!0, |at| unsafe { kbindings::readl(at) })
    }

    /// Writes 32 bits, after whatever was written before.
    pub(crate) fn write32(&self, offset: u32, value: u32) {
        if let Some(at) = self.at(offset, size_of::<u32>()) {
            // SAFETY: By the type invariant.
            unsafe { kbindings::writel(value, at) };
        }
    }

    /// Writes 64 bits, after whatever was written before.
    pub(crate) fn write64(&self, offset: u32, value: u64) {
        if let Some(at) = self.at(offset, size_of::<u64>()) {
            // SAFETY: By the type invariant.
            unsafe { kbindings::writeq(value, at) };
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; nobody uses the mapping any more.
        unsafe { kbindings::iounmap(self.start) };
    }
}

/// What happens when a vector fires.
pub(crate) trait Handler: Send + Sync + 'static {
    /// The vector has fired that was requested with this number. Runs in hard interrupt context.
    fn interrupt(&self, number: u32);
}

/// What a device writes to raise an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Where, as the device has it.
    pub(crate) address: u64,
    /// What.
    pub(crate) data: u32,
}

struct Cookie<H> {
    number: u32,
    handler: Arc<H>,
}

impl<H: Handler> Cookie<H> {
    extern "C" fn interrupt(_irq: c_int, cookie: *mut c_void) -> kbindings::irqreturn_t {
        // SAFETY: The handler was requested with a cookie that outlives it.
        let this = unsafe { &*cookie.cast_const().cast::<Self>() };
        this.handler.interrupt(this.number);
        kbindings::irqreturn::IRQ_HANDLED
    }
}

/// A vector with a handler of ours. Dropped, the handler does not run any more.
///
/// # Invariants
///
/// `irq` has our handler, with `cookie`.
pub(crate) struct Vector<H: Handler> {
    irq: c_uint,
    cookie: KBox<Cookie<H>>,
}

impl<H: Handler> Vector<H> {
    /// Has `handler` hear vector `index` of the function, as `number`. `name` is what
    /// `/proc/interrupts` calls it.
    ///
    /// Fails with `EINVAL` if the function has no such vector, and with `EBUSY` if somebody has it.
    pub(crate) fn request(
        pdev: &pci::Device<Bound>,
        index: u32,
        handler: Arc<H>,
        number: u32,
        name: &'static CStr,
    ) -> Result<Self> {
        // SAFETY: The device is valid.
        let irq = unsafe { kbindings::pci_irq_vector(raw(pdev), index) };
        let irq = c_uint::try_from(irq)?;
        let cookie = KBox::new(Cookie { number, handler }, GFP_KERNEL)?;
        // SAFETY: The interrupt is the device's. The cookie does not move and is freed after
        // `free_irq`, which waits for the handler.
        to_result(unsafe {
            kbindings::request_threaded_irq(
                irq,
                Some(Cookie::<H>::interrupt),
                None,
                0,
                name.as_char_ptr(),
                ptr::from_ref(&*cookie).cast_mut().cast(),
            )
        })?;
        // INVARIANT: Just requested.
        Ok(Self { irq, cookie })
    }

    /// The interrupt's number.
    pub(crate) fn irq(&self) -> u32 {
        self.irq
    }
}

impl<H: Handler> Drop for Vector<H> {
    fn drop(&mut self) {
        let cookie = ptr::from_ref(&*self.cookie).cast_mut().cast();
        // SAFETY: By the type invariant; this waits for a handler that runs.
        unsafe { kbindings::free_irq(self.irq, cookie) };
    }
}

/// What a device writes to raise interrupt `irq`; `None` if that is no message.
pub(crate) fn message(irq: u32) -> Option<Message> {
    let (mut address, mut data) = (0, 0);
    // SAFETY: For any number.
    unsafe { bindings::rust_helper_irq_msi_message(irq, &mut address, &mut data) }
        .then_some(Message { address, data })
}
