// SPDX-License-Identifier: GPL-2.0

//! What the sides tell each other: a side writes its own scratchpads, and reads the other's.
//!
//! All that is read here was written by the other side, and can be anything at any time: it is read
//! once, and checked before use.

use kernel::{
    prelude::*,
    sync::barrier::{mb, Full},
};

use crate::{
    ntb_client::Bridge,
    vntb::ep_dma::{self, spad, State},
};

/// What the other side says, unchecked.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    /// A [`State`], if it is one.
    pub(crate) state: u32,
    /// Where its buffer is, an address on its side.
    pub(crate) address: u64,
    /// Bytes of the buffer.
    pub(crate) size: u32,
    /// Which transfer the state is about.
    pub(crate) seq: u32,
    /// Bytes of that transfer.
    pub(crate) length: u32,
}

impl Words {
    /// Reads what the other side says.
    pub(crate) fn read(bridge: &Bridge) -> Self {
        let word = |index| bridge.peer_spad_read(index);
        // The state is written last and so read first.
        let state = word(spad::STATE);
        Self {
            state,
            address: u64::from(word(spad::ADDR_HI)) << 32 | u64::from(word(spad::ADDR_LO)),
            size: word(spad::SIZE),
            seq: word(spad::SEQ),
            length: word(spad::XFER_LEN),
        }
    }

    /// The state, if it is one.
    pub(crate) fn state(&self) -> Option<State> {
        State::from_raw(self.state)
    }

    /// Where to write `length` bytes, if the other side lends so many.
    pub(crate) fn buffer(&self, length: u32) -> Option<u64> {
        let lends = !matches!(self.state(), None | Some(State::Init));
        let end = self.address.checked_add(length.into());
        (lends && self.address != 0 && length <= self.size && end.is_some()).then_some(self.address)
    }

    /// Whether the other side is amid a transfer to us, as far as it says.
    pub(crate) fn is_transferring(&self) -> bool {
        self.state()
            .is_some_and(|state| ep_dma::is_transferring(state, self.length))
    }

    /// The verdict on transfer `seq`, if it is there.
    pub(crate) fn verdict(&self, seq: u32) -> Option<State> {
        self.state()
            .filter(|state| self.seq == seq && matches!(state, State::Pass | State::Fail))
    }
}

/// Tells the other side where the buffer is that it is lent. Not yet the state.
pub(crate) fn lend(bridge: &Bridge, address: u64, size: u32) -> Result {
    // CAST: The halves of 64 bits.
    bridge.spad_write(spad::ADDR_LO, address as u32)?;
    bridge.spad_write(spad::ADDR_HI, (address >> 32) as u32)?;
    bridge.spad_write(spad::SIZE, size)
}

/// Takes the buffer back; `seq` is the last transfer that we counted. What is read from then on was
/// said by a side that may know of it.
pub(crate) fn withdraw(bridge: &Bridge, seq: u32) -> Result {
    say(bridge, State::Init, seq, 0)?;
    lend(bridge, 0, 0)?;
    mb(Full);
    Ok(())
}

/// Says that we are amid a transfer to the other side, after the `seq` that we counted. What is read
/// from then on was said by a side that may know of it.
pub(crate) fn begin(bridge: &Bridge, seq: u32, length: u32) -> Result {
    say(bridge, State::Ready, seq, length)?;
    mb(Full);
    Ok(())
}

/// Says our state, which is about so many bytes of transfer `seq`.
pub(crate) fn say(bridge: &Bridge, state: State, seq: u32, length: u32) -> Result {
    bridge.spad_write(spad::SEQ, seq)?;
    bridge.spad_write(spad::XFER_LEN, length)?;
    bridge.spad_write(spad::STATE, state as u32)
}

/// As [`say`], and rings.
pub(crate) fn tell(bridge: &Bridge, state: State, seq: u32, length: u32, doorbell: u64) -> Result {
    say(bridge, state, seq, length)?;
    bridge.peer_db_set(doorbell)
}

/// The last transfer that we counted, as the other side was told.
pub(crate) fn told_seq(bridge: &Bridge) -> u32 {
    bridge.spad_read(spad::SEQ)
}
