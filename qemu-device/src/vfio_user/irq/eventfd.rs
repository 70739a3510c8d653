// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An eventfd of the client's, and signalling it without ever waiting.
//!
//! write(2) waits while the count is full, unless the file has O_NONBLOCK. File and flag are the client's too: it may fill
//! the count and clear the flag between any look of ours and the write. What the kernel itself signals never waits,
//! and a full count stays full. So the kernel is asked to: an asynchronous read that completes at once signals the
//! eventfd named with it (io_submit(2), `IOCB_FLAG_RESFD`).

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::OnceLock;

use nix::errno::Errno;
use thiserror::Error;

/// The descriptor sent for an interrupt is none that can signal one.
#[derive(Debug, Error)]
#[error("a file descriptor that is no eventfd")]
pub struct NotAnEventFd;

/// Whether `fd` is an eventfd. Asks the kernel alone, no file system.
pub(in crate::vfio_user) fn is_eventfd(fd: &OwnedFd) -> bool {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    std::fs::read_link(link).is_ok_and(|to| to.as_os_str() == "anon_inode:[eventfd]")
}

/// An eventfd of the client's.
pub(super) struct EventFd(OwnedFd);

impl EventFd {
    /// Takes `fd` over.
    pub fn new(fd: OwnedFd) -> Result<Self, NotAnEventFd> {
        if is_eventfd(&fd) {
            Ok(Self(fd))
        } else {
            Err(NotAnEventFd)
        }
    }

    /// Adds one to the count; one that is full already says what there is to say. Returns whether it was done, which
    /// fails where [`prepare`] does.
    pub fn signal(&self) -> bool {
        completions().is_ok_and(|completions| completions.signal(self).is_ok())
    }
}

/// Gets ready to signal eventfds.
///
/// # Errors
/// The kernel has no asynchronous I/O, or has no more room for it (`fs.aio-max-nr`): no interrupt would arrive.
pub fn prepare() -> io::Result<()> {
    completions().map(drop).map_err(io::Error::from)
}

fn completions() -> Result<&'static Completions, Errno> {
    static COMPLETIONS: OnceLock<Result<Completions, Errno>> = OnceLock::new();
    COMPLETIONS
        .get_or_init(Completions::new)
        .as_ref()
        .map_err(|errno| *errno)
}

/// Reads that the kernel may be busy with at a time: one for each thread that signals.
const CONCURRENT: libc::c_long = 256;

/// `IOCB_CMD_PREAD` and `IOCB_FLAG_RESFD` of `linux/aio_abi.h`.
const PREAD: u16 = 0;
const RESFD: u32 = 1;

/// A context of asynchronous I/O, and a file of which every read is complete at once.
struct Completions {
    context: libc::c_ulong,
    null: File,
}

impl Completions {
    fn new() -> Result<Self, Errno> {
        let null = File::open("/dev/null")
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
        let mut context: libc::c_ulong = 0;
        // SAFETY: stores one context.
        let result = unsafe { libc::syscall(libc::SYS_io_setup, CONCURRENT, &raw mut context) };
        Errno::result(result)?;
        Ok(Self { context, null })
    }

    fn signal(&self, eventfd: &EventFd) -> Result<(), Errno> {
        const NONE: libc::c_long = 0;
        const ONE: libc::c_long = 1;
        // SAFETY: a struct of integers may be all zeroes.
        let mut read: libc::iocb = unsafe { mem::zeroed() };
        read.aio_lio_opcode = PREAD;
        read.aio_fildes = self.null.as_raw_fd() as u32;
        read.aio_flags = RESFD;
        read.aio_resfd = eventfd.0.as_raw_fd() as u32;
        let mut reads = [&raw mut read];
        // SAFETY: one request, for no bytes at all. The kernel keeps none of these pointers.
        let submitted =
            unsafe { libc::syscall(libc::SYS_io_submit, self.context, ONE, reads.as_mut_ptr()) };
        Errno::result(submitted)?;
        // A completion is taken for each that was added, this one's or another thread's: there is always room.
        let mut completion = [0u64; 4];
        let mut now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: stores one io_event at most, of four words, and waits no time for it.
        unsafe {
            libc::syscall(
                libc::SYS_io_getevents,
                self.context,
                NONE,
                ONE,
                completion.as_mut_ptr(),
                &raw mut now,
            )
        };
        Ok(())
    }
}
