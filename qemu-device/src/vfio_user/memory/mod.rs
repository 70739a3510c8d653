// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The guest's RAM, as the client made it known (*VFIO_USER_DMA_MAP*, *VFIO_USER_DMA_UNMAP*).
//!
//! QEMU maps and unmaps while the guest runs, several times before it even starts. What has no file
//! behind it (flash, small RAM, BARs) it makes known as well: such maps are remembered, so that they
//! can be unmapped, and cannot be accessed here. The client can be [asked](DmaTable::fetch) to.

mod copy;
mod mapping;
mod requests;
mod share;

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use nix::errno::Errno;
use serde_json::{json, Value};
use thiserror::Error;
use vfio_bindings::bindings::vfio::{VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE};

use super::transport::Sender;
use super::wire;
pub use copy::{Copier, CopyError, Side};
pub(super) use mapping::check_file;
pub use mapping::MapFileError;
use mapping::Mapping;
use requests::Requests;
pub use requests::{RequestError, MAX_REQUEST, MAX_REQUESTS};
pub use share::{Share, MAX_FILES};

/// The most maps one client may have at a time (*max_dma_maps*). QEMU makes a few dozen, or one for each contiguous
/// piece of what a guest behind an IOMMU lets its device have: 16 MiB of single pages.
///
/// Each is a mapping of this process, of which the kernel gives it 65,530 (*vm.max_map_count*). All connections
/// together must leave enough of them for the allocator: see [`MAX_MAPPINGS`].
pub const MAX_DMA_MAPS: usize = 4096;

/// The most mappings that all connections together may come to.
pub const MAX_MAPPINGS: usize = 49_152;

/// The most bytes of one client's files that may be mapped at a time, whatever QEMU's guests have: address space is bounded,
/// and a file that is empty costs its owner nothing.
pub const MAX_MAPPED: u64 = 1 << 40;

/// The granule of maps in bytes (*pgsizes*).
pub const PAGE_SIZE: u64 = 4096;

/// The longest copy that keeps a map from going, in bytes: some 100 us.
const COPY_CHUNK: usize = 1 << 20;

/// Flags of a map that mean something here. [`DMA_MAP_FLAG_MMAP`](wire::DMA_MAP_FLAG_MMAP) says what holds for every
/// descriptor that is sent: it may be mapped.
const KNOWN_FLAGS: u32 = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE | wire::DMA_MAP_FLAG_MMAP;

/// Why a map was refused.
#[derive(Debug, Error)]
pub enum MapError {
    /// Bits beside those of [`wire::DmaMap::flags`].
    #[error(
        "flags {0:#x} are of a newer protocol than this device's, which knows {KNOWN_FLAGS:#x}"
    )]
    Flags(u32),
    /// Address, size and offset are multiples of [`PAGE_SIZE`], and the size is not zero.
    #[error("not made of whole pages of {PAGE_SIZE} bytes")]
    Pages,
    /// The range does not fit into 64 bits.
    #[error("the range wraps")]
    Wraps,
    /// A range can be mapped once.
    #[error("it overlaps the map at {0:#x}")]
    Overlap(u64),
    /// [`MAX_DMA_MAPS`] are there already.
    #[error("there are {MAX_DMA_MAPS} maps already")]
    TooMany,
    /// There would be more than [`MAX_MAPPED`] bytes of address space in use.
    #[error("{mapped:#x} bytes are mapped already, and {MAX_MAPPED:#x} are the most for a client")]
    TooMuch {
        /// How many are.
        mapped: u64,
    },
    /// The file that came along cannot be mapped.
    #[error(transparent)]
    File(#[from] MapFileError),
}

impl MapError {
    /// What the client is told.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Flags(_) | Self::Pages | Self::Wraps => Errno::EINVAL,
            Self::Overlap(_) => Errno::EEXIST,
            Self::TooMany | Self::TooMuch { .. } => Errno::ENOSPC,
            Self::File(error) => error.errno(),
        }
    }
}

/// Why a range could not be unmapped.
#[derive(Debug, Error)]
pub enum UnmapError {
    /// The range is empty, or does not fit into 64 bits.
    #[error("{size:#x} bytes at {address:#x} are no range")]
    Range {
        /// DMA address asked for.
        address: u64,
        /// Length asked for in bytes.
        size: u64,
    },
    /// Maps come and go whole.
    #[error("the map at {0:#x} lies only partly in the range")]
    Cut(u64),
}

/// Why guest memory could not be accessed; `address` is the first that could not be.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum MemoryError {
    /// The client mapped nothing there.
    #[error("nothing is mapped at {address:#x}")]
    Unmapped {
        /// DMA address.
        address: u64,
    },
    /// Something is there, but no memory that can be shared.
    #[error("the map at {address:#x} came without a file")]
    NotShared {
        /// DMA address.
        address: u64,
    },
    /// The client did not allow this direction.
    #[error("the map at {address:#x} does not allow this direction")]
    Forbidden {
        /// DMA address.
        address: u64,
    },
}

