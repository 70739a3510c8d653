// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The control block at the start of the control BAR.
//!
//! The RC commands (`command`, `argument`, and for a memory window `addr` and `size`), the EP
//! answers in `command_status`; the rest the EP publishes before the link comes up. Version 1 keeps
//! every legacy field in its place but one: what was `topology`, always 0, says the version.

use core::fmt;

use super::window::{BarSizes, Window, WindowError};
use super::{irq, locator::Locator, MAX_DB_COUNT, MAX_MWS};

/// What the EP is to do, a [`Command`]; it writes 0 when it has read it. 32 bits.
pub const COMMAND: u32 = 0x00;
/// Argument of the command. 32 bits.
pub const ARGUMENT: u32 = 0x04;
/// How the last command ended, a [`Status`]; the RC writes 0 when it has read it. 16 bits.
pub const COMMAND_STATUS: u32 = 0x08;
/// State of the link, [`LINK_UP`]. 16 bits.
pub const LINK_STATUS: u32 = 0x0a;
/// Version of the layout, a [`Version`]. The legacy block calls this `topology`. 32 bits.
pub const VERSION: u32 = 0x0c;
/// Address on the RC of the window that is being configured. 64 bits.
pub const ADDR: u32 = 0x10;
/// Size of the window that is being configured. 64 bits.
pub const SIZE: u32 = 0x18;
/// Number of memory windows, at most [`MAX_MWS`]. 32 bits.
pub const NUM_MWS: u32 = 0x20;
/// Offset of memory window 1 in its BAR. Reserved, and 0, in the legacy block; yet a stock RC
/// reads it (`NTB_EPF_MW1_OFFSET`). 32 bits.
pub const MW1_OFFSET: u32 = 0x24;
/// Offset of the scratchpads in the control BAR: those that the RC calls its own, then as many that
/// are the EP's. 32 bits.
pub const SPAD_OFFSET: u32 = 0x28;
/// Number of scratchpads of each side. 32 bits.
pub const SPAD_COUNT: u32 = 0x2c;
/// Distance of doorbells in the doorbell BAR, added to a doorbell's own offset. 32 bits.
pub const DB_ENTRY_SIZE: u32 = 0x30;
/// What the RC writes to ring, one word for each of [`MAX_DB_COUNT`] slots.
pub const DB_DATA: u32 = 0x34;
/// Where the RC writes to ring, one word for each of [`MAX_DB_COUNT`] slots.
pub const DB_OFFSET: u32 = DB_DATA + MAX_DB_COUNT * WORD;
/// Size of the legacy block in bytes; its scratchpads start here.
pub const LEGACY_SIZE: u32 = DB_OFFSET + MAX_DB_COUNT * WORD;

/// Version 1: offset of each memory window in its BAR, [`MAX_MWS`] words.
pub const MW_OFFSET: u32 = LEGACY_SIZE;
/// Version 1: size of each memory window, [`MAX_MWS`] words.
pub const MW_SIZE: u32 = MW_OFFSET + MAX_MWS as u32 * WORD;
/// Version 1: how to read the exported DMA slice, 0 when there is none. 32 bits.
pub const DMA_ABI: u32 = MW_SIZE + MAX_MWS as u32 * WORD;
/// Version 1: BAR of the slice. 32 bits.
pub const DMA_BAR: u32 = DMA_ABI + WORD;
/// Version 1: offset of the slice in its BAR. 32 bits.
pub const DMA_OFFSET: u32 = DMA_BAR + WORD;
/// Version 1: size of the slice. 32 bits.
pub const DMA_SIZE: u32 = DMA_OFFSET + WORD;
/// Version 1: number of delegated channels. 32 bits.
pub const DMA_NUM_CHANS: u32 = DMA_SIZE + WORD;
/// Size of the block of version 1 in bytes; its scratchpads start here.
pub const V1_SIZE: u32 = DMA_NUM_CHANS + WORD;

/// Size of a scratchpad, a doorbell slot and most fields.
pub const WORD: u32 = 4;

