// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The auxiliary device by which `ntb_hw_epf` on the RC hands exported channels to whoever knows their
//! DMA controller: a child of the PCI function, told apart by its properties.
//!
//! It stands for a locator and a header that were checked, but says only where they are: its driver
//! reads the header again, from memory that is the peer's, and has to check it again.

use core::ffi::CStr;

/// The driver that makes the device: the first part of its name on the auxiliary bus.
pub const MAKER: &CStr = c"ntb_hw_epf";
/// What the device is, the second part: channels behind a DMA header of version 1.
pub const NAME: &CStr = c"ep_dma_v1";

/// Properties, all of 32 bits.
pub mod property {
    use super::CStr;

    /// How to read the slice, [`ABI_V1`](super::super::locator::ABI_V1).
    pub const ABI: &CStr = c"dma-abi";
    /// BAR of the slice.
    pub const BAR: &CStr = c"dma-bar";
    /// Where the slice starts in it.
    pub const OFFSET: &CStr = c"dma-offset";
    /// Bytes of the slice.
    pub const SIZE: &CStr = c"dma-size";
    /// Number of channels.
    pub const NUM_CHANS: &CStr = c"dma-num-chans";
    /// First interrupt vector of the function that is the channels'.
    pub const IRQ_BASE: &CStr = c"dma-irq-base";
    /// How many vectors are.
    pub const IRQ_COUNT: &CStr = c"dma-irq-count";
}
