// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What both ends of a virtual NTB (`pci-epf-vntb` on the EP, `ntb_hw_epf` on the RC) agree on.
//!
//! * [`control`]: the control block at the start of the control BAR, legacy and version 1.
//! * [`locator`]: where version 1 says that exported DMA channels are.
//! * [`header`]: DMA header version 1, at the start of the slice that the locator names.
//! * [`routing`]: whom completions of an exported channel are told.
//! * [`slice`]: how an EP lays that slice out.
//! * [`child`]: the device by which the RC hands the channels on.
//! * [`ep_dma`]: the scratchpads through which the test client `ntb_ep_dma` talks.
//!
//! All integers are little endian. The legacy block is `struct epf_ntb_ctrl` of Linux 7.3; version 1
//! and all that follows from it is the series "PCI: endpoint: Remote DMA support via vNTB" (March
//! 2026). Whatever an RC reads through a BAR was written by the peer: the parsers here take any
//! bytes, never panic, and say which rule was broken.

// A kernel module mounts this file by `#[path]`, and then files below it are looked up beside it
// and not in a directory of its name: hence a path on each.
#[path = "vntb/child.rs"]
pub mod child;
#[path = "vntb/control.rs"]
pub mod control;
#[path = "vntb/ep_dma.rs"]
pub mod ep_dma;
#[path = "vntb/header.rs"]
pub mod header;
#[path = "vntb/locator.rs"]
pub mod locator;
#[path = "vntb/routing.rs"]
pub mod routing;
#[path = "vntb/slice.rs"]
pub mod slice;
#[path = "vntb/window.rs"]
pub mod window;

/// Interrupt vectors, counted from 0, that have a meaning of their own (`enum epf_irq_slot`).
pub mod irq {
    /// Link events.
    pub const LINK: u32 = 0;
    /// Not used; an offset that history left behind.
    pub const RESERVED: u32 = 1;
    /// Doorbell bit 0. Bit n is vector `FIRST_DOORBELL + n`; the EP raises it as MSI number
    /// `FIRST_DOORBELL + n + 1`, since `pci_epc_raise_irq` counts from 1.
    pub const FIRST_DOORBELL: u32 = 2;
    /// Fewest vectors with which a vNTB works: `NTB_EPF_MIN_DB_COUNT` and the link's.
    pub const MIN_VECTORS: u32 = 4;
    /// Most vectors of an MSI capability (PCIe 7.7.1.2).
    pub const MAX_VECTORS: u32 = 32;
}

/// Fewest doorbell slots, the two that are no doorbells included (`MIN_DB_COUNT`).
pub const MIN_DB_COUNT: u32 = irq::FIRST_DOORBELL + 1;
/// Most doorbell slots (`MAX_DB_COUNT`).
pub const MAX_DB_COUNT: u32 = 32;
/// Most memory windows (`MAX_MW`).
pub const MAX_MWS: usize = 4;
/// Most channels that one header can describe.
pub const MAX_CHANNELS: usize = 8;
/// BARs of a PCI function (`PCI_STD_NUM_BARS`).
pub const BARS: usize = 6;
