// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The SoC as the EP guest's CPU sees it: registers behind BAR 0, the outbound window behind BAR 2.

use std::sync::Arc;

use super::access::{Origin, Requester};
use super::{Machine, Silicon};
use crate::ep_face::EpFace;
use crate::fabric::{self, Resolved};
use crate::vfio_user::{Device, Errno, RegionInfo, CONFIG_REGION};

/// Serves the EP guest's QEMU.
pub struct EpPort(Arc<Machine>);

impl EpPort {
    /// The EP's side of `machine`.
    pub fn new(machine: Arc<Machine>) -> Self {
        Self(machine)
    }
}

/// Resolves an access of the EP's CPU to its outbound window, from `offset` on.
fn window(offset: u64) -> impl Fn(&Silicon, u64, u64) -> Resolved {
    move |silicon, done, left| {
        let (controller, bars) = (&silicon.controller, silicon.ep_face.bars());
        fabric::from_ep_window(controller, bars, offset + done, left)
    }
}

impl Device for EpPort {
    fn region(&self, index: u32) -> Option<RegionInfo> {
        EpFace::region_size(index).map(RegionInfo::read_write)
    }

    fn irq_count(&self, index: u32) -> Option<u32> {
        EpFace::irq_count(index)
    }

    fn read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> Result<(), Errno> {
        self.0.ep_reads.count(region);
        match region {
            CONFIG_REGION => self.0.silicon().ep_face.config_read(offset, data),
            EpFace::REGISTER_BAR => self.0.silicon().controller.ep_read_bytes(offset, data),
            EpFace::WINDOW_BAR => {
                let origin = Origin {
                    by: Requester::Ep,
                    at: offset,
                };
                self.0.read_through(origin, data, window(offset));
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    fn write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<(), Errno> {
        match region {
            CONFIG_REGION => self.0.change(self.0.silicon(), |silicon, _| {
                silicon.ep_face.config_write(offset, data);
            }),
            EpFace::REGISTER_BAR => {
                self.0.change(self.0.silicon(), |silicon, effects| {
                    silicon.controller.ep_write_bytes(offset, data, effects);
                });
            }
            EpFace::WINDOW_BAR => {
                let origin = Origin {
                    by: Requester::Ep,
                    at: offset,
                };
                self.0.write_through(origin, data, window(offset));
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    /// QEMU resets a device before the guest sees it and whenever the board reboots: the SoC is then
    /// as after power-on, and its link is down.
    fn reset(&mut self) {
        self.0.power_cycle_ep();
    }

    fn memory_changed(&mut self) {
        self.0.follow_memory();
    }

    fn post_refused(&mut self, address: u64) {
        self.0.nothing_in_ep(address);
    }
}
