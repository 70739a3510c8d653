// SPDX-License-Identifier: GPL-2.0

//! An interrupt vector of a PCI function with a handler of ours, whoever allocated it.
//!
//! C headers: [`include/linux/pci.h`](srctree/include/linux/pci.h),
//! [`include/linux/interrupt.h`](srctree/include/linux/interrupt.h)
//!
//! A module mounts this file as `mod pci_vector`.

use core::ptr;

use kernel::{bindings, device::DeviceContext, error::to_result, pci, prelude::*, sync::Arc};

/// The `struct pci_dev` behind a device, which `pci::Device` keeps to itself.
pub(crate) fn raw<Ctx: DeviceContext>(pdev: &pci::Device<Ctx>) -> *mut bindings::pci_dev {
    // CAST: `pci::Device` is a `#[repr(transparent)]` wrapper of `struct pci_dev`.
    ptr::from_ref(pdev).cast_mut().cast()
}

/// What happens when a vector fires.
pub(crate) trait Handler: Send + Sync + 'static {
    /// The vector has fired that was requested with this number. Runs in hard interrupt context.
    fn interrupt(&self, number: u32);
}

struct Cookie<H> {
    number: u32,
    handler: Arc<H>,
}

impl<H: Handler> Cookie<H> {
    extern "C" fn interrupt(_irq: c_int, cookie: *mut c_void) -> bindings::irqreturn_t {
        // SAFETY: The handler was requested with a cookie that outlives it.
        let this = unsafe { &*cookie.cast_const().cast::<Self>() };
        this.handler.interrupt(this.number);
        bindings::irqreturn::IRQ_HANDLED
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
    ///
    /// # Safety
    ///
    /// The value must be dropped, so not leaked, before whoever allocated the vector frees it.
    pub(crate) unsafe fn request(
        pdev: &pci::Device<impl DeviceContext>,
        index: u32,
        handler: Arc<H>,
        number: u32,
        name: &'static CStr,
    ) -> Result<Self> {
        // SAFETY: The device is valid.
        let irq = unsafe { bindings::pci_irq_vector(raw(pdev), index) };
        let irq = c_uint::try_from(irq)?;
        let cookie = KBox::new(Cookie { number, handler }, GFP_KERNEL)?;
        // SAFETY: The interrupt is the device's. The cookie does not move and is freed after
        // `free_irq`, which waits for the handler.
        to_result(unsafe {
            bindings::request_threaded_irq(
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
    #[allow(dead_code)] // few care for it
    pub(crate) fn irq(&self) -> u32 {
        self.irq
    }
}

impl<H: Handler> Drop for Vector<H> {
    fn drop(&mut self) {
        let cookie = ptr::from_ref(&*self.cookie).cast_mut().cast();
        // SAFETY: By the type invariant; this waits for a handler that runs.
        unsafe { bindings::free_irq(self.irq, cookie) };
    }
}
