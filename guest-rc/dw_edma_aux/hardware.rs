// SPDX-License-Identifier: GPL-2.0

//! Registers of delegated channels, through a BAR.
//!
//! The controller is shared: the endpoint's own driver uses its other channels. What is written here:
//!
//! - a delegated channel's own registers, and its doorbell, which names it: nobody else's business;
//! - `rd_engine_en`, only ever to 1: the endpoint's driver writes the same when it starts a channel, and
//!   0 only when it ends;
//! - `rd_done_imwr` and `rd_abort_imwr`, one address for the messages of all read channels: the
//!   endpoint has no use for messages to the RC. Whoever writes last has them, so they are looked at
//!   again when a message seems lost ([`Registers::route`]);
//! - `rd_ch…_imwr_data`, which two channels share: the other one's half is kept. The endpoint's driver
//!   writes it when a client there takes a channel, which it cannot do with a delegated one;
//! - `rd_linked_list_err_en`: our bit is added. The endpoint's driver does the same, without a lock that
//!   both could take: the worst is a lost bit, so the abort of a list without a message, which the
//!   watchdog finds.
//!
//! - `rd_int_mask`: our bits are added, where the channel's transfers are none of the endpoint's business
//!   and its line could rise. An endpoint that knows of [`Routing::Remote`] has done so itself, and then
//!   nothing is written; others leave it to us, and nobody there would ever clear the status. The
//!   endpoint's driver changes its own channels' bits, without a lock that both could take.
//!
//! Never written: `rd_int_clear`. Neither completion nor error is taken from the status that it would
//! clear, and any write to it ends an interrupt that the endpoint's doorbell emulates.
//!
//! An endpoint may take its BAR away for a moment (`descriptors.rs`): writes are lost then, and all ones
//! are read. What matters is read back, and all ones say that nobody answers only after a while
//! ([`Lane::status`]).
//!
//! [`Lane::status`]: crate::lane::Lane::status

use kernel::{
    new_spinlock,
    prelude::*,
    sync::{Arc, SpinLock},
    time::{delay::udelay, Delta},
};

use crate::{
    auxiliary_pci::{Mapping, Message},
    descriptors::Descriptors,
    edma::{self, channel, control, READ},
    provider::Outcome,
    vntb::routing::Routing,
};

/// What a device reads that is not there.
pub(crate) const NOBODY: u32 = !0;

/// How often a register is read that reads all ones, and how long to wait in between.
const TRIES: u32 = 3;
const PAUSE: Delta = Delta::from_micros(5);

/// What a channel does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It works on its list.
    Running,
    /// It gave up.
    Halted,
    /// It came to the end of what is valid, or was stopped.
    Stopped,
    /// It was never started since its reset.
    Reset,
    /// The device did not answer this time.
    Silent,
    /// The device does not answer any more.
    Gone,
}

/// The read engine's registers.
#[pin_data]
pub(crate) struct Registers {
    window: Mapping,
    /// For those that channels share.
    #[pin]
    shared: SpinLock<()>,
}

impl Registers {
    pub(crate) fn new(window: Mapping) -> impl PinInit<Self> {
        pin_init!(Self {
            window,
            shared <- new_spinlock!(()),
        })
    }

    /// Read channels that the hardware has; none if it does not answer.
    pub(crate) fn channels(&self) -> u32 {
        self.read(edma::CTRL)
            .map_or(0, |counts| edma::READ_CHANNELS.get(counts))
    }

    /// Reads a register that is never all ones; `None` if nobody answers.
    fn read(&self, offset: u32) -> Option<u32> {
        for tried in 1..=TRIES {
            match self.window.read32(offset) {
                NOBODY if tried < TRIES => udelay(PAUSE),
                NOBODY => break,
                word => return Some(word),
            }
        }
        None
    }

    /// Has the engine run, and the completions and aborts of channel `number` told by `message`, and not
    /// to the endpoint if `routing` is not that. Says whether that had to be changed.
    pub(crate) fn route(&self, number: u32, routing: Routing, message: Option<Message>) -> bool {
        let _one_at_a_time = self.shared.lock();
        let mut changed = false;
        let mut set = |offset, mask: u32, value: u32| {
            for _ in 0..TRIES {
                match self.read(offset) {
                    Some(before) if before & mask != value => {
                        self.window.write32(offset, before & !mask | value);
                        changed = true;
                    }
                    _ => break,
                }
            }
        };
        if !routing.interrupts_ep() {
            let ours = edma::DONE.place(1 << number) | edma::ABORT.place(1 << number);
            set(READ.int_mask, ours, ours);
        }
        if let Some(message) = message {
            // CAST: Each half.
            let halves = [message.address as u32, (message.address >> 32) as u32];
            for address in [READ.done_imwr, READ.abort_imwr] {
                for (half, at) in halves.into_iter().zip([address, address + 4]) {
                    set(at, u32::MAX, half);
                }
            }
            let data = match number % 2 {
                0 => edma::IMWR_DATA_EVEN,
                _ => edma::IMWR_DATA_ODD,
            };
            let pair = READ.imwr_data + number / 2 * 4;
            set(pair, data.mask(), data.place(message.data));
            let errors = edma::LINKED_LIST_ERR_REMOTE.place(1 << number);
            set(READ.linked_list_err_enable, errors, errors);
        }
        let enable = edma::ENGINE_ENABLE.mask();
        set(READ.engine_enable, enable, enable);
        changed
    }
}

