// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Embedded DMA controller (eDMA) v0: registers, linked lists, interrupts and interrupt emulation.
//!
//! It moves no data itself. It says what is to be moved ([`Job`]), and whoever drives it reports how that
//! went ([`Outcome`]); a job covers a bounded part of one channel's list, and channels take turns.
//!
//! Status, mask and message registers are single copies shared by whoever programs the eDMA, the EP's
//! own driver and the RC alike. The races that follow from that are the silicon's, and kept.

mod channel;
mod element;
mod engine;
mod interrupts;
mod job;
mod registers;

pub use job::{Job, Limits, Outcome, Ticket, Transfer};
pub use registers::Direction;

use abi::edma as layout;
use serde_json::{json, Value};

use self::engine::Engine;
use self::registers::{decode, EngineRegister, Register};
use super::access::Write;
use super::Effects;

/// The eDMA.
#[derive(Clone, Debug)]
pub struct Edma {
    /// Channels in each direction, 0 for a controller without an eDMA.
    channels: u8,
    arbitration: u32,
    write: Engine,
    read: Engine,
    /// Whose turn it is: write channels have even numbers, read channels odd ones.
    turn: usize,
}

impl Edma {
    /// As after power-on, with as many channels in each direction as given, at most 8.
    ///
    /// With `None` the window has one register, the channel counts, and it reads 0: the driver then
    /// takes the eDMA for absent (`dw_pcie_edma_find_channels`).
    pub fn new(channels: Option<u8>) -> Self {
        let channels = channels.unwrap_or(0).min(layout::MAX_CHANNELS as u8);
        Self {
            channels,
            arbitration: 0,
            write: Engine::new(Direction::Write, channels),
            read: Engine::new(Direction::Read, channels),
            turn: 0,
        }
    }

    /// Power-on reset. Jobs that are out are void.
    pub fn reset(&mut self) {
        let Self {
            channels: _,
            arbitration,
            write,
            read,
            turn: _,
        } = self;
        *arbitration = 0;
        write.reset();
        read.reset();
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
                self.engine(direction).read_channel(channel, register)
            }
        })
    }

    /// Writes the register at `offset` of the dma window; `None` if there is none. The value tells
    /// whether the interrupt line, if it is high after the write, needs another edge.
    pub fn write(&mut self, offset: u32, write: Write, effects: &mut Effects) -> Option<bool> {
        Some(match self.decode(offset)? {
            Register::Arbitration => {
                self.arbitration = write.onto(self.arbitration, u32::MAX);
                false
            }
            Register::Ctrl => false,
            Register::Engine(direction, register) => {
                if register == EngineRegister::IntClear {
                    // Whichever direction's it is. Otherwise the first of the driver's two zeroes would
                    // leave the line high, and the edge sent again for it would look like a second
                    // doorbell (`dw_edma_v0_core_ack_emulated_irq`).
                    self.write.end_emulation();
                    self.read.end_emulation();
                }
                self.engine_mut(direction).write(register, write, effects)
            }
            Register::Channel(direction, channel, register) => {
                self.engine_mut(direction)
                    .write_channel(channel, register, write);
                false
            }
        })
    }

    /// The link is gone: channels that run abort.
    pub fn link_lost(&mut self, effects: &mut Effects) {
        self.write.link_lost(effects);
        self.read.link_lost(effects);
    }

    /// The next job: of the channel after the one that had the last, or of the next that has one.
    pub fn next(&mut self, limits: Limits, effects: &mut Effects) -> Option<Job> {
        let turns = 2 * usize::from(self.channels);
        (0..turns).find_map(|_| {
            let turn = self.turn;
            self.turn = (turn + 1) % turns;
            let engine = if turn % 2 == 0 {
                &mut self.write
            } else {
                &mut self.read
            };
            engine.next(turn / 2, limits, effects)
        })
    }

    /// Takes the outcome of a job. `false` if it was void, superseded by a reset.
    pub fn finish(&mut self, ticket: Ticket, outcome: Outcome<'_>, effects: &mut Effects) -> bool {
        self.engine_mut(ticket.direction)
            .finish(ticket, outcome, effects)
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
            "write": self.write.inspect(),
            "read": self.read.inspect(),
        })
    }
}
