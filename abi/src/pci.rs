// SPDX-License-Identifier: Apache-2.0 OR MIT
//! PCI configuration space: the offsets and fields that the device emulates.
//!
//! Offsets are of the 32-bit register that holds the item; a field's place counts from bit 0 of
//! that register, also where the specification draws two 16-bit registers (COMMAND and STATUS).

use super::field::Field;

/// Bytes of a PCI Express configuration space (PCIe 7.2.2).
pub const CONFIG_SIZE: u32 = 4096;
/// Base address registers of a type 0 header.
pub const BARS: usize = 6;

/// Type 0 configuration header (PCIe 7.5.1).
pub mod header {
    use super::Field;

    /// Vendor id `[15:0]`, device id `[31:16]`.
    pub const ID: u32 = 0x00;
    /// COMMAND `[15:0]`, STATUS `[31:16]`.
    pub const COMMAND_STATUS: u32 = 0x04;
    /// Revision `[7:0]`, class code `[31:8]`.
    pub const CLASS_REVISION: u32 = 0x08;
    /// Cache line size, latency timer, header type, BIST.
    pub const CACHE_LINE_HEADER_TYPE: u32 = 0x0c;
    /// First of the six base address registers.
    pub const BAR0: u32 = 0x10;
    /// CardBus CIS pointer; zero in PCI Express.
    pub const CARDBUS_CIS: u32 = 0x28;
    /// Subsystem vendor id `[15:0]`, subsystem id `[31:16]`.
    pub const SUBSYSTEM: u32 = 0x2c;
    /// Expansion ROM base address.
    pub const ROM: u32 = 0x30;
    /// Pointer to the first capability.
    pub const CAPABILITIES: u32 = 0x34;
    /// Interrupt line `[7:0]`, interrupt pin `[15:8]`.
    pub const INTERRUPT: u32 = 0x3c;

    /// COMMAND: answer I/O requests.
    pub const COMMAND_IO: Field = Field::bit(0);
    /// COMMAND: answer memory requests.
    pub const COMMAND_MEMORY: Field = Field::bit(1);
    /// COMMAND: issue memory requests, MSIs included.
    pub const COMMAND_BUS_MASTER: Field = Field::bit(2);
    /// COMMAND: parity error response.
    pub const COMMAND_PARITY: Field = Field::bit(6);
    /// COMMAND: SERR# enable.
    pub const COMMAND_SERR: Field = Field::bit(8);
    /// COMMAND: INTx disable.
    pub const COMMAND_INTX_DISABLE: Field = Field::bit(10);
    /// The bits of COMMAND that an endpoint implements.
    pub const COMMAND_WRITABLE: u32 = COMMAND_IO.mask()
        | COMMAND_MEMORY.mask()
        | COMMAND_BUS_MASTER.mask()
        | COMMAND_PARITY.mask()
        | COMMAND_SERR.mask()
        | COMMAND_INTX_DISABLE.mask();
    /// STATUS: a capability list is present.
    pub const STATUS_CAPABILITIES: Field = Field::bit(20);
    /// STATUS: the error bits, cleared by writing 1 (bit 8 and `[15:11]` of STATUS).
    pub const STATUS_ERRORS: u32 = 0xf900_0000;

    /// Cache line size, which software may use as it likes.
    pub const CACHE_LINE: Field = Field::bits(7, 0);
    /// Header type `[6:0]`: 0 for an endpoint.
    pub const HEADER_TYPE: Field = Field::bits(22, 16);
    /// Interrupt line, software's own.
    pub const INTERRUPT_LINE: Field = Field::bits(7, 0);
    /// Interrupt pin: 0 none, 1 INTA.
    pub const INTERRUPT_PIN: Field = Field::bits(15, 8);
    /// BAR bits that give type and prefetchability; all zero is 32-bit, not prefetchable.
    pub const BAR_FLAGS: Field = Field::bits(3, 0);
    /// BAR bit: the BAR is 64 bits wide and takes the next register for its upper half.
    pub const BAR_64BIT: Field = Field::bit(2);
    /// BAR bit: reads have no side effects and writes may be merged, so it may be mapped write-combining.
    pub const BAR_PREFETCHABLE: Field = Field::bit(3);

    /// Offset of BAR `index` (0 to 5).
    pub const fn bar(index: usize) -> u32 {
        BAR0 + 4 * index as u32
    }
}

/// Capability header: id `[7:0]`, next pointer `[15:8]` (PCIe 7.5.1.1.11).
pub mod capability {
    use super::Field;

