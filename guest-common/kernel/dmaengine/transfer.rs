// SPDX-License-Identifier: GPL-2.0

//! A transfer from its submission to its end.

use kernel::{
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Relaxed, Release},
        Arc, ArcBorrow,
    },
    time::Msecs,
};

use super::Memory;
use crate::{bindings, completion::Completion};

/// How a transfer ended (`enum dmaengine_tx_result`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All bytes were moved.
    Complete,
    /// The source could not be read.
    ReadFailed,
    /// The destination could not be written.
    WriteFailed,
    /// The engine gave up, for a reason that it does not tell.
    Aborted,
    /// The client terminated it.
    Terminated,
}

impl Outcome {
    fn from_raw(result: bindings::dmaengine_tx_result) -> Self {
        match result {
            bindings::dmaengine_tx_result_DMA_TRANS_NOERROR => Self::Complete,
            bindings::dmaengine_tx_result_DMA_TRANS_READ_FAILED => Self::ReadFailed,
            bindings::dmaengine_tx_result_DMA_TRANS_WRITE_FAILED => Self::WriteFailed,
            _ => Self::Aborted,
        }
    }

    /// As a number that is not [`RUNNING`].
    fn to_word(self) -> u32 {
        match self {
            Self::Complete => 1,
            Self::ReadFailed => 2,
            Self::WriteFailed => 3,
            Self::Aborted => 4,
            Self::Terminated => 5,
        }
    }

    fn from_word(word: u32) -> Option<Self> {
        match word {
            1 => Some(Self::Complete),
            2 => Some(Self::ReadFailed),
            3 => Some(Self::WriteFailed),
            4 => Some(Self::Aborted),
            5 => Some(Self::Terminated),
            _ => None,
        }
    }
}

/// [`State::outcome`] before the end.
const RUNNING: u32 = 0;

/// How far a transfer is (`enum dma_status` and `struct dma_tx_state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It ended, well or not: [`Transfer::outcome`] tells.
    Ended,
    /// It is queued or runs; so many bytes are left, as exactly as the engine knows.
    Running(u32),
    /// It is paused; so many bytes are left.
    Paused(u32),
    /// The engine reports an error.
    Failed,
}

impl Progress {
    pub(super) fn from_raw(status: bindings::dma_status, residue: u32) -> Self {
        match status {
            bindings::dma_status_DMA_COMPLETE => Self::Ended,
            bindings::dma_status_DMA_IN_PROGRESS => Self::Running(residue),
            bindings::dma_status_DMA_PAUSED => Self::Paused(residue),
            _ => Self::Failed,
        }
    }
}

/// What client, channel and engine know of a transfer together.
#[pin_data]
pub(super) struct State {
    outcome: Atomic<u32>,
    residue: Atomic<u32>,
    #[pin]
    finished: Completion,
    bytes: usize,
    on_end: Option<KBox<dyn Fn(Outcome) + Send + Sync>>,
    _memory: Arc<Memory>,
}

impl State {
    pub(super) fn new(
        bytes: usize,
        memory: Arc<Memory>,
        on_end: Option<KBox<dyn Fn(Outcome) + Send + Sync>>,
    ) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                outcome: Atomic::new(RUNNING),
                residue: Atomic::new(0),
                finished <- Completion::new(),
                bytes,
                on_end,
                _memory: memory,
            }),
            GFP_KERNEL,
        )
    }

    pub(super) fn outcome(&self) -> Option<Outcome> {
        Outcome::from_word(self.outcome.load(Acquire))
    }

    /// Notes the end and releases who waits for it.
    pub(super) fn finish(&self, outcome: Outcome, residue: u32) {
        self.residue.store(residue, Relaxed);
        self.outcome.store(outcome.to_word(), Release);
        self.finished.complete_all();
    }

    /// What the engine calls at a transfer's end, in a context that must not sleep.
    ///
    /// # Safety
    ///
    /// `param` must be the pointer in an `Arc<State>` that lives until `finish` was called, and
    /// `result` null or valid.
    pub(super) unsafe extern "C" fn ended(
        param: *mut c_void,
        result: *const bindings::dmaengine_result,
    ) {
        // A reference of our own: after `finish` the channel may drop its.
        // SAFETY: By the contract of this function.
        let state: Arc<Self> = unsafe { ArcBorrow::from_raw(param.cast::<Self>()) }.into();
        // SAFETY: By the contract of this function.
        let (outcome, residue) = match unsafe { result.as_ref() } {
            Some(result) => (Outcome::from_raw(result.result), result.residue),
            None => (Outcome::Complete, 0),
        };
        if let Some(on_end) = &state.on_end {
            on_end(outcome);
        }
        state.finish(outcome, residue);
    }
}

/// A submitted transfer. To drop it neither ends the transfer nor frees its memory.
#[derive(Clone)]
pub(crate) struct Transfer {
    pub(super) state: Arc<State>,
    pub(super) cookie: bindings::dma_cookie_t,
}

impl Transfer {
    /// How it ended; `None` while it has not.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.state.outcome()
    }

    /// The bytes that were not moved, as far as the engine told, once it has ended.
    pub(crate) fn residue(&self) -> u32 {
        self.state.residue.load(Relaxed)
    }

    /// Waits for the end, for at most `limit`, else fails with `ETIMEDOUT`. Sleeps.
    pub(crate) fn wait(&self, limit: Msecs) -> Result<Outcome> {
        self.state.finished.wait_timeout(limit);
        self.outcome().ok_or(ETIMEDOUT)
    }

    /// The bytes that it is to move.
    pub(crate) fn bytes(&self) -> usize {
        self.state.bytes
    }
}
