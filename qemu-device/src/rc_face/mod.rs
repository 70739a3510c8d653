// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The shape in which the function is plugged into the RC.
//!
//! QEMU takes BAR sizes, capabilities and interrupt counts once, when the device is realized, and keeps
//! them until it is unplugged. So they are taken from the registers once here too; what the EP changes
//! later shows in the registers only, and at the next plug.

use abi::pci;

use crate::controller::Controller;

/// Sizes and counts as they were when the function was plugged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RcFace {
    bars: [u64; pci::BARS],
    intx: u32,
    msi_vectors: u32,
}

impl RcFace {
    /// Takes the function's shape from its registers.
    pub fn plug(controller: &Controller) -> Self {
        let mut bars = [0; pci::BARS];
        for (index, bar) in controller.bars().iter().filter(|(_, bar)| bar.enabled()) {
            bars[index] = bar.size().into();
        }
        Self {
            bars,
            intx: u32::from(controller.interrupt_pin() != 0),
            msi_vectors: controller.msi_vectors_offered().into(),
        }
    }

    /// Bytes of a vfio region: BARs 0 to 5, ROM 6, configuration space 7, VGA 8. 0 for a region that
    /// the function does not have, `None` beyond the last.
    pub fn region_size(&self, index: u32) -> Option<u64> {
        match index {
            0..=5 => self.bars.get(index as usize).copied(),
            7 => Some(pci::CONFIG_SIZE.into()),
            6 | 8 => Some(0),
            _ => None,
        }
    }

    /// Interrupts of a vfio index: INTx 0, MSI 1, MSI-X 2, error 3, request 4; `None` beyond.
    pub const fn irq_count(&self, index: u32) -> Option<u32> {
        match index {
            0 => Some(self.intx),
            1 => Some(self.msi_vectors),
            2..=4 => Some(0),
            _ => None,
        }
    }
}
