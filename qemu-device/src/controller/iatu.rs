// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Internal address translation unit: 16 outbound and 16 inbound regions.
//!
//! A lookup walks the regions in order; where regions overlap, the one with the lower number wins
//! *(inferred)*. It answers for as much of the asked range as has one answer, so a caller that asks
//! again for the rest gets through any range in a bounded number of steps.

use abi::iatu as layout;
use serde_json::{json, Value};

use super::access::Write;

/// The address bits below the granule.
const BELOW_GRANULE: u32 = layout::GRANULE - 1;

/// One region, as its registers hold it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Region {
    ctrl1: u32,
    ctrl2: u32,
    lower_base: u32,
    upper_base: u32,
    /// The bits below the granule are ones, at reset too (`dw_pcie_iatu_detect`).
    limit: u32,
    upper_limit: u32,
    lower_target: u32,
    upper_target: u32,
}

impl Region {
    const fn new() -> Self {
        Self {
            ctrl1: 0,
            ctrl2: 0,
            lower_base: 0,
            upper_base: 0,
            limit: BELOW_GRANULE,
            upper_limit: 0,
            lower_target: 0,
            upper_target: 0,
        }
    }

    fn read(&self, offset: u32) -> Option<u32> {
        Some(match offset {
            layout::CTRL1 => self.ctrl1,
            layout::CTRL2 => self.ctrl2,
            layout::LOWER_BASE => self.lower_base,
            layout::UPPER_BASE => self.upper_base,
            layout::LIMIT => self.limit,
            layout::LOWER_TARGET => self.lower_target,
            layout::UPPER_TARGET => self.upper_target,
            layout::UPPER_LIMIT => self.upper_limit,
            _ => return None,
        })
    }

    /// Returns whether the region translates otherwise than before.
    fn write(&mut self, offset: u32, write: Write) -> Option<bool> {
        let before = *self;
        let (register, writable) = match offset {
            layout::CTRL1 => (&mut self.ctrl1, u32::MAX),
            layout::CTRL2 => (&mut self.ctrl2, u32::MAX),
            layout::LOWER_BASE => (&mut self.lower_base, !BELOW_GRANULE),
            layout::UPPER_BASE => (&mut self.upper_base, u32::MAX),
            layout::LIMIT => (&mut self.limit, !BELOW_GRANULE),
            layout::LOWER_TARGET => (&mut self.lower_target, !BELOW_GRANULE),
            layout::UPPER_TARGET => (&mut self.upper_target, u32::MAX),
            layout::UPPER_LIMIT => (&mut self.upper_limit, layout::UPPER_LIMIT_WRITABLE.mask()),
            _ => return None,
        };
        *register = write.onto(*register, writable);
        Some(*self != before && (self.enabled() || before.enabled()))
    }

    const fn enabled(&self) -> bool {
        layout::ENABLE.is_set(self.ctrl2)
    }

    const fn tlp_type(&self) -> u32 {
        layout::TYPE.get(self.ctrl1)
    }

    /// Whether the region is for function 0, the only one.
    const fn matches_function(&self) -> bool {
        !layout::FUNCTION_MATCH.is_set(self.ctrl2) || layout::FUNCTION.get(self.ctrl1) == 0
    }

    const fn base(&self) -> u64 {
        (self.upper_base as u64) << 32 | self.lower_base as u64
    }

    const fn target(&self) -> u64 {
        (self.upper_target as u64) << 32 | self.lower_target as u64
    }

    /// The last address. The base gives the bits that the limit registers do not hold: all of the
    /// high half, or all above 1 TiB with INCREASE_REGION_SIZE (`dw_pcie_prog_outbound_atu`).
    const fn last(&self) -> u64 {
        let upper = if layout::INCREASE_REGION_SIZE.is_set(self.ctrl1) {
            let held = layout::UPPER_LIMIT_WRITABLE.mask();
            (self.upper_base & !held) | (self.upper_limit & held)
        } else {
            self.upper_base
        };
        (upper as u64) << 32 | self.limit as u64
    }
}

/// What a lookup found for the start of the asked range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translation {
    /// A region matches.
    Hit {
        /// The translated address of the first byte; it does not wrap within `len`.
        address: u64,
        /// TLP type of the region.
        tlp_type: u32,
        /// Bytes for which this is so, at least 1.
        len: u64,
    },
    /// No region matches.
    Miss {
        /// Bytes for which this is so, at least 1.
        len: u64,
    },
}

/// An inbound memory request that has passed a BAR.
#[derive(Clone, Copy, Debug)]
pub struct BarAccess {
    /// The BAR's number.
    pub bar: u8,
    /// Its size in bytes, a power of two.
    pub size: u32,
    /// Offset of the access within it.
    pub offset: u32,
    /// The PCI address of the access.
    pub pci_address: u64,
}

/// The translation unit.
#[derive(Clone, Debug)]
pub struct Iatu {
    outbound: [Region; layout::REGIONS],
    inbound: [Region; layout::REGIONS],
}

