// SPDX-License-Identifier: GPL-2.0

//! The bridge at work: it serves the RC's commands and the NTB core's operations.

use kernel::{
    bindings, device,
    dma::DmaAddress,
    impl_has_delayed_work, impl_has_work,
    prelude::*,
    sync::{
        atomic::{AtomicFlag, Relaxed},
        Arc, ArcBorrow, Mutex, SetOnce,
    },
    time::msecs_to_jiffies,
    workqueue::{self, DelayedWork, WorkItem},
};

use crate::{
    inbound::Inbound,
    layout::{self, Layout},
    notified::Export,
    ntb::{self, Bits, MwAlign, Port},
    pci_ep_doorbell,
    pci_epc::Outbound,
    pci_epf::Attached,
    pci_epf_bar::{Bar, BarNumber, Memory},
    vntb::{
        control::{self, Command, Control, Status, WORD},
        irq,
    },
    work::{self, OwnQueue},
};

/// Alignment of what a memory window leads to.
const MW_ALIGN: u64 = 0x1000;
/// How often the peer's doorbells are looked at in one go, so that a storm of them cannot keep a
/// worker for good.
const RING_BUDGET: usize = 5;

/// A memory window, in both directions.
struct Mw {
    /// The RC's way to the EP's memory.
    inbound: Pin<KBox<Mutex<Inbound>>>,
    /// The EP's way to the RC's memory.
    outbound: Pin<KBox<Outbound>>,
}

/// All memory windows, and a BAR of exported DMA channels where these have one of their own.
pub(crate) struct Windows {
    mws: KVec<Mw>,
    dma: Option<Pin<KBox<Mutex<Inbound>>>>,
}

impl Windows {
    /// Sets the windows of a layout up. They lead nowhere yet.
    pub(crate) fn new(
        function: &Attached,
        layout: &Layout,
        export: Option<&Export>,
    ) -> Result<Self> {
        let inbound = |bar: BarNumber, size| -> Result<_> {
            let mut slice = KVec::new();
            let here = layout.dma.is_some_and(|dma| dma.bar == bar);
            for range in export.filter(|_| here).iter().flat_map(|e| e.sub_ranges()) {
                slice.push(range, GFP_KERNEL)?;
            }
            let inbound = Inbound::new(function, bar, size, slice)
                .inspect_err(|_| dev_err!(function, "BAR {} cannot be set\n", u32::from(bar)))?;
            KBox::pin_init(kernel::new_mutex!(inbound), GFP_KERNEL)
        };
        let mut mws = KVec::with_capacity(layout.mws().len(), GFP_KERNEL)?;
        for &layout::Mw { bar, size } in layout.mws() {
            let mw = Mw {
                inbound: inbound(bar, size)?,
                outbound: Outbound::new(function, size).inspect_err(|_| {
                    dev_err!(
                        function,
                        "the outbound window has no {:#x} bytes left\n",
                        size
                    )
                })?,
            };
            mws.push(mw, GFP_KERNEL)?;
        }
        let own = layout
            .dma
            .filter(|dma| layout.mws().iter().all(|mw| mw.bar != dma.bar));
        let dma = match own {
            Some(dma) => Some(inbound(dma.bar, 0)?),
            None => None,
        };
        Ok(Self { mws, dma })
    }

    /// The BARs that memory windows and exported channels are in.
    fn inbound(&self) -> impl Iterator<Item = &Mutex<Inbound>> {
        let mws = self.mws.iter().map(|mw| &*mw.inbound);
        Iterator::chain(mws, self.dma.as_deref())
    }
}

/// A virtual NTB whose function is linked to a controller.
#[pin_data]
pub(crate) struct Bridge {
    #[pin]
    port: Port<Self>,
    function: Attached,
    control: Bar,
    /// The RC's doorbells as words of this BAR, which are not 0 when they were rung; empty if somebody
    /// calls [`pci_ep_doorbell::Handler::ring`].
    polled: SetOnce<Bar>,
    windows: Windows,
    slots: u32,
    spads: u32,
    spad_offset: u32,
    link_up: AtomicFlag,
    /// Doorbells that the RC has rung.
    rung: Bits,
    /// Doorbells of the RC that are to be rung.
    to_ring: Bits,
    queue: OwnQueue,
    #[pin]
    commands: DelayedWork<Self, 0>,
    #[pin]
    ringing: workqueue::Work<Self, 1>,
}

