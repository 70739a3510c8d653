// SPDX-License-Identifier: GPL-2.0

//! The bridge at work: commands to the endpoint, its interrupts, and the NTB core's operations.

use kernel::{
    bindings,
    device::{self, Bound},
    devres::Devres,
    dma::DmaAddress,
    pci,
    prelude::*,
    sync::{aref::ARef, Arc, ArcBorrow, Mutex},
    time::{delay::fsleep, Delta, Instant, Monotonic},
};

use crate::{
    auxiliary_child::Child,
    display::Core,
    map::Map,
    ntb::{self, Bits, MwAlign, Port},
    pci_vector,
    peer::{self, Export},
    registers::Registers,
    vntb::{
        control::{self, Command, Control, Status, Version, WORD},
        header::{self, Header},
        irq,
        window::{BarSizes, Window},
        BARS,
    },
};

/// Alignment of what a memory window leads to.
const MW_ALIGN: u64 = 0x1000;
/// How often to look whether a command is done.
const PAUSE: Delta = Delta::from_micros(100);
/// How long a command may take, in milliseconds: longer than for the stock driver, since an endpoint
/// that looks every 500 ms can miss its second on a busy machine.
const TIMEOUT_MS: u32 = 5 * control::COMMAND_TIMEOUT_MS;
/// The same.
const TIMEOUT: Delta = Delta::from_millis(TIMEOUT_MS as i64);
/// How long to ask again for a link that the endpoint refuses: it may not have seen the addresses of
/// its BARs yet.
const LINK_PATIENCE: Delta = Delta::from_millis(2000);

/// An endpoint function that is a virtual NTB.
#[pin_data]
pub(crate) struct Endpoint {
    #[pin]
    port: Port<Self>,
    pdev: ARef<pci::Device>,
    map: &'static Map,
    bars: BarSizes,
    /// Where the CPU finds each BAR.
    starts: [bindings::phys_addr_t; BARS],
    registers: Registers,
    /// The endpoint's scratchpads, where they have a BAR of their own.
    peer_spads: Option<Registers>,
    /// The doorbells, where they have a BAR of their own.
    doorbells: Option<Registers>,
    control: Control,
    /// Vectors of the function.
    all_vectors: u32,
    /// Those of them that are the bridge's.
    vectors: u32,
    /// Doorbell slots: those that the endpoint has, as far as there are vectors for as many of ours.
    slots: u32,
    export: Option<Export>,
    /// What has become of the export.
    #[pin]
    offer: Mutex<Offer>,
    rung: Bits,
    #[pin]
    command: Mutex<()>,
}

ntb::impl_has_port! { impl HasPort for Endpoint { self.port } }

impl Endpoint {
    /// Looks at an endpoint that has `vectors` interrupt vectors.
    pub(crate) fn new(
        pdev: &pci::Device<Bound>,
        map: &'static Map,
        vectors: u32,
    ) -> Result<Arc<Self>> {
        let (mut bars, mut starts) = ([0; BARS], [0; BARS]);
        for (number, (size, start)) in (0..).zip(bars.iter_mut().zip(&mut starts)) {
            *size = pdev.resource_len(number)?;
            *start = pdev.resource_start(number)?;
        }
        let registers = Registers::map(pdev, map.control)?;
        let peer_spads = match map.peer_spads {
            Some(bar) => Some(Registers::map(pdev, bar)?),
            None => None,
        };
        let doorbells = match map.doorbells == map.control {
            true => None,
            false => Some(Registers::map(pdev, map.doorbells)?),
        };

        let control = peer::load(pdev, &registers, &bars, map)?;
        let export = match &control.dma {
            Some(locator) => peer::export(pdev, locator, &bars, &peer::taken(map, &control, &bars)),
            None => None,
        };
        // Completions come on the last vectors, which are not the bridge's then.
        let completions = export.as_ref().map_or(0, |export| export.locator.num_chans);
        let own = vectors.saturating_sub(completions);
        let (vectors, export) = match own >= irq::MIN_VECTORS {
            true => (own, export),
            false => {
                dev_err!(
                    pdev,
                    "DMA export refused: {} vectors are too few for {} channels\n",
                    vectors,
                    completions
                );
                (vectors, None)
            }
        };
        let slots = match control.slots() {
            // Some endpoints name them only when they know of our vectors.
            0 => vectors,
            slots => slots.min(vectors),
        };
        Arc::pin_init(
            try_pin_init!(Self {
                port <- Port::new(),
                pdev: pdev.into(),
                map,
                bars,
                starts,
                registers,
                peer_spads,
                doorbells,
                control,
                all_vectors: vectors + export.as_ref().map_or(0, |_| completions),
                vectors,
                slots,
                export,
                offer <- kernel::new_mutex!(Offer::Open),
                rung: Bits::new(),
                command <- kernel::new_mutex!(()),
            }),
            GFP_KERNEL,
        )
    }