impl Iatu {
    /// As after power-on: no region enabled.
    pub const fn new() -> Self {
        Self {
            outbound: [Region::new(); layout::REGIONS],
            inbound: [Region::new(); layout::REGIONS],
        }
    }

    /// Power-on reset.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// The register at `offset` of the atu window, a multiple of 4.
    pub fn read(&self, offset: u32) -> Option<u32> {
        let index = (offset / layout::REGION_STRIDE) as usize;
        let offset = offset % layout::REGION_STRIDE;
        match offset.checked_sub(layout::INBOUND) {
            Some(offset) => self.inbound.get(index)?.read(offset),
            None => self.outbound.get(index)?.read(offset),
        }
    }

    /// Writes the register at `offset` of the atu window; `None` if there is none. Returns whether any
    /// address is translated otherwise than before.
    pub fn write(&mut self, offset: u32, write: Write) -> Option<bool> {
        let index = (offset / layout::REGION_STRIDE) as usize;
        let offset = offset % layout::REGION_STRIDE;
        match offset.checked_sub(layout::INBOUND) {
            Some(offset) => self.inbound.get_mut(index)?.write(offset, write),
            None => self.outbound.get_mut(index)?.write(offset, write),
        }
    }

    /// Translates the EP's address `address` into a PCI address, for up to `len` bytes.
    pub fn outbound(&self, address: u64, len: u64) -> Translation {
        let regions = self.outbound.iter().filter(|region| region.enabled());
        let spans = regions.map(|region| Span {
            first: region.base(),
            last: region.last(),
            target: region.target(),
            tlp_type: region.tlp_type(),
        });
        lookup(spans, address, len)
    }

    /// The enabled outbound regions: the first and the last address of each.
    pub fn outbound_ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let regions = self.outbound.iter().filter(|region| region.enabled());
        regions.map(|region| (region.base(), region.last()))
    }

    /// Translates a memory request of the RC into an address of the EP, for up to `len` bytes.
    ///
    /// In BAR match mode a region covers the whole BAR, and base and limit mean nothing; in address
    /// match mode it covers absolute PCI addresses (`dw_pcie_ep_ib_atu_bar`, `_addr`).
    pub fn inbound(&self, access: BarAccess, len: u64) -> Translation {
        let start = access.pci_address - u64::from(access.offset);
        let regions = self.inbound.iter().filter(|region| {
            region.enabled()
                && region.matches_function()
                && region.tlp_type() == layout::TYPE_MEMORY
        });
        let spans = regions.filter_map(|region| {
            if !layout::BAR_MODE.is_set(region.ctrl2) {
                return Some(Span {
                    first: region.base(),
                    last: region.last(),
                    target: region.target(),
                    tlp_type: region.tlp_type(),
                });
            }
            // The offset replaces the target's bits below the BAR's size.
            (layout::BAR.get(region.ctrl2) == u32::from(access.bar)).then(|| Span {
                first: start,
                last: start + u64::from(access.size - 1),
                target: region.target() & !u64::from(access.size - 1),
                tlp_type: region.tlp_type(),
            })
        });
        lookup(spans, access.pci_address, len)
    }

    /// The enabled regions, as `inspect` shows them.
    pub fn inspect(&self) -> Value {
        json!({
            "outbound": inspect_regions(&self.outbound, false),
            "inbound": inspect_regions(&self.inbound, true),
        })
    }
}

impl Default for Iatu {
    fn default() -> Self {
        Self::new()
    }
}

/// What a region covers in the address space of a lookup, and what it makes of it.
struct Span {
    first: u64,
    last: u64,
    target: u64,
    tlp_type: u32,
}

/// Finds the first span that holds `address`. The answer's length ends where that span does, or where
/// a span of higher priority begins.
fn lookup(spans: impl Iterator<Item = Span>, address: u64, len: u64) -> Translation {
    let mut len = len.max(1);
    for span in spans.filter(|span| span.first <= span.last) {
        if address < span.first {
            len = len.min(span.first - address);
        } else if address <= span.last {
            let translated = span.target.wrapping_add(address - span.first);
            // Bytes left in the span and before the end of the address space, less one each.
            let left = (span.last - address).min(u64::MAX - translated);
            return Translation::Hit {
                address: translated,
                tlp_type: span.tlp_type,
                len: len.min(left.saturating_add(1)),
            };
        }
    }
    Translation::Miss { len }
}

fn inspect_regions(regions: &[Region], inbound: bool) -> Value {
    let describe = |(index, region): (usize, &Region)| {
        let mut tree = json!({
            "index": index,
            "type": region.tlp_type(),
            "target": format!("{:#x}", region.target()),
        });
        if inbound && layout::BAR_MODE.is_set(region.ctrl2) {
            tree["match"] = "bar".into();
            tree["bar"] = layout::BAR.get(region.ctrl2).into();
        } else {
            tree["match"] = "address".into();
            tree["base"] = format!("{:#x}", region.base()).into();
            tree["limit"] = format!("{:#x}", region.last()).into();
        }
        tree
    };
    regions
        .iter()
        .enumerate()
        .filter(|(_, region)| region.enabled())
        .map(describe)
        .collect()
}