ntb::impl_has_port! { impl HasPort for Bridge { self.port } }
impl_has_delayed_work! { impl HasDelayedWork<Self, 0> for Bridge { self.commands } }
impl_has_work! { impl HasWork<Self, 1> for Bridge { self.ringing } }

impl Bridge {
    /// A bridge that nobody uses yet. `control` has memory behind it.
    pub(crate) fn new(
        function: &Attached,
        layout: &Layout,
        control: Bar,
        windows: Windows,
    ) -> Result<Arc<Self>> {
        let spad_offset = layout.control().spad_offset;
        Arc::pin_init(
            try_pin_init!(Self {
                port <- Port::new(),
                function: function.clone(),
                control,
                polled: SetOnce::new(),
                windows,
                slots: layout.slots.into(),
                spads: layout.spads,
                spad_offset,
                link_up: AtomicFlag::new(false),
                rung: Bits::new(),
                to_ring: Bits::new(),
                queue: OwnQueue::new(c"kpcintb")?,
                commands <- workqueue::new_delayed_work!("vntb_commands"),
                ringing <- workqueue::new_work!("vntb_ringing"),
            }),
            GFP_KERNEL,
        )
    }

    /// Has the bridge look for the RC's doorbells in `bar`, where no interrupt tells of them. Only the
    /// first call counts.
    pub(crate) fn poll_in(&self, bar: Bar) {
        self.polled.populate(bar);
    }

    /// Shows the RC what the bridge consists of.
    pub(crate) fn publish(&self, control: &Control) {
        if let Some(memory) = self.memory() {
            control.store(|offset, value| memory.write32(offset, value));
        }
    }

    fn memory(&self) -> Option<&Memory> {
        self.control.memory()
    }

    fn mw(&self, index: usize) -> Result<&Mw> {
        self.windows.mws.get(index).ok_or(EINVAL)
    }

    /// Number of real doorbells.
    fn doorbells(&self) -> u32 {
        self.slots.saturating_sub(irq::FIRST_DOORBELL)
    }

    /// The RC has rung `slot`.
    fn rung(&self, slot: u32) {
        // A bridge that is not on its bus yet has nobody who could clear its doorbells.
        if !self.port.is_registered() || slot >= self.slots {
            return;
        }
        if let Some(bit) = slot.checked_sub(irq::FIRST_DOORBELL) {
            self.rung.set(1 << bit);
            self.port.db_event(bit);
        }
    }

    /// Looks for doorbells where there is no interrupt.
    fn poll_doorbells(&self) {
        let Some(memory) = self.polled.as_ref().and_then(Bar::memory) else {
            return;
        };
        for slot in irq::FIRST_DOORBELL..self.slots {
            if memory.read32(slot * WORD) != 0 {
                self.rung(slot);
                memory.write32(slot * WORD, 0);
            }
        }
    }

    /// Does what the RC wants, if it wants something.
    fn poll_command(&self) {
        let Some(memory) = self.memory() else { return };
        let command = memory.read32(control::COMMAND);
        if command == 0 {
            return;
        }
        let argument = memory.read32(control::ARGUMENT);
        // The RC takes what it finds once the command is taken for the answer, so none may be there
        // that belongs to an earlier one.
        memory.write16(control::COMMAND_STATUS, 0);
        memory.write32(control::ARGUMENT, 0);
        memory.write32(control::COMMAND, 0);

        let outcome = match Command::from_raw(command) {
            Some(Command::ConfigureDoorbell | Command::TeardownDoorbell) => {
                self.forget_driver(memory);
                Ok(())
            }
            Some(Command::ConfigureMw) => self.configure_mw(memory, argument),
            Some(Command::TeardownMw) => self.teardown_mw(argument),
            Some(Command::LinkUp) => self.activate().map(|()| self.link(memory, true)),
            Some(Command::LinkDown) => {
                self.link(memory, false);
                Ok(())
            }
            None => {
                dev_err!(self.function, "UNKNOWN command: {}\n", command);
                Err(EINVAL)
            }
        };
        let status = match outcome {
            Ok(()) => Status::Ok,
            Err(_) => Status::Error,
        };
        memory.write16(control::COMMAND_STATUS, status as u16);
    }

