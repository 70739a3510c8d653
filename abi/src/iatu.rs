// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Internal address translation unit (iATU), unrolled (`dw`, `PCIE_ATU_*`).

use super::field::Field;

/// Distance between region n and n + 1 of one direction (`PCIE_ATU_UNROLL_BASE`).
pub const REGION_STRIDE: u32 = 0x200;
/// Where inbound region 0 starts; outbound region 0 starts at 0.
pub const INBOUND: u32 = 0x100;
/// Bytes between a region's first register and the other direction's.
pub const REGION_SIZE: u32 = 0x100;
/// Regions per direction: as many as the window of 0x2000 bytes can hold.
pub const REGIONS: usize = 16;

/// Region control 1 (`PCIE_ATU_REGION_CTRL1`).
pub const CTRL1: u32 = 0x00;
/// Region control 2 (`PCIE_ATU_REGION_CTRL2`).
pub const CTRL2: u32 = 0x04;
/// Base address, low half (`PCIE_ATU_LOWER_BASE`).
pub const LOWER_BASE: u32 = 0x08;
/// Base address, high half (`PCIE_ATU_UPPER_BASE`).
pub const UPPER_BASE: u32 = 0x0c;
/// Last address, low half (`PCIE_ATU_LIMIT`).
pub const LIMIT: u32 = 0x10;
/// Target address, low half (`PCIE_ATU_LOWER_TARGET`).
pub const LOWER_TARGET: u32 = 0x14;
/// Target address, high half (`PCIE_ATU_UPPER_TARGET`).
pub const UPPER_TARGET: u32 = 0x18;
/// Last address, high half (`PCIE_ATU_UPPER_LIMIT`).
pub const UPPER_LIMIT: u32 = 0x20;

/// Granule of base, limit and target (CX_ATU_MIN_REGION_SIZE): `dw_pcie_iatu_detect` reads it
/// back from [`LIMIT`].
pub const GRANULE: u32 = 0x1000;
/// Writable bits of [`UPPER_LIMIT`], from which `dw_pcie_iatu_detect` derives the largest
/// region: 1 TiB (CX_ATU_MAX_REGION_SIZE).
pub const UPPER_LIMIT_WRITABLE: Field = Field::bits(7, 0);

/// [`CTRL1`]: TLP type (`PCIE_TLP_TYPE_*`).
pub const TYPE: Field = Field::bits(4, 0);
/// TLP type: memory request (`PCIE_TLP_TYPE_MEM_RDWR`).
pub const TYPE_MEMORY: u32 = 0x0;
/// [`CTRL1`]: a region may be larger than 4 GiB (`PCIE_ATU_INCREASE_REGION_SIZE`).
pub const INCREASE_REGION_SIZE: Field = Field::bit(13);
/// [`CTRL1`]: function number (`PCIE_ATU_FUNC_NUM`).
pub const FUNCTION: Field = Field::bits(24, 20);
/// [`CTRL2`]: region enabled (`PCIE_ATU_ENABLE`).
pub const ENABLE: Field = Field::bit(31);
/// [`CTRL2`], inbound: match by BAR, not by address (`PCIE_ATU_BAR_MODE_ENABLE`).
pub const BAR_MODE: Field = Field::bit(30);
/// [`CTRL2`]: match the function number too (`PCIE_ATU_FUNC_NUM_MATCH_EN`).
pub const FUNCTION_MATCH: Field = Field::bit(19);
/// [`CTRL2`], inbound: BAR number to match (`dw_pcie_prog_ep_inbound_atu`).
pub const BAR: Field = Field::bits(10, 8);
