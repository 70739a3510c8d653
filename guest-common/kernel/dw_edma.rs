// SPDX-License-Identifier: GPL-2.0

//! Channels of the DMA controller inside a DesignWare PCIe endpoint, handed over to the RC.
//!
//! The RC drives such a channel through a BAR. The endpoint's own driver must leave it alone: nobody
//! here may use it, which holding it as a dmaengine client ensures, and nobody here may acknowledge
//! its interrupts but as its [`Routing`] says. For the latter the driver has a mode
//! (`DW_EDMA_CH_IRQ_REMOTE`, "a channel handed over to the remote side"), yet nothing in Linux 7.3 that
//! sets it. So this file looks into the driver's own structures, as
//! `drivers/dma/dw-edma/dw-edma-core.h` of the kernel that is built against declares them.
//!
//! * [`Delegated`]: a channel, held and routed.
//! * [`Channels`]: all of an export, and who is told of those that only notify.
//!
//! Stands on `dmaengine.rs`, on `bindings.rs` with the helpers `raw_spinlock` and the private headers
//! `drivers/dma/virt-dma.h` and `drivers/dma/dw-edma/dw-edma-core.h`, and on `abi::{edma, vntb}`.

use core::ptr::{self, NonNull};

use kernel::{
    bindings as kbindings,
    device::{self, Bound},
    error::to_result,
    prelude::*,
    time::{delay::fsleep, Delta, Instant, Monotonic},
};

use crate::{
    bindings::{
        self, dma_chan, dma_status_DMA_IN_PROGRESS, dw_edma, dw_edma_ch_irq_mode,
        dw_edma_ch_irq_mode_DW_EDMA_CH_IRQ_LOCAL, dw_edma_ch_irq_mode_DW_EDMA_CH_IRQ_REMOTE,
        dw_edma_chan, dw_edma_dir_EDMA_DIR_READ, dw_edma_map_format_EDMA_MF_EDMA_UNROLL,
    },
    dmaengine::{Candidate, Channel, Direction},
    edma::{ABORT, DONE, DOORBELL_CHANNEL, DOORBELL_STOP, READ},
    vntb::routing::Routing,
};

/// How long a channel may take to finish what the RC has started, and then to stop.
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
/// `edma` is the controller's channel of `_channel`, a read channel, and `id` is its number. The
/// controller's registers are those of v0.
pub(crate) struct Delegated {
    edma: NonNull<dw_edma_chan>,
    id: u32,
    routing: Routing,
    _channel: Channel,
}

// SAFETY: A channel belongs to no thread.
unsafe impl Send for Delegated {}
// SAFETY: What can be done with a shared one is reading and writing registers.
unsafe impl Sync for Delegated {}

