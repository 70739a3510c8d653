// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a register access brings about outside the controller.

/// Something that the world outside the silicon must see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The link came up: the function can be plugged into the RC.
    LinkUp,
    /// The link went down: the function is gone from the RC's bus.
    LinkDown,
    /// The eDMA's interrupt line to the EP's CPU is high and needs an edge: it has just risen, or it
    /// stays high although the handler has cleared or unmasked something (`v0_core_handle_int`
    /// takes one snapshot only, so an edge that stands in for the level must be repeated).
    EpInterrupt,
    /// A channel of the eDMA has something to do: [`Controller::dma_next`] yields a job.
    ///
    /// [`Controller::dma_next`]: super::Controller::dma_next
    DmaReady,
    /// The eDMA sends a message into the RC (IMWr): a memory write of 32 bits, after the data it tells of.
    /// It goes the way of the data, [`crate::fabric::from_edma`], so it may be an MSI.
    DmaMessage {
        /// Where to, before the outbound iATU; a multiple of 4.
        address: u64,
        /// The channel's 16 bits of message data.
        data: u32,
    },
}

/// Effects in the order in which they came about. Holds no memory until there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects(Vec<Effect>);

impl Effects {
    /// No effects yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds one.
    pub fn push(&mut self, effect: Effect) {
        self.0.push(effect);
    }

    /// All of them, oldest first.
    pub fn as_slice(&self) -> &[Effect] {
        &self.0
    }

    /// Whether nothing came about.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IntoIterator for Effects {
    type Item = Effect;
    type IntoIter = std::vec::IntoIter<Effect>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
