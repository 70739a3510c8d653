// SPDX-License-Identifier: GPL-2.0

//! What is kept of a transfer.

use kernel::prelude::*;

use crate::provider::Piece;

/// A transfer.
pub(crate) struct Transfer {
    pub(crate) pieces: KVec<Piece>,
    pub(crate) destination: u64,
    /// Whether it begins again at its end.
    pub(crate) cyclic: bool,
    pub(crate) interrupt: bool,
    /// Pieces that are in the ring or done.
    pub(crate) next: usize,
    /// Where the next one goes.
    pub(crate) offset: u64,
    /// Position in the ring after the last of them.
    pub(crate) end: u64,
}

impl Transfer {
    pub(crate) fn new(
        pieces: KVec<Piece>,
        destination: u64,
        cyclic: bool,
        interrupt: bool,
    ) -> Result<Self> {
        let bytes = pieces
            .iter()
            .map(|piece| u64::from(piece.length))
            .try_fold(0u64, |sum, length| sum.checked_add(length))
            .ok_or(EINVAL)?;
        destination.checked_add(bytes).ok_or(EINVAL)?;
        Ok(Self {
            pieces,
            destination,
            cyclic,
            interrupt,
            next: 0,
            offset: 0,
            end: 0,
        })
    }

    /// It has not begun.
    pub(crate) fn rewind(&mut self) {
        self.next = 0;
        self.offset = 0;
        self.end = 0;
    }

    /// Whether all of it is done, the ring being done up to `tail`.
    pub(crate) fn is_done(&self, tail: u64) -> bool {
        !self.cyclic && self.next == self.pieces.len() && self.end <= tail
    }

    /// Bytes left.
    pub(crate) fn left(&self, tail: u64) -> u32 {
        let out = self.end.saturating_sub(tail).min(self.next as u64) as usize;
        let left: u64 = self
            .pieces
            .iter()
            .skip(self.next - out)
            .map(|piece| u64::from(piece.length))
            .sum();
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// Bytes left of the lap of a cycle that is at `period`.
    pub(crate) fn left_of_lap(&self, period: u32) -> u32 {
        let left = self.pieces.iter().skip(period as usize);
        left.map(|piece| piece.length)
            .fold(0, |sum: u32, length| sum.saturating_add(length))
    }
}
