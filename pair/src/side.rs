// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The two boards.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Index, IndexMut};

/// One of the two guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The endpoint: its guest runs `pcie-rcar-gen4` and the endpoint function.
    Ep,
    /// The root complex: its guest sees the function as a PCI device.
    Rc,
}

impl Side {
    /// Both sides, the endpoint first.
    pub const BOTH: [Side; 2] = [Side::Ep, Side::Rc];

    /// `ep` or `rc`: the command's name, the log's name, the prefix in the timeline.
    pub fn name(self) -> &'static str {
        match self {
            Side::Ep => "ep",
            Side::Rc => "rc",
        }
    }

    /// How messages call this side.
    pub fn title(self) -> &'static str {
        match self {
            Side::Ep => "the EP guest",
            Side::Rc => "the RC guest",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One `T` for each side: `sides[Side::Ep]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sides<T> {
    /// The endpoint's.
    pub ep: T,
    /// The root complex's.
    pub rc: T,
}

impl<T> Sides<T> {
    /// Makes each side's value from its side.
    pub fn from_fn(mut f: impl FnMut(Side) -> T) -> Self {
        Sides {
            ep: f(Side::Ep),
            rc: f(Side::Rc),
        }
    }

    /// As [`Sides::from_fn`], for a maker that can fail; the endpoint's is made first.
    pub fn try_from_fn<E>(mut f: impl FnMut(Side) -> Result<T, E>) -> Result<Self, E> {
        Ok(Sides {
            ep: f(Side::Ep)?,
            rc: f(Side::Rc)?,
        })
    }
}

impl<T> Index<Side> for Sides<T> {
    type Output = T;
    fn index(&self, side: Side) -> &T {
        match side {
            Side::Ep => &self.ep,
            Side::Rc => &self.rc,
        }
    }
}

impl<T> IndexMut<Side> for Sides<T> {
    fn index_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Ep => &mut self.ep,
            Side::Rc => &mut self.rc,
        }
    }
}
