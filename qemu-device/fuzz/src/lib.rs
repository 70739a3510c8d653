// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the targets have in common. `cargo +nightly fuzz run session` (or `stream`) in `qemu-device/`.

use qemu_device::vfio_user::irq::{ERR_INDEX, INTX_INDEX, MSIX_INDEX, MSI_INDEX};
use qemu_device::vfio_user::{Device, Errno, RegionInfo, CONFIG_REGION};

/// A device with a small BAR, so that replies stay short.
pub struct Toy([u8; 64]);

impl Default for Toy {
    fn default() -> Self {
        Self([0; 64])
    }
}

impl Device for Toy {
    fn region(&self, index: u32) -> Option<RegionInfo> {
        match index {
            0 => Some(RegionInfo::read_write(64)),
            2 => Some(RegionInfo::read_only(16)),
            CONFIG_REGION => Some(RegionInfo::read_write(256)),
            _ => None,
        }
    }

    fn irq_count(&self, index: u32) -> Option<u32> {
        match index {
            INTX_INDEX | ERR_INDEX => Some(1),
            MSI_INDEX => Some(32),
            MSIX_INDEX => Some(2048),
            _ => None,
        }
    }

    fn read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> Result<(), Errno> {
        match region {
            0 => data.copy_from_slice(&self.0[offset as usize..offset as usize + data.len()]),
            2 => data.fill(2),
            _ => return Err(Errno::EIO),
        }
        Ok(())
    }

    fn write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<(), Errno> {
        match region {
            0 => self.0[offset as usize..offset as usize + data.len()].copy_from_slice(data),
            _ => return Err(Errno::EIO),
        }
        Ok(())
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}
