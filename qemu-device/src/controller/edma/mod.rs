// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Embedded DMA controller (eDMA) v0: registers, interrupt line and interrupt emulation. It does not
//! move data yet; a doorbell is counted and nothing more.
//!
//! Status, mask and message registers are single copies shared by whoever programs the eDMA, the EP's
//! own driver and the RC alike. The races that follow from that are the silicon's, and kept.

mod job;
mod registers;

pub use job::{Job, Limits, Outcome, Ticket, Transfer};
pub use registers::Direction;

use abi::edma::{self as layout, control};
use serde_json::{json, Value};

use self::registers::{decode, ChannelRegister, EngineRegister, Register};
use super::access::Write;

/// Done and abort bits of all channels.
const INTERRUPTS: u32 = layout::DONE.mask() | layout::ABORT.mask();
/// Linked-list error enables, local and remote.
const LINKED_LIST_ERRORS: u32 =
    layout::LINKED_LIST_ERR_LOCAL.mask() | layout::LINKED_LIST_ERR_REMOTE.mask();
/// What can be written of a channel's control 1; its status is the engine's.
const CONTROL1_WRITABLE: u32 = !control::CS.mask();

/// Registers of one channel.
#[derive(Clone, Copy, Debug, Default)]
struct Channel {
    control1: u32,
    control2: u32,
    transfer_size: u32,
    sar: [u32; 2],
    dar: [u32; 2],
    llp: [u32; 2],
}

impl Channel {
    fn read(&self, register: ChannelRegister) -> u32 {
        match register {
            ChannelRegister::Control1 => self.control1,
            ChannelRegister::Control2 => self.control2,
            ChannelRegister::TransferSize => self.transfer_size,
            ChannelRegister::SarLow => self.sar[0],
            ChannelRegister::SarHigh => self.sar[1],
            ChannelRegister::DarLow => self.dar[0],
            ChannelRegister::DarHigh => self.dar[1],
            ChannelRegister::LlpLow => self.llp[0],
            ChannelRegister::LlpHigh => self.llp[1],
        }
    }

    fn write(&mut self, register: ChannelRegister, write: Write) {
        let (register, writable) = match register {
            ChannelRegister::Control1 => (&mut self.control1, CONTROL1_WRITABLE),
            ChannelRegister::Control2 => (&mut self.control2, u32::MAX),
            ChannelRegister::TransferSize => (&mut self.transfer_size, u32::MAX),
            ChannelRegister::SarLow => (&mut self.sar[0], u32::MAX),
            ChannelRegister::SarHigh => (&mut self.sar[1], u32::MAX),
            ChannelRegister::DarLow => (&mut self.dar[0], u32::MAX),
            ChannelRegister::DarHigh => (&mut self.dar[1], u32::MAX),
            ChannelRegister::LlpLow => (&mut self.llp[0], u32::MAX),
            ChannelRegister::LlpHigh => (&mut self.llp[1], u32::MAX),
        };
        *register = write.onto(*register, writable);
    }
}

/// Registers of one direction.
#[derive(Clone, Debug, Default)]
struct Engine {
    enable: u32,
    arbitration_weight: [u32; 2],
    int_status: u32,
    int_mask: u32,
    /// The line is asserted by a write to `int_status`, until any write to `int_clear`.
    emulated: bool,
    err_status: [u32; 2],
    done_imwr: [u32; 2],
    abort_imwr: [u32; 2],
    imwr_data: [u32; layout::MAX_CHANNELS / 2],
    linked_list_err_enable: u32,
    channel_group: u32,
    power_enable: [u32; layout::MAX_CHANNELS],
    channels: [Channel; layout::MAX_CHANNELS],
    /// Doorbells rung since power-on.
    doorbells: u64,
    /// Interrupts emulated since power-on.
    emulations: u64,
}

impl Engine {
    fn read(&self, register: EngineRegister) -> u32 {
        match register {
            EngineRegister::Enable => self.enable,
            EngineRegister::ArbitrationWeight(half) => self.arbitration_weight[half],
            EngineRegister::IntStatus => self.int_status,
            EngineRegister::IntMask => self.int_mask,
            EngineRegister::ErrStatus(half) => self.err_status[half],
            EngineRegister::DoneImwr(half) => self.done_imwr[half],
            EngineRegister::AbortImwr(half) => self.abort_imwr[half],
            EngineRegister::ImwrData(pair) => self.imwr_data[pair],
            EngineRegister::LinkedListErrEnable => self.linked_list_err_enable,
            EngineRegister::ChannelGroup => self.channel_group,
            EngineRegister::PowerEnable(channel) => self.power_enable[channel],
            // Write only, or not implemented by this core.
            EngineRegister::Doorbell | EngineRegister::IntClear | EngineRegister::Handshake(_) => 0,
        }
    }

