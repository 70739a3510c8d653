// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the engine asks of whoever drives it, and what it hears back.
//!
//! The engine moves no data itself. Its driver fetches a [`Job`] ([`Controller::dma_next`]), does it
//! beside everything else, and reports ([`Controller::dma_finish`]). At most one job of a channel is out
//! at a time, and jobs of different channels may be done in any order or at once.
//!
//! [`Controller::dma_next`]: crate::controller::Controller::dma_next
//! [`Controller::dma_finish`]: crate::controller::Controller::dma_finish

use std::fmt;

use super::Direction;
use crate::controller::Reason;

/// How much of one channel's list a single job may cover.
///
/// It bounds how long a stop, a register write or another channel waits, and nothing else: whatever the
/// limits, the same bytes end up in the same places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// List elements of one job, at least 1 (0 counts as 1).
    pub elements: usize,
    /// Bytes moved by one job, at least 1 (0 counts as 1). An element with more is moved by several jobs.
    pub bytes: u64,
}

/// Which job of which channel. Belongs to one run of the channel: once a reset has superseded that, it is
/// void, and reporting it changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The channel's direction.
    pub direction: Direction,
    /// The channel's number, from 0 in each direction.
    pub channel: u8,
    /// Which of the channel's runs.
    pub(super) generation: u64,
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.direction {
            Direction::Write => "write",
            Direction::Read => "read",
        };
        write!(f, "eDMA {direction} channel {}", self.channel)
    }
}

/// A range to move. Which way it goes is the job's direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// First byte in the EP's RAM (SAR of a write channel, DAR of a read channel).
    pub local: u64,
    /// First byte on the way to the RC, *before* the outbound iATU ([`crate::fabric::from_edma`] says
    /// whose address it is).
    pub remote: u64,
    /// Bytes; 0 only for an element that is empty.
    pub len: u32,
}

/// A piece of work, to be answered by one [`Outcome`] with its ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Read the list: `len` bytes of the EP's RAM at `address`, or as many of them as there is RAM, in
    /// ascending order. Answered by [`Outcome::Fetched`].
    Fetch {
        /// To be handed back.
        ticket: Ticket,
        /// EP-guest physical address of the next element.
        address: u64,
        /// Bytes wanted, a multiple of the element size.
        len: usize,
    },
    /// Move `transfers`, one after the other, the bytes of each in ascending order; stop at the first
    /// byte that cannot be moved. Answered by [`Outcome::Copied`] or [`Outcome::Failed`].
    Copy {
        /// To be handed back.
        ticket: Ticket,
        /// `Write`: from `local` to `remote`; `Read`: from `remote` to `local`.
        direction: Direction,
        /// At least one, at most [`Limits::elements`], of together at most [`Limits::bytes`].
        transfers: Vec<Transfer>,
    },
}

impl Job {
    /// The ticket to hand back with the outcome.
    pub const fn ticket(&self) -> Ticket {
        match self {
            Self::Fetch { ticket, .. } | Self::Copy { ticket, .. } => *ticket,
        }
    }
}

/// How a job went. Whoever reports it has made the data visible to both guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// The list's bytes from the job's address on: all, or up to where the RAM ends (none if there is
    /// none).
    Fetched(&'a [u8]),
    /// All bytes of all transfers are where they belong.
    Copied,
    /// Some could not be moved.
    Failed {
        /// Bytes of the job that were moved before.
        moved: u64,
        /// Why the next could not be: [`Reason::NoEpMemory`] for the EP's side, any other for the RC's.
        reason: Reason,
    },
}
