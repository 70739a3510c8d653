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
    bindings::{pci_epf_alloc_doorbell, pci_epf_free_doorbell},
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
    virq: c_uint,
    flags: c_ulong,
}

/// The doorbells of a function.
///
/// # Invariants
///
/// The function has doorbells, which are `all`, and nobody else frees them.
pub(crate) struct Doorbells {
    at: Attached,
    all: KVec<Doorbell>,
}

impl Doorbells {
    /// Allocates `count` doorbells, at least one.
    ///
    /// Some controllers have but one, which then stands for all.
    pub(crate) fn new(at: &Attached, count: u16) -> Result<Self> {
        if count == 0 {
            return Err(EINVAL);
        }
        let mut all = KVec::with_capacity(count.into(), GFP_KERNEL)?;
        // SAFETY: The function is valid and linked.
        to_result(unsafe { pci_epf_alloc_doorbell(at.epf(), count) })?;
        // INVARIANT: Just allocated; the list follows below, and dropping frees.
        let mut this = Self {
            at: at.clone(),
            all: KVec::new(),
        };
        for i in 0..usize::from(count) {
            // SAFETY: The C side allocated `count` messages and does not write them any more.
            let message = unsafe { &*(*at.epf()).db_msg.add(i) };
            // SAFETY: Every message has been composed; both halves are plain words in either view
            // of the unions.
            let (low, high) = unsafe {
                (
                    *message.msg.__bindgen_anon_1.address_lo.as_ref(),
                    *message.msg.__bindgen_anon_2.address_hi.as_ref(),
                )
            };
            let exposed = match BarNumber::try_from(i64::from(message.bar)) {
                Ok(bar) => Some((bar, usize::try_from(message.offset)?)),
                Err(_) => None,
            };
            let doorbell = Doorbell {
                address: DmaAddress::from(high) << 32 | DmaAddress::from(low),
                // SAFETY: As above.
                data: unsafe { *message.msg.__bindgen_anon_3.data.as_ref() },
                exposed,
                virq: c_uint::try_from(message.virq)?,
                flags: message.irq_flags,
            };
            all.push(doorbell, GFP_KERNEL)?;
        }
        this.all = all;
        Ok(this)
    }

    /// All doorbells.
    pub(crate) fn all(&self) -> &[Doorbell] {
        &self.all
    }

    /// Lets `handler` hear the doorbells. `name` is what `/proc/interrupts` calls them.
    pub(crate) fn listen<H: Handler>(
        self,
        handler: Arc<H>,
        name: &'static CStr,
    ) -> Result<Listening<H>> {
        let cookie = KBox::new(
            Cookie {
                doorbells: self,
                handler,
            },
            GFP_KERNEL,
        )?;
        let mut this = Listening {
            virqs: KVec::new(),
            cookie,
        };
        for doorbell in this.cookie.doorbells.all() {
            if this.virqs.contains(&doorbell.virq) {
                continue;
            }
            this.virqs.reserve(1, GFP_KERNEL)?;
            // SAFETY: The interrupt is the function's. The cookie does not move and is freed after
            // `free_irq`, which waits for the handler.
            to_result(unsafe {
                kbindings::request_threaded_irq(
                    doorbell.virq,
                    Some(Cookie::<H>::interrupt),
                    None,
                    doorbell.flags,
                    name.as_char_ptr(),
                    ptr::from_ref(&*this.cookie).cast_mut().cast(),
                )
            })?;
            this.virqs.push(doorbell.virq, GFP_KERNEL)?;
        }
        Ok(this)
    }
}

impl Drop for Doorbells {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; the interrupts have no handler of ours any more.
        unsafe { pci_epf_free_doorbell(self.at.epf()) };
    }
}

struct Cookie<H> {
    doorbells: Doorbells,
    handler: Arc<H>,
}

impl<H: Handler> Cookie<H> {
    extern "C" fn interrupt(irq: c_int, cookie: *mut c_void) -> kbindings::irqreturn_t {
        // SAFETY: `listen` registered the handler with a cookie that outlives it.
        let this = unsafe { &*cookie.cast_const().cast::<Self>() };
        for (index, doorbell) in this.doorbells.all.iter().enumerate() {
            if Ok(irq) == c_int::try_from(doorbell.virq) {
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
/// `virqs` have our handler, with `cookie`.
pub(crate) struct Listening<H: Handler> {
    virqs: KVec<c_uint>,
    cookie: KBox<Cookie<H>>,
}

impl<H: Handler> Drop for Listening<H> {
    fn drop(&mut self) {
        for &virq in &self.virqs {
            let cookie = ptr::from_ref(&*self.cookie).cast_mut().cast();
            // SAFETY: By the type invariant; this waits for a handler that runs.
            unsafe { kbindings::free_irq(virq, cookie) };
        }
    }
}