    /// Capability id.
    pub const ID: Field = Field::bits(7, 0);
    /// Offset of the next capability, 0 at the end.
    pub const NEXT: Field = Field::bits(15, 8);
    /// Power management.
    pub const POWER_MANAGEMENT: u32 = 0x01;
    /// Message signalled interrupts.
    pub const MSI: u32 = 0x05;
    /// PCI Express.
    pub const PCI_EXPRESS: u32 = 0x10;
}

/// Extended capability header (PCIe 7.6.3).
pub mod extended {
    use super::Field;

    /// Where the list starts.
    pub const FIRST: u32 = 0x100;
    /// Capability id.
    pub const ID: Field = Field::bits(15, 0);
    /// Capability version.
    pub const VERSION: Field = Field::bits(19, 16);
    /// Offset of the next capability, 0 at the end.
    pub const NEXT: Field = Field::bits(31, 20);
    /// Resizable BAR.
    pub const RESIZABLE_BAR: u32 = 0x15;
}

/// Power management capability (PCI Power Management 1.2; PCIe 7.5.2), offsets from its header.
pub mod pm {
    use super::Field;

    /// Capability header and PMC.
    pub const HEADER: u32 = 0x0;
    /// Power management control and status.
    pub const CONTROL: u32 = 0x4;
    /// PMC: version, 3 for the current one.
    pub const VERSION: Field = Field::bits(18, 16);
    /// PMCSR: power state, 0 is D0 and 3 is D3hot.
    pub const STATE: Field = Field::bits(1, 0);
    /// PMCSR: D3hot to D0 keeps the configuration.
    pub const NO_SOFT_RESET: Field = Field::bit(3);
}

/// MSI capability with a 64-bit address and no per-vector mask (PCIe 7.7.1), offsets from its
/// header.
pub mod msi {
    use super::Field;

    /// Capability header and message control.
    pub const HEADER: u32 = 0x0;
    /// Message address, low half; bits `[1:0]` are zero.
    pub const ADDRESS_LOW: u32 = 0x4;
    /// Message address, high half.
    pub const ADDRESS_HIGH: u32 = 0x8;
    /// Message data, `[15:0]`.
    pub const DATA: u32 = 0xc;
    /// MSI is in use.
    pub const ENABLE: Field = Field::bit(16);
    /// Multiple message capable (`PCI_MSI_FLAGS_QMASK`): log2 of the vectors offered, 0 to 5.
    pub const CAPABLE: Field = Field::bits(19, 17);
    /// Multiple message enable (`PCI_MSI_FLAGS_QSIZE`): log2 of the vectors granted, 0 to 5.
    pub const GRANTED: Field = Field::bits(22, 20);
    /// The address has 64 bits.
    pub const ADDRESS_64: Field = Field::bit(23);
    /// Message data proper.
    pub const DATA_VALUE: Field = Field::bits(15, 0);
    /// Largest legal value of [`CAPABLE`] and [`GRANTED`]: 32 vectors.
    pub const MAX_LOG2: u32 = 5;
}

/// PCI Express capability, version 2 (PCIe 7.5.3), offsets from its header.
pub mod express {
    use super::Field;

    /// Capability header and PCI Express capabilities.
    pub const HEADER: u32 = 0x00;
    /// Device capabilities.
    pub const DEVICE_CAPABILITIES: u32 = 0x04;
    /// Device control `[15:0]`, device status `[31:16]`.
    pub const DEVICE_CONTROL: u32 = 0x08;
    /// Link capabilities.
    pub const LINK_CAPABILITIES: u32 = 0x0c;
    /// Link control `[15:0]`, link status `[31:16]`.
    pub const LINK_CONTROL: u32 = 0x10;
    /// Device capabilities 2.
    pub const DEVICE_CAPABILITIES_2: u32 = 0x24;
    /// Device control 2.
    pub const DEVICE_CONTROL_2: u32 = 0x28;
    /// Link capabilities 2.
    pub const LINK_CAPABILITIES_2: u32 = 0x2c;
    /// Link control 2 `[15:0]`, link status 2 `[31:16]`.
    pub const LINK_CONTROL_2: u32 = 0x30;
    /// Bytes of the capability.
    pub const SIZE: u32 = 0x3c;

    /// Capability version, 2.
    pub const VERSION: Field = Field::bits(19, 16);
    /// Device/port type, 0 for an endpoint.
    pub const PORT_TYPE: Field = Field::bits(23, 20);

