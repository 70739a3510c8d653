// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One direction's engine: its registers and its channels.

use abi::edma::{self as layout, control};
use serde_json::{json, Value};

use super::channel::Channel;
use super::interrupts::{Interrupts, Raised};
use super::registers::{ChannelRegister, EngineRegister};
use super::{Direction, Job, Limits, Outcome, Ticket};
use crate::controller::access::Write;
use crate::controller::{Effect, Effects};

/// The engine of one direction.
#[derive(Clone, Debug)]
pub struct Engine {
    direction: Direction,
    /// Those that are built in.
    channels: Vec<Channel>,
    enable: u32,
    arbitration_weight: [u32; 2],
    interrupts: Interrupts,
    channel_group: u32,
    power_enable: [u32; layout::MAX_CHANNELS],
    /// Doorbells rung since power-on, stops included.
    doorbells: u64,
    /// Those of them that reached no channel, or a disabled engine.
    unheard: u64,
}

impl Engine {
    /// As after power-on, with `channels` channels.
    pub fn new(direction: Direction, channels: u8) -> Self {
        Self {
            direction,
            channels: vec![Channel::default(); channels.into()],
            enable: 0,
            arbitration_weight: [0; 2],
            interrupts: Interrupts::default(),
            channel_group: 0,
            power_enable: [0; layout::MAX_CHANNELS],
            doorbells: 0,
            unheard: 0,
        }
    }

    /// Power-on reset.
    pub fn reset(&mut self) {
        let mut channels = std::mem::take(&mut self.channels);
        channels.iter_mut().for_each(Channel::reset);
        *self = Self {
            channels,
            ..Self::new(self.direction, 0)
        };
    }

    /// The register's value.
    pub fn read(&self, register: EngineRegister) -> u32 {
        match register {
            EngineRegister::Enable => self.enable | u32::from(self.is_draining()),
            EngineRegister::ArbitrationWeight(half) => self.arbitration_weight[half],
            EngineRegister::IntStatus => self.interrupts.status,
            EngineRegister::IntMask => self.interrupts.mask,
            EngineRegister::ErrStatus(half) => self.interrupts.errors[half],
            EngineRegister::DoneImwr(half) => self.interrupts.done_imwr[half],
            EngineRegister::AbortImwr(half) => self.interrupts.abort_imwr[half],
            EngineRegister::ImwrData(pair) => self.interrupts.imwr_data[pair],
            EngineRegister::LinkedListErrEnable => self.interrupts.linked_list_errors,
            EngineRegister::ChannelGroup => self.channel_group,
            EngineRegister::PowerEnable(channel) => self.power_enable[channel],
            // Write only, or not implemented by this core.
            EngineRegister::Doorbell | EngineRegister::IntClear | EngineRegister::Handshake(_) => 0,
        }
    }

    /// Writes a register. Returns whether the handler of an interrupt may now wait for the line's
    /// next edge, having cleared or unmasked something.
    pub fn write(&mut self, register: EngineRegister, write: Write, effects: &mut Effects) -> bool {
        let (register, writable) = match register {
            EngineRegister::Enable => {
                self.enable = write.onto(self.enable, layout::ENGINE_ENABLE.mask());
                if self.enable == 0 {
                    self.on_each_channel(effects, Channel::disable);
                }
                return false;
            }
            EngineRegister::Doorbell => {
                self.ring(write, effects);
                return false;
            }
            EngineRegister::IntStatus => {
                self.interrupts.emulate();
                return false;
            }
            EngineRegister::IntMask => {
                self.interrupts.write_mask(write);
                return true;
            }
            EngineRegister::IntClear => {
                self.interrupts.clear(write);
                return true;
            }
            EngineRegister::LinkedListErrEnable => {
                self.interrupts.write_linked_list_errors(write);
                return false;
            }
            EngineRegister::ArbitrationWeight(half) => {
                (&mut self.arbitration_weight[half], u32::MAX)
            }
            EngineRegister::DoneImwr(half) => (&mut self.interrupts.done_imwr[half], u32::MAX),
            EngineRegister::AbortImwr(half) => (&mut self.interrupts.abort_imwr[half], u32::MAX),
            EngineRegister::ImwrData(pair) => (&mut self.interrupts.imwr_data[pair], u32::MAX),
            EngineRegister::ChannelGroup => (&mut self.channel_group, u32::MAX),
            EngineRegister::PowerEnable(channel) => {
                (&mut self.power_enable[channel], layout::POWER_ENABLE.mask())
            }
            EngineRegister::ErrStatus(_) | EngineRegister::Handshake(_) => return false,
        };
        *register = write.onto(*register, writable);
        false
    }

    /// Any write to an `int_clear` deasserts an emulated interrupt.
    pub fn end_emulation(&mut self) {
        self.interrupts.emulated = false;
    }

