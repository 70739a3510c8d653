// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a write to the eDMA's registers does, as the driver and the databook's names have it.

use abi::edma::{self, channel, control};

use super::{Model, State, Stop, Way};

/// Registers of one direction that all its channels share.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    pub enable: bool,
    pub status: u32,
    pub mask: u32,
    pub done_imwr: [u32; 2],
    pub abort_imwr: [u32; 2],
    pub imwr_data: [u32; 4],
    pub linked_list_err: u32,
    /// Error status, low and high.
    pub error: [u32; 2],
}

impl Shared {
    /// The direction's part in the one line to the EP's CPU.
    pub fn line(&self) -> bool {
        self.status & !self.mask != 0
    }

    /// Address and data of the message that tells the RC of a channel's end.
    pub fn message(&self, number: usize, abort: bool) -> (u64, u32) {
        let [low, high] = if abort {
            self.abort_imwr
        } else {
            self.done_imwr
        };
        let pair = self.imwr_data[number / 2];
        let data = if number % 2 == 0 {
            pair & 0xffff
        } else {
            pair >> 16
        };
        (u64::from(high) << 32 | u64::from(low & !3), data)
    }
}

impl Model {
    /// A write of 32 bits to the dma window.
    pub fn write(&mut self, offset: u32, value: u32) {
        for way in [Way::Write, Way::Read] {
            if self.write_channel(way, offset, value) {
                return;
            }
            self.write_shared(way, offset, value);
        }
    }

    fn write_channel(&mut self, way: Way, offset: u32, value: u32) -> bool {
        let Some(within) = offset.checked_sub(way.map().channels) else {
            return false;
        };
        let (number, register) = (within / edma::CHANNEL_STRIDE, within % edma::CHANNEL_STRIDE);
        if register >= channel::SIZE || number as usize >= self.channels {
            return false;
        }
        let channel = self.channel_mut(way, number as usize);
        if channel.state == State::Running {
            // A channel at work cannot be changed under way.
        } else if register == channel::CONTROL1 {
            // The status is the engine's (`control::CS`).
            channel.control1 = value & !control::CS.mask();
        } else {
            channel.registers[register as usize / 4] = value;
        }
        true
    }

    fn write_shared(&mut self, way: Way, offset: u32, value: u32) {
        let map = way.map();
        let shared = &mut self.shared[way as usize];
        match offset {
            at if at == map.engine_enable => {
                let enable = value & 1 != 0;
                if shared.enable && !enable {
                    self.stop_all(way, Stop::Disabled);
                }
                self.shared[way as usize].enable = enable;
            }
            at if at == map.doorbell => self.doorbell(way, value),
            at if at == map.int_status => self.emulated = true,
            at if at == map.int_mask => shared.mask = value & 0x00ff_00ff,
            at if at == map.int_clear => {
                self.emulated = false;
                shared.status &= !value;
                // An error's bits go with the abort that tells of it.
                let channels = value >> 16 & 0xff;
                shared.error[0] &= !(channels | channels << 16);
                shared.error[1] &= !channels;
            }
            at if at == map.done_imwr => shared.done_imwr[0] = value,
            at if at == map.done_imwr + 4 => shared.done_imwr[1] = value,
            at if at == map.abort_imwr => shared.abort_imwr[0] = value,
            at if at == map.abort_imwr + 4 => shared.abort_imwr[1] = value,
            at if (map.imwr_data..map.imwr_data + 16).contains(&at) => {
                shared.imwr_data[(at - map.imwr_data) as usize / 4] = value;
            }
            at if at == map.linked_list_err_enable => {
                shared.linked_list_err = value & 0x00ff_00ff;
            }
            _ => {}
        }
    }

    /// A doorbell starts a channel that stands still, is remembered for one that runs, and with the stop
    /// bit ends a run early.
    fn doorbell(&mut self, way: Way, value: u32) {
        let number = edma::DOORBELL_CHANNEL.get(value) as usize;
        if !self.shared[way as usize].enable || number >= self.channels {
            return;
        }
        if edma::DOORBELL_STOP.is_set(value) {
            return self.stop(way, number, Stop::Asked);
        }
        let channel = self.channel_mut(way, number);
        if channel.state == State::Running {
            channel.latched = true;
        } else {
            channel.start();
        }
    }
}