    fn configure_mw(&self, memory: &Memory, index: u32) -> Result {
        let wide = |offset| {
            let low = u64::from(memory.read32(offset));
            u64::from(memory.read32(offset + WORD)) << 32 | low
        };
        let (address, size) = (wide(control::ADDR), wide(control::SIZE));
        let map = || {
            self.activate()?;
            self.mw(index as usize)?.outbound.map(address, size)
        };
        map().inspect_err(|_| {
            dev_err!(
                self.function,
                "Failed to map memory window {} to {:#x}+{:#x}\n",
                index,
                address,
                size
            )
        })
    }

    /// The RC's driver is at work, so BARs have their addresses.
    fn activate(&self) -> Result {
        self.windows
            .inbound()
            .try_for_each(|one| one.lock().activate())
    }

    /// A driver of the RC comes or goes. The one before it, which may have gone without a word, as in
    /// a reset, has no buffers any more, no link, and nobody to ring.
    fn forget_driver(&self, memory: &Memory) {
        self.windows
            .inbound()
            .for_each(|one| one.lock().stage_again());
        self.windows.mws.iter().for_each(|mw| mw.outbound.unmap());
        self.to_ring.take();
        if self.link_up.load(Relaxed) {
            self.link(memory, false);
        }
    }

    fn teardown_mw(&self, index: u32) -> Result {
        self.mw(index as usize)?.outbound.unmap();
        Ok(())
    }

    fn link(&self, memory: &Memory, up: bool) {
        self.link_up.store(up, Relaxed);
        let status = if up { control::LINK_UP } else { 0 };
        memory.write16(control::LINK_STATUS, status);
        self.port.link_event();
    }

    /// Where scratchpad `index` is; the RC's own come first.
    fn spad(&self, rc: bool, index: usize) -> Option<u32> {
        let index = u32::try_from(index).ok().filter(|i| *i < self.spads)?;
        let first = if rc { 0 } else { self.spads };
        Some(self.spad_offset + (first + index) * WORD)
    }

    fn read_spad(&self, rc: bool, index: usize) -> u32 {
        match (self.memory(), self.spad(rc, index)) {
            (Some(memory), Some(offset)) => memory.read32(offset),
            _ => !0,
        }
    }

    fn write_spad(&self, rc: bool, index: usize, value: u32) -> Result {
        let offset = self.spad(rc, index).ok_or(EINVAL)?;
        self.memory().ok_or(EINVAL)?.write32(offset, value);
        Ok(())
    }
}

impl pci_ep_doorbell::Handler for Bridge {
    fn ring(&self, index: usize) {
        if let Ok(slot) = u32::try_from(index) {
            self.rung(slot);
        }
    }
}

/// Looks for commands, again and again.
impl WorkItem<0> for Bridge {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.poll_doorbells();
        this.poll_command();
        let pause = match this.polled.as_ref() {
            None => control::POLL_MS,
            Some(_) => control::DOORBELL_POLL_MS,
        };
        let again = this.clone();
        // Fails if the work was disabled meanwhile.
        let _ = this
            .queue
            .enqueue_delayed::<_, 0>(again, msecs_to_jiffies(pause));
    }
}