/// A delegated channel.
pub(crate) struct Hardware {
    registers: Arc<Registers>,
    pub(crate) descriptors: Descriptors,
    number: u32,
    /// Errors that are noted and that nobody clears, as in `rd_err_status`.
    errors: [u32; 2],
    /// Reads of registers so far.
    reads: u64,
}

impl Hardware {
    /// Channel `number`, with its descriptor memory.
    pub(crate) fn new(registers: Arc<Registers>, descriptors: Descriptors, number: u32) -> Self {
        Self {
            registers,
            descriptors,
            number,
            errors: [0; 2],
            reads: 0,
        }
    }

    fn at(&self, register: u32) -> u32 {
        READ.channels + self.number * edma::CHANNEL_STRIDE + register
    }

    fn read(&mut self, offset: u32) -> u32 {
        self.reads += 1;
        self.registers.window.read32(offset)
    }

    fn write(&self, offset: u32, value: u32) {
        self.registers.window.write32(offset, value);
    }

    /// Reads of registers and descriptor memory so far.
    pub(crate) fn reads(&self) -> u64 {
        self.reads + self.descriptors.reads
    }

    /// What the channel does.
    pub(crate) fn status(&mut self) -> Status {
        self.reads += 1;
        match self.registers.read(self.at(channel::CONTROL1)) {
            None => Status::Silent,
            Some(word) => match control::CS.get(word) {
                control::CS_RUNNING => Status::Running,
                control::CS_HALTED => Status::Halted,
                control::CS_STOPPED => Status::Stopped,
                _ => Status::Reset,
            },
        }
    }

    /// The low half of the linked-list pointer.
    pub(crate) fn pointer(&mut self) -> u32 {
        self.read(self.at(channel::LLP_LOW))
    }

    /// Has the channel begin at `base` when the doorbell rings. Says whether it will: it would begin at
    /// what is there of before.
    pub(crate) fn begin(&mut self, base: u64) -> bool {
        let word = control::CCS.mask() | control::LLE.mask();
        // CAST: Each half.
        let (low, high) = (base as u32, (base >> 32) as u32);
        self.write(self.at(channel::CONTROL1), word);
        self.write(self.at(channel::LLP_LOW), low);
        self.write(self.at(channel::LLP_HIGH), high);
        let control = self.read(self.at(channel::CONTROL1));
        control != NOBODY
            && control & word == word
            && self.read(self.at(channel::LLP_LOW)) == low
            && self.read(self.at(channel::LLP_HIGH)) == high
    }

    /// Starts the channel, or has it look again at where its list ended.
    pub(crate) fn ring(&self) {
        self.write(READ.doorbell, edma::DOORBELL_CHANNEL.place(self.number));
    }

    /// Asks the channel to stop, which it does when what it has begun to move is over.
    pub(crate) fn stop(&self) {
        let number = edma::DOORBELL_CHANNEL.place(self.number);
        self.write(READ.doorbell, edma::DOORBELL_STOP.mask() | number);
    }

    /// Has completions told by `message`; see [`Registers::route`].
    pub(crate) fn route(&self, routing: Routing, message: Option<Message>) -> bool {
        self.registers.route(self.number, routing, message)
    }

    /// Why the channel gave up.
    pub(crate) fn failure(&mut self) -> Outcome {
        let now = [READ.err_status, READ.err_status + 4].map(|at| self.read(at));
        if now.contains(&NOBODY) {
            return Outcome::Aborted;
        }
        let [low, high] = now;
        // Errors of before stay, as nothing clears them.
        let new = [low & !self.errors[0], high & !self.errors[1]];
        self.errors = now;
        let [low, high] = match new {
            [0, 0] => now,
            new => new,
        };
        let ours = |bits: u32| bits >> self.number & 1 != 0;
        let written = ours(edma::APPLICATION_ERROR.get(low));
        // Each byte is another way in which the RC did not give what was asked for.
        let read = (0..32).step_by(8).any(|byte| ours(high >> byte & 0xff));
        match (read, written) {
            (true, false) => Outcome::ReadFailed,
            (false, true) => Outcome::WriteFailed,
            _ => Outcome::Aborted,
        }
    }
}

/// Control word of an element that interrupts: the endpoint's interrupt, which its mask keeps off the
/// line unless it wants it, and the message to the RC.
pub(crate) fn interrupting(word: u32, message: bool) -> u32 {
    match message {
        true => word | control::LIE.mask() | control::RIE.mask(),
        false => word | control::LIE.mask(),
    }
}
