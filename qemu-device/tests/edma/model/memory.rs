// SPDX-License-Identifier: Apache-2.0 OR MIT
//! RAM as the model has it: a few blocks of bytes at fixed addresses, and nothing between them.

/// RAM of one board, byte by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory(Vec<(u64, Vec<u8>)>);

/// Nothing answers at this address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmapped(pub u64);

impl Memory {
    /// Blocks of RAM, each by its address and its bytes; they may adjoin, not overlap.
    pub fn new(blocks: Vec<(u64, Vec<u8>)>) -> Self {
        Self(blocks)
    }

    /// The byte at `address`, if there is RAM.
    fn byte(&mut self, address: u64) -> Result<&mut u8, Unmapped> {
        self.0
            .iter_mut()
            .find_map(|(base, bytes)| {
                let offset = usize::try_from(address.checked_sub(*base)?).ok()?;
                bytes.get_mut(offset)
            })
            .ok_or(Unmapped(address))
    }

    /// Fills `data` from `address` on, up to the first byte that is not there.
    pub fn read(&mut self, address: u64, data: &mut [u8]) -> Result<(), Unmapped> {
        for (at, byte) in data.iter_mut().enumerate() {
            *byte = *self.byte(address.wrapping_add(at as u64))?;
        }
        Ok(())
    }

    /// Stores `data` from `address` on, up to the first byte that is not there.
    pub fn write(&mut self, address: u64, data: &[u8]) -> Result<(), Unmapped> {
        for (at, byte) in data.iter().enumerate() {
            *self.byte(address.wrapping_add(at as u64))? = *byte;
        }
        Ok(())
    }
}
