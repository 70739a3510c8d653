// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where a control block of version 1 says that exported DMA channels are.

use core::fmt;

use super::header;
use super::window::{BarSizes, Window, WindowError};
use super::MAX_CHANNELS;

/// [`Locator::abi`]: the slice starts with a DMA header of version 1.
pub const ABI_V1: u32 = 1;
/// The slice and each window in it start at a multiple of this: the EP's iATU maps nothing finer
/// (`align` of `rcar_gen4_pcie_epc_features`).
pub const ALIGN: u32 = 0x1000;

/// The locator as the control block states it; [`Locator::check`] before use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Locator {
    /// How to read the slice; 0 in the block means that nothing is exported.
    pub abi: u32,
    /// The slice.
    pub window: Window,
    /// Delegated channels, [`MAX_CHANNELS`] at most.
    pub num_chans: u32,
}

impl Locator {
    /// Whether there can be a header of version 1 at this place.
    ///
    /// `taken` are the windows of the vNTB itself: the control block with its scratchpads, the
    /// doorbells, the memory windows.
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    pub fn check(&self, bars: &BarSizes, taken: &[Window]) -> Result<(), LocatorError> {
        if self.abi != ABI_V1 {
            return Err(LocatorError::Abi(self.abi));
        }
        if self.num_chans == 0 || self.num_chans as usize > MAX_CHANNELS {
            return Err(LocatorError::ChannelCount(self.num_chans));
        }
        self.window
            .check(bars, ALIGN)
            .map_err(LocatorError::Window)?;
        if self.window.size < header::SIZE {
            return Err(LocatorError::Size(self.window.size));
        }
        match taken.iter().find(|other| self.window.overlaps(other)) {
            Some(other) => Err(LocatorError::Overlap(*other)),
            None => Ok(()),
        }
    }
}

/// Why a locator cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocatorError {
    /// The ABI is unknown.
    Abi(u32),
    /// No channel, or more than [`MAX_CHANNELS`].
    ChannelCount(u32),
    /// The slice is no usable window.
    Window(WindowError),
    /// The slice has no room for a header.
    Size(u32),
    /// The slice covers a part of the vNTB itself.
    Overlap(Window),
}

impl fmt::Display for LocatorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abi(abi) => write!(f, "DMA ABI {abi} is not {ABI_V1}"),
            Self::ChannelCount(n) => write!(f, "{n} DMA channels, not 1 to {MAX_CHANNELS}"),
            Self::Window(error) => write!(f, "DMA slice: {error}"),
            Self::Size(size) => {
                write!(f, "DMA slice of {size:#x} bytes has no room for a header")
            }
            Self::Overlap(other) => write!(f, "DMA slice overlaps the vNTB's {other}"),
        }
    }
}
