// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The PCI device that carries the SoC's register windows into the EP guest.
//!
//! It is no part of the silicon, only the way by which an unmodified QEMU can show it: BAR0 mirrors
//! the register windows, BAR2 is the outbound window, one MSI is the eDMA's interrupt line. A
//! conventional PCI function: on QEMU's root bus a PCI Express endpoint would be turned into a
//! root-complex-integrated one.

use abi::pci::{capability, header, msi};
use abi::spider::{self, ep_face as identity};
use serde_json::{json, Value};

use crate::controller::{read_bytes, write_bytes, Register, RegisterFile, Writer};

/// Where the MSI capability lies.
const MSI: u32 = 0x40;

/// The configuration space. BARs need no code: the bits below their size cannot be written.
static REGISTERS: &[Register] = &[
    Register::read_only(
        "ID",
        header::ID,
        (identity::DEVICE_ID as u32) << 16 | identity::VENDOR_ID as u32,
    ),
    Register::read_only(
        "COMMAND_STATUS",
        header::COMMAND_STATUS,
        header::STATUS_CAPABILITIES.mask(),
    )
    .writable(header::COMMAND_WRITABLE)
    .clear_by_one(header::STATUS_ERRORS),
    Register::read_only(
        "CLASS_REVISION",
        header::CLASS_REVISION,
        identity::CLASS << 8 | identity::REVISION as u32,
    ),
    Register::read_only("CACHE_LINE_HEADER_TYPE", header::CACHE_LINE_HEADER_TYPE, 0)
        .writable(header::CACHE_LINE.mask()),
    Register::read_only("BAR0", header::bar(spider::REGISTERS_BAR as usize), 0)
        .writable(!(spider::REGISTERS_SIZE - 1)),
    Register::read_only(
        "BAR2",
        header::bar(spider::WINDOW_BAR as usize),
        header::BAR_PREFETCHABLE.mask(),
    )
    .writable(!(spider::WINDOW_SIZE - 1)),
    Register::read_only(
        "SUBSYSTEM",
        header::SUBSYSTEM,
        (identity::DEVICE_ID as u32) << 16 | identity::VENDOR_ID as u32,
    ),
    Register::read_only("CAPABILITIES", header::CAPABILITIES, MSI),
    // A pin, although the bridge uses the MSI: without one Linux gives the device's node no interrupt
    // controller when it makes the node itself (`of_pci_prop_intr_ctrl`).
    Register::read_only(
        "INTERRUPT",
        header::INTERRUPT,
        header::INTERRUPT_PIN.place(1),
    )
    .writable(header::INTERRUPT_LINE.mask()),
    Register::read_only(
        "MSI_CONTROL",
        MSI + msi::HEADER,
        capability::ID.place(capability::MSI)
            | msi::CAPABLE.place(identity::MSI_VECTORS.ilog2())
            | msi::ADDRESS_64.mask(),
    )
    .writable(msi::ENABLE.mask() | msi::GRANTED.mask()),
    Register::read_only("MSI_ADDRESS_LOW", MSI + msi::ADDRESS_LOW, 0).writable(!0b11),
    Register::read_only("MSI_ADDRESS_HIGH", MSI + msi::ADDRESS_HIGH, 0).writable(u32::MAX),
    Register::read_only("MSI_DATA", MSI + msi::DATA, 0).writable(msi::DATA_VALUE.mask()),
];

/// EP-guest physical addresses of the device's BARs; `None` while the EP guest does not decode them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EpBars {
    /// The SoC mirror.
    pub registers: Option<u64>,
    /// The outbound window.
    pub window: Option<u64>,
}

/// The EP face's configuration space.
#[derive(Clone, Debug)]
pub struct EpFace {
    registers: RegisterFile,
    /// See [`EpFace::routes`].
    routes: u64,
}

impl EpFace {
    /// The BAR that mirrors the register windows, as a vfio region index.
    pub const REGISTER_BAR: u32 = spider::REGISTERS_BAR as u32;
    /// The BAR that is the outbound window, as a vfio region index.
    pub const WINDOW_BAR: u32 = spider::WINDOW_BAR as u32;

    /// A device just powered on.
    pub fn new() -> Self {
        Self {
            registers: RegisterFile::new(REGISTERS, identity::CONFIG_SIZE),
            routes: 0,
        }
    }

    /// Reset of the PCI device: BARs, COMMAND and MSI set-up are forgotten.
    pub fn reset(&mut self) {
        let Self { registers, routes } = self;
        registers.reset();
        *routes += 1;
    }

    /// A number that grows with every change after which an address may lead elsewhere.
    pub const fn routes(&self) -> u64 {
        self.routes
    }

    /// Bytes of a vfio region: BARs 0 to 5, ROM 6, configuration space 7, VGA 8. 0 for a region that
    /// the device does not have, `None` beyond the last.
    pub const fn region_size(index: u32) -> Option<u64> {
        match index {
            Self::REGISTER_BAR => Some(spider::REGISTERS_SIZE as u64),
            Self::WINDOW_BAR => Some(spider::WINDOW_SIZE as u64),
            7 => Some(identity::CONFIG_SIZE as u64),
            1 | 3..=6 | 8 => Some(0),
            _ => None,
        }
    }

    /// Interrupts of a vfio index: INTx 0, MSI 1, MSI-X 2, error 3, request 4; `None` beyond.
    pub const fn irq_count(index: u32) -> Option<u32> {
        match index {
            0 => Some(1),
            1 => Some(identity::MSI_VECTORS as u32),
            2..=4 => Some(0),
            _ => None,
        }
    }

    /// Reads configuration space; all ones beyond its end.
    pub fn config_read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0xff);
        let Ok(()) = read_bytes(offset, data, |register| {
            let register = in_config(register).map(|register| self.registers.get(register));
            Ok::<_, std::convert::Infallible>(register.unwrap_or(u32::MAX))
        });
    }

    /// Writes configuration space; what is read-only or beyond its end stays.
    pub fn config_write(&mut self, offset: u64, data: &[u8]) {
        self.routes += 1;
        let Ok(()) = write_bytes(offset, data, |register, write| {
            if let Some(register) = in_config(register) {
                self.registers.write(register, write, Writer::Bus);
            }
            Ok::<_, std::convert::Infallible>(())
        });
    }

    /// Where the EP guest has put the BARs.
    pub fn bars(&self) -> EpBars {
        let command = self.registers.get(header::COMMAND_STATUS);
        let address = |bar: u8| {
            let address = self.registers.get(header::bar(bar.into())) & !header::BAR_FLAGS.mask();
            (header::COMMAND_MEMORY.is_set(command) && address != 0).then_some(address.into())
        };
        EpBars {
            registers: address(spider::REGISTERS_BAR),
            window: address(spider::WINDOW_BAR),
        }
    }

    /// The tree that `inspect` shows.
    pub fn inspect(&self) -> Value {
        let EpBars { registers, window } = self.bars();
        let address = |address: Option<u64>| address.map(|address| format!("{address:#x}"));
        json!({
            "registers": address(registers),
            "window": address(window),
            "command": format!("{:#x}", self.registers.get(header::COMMAND_STATUS) & 0xffff),
            "msi_enabled": msi::ENABLE.is_set(self.registers.get(MSI + msi::HEADER)),
        })
    }
}

impl Default for EpFace {
    fn default() -> Self {
        Self::new()
    }
}

fn in_config(register: u64) -> Option<u32> {
    u32::try_from(register)
        .ok()
        .filter(|register| *register < identity::CONFIG_SIZE)
}
