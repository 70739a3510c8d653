// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The rings of one queue pair in one direction: buffers go from the receiver to the sender,
//! completions come back in the same order.
//!
//! An index counts entries since the session began and wraps at 2^32; heads are indices. At most
//! `entries` buffers are out at any time, so neither ring can overrun. Each entry carries a check word
//! over itself and its place, so one that was damaged, or that belongs to another lap or session,
//! is noticed before anything is written where it leads. The check finds accidents and is no secret: a
//! peer that lies about its own buffers hurts its own memory.

use core::fmt;

/// Where an entry is: what its check word covers beside the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Session of the side that wrote it.
    pub session: u32,
    /// Queue pair.
    pub queue: u32,
    /// Index in the ring.
    pub index: u32,
}

impl Place {
    /// MurmurHash3 (x86, 32 bits) of the place and `words`, which are little endian, with seed 0.
    fn check(&self, words: &[u32]) -> u32 {
        let place = [self.session, self.queue, self.index];
        let mut hash: u32 = 0;
        for word in place.iter().chain(words) {
            let word = word.wrapping_mul(0xcc9e_2d51).rotate_left(15);
            hash ^= word.wrapping_mul(0x1b87_3593);
            hash = hash
                .rotate_left(13)
                .wrapping_mul(5)
                .wrapping_add(0xe654_6b64);
        }
        hash ^= 4 * (place.len() + words.len()) as u32;
        hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
        hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
        hash ^ hash >> 16
    }
}

/// A receive buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Its address for the sender's DMA.
    pub address: u64,
    /// Its bytes, not 0.
    pub len: u32,
}

impl Buffer {
    /// Bytes of an entry.
    pub const SIZE: u32 = Self::WORDS as u32 * 4;
    /// Words of an entry.
    pub const WORDS: usize = 4;

    /// The entry at `place`.
    pub fn encode(&self, place: Place) -> [u32; Self::WORDS] {
        let [low, high, len] = [self.address as u32, (self.address >> 32) as u32, self.len];
        [low, high, len, place.check(&[low, high, len])]
    }

    /// Reads the entry at `place`, of a peer whose buffers have up to `max` bytes.
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    pub fn decode(words: &[u32; Self::WORDS], place: Place, max: u32) -> Result<Self, RingError> {
        let [low, high, len, check] = *words;
        if check != place.check(&[low, high, len]) {
            return Err(RingError::Check(place.index));
        }
        if len == 0 || len > max {
            return Err(RingError::Length { len, max });
        }
        let address = u64::from(high) << 32 | u64::from(low);
        match address.checked_add(u64::from(len)) {
            Some(_) => Ok(Self { address, len }),
            None => Err(RingError::Address(address)),
        }
    }
}

/// A frame that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Its bytes; 0 gives the buffer back unused.
    pub len: u32,
}

impl Completion {
    /// Bytes of an entry.
    pub const SIZE: u32 = Self::WORDS as u32 * 4;
    /// Words of an entry.
    pub const WORDS: usize = 2;

    /// The entry at `place`.
    pub fn encode(&self, place: Place) -> [u32; Self::WORDS] {
        [self.len, place.check(&[self.len])]
    }

    /// Reads the entry at `place`, whose buffer has `max` bytes.
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    pub fn decode(words: &[u32; Self::WORDS], place: Place, max: u32) -> Result<Self, RingError> {
        let [len, check] = *words;
        if check != place.check(&[len]) {
            return Err(RingError::Check(place.index));
        }
        if len > max {
            return Err(RingError::Length { len, max });
        }
        Ok(Self { len })
    }
}

/// How far two counts are apart that wrap.
const fn distance(from: u32, to: u32) -> u32 {
    to.wrapping_sub(from)
}

/// The receiver's end: posts buffers, takes completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receiver {
    entries: u32,
    /// Buffers that were posted.
    posted: u32,
    /// Completions that the peer has announced.
    announced: u32,
    /// Completions that were taken.
    taken: u32,
}

impl Receiver {
    /// An empty pair of rings of `entries` each, as [`Layout::new`](super::layout::Layout::new) takes.
    pub const fn new(entries: u32) -> Self {
        Self {
            entries,
            posted: 0,
            announced: 0,
            taken: 0,
        }
    }

