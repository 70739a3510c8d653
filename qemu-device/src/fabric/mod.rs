// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whose address is this? Pure functions from an access and the controller's state to its target.
//!
//! An access may cross the borders of windows, regions and pages, so each answer is for a prefix of
//! what was asked: [`Resolved::len`] bytes from its start. Whoever performs the access asks again for
//! the rest. The borders are few (regions, the MSI word, the EP's own BARs), so even a range of many
//! megabytes takes a bounded number of steps ([`pieces`]).
//!
//! ```text
//! from_ep_window -> outbound iATU -> to_rc -> RC RAM | MSI
//! from_edma      -> outbound iATU, or none -> to_rc
//! from_rc_bar    -> BAR -> inbound iATU -> to_ep -> EP RAM | a register of the EP itself
//! ```

mod dma;
pub mod windows;

use abi::spider;

use crate::controller::{BarAccess, Controller, Translation};
use crate::ep_face::EpBars;

pub use crate::controller::Reason;
pub use dma::DmaRoutes;

/// Where an access goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The EP's physical address space. There may or may not be RAM at this address.
    EpRam {
        /// EP-guest physical address.
        address: u64,
    },
    /// The RC's bus address space. There may or may not be RAM at this address.
    RcRam {
        /// PCI bus address in the RC.
        address: u64,
    },
    /// A register of the SoC.
    EpRegister {
        /// Offset in the SoC mirror (BAR0 of the EP face).
        offset: u64,
    },
    /// The word at the RC's MSI address, all of it. What is written selects the vector
    /// ([`msi_vector`]); a read returns zeroes (`dw_pcie_ep_raise_msi_irq` flushes by reading).
    RcMsi,
    /// Nobody answers: a read returns all ones, a write vanishes.
    Unsupported(Reason),
}

/// The target of the first bytes of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Where they go.
    pub target: Target,
    /// How many of them, contiguous in the target: at least 1, at most what was asked (where 0 counts
    /// as 1).
    pub len: u64,
}

impl Resolved {
    /// Nobody answers for these `len` bytes.
    pub const fn unsupported(reason: Reason, len: u64) -> Self {
        Self {
            target: Target::Unsupported(reason),
            len,
        }
    }
}

/// An access of the EP's CPU to its outbound window: `offset` in the window, up to `len` bytes.
pub fn from_ep_window(controller: &Controller, ep_bars: EpBars, offset: u64, len: u64) -> Resolved {
    let len = len.max(1);
    let Some(left) = u64::from(spider::WINDOW_SIZE)
        .checked_sub(offset)
        .filter(|left| *left > 0)
    else {
        return Resolved::unsupported(Reason::OutsideBar, len);
    };
    let len = len.min(left);
    match ep_bars.window.and_then(|base| base.checked_add(offset)) {
        Some(address) => from_ep_address(controller, address, len),
        None => Resolved::unsupported(Reason::WindowUnassigned, len),
    }
}

/// A request of the EP to an address of its own bus that lies in the outbound window: outbound iATU
/// regions have EP-guest physical addresses (`dw_pcie_parent_bus_offset` is 0).
fn from_ep_address(controller: &Controller, address: u64, len: u64) -> Resolved {
    if let Err(reason) = controller.may_master() {
        return Resolved::unsupported(reason, len);
    }
    match controller.iatu().outbound(address, len) {
        Translation::Miss { len } => Resolved::unsupported(Reason::NoOutboundRegion, len),
        Translation::Hit { tlp_type, len, .. } if tlp_type != abi::iatu::TYPE_MEMORY => {
            Resolved::unsupported(Reason::NotMemory, len)
        }
        Translation::Hit { address, len, .. } => to_rc(controller, address, len),
    }
}

/// A request of the eDMA to the RC: translated by the outbound iATU, passed through where no region
/// matches (`pci_epf_test_data_transfer` hands it PCI addresses).
pub fn from_edma(controller: &Controller, address: u64, len: u64) -> Resolved {
    let len = len.max(1);
    if let Err(reason) = controller.may_master() {
        return Resolved::unsupported(reason, len);
    }
    match controller.iatu().outbound(address, len) {
        Translation::Miss { len } => to_rc(controller, address, len),
        Translation::Hit { tlp_type, len, .. } if tlp_type != abi::iatu::TYPE_MEMORY => {
            Resolved::unsupported(Reason::NotMemory, len)
        }
        Translation::Hit { address, len, .. } => to_rc(controller, address, len),
    }
}

