// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the silicon and the library inside each QEMU say to each other, so that windows onto the
//! peer's RAM run at memory speed.
//!
//! The device listens at [`SOCKET`] in its directory (`AF_UNIX`, `SOCK_SEQPACKET`: one datagram is one
//! message). The library of each QEMU connects once, at start, and says [`Hello`]. From then on:
//!
//! - the library may send [`Fence`] with one file descriptor, once, before its first answer;
//! - the device sends [`Map`] with one file descriptor before the first window that names it, and
//!   [`Unmap`] once no window does and the memory is gone;
//! - it sends a *set* ([`SetHeader`], then up to [`MAX_WINDOWS`] [`Window`]s): all the windows that
//!   hold from now on, sorted by BAR and offset, none overlapping another. The first set follows the
//!   hello at once and means that the library is accepted;
//! - the library answers each set with [`Ack`] as soon as no access of its guest reaches anything but
//!   what the set says or the trap: windows that are gone are void (all ones), those that moved are
//!   remapped. Adding and removing memory regions may come later. An answer that takes longer than
//!   [`ACK_DEADLINE_MS`] ends the connection, and so does any message that is none of these. Windows of a
//!   library with a fence are then closed to writes before the device goes on;
//! - a device that ends a connection says [`GOODBYE`] before. It serves what traps from then on. One that
//!   is no more has not said it; nothing else tells the two apart at once, since the sockets of a process
//!   that dies close one after the other.
//!
//! `MAP` and `UNMAP` are not answered. While an answer is outstanding there comes no further set.
//!
//! A window is a range of a BAR of the vfio-user device ([`EP_DEVICE`], [`RC_DEVICE`]) in *that* QEMU;
//! wherever the guest moves the BAR, the window moves along. All integers are little-endian; reserved
//! bytes are 0 and not looked at.

/// File name of the socket in the device's directory.
pub const SOCKET: &str = "windows.sock";
/// "SPWN", the first bytes of every connection after the kind.
pub const MAGIC: u32 = u32::from_le_bytes(*b"SPWN");
/// Version of everything in this file. There is one: the parts are built together.
pub const VERSION: u32 = 1;

/// [`Hello::side`] of the library in the EP guest's QEMU.
pub const SIDE_EP: u32 = 0;
/// [`Hello::side`] of the library in the RC guest's QEMU.
pub const SIDE_RC: u32 = 1;
/// `id` of the vfio-user device in the EP guest's QEMU. Its windows lie in
/// [`super::spider::WINDOW_BAR`].
pub const EP_DEVICE: &str = "controller";
/// `id` of the vfio-user device in the RC guest's QEMU, which comes and goes with the link. Its
/// windows lie in any of its memory BARs.
pub const RC_DEVICE: &str = "function";

/// Windows in one set; what there would be beyond stays trapped.
pub const MAX_WINDOWS: usize = 64;
/// Bytes of each BAR, from its start, that windows may lie in; what lies beyond stays trapped. The library
/// reserves address space for as much.
pub const REACH: u64 = 64 << 20;
/// Maps that the device has announced and not taken back, at most.
pub const MAX_MAPS: usize = 128;
/// What every offset and length is a multiple of at least: the smallest page. The device uses the
/// host's page size where that is larger.
pub const PAGE_SIZE: u64 = 4096;
/// Milliseconds that the library may take to answer a set.
pub const ACK_DEADLINE_MS: u64 = 1000;

/// First word of a message: what it is.
pub mod kind {
    /// [`super::Hello`], from the library.
    pub const HELLO: u32 = 0x01;
    /// [`super::Ack`], from the library.
    pub const ACK: u32 = 0x02;
    /// [`super::Fence`], from the library, with one file descriptor.
    pub const FENCE: u32 = 0x03;
    /// [`super::Map`], from the device, with one file descriptor.
    pub const MAP: u32 = 0x11;
    /// [`super::Unmap`], from the device.
    pub const UNMAP: u32 = 0x12;
    /// [`super::SetHeader`] and its [`super::Window`]s, from the device.
    pub const WINDOWS: u32 = 0x13;
    /// [`super::GOODBYE`], from the device.
    pub const GOODBYE: u32 = 0x14;
}

/// `kind`: the device's last message on a connection that it ends.
pub const GOODBYE: [u8; 4] = kind::GOODBYE.to_le_bytes();

