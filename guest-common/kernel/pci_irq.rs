// SPDX-License-Identifier: GPL-2.0

//! Interrupt vectors of a PCI device, with one handler for all that knows which it was.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)
//!
//! Everything here is counted and not borrowed, so a driver keeps it where it likes.

use core::ptr;

use kernel::{
    bindings,
    device::Bound,
    error::to_result,
    pci,
    prelude::*,
    sync::{aref::ARef, Arc},
};

/// What happens when a vector fires.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Vector `vector` has fired. Runs in hard interrupt context.
    fn interrupt(&self, vector: u32);
}

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
        let mut this = Listening {
            requested: KVec::new(),
            vectors: self,
        };
        for vector in 0..used.min(this.vectors.count) {
            this.requested.reserve(1, GFP_KERNEL)?;
            // SAFETY: The device is valid and has that vector.
            let irq = unsafe { bindings::pci_irq_vector(raw(&this.vectors.pdev), vector) };
            let irq = c_uint::try_from(irq)?;
            let cookie = Cookie {
                vector,
                irq,
                handler: handler.clone(),
            };
            let cookie = KBox::new(cookie, GFP_KERNEL)?;
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
            this.requested.push(cookie, GFP_KERNEL)?;
        }
        Ok(this)
    }
}

impl Drop for Vectors {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; no vector has a handler of ours any more.
        unsafe { bindings::pci_free_irq_vectors(raw(&self.pdev)) };
    }
}

/// The `struct pci_dev` behind a device, which `pci::Device` keeps to itself.
fn raw<Ctx: kernel::device::DeviceContext>(pdev: &pci::Device<Ctx>) -> *mut bindings::pci_dev {
    // CAST: `pci::Device` is a `#[repr(transparent)]` wrapper of `struct pci_dev`.
    ptr::from_ref(pdev).cast_mut().cast()
}

struct Cookie<H> {
    vector: u32,
    irq: c_uint,
    handler: Arc<H>,
}

impl<H: Handler> Cookie<H> {
    extern "C" fn interrupt(_irq: c_int, cookie: *mut c_void) -> bindings::irqreturn_t {
        // SAFETY: `listen` registered the handler with a cookie that outlives it.
        let this = unsafe { &*cookie.cast_const().cast::<Self>() };
        this.handler.interrupt(this.vector);
        bindings::irqreturn::IRQ_HANDLED
    }
}

/// Vectors with a handler. Dropped, no handler runs any more, and the vectors are freed.
///
/// # Invariants
///
/// Each cookie's interrupt has our handler, with that cookie.
pub(crate) struct Listening<H: Handler> {
    requested: KVec<KBox<Cookie<H>>>,
    vectors: Vectors,
}

impl<H: Handler> Drop for Listening<H> {
    fn drop(&mut self) {
        for cookie in &self.requested {
            let dev_id = ptr::from_ref(&**cookie).cast_mut().cast();
            // SAFETY: By the type invariant; this waits for a handler that runs.
            unsafe { bindings::free_irq(cookie.irq, dev_id) };
        }
    }
}
