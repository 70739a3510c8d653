// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Renesas's registers around the controller ("app" window, `rcar->base` in rcar).

use super::field::Field;

/// PCIe mode setting 0 (`PCIEMSR0`; `rcar_gen4_pcie_common_init`).
pub const MODE_SETTING_0: u32 = 0x000;
/// PCIe reset control 1 (`PCIERSTCTRL1`; `r8a779f0_pcie_ltssm_control`).
pub const RESET_CONTROL_1: u32 = 0x014;
/// Power management control (`PCIEPWRMNGCTRL`).
pub const POWER_MANAGEMENT: u32 = 0x070;
/// PCIe interrupt status 0 (`PCIEINTSTS0`; `rcar_gen4_pcie_link_up`).
pub const INTERRUPT_STATUS_0: u32 = 0x084;
/// PCIe interrupt status 0 enable (`PCIEINTSTS0EN`).
pub const INTERRUPT_ENABLE_0: u32 = 0x310;
/// DMA interrupt status enable (`PCIEDMAINTSTSEN`; `rcar_gen4_pcie_ep_pre_init`).
pub const DMA_INTERRUPT_ENABLE: u32 = 0x314;
/// Address that MSIs received as RC are sent to (`AXIINTCADDR`).
pub const AXI_INTC_ADDRESS: u32 = 0xa00;
/// Control and mask for it (`AXIINTCCONT`).
pub const AXI_INTC_CONTROL: u32 = 0xa04;

/// [`MODE_SETTING_0`]: lanes are split between controllers (`BIFUR_MOD_SET_ON`).
pub const BIFURCATION: Field = Field::bit(0);
/// [`MODE_SETTING_0`]: root complex rather than endpoint (`DEVICE_TYPE_RC`); hard-wired 0 here.
pub const DEVICE_TYPE_RC: Field = Field::bit(4);
/// [`MODE_SETTING_0`]: separate reference clocks (`APP_SRIS_MODE`).
pub const SRIS_MODE: Field = Field::bit(6);
/// [`RESET_CONTROL_1`]: let the link train (`APP_LTSSM_ENABLE`).
pub const LTSSM_ENABLE: Field = Field::bit(0);
/// [`RESET_CONTROL_1`]: hold the PHY in reset (`APP_HOLD_PHY_RST`).
pub const HOLD_PHY_RESET: Field = Field::bit(16);
/// [`INTERRUPT_STATUS_0`]: physical layer up (`SMLH_LINK_UP`).
pub const SMLH_LINK_UP: Field = Field::bit(7);
/// [`INTERRUPT_STATUS_0`]: data link layer up (`RDLH_LINK_UP`).
pub const RDLH_LINK_UP: Field = Field::bit(6);
/// [`DMA_INTERRUPT_ENABLE`]: the implemented bits (`PCIEDMAINTSTSEN_INIT`).
pub const DMA_INTERRUPTS: Field = Field::bits(15, 0);
