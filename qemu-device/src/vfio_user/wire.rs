// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Layouts of the messages (*Protocol Specification*). All numbers are in the host's byte order.
//!
//! A request is [`Header`] and payload; so is a reply, under the id and command of its request. The
//! structures below are the fixed parts of payloads, field for field as in the section of their name.

use nix::errno::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Size of [`Header`] in bytes.
pub const HEADER_SIZE: usize = size_of::<Header>();

/// The most data one `REGION_READ` or `REGION_WRITE` carries, in bytes: the protocol's default for
/// `max_data_xfer_size` (*VFIO_USER_VERSION*).
pub const MAX_DATA_TRANSFER: u32 = 1 << 20;

/// The longest message that makes sense, in bytes: a `REGION_WRITE` of [`MAX_DATA_TRANSFER`].
pub const MAX_MESSAGE_SIZE: u32 =
    (HEADER_SIZE + size_of::<RegionAccess>()) as u32 + MAX_DATA_TRANSFER;

/// The most file descriptors accepted with one message: an eventfd for each of the 32 vectors MSI has.
pub const MAX_MESSAGE_FDS: usize = 32;

/// *Commands*. Numbers that are not in the specification's table are answered with `ENOTSUP`.
#[allow(missing_docs)] // the names are the specification's
pub mod command {
    pub const VERSION: u16 = 1;
    pub const DMA_MAP: u16 = 2;
    pub const DMA_UNMAP: u16 = 3;
    pub const DEVICE_GET_INFO: u16 = 4;
    pub const DEVICE_GET_REGION_INFO: u16 = 5;
    pub const DEVICE_GET_REGION_IO_FDS: u16 = 6;
    pub const DEVICE_GET_IRQ_INFO: u16 = 7;
    pub const DEVICE_SET_IRQS: u16 = 8;
    pub const REGION_READ: u16 = 9;
    pub const REGION_WRITE: u16 = 10;
    pub const DMA_READ: u16 = 11;
    pub const DMA_WRITE: u16 = 12;
    pub const DEVICE_RESET: u16 = 13;
    /// Of older revisions of the protocol; QEMU's `protocol.h` still lists it.
    pub const DIRTY_PAGES: u16 = 14;
    pub const REGION_WRITE_MULTI: u16 = 15;
    pub const DEVICE_FEATURE: u16 = 16;
    pub const MIG_DATA_READ: u16 = 17;
    pub const MIG_DATA_WRITE: u16 = 18;
}

/// *Header*: bits of [`Header::flags`].
pub mod flags {
    /// Bits 0-3, the message type.
    pub const TYPE_MASK: u32 = 0xf;
    /// Type of a request.
    pub const TYPE_COMMAND: u32 = 0;
    /// Type of a reply.
    pub const TYPE_REPLY: u32 = 1;
    /// On a command: it is not to be answered, not even if it fails.
    pub const NO_REPLY: u32 = 1 << 4;
    /// On a reply: the command failed, [`error`](super::Header::error) says why.
    pub const ERROR: u32 = 1 << 5;
}

/// *Header*: what every message starts with.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct Header {
    /// Chosen by the sender of a command and echoed in its reply. Means nothing else.
    pub message_id: u16,
    /// One of [`command`].
    pub command: u16,
    /// Length of the message in bytes, this header included.
    pub message_size: u32,
    /// Type and attributes, see [`flags`].
    pub flags: u32,
    /// In an error reply, an errno; reserved elsewhere.
    pub error: u32,
}

impl Header {
    /// Whether the sender waits for a reply.
    pub fn expects_reply(&self) -> bool {
        self.is_command() && self.flags & flags::NO_REPLY == 0
    }

    /// Whether this is a command, not a reply or one of the reserved types.
    pub fn is_command(&self) -> bool {
        self.flags & flags::TYPE_MASK == flags::TYPE_COMMAND
    }

    /// Whether this is a reply to `command`.
    pub fn answers(&self, command: u16) -> bool {
        self.flags & flags::TYPE_MASK == flags::TYPE_REPLY && self.command == command
    }

    /// Of a reply: whether the command failed.
    pub fn failed(&self) -> bool {
        self.flags & flags::ERROR != 0
    }

    /// The header of a reply to this command that is `message_size` bytes long.
    pub fn reply(&self, message_size: u32) -> Self {
        Self {
            message_size,
            flags: flags::TYPE_REPLY,
            error: 0,
            ..*self
        }
    }

    /// The whole of a reply that says that this command failed.
    pub fn error_reply(&self, errno: Errno) -> Self {
        Self {
            message_size: HEADER_SIZE as u32,
            flags: flags::TYPE_REPLY | flags::ERROR,
            error: errno as i32 as u32,
            ..*self
        }
    }
}

/// *VFIO_USER_VERSION*: request and reply; NUL-terminated JSON may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Version {
    /// Changes when the protocol does so incompatibly.
    pub major: u16,
    /// Changes with each addition.
    pub minor: u16,
}

/// A flag of [`DmaMap`], after those of VFIO: the descriptor that comes along may be mapped. Of libvfio-user since 2026, and
/// not in QEMU's specification yet.
pub const DMA_MAP_FLAG_MMAP: u32 = 1 << 2;

