// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which register an offset of the dma window is.

use abi::edma::{self as layout, channel, DirectionMap};

/// Direction of a transfer, seen from the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the EP to the RC.
    Write,
    /// From the RC to the EP.
    Read,
}

impl Direction {
    /// Where its registers lie.
    pub const fn map(self) -> &'static DirectionMap {
        match self {
            Self::Write => &layout::WRITE,
            Self::Read => &layout::READ,
        }
    }

    /// The register of its channel group.
    const fn channel_group(self) -> u32 {
        match self {
            Self::Write => layout::WRITE_CHANNEL_GROUP,
            Self::Read => layout::READ_CHANNEL_GROUP,
        }
    }

    /// Error status has one register for writes and two for reads.
    const fn error_registers(self) -> u32 {
        match self {
            Self::Write => 1,
            Self::Read => 2,
        }
    }
}

/// A register of the eDMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// `ctrl_data_arb_prior`.
    Arbitration,
    /// `ctrl`: channel counts.
    Ctrl,
    /// One of a direction.
    Engine(Direction, EngineRegister),
    /// One of a channel, by number.
    Channel(Direction, usize, ChannelRegister),
}

/// A register that each direction has; the number tells which of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineRegister {
    /// `engine_en`.
    Enable,
    /// `doorbell`.
    Doorbell,
    /// `ch_arb_weight`, low and high.
    ArbitrationWeight(usize),
    /// `int_status`.
    IntStatus,
    /// `int_mask`.
    IntMask,
    /// `int_clear`.
    IntClear,
    /// `err_status`, low and high.
    ErrStatus(usize),
    /// `done_imwr`, low and high.
    DoneImwr(usize),
    /// `abort_imwr`, low and high.
    AbortImwr(usize),
    /// `ch01_imwr_data` to `ch67_imwr_data`.
    ImwrData(usize),
    /// `linked_list_err_en`.
    LinkedListErrEnable,
    /// `engine_chgroup`.
    ChannelGroup,
    /// `engine_hshake_cnt`, low and high.
    Handshake(usize),
    /// `ch0_pwr_en` to `ch7_pwr_en`.
    PowerEnable(usize),
}

/// A register that each channel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelRegister {
    /// `ch_control1`.
    Control1,
    /// `ch_control2`.
    Control2,
    /// `transfer_size`.
    TransferSize,
    /// `sar.lsb`.
    SarLow,
    /// `sar.msb`.
    SarHigh,
    /// `dar.lsb`.
    DarLow,
    /// `dar.msb`.
    DarHigh,
    /// `llp.lsb`.
    LlpLow,
    /// `llp.msb`.
    LlpHigh,
}

/// The register at `offset`, a multiple of 4, of the dma window.
pub fn decode(offset: u32) -> Option<Register> {
    match offset {
        layout::ARBITRATION => return Some(Register::Arbitration),
        layout::CTRL => return Some(Register::Ctrl),
        _ => {}
    }
    [Direction::Write, Direction::Read]
        .into_iter()
        .find_map(|direction| {
            engine(direction, offset)
                .map(|register| Register::Engine(direction, register))
                .or_else(|| channel_register(direction, offset))
        })
}

/// The position of `offset` among the `count` registers from `first` on.
fn position(offset: u32, first: u32, count: u32) -> Option<usize> {
    let index = offset.checked_sub(first)? / 4;
    (index < count).then_some(index as usize)
}

