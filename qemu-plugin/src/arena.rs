// SPDX-License-Identifier: GPL-2.0-or-later
//! The address space in QEMU where windows are: each page of each BAR has its own place in it for good.
//!
//! That is why nothing has to be freed or waited for. QEMU's memory regions and its vCPUs' translations
//! refer to places in here; a place shows the peer's RAM, or void, and changes from one to the other in
//! a single mmap(2). A stale translation of a vCPU thus always finds what its BAR has *now*.

use crate::fence::Fence;
use crate::range::{Range, BARS, REACH};
use crate::report::report;
use nix::fcntl::{fcntl, FcntlArg, SealFlag};
use nix::sys::memfd::{memfd_create, MFdFlags};
use nix::sys::mman::{mmap, mmap_anonymous, MapFlags, ProtFlags};
use std::ffi::c_void;
use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;

/// Bytes of the arena: [`REACH`] for each BAR. Address space, not memory.
pub const SIZE: u64 = BARS as u64 * REACH;
/// Bytes of the file behind void places, which shows there again and again.
const VOID_SIZE: u64 = 2 << 20;

/// The reservation. It stays until the process ends.
pub struct Arena {
    /// Where it begins; an address, since nothing is ever read or written through it here.
    base: usize,
    /// All ones.
    void: File,
    /// Lets the device close windows, where the kernel can do that.
    fence: Option<Fence>,
}

impl Arena {
    /// Reserves the address space. Every place is inaccessible until it was mapped or voided once.
    ///
    /// # Errors
    /// There is no room for it, or no memory for the void.
    pub fn reserve() -> io::Result<Self> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let mut void = File::from(memfd_create(c"spider-windows-void", flags)?);
        void.write_all(&vec![0xff; usize(VOID_SIZE)?])?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
        fcntl(&void, FcntlArg::F_ADD_SEALS(seals))?;
        let length = NonZeroUsize::new(usize(SIZE)?).ok_or(io::ErrorKind::InvalidInput)?;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let base = unsafe { mmap_anonymous(None, length, ProtFlags::PROT_NONE, flags) }?;
        let base = base.as_ptr() as usize;
        let fence = Fence::open();
        let fence = fence.inspect_err(|error| {
            report(format_args!(
                "no userfaultfd ({error}): if this QEMU is stopped, it may still write to windows that are closed meanwhile"
            ));
        });
        let fence = fence.ok();
        Ok(Self { base, void, fence })
    }

    /// What the device needs to close windows.
    pub fn fence(&self) -> Option<(BorrowedFd<'_>, abi::windows::Fence)> {
        let base = self.base as u64;
        let fence = self.fence.as_ref()?;
        Some((fence.as_fd(), abi::windows::Fence { base }))
    }

    fn address(&self, range: Range) -> u64 {
        self.base as u64 + Self::offset(range)
    }

    /// Where it begins, for QEMU to make a region of [`SIZE`] bytes of.
    pub fn base(&self) -> *mut c_void {
        self.base as *mut c_void
    }

    /// The place of a page of a BAR, in bytes from [`Arena::base`].
    pub fn offset(range: Range) -> u64 {
        u64::from(range.bar()) * REACH + range.start()
    }

    /// Shows the bytes of `memory` from `file_offset` on at `range`. A guest that uses the place at this
    /// moment finds either what was there or what is there now.
    ///
    /// # Errors
    /// mmap(2) fails; the place may then be inaccessible, until it is voided.
    pub fn map(&self, range: Range, memory: BorrowedFd, file_offset: u64) -> io::Result<()> {
        let at = Self::offset(range);
        self.place(at, range.len(), MapFlags::MAP_SHARED, memory, file_offset)?;
        if let Some(fence) = &self.fence {
            fence.guard(self.address(range), range)?;
            fence.wake(self.address(range), range);
        }
        Ok(())
    }

    /// Lets `range` read as all ones. What a guest writes there stays in its own pages until the next
    /// call, and reaches nothing.
    ///
    /// # Errors
    /// mmap(2) fails.
    pub fn void(&self, range: Range) -> io::Result<()> {
        // Pages that are only read are shared by all; one that is written to becomes a page of its own.
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        let (mut at, mut left) = (Self::offset(range), range.len());
        while left > 0 {
            let part = left.min(VOID_SIZE);
            self.place(at, part, flags, self.void.as_fd(), 0)?;
            at += part;
            left -= part;
        }
        if let Some(fence) = &self.fence {
            fence.wake(self.address(range), range);
        }
        Ok(())
    }

    /// Replaces what is `at` in the arena.
    fn place(
        &self,
        at: u64,
        length: u64,
        flags: MapFlags,
        file: BorrowedFd,
        file_offset: u64,
    ) -> io::Result<()> {
        let outside = || io::Error::from(io::ErrorKind::InvalidInput);
        let end = at.checked_add(length).filter(|&end| end <= SIZE);
        end.ok_or_else(outside)?;
        let address = NonZeroUsize::new(self.base + usize(at)?).ok_or_else(outside)?;
        let length = NonZeroUsize::new(usize(length)?).ok_or_else(outside)?;
        let file_offset = libc_offset(file_offset)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = flags | MapFlags::MAP_FIXED;
        // SAFETY: `at..at + length` lies within the reservation, as was just checked. It belongs to this
        // arena until the process ends, no Rust reference points into it, and QEMU takes it for device
        // memory, which changes by itself.
        let placed: Result<NonNull<c_void>, _> =
            unsafe { mmap(Some(address), length, protection, flags, file, file_offset) };
        placed?;
        Ok(())
    }
}

