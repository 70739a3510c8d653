// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One region of the endpoint's iATU, programmed from user space as the stock driver does it
//! (`dw_pcie_prog_outbound_atu`, `dw_pcie_prog_inbound_atu`, `dw_pcie_disable_atu`).

use std::time::{Duration, Instant};

use agent::bar::Bar;

use crate::abi::{iatu, spider};

/// How long the driver polls for the enable bit, and much more (`LINK_WAIT_MAX_IATU_RETRIES` times 9 ms).
const PATIENCE: Duration = Duration::from_secs(1);

/// A region.
pub struct Region<'a> {
    registers: &'a Bar,
    at: u32,
}

impl<'a> Region<'a> {
    /// Outbound region `index`.
    ///
    /// # Errors
    /// When there is no such region.
    pub fn outbound(registers: &'a Bar, index: usize) -> Result<Self, String> {
        Self::new(registers, index, 0)
    }

    /// Inbound region `index`.
    ///
    /// # Errors
    /// When there is no such region.
    pub fn inbound(registers: &'a Bar, index: usize) -> Result<Self, String> {
        Self::new(registers, index, iatu::INBOUND)
    }

    fn new(registers: &'a Bar, index: usize, direction: u32) -> Result<Self, String> {
        if index >= iatu::REGIONS {
            return Err(format!("regions are 0 to {}", iatu::REGIONS - 1));
        }
        let at = spider::ATU.offset + index as u32 * iatu::REGION_STRIDE + direction;
        Ok(Self { registers, at })
    }

    fn write(&self, register: u32, value: u32) {
        self.registers.write32((self.at + register) as usize, value);
    }

    fn read(&self, register: u32) -> u32 {
        self.registers.read32((self.at + register) as usize)
    }

    /// Leads `size` bytes from `base` on to `target`, and waits until that holds.
    ///
    /// # Errors
    /// When the region does not say that it is enabled.
    pub fn open(&self, base: u64, size: u64, target: u64) -> Result<(), String> {
        let limit = base + size - 1;
        self.write(iatu::LOWER_BASE, base as u32);
        self.write(iatu::UPPER_BASE, (base >> 32) as u32);
        self.write(iatu::LIMIT, limit as u32);
        self.write(iatu::UPPER_LIMIT, (limit >> 32) as u32);
        self.target(target);
        self.write(iatu::CTRL1, iatu::TYPE_MEMORY);
        self.write(iatu::CTRL2, iatu::ENABLE.mask());
        self.wait()
    }

    /// Leads it elsewhere, enabled or not.
    pub fn target(&self, target: u64) {
        self.write(iatu::LOWER_TARGET, target as u32);
        self.write(iatu::UPPER_TARGET, (target >> 32) as u32);
    }

    /// Waits until the region is enabled: when it says so, every write before has taken effect.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn wait(&self) -> Result<(), String> {
        let begun = Instant::now();
        while self.read(iatu::CTRL2) & iatu::ENABLE.mask() == 0 {
            if begun.elapsed() > PATIENCE {
                return Err("the region does not become enabled".into());
            }
        }
        Ok(())
    }

    /// Disables it, and waits until that holds.
    pub fn close(&self) {
        self.write(iatu::CTRL2, 0);
        self.read(iatu::CTRL2);
    }

    /// Where it leads.
    pub fn present_target(&self) -> u64 {
        u64::from(self.read(iatu::LOWER_TARGET)) | u64::from(self.read(iatu::UPPER_TARGET)) << 32
    }
}
