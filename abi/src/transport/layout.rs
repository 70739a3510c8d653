// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What lies where in a control window.
//!
//! ```text
//! 0x0000  header block: [`Header`](super::session::Header), zero to 0x80
//! 0x0080  indices of queue pair 0, 0x80 bytes; of queue pair 1; … of [`MAX_QUEUES`]
//! 0x1000  queue pair 0: buffers ring, then completions ring; queue pair 1; …
//! ```
//!
//! Each head has a cache line of its own, so that two queue pairs on two processors share none.

use super::ring::{Buffer, Completion};

/// Most queue pairs.
pub const MAX_QUEUES: u32 = 8;
/// Fewest entries of a ring.
pub const MIN_ENTRIES: u32 = 16;
/// Most entries of a ring.
pub const MAX_ENTRIES: u32 = 1024;

/// Bytes of a cache line, as far as this layout cares.
const LINE: u32 = 0x40;
/// Where the indices of queue pair 0 are.
const INDICES: u32 = 0x80;
/// Bytes of a queue pair's indices.
const INDICES_STRIDE: u32 = 2 * LINE;
/// Where the rings of queue pair 0 are.
const RINGS: u32 = 0x1000;

const _: () = assert!(INDICES + MAX_QUEUES * INDICES_STRIDE <= RINGS);

/// Offsets in a control window with this many queue pairs and entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    queues: u32,
    entries: u32,
}

impl Layout {
    /// The layout for `queues` queue pairs with rings of `entries`; `None` if either is out of range.
    pub const fn new(queues: u32, entries: u32) -> Option<Self> {
        let fits = queues >= 1
            && queues <= MAX_QUEUES
            && entries.is_power_of_two()
            && entries >= MIN_ENTRIES
            && entries <= MAX_ENTRIES;
        if fits {
            Some(Self { queues, entries })
        } else {
            None
        }
    }

    /// The largest rings that leave room for `queues` queue pairs in a window of `size` bytes.
    pub fn fitting(queues: u32, size: u64) -> Option<Self> {
        let mut entries = MAX_ENTRIES;
        loop {
            let layout = Self::new(queues, entries)?;
            if u64::from(layout.size()) <= size {
                return Some(layout);
            }
            entries /= 2;
        }
    }

    /// Queue pairs.
    pub const fn queues(&self) -> u32 {
        self.queues
    }

    /// Entries of each ring, a power of two.
    pub const fn entries(&self) -> u32 {
        self.entries
    }

    /// Bytes of the window that are used.
    pub const fn size(&self) -> u32 {
        RINGS + self.queues * self.queue_size()
    }

    const fn queue_size(&self) -> u32 {
        self.entries * (Buffer::SIZE + Completion::SIZE)
    }

    /// Head of the buffers ring of `queue`, a word: buffers that the peer has ever posted to us.
    pub const fn buffers_head(&self, queue: u32) -> u32 {
        INDICES + queue * INDICES_STRIDE
    }

    /// Head of the completions ring of `queue`, a word: frames that the peer has ever sent us.
    pub const fn completions_head(&self, queue: u32) -> u32 {
        self.buffers_head(queue) + LINE
    }

    /// Entry `index` of the buffers ring of `queue`; the index may have gone round any number of times.
    pub const fn buffer(&self, queue: u32, index: u32) -> u32 {
        RINGS + queue * self.queue_size() + self.slot(index) * Buffer::SIZE
    }

    /// Entry `index` of the completions ring of `queue`.
    pub const fn completion(&self, queue: u32, index: u32) -> u32 {
        self.buffer(queue, 0) + self.entries * Buffer::SIZE + self.slot(index) * Completion::SIZE
    }

    /// The place in a ring for `index`.
    pub const fn slot(&self, index: u32) -> u32 {
        index & (self.entries - 1)
    }
}