    /// Vectors that are the bridge's, the first ones.
    pub(crate) fn vectors(&self) -> u32 {
        self.vectors
    }

    /// Number of doorbells: slots but for the link's and one that is not used.
    fn doorbell_count(&self) -> u32 {
        self.slots.saturating_sub(irq::FIRST_DOORBELL)
    }

    /// Has the endpoint do something, and waits until it is done.
    fn command(&self, command: Command, argument: u32) -> Result {
        self.command_with(command, argument, &[])
    }

    /// As `command`, which takes `operands` besides: 64 bits each, and where they go.
    ///
    /// An endpoint clears a command when it takes it, and answers when it is done. So what stands there
    /// before belongs to an earlier command, whose driver may have gone or not have waited.
    fn command_with(&self, command: Command, argument: u32, operands: &[(u32, u64)]) -> Result {
        let _one_at_a_time = self.command.lock();
        let ask = || {
            self.registers.write16(control::COMMAND_STATUS, 0);
            for &(offset, value) in operands {
                // CAST: The halves of 64 bits.
                self.registers.write32(offset, value as u32);
                self.registers.write32(offset + WORD, (value >> 32) as u32);
            }
            self.registers.write32(control::ARGUMENT, argument);
            self.registers.write32(control::COMMAND, command as u32);
        };
        let is_taken = || self.registers.read32(control::COMMAND) == 0;
        ask();

        let start = Instant::<Monotonic>::now();
        let outcome = loop {
            let late = start.elapsed() > TIMEOUT;
            let taken = is_taken();
            let raw = self.registers.read16(control::COMMAND_STATUS);
            match Status::from_raw(raw) {
                Some(Status::Ok) if taken => break Ok(()),
                Some(Status::Error) if taken => break Err(EINVAL),
                None if raw == !0 => break Err(ENODEV),
                _ if late => {
                    self.take_back(command, argument);
                    dev_err!(
                        self.pdev,
                        "the endpoint did not answer {:?} within {} ms\n",
                        command,
                        TIMEOUT_MS
                    );
                    break Err(ETIMEDOUT);
                }
                // The answer to an earlier command. If ours is taken right now, it is done twice,
                // which is the same as once.
                Some(_) if !is_taken() => ask(),
                _ => {}
            }
            fsleep(PAUSE);
        };
        self.registers.write16(control::COMMAND_STATUS, 0);
        outcome
    }

    /// A command was not answered in time. An endpoint that wakes up again is to take it back, lest a
    /// window lead to a buffer that its owner freed when this failed.
    fn take_back(&self, command: Command, argument: u32) {
        let instead = command.when_unanswered();
        self.registers.write32(control::ARGUMENT, argument);
        self.registers.write32(control::COMMAND, instead as u32);
    }

    /// The header of the exported DMA channels, if there are any; refused with one line if it is not
    /// right. The endpoint maps the slice when the link comes up.
    fn read_header(&self) -> Option<Header> {
        let export = self.export.as_ref()?;
        let mut bytes: header::Bytes = [0; header::SIZE as usize];
        for (word, at) in bytes.chunks_exact_mut(WORD as usize).zip((0..).step_by(4)) {
            let offset = export.locator.window.offset.checked_add(at)?;
            word.copy_from_slice(&export.registers.read32(offset).to_le_bytes());
        }
        let taken = peer::taken(self.map, &self.control, &self.bars);
        Header::parse(
            &bytes,
            &export.locator,
            &self.bars,
            self.all_vectors,
            &taken,
        )
        .inspect_err(|error| dev_err!(self.pdev, "DMA export refused: {}\n", Core(error)))
        .ok()
    }