/// Rings the RC, which may sleep.
impl WorkItem<1> for Bridge {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        for _ in 0..RING_BUDGET {
            let mut bits = this.to_ring.take();
            if bits == 0 {
                return;
            }
            while bits != 0 {
                let bit = bits.trailing_zeros();
                bits &= bits - 1;
                // CAST: 63 and a few more.
                let vector = (bit + irq::FIRST_DOORBELL) as u16;
                if let Err(error) = this.function.raise_msi(vector) {
                    dev_err!(
                        this.function,
                        "Failed to raise IRQ for interrupt_num {}: {:?}\n",
                        vector + 1,
                        error
                    );
                }
            }
        }
        if this.to_ring.read() != 0 {
            let again = this.clone();
            let _ = this.queue.enqueue::<_, 1>(again);
        }
    }
}

/// The bridge's work. Dropped, none is queued and none runs.
pub(crate) struct Work(Arc<Bridge>);

impl Work {
    /// Work that has not started.
    pub(crate) fn new(bridge: Arc<Bridge>) -> Self {
        Self(bridge)
    }

    /// Starts to look for commands.
    pub(crate) fn start(&self) {
        let _ = self.0.queue.enqueue_delayed::<_, 0>(self.0.clone(), 0);
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        work::disable_delayed_sync::<_, 0>(&self.0);
        work::disable_sync::<_, 1>(&self.0);
    }
}

impl ntb::Operations for Bridge {
    fn link_is_up(&self) -> u64 {
        self.link_up.load(Relaxed).into()
    }

    /// The RC decides.
    fn link_enable(&self, _carrier: &device::Device<device::Bound>) -> Result {
        Ok(())
    }

    fn link_disable(&self) -> Result {
        Ok(())
    }

    fn mw_count(&self) -> Result<u32> {
        self.peer_mw_count()
    }

    fn mw_align(&self, index: usize) -> Result<MwAlign> {
        Ok(MwAlign {
            address: MW_ALIGN,
            size: 1,
            max: self.mw(index)?.outbound.size() as u64,
        })
    }

    fn mw_set_trans(&self, index: usize, address: DmaAddress, size: u64) -> Result {
        let mw = self.mw(index)?;
        let max = mw.outbound.size();
        let size = usize::try_from(size)?;
        if size > max {
            dev_err!(
                self.function,
                "memory window {} has {:#x} bytes, not {:#x}: load ntb_transport with max_mw_size={:#X}\n",
                index + 1,
                max,
                size,
                max
            );
            return Err(EINVAL);
        }
        mw.inbound
            .lock()
            .set_buffer(address, size)
            .inspect_err(|_| dev_err!(self.function, "failure set mw trans\n"))
    }

    fn mw_clear_trans(&self, index: usize) -> Result {
        let mw = self.mw(index)?;
        mw.inbound
            .lock()
            .clear_buffer()
            .inspect_err(|_| dev_err!(self.function, "failure clear mw trans\n"))
    }

    fn peer_mw_count(&self) -> Result<u32> {
        Ok(u32::try_from(self.windows.mws.len())?)
    }

    fn peer_mw_addr(&self, index: usize) -> Result<(bindings::phys_addr_t, u64)> {
        let outbound = &self.mw(index)?.outbound;
        Ok((outbound.phys(), outbound.size() as u64))
    }

    fn db_vector_count(&self) -> u32 {
        self.doorbells()
    }

    fn db_rung(&self) -> &Bits {
        &self.rung
    }

    fn peer_db_set(this: ArcBorrow<'_, Self>, bits: u64) -> Result {
        if bits & !this.db_valid_mask() != 0 {
            return Err(EINVAL);
        }
        if bits != 0 {
            this.to_ring.set(bits);
            // Fails if it is queued already.
            let _ = this.queue.enqueue::<Arc<Self>, 1>(this.into());
        }
        Ok(())
    }

    fn spad_count(&self) -> u32 {
        self.spads
    }

    fn spad_read(&self, index: usize) -> u32 {
        self.read_spad(false, index)
    }

    fn spad_write(&self, index: usize, value: u32) -> Result {
        self.write_spad(false, index, value)
    }

    fn peer_spad_read(&self, index: usize) -> u32 {
        self.read_spad(true, index)
    }

    fn peer_spad_write(&self, index: usize, value: u32) -> Result {
        self.write_spad(true, index, value)
    }

    fn dma_device(&self) -> &device::Device {
        self.function.dma_device()
    }
}
