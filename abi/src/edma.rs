// SPDX-License-Identifier: Apache-2.0 OR MIT
//! DesignWare embedded DMA controller (eDMA) v0, unrolled map (`struct dw_edma_v0_regs`).
//!
//! *Write* channels move data from the endpoint to the RC, *read* channels the other way.

use super::field::Field;

/// Most channels of one direction (`EDMA_V0_MAX_NR_CH`).
pub const MAX_CHANNELS: usize = 8;

/// Arbitration priority between directions (`ctrl_data_arb_prior`).
pub const ARBITRATION: u32 = 0x000;
/// Channel counts (`ctrl`; `dw_pcie_edma_find_channels`).
pub const CTRL: u32 = 0x008;
/// Channel group of the write engine (`wr_engine_chgroup`).
pub const WRITE_CHANNEL_GROUP: u32 = 0x100;
/// Channel group of the read engine (`rd_engine_chgroup`).
pub const READ_CHANNEL_GROUP: u32 = 0x104;

/// [`CTRL`]: write channels; 0 means none, and then the driver takes the eDMA for absent.
pub const WRITE_CHANNELS: Field = Field::bits(3, 0);
/// [`CTRL`]: read channels.
pub const READ_CHANNELS: Field = Field::bits(19, 16);

/// Where each register of one direction lies. The two directions have the same registers, but
/// not at a common distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectionMap {
    /// Engine enable (`wr_engine_en`, `rd_engine_en`).
    pub engine_enable: u32,
    /// Doorbell (`wr_doorbell`): starts the channel whose number is written.
    pub doorbell: u32,
    /// Arbitration weights, low half of a pair (`wr_ch_arb_weight`).
    pub arbitration_weight: u32,
    /// Interrupt status (`wr_int_status`): done and abort bits of each channel. A write asserts
    /// the interrupt line without any status bit (interrupt emulation, `dw_edma_v0_core_db_offset`).
    pub int_status: u32,
    /// Interrupt mask (`wr_int_mask`): keeps a status bit off the interrupt line, no more.
    pub int_mask: u32,
    /// Interrupt clear (`wr_int_clear`), write only; any write ends an emulated interrupt.
    pub int_clear: u32,
    /// Error status (`wr_err_status`; of the read engine, low half of a pair).
    pub err_status: u32,
    /// Address of the done message, low half of a pair (`wr_done_imwr`).
    pub done_imwr: u32,
    /// Address of the abort message, low half of a pair (`wr_abort_imwr`).
    pub abort_imwr: u32,
    /// Data of the messages (`wr_ch01_imwr_data`): four registers, two channels in each.
    pub imwr_data: u32,
    /// Linked-list error enable (`wr_linked_list_err_en`).
    pub linked_list_err_enable: u32,
    /// Power enable of channel 0 (`wr_ch0_pwr_en`), eight registers.
    pub power_enable: u32,
    /// Handshake counters, low half of a pair (`wr_engine_hshake_cnt`).
    pub handshake: u32,
    /// First register of channel 0; the next channels follow at [`CHANNEL_STRIDE`].
    pub channels: u32,
}

/// Registers of the write engine.
pub const WRITE: DirectionMap = DirectionMap {
    engine_enable: 0x00c,
    doorbell: 0x010,
    arbitration_weight: 0x018,
    int_status: 0x04c,
    int_mask: 0x054,
    int_clear: 0x058,
    err_status: 0x05c,
    done_imwr: 0x060,
    abort_imwr: 0x068,
    imwr_data: 0x070,
    linked_list_err_enable: 0x090,
    power_enable: 0x128,
    handshake: 0x108,
    channels: 0x200,
};

/// Registers of the read engine.
pub const READ: DirectionMap = DirectionMap {
    engine_enable: 0x02c,
    doorbell: 0x030,
    arbitration_weight: 0x038,
    int_status: 0x0a0,
    int_mask: 0x0a8,
    int_clear: 0x0ac,
    err_status: 0x0b4,
    done_imwr: 0x0cc,
    abort_imwr: 0x0d4,
    imwr_data: 0x0dc,
    linked_list_err_enable: 0x0c4,
    power_enable: 0x168,
    handshake: 0x118,
    channels: 0x300,
};

/// Distance between channel n and n + 1 of one direction (`struct dw_edma_v0_ch`).
pub const CHANNEL_STRIDE: u32 = 0x200;
/// Offset that the stock driver publishes as embedded doorbell (`dw_edma_v0_core_db_offset`).
pub const DOORBELL_OFFSET: u32 = READ.int_status;

/// Registers of one channel (`struct dw_edma_v0_ch_regs`), offsets from its first.
pub mod channel {
    /// Control 1 (`ch_control1`), fields in [`super::control`].
    pub const CONTROL1: u32 = 0x00;
    /// Control 2 (`ch_control2`).
    pub const CONTROL2: u32 = 0x04;
    /// Bytes to move, or left (`transfer_size`).
    pub const TRANSFER_SIZE: u32 = 0x08;
    /// Source address, low half.
    pub const SAR_LOW: u32 = 0x0c;
    /// Source address, high half.
    pub const SAR_HIGH: u32 = 0x10;
    /// Destination address, low half.
    pub const DAR_LOW: u32 = 0x14;
    /// Destination address, high half.
    pub const DAR_HIGH: u32 = 0x18;
    /// Linked-list pointer, low half.
    pub const LLP_LOW: u32 = 0x1c;
    /// Linked-list pointer, high half.
    pub const LLP_HIGH: u32 = 0x20;
    /// Bytes of one channel's registers.
    pub const SIZE: u32 = 0x24;
}