    /// Buffers that can be posted now.
    pub const fn room(&self) -> u32 {
        self.entries - distance(self.taken, self.posted)
    }

    /// Index of the next buffer, which counts as posted; `None` if there is no room. Its entry is
    /// written first, [`Receiver::head`] after it.
    pub fn post(&mut self) -> Option<u32> {
        if self.room() == 0 {
            return None;
        }
        let index = self.posted;
        self.posted = index.wrapping_add(1);
        Some(index)
    }

    /// Head of the peer's buffers ring.
    pub const fn head(&self) -> u32 {
        self.posted
    }

    /// Takes notice of the head of our completions ring; returns how many can be taken.
    ///
    /// # Errors
    ///
    /// [`RingError::Head`]: the head went back, or ahead of the buffers that are out.
    pub fn announce(&mut self, head: u32) -> Result<u32, RingError> {
        let out = distance(self.taken, self.posted);
        let known = distance(self.taken, self.announced);
        let new = distance(self.taken, head);
        if new < known || new > out {
            return Err(RingError::Head {
                head,
                from: self.announced,
                to: self.posted,
            });
        }
        self.announced = head;
        Ok(new)
    }

    /// Index of the next completion, which counts as taken; `None` if none is announced.
    pub fn take(&mut self) -> Option<u32> {
        if self.taken == self.announced {
            return None;
        }
        let index = self.taken;
        self.taken = index.wrapping_add(1);
        Some(index)
    }
}

/// The sender's end: takes buffers, posts completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    entries: u32,
    /// Buffers that the peer has announced.
    announced: u32,
    /// Buffers that were taken.
    taken: u32,
    /// Completions that were posted.
    completed: u32,
}

impl Sender {
    /// As [`Receiver::new`].
    pub const fn new(entries: u32) -> Self {
        Self {
            entries,
            announced: 0,
            taken: 0,
            completed: 0,
        }
    }

    /// Takes notice of the head of our buffers ring; returns how many can be taken.
    ///
    /// # Errors
    ///
    /// [`RingError::Head`]: the head went back, or more buffers are out than a ring has entries.
    pub fn announce(&mut self, head: u32) -> Result<u32, RingError> {
        let known = distance(self.completed, self.announced);
        let new = distance(self.completed, head);
        if new < known || new > self.entries {
            return Err(RingError::Head {
                head,
                from: self.announced,
                to: self.completed.wrapping_add(self.entries),
            });
        }
        self.announced = head;
        Ok(distance(self.taken, head))
    }

    /// Index of the next buffer, which counts as taken; `None` if none is announced.
    pub fn take(&mut self) -> Option<u32> {
        if self.taken == self.announced {
            return None;
        }
        let index = self.taken;
        self.taken = index.wrapping_add(1);
        Some(index)
    }

    /// Buffers that were taken and not completed.
    pub const fn in_flight(&self) -> u32 {
        distance(self.completed, self.taken)
    }

    /// Index of the next completion, which counts as posted; `None` if nothing is in flight. Transfers
    /// complete in the order in which their buffers were taken. Its entry is written first,
    /// [`Sender::head`] after it.
    pub fn complete(&mut self) -> Option<u32> {
        if self.in_flight() == 0 {
            return None;
        }
        let index = self.completed;
        self.completed = index.wrapping_add(1);
        Some(index)
    }

    /// Head of the peer's completions ring.
    pub const fn head(&self) -> u32 {
        self.completed
    }
}

/// A rule that the peer has broken. The session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingError {
    /// The head is not within `from..=to`, which wraps.
    Head {
        /// What was read.
        head: u32,
        /// The head before.
        from: u32,
        /// The furthest that it can be.
        to: u32,
    },
    /// The check word of the entry with this index is wrong.
    Check(u32),
    /// An entry's length.
    Length {
        /// What was read.
        len: u32,
        /// What it can be at most.
        max: u32,
    },
    /// A buffer at this address goes round the end of the address space.
    Address(u64),
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head { head, from, to } => {
                write!(f, "ring head {head} is not from {from} to {to}")
            }
            Self::Check(index) => write!(f, "ring entry {index} is damaged"),
            Self::Length { len, max } => write!(f, "ring entry of {len} bytes, at most {max}"),
            Self::Address(address) => write!(f, "buffer at {address:#x} has no end"),
        }
    }
}