    /// DEVCAP: largest payload, 128 bytes << n.
    pub const MAX_PAYLOAD_SUPPORTED: Field = Field::bits(2, 0);
    /// DEVCAP: role-based error reporting, which the specification demands.
    pub const ROLE_BASED_ERRORS: Field = Field::bit(15);
    /// DEVCAP: function level reset.
    pub const FUNCTION_RESET_CAPABLE: Field = Field::bit(28);
    /// DEVCTL: relaxed ordering.
    pub const RELAXED_ORDERING: Field = Field::bit(4);
    /// DEVCTL: largest payload in use, 128 bytes << n.
    pub const MAX_PAYLOAD: Field = Field::bits(7, 5);
    /// DEVCTL: no snoop.
    pub const NO_SNOOP: Field = Field::bit(11);
    /// DEVCTL: largest read request, 128 bytes << n.
    pub const MAX_READ_REQUEST: Field = Field::bits(14, 12);
    /// DEVCTL: error reporting enables.
    pub const ERROR_REPORTING: Field = Field::bits(3, 0);
    /// DEVCTL: initiate function level reset; reads as 0.
    pub const FUNCTION_RESET: Field = Field::bit(15);
    /// DEVSTA: the error bits, cleared by writing 1.
    pub const ERRORS_DETECTED: Field = Field::bits(19, 16);
    /// DEVSTA: an unsupported request was received.
    pub const UNSUPPORTED_REQUEST_DETECTED: Field = Field::bit(19);

    /// LNKCAP: highest link generation.
    pub const LINK_SPEED: Field = Field::bits(3, 0);
    /// LNKCAP: widest link, in lanes.
    pub const LINK_WIDTH: Field = Field::bits(9, 4);
    /// LNKCAP: reports ASPM as it is, so "no ASPM" may be believed.
    pub const ASPM_OPTIONALITY: Field = Field::bit(22);
    /// LNKCTL: the bits that an endpoint without ASPM and clock management implements
    /// (read completion boundary, common clock, extended synch).
    pub const LINK_CONTROL_WRITABLE: u32 = 0x00c8;
    /// LNKSTA: link generation in use.
    pub const CURRENT_SPEED: Field = Field::bits(19, 16);
    /// LNKSTA: lanes in use.
    pub const CURRENT_WIDTH: Field = Field::bits(25, 20);
    /// LNKCTL2: generation to train to.
    pub const TARGET_SPEED: Field = Field::bits(3, 0);
    /// LNKCTL2: target speed, enter compliance, autonomous speed disable, transmit margin.
    pub const LINK_CONTROL_2_WRITABLE: u32 = 0x03bf;
    /// LNKCAP2: one bit per generation, generation 1 in the lowest.
    pub const SPEED_VECTOR: Field = Field::bits(7, 1);
    /// DEVCAP2/DEVCTL2: completion timeout ranges/value.
    pub const COMPLETION_TIMEOUT: Field = Field::bits(3, 0);
    /// DEVCAP2/DEVCTL2: completion timeout can be/is disabled.
    pub const COMPLETION_TIMEOUT_DISABLE: Field = Field::bit(4);
}

/// Resizable BAR extended capability (PCIe 7.8.6), offsets from its header.
pub mod rebar {
    use super::Field;

    /// Extended capability header.
    pub const HEADER: u32 = 0x0;
    /// Capability register of the first resizable BAR; the next follow at [`STRIDE`].
    pub const CAPABILITY: u32 = 0x4;
    /// Control register of the first resizable BAR.
    pub const CONTROL: u32 = 0x8;
    /// Distance between one BAR's registers and the next one's.
    pub const STRIDE: u32 = 0x8;
    /// CAP: sizes supported; bit 4 is 1 MiB, bit 31 is 128 TiB.
    pub const SIZES: Field = Field::bits(31, 4);
    /// log2 of the smallest size, 1 MiB, that of the lowest bit of [`SIZES`].
    pub const MIN_LOG2: u32 = 20;
    /// CTRL: the BAR's number.
    pub const BAR_INDEX: Field = Field::bits(2, 0);
    /// CTRL: how many resizable BARs there are (valid in the first one).
    pub const BAR_COUNT: Field = Field::bits(7, 5);
    /// CTRL: size in use, 1 MiB << n.
    pub const BAR_SIZE: Field = Field::bits(13, 8);
    /// CTRL: sizes supported from 256 TiB up.
    pub const LARGE_SIZES: Field = Field::bits(31, 16);
}
