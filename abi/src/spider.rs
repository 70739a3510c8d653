// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The R-Car S4 (r8a779f0) endpoint block as the EP guest's PCI device presents it.
//!
//! BAR0 mirrors the SoC's register windows, sizes and distances as on the SoC (`pciec0_ep` in
//! `r8a779f0.dtsi`); BAR2 is the outbound window, the SoC's `addr_space`. A device-tree overlay
//! tells the stock driver where each window lies; it is made from [`dt_defines`], so that no offset
//! stands in two places.

/// PCI identity of the EP face, which only our bridge module may claim.
///
/// 1234 is the unregistered vendor id of QEMU's educational devices. Linux binds one device of
/// it (1111, a VGA adapter) and no driver takes a vendor-wide match, unlike 1af4 where virtio
/// does. The device id is chosen for its look: r8a**779f**0.
pub mod ep_face {
    /// Vendor id; also the subsystem vendor id.
    pub const VENDOR_ID: u16 = 0x1234;
    /// Device id; also the subsystem id.
    pub const DEVICE_ID: u16 = 0x779f;
    /// Revision id.
    pub const REVISION: u8 = 1;
    /// Class code: base class 08 (system peripheral), subclass 80 (other), no interface.
    pub const CLASS: u32 = 0x08_8000;
    /// `COMMAND`, `STATUS`, BARs and one MSI capability: a conventional configuration space.
    pub const CONFIG_SIZE: u32 = 256;
    /// Vectors in the MSI capability. One carries the shared eDMA interrupt line.
    pub const MSI_VECTORS: u16 = 1;
}

/// BAR that mirrors the register windows. It must lie below 4 GiB in the EP guest, because
/// `dma_map_resource` of the embedded doorbell applies a 32-bit mask; hence a 32-bit BAR.
pub const REGISTERS_BAR: u8 = 0;
/// Size of [`REGISTERS_BAR`] in bytes.
pub const REGISTERS_SIZE: u32 = 0x8000;
/// BAR that is the outbound window (`addr_space` in the device tree).
pub const WINDOW_BAR: u8 = 2;
/// Size of [`WINDOW_BAR`] in bytes. epf-test's COPY maps 2 x 1 MiB beside the MSI page.
pub const WINDOW_SIZE: u32 = 0x40_0000;
/// Address of the outbound window on the overlay's own bus (first cell of `ranges`).
pub const WINDOW_BUS_ADDRESS: u32 = 0x1000_0000;

/// A register window in [`REGISTERS_BAR`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The driver's name of it, an entry of `reg-names`.
    pub name: &'static str,
    /// First byte, from the start of the BAR.
    pub offset: u32,
    /// Length in bytes.
    pub size: u32,
}

impl Window {
    /// The offset within this window of the byte at `offset` in the BAR, if it lies inside.
    pub const fn locate(&self, offset: u32) -> Option<u32> {
        if offset >= self.offset && offset - self.offset < self.size {
            Some(offset - self.offset)
        } else {
            None
        }
    }
}

/// Configuration space and port logic; function n at 0x1000 n (`rcar_gen4_pcie_ep_get_dbi_offset`).
pub const DBI: Window = Window {
    name: "dbi",
    offset: 0x0000,
    size: 0x2000,
};
/// Shadow of the configuration space that holds BAR masks; function n at 0x800 n
/// (`rcar_gen4_pcie_ep_get_dbi2_offset`).
pub const DBI2: Window = Window {
    name: "dbi2",
    offset: 0x2000,
    size: 0x1000,
};
/// Internal address translation unit, unrolled (`dw_pcie_select_atu`).
pub const ATU: Window = Window {
    name: "atu",
    offset: 0x3000,
    size: 0x2000,
};
/// Embedded DMA controller, unrolled (`struct dw_edma_v0_regs`). 4 KiB-aligned, since the
/// embedded doorbell maps whole pages of it into a BAR of the RC.
pub const DMA: Window = Window {
    name: "dma",
    offset: 0x5000,
    size: 0x1200,
};
/// Renesas's own registers around the controller (`rcar->base`).
pub const APP: Window = Window {
    name: "app",
    offset: 0x6200,
    size: 0x0e00,
};
/// The PHY's registers (`rcar->phy_base`); the r8a779f0 code maps but never touches them.
pub const PHY: Window = Window {
    name: "phy",
    offset: 0x7000,
    size: 0x0400,
};

/// All register windows in ascending order.
pub const WINDOWS: [Window; 6] = [DBI, DBI2, ATU, DMA, APP, PHY];

/// Lanes of the link (`num-lanes`).
pub const LANES: u32 = 2;
/// Generation of the link (`max-link-speed`): 4 is 16 GT/s.
pub const LINK_SPEED: u32 = 4;

/// What a device-tree overlay needs of this layout, as C preprocessor names and values.
pub const fn dt_defines() -> [(&'static str, u32); 19] {
    [
        ("SPIDER_REGISTERS_BAR", REGISTERS_BAR as u32),
        ("SPIDER_REGISTERS_SIZE", REGISTERS_SIZE),
        ("SPIDER_WINDOW_BAR", WINDOW_BAR as u32),
        ("SPIDER_WINDOW_SIZE", WINDOW_SIZE),
        ("SPIDER_WINDOW_BUS_ADDRESS", WINDOW_BUS_ADDRESS),
        ("SPIDER_DBI_OFFSET", DBI.offset),
        ("SPIDER_DBI_SIZE", DBI.size),
        ("SPIDER_DBI2_OFFSET", DBI2.offset),
        ("SPIDER_DBI2_SIZE", DBI2.size),
        ("SPIDER_ATU_OFFSET", ATU.offset),
        ("SPIDER_ATU_SIZE", ATU.size),
        ("SPIDER_DMA_OFFSET", DMA.offset),
        ("SPIDER_DMA_SIZE", DMA.size),
        ("SPIDER_APP_OFFSET", APP.offset),
        ("SPIDER_APP_SIZE", APP.size),
        ("SPIDER_PHY_OFFSET", PHY.offset),
        ("SPIDER_PHY_SIZE", PHY.size),
        ("SPIDER_LINK_SPEED", LINK_SPEED),
        ("SPIDER_LANES", LANES),
    ]
}