fn engine(direction: Direction, offset: u32) -> Option<EngineRegister> {
    let map = direction.map();
    let channels = layout::MAX_CHANNELS as u32;
    let among = |first, count| position(offset, first, count);
    let single = [
        (map.engine_enable, EngineRegister::Enable),
        (map.doorbell, EngineRegister::Doorbell),
        (map.int_status, EngineRegister::IntStatus),
        (map.int_mask, EngineRegister::IntMask),
        (map.int_clear, EngineRegister::IntClear),
        (
            map.linked_list_err_enable,
            EngineRegister::LinkedListErrEnable,
        ),
        (direction.channel_group(), EngineRegister::ChannelGroup),
    ];
    single
        .into_iter()
        .find_map(|(place, register)| (place == offset).then_some(register))
        .or_else(|| among(map.arbitration_weight, 2).map(EngineRegister::ArbitrationWeight))
        .or_else(|| {
            among(map.err_status, direction.error_registers()).map(EngineRegister::ErrStatus)
        })
        .or_else(|| among(map.done_imwr, 2).map(EngineRegister::DoneImwr))
        .or_else(|| among(map.abort_imwr, 2).map(EngineRegister::AbortImwr))
        .or_else(|| among(map.imwr_data, channels / 2).map(EngineRegister::ImwrData))
        .or_else(|| among(map.handshake, 2).map(EngineRegister::Handshake))
        .or_else(|| among(map.power_enable, channels).map(EngineRegister::PowerEnable))
}

fn channel_register(direction: Direction, offset: u32) -> Option<Register> {
    let offset = offset.checked_sub(direction.map().channels)?;
    let index = (offset / layout::CHANNEL_STRIDE) as usize;
    let register = match offset % layout::CHANNEL_STRIDE {
        channel::CONTROL1 => ChannelRegister::Control1,
        channel::CONTROL2 => ChannelRegister::Control2,
        channel::TRANSFER_SIZE => ChannelRegister::TransferSize,
        channel::SAR_LOW => ChannelRegister::SarLow,
        channel::SAR_HIGH => ChannelRegister::SarHigh,
        channel::DAR_LOW => ChannelRegister::DarLow,
        channel::DAR_HIGH => ChannelRegister::DarHigh,
        channel::LLP_LOW => ChannelRegister::LlpLow,
        channel::LLP_HIGH => ChannelRegister::LlpHigh,
        _ => return None,
    };
    (index < layout::MAX_CHANNELS).then_some(Register::Channel(direction, index, register))
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::spider;

    /// Every offset is at most one register, and each register has one offset: what `decode` finds
    /// must not depend on the order in which it looks.
    #[test]
    fn no_two_offsets_are_the_same_register() {
        let mut seen = Vec::new();
        for offset in (0..spider::DMA.size).step_by(4) {
            if let Some(register) = decode(offset) {
                assert!(
                    !seen.contains(&register),
                    "{register:?} again at {offset:#x}"
                );
                seen.push(register);
            }
        }
        // 2 common, 7 single and 2+1/2+2+2+4+2+8 multiple per direction, 9 per channel.
        assert_eq!(seen.len(), 2 + 2 * 7 + (21 + 22) + 2 * 8 * 9);
    }

    #[test]
    fn offsets_that_the_driver_uses() {
        use {Direction::*, EngineRegister::*};
        for (offset, expected) in [
            (0x4c, Register::Engine(Write, IntStatus)),
            (0xa0, Register::Engine(Read, IntStatus)),
            (0x5c, Register::Engine(Write, ErrStatus(0))),
            (0x60, Register::Engine(Write, DoneImwr(0))),
            (0xb8, Register::Engine(Read, ErrStatus(1))),
            (0x7c, Register::Engine(Write, ImwrData(3))),
            (0xdc, Register::Engine(Read, ImwrData(0))),
            (0x184, Register::Engine(Read, PowerEnable(7))),
            (0x21c, Register::Channel(Write, 0, ChannelRegister::LlpLow)),
            (0x300, Register::Channel(Read, 0, ChannelRegister::Control1)),
            (0x1120, Register::Channel(Read, 7, ChannelRegister::LlpHigh)),
        ] {
            assert_eq!(decode(offset), Some(expected), "{offset:#x}");
        }
        assert_eq!(decode(0x4), None);
        assert_eq!(decode(0x1124), None);
    }
}
