// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which parts of the BARs are nothing but RAM of the peer, so that a guest may use them without asking.
//!
//! They are found by resolving whole BARs the way a single access is resolved ([`from_ep_window`],
//! [`from_rc_bar`]), so both give the same answer by construction. What then is left out stays with the
//! access path: addresses without RAM, registers, interrupts, and every page that is not RAM from its
//! first byte to its last.

use abi::spider;
use abi::windows::{MAX_WINDOWS, REACH};

use super::{from_ep_window, from_rc_bar, pieces, Resolved, Target};
use crate::controller::Controller;
use crate::ep_face::EpBars;
use crate::rc_face::RcFace;

/// Memory of a guest that another process can map: readable and writable, with a file behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ram {
    /// Address in that guest: physical (EP) or on the bus (RC).
    pub address: u64,
    /// Bytes.
    pub size: u64,
    /// What the map is called; another map never has the same number.
    pub map: u64,
}

/// A range of a BAR that is RAM of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The BAR's number.
    pub bar: u8,
    /// First byte in the BAR, a multiple of the page size.
    pub offset: u64,
    /// Bytes, a multiple of the page size, not 0.
    pub len: u64,
    /// [`Ram::map`].
    pub map: u64,
    /// First byte in the map, a multiple of the page size.
    pub map_offset: u64,
}

/// The windows of the EP's CPU onto the RC's RAM, in order: at most [`MAX_WINDOWS`]. `ram` is ordered by
/// address, without overlap; `page` is a power of two.
pub fn of_ep(controller: &Controller, ep_bars: EpBars, ram: &[Ram], page: u64) -> Vec<Window> {
    let mut set = Set::new(ram, page);
    let resolve = |offset, len| from_ep_window(controller, ep_bars, offset, len);
    set.scan(spider::WINDOW_BAR, spider::WINDOW_SIZE.into(), resolve);
    set.windows
}

/// The windows of the RC onto the EP's RAM; like [`of_ep`] otherwise. `face` is the function as the RC's
/// QEMU plugged it: where a BAR has grown since, QEMU has no such offsets.
pub fn of_rc(
    controller: &Controller,
    ep_bars: EpBars,
    face: &RcFace,
    ram: &[Ram],
    page: u64,
) -> Vec<Window> {
    let mut set = Set::new(ram, page);
    for (index, bar) in controller.bars().iter().filter(|(_, bar)| bar.enabled()) {
        let plugged = face.region_size(index as u32).unwrap_or(0);
        let size = u64::from(bar.size()).min(plugged);
        let bar = index as u8;
        let resolve = |offset, len| from_rc_bar(controller, ep_bars, bar, offset, len);
        set.scan(bar, size, resolve);
    }
    set.windows
}

/// A set of windows in the making.
struct Set<'a> {
    ram: &'a [Ram],
    page: u64,
    windows: Vec<Window>,
}

impl<'a> Set<'a> {
    fn new(ram: &'a [Ram], page: u64) -> Self {
        Self {
            ram,
            page,
            windows: Vec::new(),
        }
    }

    fn full(&self) -> bool {
        self.windows.len() >= MAX_WINDOWS
    }

    /// Adds what there is in the `size` bytes of BAR `bar`, as far as windows reach. Whichever side asks, RAM is the
    /// peer's.
    fn scan(&mut self, bar: u8, size: u64, resolve: impl Fn(u64, u64) -> Resolved) {
        if self.ram.is_empty() {
            return;
        }
        for (offset, Resolved { target, len }) in pieces(0, size.min(REACH), resolve) {
            if let Target::EpRam { address } | Target::RcRam { address } = target {
                self.add(bar, offset, address, len);
            }
            if self.full() {
                return;
            }
        }
    }

    /// `len` bytes from `offset` of `bar` are what the peer has at `address`.
    fn add(&mut self, bar: u8, offset: u64, address: u64, len: u64) {
        let last = address.saturating_add(len - 1);
        let first = self
            .ram
            .partition_point(|ram| ram.address + (ram.size - 1) < address);
        for ram in self.ram[first..]
            .iter()
            .take_while(|ram| ram.address <= last)
        {
            let from = address.max(ram.address);
            let to = last.min(ram.address + (ram.size - 1));
            let at = Window {
                bar,
                offset: offset + (from - address),
                len: to - from + 1,
                map: ram.map,
                map_offset: from - ram.address,
            };
            if let Some(window) = whole_pages(at, self.page) {
                if self.full() {
                    return;
                }
                self.push(window);
            }
        }
    }

    /// Adds a window behind all others, or makes the last one longer.
    fn push(&mut self, window: Window) {
        if let Some(last) = self.windows.last_mut() {
            if (last.bar, last.map) == (window.bar, window.map)
                && last.offset + last.len == window.offset
                && last.map_offset + last.len == window.map_offset
            {
                last.len += window.len;
                return;
            }
        }
        self.windows.push(window);
    }
}

/// The pages that lie within `window` as a whole, if it has any. Where pages of the BAR do not begin where
/// pages of the map do, none can be laid over.
fn whole_pages(window: Window, page: u64) -> Option<Window> {
    let skip = window.offset.next_multiple_of(page) - window.offset;
    let len = window.len.checked_sub(skip)? & !(page - 1);
    let map_offset = window.map_offset + skip;
    (len > 0 && map_offset % page == 0).then_some(Window {
        offset: window.offset + skip,
        len,
        map_offset,
        ..window
    })
}
