// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Lists of elements, as the driver would write them, in one long chunk.

use abi::edma::{self, control, element, DirectionMap};

use crate::ram::Ram;

/// Room for a channel's list.
const LIST_ROOM: usize = 4 << 20;
/// Where data begins, in either board's RAM.
pub const DATA: usize = 64 << 20;

/// Direction of a transfer, seen from the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// EP to RC.
    Write,
    /// RC to EP.
    Read,
}

impl Way {
    /// Where its registers lie.
    pub const fn map(self) -> &'static DirectionMap {
        match self {
            Self::Write => &edma::WRITE,
            Self::Read => &edma::READ,
        }
    }
}

/// A channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Its direction.
    pub way: Way,
    /// Its number among those of its direction.
    pub number: u32,
}

impl Channel {
    /// The first `count` of the eight channels of a board, directions in turn.
    pub fn first(count: usize) -> Vec<Self> {
        (0..count as u32)
            .map(|index| Self {
                way: if index % 2 == 0 {
                    Way::Write
                } else {
                    Way::Read
                },
                number: index / 2,
            })
            .collect()
    }

    /// The offset of one of its registers in the dma window.
    pub const fn register(self, register: u32) -> u32 {
        self.way.map().channels + self.number * edma::CHANNEL_STRIDE + register
    }

    /// Where its list lies in the EP's RAM.
    pub const fn list_offset(self) -> usize {
        (self.way as usize * edma::MAX_CHANNELS + self.number as usize) * LIST_ROOM
    }
}

/// What a list moves.
#[derive(Clone, Copy, Debug)]
pub struct Elements {
    /// How many.
    pub count: usize,
    /// Bytes of each.
    pub size: usize,
    /// They lie one behind the other, and again from the first on after so many bytes.
    pub window: usize,
}

/// Writes a list that moves `elements` from `offset` on in both RAMs, and raises DONE with the last; then
/// the link to its own start (`dw_edma_core_start`).
pub fn write(channel: Channel, ep: &Ram, rc: &Ram, offset: usize, elements: Elements) {
    let Elements {
        count,
        size,
        window,
    } = elements;
    let mut list = Vec::with_capacity((count + 1) * element::SIZE as usize);
    for index in 0..count {
        let at = (offset + index * size % window) as u64;
        let (source, destination) = match channel.way {
            Way::Write => (ep.address + at, rc.address + at),
            Way::Read => (rc.address + at, ep.address + at),
        };
        let last = index + 1 == count;
        let interrupt = if last { control::LIE.mask() } else { 0 };
        list.extend_from_slice(&(control::CB.mask() | interrupt).to_le_bytes());
        list.extend_from_slice(&(size as u32).to_le_bytes());
        list.extend_from_slice(&source.to_le_bytes());
        list.extend_from_slice(&destination.to_le_bytes());
    }
    let link = control::LLP.mask() | control::TCB.mask();
    list.extend_from_slice(&link.to_le_bytes());
    list.extend_from_slice(&[0; 4]);
    list.extend_from_slice(&(ep.address + channel.list_offset() as u64).to_le_bytes());
    list.extend_from_slice(&[0; 8]);
    assert!(list.len() <= LIST_ROOM, "{count} elements are too many");
    ep.write(channel.list_offset(), &list);
}
