// SPDX-License-Identifier: GPL-2.0-or-later
//! How the device closes windows to writes when this library cannot: a userfaultfd ([`abi::windows::Fence`]).
//!
//! The device does not wait for ever for a QEMU that is stopped. When it goes on, the peer takes its memory for closed; a
//! vCPU that wakes up before this library's thread would still write there. So each window is registered with a
//! userfaultfd that the device holds as well: it protects the window, in this process, without this process. Whoever
//! writes then sleeps in the kernel until the window is void.

use crate::range::Range;
use nix::errno::Errno;
use nix::libc::{c_int, syscall, SYS_userfaultfd, O_CLOEXEC, O_NONBLOCK};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Faults of system calls are not stopped by this: an unprivileged process may not ask for those
/// (`UFFD_USER_MODE_ONLY`).
const USER_MODE_ONLY: c_int = 1;
/// `UFFD_API`, the interface's version and the ioctls' type.
const API: u8 = 0xaa;
/// `UFFD_FEATURE_PAGEFAULT_FLAG_WP` and `UFFD_FEATURE_WP_HUGETLBFS_SHMEM` (Linux 5.19).
const FEATURES: u64 = 1 << 0 | 1 << 12;
/// `UFFDIO_REGISTER_MODE_WP`.
const WRITE_PROTECT: u64 = 1 << 1;

/// `struct uffdio_api`.
#[repr(C)]
struct Handshake {
    api: u64,
    features: u64,
    ioctls: u64,
}

/// `struct uffdio_range`.
#[repr(C)]
struct Place {
    start: u64,
    len: u64,
}

/// `struct uffdio_register`.
#[repr(C)]
struct Register {
    range: Place,
    mode: u64,
    ioctls: u64,
}

nix::ioctl_readwrite!(uffdio_api, API, 0x3f, Handshake);
nix::ioctl_readwrite!(uffdio_register, API, 0x00, Register);
nix::ioctl_read!(uffdio_wake, API, 0x02, Place);

/// A userfaultfd of this process.
pub struct Fence(OwnedFd);

impl Fence {
    /// A new one.
    ///
    /// # Errors
    /// The kernel has none that can protect shared memory, or forbids it.
    pub fn open() -> io::Result<Self> {
        let flags = O_CLOEXEC | O_NONBLOCK | USER_MODE_ONLY;
        // SAFETY: userfaultfd(2) takes flags only.
        let fd = unsafe { syscall(SYS_userfaultfd, flags) };
        let fd = Errno::result(fd)?;
        // SAFETY: a descriptor that has just been made for us.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as c_int) };
        let mut handshake = Handshake {
            api: API.into(),
            features: FEATURES,
            ioctls: 0,
        };
        // SAFETY: the structure is the one that the request takes.
        unsafe { uffdio_api(fd.as_raw_fd(), &mut handshake) }?;
        Ok(Self(fd))
    }

    /// Lets the device protect the window that was just mapped at `address`.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn guard(&self, address: u64, range: Range) -> io::Result<()> {
        let mut register = Register {
            range: Place {
                start: address,
                len: range.len(),
            },
            mode: WRITE_PROTECT,
            ioctls: 0,
        };
        // SAFETY: the structure is the one that the request takes; the pages are the arena's.
        unsafe { uffdio_register(self.0.as_raw_fd(), &mut register) }?;
        Ok(())
    }

    /// Whoever sleeps there may try again: something else is mapped at `address` now.
    pub fn wake(&self, address: u64, range: Range) {
        let mut place = Place {
            start: address,
            len: range.len(),
        };
        // SAFETY: the structure is the one that the request takes. It fails for ranges that are none only.
        let _ = unsafe { uffdio_wake(self.0.as_raw_fd(), &mut place) };
    }
}

impl AsFd for Fence {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
