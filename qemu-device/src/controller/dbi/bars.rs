// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The six base address registers: shape, size, enable and the address that the RC assigns.
//!
//! BAR0 and BAR2 take their size from the resizable BAR capability, BAR4 has 256 bytes, the others
//! do not exist (`rcar_gen4_pcie_epc_features`). The EP's driver writes the type and prefetchability
//! of a BAR under DBI_RO_WR_EN (`dw_pcie_ep_set_bar_resizable`); a 64-bit BAR takes the register of
//! the next one for the upper half of its address. There are no I/O BARs *(inferred)*.
//! dbi2 gives each BAR a mask, of which only bit 0, the enable, is not derived from the size
//! (databook 5.96a, figure 3-26, as `dw_pcie_ep_set_bar_resizable` quotes it).

use abi::dbi as layout;
use abi::pci::{self, header, rebar};

use crate::controller::access::Write;
use crate::controller::registers::Writer;

/// A 32-bit BAR cannot be larger than 2 GiB; nor is a 64-bit one here *(inferred)*.
const BAR_MAX_LOG2: u32 = 31;

/// The flags that a BAR can have: all others are zero.
const FLAGS: u32 = header::BAR_64BIT.mask() | header::BAR_PREFETCHABLE.mask();

/// What decides a BAR's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// The resizable BAR capability.
    Resizable {
        /// CAP `[31:4]` in place: sizes offered, bit 4 is 1 MiB.
        sizes: u32,
        /// CTRL `[13:8]`: size in use, 1 MiB << n.
        selected: u32,
    },
    /// [`layout::FIXED_BAR_SIZE`].
    Fixed,
    /// There is no such BAR.
    Absent,
}

/// One base address register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    shape: Shape,
    /// dbi2 bit 0.
    enabled: bool,
    /// Those of [`FLAGS`] that the EP has set.
    flags: u32,
    /// The address bits above the size; 0 while disabled.
    address: u64,
}

impl Bar {
    const fn new(index: usize) -> Self {
        let [first, second] = layout::RESIZABLE_BARS;
        let shape = if index == first || index == second {
            Shape::Resizable {
                sizes: rebar::SIZES.place(1),
                selected: 0,
            }
        } else if index == layout::FIXED_BAR {
            Shape::Fixed
        } else {
            Shape::Absent
        };
        Self {
            shape,
            enabled: false,
            flags: 0,
            address: 0,
        }
    }

    /// Whether the BAR exists and the EP has enabled it.
    pub const fn enabled(&self) -> bool {
        self.enabled
    }

    /// The PCI address that the RC has assigned, 0 if none.
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// The bits of the base address register that tell the BAR's type ([`header::BAR_FLAGS`]).
    pub const fn flags(&self) -> u32 {
        self.flags
    }

    /// Whether the BAR takes the next one's register as well.
    pub const fn is_64bit(&self) -> bool {
        header::BAR_64BIT.is_set(self.flags)
    }

    /// Bytes that the BAR decodes when it is enabled: a power of two, or 0 for an absent one.
    pub const fn size(&self) -> u32 {
        match self.shape {
            Shape::Resizable { selected, .. } => {
                let log2 = rebar::MIN_LOG2 + selected;
                1 << if log2 < BAR_MAX_LOG2 {
                    log2
                } else {
                    BAR_MAX_LOG2
                }
            }
            Shape::Fixed => layout::FIXED_BAR_SIZE,
            Shape::Absent => 0,
        }
    }

    /// Address bits that can be written.
    const fn address_mask(&self) -> u64 {
        let width = if self.is_64bit() {
            u64::MAX
        } else {
            u32::MAX as u64
        };
        if self.enabled {
            width & !(self.size() as u64 - 1)
        } else {
            0
        }
    }

    /// Keeps the address aligned when enable, type or size has changed.
    fn settle(&mut self) {
        self.address &= self.address_mask();
    }

    fn select(&mut self, size: u32) {
        if let Shape::Resizable { sizes, selected } = &mut self.shape {
            let offered = rebar::SIZES.get(*sizes);
            if 1u32.checked_shl(size).is_some_and(|bit| offered & bit != 0) {
                *selected = size;
            }
        }
        self.settle();
    }
}

/// The base address registers of the function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bars([Bar; pci::BARS]);

impl Bars {
    /// As after power-on: all disabled, resizable ones with 1 MiB.
    pub const fn new() -> Self {
        let mut bars = [Bar::new(0); pci::BARS];
        let mut index = 1;
        while index < pci::BARS {
            bars[index] = Bar::new(index);
            index += 1;
        }
        Self(bars)
    }

    /// BAR `index`, if it is below 6.
    pub fn get(&self, index: usize) -> Option<&Bar> {
        self.0.get(index)
    }

