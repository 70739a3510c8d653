// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The endpoint's function as the RC's bus sees it: configuration space and BARs.

use std::sync::Arc;

use super::{Machine, Silicon};
use crate::fabric::{self, Resolved};
use crate::rc_face::RcFace;
use crate::vfio_user::{Device, Errno, RegionInfo, CONFIG_REGION};

/// Serves the RC guest's QEMU for one rise of the link. Once that link is down the function behind
/// this connection is gone for good: reads give all ones, writes vanish, as after a surprise removal.
pub struct RcPort {
    machine: Arc<Machine>,
    /// The shape of the function when it was plugged: QEMU freezes it, whatever the EP does later.
    face: RcFace,
    generation: u32,
}

impl RcPort {
    /// The RC's side of `machine` for the link of this `generation`, with the function as `face` has it.
    pub fn new(machine: Arc<Machine>, face: RcFace, generation: u32) -> Self {
        Self {
            machine,
            face,
            generation,
        }
    }

    /// Whether the link that plugged this function still stands.
    fn linked(&self) -> bool {
        self.machine.rc_socket.current() == Some(self.generation)
    }
}

/// Resolves an access of the RC to BAR `bar` of the function, from `offset` on.
fn through_bar(bar: u8, offset: u64) -> impl Fn(&Silicon, u64, u64) -> Resolved {
    move |silicon, done, left| {
        let (controller, bars) = (&silicon.controller, silicon.ep_face.bars());
        fabric::from_rc_bar(controller, bars, bar, offset + done, left)
    }
}

impl Device for RcPort {
    fn region(&self, index: u32) -> Option<RegionInfo> {
        self.face.region_size(index).map(RegionInfo::read_write)
    }

    fn irq_count(&self, index: u32) -> Option<u32> {
        self.face.irq_count(index)
    }

    fn read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> Result<(), Errno> {
        if !self.linked() {
            data.fill(0xff);
            return Ok(());
        }
        match region {
            CONFIG_REGION => self
                .machine
                .silicon()
                .controller
                .rc_config_read(offset, data),
            bar @ 0..=5 => self
                .machine
                .read_through(data, through_bar(bar as u8, offset)),
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    fn write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<(), Errno> {
        if !self.linked() {
            return Ok(());
        }
        match region {
            CONFIG_REGION => {
                let machine = &self.machine;
                machine.change(machine.silicon(), |silicon, effects| {
                    silicon.controller.rc_config_write(offset, data, effects);
                });
            }
            bar @ 0..=5 => self
                .machine
                .write_through(data, through_bar(bar as u8, offset)),
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    fn reset(&mut self) {
        if self.linked() {
            let machine = &self.machine;
            machine.change(machine.silicon(), |silicon, _| {
                silicon.controller.rc_reset();
            });
        }
    }

    fn memory_changed(&mut self) {
        self.machine.follow_memory();
    }
}
