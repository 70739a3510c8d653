// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Configuration space as it is shown to the RC's QEMU: well-formed, and the same as long as it is plugged.
//!
//! QEMU reads all of it once, at realize, believes it, and goes on reading some fields later
//! (`vfio_intx_enable` takes the interrupt pin at each reset). What the EP's software writes there is the
//! EP's affair, and DBI shows it as the silicon would; but a value that PCI reserves, or one that changes
//! while QEMU reads, must not reach a QEMU that asserts on it or indexes an array with it.

use std::fmt;

use abi::field::Field;
use abi::pci::{self, express, header, msi, rebar};
use abi::{dbi, spider};

use crate::controller::{Bars, Controller};

/// Registers of configuration space.
const REGISTERS: usize = pci::CONFIG_SIZE as usize / 4;

/// A field that is shown otherwise than the EP's software has written it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Correction {
    /// The field's name.
    pub name: &'static str,
    /// What the EP has written there.
    pub found: u32,
    /// What the RC is shown.
    pub shown: u32,
}

impl fmt::Display for Correction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, found, shown } = self;
        write!(f, "{name} {found:#x}, shown as {shown:#x}")
    }
}

/// What a field may hold.
struct Rule {
    name: &'static str,
    register: u32,
    field: Field,
    /// Whether the field may stand as it is; takes the whole register.
    valid: fn(u32) -> bool,
    /// What is shown if it may not.
    instead: u32,
}

/// Every field that the EP's software can write and that has values without a meaning.
static RULES: [Rule; 7] = [
    // QEMU adds a capability to Intel's VMDs with what it reads from a descriptor that a vfio-user device has
    // not, and dies of the failure (`vfio_add_vmd_shadow_cap`).
    Rule {
        name: "device id of an Intel VMD, which QEMU does not survive,",
        register: header::ID,
        field: Field::bits(31, 16),
        valid: |id| !matches!(id, 0x201d_8086 | 0x467f_8086 | 0x4c3d_8086 | 0x9a0b_8086),
        instead: 0,
    },
    // `vfio_intx_enable` indexes the bridge's four lines with it.
    Rule {
        name: "interrupt pin",
        register: header::INTERRUPT,
        field: header::INTERRUPT_PIN,
        valid: |interrupt| header::INTERRUPT_PIN.get(interrupt) <= INTERRUPT_PINS,
        instead: 0,
    },
    // `msi_init` asserts.
    Rule {
        name: "MSI multiple message capable",
        register: dbi::MSI + msi::HEADER,
        field: msi::CAPABLE,
        valid: |control| msi::CAPABLE.get(control) <= msi::MAX_LOG2,
        instead: msi::MAX_LOG2,
    },
    Rule {
        name: "max payload size supported",
        register: dbi::EXPRESS + express::DEVICE_CAPABILITIES,
        field: express::MAX_PAYLOAD_SUPPORTED,
        valid: |capabilities| express::MAX_PAYLOAD_SUPPORTED.get(capabilities) <= 5,
        instead: 0,
    },
    Rule {
        name: "max link speed",
        register: dbi::EXPRESS + express::LINK_CAPABILITIES,
        field: express::LINK_SPEED,
        valid: |capabilities| (1..=6).contains(&express::LINK_SPEED.get(capabilities)),
        instead: spider::LINK_SPEED,
    },
    Rule {
        name: "max link width",
        register: dbi::EXPRESS + express::LINK_CAPABILITIES,
        field: express::LINK_WIDTH,
        valid: |capabilities| {
            let lanes = express::LINK_WIDTH.get(capabilities);
            matches!(lanes, 1 | 2 | 4 | 8 | 12 | 16 | 32)
        },
        instead: spider::LANES,
    },
    Rule {
        name: "completion timeout ranges",
        register: dbi::EXPRESS + express::DEVICE_CAPABILITIES_2,
        field: express::COMPLETION_TIMEOUT,
        valid: |capabilities| {
            let ranges = express::COMPLETION_TIMEOUT.get(capabilities);
            matches!(ranges, 0 | 1 | 2 | 3 | 6 | 7 | 14 | 15)
        },
        instead: 0,
    },
];