/// The longest message in either direction, in bytes.
pub const MAX_MESSAGE: usize = SetHeader::SIZE + MAX_WINDOWS * Window::SIZE;

/// `kind, magic, version, side`: who connects. The only message that may come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// [`MAGIC`].
    pub magic: u32,
    /// [`VERSION`]; another one is refused by closing the connection.
    pub version: u32,
    /// [`SIDE_EP`] or [`SIDE_RC`]. A second library of one side is refused while the first stays.
    pub side: u32,
}

/// `kind, 0, seq (8)`: the set with this number is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// [`SetHeader::seq`] of the set.
    pub seq: u64,
}

/// `kind, 0, base (8)` and one descriptor, a userfaultfd of the library's process in which every window is registered
/// for write protection (`UFFDIO_REGISTER_MODE_WP`). With it the device closes windows to writes in a process that is
/// stopped, or late: whoever writes there sleeps until the library has voided the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Address in that process of the first byte of BAR 0. BAR n begins n times [`REACH`] behind it.
    pub base: u64,
}

/// `kind, id, size (8), fd_offset (8)` and one descriptor: RAM of the peer guest that windows may
/// name. The file is sealed against shrinking (`F_SEAL_SHRINK`) and not made of huge pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    /// What windows call it; never used twice on one connection.
    pub id: u32,
    /// Bytes, a multiple of [`PAGE_SIZE`], not 0.
    pub size: u64,
    /// Where they start in the file, a multiple of [`PAGE_SIZE`]. `fd_offset + size` lies within the
    /// file.
    pub fd_offset: u64,
}

/// `kind, id`: no window names this map any more, and none will; close the descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmap {
    /// [`Map::id`].
    pub id: u32,
}

/// `kind, count, seq (8)`: the head of a set; `count` [`Window`]s follow, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetHeader {
    /// Windows that follow, at most [`MAX_WINDOWS`].
    pub count: u32,
    /// Number of the set on this connection: 1, 2, 3…
    pub seq: u64,
}

/// `bar, flags, offset (8), len (8), map, 0, map_offset (8)`: a range of a BAR that is RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    /// BAR of the device, 0 to 5.
    pub bar: u32,
    /// First byte in the BAR, a multiple of [`PAGE_SIZE`].
    pub offset: u64,
    /// Bytes, a multiple of [`PAGE_SIZE`], not 0; the BAR is at least `offset + len` long, and they lie within
    /// [`REACH`].
    pub len: u64,
    /// [`Map::id`] of the memory behind it.
    pub map: u32,
    /// First byte in the map (not in the file), a multiple of [`PAGE_SIZE`].
    pub map_offset: u64,
    /// [`Window::WRITABLE`] is always set so far: memory that may only be read stays trapped.
    pub flags: u32,
}

const fn get32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

const fn get64(bytes: &[u8], at: usize) -> u64 {
    get32(bytes, at) as u64 | (get32(bytes, at + 4) as u64) << 32
}

/// Lays `words` one after the other; `N` is four times `W`.
const fn put<const W: usize, const N: usize>(words: [u32; W]) -> [u8; N] {
    assert!(N == 4 * W);
    let mut bytes = [0; N];
    let mut at = 0;
    while at < N {
        bytes[at] = words[at / 4].to_le_bytes()[at % 4];
        at += 1;
    }
    bytes
}

const fn low(value: u64) -> u32 {
    value as u32
}

const fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

/// The kind of a message, if it is long enough to have one.
pub const fn kind_of(message: &[u8]) -> Option<u32> {
    if message.len() < 4 {
        return None;
    }
    Some(get32(message, 0))
}

/// Whether `message` is of this kind and exactly this long.
const fn is(message: &[u8], kind: u32, size: usize) -> bool {
    message.len() == size && get32(message, 0) == kind
}

impl Hello {
    /// Bytes on the wire.
    pub const SIZE: usize = 16;

    /// What a library of this `side` says.
    pub const fn new(side: u32) -> Self {
        Self {
            magic: MAGIC,
            version: VERSION,
            side,
        }
    }

    /// The message.
    pub const fn to_bytes(self) -> [u8; Self::SIZE] {
        put([kind::HELLO, self.magic, self.version, self.side])
    }

