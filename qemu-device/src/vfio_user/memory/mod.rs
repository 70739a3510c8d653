// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The guest's RAM, as the client made it known (*VFIO_USER_DMA_MAP*, *VFIO_USER_DMA_UNMAP*).
//!
//! QEMU maps and unmaps while the guest runs, several times before it even starts. What has no file
//! behind it (flash, small RAM, BARs) it makes known as well: such maps are remembered, so that they
//! can be unmapped, and cannot be accessed. `DMA_READ` and `DMA_WRITE` to the client are no way round:
//! QEMU serves them under its big lock, which the vCPU that waits for our reply holds.

mod copy;
mod mapping;
mod share;

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use nix::errno::Errno;
use serde_json::{json, Value};
use thiserror::Error;
use vfio_bindings::bindings::vfio::{VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE};

use super::wire;
pub use copy::{Copier, CopyError, Side};
pub use mapping::MapFileError;
use mapping::Mapping;
pub use share::{Share, MAX_FILES};

/// The most maps one client may have at a time (*max_dma_maps*). QEMU makes a few dozen; the kernel
/// allows a process 65,530 mappings.
pub const MAX_DMA_MAPS: usize = 4096;

/// The granule of maps in bytes (*pgsizes*).
pub const PAGE_SIZE: u64 = 4096;

/// The longest copy that keeps a map from going, in bytes: some 100 us.
const COPY_CHUNK: usize = 1 << 20;

/// Why a map was refused.
#[derive(Debug, Error)]
pub enum MapError {
    /// Bits beside readable and writeable.
    #[error("unknown flags {0:#x}")]
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
            Self::TooMany => Errno::ENOSPC,
            Self::File(error) => error.errno(),
        }
    }
}

/// No map with exactly this address and size is there to be unmapped.
#[derive(Debug, Error)]
#[error("no map of {size:#x} bytes at {address:#x}")]
pub struct NotMapped {
    /// DMA address asked for.
    pub address: u64,
    /// Length asked for in bytes.
    pub size: u64,
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
        if flags & !(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE) != 0 {
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

    /// Takes the map of exactly `size` bytes at `address` away, once nobody copies any more. Returns
    /// whether [`shares`](Self::shares) had it.
    ///
    /// # Errors
    /// There is no such map.
    pub fn unmap(&self, address: u64, size: u64) -> Result<bool, NotMapped> {
        let mut maps = self.write_maps();
        match maps.binary_search_by_key(&address, |map| map.address) {
            Ok(at) if maps[at].size == size => Ok(maps.remove(at).share.is_some()),
            _ => Err(NotMapped { address, size }),
        }
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
