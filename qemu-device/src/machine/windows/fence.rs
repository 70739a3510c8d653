// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Closes windows to writes in a QEMU that does not answer, by its own userfaultfd ([`layout::Fence`]).

use std::os::fd::{AsRawFd, OwnedFd};

use abi::windows::{self as layout, PAGE_SIZE, REACH};
use nix::errno::Errno;

use crate::fabric::windows::Window;

/// The type of a userfaultfd's ioctls (`UFFDIO`).
const UFFDIO: u8 = 0xaa;
/// `UFFDIO_WRITEPROTECT_MODE_WP`.
const PROTECT: u64 = 1 << 0;
/// What /proc shows a userfaultfd as: nobody else's ioctl is called.
const KIND: &str = "anon_inode:[userfaultfd]";

/// `struct uffdio_writeprotect`.
#[repr(C)]
struct WriteProtect {
    start: u64,
    len: u64,
    mode: u64,
}

nix::ioctl_readwrite!(uffdio_writeprotect, UFFDIO, 0x06, WriteProtect);

/// A userfaultfd of a library's process.
pub struct Fence {
    fd: OwnedFd,
    base: u64,
}

impl Fence {
    /// What the library has sent; `None` if that is no userfaultfd.
    pub fn new(message: layout::Fence, fd: OwnedFd) -> Option<Self> {
        let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        let base = message.base;
        link.is_ok_and(|link| link.as_os_str() == KIND)
            .then_some(Self { fd, base })
    }

    /// Whoever writes there from now on sleeps until the library has voided the window. Never waits for it.
    pub fn close<'a>(&self, windows: impl IntoIterator<Item = &'a Window>) {
        for window in windows {
            let start = u64::from(window.bar) * REACH + window.offset;
            if let Some(start) = self.base.checked_add(start) {
                self.protect(start, window.len);
            }
        }
    }

    /// Where the library has voided a part already, the kernel refuses the whole: each half apart then.
    fn protect(&self, start: u64, len: u64) {
        // Another thread of that process is about to change its mappings: soon over.
        const TRIES: u32 = 100;
        for _ in 0..TRIES {
            let mut protect = WriteProtect {
                start,
                len,
                mode: PROTECT,
            };
            // SAFETY: the structure is the one that the request takes, and it changes another process's pages.
            match unsafe { uffdio_writeprotect(self.fd.as_raw_fd(), &mut protect) } {
                Err(Errno::EAGAIN | Errno::EINTR) => std::thread::yield_now(),
                Err(Errno::ENOENT) if len > PAGE_SIZE => {
                    let half = (len / 2).next_multiple_of(PAGE_SIZE);
                    self.protect(start, half);
                    return self.protect(start + half, len - half);
                }
                // Not a window any more, or not a process.
                Ok(_) | Err(_) => return,
            }
        }
    }
}