/// [`LINK_STATUS`]: the RC has enabled the link (`LINK_STATUS_UP`).
pub const LINK_UP: u16 = 1 << 0;
/// [`ARGUMENT`] of [`Command::ConfigureDoorbell`]: the RC uses MSI-X (`MSIX_ENABLE`); else MSI.
pub const MSIX_ENABLE: u32 = 1 << 16;
/// How long an RC waits for a command to be done, in milliseconds (`NTB_EPF_COMMAND_TIMEOUT`).
pub const COMMAND_TIMEOUT_MS: u32 = 1000;
/// How often an EP looks for a command when doorbells are interrupts, in milliseconds.
pub const POLL_MS: u32 = 500;
/// How often an EP looks for commands and doorbells when it has no interrupt, in milliseconds.
pub const DOORBELL_POLL_MS: u32 = 5;

/// What an RC can ask for (`COMMAND_…` in pci-epf-vntb.c, `CMD_…` in ntb_hw_epf.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Command {
    /// The RC has vectors: their number is the argument, [`MSIX_ENABLE`] says of which kind.
    ConfigureDoorbell = 1,
    /// The RC gives its vectors up.
    TeardownDoorbell = 2,
    /// [`ADDR`] and [`SIZE`] hold where the window is, whose index is the argument.
    ConfigureMw = 3,
    /// The window whose index is the argument goes.
    TeardownMw = 4,
    /// The link is enabled.
    LinkUp = 5,
    /// The link is disabled.
    LinkDown = 6,
}

impl Command {
    /// The command that `raw` stands for, if it is one; 0 is "none pending".
    pub const fn from_raw(raw: u32) -> Option<Self> {
        Some(match raw {
            1 => Self::ConfigureDoorbell,
            2 => Self::TeardownDoorbell,
            3 => Self::ConfigureMw,
            4 => Self::TeardownMw,
            5 => Self::LinkUp,
            6 => Self::LinkDown,
            _ => return None,
        })
    }

    /// What to leave, with the same argument, to an EP that did not answer this command in time: the
    /// command that undoes it, or else this one, since it undoes another.
    pub const fn when_unanswered(self) -> Self {
        match self {
            Self::ConfigureDoorbell | Self::TeardownDoorbell => Self::TeardownDoorbell,
            Self::ConfigureMw | Self::TeardownMw => Self::TeardownMw,
            Self::LinkUp | Self::LinkDown => Self::LinkDown,
        }
    }
}

/// How a command ended; 0 is "not yet".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Status {
    /// Done (`COMMAND_STATUS_OK`).
    Ok = 1,
    /// Refused or failed (`COMMAND_STATUS_ERROR`).
    Error = 2,
}

impl Status {
    /// The status that `raw` stands for, if the command has ended.
    pub const fn from_raw(raw: u16) -> Option<Self> {
        match raw {
            1 => Some(Self::Ok),
            2 => Some(Self::Error),
            _ => None,
        }
    }
}

/// Which layout a control block has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum Version {
    /// `struct epf_ntb_ctrl` of Linux 7.3.
    #[default]
    Legacy = 0,
    /// With places of the windows and a DMA locator.
    V1 = 1,
}

impl Version {
    /// Bytes before the scratchpads.
    pub const fn block_size(self) -> u32 {
        match self {
            Self::Legacy => LEGACY_SIZE,
            Self::V1 => V1_SIZE,
        }
    }
}

/// Where a memory window lies in its BAR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MwPlace {
    /// First byte.
    pub offset: u32,
    /// Length in bytes.
    pub size: u32,
}

/// What the EP publishes in the control block, without the fields of a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Which layout.
    pub version: Version,
    /// Number of memory windows.
    pub num_mws: u32,
    /// Where the scratchpads start.
    pub spad_offset: u32,
    /// Scratchpads of each side.
    pub spad_count: u32,
    /// Distance of doorbells.
    pub db_entry_size: u32,
    /// What to write to ring each slot.
    pub db_data: [u32; MAX_DB_COUNT as usize],
    /// Where to write it.
    pub db_offset: [u32; MAX_DB_COUNT as usize],
    /// Where each window lies; legacy: only the offset of the first, and sizes 0.
    pub mws: [MwPlace; MAX_MWS],
    /// The DMA slice, unchecked; `None` if nothing is exported.
    pub dma: Option<Locator>,
}

