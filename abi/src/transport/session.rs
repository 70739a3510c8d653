// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The header of a control window, and the handshake over a pair of them.
//!
//! A side that starts, or starts again, picks a *session*, a number that it has not had before, and
//! writes it to the peer. A side that finds a new session of the peer starts its own rings afresh and
//! then *answers*: it writes the peer's session into its own header. A side may write to the peer's
//! rings once the peer has answered its session and it has answered the peer's.
//!
//! That is enough for no entry of an earlier session to be taken for one of the present: before it
//! picks a new session a side has stopped, and its header follows its last entry on the link; the
//! peer clears its rings only when it finds that header, and is written to only after it answered.
//!
//! A receive buffer belongs to the session in which it was posted, and may be given back to its owner's
//! memory once the peer no longer [uses](Header::uses) that session: the peer stops its transfers
//! before it writes a header that says so. A side that leaves for good writes its header
//! with session and answer 0, and waits for the same.

use core::fmt;

use super::layout::{MAX_ENTRIES, MAX_QUEUES, MIN_ENTRIES};

/// "NTED", the first bytes of a header that was written.
pub const MAGIC: u32 = u32::from_le_bytes(*b"NTED");
/// Version of everything in [`super`]. A change of any layout or rule is a new one.
pub const VERSION: u16 = 1;

/// What a side says of itself, at the start of the *peer's* control window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The writer's session; 0 is none.
    pub session: u32,
    /// The reader's session that the writer has answered; 0 is none.
    pub answered: u32,
    /// Queue pairs that the writer has, 1 to [`MAX_QUEUES`]. Both use the smaller number.
    pub queues: u32,
    /// Entries of each ring, a power of two from [`MIN_ENTRIES`] to [`MAX_ENTRIES`]. Both use the
    /// smaller number.
    pub entries: u32,
    /// Bytes of the writer's receive buffers, which is the longest frame that it takes.
    pub max_frame: u32,
}

impl Header {
    /// Bytes of a header. The rest of its [`layout`](super::layout) block is zero.
    pub const SIZE: u32 = Self::WORDS as u32 * 4;
    /// Words of a header.
    pub const WORDS: usize = 7;

    /// The words, in the order in which they are to be written. The session comes last: who finds a new
    /// session must not take the answer of the one before for its own.
    pub const fn encode(&self) -> [u32; Self::WORDS] {
        [
            MAGIC,
            VERSION as u32 | Self::SIZE << 16,
            self.queues,
            self.entries,
            self.max_frame,
            self.answered,
            self.session,
        ]
    }

    /// Whether the writer may still send to buffers that were posted in `session` of the reader.
    pub const fn uses(&self, session: u32) -> bool {
        self.answered == session
    }

    /// Reads the words that the peer has written; `None` as long as there are none.
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    pub fn decode(words: &[u32; Self::WORDS]) -> Result<Option<Self>, HeaderError> {
        let [magic, version, queues, entries, max_frame, answered, session] = *words;
        if session == 0 {
            return Ok(None);
        }
        if magic != MAGIC {
            return Err(HeaderError::Magic(magic));
        }
        if version as u16 != VERSION {
            return Err(HeaderError::Version(version as u16));
        }
        if version >> 16 != Self::SIZE {
            return Err(HeaderError::Size(version >> 16));
        }
        if !(1..=MAX_QUEUES).contains(&queues) {
            return Err(HeaderError::Queues(queues));
        }
        if !entries.is_power_of_two() || !(MIN_ENTRIES..=MAX_ENTRIES).contains(&entries) {
            return Err(HeaderError::Entries(entries));
        }
        if max_frame == 0 {
            return Err(HeaderError::MaxFrame);
        }
        Ok(Some(Self {
            session,
            answered,
            queues,
            entries,
            max_frame,
        }))
    }
}

/// Why a header cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// It does not start with [`MAGIC`].
    Magic(u32),
    /// Another version of the layout.
    Version(u16),
    /// Another size than its version has.
    Size(u32),
    /// No queue pair, or more than [`MAX_QUEUES`].
    Queues(u32),
    /// No power of two, or out of range.
    Entries(u32),
    /// No frame has room in the peer's buffers.
    MaxFrame,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic(magic) => write!(f, "the peer's control window starts with {magic:#x}"),
            Self::Version(version) => {
                write!(
                    f,
                    "the peer has control layout {version}, we have {VERSION}"
                )
            }
            Self::Size(size) => write!(f, "header of {size} bytes, not {}", Header::SIZE),
            Self::Queues(n) => write!(f, "{n} queue pairs, not 1 to {MAX_QUEUES}"),
            Self::Entries(n) => write!(
                f,
                "rings of {n} entries, no power of two from {MIN_ENTRIES} to {MAX_ENTRIES}"
            ),
            Self::MaxFrame => write!(f, "receive buffers of 0 bytes"),
        }
    }
}

/// What a side does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: wait for the peer.
    Wait,
    /// Clear our window but for the peer's header, start both rings of each queue pair at 0, call
    /// [`Handshake::answer`], and write our header to the peer.
    Answer,
    /// Both have answered: our rings are the peer's to write, and its rings are ours.
    Up,
    /// The peer has started again. Stop: no transfer of ours is under way and no write of ours follows;
    /// then call [`Handshake::restart`], and write our header to the peer.
    Restart,
}

/// One side of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    session: u32,
    answered: u32,
    up: bool,
}

impl Handshake {
    /// Starts. `nonce` should not be one that this side has had, in an earlier life either: take a
    /// random number.
    pub const fn new(nonce: u32) -> Self {
        Self {
            session: if nonce == 0 { 1 } else { nonce },
            answered: 0,
            up: false,
        }
    }

    /// Starts again, with another session. Whoever calls this has stopped, see [`Step::Restart`].
    pub fn restart(&mut self, nonce: u32) {
        let old = self.session;
        *self = Self::new(nonce);
        if self.session == old {
            *self = Self::new(old.wrapping_add(1));
        }
    }

    /// Our session.
    pub const fn session(&self) -> u32 {
        self.session
    }

    /// The session of the peer that we have answered; 0 is none.
    pub const fn answered(&self) -> u32 {
        self.answered
    }

    /// Whether [`Handshake::step`] said [`Step::Up`], and nothing else since.
    pub const fn is_up(&self) -> bool {
        self.up
    }

    /// What follows from the peer's header as it is now.
    pub fn step(&mut self, peer: Option<&Header>) -> Step {
        let (session, answered) = peer.map_or((0, 0), |peer| (peer.session, peer.answered));
        if self.up {
            if (session, answered) == (self.answered, self.session) {
                return Step::Up;
            }
            self.up = false;
            return Step::Restart;
        }
        if session == 0 {
            Step::Wait
        } else if session != self.answered {
            Step::Answer
        } else if answered == self.session {
            self.up = true;
            Step::Up
        } else {
            Step::Wait
        }
    }

    /// Our rings are clear: the peer's session `session` is answered.
    pub fn answer(&mut self, session: u32) {
        self.answered = session;
    }
}
