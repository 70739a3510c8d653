// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The files behind a guest's RAM, kept so that another process can be given them.
//!
//! A client sends the same file with each of its maps; one descriptor of it is kept, or a client with
//! many maps would use up what this process may have open.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use nix::sys::stat::fstat;

/// The most files of one client that are kept; maps of further ones cannot be given away. A guest has
/// one per memory backend.
pub const MAX_FILES: usize = 16;

/// A file, and which one it is.
#[derive(Debug)]
struct File {
    fd: OwnedFd,
    device: u64,
    inode: u64,
}

/// A map whose memory another process can map too, for reading and writing.
#[derive(Clone, Debug)]
pub struct Share {
    /// DMA address.
    pub address: u64,
    /// Bytes.
    pub size: u64,
    /// Where it starts in the file.
    pub file_offset: u64,
    /// No other map of this process ever has this number.
    pub number: u64,
    file: Arc<File>,
}

impl Share {
    /// `file` backs the map of `size` bytes at `address` from `file_offset` on; `others` are what the same
    /// client has given. `None` if there are too many files.
    pub(super) fn new<'a>(
        address: u64,
        size: u64,
        file: OwnedFd,
        file_offset: u64,
        others: impl Iterator<Item = &'a Self> + Clone,
    ) -> Option<Self> {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let stat = fstat(&file).ok()?;
        let (device, inode) = (stat.st_dev, stat.st_ino);
        let mut same = others
            .clone()
            .filter(|other| (other.file.device, other.file.inode) == (device, inode));
        let file = match same.next() {
            Some(other) => other.file.clone(),
            None if count_files(others) >= MAX_FILES => return None,
            None => Arc::new(File {
                fd: file,
                device,
                inode,
            }),
        };
        Some(Self {
            address,
            size,
            file_offset,
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            file,
        })
    }

    /// The file.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.fd.as_fd()
    }
}

fn count_files<'a>(shares: impl Iterator<Item = &'a Share>) -> usize {
    let mut files: Vec<*const File> = shares.map(|share| Arc::as_ptr(&share.file)).collect();
    files.sort_unstable();
    files.dedup();
    files.len()
}