/// A memory request that the function sends to PCI address `address`.
///
/// The word at the MSI address is never RAM: before the RC has enabled MSIs the EP's driver may write
/// there already, to address 0 even (`dw_pcie_ep_raise_msi_irq` does not check), and such a write must
/// vanish.
pub fn to_rc(controller: &Controller, address: u64, len: u64) -> Resolved {
    const WORD: u64 = 4;
    let len = len.max(1);
    let msi = controller.msi();
    match address.checked_sub(msi.address) {
        None => {
            let len = len.min(msi.address - address);
            Resolved {
                target: Target::RcRam { address },
                len,
            }
        }
        Some(WORD..) => Resolved {
            target: Target::RcRam { address },
            len,
        },
        Some(within) => {
            let left = len.min(WORD - within);
            let target = if !msi.enabled || msi.address == 0 {
                Target::Unsupported(Reason::MsiDisabled)
            } else if left == WORD {
                Target::RcMsi
            } else {
                Target::Unsupported(Reason::MsiNotDword)
            };
            Resolved { target, len: left }
        }
    }
}

/// The vector, counted from 0, that a write of `data` to the MSI address raises.
///
/// # Errors
///
/// [`Reason`] if MSIs are off, if `data` is not a whole word, or if it belongs to no vector that the RC
/// has granted.
pub fn msi_vector(controller: &Controller, data: &[u8]) -> Result<u16, Reason> {
    let msi = controller.msi();
    if !msi.enabled || msi.address == 0 {
        return Err(Reason::MsiDisabled);
    }
    let word = <[u8; 4]>::try_from(data).map_err(|_| Reason::MsiNotDword)?;
    let data = u32::from_le_bytes(word);
    // The function replaces the low bits of the message data by the vector (PCIe 7.7.1.5).
    let vector_bits = u32::from(msi.vectors) - 1;
    if (data ^ u32::from(msi.data)) & !vector_bits == 0 {
        Ok((data & vector_bits) as u16)
    } else {
        Err(Reason::MsiUnknownVector)
    }
}

/// An access of the RC to BAR `bar` of the function: `offset` in the BAR, up to `len` bytes.
pub fn from_rc_bar(
    controller: &Controller,
    ep_bars: EpBars,
    bar: u8,
    offset: u64,
    len: u64,
) -> Resolved {
    let len = len.max(1);
    if let Err(reason) = controller.accepts_memory() {
        return Resolved::unsupported(reason, len);
    }
    let Some(register) = controller
        .bars()
        .get(bar.into())
        .filter(|bar| bar.enabled())
    else {
        return Resolved::unsupported(Reason::BarDisabled, len);
    };
    let size = register.size();
    let Some(offset) = u32::try_from(offset).ok().filter(|offset| *offset < size) else {
        return Resolved::unsupported(Reason::OutsideBar, len);
    };
    let len = len.min(u64::from(size - offset));
    let pci_address = register.address() + u64::from(offset);
    match controller.iatu().inbound(
        BarAccess {
            bar,
            size,
            offset,
            pci_address,
        },
        len,
    ) {
        Translation::Hit { address, len, .. } => to_ep(ep_bars, address, len),
        Translation::Miss { len } => Resolved::unsupported(Reason::NoInboundRegion, len),
    }
}

/// A request to an address of the EP's own bus: one of its own windows, or RAM.
pub fn to_ep(ep_bars: EpBars, address: u64, len: u64) -> Resolved {
    let mut len = len.max(1);
    let windows = [
        (ep_bars.registers, u64::from(spider::REGISTERS_SIZE)),
        (ep_bars.window, u64::from(spider::WINDOW_SIZE)),
    ];
    for (index, (base, size)) in windows.into_iter().enumerate() {
        let Some(base) = base else { continue };
        match address.checked_sub(base) {
            None => len = len.min(base - address),
            Some(offset) if offset < size => {
                let target = if index == 0 {
                    Target::EpRegister { offset }
                } else {
                    Target::Unsupported(Reason::Loopback)
                };
                return Resolved {
                    target,
                    len: len.min(size - offset),
                };
            }
            Some(_) => {}
        }
    }
    Resolved {
        target: Target::EpRam { address },
        len,
    }
}

/// Resolves the range of `len` bytes from `offset` on piece by piece. Yields each piece with the
/// offset of its first byte.
pub fn pieces(
    offset: u64,
    len: u64,
    resolve: impl Fn(u64, u64) -> Resolved,
) -> impl Iterator<Item = (u64, Resolved)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let left = len.checked_sub(done).filter(|left| *left > 0)?;
        let at = offset.checked_add(done)?;
        let resolved = resolve(at, left);
        done += resolved.len.clamp(1, left);
        Some((at, resolved))
    })
}
