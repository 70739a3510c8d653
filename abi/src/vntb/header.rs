// SPDX-License-Identifier: Apache-2.0 OR MIT
//! DMA header version 1: what an exported slice consists of.

use core::fmt;
use core::ops::Range;

use super::locator::{Locator, ALIGN};
use super::routing::Routing;
use super::window::{BarSizes, Window, WindowError};
use super::{irq, MAX_CHANNELS};

/// First word of the header: "EPDM" in memory.
pub const MAGIC: u32 = 0x4d44_5045;
/// The version described here.
pub const VERSION: u16 = 1;
/// Size of the header in bytes.
pub const SIZE: u32 = at::CHANS + MAX_CHANNELS as u32 * at::CHAN_STRIDE;

/// Offsets of the fields. 32 bits each, unless it says otherwise.
pub mod at {
    /// [`MAGIC`](super::MAGIC).
    pub const MAGIC: u32 = 0x00;
    /// Version, 16 bits.
    pub const VERSION: u32 = 0x04;
    /// Size of the header in bytes, 16 bits.
    pub const HDR_SIZE: u32 = 0x06;
    /// Size of the slice in bytes. All 32 bits count.
    pub const TOTAL_SIZE: u32 = 0x08;
    /// BAR of the DMA controller's registers.
    pub const CTRL_BAR: u32 = 0x0c;
    /// Their offset in it.
    pub const CTRL_OFFSET: u32 = 0x10;
    /// Their size.
    pub const CTRL_SIZE: u32 = 0x14;
    /// Vectors for completions, the last ones that the function has.
    pub const IRQ_COUNT: u32 = 0x18;
    /// Number of channels.
    pub const NUM_CHANS: u32 = 0x1c;
    /// First channel; the next ones follow at [`CHAN_STRIDE`].
    pub const CHANS: u32 = 0x20;
    /// Distance of channels.
    pub const CHAN_STRIDE: u32 = 0x18;
    /// In a channel: BAR of its descriptor memory.
    pub const DESC_BAR: u32 = 0x00;
    /// In a channel: offset of its descriptor memory.
    pub const DESC_OFFSET: u32 = 0x04;
    /// In a channel: size of its descriptor memory.
    pub const DESC_SIZE: u32 = 0x08;
    /// In a channel: its [`Routing`](super::Routing). Padding in the published layout, 0 there.
    pub const ROUTING: u32 = 0x0c;
    /// In a channel: where the DMA controller finds the descriptor memory. 64 bits.
    pub const DESC_PHYS_ADDR: u32 = 0x10;
}

/// Alignment of descriptor memory as the engine sees it: its elements hold 64-bit fields.
pub const DESC_ALIGN: u64 = 8;
/// Least descriptor memory: one data element and one link element of the eDMA, 24 bytes each.
pub const DESC_MIN_SIZE: u32 = 2 * 24;

/// The bytes of a header.
pub type Bytes = [u8; SIZE as usize];

/// A delegated channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Channel {
    /// Where the RC writes descriptors.
    pub desc: Window,
    /// Where the DMA controller reads them, an address on the EP.
    pub desc_phys_addr: u64,
    /// Whom its completions are told.
    pub routing: Routing,
}

/// Header version 1, field by field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Size of the slice in bytes.
    pub total_size: u32,
    /// The DMA controller's registers.
    pub ctrl: Window,
    /// Vectors for completions.
    pub irq_count: u32,
    /// Channels in use: the first `num_chans` of `chans`.
    pub num_chans: u32,
    /// Channels; those that are not in use are zero in memory and ignored.
    pub chans: [Channel; MAX_CHANNELS],
}