    /// Looks at what is exported when the link is up, unless it was offered before, and offers it to
    /// whoever knows the DMA controller.
    fn discover(&self, carrier: &device::Device<Bound>) {
        let Some(export) = &self.export else { return };
        let mut offer = self.offer.lock();
        if !matches!(*offer, Offer::Open) {
            return;
        }
        // What is refused now is looked at again when the next client wants the link.
        let Some(header) = self.read_header() else {
            return;
        };
        dev_info!(
            self.pdev,
            "{} DMA channels in {}, vectors from {} on\n",
            header.num_chans,
            Core(export.locator.window),
            self.vectors
        );
        match peer::offer(carrier, &export.locator, self.vectors) {
            Ok(child) => *offer = Offer::Made { _child: child },
            Err(error) => dev_err!(self.pdev, "DMA channels are not offered: {:?}\n", error),
        }
    }

    /// What the RC uses of memory window `index`, and its BAR.
    fn mw(&self, index: usize) -> Result<Window> {
        let bar = self.map.mws().nth(index).ok_or(EINVAL)?;
        if index >= self.control.num_mws as usize {
            return Err(EINVAL);
        }
        let place = self.control.mws.get(index).ok_or(EINVAL)?;
        let size = match self.control.version {
            // The rest of the BAR.
            Version::Legacy => {
                let len = self.bars.get(bar as usize).ok_or(EINVAL)?;
                u32::try_from(len.saturating_sub(place.offset.into())).unwrap_or(u32::MAX)
            }
            Version::V1 => place.size,
        };
        Ok(Window {
            bar,
            offset: place.offset,
            size,
        })
    }

    /// Where our scratchpad `index` is.
    fn spad(&self, index: usize) -> Result<u32> {
        match u32::try_from(index) {
            // Both ends were checked to be in the BAR.
            Ok(index) if index < self.control.spad_count => {
                Ok(self.control.spad_offset + index * WORD)
            }
            _ => {
                dev_err!(self.pdev, "Invalid ScratchPad Index {}\n", index);
                Err(EINVAL)
            }
        }
    }

    /// Where the endpoint's scratchpad `index` is.
    fn peer_spad(&self, index: usize) -> Result<(&Registers, u32)> {
        let ours = self.spad(index)?;
        Ok(match &self.peer_spads {
            Some(registers) => (registers, ours - self.control.spad_offset),
            None => (&self.registers, ours + self.control.spad_count * WORD),
        })
    }

    /// Asks for the link.
    fn link_up(&self) -> Result {
        let start = Instant::<Monotonic>::now();
        loop {
            match self.command(Command::LinkUp, 0) {
                Err(error) if error == EINVAL && start.elapsed() < LINK_PATIENCE => fsleep(PAUSE),
                outcome => return outcome,
            }
        }
    }

    fn ring(&self, bit: u32) -> Result {
        let slot = bit + irq::FIRST_DOORBELL;
        let (offset, data) = self.control.doorbell(slot).ok_or(EINVAL)?;
        let registers = self.doorbells.as_ref().unwrap_or(&self.registers);
        registers.write32(offset, data);
        Ok(())
    }
}

/// The endpoint knows of our vectors. Dropped, it knows that they are gone.
pub(crate) struct Doorbells {
    endpoint: Arc<Endpoint>,
}

impl Doorbells {
    /// Tells the endpoint.
    pub(crate) fn configure(endpoint: Arc<Endpoint>, msix: bool) -> Result<Self> {
        let kind = if msix { control::MSIX_ENABLE } else { 0 };
        endpoint.command(Command::ConfigureDoorbell, endpoint.all_vectors | kind)?;
        Ok(Self { endpoint })
    }
}

impl Drop for Doorbells {
    fn drop(&mut self) {
        let vectors = self.endpoint.all_vectors;
        let _ = self.endpoint.command(Command::TeardownDoorbell, vectors);
    }
}

/// What has become of an export.
pub(crate) enum Offer {
    /// Nothing was offered yet.
    Open,
    /// A device stands for it.
    Made { _child: Devres<Child> },
    /// The bridge goes.
    Closed,
}

/// There can be an offer. Dropped, it is withdrawn: the driver that took it has let go of all.
pub(crate) struct Offers(pub(crate) Arc<Endpoint>);