/// INTA to INTD.
const INTERRUPT_PINS: u32 = 4;

/// Where an answer comes from.
pub enum Source<'a> {
    /// The function is there.
    Linked(&'a Controller),
    /// It is gone, but QEMU has not done with its realize.
    Plugging,
    /// It is gone: all ones.
    Gone,
}

/// Configuration space as it was when the function was plugged.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigSpace {
    /// What each register shows where it is not live.
    shown: Vec<u32>,
    /// The bits of each register that are live.
    live: Vec<u32>,
}

impl ConfigSpace {
    /// Takes configuration space from the function's registers, and says which fields it had to correct.
    pub fn plug(controller: &Controller) -> (Self, Vec<Correction>) {
        let registers = || (0..pci::CONFIG_SIZE).step_by(4);
        let mut shown: Vec<_> = registers()
            .map(|register| controller.config_register(register))
            .collect();
        let live = registers().map(|register| controller.live_config_bits(register));
        let mut live: Vec<_> = live.collect();
        show_bars(controller.bars(), &mut shown, &mut live);
        let corrections = RULES.iter().filter_map(|rule| rule.apply(&mut shown));
        let corrections = corrections.collect();
        (Self { shown, live }, corrections)
    }

    /// The register at `offset`, a multiple of 4; all ones beyond the end.
    pub fn read(&self, register: u64, source: &Source<'_>) -> u32 {
        let index = usize::try_from(register / 4).unwrap_or(REGISTERS);
        let (Some(&shown), Some(&live)) = (self.shown.get(index), self.live.get(index)) else {
            return u32::MAX;
        };
        match source {
            Source::Linked(controller) => {
                (shown & !live) | (controller.config_register(register as u32) & live)
            }
            Source::Plugging => shown,
            // QEMU indexes its interrupt lines with the pin at each reset, so it stays even now.
            Source::Gone if register == u64::from(header::INTERRUPT) => {
                shown | !header::INTERRUPT_PIN.mask()
            }
            Source::Gone => u32::MAX,
        }
    }

    /// The value of `field` of the register at `offset`, of those that are not live.
    pub fn field(&self, register: u32, field: Field) -> u32 {
        field.get(self.shown[register as usize / 4])
    }
}

impl Rule {
    fn apply(&self, shown: &mut [u32]) -> Option<Correction> {
        let register = &mut shown[self.register as usize / 4];
        if (self.valid)(*register) {
            return None;
        }
        let found = self.field.get(*register);
        *register = self.field.set(*register, self.instead);
        Some(Correction {
            name: self.name,
            found,
            shown: self.instead,
        })
    }
}

/// BARs have the type and size that they were plugged with, and a resizable one offers no other size: QEMU makes
/// it a BAR of fixed size (`vfio_setup_rebar_ecap`).
fn show_bars(bars: &Bars, shown: &mut [u32], live: &mut [u32]) {
    let register = |index: usize| header::bar(index) as usize / 4;
    for (index, bar) in bars.iter() {
        let at = register(index);
        // The upper half of the BAR below has been taken care of.
        if index > 0 && bars.get(index - 1).is_some_and(|bar| bar.is_64bit()) {
            continue;
        }
        live[at] = if bar.enabled() {
            !(bar.size() - 1)
        } else {
            shown[at] = 0;
            0
        };
        if bar.is_64bit() && !bar.enabled() {
            (shown[at + 1], live[at + 1]) = (0, 0);
        }
    }
    for (position, &index) in dbi::RESIZABLE_BARS.iter().enumerate() {
        let size = bars.get(index).map_or(0, |bar| bar.size());
        let size = size.checked_ilog2().unwrap_or(0);
        let size = size.saturating_sub(rebar::MIN_LOG2);
        let at = (dbi::RESIZABLE_BAR + rebar::STRIDE * position as u32) as usize;
        shown[(at + rebar::CAPABILITY as usize) / 4] = rebar::SIZES.place(1 << size);
        let control = &mut shown[(at + rebar::CONTROL as usize) / 4];
        *control = rebar::BAR_SIZE.set(*control, size);
    }
}