impl Control {
    /// Writes each field, as pairs of an offset and a word in ascending order, and nothing of what
    /// belongs to the conversation.
    pub fn store(&self, mut write: impl FnMut(u32, u32)) {
        write(VERSION, self.version as u32);
        write(NUM_MWS, self.num_mws);
        write(MW1_OFFSET, self.mws[0].offset);
        write(SPAD_OFFSET, self.spad_offset);
        write(SPAD_COUNT, self.spad_count);
        write(DB_ENTRY_SIZE, self.db_entry_size);
        for (at, value) in words(DB_DATA).zip(self.db_data) {
            write(at, value);
        }
        for (at, value) in words(DB_OFFSET).zip(self.db_offset) {
            write(at, value);
        }
        if self.version == Version::V1 {
            for (at, mw) in words(MW_OFFSET).zip(self.mws) {
                write(at, mw.offset);
            }
            for (at, mw) in words(MW_SIZE).zip(self.mws) {
                write(at, mw.size);
            }
            let dma = self.dma.unwrap_or_default();
            write(DMA_ABI, dma.abi);
            write(DMA_BAR, dma.window.bar);
            write(DMA_OFFSET, dma.window.offset);
            write(DMA_SIZE, dma.window.size);
            write(DMA_NUM_CHANS, dma.num_chans);
        }
    }

    /// Reads the block by `read`, which gives the word at an offset below [`V1_SIZE`], each at most
    /// once. Fields that the block's version does not have are not read.
    ///
    /// Only the shape is checked here; [`Control::check`] looks at what the fields say, and the
    /// locator has a check of its own, so that a bad one spoils the export and not the vNTB.
    ///
    /// # Errors
    ///
    /// [`ControlError::Version`] if the version is none that this knows.
    pub fn load(mut read: impl FnMut(u32) -> u32) -> Result<Self, ControlError> {
        let version = match read(VERSION) {
            0 => Version::Legacy,
            1 => Version::V1,
            other => return Err(ControlError::Version(other)),
        };
        let mut this = Self {
            version,
            num_mws: read(NUM_MWS),
            ..Self::default()
        };
        this.mws[0].offset = read(MW1_OFFSET);
        this.spad_offset = read(SPAD_OFFSET);
        this.spad_count = read(SPAD_COUNT);
        this.db_entry_size = read(DB_ENTRY_SIZE);
        for (at, value) in words(DB_DATA).zip(&mut this.db_data) {
            *value = read(at);
        }
        for (at, value) in words(DB_OFFSET).zip(&mut this.db_offset) {
            *value = read(at);
        }
        if version == Version::V1 {
            for (at, mw) in words(MW_OFFSET).zip(&mut this.mws) {
                mw.offset = read(at);
            }
            for (at, mw) in words(MW_SIZE).zip(&mut this.mws) {
                mw.size = read(at);
            }
            let dma = Locator {
                abi: read(DMA_ABI),
                window: Window {
                    bar: read(DMA_BAR),
                    offset: read(DMA_OFFSET),
                    size: read(DMA_SIZE),
                },
                num_chans: read(DMA_NUM_CHANS),
            };
            this.dma = (dma.abi != 0).then_some(dma);
        }
        Ok(this)
    }

    /// The scratchpads of both sides, in the control BAR `bar`; `None` if they do not fit into 32
    /// bits.
    pub const fn spads(&self, bar: u32) -> Option<Window> {
        match self.spad_count.checked_mul(2 * WORD) {
            Some(size) => Some(Window {
                bar,
                offset: self.spad_offset,
                size,
            }),
            None => None,
        }
    }

