// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A BAR of a PCI device, mapped from sysfs, for the programs that measure and test in a guest.

use std::fs::OpenOptions;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

use nix::sys::mman::{mmap, munmap, MapFlags, ProtFlags};

/// Pages of the guest's kernel.
pub const PAGE: usize = 4096;

/// A BAR, all of it. Accesses are volatile, naturally aligned, and one instruction each: the memory is
/// a device's.
pub struct Bar {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the value, and every access to it is volatile.
unsafe impl Send for Bar {}
// SAFETY: as above; two threads may access a device's memory at once, as two CPUs may.
unsafe impl Sync for Bar {}

impl Bar {
    /// Maps `path`, a file such as `/sys/bus/pci/devices/0000:01:00.0/resource2`.
    ///
    /// # Errors
    /// What to tell the user when it cannot be opened or mapped.
    pub fn map(path: &str) -> Result<Self, String> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|error| format!("cannot open {path}: {error}"))?;
        let len = file
            .metadata()
            .map_err(|error| format!("cannot tell the size of {path}: {error}"))?
            .len() as usize;
        let size = NonZeroUsize::new(len).ok_or_else(|| format!("{path} is empty"))?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let base = unsafe { mmap(None, size, protection, MapFlags::MAP_SHARED, &file, 0) }
            .map_err(|error| format!("cannot map {path}: {error}"))?;
        Ok(Self {
            base: base.cast(),
            len,
        })
    }

    /// Its size in bytes.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Refuses a range that is not inside, or not made of 64-bit words.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, offset: usize, len: usize) -> Result<(), String> {
        if offset % 8 != 0 || len % 8 != 0 || len == 0 {
            return Err(format!(
                "{offset:#x} and {len:#x} must be multiples of 8, and the latter not 0"
            ));
        }
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(format!(
                "{len:#x} bytes at {offset:#x} do not lie within the {:#x} bytes of the BAR",
                self.len
            )),
        }
    }

    /// The address of an aligned `T` inside.
    fn at<T>(&self, offset: usize) -> *mut T {
        let size = std::mem::size_of::<T>();
        assert!(offset % size == 0 && offset < self.len && self.len - offset >= size);
        // SAFETY: just checked to lie within the mapping.
        unsafe { self.base.as_ptr().add(offset).cast() }
    }

    /// Reads 32 bits.
    ///
    /// # Panics
    /// Outside of the BAR, or if not aligned; as the others.
    pub fn read32(&self, offset: usize) -> u32 {
        // SAFETY: `at` gives aligned addresses within the live mapping only.
        unsafe { self.at::<u32>(offset).read_volatile() }
    }

    /// Writes 32 bits.
    ///
    /// # Panics
    /// See [`Bar::read32`].
    pub fn write32(&self, offset: usize, value: u32) {
        // SAFETY: as in `read32`, and the mapping is writable.
        unsafe { self.at::<u32>(offset).write_volatile(value) }
    }

    /// Reads 64 bits.
    ///
    /// # Panics
    /// See [`Bar::read32`].
    pub fn read64(&self, offset: usize) -> u64 {
        // SAFETY: as in `read32`.
        unsafe { self.at::<u64>(offset).read_volatile() }
    }

    /// Writes 64 bits.
    ///
    /// # Panics
    /// See [`Bar::read32`].
    pub fn write64(&self, offset: usize, value: u64) {
        // SAFETY: as in `write32`.
        unsafe { self.at::<u64>(offset).write_volatile(value) }
    }

    /// Where the bytes from `offset` on are, for whoever copies them in bulk: `len` of them.
    ///
    /// # Panics
    /// If they do not lie within the BAR.
    pub fn bytes(&self, offset: usize, len: usize) -> NonNull<u8> {
        assert!(offset <= self.len && self.len - offset >= len);
        // SAFETY: just checked to lie within the mapping.
        unsafe { self.base.add(offset) }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nothing borrows from it.
        let _ = unsafe { munmap(self.base.cast(), self.len) };
    }
}
