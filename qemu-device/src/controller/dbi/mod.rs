// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Configuration space and port logic, reached through DBI by the EP and by configuration requests
//! of the RC. One function; the SoC's second one is not emulated (`max-functions = <1>`).
//!
//! Both sides see the same registers. What only the EP may write is guarded by DBI_RO_WR_EN as on
//! the silicon; port logic is read-only for the RC *(inferred)*.

mod bars;
mod table;

pub use bars::{Bar, Bars};

use abi::dbi as layout;
use abi::pci::{self, express, header, msi, pm};
use abi::spider;
use serde_json::{json, Value};

use super::access::Write;
use super::registers::{RegisterFile, Writer};

/// Who accesses a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The EP's software, through the dbi window.
    Ep,
    /// The RC, by configuration requests.
    Rc,
}

/// The MSI capability as the RC has programmed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Msi {
    /// MSI enable.
    pub enabled: bool,
    /// Message address; 0 until the RC has set it.
    pub address: u64,
    /// Message data of vector 0.
    pub data: u16,
    /// Vectors granted, a power of two up to 32.
    pub vectors: u16,
}

/// What the function's registers say of where an address leads.
#[derive(Clone, PartialEq, Eq)]
pub struct Routing {
    bars: Bars,
    memory: bool,
    master: bool,
    awake: bool,
    msi: Msi,
}

/// Configuration space, port logic and BARs of the function.
#[derive(Clone, Debug)]
pub struct Dbi {
    registers: RegisterFile,
    bars: Bars,
    /// Generation of the link while it is up, 0 while it is down.
    link_speed: u32,
}

impl Dbi {
    /// As after power-on.
    pub fn new() -> Self {
        Self {
            registers: RegisterFile::new(table::REGISTERS, pci::CONFIG_SIZE),
            bars: Bars::new(),
            link_speed: 0,
        }
    }

    /// Power-on reset; the link is down.
    pub fn reset(&mut self) {
        let Self {
            registers,
            bars,
            link_speed,
        } = self;
        registers.reset();
        bars.reset();
        *link_speed = 0;
    }

    /// A reset of the function that the RC's QEMU performs too, or after which QEMU's device is gone.
    /// Forgets all that the RC has written. Ids, masks, sizes and whatever else the EP has programmed
    /// stay *(inferred; kinder than a core that loses its non-sticky registers with the link, which
    /// `dw_pcie_ep_linkdown` restores and `pcie-rcar-gen4` does not call)*.
    ///
    /// QEMU's client has a copy of BARs, MSI capability and power state: it answers the RC's reads of the
    /// first two and maps the BARs by the first and last. What it forgets must be forgotten here, and
    /// the other way round:
    ///
    /// | reset | comes as | QEMU's copy | here |
    /// |---|---|---|---|
    /// | secondary bus, reboot or hot-plug of the RC | DEVICE_RESET | cleared | all that the RC has written |
    /// | plugged again, link down | a new connection, LTSSM | new | all that the RC has written |
    /// | function level reset | DEVCTL | stays | [`reset_by_config`](Self::reset_by_config): not the mirrored registers |
    /// | D3hot to D0 | PMCSR | stays | nothing (PMCSR.No_Soft_Reset) |
    /// | the EP board's | its own QEMU | link down | everything: [`reset`](Self::reset) |
    pub fn reset_function(&mut self) {
        let Self {
            registers,
            bars,
            link_speed: _,
        } = self;
        registers.reset_bus_state(|_| false);
        bars.reset_bus_state();
    }

    /// Function level reset, which to QEMU's client is a write like any other. Linux restores what it
    /// had saved only where it reads something else, and it reads BARs and MSI out of QEMU's copy
    /// (`pci_restore_config_dword`). On the silicon these are lost and then restored; so they stay,
    /// while COMMAND, which Linux reads from here, is cleared and restored.
    fn reset_by_config(&mut self) {
        self.registers.reset_bus_state(|register| register.mirrored);
    }

    /// The register at `offset`. Configuration space has no holes, only zeroes; port logic has.
    pub fn read(&self, offset: u32) -> Option<u32> {
        if let Some(index) = bar_index(offset) {
            return Some(self.bars.read(index));
        }
        if let Some(offset) = rebar_offset(offset) {
            return self.bars.read_rebar(offset).or(Some(0));
        }
        let stored = self.registers.read(offset);
        const LINK_CONTROL_STATUS: u32 = layout::EXPRESS + express::LINK_CONTROL;
        match offset {
            LINK_CONTROL_STATUS => stored.map(|value| value | self.link_status()),
            layout::PORT_DEBUG0 => Some(layout::LTSSM_STATE.place(if self.link_speed == 0 {
                layout::LTSSM_DETECT_QUIET
            } else {
                layout::LTSSM_L0
            })),
            layout::PORT_DEBUG1 => {
                Some(layout::DEBUG1_LINK_UP.place(u32::from(self.link_speed != 0)))
            }
            0..layout::PORT_LOGIC => stored.or(Some(0)),
            _ => stored,
        }
    }