    /// All six, by number.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Bar)> {
        self.0.iter().enumerate()
    }

    /// The 64-bit BAR whose upper half register `index` is, if it is one.
    fn lower_half(&self, index: usize) -> Option<usize> {
        let lower = index.checked_sub(1)?;
        self.0[lower].is_64bit().then_some(lower)
    }

    /// Reads the base address register `index`.
    pub fn read(&self, index: usize) -> u32 {
        match self.lower_half(index) {
            Some(lower) => (self.0[lower].address >> 32) as u32,
            None => self.0[index].address as u32 | self.0[index].flags,
        }
    }

    /// Writes the base address register `index`. Sizing is nothing special: the bits below the size
    /// do not exist, nor does any address bit of a disabled BAR.
    pub fn write(&mut self, index: usize, write: Write, writer: Writer) {
        if let Some(lower) = self.lower_half(index) {
            let bar = &mut self.0[lower];
            let upper = write.onto((bar.address >> 32) as u32, u32::MAX);
            bar.address = u64::from(upper) << 32 | u64::from(bar.address as u32);
            bar.settle();
            return;
        }
        let bar = &mut self.0[index];
        if writer == (Writer::Local { unlocked: true }) && bar.shape != Shape::Absent {
            bar.flags = write.onto(bar.flags, FLAGS);
        }
        let lower = write.onto(bar.address as u32, bar.address_mask() as u32);
        bar.address = bar.address >> 32 << 32 | u64::from(lower);
        bar.settle();
    }

    /// Writes the BAR mask `index` in dbi2. Bit 0 enables the BAR; the others are fixed by its size.
    pub fn write_mask(&mut self, index: usize, write: Write) {
        let bar = &mut self.0[index];
        if let (Some(enable), false) = (
            write.field(layout::BAR_ENABLE),
            matches!(bar.shape, Shape::Absent),
        ) {
            bar.enabled = enable != 0;
            bar.settle();
        }
    }

    /// Reads a register of the resizable BAR capability other than its header, `offset` counted from
    /// the header; `None` beyond its end.
    pub fn read_rebar(&self, offset: u32) -> Option<u32> {
        let (position, register) = rebar_register(offset)?;
        let index = layout::RESIZABLE_BARS[position];
        let Shape::Resizable { sizes, selected } = self.0[index].shape else {
            return None;
        };
        Some(match register {
            RebarRegister::Capability => sizes,
            RebarRegister::Control => {
                let count = if position == 0 {
                    layout::RESIZABLE_BARS.len() as u32
                } else {
                    0
                };
                rebar::BAR_INDEX.place(index as u32)
                    | rebar::BAR_COUNT.place(count)
                    | rebar::BAR_SIZE.place(selected)
            }
        })
    }

    /// Writes a register of the resizable BAR capability; `None` beyond its end.
    ///
    /// Writing the sizes offered selects one of them, the smallest, as CTRL's size in use
    /// (`dw_pcie_ep_set_bar_resizable`: "automatically updated when writing PCI_REBAR_CAP").
    /// Sizes from 256 TiB up are hard-wired 0.
    pub fn write_rebar(&mut self, offset: u32, write: Write, writer: Writer) -> Option<()> {
        let (position, register) = rebar_register(offset)?;
        let bar = &mut self.0[layout::RESIZABLE_BARS[position]];
        match register {
            RebarRegister::Capability => {
                if let (Shape::Resizable { sizes, selected }, Writer::Local { unlocked: true }) =
                    (&mut bar.shape, writer)
                {
                    *sizes = write.onto(*sizes, rebar::SIZES.mask());
                    if *sizes != 0 {
                        *selected = rebar::SIZES.get(*sizes).trailing_zeros();
                    }
                }
                bar.settle();
            }
            RebarRegister::Control => {
                if let Some(size) = write.field(rebar::BAR_SIZE) {
                    bar.select(size);
                }
            }
        }
        Some(())
    }

    /// Forgets the addresses: they are the RC's, everything else is the EP's.
    pub fn reset_bus_state(&mut self) {
        for bar in &mut self.0 {
            bar.address = 0;
        }
    }

    /// Power-on reset.
    pub fn reset(&mut self) {
        *self = Self::new();
    }
}

impl Default for Bars {
    fn default() -> Self {
        Self::new()
    }
}

/// The two registers that each resizable BAR has.
enum RebarRegister {
    Capability,
    Control,
}

/// Which resizable BAR, by position, and which register `offset` of the capability is.
fn rebar_register(offset: u32) -> Option<(usize, RebarRegister)> {
    let offset = offset.checked_sub(rebar::CAPABILITY)?;
    let position = (offset / rebar::STRIDE) as usize;
    let register = match offset % rebar::STRIDE {
        0 => RebarRegister::Capability,
        4 => RebarRegister::Control,
        _ => return None,
    };
    (position < layout::RESIZABLE_BARS.len()).then_some((position, register))
}
