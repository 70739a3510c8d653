// SPDX-License-Identifier: Apache-2.0 OR MIT
//! recvmsg(2) with SCM_RIGHTS (unix(7), cmsg(3)).

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// The most descriptors the kernel passes at once (SCM_MAX_FD). There is room for all, so that each of
/// them is owned, and closed, and too many are noticed.
const KERNEL_MAX_FDS: usize = 253;

const CONTROL_SIZE: usize =
    // SAFETY: only computes.
    unsafe { libc::CMSG_SPACE((KERNEL_MAX_FDS * size_of::<RawFd>()) as libc::c_uint) } as usize;

/// Where the kernel puts descriptors; aligned as cmsg(3) wants it.
#[repr(C, align(8))]
pub struct Control([u8; CONTROL_SIZE]);

impl Default for Control {
    fn default() -> Self {
        Self([0; CONTROL_SIZE])
    }
}

/// What one recvmsg(2) brought.
pub struct Received {
    /// How many bytes; 0 at the end of the connection.
    pub bytes: usize,
    /// Whether descriptors were lost, as when the process has too many.
    pub fds_lost: bool,
}

/// Receives into `buffer` and hands each descriptor that came along to `take`. Sleeps until there is
/// something.
///
/// # Errors
/// The socket fails.
pub fn receive(
    stream: &UnixStream,
    buffer: &mut [u8],
    control: &mut Control,
    mut take: impl FnMut(OwnedFd),
) -> io::Result<Received> {
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: a struct of integers and pointers may be all zeroes.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    let bytes = loop {
        message.msg_controllen = CONTROL_SIZE as _;
        // SAFETY: `message` points to `part` and `control`, `part` to `buffer`; all outlive the call.
        let result =
            unsafe { libc::recvmsg(stream.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC) };
        match usize::try_from(result) {
            Ok(bytes) => break bytes,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    };
    // SAFETY: `message` is as the kernel left it.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&message) };
    // SAFETY: null, or within `control` by the length that the kernel stored.
    while let Some(entry) = unsafe { header.as_ref() } {
        if (entry.cmsg_level, entry.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: only computes.
            let prefix = unsafe { libc::CMSG_LEN(0) } as usize;
            let count = entry.cmsg_len.saturating_sub(prefix) / size_of::<RawFd>();
            for index in 0..count {
                // SAFETY: SCM_RIGHTS carries that many descriptors, and nobody else has them yet.
                take(unsafe {
                    let fd = libc::CMSG_DATA(entry)
                        .cast::<RawFd>()
                        .add(index)
                        .read_unaligned();
                    OwnedFd::from_raw_fd(fd)
                });
            }
        }
        // SAFETY: `entry` is one of `message`'s.
        header = unsafe { libc::CMSG_NXTHDR(&message, entry) };
    }
    Ok(Received {
        bytes,
        fds_lost: message.msg_flags & libc::MSG_CTRUNC != 0,
    })
}