    /// The bits of the register at `offset` that change without the EP's software: by configuration
    /// requests, or with the state of the link. The size of a resizable BAR does not count.
    pub fn live_bits(&self, offset: u32) -> u32 {
        const LINK_CONTROL_STATUS: u32 = layout::EXPRESS + express::LINK_CONTROL;
        let written = self.registers.bus_bits(offset);
        match offset {
            _ if bar_index(offset).is_some() => u32::MAX,
            LINK_CONTROL_STATUS => {
                written | express::CURRENT_SPEED.mask() | express::CURRENT_WIDTH.mask()
            }
            0..layout::PORT_LOGIC => written,
            _ => u32::MAX,
        }
    }

    /// Writes the register at `offset` as far as `side` may; `None` if there is none.
    pub fn write(&mut self, offset: u32, write: Write, side: Side) -> Option<()> {
        let writer = match side {
            Side::Rc => Writer::Bus,
            Side::Ep => Writer::Local {
                unlocked: self.unlocked(),
            },
        };
        if let Some(index) = bar_index(offset) {
            self.bars.write(index, write, writer);
            return Some(());
        }
        if let Some(offset) = rebar_offset(offset) {
            return self.bars.write_rebar(offset, write, writer).or(Some(()));
        }
        let known = self.registers.write(offset, write, writer);
        const DEVICE_CONTROL: u32 = layout::EXPRESS + express::DEVICE_CONTROL;
        match offset {
            DEVICE_CONTROL if side == Side::Rc && write.sets(express::FUNCTION_RESET) => {
                self.reset_by_config();
            }
            layout::LINK_WIDTH_SPEED if side == Side::Ep && write.sets(layout::SPEED_CHANGE) => {
                self.change_speed();
            }
            _ => {}
        }
        (known || offset < layout::PORT_LOGIC).then_some(())
    }

    /// Reads the dbi2 shadow. Only writes see the masks *(inferred)*: what comes back is the base
    /// address register itself.
    pub fn read_mask(&self, offset: u32) -> Option<u32> {
        bar_index(offset).map(|index| self.bars.read(index))
    }

    /// Writes a BAR mask in the dbi2 shadow; `None` if there is none at `offset`. DBI_RO_WR_EN is not
    /// needed (`rcar_gen4_pcie_host_init` writes without it).
    pub fn write_mask(&mut self, offset: u32, write: Write) -> Option<()> {
        bar_index(offset).map(|index| self.bars.write_mask(index, write))
    }

    /// The link trained: at 2.5 GT/s, as every link does at first.
    pub fn link_trained(&mut self) {
        self.link_speed = 1;
    }

    /// The link is gone, and with it everything that the RC has programmed.
    pub fn link_lost(&mut self) {
        self.link_speed = 0;
        self.reset_function();
    }

    /// A directed speed change takes the link one generation up, to the target or the fastest that
    /// both sides can (`rcar_gen4_pcie_start_link` asks as often as there are generations).
    fn change_speed(&mut self) {
        let capable = self.express(express::LINK_CAPABILITIES, express::LINK_SPEED);
        let target = self.express(express::LINK_CONTROL_2, express::TARGET_SPEED);
        if self.link_speed != 0 && self.link_speed < capable.min(target).min(spider::LINK_SPEED) {
            self.link_speed += 1;
        }
    }

    /// LNKSTA: speed and width in use, zero while the link is down.
    fn link_status(&self) -> u32 {
        if self.link_speed == 0 {
            return 0;
        }
        let lanes = self.express(express::LINK_CAPABILITIES, express::LINK_WIDTH);
        express::CURRENT_SPEED.place(self.link_speed)
            | express::CURRENT_WIDTH.place(lanes.min(spider::LANES))
    }

    fn express(&self, register: u32, field: abi::field::Field) -> u32 {
        field.get(self.registers.get(layout::EXPRESS + register))
    }

    /// DBI_RO_WR_EN.
    fn unlocked(&self) -> bool {
        layout::RO_WRITE_ENABLE.is_set(self.registers.get(layout::MISC_CONTROL_1))
    }

    /// The base address registers.
    pub const fn bars(&self) -> &Bars {
        &self.bars
    }

    /// COMMAND.MEMORY: the function answers memory requests.
    pub fn memory_enabled(&self) -> bool {
        header::COMMAND_MEMORY.is_set(self.registers.get(header::COMMAND_STATUS))
    }