/// Fields of a channel's control 1 and of a list element's control word (`enum dw_edma_control`).
pub mod control {
    use super::Field;

    /// Cycle bit of an element.
    pub const CB: Field = Field::bit(0);
    /// Toggle cycle bit, in a link element.
    pub const TCB: Field = Field::bit(1);
    /// The element is a link.
    pub const LLP: Field = Field::bit(2);
    /// Local interrupt enable.
    pub const LIE: Field = Field::bit(3);
    /// Remote interrupt enable.
    pub const RIE: Field = Field::bit(4);
    /// Channel status (`EDMA_V0_CH_STATUS_MASK`); read-only, *inferred*.
    pub const CS: Field = Field::bits(6, 5);
    /// Consumer cycle state, in a channel.
    pub const CCS: Field = Field::bit(8);
    /// Linked-list mode, in a channel.
    pub const LLE: Field = Field::bit(9);
    /// Function number (`EDMA_V0_FUNC_NUM_MASK`).
    pub const FUNCTION: Field = Field::bits(16, 12);

    /// [`CS`]: the channel runs (`dw_edma_v0_core_ch_status`).
    pub const CS_RUNNING: u32 = 1;
    /// [`CS`]: the channel halted on an error.
    pub const CS_HALTED: u32 = 2;
    /// [`CS`]: the channel stopped, all done.
    pub const CS_STOPPED: u32 = 3;
}

/// Elements of a linked list in the endpoint's memory, 24 bytes each
/// (`struct dw_edma_v0_lli`, `struct dw_edma_v0_llp`), little-endian.
pub mod element {
    /// Bytes of an element.
    pub const SIZE: u32 = 24;
    /// Control word, fields in [`super::control`].
    pub const CONTROL: u32 = 0x00;
    /// Data element: bytes to move, 32 bits.
    pub const TRANSFER_SIZE: u32 = 0x04;
    /// Data element: source address, 64 bits.
    pub const SAR: u32 = 0x08;
    /// Data element: destination address, 64 bits.
    pub const DAR: u32 = 0x10;
    /// Link element: address of the next element, 64 bits.
    pub const LLP: u32 = 0x08;
}

/// Engine enable: the engine runs.
pub const ENGINE_ENABLE: Field = Field::bit(0);
/// Doorbell: channel number (`EDMA_V0_DOORBELL_CH_MASK`).
pub const DOORBELL_CHANNEL: Field = Field::bits(2, 0);
/// Doorbell: stop the channel rather than start it (databook `WR_STOP`/`RD_STOP`).
pub const DOORBELL_STOP: Field = Field::bit(31);
/// Status, mask and clear: done bits, one per channel (`EDMA_V0_DONE_INT_MASK`).
pub const DONE: Field = Field::bits(7, 0);
/// Status, mask and clear: abort bits, one per channel (`EDMA_V0_ABORT_INT_MASK`).
pub const ABORT: Field = Field::bits(23, 16);
/// Linked-list error enable: the abort of a list raises the local interrupt, a bit per channel (databook
/// `LLLAIE`).
pub const LINKED_LIST_ERR_LOCAL: Field = Field::bits(23, 16);
/// Linked-list error enable: the abort of a list sends a message (databook `LLRAIE`). These are the bits
/// that the stock driver sets (`EDMA_V0_LINKED_LIST_ERR_MASK`).
pub const LINKED_LIST_ERR_REMOTE: Field = Field::bits(7, 0);
/// Error status, low: the endpoint's memory gave an error, a bit per channel (databook
/// `APP_READ_ERR_DETECT` of the write engine, `APP_WR_ERR_DETECT` of the read engine).
pub const APPLICATION_ERROR: Field = Field::bits(7, 0);
/// Error status, low: an element could not be fetched (databook `LINKLIST_ELEMENT_FETCH_ERR_DETECT`).
pub const LIST_FETCH_ERROR: Field = Field::bits(23, 16);
/// Error status of the read engine, high: the RC did not support a request (databook `UNSUPPORTED_REQ`).
pub const UNSUPPORTED_REQUEST: Field = Field::bits(7, 0);
/// Message data of an even channel (`EDMA_V0_CH_EVEN_MSI_DATA_MASK`).
pub const IMWR_DATA_EVEN: Field = Field::bits(15, 0);
/// Message data of an odd channel (`EDMA_V0_CH_ODD_MSI_DATA_MASK`).
pub const IMWR_DATA_ODD: Field = Field::bits(31, 16);
/// Channel power enable (`dw_edma_v0_core_ch_power`).
pub const POWER_ENABLE: Field = Field::bit(0);