impl Drop for Offers {
    fn drop(&mut self) {
        let offer = core::mem::replace(&mut *self.0.offer.lock(), Offer::Closed);
        drop(offer);
    }
}

impl pci_vector::Handler for Endpoint {
    fn interrupt(&self, vector: u32) {
        match vector.checked_sub(irq::FIRST_DOORBELL) {
            Some(bit) if bit < self.doorbell_count() => {
                self.rung.set(1 << bit);
                self.port.db_event(bit);
            }
            None if vector == irq::LINK => self.port.link_event(),
            // The vector that history left behind, or one of a doorbell that there is not.
            _ => {}
        }
    }
}

impl ntb::Operations for Endpoint {
    fn link_is_up(&self) -> u64 {
        // All ones: the endpoint is gone.
        match self.registers.read16(control::LINK_STATUS) {
            u16::MAX => 0,
            status => (status & control::LINK_UP).into(),
        }
    }

    fn link_enable(&self, carrier: &device::Device<Bound>) -> Result {
        self.link_up()
            .inspect_err(|_| dev_err!(self.pdev, "Fail to enable link\n"))?;
        self.discover(carrier);
        Ok(())
    }

    fn link_disable(&self) -> Result {
        self.command(Command::LinkDown, 0)
            .inspect_err(|_| dev_err!(self.pdev, "Fail to disable link\n"))
    }

    fn mw_count(&self) -> Result<u32> {
        Ok(self.control.num_mws)
    }

    fn mw_align(&self, index: usize) -> Result<MwAlign> {
        Ok(MwAlign {
            address: MW_ALIGN,
            size: 1,
            max: self.mw(index)?.size.into(),
        })
    }

    fn mw_set_trans(&self, index: usize, address: DmaAddress, size: u64) -> Result {
        let max = self.mw(index)?.size.into();
        if size > max {
            dev_err!(
                self.pdev,
                "Size:{:#x} is greater than the MW size {:#x}\n",
                size,
                max
            );
            return Err(EINVAL);
        }
        let operands = [(control::ADDR, address), (control::SIZE, size)];
        // CAST: At most `MAX_MWS`.
        self.command_with(Command::ConfigureMw, index as u32, &operands)
    }

    fn mw_clear_trans(&self, index: usize) -> Result {
        self.mw(index)?;
        // CAST: At most `MAX_MWS`.
        self.command(Command::TeardownMw, index as u32)
    }

    fn peer_mw_count(&self) -> Result<u32> {
        Ok(self.control.num_mws)
    }

    fn peer_mw_addr(&self, index: usize) -> Result<(bindings::phys_addr_t, u64)> {
        let window = self.mw(index)?;
        let start = self.starts.get(window.bar as usize).ok_or(EINVAL)?;
        Ok((start + u64::from(window.offset), window.size.into()))
    }

    fn db_vector_count(&self) -> u32 {
        self.doorbell_count()
    }

    fn db_rung(&self) -> &Bits {
        &self.rung
    }

    fn peer_db_set(this: ArcBorrow<'_, Self>, bits: u64) -> Result {
        if bits & !this.db_valid_mask() != 0 {
            dev_err!(
                this.pdev,
                "doorbells {:#x} are not all among {:#x}\n",
                bits,
                this.db_valid_mask()
            );
            return Err(EINVAL);
        }
        let mut rest = bits;
        while rest != 0 {
            this.ring(rest.trailing_zeros())?;
            rest &= rest - 1;
        }
        Ok(())
    }

    fn spad_count(&self) -> u32 {
        self.control.spad_count
    }

    fn spad_read(&self, index: usize) -> u32 {
        self.spad(index)
            .map_or(!0, |offset| self.registers.read32(offset))
    }

    fn spad_write(&self, index: usize, value: u32) -> Result {
        self.registers.write32(self.spad(index)?, value);
        Ok(())
    }

    fn peer_spad_read(&self, index: usize) -> u32 {
        self.peer_spad(index)
            .map_or(!0, |(registers, offset)| registers.read32(offset))
    }

    fn peer_spad_write(&self, index: usize, value: u32) -> Result {
        let (registers, offset) = self.peer_spad(index)?;
        registers.write32(offset, value);
        Ok(())
    }

    fn dma_device(&self) -> &device::Device {
        (*self.pdev).as_ref()
    }
}
