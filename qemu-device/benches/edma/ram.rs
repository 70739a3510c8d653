// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A guest's RAM as its QEMU has it: a sealed memfd, mapped here and given to the device.

use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;

use nix::fcntl::{fcntl, FcntlArg, SealFlag};
use nix::sys::memfd::{memfd_create, MFdFlags};
use nix::sys::mman::{mmap, MapFlags, ProtFlags};
use nix::unistd::ftruncate;

/// RAM that stays mapped until the program ends.
pub struct Ram {
    /// Its address on the guest's bus.
    pub address: u64,
    /// Its bytes.
    pub size: usize,
    file: OwnedFd,
    base: NonNull<u8>,
}

impl Ram {
    /// `size` bytes at `address`, every page of it there.
    pub fn new(address: u64, size: usize) -> Self {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = memfd_create(c"ram", flags).expect("a memfd");
        ftruncate(&file, size as i64).expect("room in memory");
        fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)).expect("a seal");
        let length = NonZeroUsize::new(size).expect("some RAM");
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE;
        // SAFETY: a new mapping at an address of the kernel's choice replaces nothing of ours.
        let base = unsafe { mmap(None, length, protection, flags, &file, 0) }.expect("a mapping");
        Self {
            address,
            size,
            file,
            base: base.cast(),
        }
    }

    /// The descriptor that a QEMU would send along.
    pub fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Where `len` bytes at `offset` are.
    fn at(&self, offset: usize, len: usize) -> *mut u8 {
        assert!(offset <= self.size && len <= self.size - offset);
        // SAFETY: within the mapping, as just checked.
        unsafe { self.base.as_ptr().add(offset) }
    }

    /// Stores `data` at `offset`.
    pub fn write(&self, offset: usize, data: &[u8]) {
        // SAFETY: both ranges are valid, and the device does not use this one at present.
        unsafe {
            self.at(offset, data.len())
                .copy_from_nonoverlapping(data.as_ptr(), data.len());
        }
    }

    /// The bytes at `offset`.
    pub fn read(&self, offset: usize, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        // SAFETY: both ranges are valid, and the device does not use this one at present.
        unsafe {
            data.as_mut_ptr()
                .copy_from_nonoverlapping(self.at(offset, len), len)
        };
        data
    }

    /// Copies `len` bytes at `offset` to the same offset of `other`: the memcpy(3) that all is
    /// compared with.
    pub fn copy_to(&self, other: &Self, offset: usize, len: usize) {
        let (from, to) = (self.at(offset, len), other.at(offset, len));
        // SAFETY: two mappings, both ranges within them, and the device uses neither at present.
        unsafe { to.copy_from_nonoverlapping(from, len) };
    }
}
