// SPDX-License-Identifier: GPL-2.0-or-later
//! What the device says ([`abi::windows`]), checked before anything follows from it.
//!
//! The device is the project's own process, and yet nothing that it says may bring QEMU down: a file
//! that could shrink or that is shorter than it says is SIGBUS, a window elsewhere is somebody's memory.

use crate::range::{join, subtract, Range};
use abi::windows::{kind, kind_of, Map, SetHeader, Unmap, Window, MAX_MAPS, PAGE_SIZE};
use nix::fcntl::{fcntl, FcntlArg, SealFlag};
use nix::sys::stat::fstat;
use nix::sys::statfs::{fstatfs, TMPFS_MAGIC};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Why the connection cannot go on.
pub type Malformed = &'static str;

/// RAM of the peer guest: a memfd, or a part of one.
struct Memory {
    file: OwnedFd,
    /// Where it starts in the file.
    start: u64,
    size: u64,
}

impl Memory {
    /// Checks that the file is of a kind whose pages cannot go away, and is as long as it must be.
    fn new(map: Map, file: OwnedFd) -> Result<Self, Malformed> {
        let Map {
            size, fd_offset, ..
        } = map;
        if size == 0 || size % PAGE_SIZE != 0 || fd_offset % PAGE_SIZE != 0 {
            return Err("a map that is not whole pages");
        }
        let end = fd_offset
            .checked_add(size)
            .ok_or("a map beyond the end of numbers")?;
        // Pages of hugetlbfs can run out, which is SIGBUS as well.
        if fstatfs(&file).map(|file| file.filesystem_type()) != Ok(TMPFS_MAGIC) {
            return Err("a map whose file is no memfd of ordinary pages");
        }
        let seals = fcntl(&file, FcntlArg::F_GET_SEALS).unwrap_or(0);
        if seals & SealFlag::F_SEAL_SHRINK.bits() == 0 {
            return Err("a map whose file may shrink");
        }
        let length = fstat(&file).map_or(0, |status| status.st_size);
        if u64::try_from(length).unwrap_or(0) < end {
            return Err("a map beyond the end of its file");
        }
        Ok(Self {
            file,
            start: fd_offset,
            size,
        })
    }
}

/// A window that can be laid: pages of a BAR, and the map's bytes behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The pages.
    pub range: Range,
    map: u32,
    map_offset: u64,
}

/// A set, and how it differs from the one before.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// Its number, for the answer.
    pub seq: u64,
    /// What was a window and is none now.
    pub void: Vec<Range>,
    /// Windows that are new, or lead elsewhere.
    pub map: Vec<Placed>,
    /// Everything that is a window now.
    pub wanted: Vec<Range>,
}

/// What one connection has said so far.
#[derive(Default)]
pub struct State {
    maps: BTreeMap<u32, Memory>,
    placed: Vec<Placed>,
    seq: u64,
}

impl State {
    /// Takes one message and the descriptors that came along. A set is a [`Change`], which the caller
    /// must carry out.
    ///
    /// # Errors
    /// The message is not one of the protocol's, or not now. Nothing more may be taken then.
    pub fn receive(
        &mut self,
        message: &[u8],
        files: Vec<OwnedFd>,
    ) -> Result<Option<Change>, Malformed> {
        let unexpected = "a message of no known form";
        let mut files = files.into_iter();
        let change = match kind_of(message) {
            Some(kind::MAP) => {
                let map = Map::from_bytes(message).ok_or(unexpected)?;
                let file = files.next().ok_or("a map without a file")?;
                if self.maps.len() >= MAX_MAPS {
                    return Err("too many maps");
                }
                if self.maps.contains_key(&map.id) {
                    return Err("a map that is there already");
                }
                self.maps.insert(map.id, Memory::new(map, file)?);
                None
            }
            Some(kind::UNMAP) => {
                let Unmap { id } = Unmap::from_bytes(message).ok_or(unexpected)?;
                if self.placed.iter().any(|placed| placed.map == id) {
                    return Err("a map taken away below a window");
                }
                self.maps
                    .remove(&id)
                    .ok_or("a map taken away that is not there")?;
                None
            }
            Some(kind::WINDOWS) => {
                let head = SetHeader::from_bytes(message).ok_or(unexpected)?;
                if self.seq.checked_add(1) != Some(head.seq) {
                    return Err("a set out of order");
                }
                let placed = self.windows(&message[SetHeader::SIZE..])?;
                Some(self.follow(head.seq, placed))
            }
            _ => return Err(unexpected),
        };
        match files.next() {
            Some(_) => Err("a file too many"),
            None => Ok(change),
        }
    }

    /// The memory behind a window of the last set: a file, and where the window starts in it.
    pub fn memory(&self, placed: &Placed) -> Option<(BorrowedFd<'_>, u64)> {
        let memory = self.maps.get(&placed.map)?;
        Some((memory.file.as_fd(), memory.start + placed.map_offset))
    }

    /// All windows of the last set.
    pub fn windows_now(&self) -> Vec<Range> {
        join(self.placed.iter().map(|placed| placed.range))
    }

    /// Checks each window of a set.
    fn windows(&self, bytes: &[u8]) -> Result<Vec<Placed>, Malformed> {
        let mut placed: Vec<Placed> = Vec::new();
        let mut last: Option<Range> = None;
        for bytes in bytes.chunks_exact(Window::SIZE) {
            let window = Window::from_bytes(bytes).ok_or("a window of no known form")?;
            let Window {
                bar,
                offset,
                len,
                map,
                map_offset,
                flags,
            } = window;
            let range =
                Range::new(bar, offset, len).ok_or("a window that is not pages of a BAR")?;
            if last.is_some_and(|last| !last.precedes(range)) {
                return Err("windows that overlap or are not sorted");
            }
            last = Some(range);
            let memory = self.maps.get(&map).ok_or("a window of no map")?;
            let end = map_offset.checked_add(len);
            if map_offset % PAGE_SIZE != 0 || end.is_none_or(|end| end > memory.size) {
                return Err("a window beyond its map");
            }
            // What else there might be one day (memory that may only be read) keeps trapping.
            if flags == Window::WRITABLE {
                placed.push(Placed {
                    range,
                    map,
                    map_offset,
                });
            }
        }
        Ok(placed)
    }

    /// Makes `placed` the set that holds.
    fn follow(&mut self, seq: u64, placed: Vec<Placed>) -> Change {
        let before = self.windows_now();
        let wanted = join(placed.iter().map(|placed| placed.range));
        let new = placed.iter().filter(|new| !self.placed.contains(new));
        let change = Change {
            seq,
            void: subtract(&before, &wanted),
            map: new.copied().collect(),
            wanted,
        };
        self.seq = seq;
        self.placed = placed;
        change
    }
}

#[cfg(test)]
mod tests;
