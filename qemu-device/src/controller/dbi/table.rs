// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The registers of DBI that behave alike: who may write which bits, and what they hold at reset.
//!
//! Reset values that neither a driver nor the specification states are *inferred*: they are what an
//! endpoint that has exactly the emulated features would report. Capability pointers are read-only
//! even under DBI_RO_WR_EN: no endpoint driver rewrites them, and a loop in the list would hang the
//! RC's QEMU.

use abi::dbi::{self, EXPRESS, MSI, POWER_MANAGEMENT};
use abi::pci::{capability, express, extended, header, msi, pm};
use abi::spider;

use crate::controller::registers::Register;

/// Capability number `index` of [`dbi::CAPABILITIES`]: its id and the pointer to the next.
const fn capability_header(index: usize) -> u32 {
    let next = if index + 1 < dbi::CAPABILITIES.len() {
        dbi::CAPABILITIES[index + 1].1
    } else {
        0
    };
    capability::ID.place(dbi::CAPABILITIES[index].0) | capability::NEXT.place(next)
}

/// One bit for each link generation up to the board's.
const SPEEDS: u32 = express::SPEED_VECTOR.place((1 << spider::LINK_SPEED) - 1);

/// Shorthand for the table below.
const fn register(name: &'static str, offset: u32, reset: u32) -> Register {
    Register::read_only(name, offset, reset)
}

