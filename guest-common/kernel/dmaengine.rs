// SPDX-License-Identifier: GPL-2.0

//! DMA engines, as their clients see them: slave transfers between memory and a device.
//!
//! C header: [`include/linux/dmaengine.h`](srctree/include/linux/dmaengine.h),
//! see also [`Documentation/driver-api/dmaengine/client.rst`](srctree/Documentation/driver-api/dmaengine/client.rst)
//!
//! A client asks for a [`Channel`], tells it where the device is ([`Config`]), prepares a
//! [`Descriptor`] of a [`ScatterList`] of its memory, submits it, which gives a [`Transfer`], and
//! starts what it submitted with [`Channel::issue_pending`].
//!
//! The memory of a transfer belongs to the channel until the transfer has finished, was terminated,
//! or the channel is released. A client cannot free it under the engine.
//!
//! A module mounts this file as `mod dmaengine`, `completion.rs` as `mod completion`, and
//! `bindings.rs` with `linux/dmaengine.h` and the helpers `dmaengine` as `mod bindings`.

#[path = "dmaengine/channel.rs"]
mod channel;
#[path = "dmaengine/cycle.rs"]
mod cycle;
#[path = "dmaengine/list.rs"]
mod list;
#[path = "dmaengine/transfer.rs"]
mod transfer;

#[allow(unused_imports)] // not every module needs everything
pub(crate) use self::{
    channel::{Candidate, Capabilities, Channel, Config, Descriptor, DeviceAddress},
    cycle::Cycle,
    list::{Memory, ScatterList},
    transfer::{Outcome, Progress, Transfer},
};

use crate::bindings;

/// Which way a slave transfer goes (`enum dma_transfer_direction`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From memory to the device.
    MemToDev,
    /// From the device to memory.
    DevToMem,
}

impl Direction {
    fn as_raw(self) -> bindings::dma_transfer_direction {
        match self {
            Self::MemToDev => bindings::dma_transfer_direction_DMA_MEM_TO_DEV,
            Self::DevToMem => bindings::dma_transfer_direction_DMA_DEV_TO_MEM,
        }
    }
}