/// One map.
struct Map {
    address: u64,
    size: u64,
    readable: bool,
    writable: bool,
    mapping: Option<Mapping>,
    /// What another process needs to map it too, if it may.
    share: Option<Share>,
}

impl Map {
    /// One past its last address; known not to wrap.
    fn end(&self) -> u64 {
        self.address + self.size
    }
}

/// A guest's RAM by DMA address, for the session that changes it and for anyone who copies.
///
/// Accesses run side by side. Taking a map away waits for those under way, which is what the protocol
/// asks of an unmap before it is answered.
#[derive(Default)]
pub struct DmaTable {
    /// Ordered by address, without overlap.
    maps: RwLock<Vec<Map>>,
    requests: Requests,
}

impl DmaTable {
    /// A table without maps.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the map that `request` describes, backed by `file` if the client shares it. Returns whether
    /// [`shares`](Self::shares) has grown.
    ///
    /// # Errors
    /// The request makes no sense, collides with a map, or its file could not be relied on.
    pub fn map(&self, request: &wire::DmaMap, file: Option<OwnedFd>) -> Result<bool, MapError> {
        let &wire::DmaMap {
            flags,
            offset,
            address,
            size,
            ..
        } = request;
        if flags & !KNOWN_FLAGS != 0 {
            return Err(MapError::Flags(flags));
        }
        if size == 0 || [address, size, offset].iter().any(|n| n % PAGE_SIZE != 0) {
            return Err(MapError::Pages);
        }
        let end = address.checked_add(size).ok_or(MapError::Wraps)?;
        let readable = flags & VFIO_DMA_MAP_FLAG_READ != 0;
        let writable = flags & VFIO_DMA_MAP_FLAG_WRITE != 0;

        let mut maps = self.write_maps();
        if maps.len() >= MAX_DMA_MAPS {
            return Err(MapError::TooMany);
        }
        let at = maps.partition_point(|map| map.end() <= address);
        if let Some(next) = maps.get(at).filter(|next| next.address < end) {
            return Err(MapError::Overlap(next.address));
        }
        let (mapping, share) = match file {
            Some(file) if readable || writable => {
                let mapped = mapped(&maps);
                if size > MAX_MAPPED - mapped {
                    return Err(MapError::TooMuch { mapped });
                }
                let mapping = Mapping::new(&file, offset, size, readable, writable)?;
                let others = maps.iter().filter_map(|map| map.share.as_ref());
                let share = (readable && writable)
                    .then(|| Share::new(address, size, file, offset, others))
                    .flatten();
                (Some(mapping), share)
            }
            _ => (None, None),
        };
        let shared = share.is_some();
        maps.insert(
            at,
            Map {
                address,
                size,
                readable,
                writable,
                mapping,
                share,
            },
        );
        Ok(shared)
    }

    /// Takes every map within the `size` bytes at `address` away, once nobody copies any more. Returns whether
    /// [`shares`](Self::shares) had one of them.
    ///
    /// There need not be any, as with the ioctl that the command is named after (`VFIO_IOMMU_UNMAP_DMA`): for a guest
    /// with an IOMMU QEMU unmaps what it never mapped (registers), and all of the address space when the guest lets go
    /// of the device (`vfio_listener_region_del`).
    ///
    /// # Errors
    /// It is no range, or would cut a map in two; nothing is unmapped then.
    pub fn unmap(&self, address: u64, size: u64) -> Result<bool, UnmapError> {
        // A range may end with the address space.
        let last = size
            .checked_sub(1)
            .and_then(|rest| address.checked_add(rest));
        let last = last.ok_or(UnmapError::Range { address, size })?;
        let mut maps = self.write_maps();
        let from = maps.partition_point(|map| map.end() <= address);
        let to = maps.partition_point(|map| map.address <= last);
        let cut = |map: &&Map| map.address < address || map.end() - 1 > last;
        if let Some(map) = maps[from..to].iter().find(cut) {
            return Err(UnmapError::Cut(map.address));
        }
        let gone: Vec<Map> = maps.drain(from..to).collect();
        Ok(gone.iter().any(|map| map.share.is_some()))
    }

    /// Takes every map away. Returns whether [`shares`](Self::shares) had any.
    pub fn unmap_all(&self) -> bool {
        let gone = std::mem::take(&mut *self.write_maps());
        gone.iter().any(|map| map.share.is_some())
    }

    /// The maps that another process could map as well, for reading and writing: by address, without
    /// overlap.
    pub fn shares(&self) -> Vec<Share> {
        let maps = self.read_maps();
        maps.iter().filter_map(|map| map.share.clone()).collect()
    }