impl Delegated {
    /// Takes the read channel that the hardware counts as number `id`, from 0. One that is routed to
    /// the endpoint alone interrupts once it is among [`Channels`].
    ///
    /// Fails with `ENODEV` if there is none or if somebody has it, and with `EOPNOTSUPP` if the engine's
    /// registers are not those of v0, unrolled.
    ///
    /// # Safety
    ///
    /// `controller` must be the device of a DesignWare endpoint controller, whose one DMA engine is
    /// that of `dw_edma_probe()`, and must stay bound as long as the channel is held.
    pub(crate) unsafe fn request(
        controller: &device::Device<Bound>,
        id: u32,
        routing: Routing,
    ) -> Result<Self> {
        let suits = |candidate: &Candidate<'_>| {
            if !ptr::eq(candidate.engine(), &**controller) {
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
        // SAFETY: The engine's driver is the controller's, which stays bound.
        let channel = unsafe { Channel::request_of_bound(suits) }?;
        // SAFETY: As above.
        let edma = unsafe { of(channel.raw()) }.ok_or(ENODEV)?;
        // SAFETY: The channel is ours; an engine has a chip, whose register map never changes.
        let map = unsafe { (*(*(*edma.as_ptr()).dw).chip).mf };
        if map != dw_edma_map_format_EDMA_MF_EDMA_UNROLL {
            dev_err!(
                controller,
                "the DMA controller's register map {} cannot be delegated\n",
                map
            );
            return Err(EOPNOTSUPP);
        }
        // INVARIANT: Just looked up, by this number, with this map.
        let this = Self {
            edma,
            id,
            routing,
            _channel: channel,
        };
        this.set_mode(match routing {
            Routing::Default => dw_edma_ch_irq_mode_DW_EDMA_CH_IRQ_LOCAL,
            // The driver's handler leaves it to the RC, or to ours.
            Routing::Remote | Routing::Local => dw_edma_ch_irq_mode_DW_EDMA_CH_IRQ_REMOTE,
        });
        this.acknowledge(this.bits());
        this.open(routing == Routing::Default);
        Ok(this)
    }

    /// The channel's done and abort bits in status, mask and clear.
    fn bits(&self) -> u32 {
        DONE.place(1 << self.id) | ABORT.place(1 << self.id)
    }

    /// Tells the driver whether the channel's interrupts are its own.
    fn set_mode(&self, mode: dw_edma_ch_irq_mode) {
        // SAFETY: The channel is valid as long as we hold it. The driver sets the mode when it sets
        // the channel up and never again; its handler reads it as one word.
        unsafe { ptr::write_volatile(&raw mut (*self.edma.as_ptr()).irq_mode, mode) };
    }

    fn engine(&self) -> *mut dw_edma {
        // SAFETY: The channel is valid, and so is its engine; this never changes.
        unsafe { (*self.edma.as_ptr()).dw }
    }

    fn register(&self, offset: u32) -> *mut c_void {
        // SAFETY: An engine has a chip, and that its registers, mapped as long as it is there.
        unsafe {
            let base = (*(*self.engine()).chip).reg_base;
            base.cast::<u8>().add(offset as usize).cast()
        }
    }

    fn read(&self, offset: u32) -> u32 {
        // SAFETY: `register` gives a mapped one; reading those that are named here has no effect.
        unsafe { kbindings::readl(self.register(offset)) }
    }

    fn write(&self, offset: u32, value: u32) {
        // SAFETY: `register` gives a mapped one. Nothing that is written here moves data.
        unsafe { kbindings::writel(value, self.register(offset)) };
    }

    /// Lets the channel raise the interrupt line, or not. The driver has the same register to change,
    /// and a lock for it.
    fn open(&self, open: bool) {
        // SAFETY: The engine is valid, and its lock is initialised.
        unsafe {
            let lock = &raw mut (*self.engine()).lock;
            let flags = bindings::rust_helper_raw_spin_lock_irqsave(lock);
            let mask = self.read(READ.int_mask);
            let mask = match open {
                true => mask & !self.bits(),
                false => mask | self.bits(),
            };
            self.write(READ.int_mask, mask);
            bindings::rust_helper_raw_spin_unlock_irqrestore(lock, flags);
        }
    }

    /// Clears status bits; others stay as they are.
    fn acknowledge(&self, bits: u32) {
        self.write(READ.int_clear, bits);
    }

    /// Rings the doorbell that the controller emulates. Whatever is written to clear status ends it,
    /// too, and it may have been rung after the driver's handler has looked for it: so that handler
    /// does it after its own writes (`dw_edma_interrupt_emulated`). For handlers of the line only.
    fn ring_doorbell(&self) {
        // SAFETY: Engine and chip are valid.
        let irq = unsafe { (*(*self.engine()).chip).db_irq };
        match c_uint::try_from(irq) {
            Ok(irq) if irq > 0 => {
                // SAFETY: The interrupt is the engine's, and we are in the handler of its parent. It
                // fails if nobody listens.
                unsafe { bindings::generic_handle_irq(irq) };
            }
            _ => {}
        }
    }

    /// Whether the channel moves something.
    fn busy(&self) -> bool {
        // SAFETY: The channel is valid; the operation reads a register of its own.
        unsafe {
            let core = (*self.engine()).core;
            (*core)
                .ch_status
                .is_some_and(|status| status(self.edma.as_ptr()) == dma_status_DMA_IN_PROGRESS)
        }
    }

    /// Whether the channel comes to rest within [`GRACE`].
    fn rests(&self) -> bool {
        let start = Instant::<Monotonic>::now();
        while self.busy() {
            if start.elapsed() >= GRACE {
                return false;
            }
            fsleep(PAUSE);
        }
        true
    }

    /// Ends what the RC has started: it reads the RC's memory, and descriptors in ours.
    fn settle(&self) {
        if self.rests() {
            return;
        }
        pr_warn!("delegated DMA channel {}: stopped in a transfer\n", self.id);
        self.write(
            READ.doorbell,
            DOORBELL_STOP.mask() | DOORBELL_CHANNEL.place(self.id),
        );
        if self.rests() {
            return;
        }
        pr_err!(
            "delegated DMA channel {} does not stop: all read channels are switched off\n",
            self.id
        );
        // SAFETY: The channel is valid. This stops its whole direction, as the hardware has it; the
        // driver starts it again with its next transfer.
        unsafe {
            let core = (*self.engine()).core;
            if let Some(quiesce) = (*core).ch_quiesce {
                quiesce(self.edma.as_ptr());
            }
        }
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        self.open(false);
        self.settle();
        self.acknowledge(self.bits());
        self.set_mode(dw_edma_ch_irq_mode_DW_EDMA_CH_IRQ_LOCAL);
    }
}

/// How a transfer of the RC ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All of it was moved.
    Done,
    /// It was not.
    Aborted,
}