/// *VFIO_USER_DMA_MAP*: request. The reply has no payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DmaMap {
    /// Size of this structure.
    pub argsz: u32,
    /// `VFIO_DMA_MAP_FLAG_READ` and `_WRITE`, and [`DMA_MAP_FLAG_MMAP`].
    pub flags: u32,
    /// Where the region starts in the file that came along.
    pub offset: u64,
    /// The region's DMA address.
    pub address: u64,
    /// The region's length in bytes.
    pub size: u64,
}

/// *VFIO_USER_DMA_UNMAP*: request and reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DmaUnmap {
    /// The most the reply's payload may take.
    pub argsz: u32,
    /// `VFIO_DMA_UNMAP_FLAG_ALL` or nothing.
    pub flags: u32,
    /// The region's DMA address; 0 for all.
    pub address: u64,
    /// The region's length in bytes; 0 for all.
    pub size: u64,
}

/// *VFIO_USER_DMA_READ*: request, and reply before the data. *VFIO_USER_DMA_WRITE*: request before the data. The server
/// sends them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DmaAccess {
    /// DMA address of the first byte.
    pub address: u64,
    /// How many bytes.
    pub count: u64,
}

/// *VFIO_USER_DEVICE_GET_INFO*: request and reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DeviceInfo {
    /// Request: room for the reply's payload. Reply: what it takes.
    pub argsz: u32,
    /// `VFIO_DEVICE_FLAGS_PCI` and `_RESET`.
    pub flags: u32,
    /// How many region indices there are.
    pub num_regions: u32,
    /// How many interrupt types there are.
    pub num_irqs: u32,
}

/// *VFIO_USER_DEVICE_GET_REGION_INFO*: request and reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RegionInfo {
    /// Request: room for the reply's payload. Reply: what it takes.
    pub argsz: u32,
    /// `VFIO_REGION_INFO_FLAG_*`.
    pub flags: u32,
    /// The region asked for.
    pub index: u32,
    /// Where capabilities start in the payload; 0 if there are none.
    pub cap_offset: u32,
    /// The region's length in bytes; 0 if it is not there.
    pub size: u64,
    /// For mmap(2) of a region that can be mapped.
    pub offset: u64,
}

/// *VFIO_USER_DEVICE_GET_REGION_IO_FDS*: request, and reply before its sub-regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RegionIoFds {
    /// Request: room for the reply's payload. Reply: what it takes.
    pub argsz: u32,
    /// Must be zero.
    pub flags: u32,
    /// The region asked for.
    pub index: u32,
    /// How many sub-regions follow in a reply.
    pub count: u32,
}

/// *VFIO_USER_DEVICE_GET_IRQ_INFO*: request and reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct IrqInfo {
    /// Request: room for the reply's payload. Reply: what it takes.
    pub argsz: u32,
    /// `VFIO_IRQ_INFO_*`.
    pub flags: u32,
    /// The interrupt type asked for.
    pub index: u32,
    /// How many vectors it has.
    pub count: u32,
}

/// *VFIO_USER_DEVICE_SET_IRQS*: request; `count` booleans may follow. The reply has no payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct IrqSet {
    /// Size of this structure and the data after it.
    pub argsz: u32,
    /// One `VFIO_IRQ_SET_DATA_*` and one `VFIO_IRQ_SET_ACTION_*`.
    pub flags: u32,
    /// The interrupt type.
    pub index: u32,
    /// Its first vector that is meant.
    pub start: u32,
    /// How many vectors are meant; 0 for all, see the specification.
    pub count: u32,
}

/// *VFIO_USER_REGION_READ* and *VFIO_USER_REGION_WRITE*: request and reply before their data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RegionAccess {
    /// Where in the region.
    pub offset: u64,
    /// Which region.
    pub region: u32,
    /// How many bytes.
    pub count: u32,
}

/// *VFIO_USER_REGION_WRITE_MULTI*: request before its writes, and reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct WriteMulti {
    /// How many writes follow; in a reply, how many were done.
    pub wr_cnt: u64,
}

/// *Single Device Write Format*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SingleWrite {
    /// Where in which region, and how many bytes of `data`, at most 8.
    pub access: RegionAccess,
    /// What to write.
    pub data: [u8; 8],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_have_the_specified_sizes() {
        assert_eq!(HEADER_SIZE, 16);
        assert_eq!(size_of::<Version>(), 4);
        assert_eq!(size_of::<DmaMap>(), 32);
        assert_eq!(size_of::<DmaUnmap>(), 24);
        assert_eq!(size_of::<DmaAccess>(), 16);
        assert_eq!(size_of::<DeviceInfo>(), 16);
        assert_eq!(size_of::<RegionInfo>(), 32);
        assert_eq!(size_of::<RegionIoFds>(), 16);
        assert_eq!(size_of::<IrqInfo>(), 16);
        assert_eq!(size_of::<IrqSet>(), 20);
        assert_eq!(size_of::<RegionAccess>(), 16);
        assert_eq!(size_of::<SingleWrite>(), 24);
    }

    #[test]
    fn replies_echo_id_and_command() {
        let request = Header {
            message_id: 7,
            command: command::DMA_MAP,
            message_size: 48,
            flags: flags::TYPE_COMMAND,
            error: 99,
        };
        let reply = request.reply(20);
        assert_eq!(
            (reply.message_id, reply.command, reply.message_size),
            (7, 2, 20)
        );
        assert_eq!((reply.flags, reply.error), (1, 0));
        let refused = request.error_reply(Errno::EEXIST);
        assert_eq!(
            (refused.message_size, refused.flags, refused.error),
            (16, 0x21, 17)
        );
    }
}