fn usize(value: u64) -> io::Result<usize> {
    usize::try_from(value).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn libc_offset(value: u64) -> io::Result<i64> {
    i64::try_from(value).map_err(|_| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::windows::PAGE_SIZE;
    use std::os::unix::fs::FileExt;

    fn peer(pages: u64) -> File {
        let file = File::from(memfd_create(c"peer", MFdFlags::MFD_CLOEXEC).unwrap());
        file.set_len(pages * PAGE_SIZE).unwrap();
        for page in 0..pages {
            let byte = [page as u8 + 1];
            file.write_all_at(&byte, page * PAGE_SIZE).unwrap();
        }
        file
    }

    /// First byte of the page at `offset` of the BAR.
    fn look(arena: &Arena, bar: u32, offset: u64) -> u8 {
        let page = Arena::offset(Range::new(bar, offset, PAGE_SIZE).unwrap());
        // SAFETY: the tests look only where they mapped or voided.
        unsafe { arena.base().cast::<u8>().add(page as usize).read_volatile() }
    }

    fn put(arena: &Arena, bar: u32, offset: u64, byte: u8) {
        let page = Arena::offset(Range::new(bar, offset, PAGE_SIZE).unwrap());
        // SAFETY: as above.
        unsafe {
            arena
                .base()
                .cast::<u8>()
                .add(page as usize)
                .write_volatile(byte)
        }
    }

    #[test]
    fn places_follow_the_last_call() {
        let arena = Arena::reserve().unwrap();
        let file = peer(4);
        let whole = Range::new(2, 0, 3 * PAGE_SIZE).unwrap();
        arena.map(whole, file.as_fd(), PAGE_SIZE).unwrap();
        assert_eq!(
            [0, 1, 2].map(|page| look(&arena, 2, page * PAGE_SIZE)),
            [2, 3, 4]
        );
        put(&arena, 2, PAGE_SIZE, 77);
        let mut byte = [0];
        file.read_exact_at(&mut byte, 2 * PAGE_SIZE).unwrap();
        assert_eq!(byte, [77], "what the guest writes is in the peer's RAM");

        let middle = Range::new(2, PAGE_SIZE, PAGE_SIZE).unwrap();
        arena.void(middle).unwrap();
        assert_eq!(
            [0, 1, 2].map(|page| look(&arena, 2, page * PAGE_SIZE)),
            [2, 0xff, 4]
        );
        put(&arena, 2, PAGE_SIZE, 5);
        file.read_exact_at(&mut byte, 2 * PAGE_SIZE).unwrap();
        assert_eq!(byte, [77], "what the guest writes to the void is nowhere");
        arena.void(middle).unwrap();
        assert_eq!(look(&arena, 2, PAGE_SIZE), 0xff);
    }

    #[test]
    fn the_void_is_wider_than_its_file() {
        let arena = Arena::reserve().unwrap();
        let range = Range::new(
            5,
            REACH - 2 * VOID_SIZE - PAGE_SIZE,
            2 * VOID_SIZE + PAGE_SIZE,
        );
        arena.void(range.unwrap()).unwrap();
        for offset in [
            REACH - 2 * VOID_SIZE - PAGE_SIZE,
            REACH - VOID_SIZE,
            REACH - PAGE_SIZE,
        ] {
            assert_eq!(look(&arena, 5, offset), 0xff);
        }
    }

    #[test]
    fn bars_do_not_share_places() {
        let arena = Arena::reserve().unwrap();
        let file = peer(2);
        for (bar, page) in [(0, 0), (1, 1)] {
            let range = Range::new(bar, 0, PAGE_SIZE).unwrap();
            arena.map(range, file.as_fd(), page * PAGE_SIZE).unwrap();
        }
        assert_eq!([look(&arena, 0, 0), look(&arena, 1, 0)], [1, 2]);
    }

    #[test]
    fn retargeting_leaves_no_mappings_behind() {
        let arena = Arena::reserve().unwrap();
        let file = peer(64);
        let range =
            |page: u64, pages: u64| Range::new(0, page * PAGE_SIZE, pages * PAGE_SIZE).unwrap();
        let mappings = || {
            std::fs::read_to_string("/proc/self/maps")
                .unwrap()
                .lines()
                .count()
        };
        arena.map(range(0, 32), file.as_fd(), 0).unwrap();
        let before = mappings();
        for turn in 0..10_000u64 {
            arena.void(range(turn % 16, 16)).unwrap();
            arena
                .map(range(0, 32), file.as_fd(), turn % 32 * PAGE_SIZE)
                .unwrap();
            assert_eq!(look(&arena, 0, 0), (turn % 32) as u8 + 1);
        }
        // Other tests of this process map things as well.
        assert!(
            mappings() < before + 100,
            "{before} mappings, now {}",
            mappings()
        );
    }
}
