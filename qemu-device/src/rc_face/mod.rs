// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The shape in which the function is plugged into the RC.
//!
//! QEMU takes BAR sizes, capabilities and interrupt counts once, when the device is realized, and keeps
//! them until it is unplugged. So they are taken from the registers once here too; what the EP changes
//! later shows at the next plug.

mod config;

use std::convert::Infallible;
use std::sync::Arc;

use abi::pci::{self, header, msi, rebar};

pub use self::config::{Correction, Source};

use self::config::ConfigSpace;
use crate::controller::{read_bytes, Controller, Effects};
use abi::dbi;

/// Sizes, counts and configuration space as they were when the function was plugged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RcFace {
    bars: [u64; pci::BARS],
    config: Arc<ConfigSpace>,
    corrections: Arc<[Correction]>,
}

impl RcFace {
    /// Takes the function's shape from its registers.
    pub fn plug(controller: &Controller) -> Self {
        let mut bars = [0; pci::BARS];
        for (index, bar) in controller.bars().iter().filter(|(_, bar)| bar.enabled()) {
            bars[index] = bar.size().into();
        }
        let (config, corrections) = ConfigSpace::plug(controller);
        Self {
            bars,
            config: Arc::new(config),
            corrections: corrections.into(),
        }
    }

    /// The fields of configuration space that the EP's software has set to something that no RC must see.
    pub fn corrections(&self) -> &[Correction] {
        &self.corrections
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
    pub fn irq_count(&self, index: u32) -> Option<u32> {
        match index {
            0 => {
                let pin = self.config.field(header::INTERRUPT, header::INTERRUPT_PIN);
                Some(u32::from(pin != 0))
            }
            1 => {
                let control = dbi::MSI + msi::HEADER;
                Some(1 << self.config.field(control, msi::CAPABLE))
            }
            2..=4 => Some(0),
            _ => None,
        }
    }

    /// Reads configuration space; all ones beyond its end.
    pub fn config_read(&self, source: &Source<'_>, offset: u64, data: &mut [u8]) {
        data.fill(0xff);
        let Ok(()) = read_bytes(offset, data, |register| {
            Ok::<_, Infallible>(self.config.read(register, source))
        });
    }

    /// Writes configuration space on behalf of the RC, but for the sizes of resizable BARs. QEMU passes every
    /// write on, those that it does not heed itself as well; and it has fixed these sizes.
    pub fn config_write(
        &self,
        controller: &mut Controller,
        offset: u64,
        data: &[u8],
        effects: &mut Effects,
    ) {
        let fixed = u64::from(dbi::RESIZABLE_BAR)
            ..u64::from(
                dbi::RESIZABLE_BAR
                    + rebar::CAPABILITY
                    + rebar::STRIDE * dbi::RESIZABLE_BARS.len() as u32,
            );
        let within = |at: u64| (at.saturating_sub(offset) as usize).min(data.len());
        let (before, after) = (&data[..within(fixed.start)], &data[within(fixed.end)..]);
        if !before.is_empty() {
            controller.rc_config_write(offset, before, effects);
        }
        if !after.is_empty() {
            controller.rc_config_write(offset.max(fixed.end), after, effects);
        }
    }
}
