// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Data bus interface (DBI): where the DesignWare core keeps configuration space, and its port
//! logic registers from 0x700 on (`dw`, "Synopsys-specific PCIe configuration registers").

use super::field::Field;
use super::pci::{capability, extended};

/// Power management capability; the core's usual place for it.
pub const POWER_MANAGEMENT: u32 = 0x40;
/// MSI capability (`MSICAP0` in rcar).
pub const MSI: u32 = 0x50;
/// PCI Express capability (`EXPCAP` in Renesas's own driver).
pub const EXPRESS: u32 = 0x70;
/// Resizable BAR capability. Its place on the silicon is not stated by any driver; the driver
/// walks the list (`dw_pcie_ep_get_rebar_offset`).
pub const RESIZABLE_BAR: u32 = extended::FIRST;
/// The capability list, in order: (id, offset).
pub const CAPABILITIES: [(u32, u32); 3] = [
    (capability::POWER_MANAGEMENT, POWER_MANAGEMENT),
    (capability::MSI, MSI),
    (capability::PCI_EXPRESS, EXPRESS),
];
/// BARs that [`RESIZABLE_BAR`] describes, in its order (`rcar_gen4_pcie_epc_features`).
pub const RESIZABLE_BARS: [usize; 2] = [0, 2];
/// The BAR of fixed size (`rcar_gen4_pcie_epc_features`).
pub const FIXED_BAR: usize = 4;
/// Bytes of [`FIXED_BAR`].
pub const FIXED_BAR_SIZE: u32 = 256;

/// First port logic register; what lies below is configuration space.
pub const PORT_LOGIC: u32 = 0x700;

/// Port force link (`PCIE_PORT_FORCE`).
pub const PORT_FORCE: u32 = 0x708;
/// Ack frequency and N_FTS (`PCIE_PORT_AFR`).
pub const PORT_AFR: u32 = 0x70c;
/// Port link control (`PCIE_PORT_LINK_CONTROL`; `dw_pcie_setup`).
pub const PORT_LINK_CONTROL: u32 = 0x710;
/// Lane skew (`PCIE_PORT_LANE_SKEW`).
pub const PORT_LANE_SKEW: u32 = 0x714;
/// Timer control and highest function number (`PCIE_TIMER_CTRL_MAX_FUNC_NUM`).
pub const TIMER_CONTROL: u32 = 0x718;
/// LTSSM state (`PCIE_PORT_DEBUG0`).
pub const PORT_DEBUG0: u32 = 0x728;
/// Link up and in training (`PCIE_PORT_DEBUG1`).
pub const PORT_DEBUG1: u32 = 0x72c;
/// Link width and speed change control (`PCIE_LINK_WIDTH_SPEED_CONTROL`).
pub const LINK_WIDTH_SPEED: u32 = 0x80c;
/// Gen3 related (`GEN3_RELATED_OFF`).
pub const GEN3_RELATED: u32 = 0x890;
/// Gen3 equalisation control (`GEN3_EQ_CONTROL_OFF`).
pub const GEN3_EQ_CONTROL: u32 = 0x8a8;
/// Gen3 equalisation feedback (`GEN3_EQ_FB_MODE_DIR_CHANGE_OFF`).
pub const GEN3_EQ_FEEDBACK: u32 = 0x8ac;
/// Miscellaneous control 1 (`PCIE_MISC_CONTROL_1_OFF`).
pub const MISC_CONTROL_1: u32 = 0x8bc;
/// Multi-lane control (`PCIE_PORT_MULTI_LANE_CTRL`).
pub const MULTI_LANE: u32 = 0x8c0;
/// Cache coherency control 1 (`COHERENCY_CONTROL_1_OFF`); 2 and 3 follow.
pub const COHERENCY_1: u32 = 0x8e0;
/// Cache coherency control 2.
pub const COHERENCY_2: u32 = 0x8e4;
/// Cache coherency control 3.
pub const COHERENCY_3: u32 = 0x8e8;
/// Version of the core in ASCII (`PCIE_VERSION_NUMBER`; `dw_pcie_version_detect`).
pub const VERSION_NUMBER: u32 = 0x8f8;
/// Release type of the core in ASCII (`PCIE_VERSION_TYPE`).
pub const VERSION_TYPE: u32 = 0x8fc;
/// iATU viewport of old cores; all ones tells that the iATU is unrolled (`dw_pcie_iatu_detect`).
pub const ATU_VIEWPORT: u32 = 0x900;
/// eDMA control of old cores; all ones tells that the eDMA is unrolled (`dw_pcie_edma_find_mf`).
pub const DMA_VIEWPORT_CONTROL: u32 = 0x978;
/// Register consistency check (`PCIE_PL_CHK_REG_CONTROL_STATUS`).
pub const CHECK_REGISTERS: u32 = 0xb20;
/// Port logic 89 (`PRTLGC89` in rcar).
pub const PORT_LOGIC_89: u32 = 0xb70;
/// Port logic 90 (`PRTLGC90` in rcar).
pub const PORT_LOGIC_90: u32 = 0xb74;
/// Gen4 lane margining 1 (`GEN4_LANE_MARGINING_1_OFF`).
pub const LANE_MARGINING_1: u32 = 0xb80;
/// Gen4 lane margining 2.
pub const LANE_MARGINING_2: u32 = 0xb84;

/// [`PORT_LINK_CONTROL`]: data link layer enabled (`PORT_LINK_DLL_LINK_EN`).
pub const DLL_LINK_ENABLE: Field = Field::bit(5);
/// [`PORT_LINK_CONTROL`]: lanes as a mask (`PORT_LINK_MODE_MASK`).
pub const LINK_MODE: Field = Field::bits(21, 16);
/// [`PORT_DEBUG0`]: LTSSM state (`PORT_LOGIC_LTSSM_STATE_MASK`).
pub const LTSSM_STATE: Field = Field::bits(5, 0);
/// LTSSM state Detect.Quiet (`DW_PCIE_LTSSM_DETECT_QUIET`).
pub const LTSSM_DETECT_QUIET: u32 = 0x00;
/// LTSSM state L0 (`DW_PCIE_LTSSM_L0`).
pub const LTSSM_L0: u32 = 0x11;
/// [`PORT_DEBUG1`]: the link is up (`PCIE_PORT_DEBUG1_LINK_UP`).
pub const DEBUG1_LINK_UP: Field = Field::bit(4);
/// [`LINK_WIDTH_SPEED`]: lanes (`PORT_LOGIC_LINK_WIDTH_MASK`).
pub const LINK_WIDTH: Field = Field::bits(12, 8);
/// [`LINK_WIDTH_SPEED`]: start a directed speed change; clears itself
/// (`PORT_LOGIC_SPEED_CHANGE`; `rcar_gen4_pcie_speed_change`).
pub const SPEED_CHANGE: Field = Field::bit(17);
/// [`MISC_CONTROL_1`]: read-only registers may be written through DBI (`PCIE_DBI_RO_WR_EN`).
pub const RO_WRITE_ENABLE: Field = Field::bit(0);

/// Value of [`VERSION_NUMBER`]: "520*" (`DW_PCIE_VER_520A`), the core of R-Car Gen4.
pub const VERSION_520A: u32 = u32::from_be_bytes(*b"520*");
/// Value of [`VERSION_TYPE`]: "ga**", general availability; *inferred*.
pub const TYPE_GA: u32 = u32::from_be_bytes(*b"ga**");

/// dbi2: bit 0 of a BAR mask enables the BAR (`dw_pcie_ep_set_bar_resizable`).
pub const BAR_ENABLE: Field = Field::bit(0);