    /// COMMAND.BUS_MASTER: the function may issue memory requests.
    pub fn bus_master(&self) -> bool {
        header::COMMAND_BUS_MASTER.is_set(self.registers.get(header::COMMAND_STATUS))
    }

    /// Whether the function is in D0.
    pub fn full_power(&self) -> bool {
        pm::STATE.get(self.registers.get(layout::POWER_MANAGEMENT + pm::CONTROL)) == 0
    }

    /// Everything in here that [`crate::fabric`] asks for: where it is the same, so are all answers.
    pub fn routing(&self) -> Routing {
        Routing {
            bars: self.bars.clone(),
            memory: self.memory_enabled(),
            master: self.bus_master(),
            awake: self.full_power(),
            msi: self.msi(),
        }
    }

    /// The MSI capability as the RC has programmed it.
    pub fn msi(&self) -> Msi {
        let register = |offset| self.registers.get(layout::MSI + offset);
        let control = register(msi::HEADER);
        Msi {
            enabled: msi::ENABLE.is_set(control),
            address: u64::from(register(msi::ADDRESS_HIGH)) << 32
                | u64::from(register(msi::ADDRESS_LOW)),
            data: msi::DATA_VALUE.get(register(msi::DATA)) as u16,
            vectors: 1 << msi::GRANTED.get(control).min(msi::MAX_LOG2),
        }
    }

    /// Vectors that the MSI capability offers, a power of two up to 32.
    pub fn msi_vectors_offered(&self) -> u16 {
        let control = self.registers.get(layout::MSI + msi::HEADER);
        1 << msi::CAPABLE.get(control).min(msi::MAX_LOG2)
    }

    /// The interrupt pin: 0 for none, 1 for INTA.
    pub fn interrupt_pin(&self) -> u8 {
        header::INTERRUPT_PIN.get(self.registers.get(header::INTERRUPT)) as u8
    }

    /// The function received a request that it does not support: DEVSTA tells the RC.
    pub fn detect_unsupported_request(&mut self) {
        let detected = express::UNSUPPORTED_REQUEST_DETECTED.mask();
        self.registers
            .raise(layout::EXPRESS + express::DEVICE_CONTROL, detected);
    }

    /// Generation and lanes of the link, zero while it is down.
    pub fn link_speed_width(&self) -> (u32, u32) {
        let status = self.link_status();
        (
            express::CURRENT_SPEED.get(status),
            express::CURRENT_WIDTH.get(status),
        )
    }

    /// The identity and COMMAND state that `inspect` shows.
    pub fn inspect_function(&self) -> Value {
        let id = self.registers.get(header::ID);
        let class = self.registers.get(header::CLASS_REVISION);
        json!({
            "id": format!("{:04x}:{:04x}", id & 0xffff, id >> 16),
            "class": format!("{:06x}", class >> 8),
            "revision": class & 0xff,
            "interrupt_pin": self.interrupt_pin(),
            "memory": self.memory_enabled(),
            "bus_master": self.bus_master(),
            "d0": self.full_power(),
            "read_only_unlocked": self.unlocked(),
        })
    }

    /// The MSI state that `inspect` shows.
    pub fn inspect_msi(&self) -> Value {
        let Msi {
            enabled,
            address,
            data,
            vectors,
        } = self.msi();
        json!({
            "enabled": enabled,
            "address": format!("{address:#x}"),
            "data": format!("{data:#x}"),
            "vectors": vectors,
            "offered": self.msi_vectors_offered(),
        })
    }

    /// The BARs that `inspect` shows.
    pub fn inspect_bars(&self) -> Value {
        let bar = |(index, bar): (usize, &Bar)| {
            json!({
                "bar": index,
                "enabled": bar.enabled(),
                "address": format!("{:#x}", bar.address()),
                "size": bar.size(),
            })
        };
        self.bars
            .iter()
            .filter(|(_, bar)| bar.size() != 0)
            .map(bar)
            .collect()
    }
}

impl Default for Dbi {
    fn default() -> Self {
        Self::new()
    }
}

/// The BAR whose base address register (or mask) lies at `offset`.
fn bar_index(offset: u32) -> Option<usize> {
    let index = offset.checked_sub(header::BAR0)? as usize / 4;
    (offset & 3 == 0 && index < pci::BARS).then_some(index)
}

/// `offset` counted from the header of the resizable BAR capability, past that header.
fn rebar_offset(offset: u32) -> Option<u32> {
    let end = pci::rebar::CAPABILITY + pci::rebar::STRIDE * layout::RESIZABLE_BARS.len() as u32;
    let offset = offset.checked_sub(layout::RESIZABLE_BAR)?;
    (pci::rebar::CAPABILITY..end)
        .contains(&offset)
        .then_some(offset)
}