/// All of them, in ascending order. BARs and the resizable BAR capability are elsewhere (`bars.rs`);
/// what follows the state of the link is added on reading (`mod.rs`).
pub static REGISTERS: &[Register] = &[
    // Type 0 header (PCIe 7.5.1; `dw_pcie_ep_write_header`).
    // 1912:0031 is what pci_endpoint_test knows the r8a779f0 as.
    register("ID", header::ID, 0x0031_1912).programmable(u32::MAX),
    register(
        "COMMAND_STATUS",
        header::COMMAND_STATUS,
        header::STATUS_CAPABILITIES.mask(),
    )
    .writable(header::COMMAND_WRITABLE)
    .clear_by_one(header::STATUS_ERRORS),
    register("CLASS_REVISION", header::CLASS_REVISION, 0).programmable(u32::MAX),
    register("CACHE_LINE_HEADER_TYPE", header::CACHE_LINE_HEADER_TYPE, 0)
        .writable(header::CACHE_LINE.mask()),
    register("CARDBUS_CIS", header::CARDBUS_CIS, 0),
    register("SUBSYSTEM", header::SUBSYSTEM, 0).programmable(u32::MAX),
    // No expansion ROM.
    register("ROM", header::ROM, 0),
    register("CAPABILITIES", header::CAPABILITIES, dbi::CAPABILITIES[0].1),
    register(
        "INTERRUPT",
        header::INTERRUPT,
        header::INTERRUPT_PIN.place(1),
    )
    .writable(header::INTERRUPT_LINE.mask())
    .programmable(header::INTERRUPT_PIN.mask()),
    // Power management: D0 and D3hot, no PME.
    register(
        "PM_CAPABILITIES",
        POWER_MANAGEMENT + pm::HEADER,
        capability_header(0) | pm::VERSION.place(3),
    ),
    register(
        "PM_CONTROL",
        POWER_MANAGEMENT + pm::CONTROL,
        pm::NO_SOFT_RESET.mask(),
    )
    .writable(pm::STATE.mask())
    .mirrored(),
    // MSI (`dw_pcie_ep_set_msi`, `_get_msi`, `_raise_msi_irq`).
    register(
        "MSI_CONTROL",
        MSI + msi::HEADER,
        capability_header(1) | msi::CAPABLE.place(msi::MAX_LOG2) | msi::ADDRESS_64.mask(),
    )
    .writable(msi::ENABLE.mask() | msi::GRANTED.mask())
    .programmable(msi::CAPABLE.mask())
    .mirrored(),
    register("MSI_ADDRESS_LOW", MSI + msi::ADDRESS_LOW, 0)
        .writable(!0b11)
        .mirrored(),
    register("MSI_ADDRESS_HIGH", MSI + msi::ADDRESS_HIGH, 0)
        .writable(u32::MAX)
        .mirrored(),
    register("MSI_DATA", MSI + msi::DATA, 0)
        .writable(msi::DATA_VALUE.mask())
        .mirrored(),
    // PCI Express (PCIe 7.5.3). 256 bytes of payload: `rcar_gen4_pcie_enable_device` cites the
    // manual's chapter 104.1.1.
    register(
        "EXPRESS_CAPABILITIES",
        EXPRESS + express::HEADER,
        capability_header(2) | express::VERSION.place(2),
    ),
    register(
        "DEVICE_CAPABILITIES",
        EXPRESS + express::DEVICE_CAPABILITIES,
        express::MAX_PAYLOAD_SUPPORTED.place(1)
            | express::ROLE_BASED_ERRORS.mask()
            | express::FUNCTION_RESET_CAPABLE.mask(),
    )
    .programmable(u32::MAX),
    register(
        "DEVICE_CONTROL_STATUS",
        EXPRESS + express::DEVICE_CONTROL,
        express::RELAXED_ORDERING.mask()
            | express::NO_SNOOP.mask()
            | express::MAX_READ_REQUEST.place(2),
    )
    .writable(
        express::ERROR_REPORTING.mask()
            | express::RELAXED_ORDERING.mask()
            | express::MAX_PAYLOAD.mask()
            | express::NO_SNOOP.mask()
            | express::MAX_READ_REQUEST.mask(),
    )
    .clear_by_one(express::ERRORS_DETECTED.mask()),
    // No ASPM and no clock management: there is no electrical idle to emulate.
    register(
        "LINK_CAPABILITIES",
        EXPRESS + express::LINK_CAPABILITIES,
        express::LINK_SPEED.place(spider::LINK_SPEED)
            | express::LINK_WIDTH.place(spider::LANES)
            | express::ASPM_OPTIONALITY.mask(),
    )
    .programmable(u32::MAX),
    register("LINK_CONTROL_STATUS", EXPRESS + express::LINK_CONTROL, 0)
        .writable(express::LINK_CONTROL_WRITABLE),
    register(
        "DEVICE_CAPABILITIES_2",
        EXPRESS + express::DEVICE_CAPABILITIES_2,
        express::COMPLETION_TIMEOUT.mask() | express::COMPLETION_TIMEOUT_DISABLE.mask(),
    )
    .programmable(u32::MAX),
    register("DEVICE_CONTROL_2", EXPRESS + express::DEVICE_CONTROL_2, 0)
        .writable(express::COMPLETION_TIMEOUT.mask() | express::COMPLETION_TIMEOUT_DISABLE.mask()),
    register(
        "LINK_CAPABILITIES_2",
        EXPRESS + express::LINK_CAPABILITIES_2,
        SPEEDS,
    )
    .programmable(u32::MAX),
    register(
        "LINK_CONTROL_2",
        EXPRESS + express::LINK_CONTROL_2,
        express::TARGET_SPEED.place(spider::LINK_SPEED),
    )
    .writable(express::LINK_CONTROL_2_WRITABLE)
    .sticky(),
    // Resizable BAR, the last extended capability; its other registers are in `bars.rs`.
    register(
        "RESIZABLE_BAR",
        dbi::RESIZABLE_BAR,
        extended::ID.place(extended::RESIZABLE_BAR) | extended::VERSION.place(1),
    ),
    // Port logic. What the driver merely stores and reads back is storage.
    register("PORT_FORCE", dbi::PORT_FORCE, 0).local(u32::MAX),
    register("PORT_AFR", dbi::PORT_AFR, 0).local(u32::MAX),
    register(
        "PORT_LINK_CONTROL",
        dbi::PORT_LINK_CONTROL,
        dbi::DLL_LINK_ENABLE.mask() | dbi::LINK_MODE.place((1 << spider::LANES) - 1),
    )
    .local(u32::MAX),
    register("PORT_LANE_SKEW", dbi::PORT_LANE_SKEW, 0).local(u32::MAX),
    register("TIMER_CONTROL", dbi::TIMER_CONTROL, 0).local(u32::MAX),
    register("PORT_DEBUG0", dbi::PORT_DEBUG0, 0),
    register("PORT_DEBUG1", dbi::PORT_DEBUG1, 0),
    register(
        "LINK_WIDTH_SPEED",
        dbi::LINK_WIDTH_SPEED,
        dbi::LINK_WIDTH.place(spider::LANES),
    )
    .local(!dbi::SPEED_CHANGE.mask()),
    register("GEN3_RELATED", dbi::GEN3_RELATED, 0).local(u32::MAX),
    register("GEN3_EQ_CONTROL", dbi::GEN3_EQ_CONTROL, 0).local(u32::MAX),
    register("GEN3_EQ_FEEDBACK", dbi::GEN3_EQ_FEEDBACK, 0).local(u32::MAX),
    register("MISC_CONTROL_1", dbi::MISC_CONTROL_1, 0).local(u32::MAX),
    register("MULTI_LANE", dbi::MULTI_LANE, 0).local(u32::MAX),
    register("COHERENCY_1", dbi::COHERENCY_1, 0).local(u32::MAX),
    register("COHERENCY_2", dbi::COHERENCY_2, 0).local(u32::MAX),
    register("COHERENCY_3", dbi::COHERENCY_3, 0).local(u32::MAX),
    register("VERSION_NUMBER", dbi::VERSION_NUMBER, dbi::VERSION_520A),
    register("VERSION_TYPE", dbi::VERSION_TYPE, dbi::TYPE_GA),
    // All ones: iATU and eDMA are unrolled (`dw_pcie_iatu_detect`, `dw_pcie_edma_find_mf`).
    register("ATU_VIEWPORT", dbi::ATU_VIEWPORT, u32::MAX),
    register("DMA_VIEWPORT_CONTROL", dbi::DMA_VIEWPORT_CONTROL, u32::MAX),
    register("CHECK_REGISTERS", dbi::CHECK_REGISTERS, 0).local(u32::MAX),
    register("PORT_LOGIC_89", dbi::PORT_LOGIC_89, 0).local(u32::MAX),
    register("PORT_LOGIC_90", dbi::PORT_LOGIC_90, 0).local(u32::MAX),
    register("LANE_MARGINING_1", dbi::LANE_MARGINING_1, 0).local(u32::MAX),
    register("LANE_MARGINING_2", dbi::LANE_MARGINING_2, 0).local(u32::MAX),
];
