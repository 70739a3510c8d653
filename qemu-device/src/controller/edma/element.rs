// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Elements of a linked list, as the driver writes them into the EP's RAM
//! (`dw_edma_v0_write_ll_data`, `dw_edma_v0_write_ll_link`).

use abi::edma::{control, element as layout};

/// Bytes of an element, of either kind: the step from one to the next.
pub const SIZE: usize = layout::SIZE as usize;

/// What a link element has of these; the rest need not be there.
const LINK_SIZE: usize = layout::LLP as usize + 8;

/// One element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// Data to move.
    Data(Data),
    /// Where the list goes on.
    Link {
        /// Its control word.
        control: u32,
        /// EP-guest physical address of the next element.
        next: u64,
    },
}

/// A data element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data {
    /// Its control word.
    pub control: u32,
    /// Bytes to move.
    pub size: u32,
    /// Source address.
    pub sar: u64,
    /// Destination address.
    pub dar: u64,
}

impl Element {
    /// The element at the start of `bytes`, if all of it is there.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let control = word(bytes, layout::CONTROL)?;
        if control::LLP.is_set(control) {
            let next = double(bytes.get(..LINK_SIZE)?, layout::LLP)?;
            return Some(Self::Link { control, next });
        }
        Some(Self::Data(Data {
            control,
            size: word(bytes, layout::TRANSFER_SIZE)?,
            sar: double(bytes, layout::SAR)?,
            dar: double(bytes, layout::DAR)?,
        }))
    }
}

impl Data {
    /// Whether it belongs to a consumer whose cycle state is that of `control1`.
    pub fn is_valid(&self, control1: u32) -> bool {
        control::CB.is_set(self.control) == control::CCS.is_set(control1)
    }

    /// Whether somebody is to be told once it is moved.
    pub fn interrupts(&self) -> bool {
        control::LIE.is_set(self.control) || control::RIE.is_set(self.control)
    }
}

fn word(bytes: &[u8], offset: u32) -> Option<u32> {
    let bytes = bytes.get(offset as usize..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

fn double(bytes: &[u8], offset: u32) -> Option<u64> {
    let bytes = bytes.get(offset as usize..)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_there_when_its_last_byte_is() {
        let mut bytes = [0u8; SIZE];
        bytes[4..8].copy_from_slice(&7u32.to_le_bytes());
        bytes[8..16].copy_from_slice(&0x1122_3344_5566_7788u64.to_le_bytes());
        bytes[16..24].copy_from_slice(&0x99u64.to_le_bytes());
        assert_eq!(
            Element::parse(&bytes),
            Some(Element::Data(Data {
                control: 0,
                size: 7,
                sar: 0x1122_3344_5566_7788,
                dar: 0x99,
            }))
        );
        assert_eq!(Element::parse(&bytes[..SIZE - 1]), None);
        bytes[0] = 0b110;
        assert_eq!(
            Element::parse(&bytes[..16]),
            Some(Element::Link {
                control: 0b110,
                next: 0x1122_3344_5566_7788,
            })
        );
        assert_eq!(Element::parse(&bytes[..15]), None);
        assert_eq!(Element::parse(&[]), None);
    }
}
