// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The PHY's registers: plain storage. The r8a779f0 needs no firmware, and its driver code maps the
//! window without touching it; what is written can be read back.

use abi::spider;

use super::access::Write;

/// The "phy" window.
#[derive(Clone, Debug)]
pub struct Phy {
    registers: [u32; spider::PHY.size as usize / 4],
}

impl Phy {
    /// As after power-on: all zero.
    pub const fn new() -> Self {
        Self {
            registers: [0; spider::PHY.size as usize / 4],
        }
    }

    /// Power-on reset.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// The register at `offset`, a multiple of 4.
    pub fn read(&self, offset: u32) -> Option<u32> {
        self.registers.get(offset as usize / 4).copied()
    }

    /// Writes the register at `offset`; `None` if there is none.
    pub fn write(&mut self, offset: u32, write: Write) -> Option<()> {
        let register = self.registers.get_mut(offset as usize / 4)?;
        *register = write.onto(*register, u32::MAX);
        Some(())
    }
}

impl Default for Phy {
    fn default() -> Self {
        Self::new()
    }
}
