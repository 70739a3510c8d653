// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How the two sides of the test client `ntb_ep_dma` talk: scratchpads, and a doorbell after each
//! change of state. One side transfers [`LENGTH`] bytes into the other's buffer; the other compares.
//!
//! A side writes its *own* scratchpads (`ntb_spad_write`) and reads the other's by
//! `ntb_peer_spad_read`, as the published client does.

/// Scratchpads, by index.
pub mod spad {
    /// The side's [`State`](super::State).
    pub const STATE: u32 = 0;
    /// Address of the side's buffer for DMA, low half.
    pub const ADDR_LO: u32 = 1;
    /// High half.
    pub const ADDR_HI: u32 = 2;
    /// Size of the buffer in bytes.
    pub const SIZE: u32 = 3;
    /// Counts transfers.
    pub const SEQ: u32 = 4;
    /// Bytes of the transfer that `SEQ` counts.
    pub const XFER_LEN: u32 = 5;
    /// Scratchpads that the client needs.
    pub const COUNT: u32 = 6;
}

/// Bytes of a transfer.
pub const LENGTH: u32 = 4096;
/// How long a side waits for the other, in milliseconds.
pub const TIMEOUT_MS: u32 = 5000;

/// What the byte at `index` of a transfer is: the index, cut to 8 bits.
pub const fn pattern(index: usize) -> u8 {
    index as u8
}

/// The doorbell that a side rings: the bit of its own port.
pub const fn doorbell(port: u32) -> Option<u64> {
    1u64.checked_shl(port)
}

/// Whether a side that says so is amid a transfer into the other's buffer.
///
/// Our own addition, within the published words: a side that is [`State::Ready`] and counts bytes has
/// begun, or is about to look whether it still may. A side that wants its buffer back withdraws it
/// first, and then waits until the other does not say so any more. The published client never says
/// so, and nothing of it looks.
pub const fn is_transferring(state: State, xfer_len: u32) -> bool {
    matches!(state, State::Ready) && xfer_len != 0
}

/// Where a side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// Nothing is published.
    Init = 0,
    /// Address and size are published.
    Ready = 1,
    /// Its transfer into the other's buffer is over: the other may look.
    XferDone = 2,
    /// What arrived is right.
    Pass = 3,
    /// What arrived is wrong.
    Fail = 4,
}

impl State {
    /// The state that `raw` stands for, if it is one.
    pub const fn from_raw(raw: u32) -> Option<Self> {
        Some(match raw {
            0 => Self::Init,
            1 => Self::Ready,
            2 => Self::XferDone,
            3 => Self::Pass,
            4 => Self::Fail,
            _ => return None,
        })
    }

    /// How debugfs prints it (`peer_state`).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Ready => "ready",
            Self::XferDone => "xfer-done",
            Self::Pass => "pass",
            Self::Fail => "fail",
        }
    }
}