    /// The message, if `bytes` are one in form; magic, version and side are for the caller to judge.
    pub const fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if !is(bytes, kind::HELLO, Self::SIZE) {
            return None;
        }
        Some(Self {
            magic: get32(bytes, 4),
            version: get32(bytes, 8),
            side: get32(bytes, 12),
        })
    }
}

impl Ack {
    /// Bytes on the wire.
    pub const SIZE: usize = 16;

    /// The message.
    pub const fn to_bytes(self) -> [u8; Self::SIZE] {
        put([kind::ACK, 0, low(self.seq), high(self.seq)])
    }

    /// The message, if `bytes` are one.
    pub const fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if !is(bytes, kind::ACK, Self::SIZE) {
            return None;
        }
        Some(Self {
            seq: get64(bytes, 8),
        })
    }
}

impl Fence {
    /// Bytes on the wire.
    pub const SIZE: usize = 16;

    /// The message.
    pub const fn to_bytes(self) -> [u8; Self::SIZE] {
        put([kind::FENCE, 0, low(self.base), high(self.base)])
    }

    /// The message, if `bytes` are one.
    pub const fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if !is(bytes, kind::FENCE, Self::SIZE) {
            return None;
        }
        Some(Self {
            base: get64(bytes, 8),
        })
    }
}

impl Map {
    /// Bytes on the wire.
    pub const SIZE: usize = 24;

    /// The message.
    pub const fn to_bytes(self) -> [u8; Self::SIZE] {
        let Self {
            id,
            size,
            fd_offset,
        } = self;
        put([
            kind::MAP,
            id,
            low(size),
            high(size),
            low(fd_offset),
            high(fd_offset),
        ])
    }

    /// The message, if `bytes` are one in form.
    pub const fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if !is(bytes, kind::MAP, Self::SIZE) {
            return None;
        }
        Some(Self {
            id: get32(bytes, 4),
            size: get64(bytes, 8),
            fd_offset: get64(bytes, 16),
        })
    }
}

impl Unmap {
    /// Bytes on the wire.
    pub const SIZE: usize = 8;

    /// The message.
    pub const fn to_bytes(self) -> [u8; Self::SIZE] {
        put([kind::UNMAP, self.id])
    }

    /// The message, if `bytes` are one.
    pub const fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if !is(bytes, kind::UNMAP, Self::SIZE) {
            return None;
        }
        Some(Self {
            id: get32(bytes, 4),
        })
    }
}

impl SetHeader {
    /// Bytes on the wire, without the windows.
    pub const SIZE: usize = 16;

    /// The head of the message.
    pub const fn to_bytes(self) -> [u8; Self::SIZE] {
        put([kind::WINDOWS, self.count, low(self.seq), high(self.seq)])
    }

    /// The head of a set, if `message` is one with as many windows as it says, at most
    /// [`MAX_WINDOWS`]. They start at [`SetHeader::SIZE`], each [`Window::SIZE`] long.
    pub const fn from_bytes(message: &[u8]) -> Option<Self> {
        if message.len() < Self::SIZE || get32(message, 0) != kind::WINDOWS {
            return None;
        }
        let count = get32(message, 4);
        if count as usize > MAX_WINDOWS
            || message.len() != Self::SIZE + count as usize * Window::SIZE
        {
            return None;
        }
        Some(Self {
            count,
            seq: get64(message, 8),
        })
    }
}

impl Window {
    /// Bytes on the wire.
    pub const SIZE: usize = 40;
    /// [`Window::flags`]: the guest may write.
    pub const WRITABLE: u32 = 1;

    /// Its place in a set.
    pub const fn to_bytes(self) -> [u8; Self::SIZE] {
        put([
            self.bar,
            self.flags,
            low(self.offset),
            high(self.offset),
            low(self.len),
            high(self.len),
            self.map,
            0,
            low(self.map_offset),
            high(self.map_offset),
        ])
    }

    /// The window in `bytes`, which must be [`Window::SIZE`] of them.
    pub const fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::SIZE {
            return None;
        }
        Some(Self {
            bar: get32(bytes, 0),
            flags: get32(bytes, 4),
            offset: get64(bytes, 8),
            len: get64(bytes, 16),
            map: get32(bytes, 24),
            map_offset: get64(bytes, 32),
        })
    }
}
