// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whom the completions of a delegated channel are told (series "Enable remote use of integrated
//! DesignWare eDMA", January 2026).
//!
//! Three places decide:
//!
//! | | LIE, RIE in the list | `rd_int_mask` | who clears `rd_int_status` |
//! |---|---|---|---|
//! | written by | the RC, which submits | the EP, once, when it delegates; else the RC | |
//! | [`Routing::Default`] | LIE, RIE | open | the EP's own driver |
//! | [`Routing::Local`] | LIE | open | the EP's handler of notifications |
//! | [`Routing::Remote`] | LIE, RIE | masked | nobody needs to |
//!
//! The mask is one register for all channels of a direction, and the EP's driver changes it by reading
//! and writing: only on the EP is there a lock for that. So an EP masks what it delegates, and the RC,
//! which looks when a client takes a channel, finds nothing to change. The EP of the published series does
//! not: its driver has a mode and no more, and the bits of a channel that the EP has used are open. With
//! [`Routing::Remote`] the RC masks them then, since nobody would ever clear the status, and the line
//! would stay high.
//!
//! Nor can the RC trust the status, which is shared as well: with [`Routing::Default`] the EP clears it
//! at any interrupt, and an older EP always does. A channel's own status (CS of its control 1) and its
//! list pointer nobody else changes. So the RC leaves `rd_int_clear` alone: any write to it ends an
//! interrupt that the EP's doorbell emulates, before the EP may have seen it.

use core::fmt;

/// Whom a channel's completions are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum Routing {
    /// The RC, by a message; the EP's interrupt line stays low. What the published layout means, where
    /// the word is padding and 0.
    #[default]
    Remote = 0,
    /// Both: the EP's own driver takes its interrupt and has nothing to do.
    Default = 1,
    /// The EP, which is notified. The RC gets no message and has to look.
    Local = 2,
}

impl Routing {
    /// The routing that `raw` stands for, if it is one.
    pub const fn from_raw(raw: u32) -> Option<Self> {
        Some(match raw {
            0 => Self::Remote,
            1 => Self::Default,
            2 => Self::Local,
            _ => return None,
        })
    }

    /// The routing of this name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        let all = [Self::Remote, Self::Default, Self::Local];
        all.into_iter()
            .find(|routing| routing.name().as_bytes() == name)
    }

    /// How a user writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Remote => "remote",
            Self::Default => "default",
            Self::Local => "local",
        }
    }

    /// Whether the EP's interrupt line may rise: `rd_int_mask` is open.
    pub const fn interrupts_ep(self) -> bool {
        !matches!(self, Self::Remote)
    }

    /// Whether the RC gets messages: elements that interrupt have RIE beside LIE.
    pub const fn interrupts_rc(self) -> bool {
        !matches!(self, Self::Local)
    }
}

impl fmt::Display for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
