// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Turns accesses of any width and alignment into accesses to whole 32-bit registers.
//!
//! A bus access carries byte enables. A read takes the enabled bytes out of each register that it
//! touches; a write hands each register its new bytes together with the mask of bits that they
//! cover, so that registers which act on what is written (write 1 to clear, doorbells) never see
//! a byte that nobody wrote.

use abi::field::Field;
use thiserror::Error;

/// Width of one access to a register block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 8 bits.
    Byte,
    /// 16 bits.
    Word,
    /// 32 bits.
    Dword,
}

impl Width {
    /// Bytes of an access: 1, 2 or 4.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Byte => 1,
            Self::Word => 2,
            Self::Dword => 4,
        }
    }
}

/// The *shape* of an access is wrong: it reaches no register. What the silicon itself would
/// detect is a status bit instead, never this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AccessError {
    /// The offset lies in a hole between the register windows, or beyond them.
    #[error("no register window at offset {offset:#x} of the SoC mirror")]
    OutsideWindows {
        /// Offset in the SoC mirror.
        offset: u64,
    },
    /// The window has no register at this place.
    #[error("no register at {window}+{offset:#x}")]
    UnknownRegister {
        /// Name of the window (`reg-names` in the device tree).
        window: &'static str,
        /// Offset of the register in the window.
        offset: u32,
    },
}

/// What a write brings to one register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// The new bits, in place; zero where nothing is written.
    pub value: u32,
    /// The bits that are written.
    pub mask: u32,
}

impl Write {
    /// A write of the whole register.
    pub const fn all(value: u32) -> Self {
        Self {
            value,
            mask: u32::MAX,
        }
    }

    /// The register `old` after this write, where only the bits of `writable` can change.
    #[must_use]
    pub const fn onto(self, old: u32, writable: u32) -> u32 {
        let taken = writable & self.mask;
        (old & !taken) | (self.value & taken)
    }

    /// Whether 1 is written to any bit of `field`.
    pub const fn sets(self, field: Field) -> bool {
        field.is_set(self.value & self.mask)
    }

    /// The value written to `field` if all of it is written.
    pub const fn field(self, field: Field) -> Option<u32> {
        if field.mask() & !self.mask == 0 {
            Some(field.get(self.value))
        } else {
            None
        }
    }
}

/// The part of an access that falls into one register.
struct Lane {
    /// Offset of the register, a multiple of 4.
    register: u64,
    /// First byte within the register, 0 to 3.
    first: usize,
    /// First byte within the access.
    start: usize,
    /// Bytes, 1 to 4.
    len: usize,
}

/// The lanes of `len` bytes from `offset` on, in ascending order; they end at the end of the
/// 64-bit address range.
fn lanes(offset: u64, len: usize) -> impl Iterator<Item = Lane> {
    let mut start = 0;
    std::iter::from_fn(move || {
        if start >= len {
            return None;
        }
        let at = offset.checked_add(start as u64)?;
        let first = (at % 4) as usize;
        let lane = Lane {
            register: at - first as u64,
            first,
            start,
            len: (4 - first).min(len - start),
        };
        start += lane.len;
        Some(lane)
    })
}

/// Reads `data.len()` bytes from `offset` on, asking `register` for each register that is touched.
///
/// # Errors
///
/// The first error of `register`; the bytes from there on are left as they were.
pub fn read_bytes<E>(
    offset: u64,
    data: &mut [u8],
    mut register: impl FnMut(u64) -> Result<u32, E>,
) -> Result<(), E> {
    for lane in lanes(offset, data.len()) {
        let bytes = register(lane.register)?.to_le_bytes();
        data[lane.start..lane.start + lane.len]
            .copy_from_slice(&bytes[lane.first..lane.first + lane.len]);
    }
    Ok(())
}

/// Writes `data` from `offset` on, handing `register` each register that is touched.
///
/// # Errors
///
/// The first error of `register`; the registers before it have been written.
pub fn write_bytes<E>(
    offset: u64,
    data: &[u8],
    mut register: impl FnMut(u64, Write) -> Result<(), E>,
) -> Result<(), E> {
    for lane in lanes(offset, data.len()) {
        let (mut value, mut mask) = ([0; 4], [0; 4]);
        let enabled = lane.first..lane.first + lane.len;
        value[enabled.clone()].copy_from_slice(&data[lane.start..lane.start + lane.len]);
        mask[enabled].fill(0xff);
        let write = Write {
            value: u32::from_le_bytes(value),
            mask: u32::from_le_bytes(mask),
        };
        register(lane.register, write)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// Four registers, 0x03020100 and so on: each byte tells its own offset.
    fn byte_offsets(register: u64) -> Result<u32, Infallible> {
        let first = register as u8;
        Ok(u32::from_le_bytes([first, first + 1, first + 2, first + 3]))
    }

    #[test]
    fn reads_of_any_width_and_alignment_return_the_bytes_asked_for() {
        for offset in 0..8u8 {
            for len in 0..9u8 {
                let mut data = vec![0xee; len.into()];
                read_bytes(offset.into(), &mut data, byte_offsets).unwrap();
                assert_eq!(data, (offset..offset + len).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn writes_carry_the_mask_of_what_is_written() {
        let mut seen = Vec::new();
        write_bytes(3, &[1, 2, 3, 4, 5, 6], |register, write| {
            seen.push((register, write.value, write.mask));
            Ok::<_, Infallible>(())
        })
        .unwrap();
        assert_eq!(
            seen,
            [
                (0, 0x0100_0000, 0xff00_0000),
                (4, 0x0504_0302, 0xffff_ffff),
                (8, 0x0000_0006, 0x0000_00ff)
            ]
        );
    }

    #[test]
    fn an_access_at_the_end_of_the_address_range_ends_there() {
        let mut data = [0; 8];
        let mut registers = Vec::new();
        read_bytes(u64::MAX - 1, &mut data, |register| {
            registers.push(register);
            Ok::<_, Infallible>(0)
        })
        .unwrap();
        assert_eq!(registers, [u64::MAX - 3]);
    }

    #[test]
    fn a_write_changes_only_bits_that_are_written_and_writable() {
        let write = Write {
            value: 0x0000_ab00,
            mask: 0x0000_ff00,
        };
        assert_eq!(write.onto(0x1111_1111, 0xffff_f000), 0x1111_a111);
        assert!(!write.sets(Field::bits(7, 0)));
        assert_eq!(write.field(Field::bits(15, 8)), Some(0xab));
        assert_eq!(
            write.field(Field::bits(16, 8)),
            None,
            "half a field is no field"
        );
    }
}