    /// How many doorbell slots the EP has, the two that are no doorbells included. The block has no
    /// field for that: those that are not there have neither data nor an offset.
    pub fn slots(&self) -> u32 {
        let mut places = self.db_data.iter().zip(&self.db_offset);
        let last = places.rposition(|(data, offset)| *data != 0 || *offset != 0);
        // CAST: At most `MAX_DB_COUNT`.
        last.map_or(0, |index| index as u32 + 1)
    }

    /// Where slot `slot` is rung in the doorbell BAR and with what: `(offset, data)`.
    ///
    /// `None` if there is no such slot or its offset has more than 32 bits.
    pub fn doorbell(&self, slot: u32) -> Option<(u32, u32)> {
        let at = slot as usize;
        let offset = self
            .db_entry_size
            .checked_mul(slot)?
            .checked_add(*self.db_offset.get(at)?)?;
        Some((offset, *self.db_data.get(at)?))
    }

    /// Whether an RC can use the vNTB: `ctrl_bar` and `db_bar` are the BARs of the block and of the
    /// doorbells, `mw_bars` that of each memory window.
    ///
    /// # Errors
    ///
    /// The first field that points out of its BAR, or a count that is too high.
    pub fn check(
        &self,
        bars: &BarSizes,
        ctrl_bar: u32,
        db_bar: u32,
        mw_bars: &[u32],
    ) -> Result<(), ControlError> {
        if self.num_mws as usize > MAX_MWS || self.num_mws as usize > mw_bars.len() {
            return Err(ControlError::MwCount(self.num_mws));
        }
        if self.spad_count != 0 {
            if self.spad_offset < self.version.block_size() {
                return Err(ControlError::SpadsInBlock(self.spad_offset));
            }
            let spads = self
                .spads(ctrl_bar)
                .ok_or(ControlError::SpadCount(self.spad_count))?;
            spads.check(bars, WORD).map_err(ControlError::Spads)?;
        }
        for slot in irq::FIRST_DOORBELL..MAX_DB_COUNT {
            let error = ControlError::Doorbell(slot);
            let (offset, _) = self.doorbell(slot).ok_or(error)?;
            let word = Window {
                bar: db_bar,
                offset,
                size: WORD,
            };
            word.check(bars, WORD).map_err(|_| error)?;
        }
        for (index, (mw, &bar)) in self.mws.iter().zip(mw_bars).enumerate() {
            if index >= self.num_mws as usize {
                break;
            }
            let window = Window {
                bar,
                offset: mw.offset,
                // The legacy block states no size: the window is the rest of its BAR.
                size: if self.version == Version::Legacy {
                    1
                } else {
                    mw.size
                },
            };
            window
                .check(bars, WORD)
                .map_err(|error| ControlError::Mw { index, error })?;
        }
        Ok(())
    }
}

/// Offsets of consecutive words from `first` on.
fn words(first: u32) -> impl Iterator<Item = u32> {
    (0..).map(move |i| first + i * WORD)
}

/// Why a control block cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlError {
    /// The layout's version is unknown.
    Version(u32),
    /// More memory windows than there can be.
    MwCount(u32),
    /// The scratchpads start inside the block.
    SpadsInBlock(u32),
    /// More scratchpads than any BAR holds.
    SpadCount(u32),
    /// The scratchpads do not lie in the control BAR.
    Spads(WindowError),
    /// This slot's doorbell does not lie in the doorbell BAR.
    Doorbell(u32),
    /// A memory window does not lie in its BAR.
    Mw {
        /// Index, from 0.
        index: usize,
        /// What is wrong with it.
        error: WindowError,
    },
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(v) => write!(f, "control layout version {v} is not 0 or 1"),
            Self::MwCount(n) => write!(f, "{n} memory windows"),
            Self::SpadsInBlock(at) => {
                write!(f, "scratchpads at {at:#x}, inside the control block")
            }
            Self::SpadCount(n) => write!(f, "{n} scratchpads"),
            Self::Spads(error) => write!(f, "scratchpads: {error}"),
            Self::Doorbell(slot) => write!(f, "doorbell slot {slot} is outside its BAR"),
            Self::Mw { index, error } => write!(f, "memory window {}: {error}", index + 1),
        }
    }
}
