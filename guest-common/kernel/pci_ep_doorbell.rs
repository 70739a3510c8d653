// SPDX-License-Identifier: GPL-2.0

//! Doorbells of a PCI endpoint function: addresses that the RC writes to in order to interrupt the EP.
//!
//! C header: [`include/linux/pci-ep-msi.h`](srctree/include/linux/pci-ep-msi.h)
//!
//! Stands on `pci_epf.rs`, mounted beside it.

use core::ptr;

use kernel::{
    bindings as kbindings,
    dma::DmaAddress,
    error::to_result,
    prelude::*,
    sync::Arc, //
};

use crate::{
    bindings::{pci_epf_alloc_doorbell, pci_epf_doorbell_msg, pci_epf_free_doorbell},
    pci_epf::Attached,
    pci_epf_bar::BarNumber,
};

/// What happens when the RC rings.
pub(crate) trait Handler: Send + Sync + 'static {
    /// The doorbell `index` may have been rung. Runs in hard interrupt context.
    ///
    /// Doorbells that share an interrupt are all reported, whichever was rung.
    fn ring(&self, index: usize);
}

/// Where a doorbell is and what rings it.
#[derive(Clone, Copy)]
pub(crate) struct Doorbell {
    /// Where a write of the RC has to arrive.
    pub(crate) address: DmaAddress,
    /// What it has to write.
    pub(crate) data: u32,
    /// Where the RC sees it already, if the controller's hardware has put it into a BAR.
    pub(crate) exposed: Option<(BarNumber, usize)>,
}

/// The doorbells of a function.
///
/// # Invariants
///
/// The function has `count` doorbells, and nobody else frees them.
struct Allocated {
    at: Attached,
    count: u16,
}

impl Allocated {
    fn new(at: &Attached, count: u16) -> Result<Self> {
        if count == 0 {
            return Err(EINVAL);
        }
        // SAFETY: The function is valid and linked.
        to_result(unsafe { pci_epf_alloc_doorbell(at.epf(), count) })?;
        // INVARIANT: Just allocated.
        Ok(Self {
            at: at.clone(),
            count,
        })
    }

    /// What the C side keeps for each doorbell. Interrupts and flags are constant; a message is
    /// composed when its interrupt is requested.
    fn raw(&self) -> impl Iterator<Item = *const pci_epf_doorbell_msg> + '_ {
        // SAFETY: By the type invariant there are as many.
        let first = unsafe { (*self.at.epf()).db_msg };
        // SAFETY: As above.
        (0..usize::from(self.count)).map(move |i| unsafe { first.add(i) }.cast_const())
    }
}

impl Drop for Allocated {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; the interrupts have no handler of ours any more.
        unsafe { pci_epf_free_doorbell(self.at.epf()) };
    }
}

struct Cookie<H> {
    allocated: Allocated,
    /// The interrupt of each doorbell.
    virqs: KVec<c_uint>,
    handler: Arc<H>,
}

impl<H: Handler> Cookie<H> {
    extern "C" fn interrupt(irq: c_int, cookie: *mut c_void) -> kbindings::irqreturn_t {
        // SAFETY: `Listening` registered the handler with a cookie that outlives it.
        let this = unsafe { &*cookie.cast_const().cast::<Self>() };
        for (index, &virq) in this.virqs.iter().enumerate() {
            if Ok(irq) == c_int::try_from(virq) {
                this.handler.ring(index);
            }
        }
        // An embedded doorbell shares its line with the DMA controller and has no status that says
        // whose interrupt it was.
        kbindings::irqreturn::IRQ_HANDLED
    }
}

/// Doorbells with a handler. Dropped, no handler runs any more, and the doorbells are gone.
///
/// # Invariants
///
/// `requested` have our handler, with `cookie`.
pub(crate) struct Listening<H: Handler> {
    requested: KVec<c_uint>,
    cookie: KBox<Cookie<H>>,
    all: KVec<Doorbell>,
}

impl<H: Handler> Listening<H> {
    /// Allocates `count` doorbells, at least one, and lets `handler` hear them. `name` is what
    /// `/proc/interrupts` calls them.
    ///
    /// Some controllers have but one, which then stands for all.
    pub(crate) fn new(
        at: &Attached,
        count: u16,
        handler: Arc<H>,
        name: &'static CStr,
    ) -> Result<Self> {
        let allocated = Allocated::new(at, count)?;
        let mut virqs = KVec::with_capacity(count.into(), GFP_KERNEL)?;
        let mut flags = KVec::with_capacity(count.into(), GFP_KERNEL)?;
        for raw in allocated.raw() {
            // SAFETY: The C side allocated it and does not write to these fields any more.
            let (virq, flag) = unsafe { ((*raw).virq, (*raw).irq_flags) };
            virqs.push(c_uint::try_from(virq)?, GFP_KERNEL)?;
            flags.push(flag, GFP_KERNEL)?;
        }
        let cookie = Cookie {
            allocated,
            virqs,
            handler,
        };
        let mut this = Self {
            requested: KVec::new(),
            cookie: KBox::new(cookie, GFP_KERNEL)?,
            all: KVec::with_capacity(count.into(), GFP_KERNEL)?,
        };
        for (&virq, &flags) in this.cookie.virqs.iter().zip(&flags) {
            if this.requested.contains(&virq) {
                continue;
            }
            this.requested.reserve(1, GFP_KERNEL)?;
            // SAFETY: The interrupt is the function's. The cookie does not move and is freed after
            // `free_irq`, which waits for the handler.
            to_result(unsafe {
                kbindings::request_threaded_irq(
                    virq,
                    Some(Cookie::<H>::interrupt),
                    None,
                    flags,
                    name.as_char_ptr(),
                    ptr::from_ref(&*this.cookie).cast_mut().cast(),
                )
            })?;
            this.requested.push(virq, GFP_KERNEL)?;
        }
        for raw in this.cookie.allocated.raw() {
            // SAFETY: The interrupt was requested, so the message has been composed.
            let doorbell = unsafe { Doorbell::read(raw) }?;
            this.all.push(doorbell, GFP_KERNEL)?;
        }
        Ok(this)
    }

    /// All doorbells.
    pub(crate) fn all(&self) -> &[Doorbell] {
        &self.all
    }
}

impl<H: Handler> Drop for Listening<H> {
    fn drop(&mut self) {
        for &virq in &self.requested {
            let cookie = ptr::from_ref(&*self.cookie).cast_mut().cast();
            // SAFETY: By the type invariant; this waits for a handler that runs.
            unsafe { kbindings::free_irq(virq, cookie) };
        }
    }
}

impl Doorbell {
    /// # Safety
    ///
    /// `raw` must be valid, and its message composed.
    unsafe fn read(raw: *const pci_epf_doorbell_msg) -> Result<Self> {
        // SAFETY: By the caller's promise; both halves are plain words in either view of the unions.
        unsafe {
            let message = &(*raw).msg;
            let low = *message.__bindgen_anon_1.address_lo.as_ref();
            let high = *message.__bindgen_anon_2.address_hi.as_ref();
            let exposed = match BarNumber::try_from(i64::from((*raw).bar)) {
                Ok(bar) => Some((bar, usize::try_from((*raw).offset)?)),
                Err(_) => None,
            };
            Ok(Self {
                address: DmaAddress::from(high) << 32 | DmaAddress::from(low),
                data: *message.__bindgen_anon_3.data.as_ref(),
                exposed,
            })
        }
    }
}