    /// Fills `data` from `address` on; the range may span maps that adjoin.
    ///
    /// An access of 1, 2, 4 or 8 naturally aligned bytes is one load. Longer ones are made of the
    /// widest such loads, in ascending order.
    ///
    /// # Errors
    /// Part of the range cannot be read; what lies before it has been.
    pub fn read(&self, address: u64, data: &mut [u8]) -> Result<(), MemoryError> {
        let mut address = address;
        for chunk in data.chunks_mut(COPY_CHUNK) {
            let maps = self.read_maps();
            let mut left = &mut *chunk;
            while !left.is_empty() {
                let (map, offset) = lookup(&maps, address)?;
                let length = left
                    .len()
                    .min(usize::try_from(map.size - offset).unwrap_or(usize::MAX));
                let (part, rest) = left.split_at_mut(length);
                shared(map, map.readable, address)?.load(offset as usize, part);
                address = address.wrapping_add(length as u64);
                left = rest;
            }
        }
        Ok(())
    }

    /// Stores `data` from `address` on; like [`read`](Self::read) otherwise.
    ///
    /// # Errors
    /// Part of the range cannot be written; what lies before it has been.
    pub fn write(&self, address: u64, data: &[u8]) -> Result<(), MemoryError> {
        let mut address = address;
        for chunk in data.chunks(COPY_CHUNK) {
            let maps = self.read_maps();
            let mut left = chunk;
            while !left.is_empty() {
                let (map, offset) = lookup(&maps, address)?;
                let length = left
                    .len()
                    .min(usize::try_from(map.size - offset).unwrap_or(usize::MAX));
                let (part, rest) = left.split_at(length);
                shared(map, map.writable, address)?.store(offset as usize, part);
                address = address.wrapping_add(length as u64);
                left = rest;
            }
        }
        Ok(())
    }

    /// Asks the client to write `data`, at most [`MAX_POST`] bytes, to an address where it has mapped no memory with
    /// us. It has not happened when this returns; a client that finds nothing there either says so to
    /// [`Device::post_refused`](super::Device::post_refused).
    ///
    /// # Errors
    /// It was not sent.
    pub fn post(&self, address: u64, data: &[u8]) -> Result<(), RequestError> {
        self.requests.post(address, data)
    }

    /// Asks the client to read at an address where it has mapped no memory with us, as for [`post`](Self::post), and
    /// waits until it has. To be called by nobody that this client may be waiting for.
    ///
    /// # Errors
    /// Nothing was read.
    pub fn fetch(&self, address: u64, data: &mut [u8]) -> Result<(), RequestError> {
        self.requests.fetch(address, data)
    }

    /// Who is to do what is [asked](Self::post); `None`: nobody.
    pub(super) fn connect(&self, client: Option<Sender>) {
        self.requests.connect(client);
    }

    /// The client has answered a request. Returns the address that it was for, if there was one to be answered.
    pub(super) fn answered(&self, header: &wire::Header, payload: &[u8]) -> Option<u64> {
        self.requests.answered(header, payload)
    }

    /// The maps, for `pair inspect`.
    pub fn inspect(&self) -> Value {
        let maps = self.read_maps();
        let maps = maps.iter().map(|map| {
            json!({
                "address": format!("{:#x}", map.address),
                "size": format!("{:#x}", map.size),
                "readable": map.readable,
                "writable": map.writable,
                "shared": map.mapping.is_some(),
            })
        });
        json!({ "maps": maps.collect::<Vec<_>>() })
    }

    // No code panics while it holds the lock with the table half changed: poison means nothing here.
    fn read_maps(&self) -> RwLockReadGuard<'_, Vec<Map>> {
        self.maps.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_maps(&self) -> RwLockWriteGuard<'_, Vec<Map>> {
        self.maps.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for DmaTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DmaTable({} maps)", self.read_maps().len())
    }
}

/// How many bytes of address space `maps` take: never more than [`MAX_MAPPED`].
fn mapped(maps: &[Map]) -> u64 {
    let mapped = maps.iter().filter(|map| map.mapping.is_some());
    mapped.map(|map| map.size).sum()
}

/// The map that holds `address`, and where in it.
fn lookup(maps: &[Map], address: u64) -> Result<(&Map, u64), MemoryError> {
    let at = maps.partition_point(|map| map.end() <= address);
    match maps.get(at) {
        Some(map) if map.address <= address => Ok((map, address - map.address)),
        _ => Err(MemoryError::Unmapped { address }),
    }
}

/// The memory of `map`, if the direction is allowed and there is some.
fn shared(map: &Map, allowed: bool, address: u64) -> Result<&Mapping, MemoryError> {
    if !allowed {
        return Err(MemoryError::Forbidden { address });
    }
    map.mapping
        .as_ref()
        .ok_or(MemoryError::NotShared { address })
}

#[cfg(test)]
mod tests;
