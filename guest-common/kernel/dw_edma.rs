// SPDX-License-Identifier: GPL-2.0

//! Channels of the DMA controller inside a DesignWare PCIe endpoint, handed over to the RC.
//!
//! The RC drives such a channel through a BAR. The endpoint's own driver must leave it alone: nobody
//! here may use it, which holding it as a dmaengine client ensures, and nobody here may acknowledge
//! its interrupts. For the latter the driver has a mode (`DW_EDMA_CH_IRQ_REMOTE`, "a channel handed
//! over to the remote side"), yet nothing in Linux 7.3 that sets it. So this file looks into the
//! driver's own structures, as `drivers/dma/dw-edma/dw-edma-core.h` of the kernel that is built
//! against declares them.
//!
//! Stands on `dmaengine.rs` and on `bindings.rs` with the private headers `drivers/dma/virt-dma.h`
//! and `drivers/dma/dw-edma/dw-edma-core.h`.

use core::ptr::{self, NonNull};

use kernel::{
    device,
    prelude::*,
    time::{delay::fsleep, Delta, Instant, Monotonic},
};

use crate::{
    bindings::{
        self, dma_chan, dma_status_DMA_IN_PROGRESS, dw_edma_ch_irq_mode,
        dw_edma_ch_irq_mode_DW_EDMA_CH_IRQ_LOCAL, dw_edma_ch_irq_mode_DW_EDMA_CH_IRQ_REMOTE,
        dw_edma_chan, dw_edma_dir_EDMA_DIR_READ,
    },
    dmaengine::{Candidate, Channel, Direction},
};

/// How long a channel may take to finish what the RC has started.
const GRACE: Delta = Delta::from_millis(100);
/// How often to look.
const PAUSE: Delta = Delta::from_millis(1);

/// The controller's channel around a dmaengine channel.
///
/// # Safety
///
/// `chan` must be a channel that `dw_edma_probe()` has registered.
unsafe fn of(chan: NonNull<dma_chan>) -> Option<NonNull<dw_edma_chan>> {
    // SAFETY: Every channel of this driver is the `chan` in the `vc` of a `dw_edma_chan`.
    unsafe {
        let virt = kernel::container_of!(chan.as_ptr(), bindings::virt_dma_chan, chan);
        let edma = kernel::container_of!(virt, dw_edma_chan, vc);
        // The pointers that lead there and back again prove that headers and driver agree.
        let dw = NonNull::new((*edma).dw)?;
        let engine = &raw mut (*dw.as_ptr()).dma;
        ptr::eq(engine, (*chan.as_ptr()).device).then(|| NonNull::new(edma))?
    }
}

/// A read channel that the RC drives. Dropped, it has come to rest, and is the endpoint's again.
///
/// # Invariants
///
/// `edma` is the controller's channel of `_channel`.
pub(crate) struct Delegated {
    edma: NonNull<dw_edma_chan>,
    _channel: Channel,
}

// SAFETY: A channel belongs to no thread.
unsafe impl Send for Delegated {}
// SAFETY: There is nothing to do with it but to drop it.
unsafe impl Sync for Delegated {}

impl Delegated {
    /// Takes the read channel that the hardware counts as number `id`, from 0.
    ///
    /// Fails with `ENODEV` if there is none or if somebody has it.
    ///
    /// # Safety
    ///
    /// `controller` must be the device of a DesignWare endpoint controller, whose one DMA engine is
    /// that of `dw_edma_probe()`.
    pub(crate) unsafe fn request(controller: &device::Device, id: u32) -> Result<Self> {
        let suits = |candidate: &Candidate<'_>| {
            if !ptr::eq(candidate.engine(), controller) {
                return false;
            }
            let reads = candidate
                .capabilities()
                .is_some_and(|can| can.moves(Direction::DevToMem));
            // SAFETY: The controller's only engine is that of `dw_edma_probe()`.
            let edma = unsafe { of(candidate.as_raw()) };
            reads
                && edma.is_some_and(|edma| {
                    // SAFETY: A channel that is offered is valid, and its number never changes.
                    let (dir, number) = unsafe { ((*edma.as_ptr()).dir, (*edma.as_ptr()).id) };
                    dir == dw_edma_dir_EDMA_DIR_READ && u32::try_from(number) == Ok(id)
                })
        };
        let channel = Channel::request(suits)?;
        // SAFETY: As above.
        let edma = unsafe { of(channel.raw()) }.ok_or(ENODEV)?;
        // INVARIANT: Just looked up.
        let this = Self {
            edma,
            _channel: channel,
        };
        this.route(dw_edma_ch_irq_mode_DW_EDMA_CH_IRQ_REMOTE);
        Ok(this)
    }

    /// Says whose interrupts the channel's are.
    fn route(&self, mode: dw_edma_ch_irq_mode) {
        // SAFETY: The channel is valid as long as we hold it. The driver sets the mode when it sets
        // the channel up and never again; its handler reads it as one word.
        unsafe { ptr::write_volatile(&raw mut (*self.edma.as_ptr()).irq_mode, mode) };
    }

    /// Whether the channel moves something.
    fn busy(&self) -> bool {
        // SAFETY: The channel is valid; the operation reads a register of its own.
        unsafe {
            let core = (*(*self.edma.as_ptr()).dw).core;
            (*core)
                .ch_status
                .is_some_and(|status| status(self.edma.as_ptr()) == dma_status_DMA_IN_PROGRESS)
        }
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        // What the RC has started reads the RC's memory and descriptors in ours: let it end.
        let start = Instant::<Monotonic>::now();
        while self.busy() {
            if start.elapsed() >= GRACE {
                pr_warn!("a delegated DMA channel does not end: all read channels are stopped\n");
                // SAFETY: The channel is valid. This stops its whole direction, as the hardware
                // has it; the driver starts it again with its next transfer.
                unsafe {
                    let core = (*(*self.edma.as_ptr()).dw).core;
                    if let Some(quiesce) = (*core).ch_quiesce {
                        quiesce(self.edma.as_ptr());
                    }
                }
                break;
            }
            fsleep(PAUSE);
        }
        self.route(dw_edma_ch_irq_mode_DW_EDMA_CH_IRQ_LOCAL);
    }
}