impl Header {
    /// The header as it stands in memory.
    pub fn encode(&self) -> Bytes {
        let mut bytes = [0; SIZE as usize];
        put(&mut bytes, at::MAGIC, MAGIC.to_le_bytes());
        put(&mut bytes, at::VERSION, VERSION.to_le_bytes());
        put(&mut bytes, at::HDR_SIZE, (SIZE as u16).to_le_bytes());
        put(&mut bytes, at::TOTAL_SIZE, self.total_size.to_le_bytes());
        put(&mut bytes, at::CTRL_BAR, self.ctrl.bar.to_le_bytes());
        put(&mut bytes, at::CTRL_OFFSET, self.ctrl.offset.to_le_bytes());
        put(&mut bytes, at::CTRL_SIZE, self.ctrl.size.to_le_bytes());
        put(&mut bytes, at::IRQ_COUNT, self.irq_count.to_le_bytes());
        put(&mut bytes, at::NUM_CHANS, self.num_chans.to_le_bytes());
        let used = self.chans.iter().take(self.num_chans as usize);
        for (chan, base) in used.zip(chan_offsets()) {
            put(&mut bytes, base + at::DESC_BAR, chan.desc.bar.to_le_bytes());
            put(
                &mut bytes,
                base + at::DESC_OFFSET,
                chan.desc.offset.to_le_bytes(),
            );
            put(
                &mut bytes,
                base + at::DESC_SIZE,
                chan.desc.size.to_le_bytes(),
            );
            put(
                &mut bytes,
                base + at::ROUTING,
                (chan.routing as u32).to_le_bytes(),
            );
            put(
                &mut bytes,
                base + at::DESC_PHYS_ADDR,
                chan.desc_phys_addr.to_le_bytes(),
            );
        }
        bytes
    }

    /// Reads and checks the header at the start of the slice that `locator`, checked, names.
    ///
    /// Of `bytes`, which may be shorter or longer than a header, the caller took one copy: the peer
    /// can change the original at any time. `vectors` is how many interrupt vectors the function has,
    /// `taken` as for [`Locator::check`].
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    pub fn parse(
        bytes: &[u8],
        locator: &Locator,
        bars: &BarSizes,
        vectors: u32,
        taken: &[Window],
    ) -> Result<Self, HeaderError> {
        let Some(bytes) = bytes.first_chunk::<{ SIZE as usize }>() else {
            return Err(HeaderError::Truncated(bytes.len()));
        };
        let magic = u32::from_le_bytes(get(bytes, at::MAGIC));
        if magic != MAGIC {
            return Err(HeaderError::Magic(magic));
        }
        let version = u16::from_le_bytes(get(bytes, at::VERSION));
        if version != VERSION {
            return Err(HeaderError::Version(version));
        }
        let hdr_size = u16::from_le_bytes(get(bytes, at::HDR_SIZE));
        if u32::from(hdr_size) < SIZE || u32::from(hdr_size) > locator.window.size {
            return Err(HeaderError::HeaderSize(hdr_size));
        }

        let word = |offset| u32::from_le_bytes(get(bytes, offset));
        let mut this = Self {
            total_size: word(at::TOTAL_SIZE),
            ctrl: Window {
                bar: word(at::CTRL_BAR),
                offset: word(at::CTRL_OFFSET),
                size: word(at::CTRL_SIZE),
            },
            irq_count: word(at::IRQ_COUNT),
            num_chans: word(at::NUM_CHANS),
            chans: Default::default(),
        };
        if this.total_size != locator.window.size {
            return Err(HeaderError::TotalSize {
                header: this.total_size,
                locator: locator.window.size,
            });
        }
        if this.num_chans == 0
            || this.num_chans as usize > MAX_CHANNELS
            || this.num_chans != locator.num_chans
        {
            return Err(HeaderError::ChannelCount(this.num_chans));
        }
        if this.irq_count != this.num_chans {
            return Err(HeaderError::IrqCount {
                irqs: this.irq_count,
                chans: this.num_chans,
            });
        }
        this.irqs(vectors)?;

        let used = this.chans.iter_mut().take(this.num_chans as usize);
        for (index, (chan, base)) in used.zip(chan_offsets()).enumerate() {
            chan.desc.bar = word(base + at::DESC_BAR);
            chan.desc.offset = word(base + at::DESC_OFFSET);
            chan.desc.size = word(base + at::DESC_SIZE);
            chan.desc_phys_addr = u64::from_le_bytes(get(bytes, base + at::DESC_PHYS_ADDR));
            let routing = word(base + at::ROUTING);
            chan.routing =
                Routing::from_raw(routing).ok_or(HeaderError::Routing { index, routing })?;
        }
        this.check_windows(u32::from(hdr_size), locator, bars, taken)?;
        Ok(this)
    }