    /// A channel's register; the channel is built in.
    pub fn read_channel(&self, channel: usize, register: ChannelRegister) -> u32 {
        self.channels
            .get(channel)
            .map_or(0, |channel| channel.read(register))
    }

    /// Writes a channel's register.
    pub fn write_channel(&mut self, channel: usize, register: ChannelRegister, write: Write) {
        if let Some(channel) = self.channels.get_mut(channel) {
            channel.write(register, write);
        }
    }

    /// Whether something still moves although the engine was disabled.
    fn is_draining(&self) -> bool {
        self.channels.iter().any(Channel::is_out)
    }

    /// A write to `doorbell`. A byte that was not written is none of it.
    fn ring(&mut self, write: Write, effects: &mut Effects) {
        self.doorbells += 1;
        let number = layout::DOORBELL_CHANNEL.get(write.value) as usize;
        let enabled = self.enable != 0;
        let Some(channel) = self.channels.get_mut(number).filter(|_| enabled) else {
            self.unheard += 1;
            return;
        };
        if write.sets(layout::DOORBELL_STOP) {
            let raised = channel.stop();
            self.interrupts
                .raise(self.direction, number, raised, effects);
        } else if channel.ring() {
            effects.push(Effect::DmaReady);
        }
    }

    /// The link is gone: nothing more can be moved.
    pub fn link_lost(&mut self, effects: &mut Effects) {
        self.on_each_channel(effects, Channel::link_lost);
    }

    fn on_each_channel(&mut self, effects: &mut Effects, act: impl Fn(&mut Channel) -> Raised) {
        for (number, channel) in self.channels.iter_mut().enumerate() {
            let raised = act(channel);
            self.interrupts
                .raise(self.direction, number, raised, effects);
        }
    }

    /// The next job of channel `number`.
    pub fn next(&mut self, number: usize, limits: Limits, effects: &mut Effects) -> Option<Job> {
        let mut raised = Raised::default();
        let job = self
            .channels
            .get_mut(number)?
            .next(self.direction, number, limits, &mut raised);
        self.interrupts
            .raise(self.direction, number, raised, effects);
        job
    }

    /// Takes the outcome of a job. `false` if it was void.
    pub fn finish(&mut self, ticket: Ticket, outcome: Outcome<'_>, effects: &mut Effects) -> bool {
        let number = usize::from(ticket.channel);
        let Some(channel) = self.channels.get_mut(number) else {
            return false;
        };
        let mut raised = Raised::default();
        let valid = channel.finish(ticket, outcome, &mut raised);
        self.interrupts
            .raise(self.direction, number, raised, effects);
        valid
    }

    /// The direction's share of the interrupt line.
    pub const fn line(&self) -> bool {
        self.interrupts.line()
    }

    /// The tree that `inspect` shows.
    pub fn inspect(&self) -> Value {
        let halves = |[low, high]: [u32; 2]| {
            let address = u64::from(high) << 32 | u64::from(low);
            format!("{address:#x}")
        };
        let interrupts = &self.interrupts;
        json!({
            "enabled": layout::ENGINE_ENABLE.is_set(self.enable),
            "int_status": format!("{:#x}", interrupts.status),
            "int_mask": format!("{:#x}", interrupts.mask),
            "err_status": halves(interrupts.errors),
            "linked_list_err_en": format!("{:#x}", interrupts.linked_list_errors),
            "emulated_interrupt": interrupts.emulated,
            "emulated_interrupts": interrupts.emulations,
            "doorbells": self.doorbells,
            "unheard_doorbells": self.unheard,
            "done_imwr": halves(interrupts.done_imwr),
            "abort_imwr": halves(interrupts.abort_imwr),
            "channels": self.channels.iter().enumerate().map(inspect_channel).collect::<Value>(),
        })
    }
}

fn inspect_channel((number, channel): (usize, &Channel)) -> Value {
    let [sar, dar, llp] = channel.addresses().map(|address| format!("{address:#x}"));
    let counters = channel.counters();
    let (last_interrupt, last_error) = channel.last();
    json!({
        "channel": number,
        "status": status_name(control::CS.get(channel.control1())),
        "job_out": channel.is_out(),
        "control1": format!("{:#x}", channel.control1()),
        "transfer_size": channel.transfer_size(),
        "sar": sar,
        "dar": dar,
        "llp": llp,
        "runs": counters.runs,
        "elements": counters.elements,
        "bytes": counters.bytes,
        "links": counters.links,
        "done_interrupts": counters.done,
        "errors": counters.errors,
        "stops": counters.stops,
        "last_interrupt": last_interrupt,
        "last_error": last_error.map(crate::controller::Reason::name),
    })
}

/// A channel's status in words (`dw_edma_v0_core_ch_status`).
const fn status_name(status: u32) -> &'static str {
    match status {
        control::CS_RUNNING => "running",
        control::CS_HALTED => "halted",
        control::CS_STOPPED => "stopped",
        _ => "idle",
    }
}
