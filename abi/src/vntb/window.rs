// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A run of bytes in a BAR.

use core::fmt;

use super::BARS;

/// Size of each BAR in bytes, 0 for one that is not there.
pub type BarSizes = [u64; BARS];

/// `size` bytes at `offset` in `bar`, as the peer states them: nothing is checked yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Number of the BAR.
    pub bar: u32,
    /// First byte.
    pub offset: u32,
    /// Length in bytes.
    pub size: u32,
}

impl Window {
    /// The first byte after the window. Never overflows: both parts are 32 bits.
    pub const fn end(&self) -> u64 {
        self.offset as u64 + self.size as u64
    }

    /// Whether both have a byte in common. A window of size 0 has none.
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.size != 0
            && other.size != 0
            && self.bar == other.bar
            && (self.offset as u64) < other.end()
            && (other.offset as u64) < self.end()
    }

    /// Whether every byte of `inner` is one of this window.
    pub const fn contains(&self, inner: &Self) -> bool {
        self.bar == inner.bar && self.offset <= inner.offset && inner.end() <= self.end()
    }

    /// Checks that the window is not empty, starts at a multiple of `align` (a power of two) and
    /// ends in a BAR that exists.
    ///
    /// # Errors
    ///
    /// The first rule that is broken, in the order of [`WindowError`].
    pub const fn check(&self, bars: &BarSizes, align: u32) -> Result<(), WindowError> {
        if self.bar as usize >= BARS || bars[self.bar as usize] == 0 {
            return Err(WindowError::NoSuchBar);
        }
        if self.size == 0 {
            return Err(WindowError::Empty);
        }
        if self.offset & align.saturating_sub(1) != 0 {
            return Err(WindowError::Misaligned { align });
        }
        let bar_size = bars[self.bar as usize];
        if self.end() > bar_size {
            return Err(WindowError::OutOfBar { bar_size });
        }
        Ok(())
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BAR {} {:#x}+{:#x}", self.bar, self.offset, self.size)
    }
}

/// Why a window cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowError {
    /// The BAR is not one of 0 to 5, or the function does not have it.
    NoSuchBar,
    /// The size is 0.
    Empty,
    /// The offset is not a multiple of `align`.
    Misaligned {
        /// What it has to be a multiple of.
        align: u32,
    },
    /// The window ends after its BAR does.
    OutOfBar {
        /// Size of the BAR in bytes.
        bar_size: u64,
    },
}

impl fmt::Display for WindowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchBar => f.write_str("there is no such BAR"),
            Self::Empty => f.write_str("it is empty"),
            Self::Misaligned { align } => write!(f, "its offset is not a multiple of {align:#x}"),
            Self::OutOfBar { bar_size } => {
                write!(f, "it ends after the BAR, which has {bar_size:#x} bytes")
            }
        }
    }
}