    /// The vectors for completions, channel n's being the n-th: the last ones of `vectors`, which
    /// leaves the vNTB no fewer than [`irq::MIN_VECTORS`].
    ///
    /// # Errors
    ///
    /// [`HeaderError::Vectors`] if there are not enough.
    pub fn irqs(&self, vectors: u32) -> Result<Range<u32>, HeaderError> {
        match vectors.checked_sub(self.irq_count) {
            Some(base) if base >= irq::MIN_VECTORS => Ok(base..vectors),
            _ => Err(HeaderError::Vectors {
                irqs: self.irq_count,
                vectors,
            }),
        }
    }

    /// The channels in use.
    pub fn channels(&self) -> &[Channel] {
        let used = MAX_CHANNELS.min(self.num_chans as usize);
        &self.chans[..used]
    }

    /// Each window on its own, then against the slice, the vNTB and each other.
    fn check_windows(
        &self,
        hdr_size: u32,
        locator: &Locator,
        bars: &BarSizes,
        taken: &[Window],
    ) -> Result<(), HeaderError> {
        let header = Window {
            size: hdr_size,
            ..locator.window
        };
        for (part, window) in self.parts() {
            window
                .check(bars, ALIGN)
                .map_err(|error| HeaderError::Window { part, error })?;
            if window.bar == locator.window.bar && !locator.window.contains(&window) {
                return Err(HeaderError::OutOfSlice(part));
            }
            if window.overlaps(&header) {
                return Err(HeaderError::OverlapsHeader(part));
            }
            if let Some(other) = taken.iter().find(|other| window.overlaps(other)) {
                return Err(HeaderError::OverlapsNtb {
                    part,
                    other: *other,
                });
            }
        }
        for (i, (part, window)) in self.parts().enumerate() {
            let mut before = self.parts().take(i);
            if let Some((other, _)) = before.find(|(_, before)| window.overlaps(before)) {
                return Err(HeaderError::Overlap(other, part));
            }
        }
        for (index, chan) in self.channels().iter().enumerate() {
            let fits = chan
                .desc_phys_addr
                .checked_add(u64::from(chan.desc.size))
                .is_some();
            if !fits || chan.desc_phys_addr % DESC_ALIGN != 0 {
                return Err(HeaderError::DescAddress {
                    index,
                    address: chan.desc_phys_addr,
                });
            }
            if chan.desc.size < DESC_MIN_SIZE {
                return Err(HeaderError::DescSize {
                    index,
                    size: chan.desc.size,
                });
            }
        }
        Ok(())
    }

    /// The windows that the header names.
    fn parts(&self) -> impl Iterator<Item = (Part, Window)> + '_ {
        let descs = self.channels().iter().enumerate();
        core::iter::once((Part::Registers, self.ctrl))
            .chain(descs.map(|(index, chan)| (Part::Descriptors(index), chan.desc)))
    }
}

/// Offset of each channel in the header.
fn chan_offsets() -> impl Iterator<Item = u32> {
    (0..MAX_CHANNELS as u32).map(|i| at::CHANS + i * at::CHAN_STRIDE)
}

/// The `N` bytes at `offset`, which is one of `at` and so inside the header.
fn get<const N: usize>(bytes: &Bytes, offset: u32) -> [u8; N] {
    bytes
        .get(offset as usize..)
        .and_then(|tail| tail.first_chunk())
        .copied()
        .unwrap_or([0; N])
}

/// Stores `value` at `offset`, which is one of `at` and so inside the header.
fn put<const N: usize>(bytes: &mut Bytes, offset: u32, value: [u8; N]) {
    let place = bytes.get_mut(offset as usize..);
    if let Some(place) = place.and_then(|tail| tail.first_chunk_mut()) {
        *place = value;
    }
}