/// Who is told of transfers on channels that only notify.
pub(crate) trait Listener: Send + Sync + 'static {
    /// Transfers of channel `id` have ended since the last call: at least one, since there is but one
    /// status bit for all. Runs in hard interrupt context.
    fn notified(&self, id: u32, end: End);
}

/// Delegated channels, and who listens to those that are routed to the endpoint alone. Dropped,
/// nobody is told any more, and the channels are the endpoint's again.
///
/// # Invariants
///
/// `line`, if there is one, has our handler, with `cookie`.
pub(crate) struct Channels<L: Listener> {
    line: Option<c_uint>,
    cookie: KBox<Cookie<L>>,
}

struct Cookie<L> {
    channels: KVec<Delegated>,
    listener: L,
}

impl<L: Listener> Channels<L> {
    /// Lets `listener` hear what the channels notify. They are all of one controller. `name` is what
    /// `/proc/interrupts` calls the handler.
    ///
    /// Fails with `EOPNOTSUPP` if there is one to hear and the controller has more than one interrupt.
    pub(crate) fn new(channels: KVec<Delegated>, listener: L, name: &'static CStr) -> Result<Self> {
        let cookie = KBox::new(Cookie { channels, listener }, GFP_KERNEL)?;
        let mut this = Self { line: None, cookie };
        let Some(first) = this.cookie.notifying().next() else {
            return Ok(this);
        };
        // SAFETY: Engine and chip are valid; the operation tells an interrupt's number.
        let line = unsafe {
            let dw = first.engine();
            let chip = (*dw).chip;
            match (*(*chip).ops).irq_vector {
                Some(vector) if (*dw).nr_irqs == 1 => vector((*chip).dev, 0),
                _ => return Err(EOPNOTSUPP),
            }
        };
        let line = c_uint::try_from(line)?;
        // SAFETY: The interrupt is the controller's and shared by those who know its channels. The
        // cookie does not move and is freed after `free_irq`, which waits for the handler.
        to_result(unsafe {
            kbindings::request_threaded_irq(
                line,
                Some(Cookie::<L>::interrupt),
                None,
                kbindings::IRQF_SHARED as c_ulong,
                name.as_char_ptr(),
                ptr::from_ref(&*this.cookie).cast_mut().cast(),
            )
        })?;
        // INVARIANT: Just requested.
        this.line = Some(line);
        for channel in this.cookie.notifying() {
            channel.open(true);
        }
        Ok(this)
    }
}

impl<L: Listener> Cookie<L> {
    /// The channels that interrupt nobody but us.
    fn notifying(&self) -> impl Iterator<Item = &Delegated> {
        let all = self.channels.iter();
        all.filter(|channel| channel.routing == Routing::Local)
    }

    extern "C" fn interrupt(_irq: c_int, cookie: *mut c_void) -> kbindings::irqreturn_t {
        // SAFETY: `new` registered the handler with a cookie that outlives it.
        let this = unsafe { &*cookie.cast_const().cast::<Self>() };
        let Some(first) = this.notifying().next() else {
            return kbindings::irqreturn::IRQ_NONE;
        };
        let ours = this.notifying().fold(0, |bits, one| bits | one.bits());
        // The whole status, of which only what was seen is cleared: what comes later interrupts again.
        let status = first.read(READ.int_status) & ours;
        if status == 0 {
            return kbindings::irqreturn::IRQ_NONE;
        }
        first.acknowledge(status);
        first.ring_doorbell();
        for channel in this.notifying() {
            let has = |all: u32| all & 1 << channel.id != 0;
            if has(DONE.get(status)) {
                this.listener.notified(channel.id, End::Done);
            }
            if has(ABORT.get(status)) {
                this.listener.notified(channel.id, End::Aborted);
            }
        }
        kbindings::irqreturn::IRQ_HANDLED
    }
}

impl<L: Listener> Drop for Channels<L> {
    fn drop(&mut self) {
        for channel in self.cookie.notifying() {
            channel.open(false);
        }
        if let Some(line) = self.line {
            let cookie = ptr::from_ref(&*self.cookie).cast_mut().cast();
            // SAFETY: By the type invariant; this waits for a handler that runs.
            unsafe { kbindings::free_irq(line, cookie) };
        }
    }
}
