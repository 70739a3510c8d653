// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How an EP lays an exported slice out: header, registers, then the descriptors of each channel,
//! without gaps, each a multiple of [`ALIGN`].

use core::fmt;

use super::header::{Channel, Header, DESC_MIN_SIZE, SIZE};
use super::locator::{Locator, ABI_V1, ALIGN};
use super::routing::Routing;
use super::window::Window;
use super::MAX_CHANNELS;

/// Where the RC finds the DMA controller's registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registers {
    /// In the slice, in a window that is rounded up to [`ALIGN`].
    InSlice {
        /// Bytes that there are.
        size: u32,
    },
    /// Already in a BAR, by the controller's own doing.
    InBar(Window),
}

/// What to lay out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// BAR of the slice.
    pub bar: u32,
    /// Where the slice starts in it.
    pub offset: u32,
    /// Where the registers are or go.
    pub registers: Registers,
    /// Channels, [`MAX_CHANNELS`] at most.
    pub num_chans: u32,
    /// Descriptor memory of each channel in bytes; rounded up to [`ALIGN`].
    pub desc_size: u32,
}

/// A slice, laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    window: Window,
    registers: Window,
    registers_inside: bool,
    num_chans: u32,
    desc_offset: u32,
    desc_size: u32,
}

impl Slice {
    /// Lays a slice out.
    ///
    /// # Errors
    ///
    /// The part of the request that cannot be met.
    pub const fn new(request: Request) -> Result<Self, SliceError> {
        let Request {
            bar,
            offset,
            registers,
            num_chans,
            desc_size,
        } = request;
        if num_chans == 0 || num_chans as usize > MAX_CHANNELS {
            return Err(SliceError::ChannelCount(num_chans));
        }
        if offset % ALIGN != 0 {
            return Err(SliceError::Misaligned(offset));
        }
        if desc_size < DESC_MIN_SIZE {
            return Err(SliceError::TooSmall(desc_size));
        }

        let header_size = SIZE.next_multiple_of(ALIGN);
        let (registers, inside) = match registers {
            Registers::InSlice { size } => {
                if size == 0 {
                    return Err(SliceError::TooSmall(size));
                }
                let Some(offset) = offset.checked_add(header_size) else {
                    return Err(SliceError::TooLarge);
                };
                (Window { bar, offset, size }, true)
            }
            Registers::InBar(window) => (window, false),
        };
        let registers_size = if inside { registers.size } else { 0 };
        let Some(registers_room) = registers_size.checked_next_multiple_of(ALIGN) else {
            return Err(SliceError::TooLarge);
        };

        let Some(desc_size) = desc_size.checked_next_multiple_of(ALIGN) else {
            return Err(SliceError::TooLarge);
        };
        let Some(descs) = desc_size.checked_mul(num_chans) else {
            return Err(SliceError::TooLarge);
        };
        let Some(before) = header_size.checked_add(registers_room) else {
            return Err(SliceError::TooLarge);
        };
        let (Some(size), Some(desc_offset)) =
            (before.checked_add(descs), offset.checked_add(before))
        else {
            return Err(SliceError::TooLarge);
        };
        let window = Window { bar, offset, size };
        if window.end() > u32::MAX as u64 + 1 {
            return Err(SliceError::TooLarge);
        }
        Ok(Self {
            window,
            registers,
            registers_inside: inside,
            num_chans,
            desc_offset,
            desc_size,
        })
    }

    /// The slice.
    pub const fn window(&self) -> Window {
        self.window
    }

    /// The part of the slice that is the header, and what pads it.
    pub const fn header_window(&self) -> Window {
        Window {
            size: SIZE.next_multiple_of(ALIGN),
            ..self.window
        }
    }

    /// The part of the slice that is the registers, and what pads them; `None` if they are
    /// elsewhere.
    pub const fn registers_window(&self) -> Option<Window> {
        if self.registers_inside {
            Some(Window {
                // Was computed so without overflow.
                size: self.registers.size.next_multiple_of(ALIGN),
                ..self.registers
            })
        } else {
            None
        }
    }

    /// The part of the slice that is descriptors, those of channel n at n times
    /// [`Slice::desc_size`].
    pub const fn desc_window(&self) -> Window {
        Window {
            bar: self.window.bar,
            offset: self.desc_offset,
            // Was computed so without overflow.
            size: self.desc_size * self.num_chans,
        }
    }

    /// Descriptor memory of each channel.
    pub const fn desc_size(&self) -> u32 {
        self.desc_size
    }

    /// Number of channels.
    pub const fn num_chans(&self) -> u32 {
        self.num_chans
    }

    /// What the control block says of the slice.
    pub const fn locator(&self) -> Locator {
        Locator {
            abi: ABI_V1,
            window: self.window,
            num_chans: self.num_chans,
        }
    }

    /// The header, `desc_phys_addr` being where the engine finds the descriptors of channel 0; the
    /// others' follow. All channels are [`Routing::Remote`]. The registers have their true size there,
    /// without padding.
    pub fn header(&self, desc_phys_addr: u64) -> Header {
        let mut chans = [Channel::default(); MAX_CHANNELS];
        let mut offset = 0;
        for chan in chans.iter_mut().take(self.num_chans as usize) {
            *chan = Channel {
                desc: Window {
                    bar: self.window.bar,
                    offset: self.desc_offset + offset,
                    size: self.desc_size,
                },
                desc_phys_addr: desc_phys_addr.wrapping_add(u64::from(offset)),
                routing: Routing::default(),
            };
            offset += self.desc_size;
        }
        Header {
            total_size: self.window.size,
            ctrl: self.registers,
            irq_count: self.num_chans,
            num_chans: self.num_chans,
            chans,
        }
    }
}

/// Why a slice cannot be laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SliceError {
    /// No channel, or more than [`MAX_CHANNELS`].
    ChannelCount(u32),
    /// The slice's offset is not a multiple of [`ALIGN`].
    Misaligned(u32),
    /// Registers or descriptor memory of so few bytes are of no use.
    TooSmall(u32),
    /// The slice ends after 4 GiB.
    TooLarge,
}

impl fmt::Display for SliceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ChannelCount(n) => write!(f, "{n} DMA channels, not 1 to {MAX_CHANNELS}"),
            Self::Misaligned(offset) => {
                write!(f, "DMA slice at {offset:#x}, not a multiple of {ALIGN:#x}")
            }
            Self::TooSmall(size) => write!(f, "{size} bytes of registers or descriptors"),
            Self::TooLarge => f.write_str("the DMA slice ends after 4 GiB"),
        }
    }
}