/// A window that a header names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The DMA controller's registers.
    Registers,
    /// The descriptor memory of the channel with this index.
    Descriptors(usize),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registers => f.write_str("DMA registers"),
            Self::Descriptors(index) => write!(f, "descriptors of channel {index}"),
        }
    }
}

/// Why a header cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// Fewer bytes than a header has.
    Truncated(usize),
    /// The magic is not [`MAGIC`].
    Magic(u32),
    /// The version is not [`VERSION`].
    Version(u16),
    /// The header says to be smaller than version 1 is, or larger than the slice.
    HeaderSize(u16),
    /// Header and locator do not agree on the slice's size.
    TotalSize {
        /// What the header says.
        header: u32,
        /// What the locator says.
        locator: u32,
    },
    /// No channel, more than [`MAX_CHANNELS`], or not as many as the locator says.
    ChannelCount(u32),
    /// Not one vector for each channel.
    IrqCount {
        /// Vectors.
        irqs: u32,
        /// Channels.
        chans: u32,
    },
    /// The vectors for completions are more than the function has to spare.
    Vectors {
        /// Vectors for completions.
        irqs: u32,
        /// Vectors of the function.
        vectors: u32,
    },
    /// A window is unusable on its own.
    Window {
        /// Which one.
        part: Part,
        /// What is wrong with it.
        error: WindowError,
    },
    /// A window is in the slice's BAR and not in the slice.
    OutOfSlice(Part),
    /// A window covers the header.
    OverlapsHeader(Part),
    /// A window covers a part of the vNTB.
    OverlapsNtb {
        /// Which one.
        part: Part,
        /// The vNTB's window.
        other: Window,
    },
    /// Two windows cover each other.
    Overlap(Part, Part),
    /// A channel's descriptor memory is not aligned for the engine or runs over the address space.
    DescAddress {
        /// Channel.
        index: usize,
        /// Address on the EP.
        address: u64,
    },
    /// A channel's routing is unknown.
    Routing {
        /// Channel.
        index: usize,
        /// What the header says.
        routing: u32,
    },
    /// A channel's descriptor memory holds no descriptor.
    DescSize {
        /// Channel.
        index: usize,
        /// Size in bytes.
        size: u32,
    },
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated(len) => write!(f, "DMA header: {len} bytes of {SIZE}"),
            Self::Magic(magic) => write!(f, "DMA header: magic {magic:#x} is not {MAGIC:#x}"),
            Self::Version(v) => write!(f, "DMA header: version {v} is not {VERSION}"),
            Self::HeaderSize(size) => {
                write!(
                    f,
                    "DMA header: size {size:#x}, less than {SIZE:#x} or past the slice"
                )
            }
            Self::TotalSize { header, locator } => write!(
                f,
                "DMA header: a slice of {header:#x} bytes, the locator says {locator:#x}"
            ),
            Self::ChannelCount(n) => write!(
                f,
                "DMA header: {n} channels, not 1 to {MAX_CHANNELS} or not as many as located"
            ),
            Self::IrqCount { irqs, chans } => {
                write!(f, "DMA header: {irqs} vectors for {chans} channels")
            }
            Self::Vectors { irqs, vectors } => write!(
                f,
                "DMA header: {irqs} vectors past the vNTB's {}, the function has {vectors}",
                irq::MIN_VECTORS
            ),
            Self::Window { part, error } => write!(f, "{part}: {error}"),
            Self::OutOfSlice(part) => write!(f, "{part}: outside the DMA slice"),
            Self::OverlapsHeader(part) => write!(f, "{part}: over the DMA header"),
            Self::OverlapsNtb { part, other } => write!(f, "{part}: over the vNTB's {other}"),
            Self::Overlap(one, other) => write!(f, "{one} and {other} overlap"),
            Self::DescAddress { index, address } => {
                write!(
                    f,
                    "descriptors of channel {index}: no memory can be at {address:#x}"
                )
            }
            Self::Routing { index, routing } => {
                write!(f, "channel {index}: routing {routing} is none of 0 to 2")
            }
            Self::DescSize { index, size } => {
                write!(f, "descriptors of channel {index}: only {size} bytes")
            }
        }
    }
}
