// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A shared file in this process's address space, for a guest that uses it at the same time.
//!
//! No reference to that memory is ever made: Rust would assume that nobody else changes it. Every
//! access is a volatile load or store of a width the CPU does in one piece, or a copy by the C library
//! between two such mappings.

use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{fence, Ordering};

use nix::errno::Errno;
use nix::fcntl::{fcntl, FcntlArg, SealFlag};
use nix::sys::mman::{mmap, munmap, MapFlags, ProtFlags};
use nix::sys::stat::fstat;
use nix::sys::statfs::{fstatfs, HUGETLBFS_MAGIC};
use thiserror::Error;

/// Why a file is no good as guest RAM.
#[derive(Debug, Error)]
pub enum MapFileError {
    /// A pipe, socket, device or directory.
    #[error("what came along is not a regular file")]
    NotRegular,
    /// Touching a page that the file has lost is SIGBUS, which would end both guests. QEMU seals
    /// `memory-backend-memfd` unless told otherwise (`seal=off`).
    #[error("the file could shrink: it has no F_SEAL_SHRINK (QEMU: memory-backend-memfd,seal=on)")]
    NotSealed,
    /// Touching a huge page that the host has no more is SIGBUS as well, and the client can punch holes
    /// that lose what was reserved.
    #[error("the file is made of huge pages, which may run out")]
    HugePages,
    /// The map would reach beyond the file.
    #[error("the file ends at {file:#x}, before the map's end {end:#x}")]
    TooShort {
        /// Length of the file in bytes.
        file: u64,
        /// Where the map would end in it.
        end: u64,
    },
    /// The kernel refused.
    #[error("the kernel does not map it")]
    Kernel(#[from] Errno),
}

impl MapFileError {
    /// What the client is told.
    pub fn errno(&self) -> Errno {
        match self {
            Self::NotRegular | Self::TooShort { .. } => Errno::EINVAL,
            Self::NotSealed | Self::HugePages => Errno::EPERM,
            Self::Kernel(errno) => *errno,
        }
    }
}

/// Whether `file` is memory that stays. Only then its size is valid, and only then is it asked about: elsewhere a file
/// system would have to answer, which can be the client's (FUSE).
pub(in crate::vfio_user) fn check_file(file: &OwnedFd) -> Result<(), MapFileError> {
    // What cannot be sealed (EINVAL) is not sealed.
    let seals = fcntl(file, FcntlArg::F_GET_SEALS).unwrap_or(0);
    if seals & SealFlag::F_SEAL_SHRINK.bits() == 0 {
        return Err(match is_regular(file) {
            true => MapFileError::NotSealed,
            false => MapFileError::NotRegular,
        });
    }
    if fstatfs(file)?.filesystem_type() == HUGETLBFS_MAGIC {
        return Err(MapFileError::HugePages);
    }
    Ok(())
}

/// Whether the kernel, which knows without asking its file system, takes `file` for a regular one.
fn is_regular(file: &OwnedFd) -> bool {
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    let mut stat = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: reads an empty string, and stores one struct statx.
    let result = unsafe {
        libc::statx(
            file.as_raw_fd(),
            c"".as_ptr(),
            flags,
            libc::STATX_TYPE,
            stat.as_mut_ptr(),
        )
    };
    // SAFETY: a struct of integers, zero where the kernel has stored nothing.
    let mode = u32::from(unsafe { stat.assume_init() }.stx_mode);
    result == 0 && mode & libc::S_IFMT == libc::S_IFREG
}

/// The widest access, in bytes.
const WORD: usize = size_of::<u64>();

/// `len` bytes of a file that cannot shrink.
pub(super) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}
// SAFETY: nothing is reached but through `load`, `store` and `copy`, whose accesses are as good beside
// another thread's as they are beside the guest's.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `size` bytes of `file`, which has been [checked](check_file), from `offset`; the descriptor is not needed for that afterwards.
    pub fn new(
        file: &OwnedFd,
        offset: u64,
        size: u64,
        readable: bool,
        writable: bool,
    ) -> Result<Self, MapFileError> {
        check_file(file)?;
        let end = offset.checked_add(size).ok_or(Errno::EOVERFLOW)?;
        let file_size = u64::try_from(fstat(file)?.st_size).unwrap_or(0);
        if end > file_size {
            return Err(MapFileError::TooShort {
                file: file_size,
                end,
            });
        }

        let len = usize::try_from(size).map_err(|_| Errno::EOVERFLOW)?;
        let mut protection = ProtFlags::PROT_NONE;
        protection.set(ProtFlags::PROT_READ, readable);
        protection.set(ProtFlags::PROT_WRITE, writable);
        // SAFETY: a new mapping at an address of the kernel's choice replaces nothing of ours.
        let base = unsafe {
            mmap(
                None,
                NonZeroUsize::new(len).ok_or(Errno::EINVAL)?,
                protection,
                MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE,
                file,
                i64::try_from(offset).map_err(|_| Errno::EOVERFLOW)?,
            )?
        };
        Ok(Self {
            base: base.cast(),
            len,
        })
    }

    /// Where `len` bytes at `offset` are. The caller has compared with the map's size; this is the one
    /// check that memory safety stands on, so it is made again.
    fn at(&self, offset: usize, len: usize) -> *mut u8 {
        assert!(
            offset <= self.len && len <= self.len - offset,
            "access beyond the mapping"
        );
        // SAFETY: within the mapping, as just checked.
        unsafe { self.base.as_ptr().add(offset) }
    }

    /// Copies from `offset` into `data`.
    pub fn load(&self, offset: usize, data: &mut [u8]) {
        let from = self.at(offset, data.len());
        let mut done = 0;
        while done < data.len() {
            // SAFETY: `done` is below the length that `at` checked.
            let source = unsafe { from.add(done) };
            let left = &mut data[done..];
            match natural_width(source, left.len()) {
                WORD => {
                    for (index, part) in left.chunks_exact_mut(WORD).enumerate() {
                        // SAFETY: aligned, and whole words of `left` are left in the mapping, too.
                        let word = unsafe { source.cast::<u64>().add(index).read_volatile() };
                        part.copy_from_slice(&word.to_ne_bytes());
                    }
                    done += left.len() / WORD * WORD;
                }
                4 => {
                    // SAFETY: aligned, and 4 bytes are left.
                    let value = unsafe { source.cast::<u32>().read_volatile() };
                    left[..4].copy_from_slice(&value.to_ne_bytes());
                    done += 4;
                }
                2 => {
                    // SAFETY: aligned, and 2 bytes are left.
                    let value = unsafe { source.cast::<u16>().read_volatile() };
                    left[..2].copy_from_slice(&value.to_ne_bytes());
                    done += 2;
                }
                _ => {
                    // SAFETY: a byte is left.
                    left[0] = unsafe { source.read_volatile() };
                    done += 1;
                }
            }
        }
    }

    /// Copies `data` to `offset`.
    pub fn store(&self, offset: usize, data: &[u8]) {
        let to = self.at(offset, data.len());
        let mut done = 0;
        while done < data.len() {
            // SAFETY: `done` is below the length that `at` checked.
            let target = unsafe { to.add(done) };
            let left = &data[done..];
            match natural_width(target, left.len()) {
                WORD => {
                    for (index, part) in left.chunks_exact(WORD).enumerate() {
                        let word = u64::from_ne_bytes(part.try_into().unwrap_or_default());
                        // SAFETY: aligned, and whole words of `left` are left in the mapping, too.
                        unsafe { target.cast::<u64>().add(index).write_volatile(word) };
                    }
                    done += left.len() / WORD * WORD;
                }
                4 => {
                    let value = u32::from_ne_bytes([left[0], left[1], left[2], left[3]]);
                    // SAFETY: aligned, and 4 bytes are left.
                    unsafe { target.cast::<u32>().write_volatile(value) };
                    done += 4;
                }
                2 => {
                    let value = u16::from_ne_bytes([left[0], left[1]]);
                    // SAFETY: aligned, and 2 bytes are left.
                    unsafe { target.cast::<u16>().write_volatile(value) };
                    done += 2;
                }
                _ => {
                    // SAFETY: a byte is left.
                    unsafe { target.write_volatile(left[0]) };
                    done += 1;
                }
            }
        }
    }

    /// Copies `len` bytes from `offset` to `target_offset` of `target`, which may be the same file. A word
    /// of up to 8 bytes that is naturally aligned on both sides does not tear.
    pub fn copy(&self, offset: usize, target: &Self, target_offset: usize, len: usize) {
        let from = self.at(offset, len);
        let to = target.at(target_offset, len);
        // SAFETY: both ranges lie in mappings that live as long as the borrows, as `at` has checked, and
        // may overlap. No Rust reference to either exists, so that the guests change them at the same time
        // breaks no promise to the compiler: the copy is done by code that it does not see.
        unsafe { copy_opaquely(to, from, len) };
        // As on PCIe, a write is not seen before those that went before it.
        fence(Ordering::Release);
    }
}

/// memmove(3) where the compiler cannot look: it must neither reason about memory that the guests change
/// nor replace the copy by one of its own.
///
/// # Safety
/// As memmove(3): `len` bytes can be read at `from` and written at `to`.
#[inline(never)]
unsafe fn copy_opaquely(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { libc::memmove(to.cast(), from.cast(), len) };
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: ours, mapped in `new`, and nobody can reach it any more.
        if let Err(errno) = unsafe { munmap(self.base.cast(), self.len) } {
            log::error!("munmap: {errno}");
        }
    }
}

/// The widest naturally aligned access at `pointer` with `left` bytes to go.
fn natural_width(pointer: *const u8, left: usize) -> usize {
    let aligned = 1 << pointer.addr().trailing_zeros().min(WORD.trailing_zeros());
    let fitting = 1 << left.ilog2().min(WORD.trailing_zeros());
    usize::min(aligned, fitting)
}
