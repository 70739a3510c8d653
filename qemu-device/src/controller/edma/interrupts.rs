// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Interrupts of one direction: status, mask, errors, messages, and the emulated one.
//!
//! These registers are single copies. The EP's driver and the RC's may both use the engine, each with
//! channels of its own, and what one of them clears is gone for the other; the silicon does not help
//! them, and neither does this.

use abi::edma::{self as layout, control};

use super::Direction;
use crate::controller::access::Write;
use crate::controller::{Effect, Effects};

/// Done and abort bits of all channels.
const INTERRUPTS: u32 = layout::DONE.mask() | layout::ABORT.mask();
/// Linked-list error enables, local and remote.
const LINKED_LIST_ERRORS: u32 =
    layout::LINKED_LIST_ERR_LOCAL.mask() | layout::LINKED_LIST_ERR_REMOTE.mask();

/// An interrupt that is wanted: on the line, as a message to the RC, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// By LIE.
    pub local: bool,
    /// By RIE.
    pub remote: bool,
}

impl Due {
    /// What a control word asks for.
    pub fn of(word: u32) -> Self {
        Self {
            local: control::LIE.is_set(word),
            remote: control::RIE.is_set(word),
        }
    }

    /// Whether anybody is to be told.
    pub const fn any(self) -> bool {
        self.local || self.remote
    }
}

/// Why a channel aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was told to.
    Stopped,
    /// An element could not be fetched.
    List,
    /// The EP's RAM could not be accessed.
    Local,
    /// The RC did not take, or give, the data.
    Remote,
}

/// An abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort {
    /// Why.
    pub cause: Cause,
    /// The interrupts that a single element asks for; `None` in a list.
    pub single: Option<Due>,
}

/// What a channel has to tell, the end of an element before an abort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raised {
    /// An element that asked for it is done.
    pub done: Due,
    /// The channel aborted.
    pub abort: Option<Abort>,
}

/// The interrupt registers of one direction.
#[derive(Clone, Debug, Default)]
pub struct Interrupts {
    /// `int_status`: done and abort bits.
    pub status: u32,
    /// `int_mask`: keeps a status bit off the line, no more.
    pub mask: u32,
    /// The line is asserted by a write to `int_status`, until any write to either direction's `int_clear`.
    pub emulated: bool,
    /// Interrupts emulated since power-on.
    pub emulations: u64,
    /// `err_status`, low and high; a write engine has the low one only.
    pub errors: [u32; 2],
    /// `done_imwr`, low and high.
    pub done_imwr: [u32; 2],
    /// `abort_imwr`, low and high.
    pub abort_imwr: [u32; 2],
    /// `ch01_imwr_data` to `ch67_imwr_data`.
    pub imwr_data: [u32; layout::MAX_CHANNELS / 2],
    /// `linked_list_err_en`.
    pub linked_list_errors: u32,
}

impl Interrupts {
    /// Asserts the line without a status bit and whatever the mask
    /// (`dw_edma_v0_core_db_offset`, `dw_edma_v0_core_ack_emulated_irq`).
    pub fn emulate(&mut self) {
        self.emulated = true;
        self.emulations += 1;
    }

    /// A write to `int_clear`. Clearing a channel's abort clears its errors, too (databook, "Clearing" of
    /// `DMA_WRITE_ERR_STATUS_OFF`).
    pub fn clear(&mut self, write: Write) {
        let cleared = write.value & write.mask;
        self.status &= !cleared;
        let channels = layout::ABORT.get(cleared);
        let everywhere = channels | channels << 8 | channels << 16 | channels << 24;
        for errors in &mut self.errors {
            *errors &= !everywhere;
        }
    }

    /// A write to `int_mask`.
    pub fn write_mask(&mut self, write: Write) {
        self.mask = write.onto(self.mask, INTERRUPTS);
    }

    /// A write to `linked_list_err_en`.
    pub fn write_linked_list_errors(&mut self, write: Write) {
        self.linked_list_errors = write.onto(self.linked_list_errors, LINKED_LIST_ERRORS);
    }

    /// The direction's share of the interrupt line.
    pub const fn line(&self) -> bool {
        self.emulated || self.status & !self.mask & INTERRUPTS != 0
    }

    /// A channel has something to tell: status bits first, then the message.
    pub fn raise(
        &mut self,
        direction: Direction,
        channel: usize,
        raised: Raised,
        effects: &mut Effects,
    ) {
        let Raised { done, abort } = raised;
        if done.local {
            self.status |= layout::DONE.place(1 << channel);
        }
        if done.remote {
            effects.push(self.message(self.done_imwr, channel));
        }
        let Some(abort) = abort else { return };
        self.note(direction, channel, abort.cause);
        let enabled = self.aborts(channel, abort.single);
        if enabled.local {
            self.status |= layout::ABORT.place(1 << channel);
        }
        if enabled.remote {
            effects.push(self.message(self.abort_imwr, channel));
        }
    }

    /// Which interrupts an abort of `channel` raises. A single element says so itself (LIE, RIE); a list
    /// has `linked_list_err_en` for it.
    ///
    /// By the databook only LLLAIE lets a list raise the local one, but the stock driver sets LLRAIE alone
    /// (`EDMA_V0_LINKED_LIST_ERR_MASK`) and yet waits for the local one: either is taken for it
    /// *(inferred)*.
    fn aborts(&self, channel: usize, single: Option<Due>) -> Due {
        single.unwrap_or_else(|| {
            let enabled =
                |field: abi::field::Field| field.get(self.linked_list_errors) >> channel & 1 != 0;
            let remote = enabled(layout::LINKED_LIST_ERR_REMOTE);
            Due {
                local: remote || enabled(layout::LINKED_LIST_ERR_LOCAL),
                remote,
            }
        })
    }

    /// Keeps why `channel` aborted.
    fn note(&mut self, direction: Direction, channel: usize, cause: Cause) {
        let [low, high] = &mut self.errors;
        match (cause, direction) {
            (Cause::Stopped, _) => {}
            (Cause::List, _) => *low |= layout::LIST_FETCH_ERROR.place(1 << channel),
            // The databook has no bit for a write that the link does not take *(inferred)*.
            (Cause::Local, _) | (Cause::Remote, Direction::Write) => {
                *low |= layout::APPLICATION_ERROR.place(1 << channel);
            }
            (Cause::Remote, Direction::Read) => {
                *high |= layout::UNSUPPORTED_REQUEST.place(1 << channel);
            }
        }
    }

    fn message(&self, [low, high]: [u32; 2], channel: usize) -> Effect {
        let pair = self.imwr_data[channel / 2];
        let data = if channel % 2 == 0 {
            layout::IMWR_DATA_EVEN.get(pair)
        } else {
            layout::IMWR_DATA_ODD.get(pair)
        };
        Effect::DmaMessage {
            address: u64::from(high) << 32 | u64::from(low & !0b11),
            data,
        }
    }
}