    /// Writes a register. Returns whether the handler of an interrupt may now wait for the line's
    /// next edge, having cleared or unmasked something.
    fn write(&mut self, register: EngineRegister, write: Write) -> bool {
        let (register, writable) = match register {
            EngineRegister::Enable => (&mut self.enable, layout::ENGINE_ENABLE.mask()),
            EngineRegister::Doorbell => {
                self.doorbells += 1;
                return false;
            }
            EngineRegister::ArbitrationWeight(half) => {
                (&mut self.arbitration_weight[half], u32::MAX)
            }
            // Interrupt emulation: asserts the line, sets no status, is not masked
            // (`dw_edma_v0_core_db_offset`, `dw_edma_v0_core_ack_emulated_irq`).
            EngineRegister::IntStatus => {
                self.emulated = true;
                self.emulations += 1;
                return false;
            }
            EngineRegister::IntMask => {
                self.int_mask = write.onto(self.int_mask, INTERRUPTS);
                return true;
            }
            EngineRegister::IntClear => {
                self.emulated = false;
                self.int_status &= !(write.value & write.mask);
                return true;
            }
            EngineRegister::DoneImwr(half) => (&mut self.done_imwr[half], u32::MAX),
            EngineRegister::AbortImwr(half) => (&mut self.abort_imwr[half], u32::MAX),
            EngineRegister::ImwrData(pair) => (&mut self.imwr_data[pair], u32::MAX),
            EngineRegister::LinkedListErrEnable => {
                (&mut self.linked_list_err_enable, LINKED_LIST_ERRORS)
            }
            EngineRegister::ChannelGroup => (&mut self.channel_group, u32::MAX),
            EngineRegister::PowerEnable(channel) => {
                (&mut self.power_enable[channel], layout::POWER_ENABLE.mask())
            }
            EngineRegister::ErrStatus(_) | EngineRegister::Handshake(_) => return false,
        };
        *register = write.onto(*register, writable);
        false
    }

    const fn line(&self) -> bool {
        self.emulated || self.int_status & !self.int_mask & INTERRUPTS != 0
    }

    fn inspect(&self, channels: usize) -> Value {
        let address = |halves: [u32; 2]| format!("{:#x}", joined(halves));
        let channel = |(index, channel): (usize, &Channel)| {
            json!({
                "channel": index,
                "status": status_name(control::CS.get(channel.control1)),
                "control1": format!("{:#x}", channel.control1),
                "transfer_size": channel.transfer_size,
                "sar": address(channel.sar),
                "dar": address(channel.dar),
                "llp": address(channel.llp),
            })
        };
        json!({
            "enabled": layout::ENGINE_ENABLE.is_set(self.enable),
            "int_status": format!("{:#x}", self.int_status),
            "int_mask": format!("{:#x}", self.int_mask),
            "emulated_interrupt": self.emulated,
            "emulated_interrupts": self.emulations,
            "doorbells": self.doorbells,
            "done_imwr": address(self.done_imwr),
            "abort_imwr": address(self.abort_imwr),
            "channels": self.channels.iter().enumerate().take(channels).map(channel)
                .collect::<Value>(),
        })
    }
}

/// The eDMA.
#[derive(Clone, Debug)]
pub struct Edma {
    /// Channels in each direction, 0 for a controller without an eDMA.
    channels: u8,
    arbitration: u32,
    write: Engine,
    read: Engine,
}

impl Edma {
    /// As after power-on, with as many channels in each direction as given, at most 8.
    ///
    /// With `None` the window has one register, the channel counts, and it reads 0: the driver then
    /// takes the eDMA for absent (`dw_pcie_edma_find_channels`).
    pub fn new(channels: Option<u8>) -> Self {
        Self {
            channels: channels.unwrap_or(0).min(layout::MAX_CHANNELS as u8),
            arbitration: 0,
            write: Engine::default(),
            read: Engine::default(),
        }
    }

    /// Power-on reset.
    pub fn reset(&mut self) {
        let Self {
            channels: _,
            arbitration,
            write,
            read,
        } = self;
        *arbitration = 0;
        *write = Engine::default();
        *read = Engine::default();
    }

    /// The register at `offset` of the dma window, a multiple of 4.
    pub fn read(&self, offset: u32) -> Option<u32> {
        Some(match self.decode(offset)? {
            Register::Arbitration => self.arbitration,
            Register::Ctrl => {
                let channels = self.channels.into();
                layout::WRITE_CHANNELS.place(channels) | layout::READ_CHANNELS.place(channels)
            }
            Register::Engine(direction, register) => self.engine(direction).read(register),
            Register::Channel(direction, channel, register) => {
                self.engine(direction).channels[channel].read(register)
            }
        })
    }

    /// Writes the register at `offset` of the dma window; `None` if there is none. The value tells
    /// whether the interrupt line, if it is high after the write, needs another edge.
    pub fn write(&mut self, offset: u32, write: Write) -> Option<bool> {
        Some(match self.decode(offset)? {
            Register::Arbitration => {
                self.arbitration = write.onto(self.arbitration, u32::MAX);
                false
            }
            Register::Ctrl => false,
            Register::Engine(direction, register) => {
                self.engine_mut(direction).write(register, write)
            }
            Register::Channel(direction, channel, register) => {
                self.engine_mut(direction).channels[channel].write(register, write);
                false
            }
        })
    }

    /// The register at `offset` that this controller has, given its number of channels.
    fn decode(&self, offset: u32) -> Option<Register> {
        decode(offset).filter(|register| match register {
            Register::Ctrl => true,
            Register::Channel(_, channel, _) => *channel < self.channels.into(),
            Register::Arbitration | Register::Engine(..) => self.channels > 0,
        })
    }

    const fn engine(&self, direction: Direction) -> &Engine {
        match direction {
            Direction::Write => &self.write,
            Direction::Read => &self.read,
        }
    }

    fn engine_mut(&mut self, direction: Direction) -> &mut Engine {
        match direction {
            Direction::Write => &mut self.write,
            Direction::Read => &mut self.read,
        }
    }

    /// The level of the one interrupt line that both directions share (`edma_int`).
    pub const fn line(&self) -> bool {
        self.write.line() || self.read.line()
    }

    /// The tree that `inspect` shows.
    pub fn inspect(&self) -> Value {
        if self.channels == 0 {
            return json!({ "present": false });
        }
        json!({
            "present": true,
            "interrupt_line": self.line(),
            "write": self.write.inspect(self.channels.into()),
            "read": self.read.inspect(self.channels.into()),
        })
    }
}

const fn joined([low, high]: [u32; 2]) -> u64 {
    (high as u64) << 32 | low as u64
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
