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

#[cfg(test)]
mod tests {
    use nix::fcntl::{fcntl, FcntlArg, SealFlag};
    use nix::sys::memfd::{memfd_create, MFdFlags};

    use super::*;
    use crate::vfio_user::memory::DmaTable;
    use crate::vfio_user::wire::DmaMap;

    fn ram() -> OwnedFd {
        let file = memfd_create(c"ram", MFdFlags::MFD_ALLOW_SEALING).unwrap();
        nix::unistd::ftruncate(&file, 0x8000).unwrap();
        fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)).unwrap();
        file
    }

    /// Maps the page `page` and returns whether it can be shared.
    fn map(table: &DmaTable, page: u64, flags: u32, file: Option<OwnedFd>) -> bool {
        let request = DmaMap {
            argsz: 32,
            flags,
            offset: 0x1000,
            address: page * 0x1000,
            size: 0x1000,
        };
        table.map(&request, file).unwrap()
    }

    #[test]
    fn what_can_be_read_and_written_and_has_a_file_is_shared() {
        let table = DmaTable::new();
        assert!(map(&table, 5, 3, Some(ram())));
        assert!(!map(&table, 1, 1, Some(ram())), "read only");
        assert!(!map(&table, 2, 2, Some(ram())), "write only");
        assert!(!map(&table, 3, 3, None), "no file");
        assert!(map(&table, 4, 3, Some(ram())));
        let shares = table.shares();
        let places: Vec<_> = shares.iter().map(|s| (s.address, s.file_offset)).collect();
        assert_eq!(places, [(0x4000, 0x1000), (0x5000, 0x1000)], "by address");
        assert_ne!(shares[0].number, shares[1].number);
        assert!(!table.unmap(0x3000, 0x1000).unwrap());
        assert!(table.unmap(0x4000, 0x1000).unwrap());
        assert!(table.unmap_all());
        assert!(!table.unmap_all());
        assert!(table.shares().is_empty());
        assert!(fstat(shares[0].file()).is_ok(), "whoever has it keeps it");
    }

    #[test]
    fn a_map_is_never_taken_for_an_earlier_one() {
        let table = DmaTable::new();
        let file = ram();
        let mut numbers = Vec::new();
        for _ in 0..10 {
            map(&table, 1, 3, Some(file.try_clone().unwrap()));
            numbers.push(table.shares()[0].number);
            table.unmap(0x1000, 0x1000).unwrap();
        }
        assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    }

    #[test]
    fn files_are_kept_once_and_not_without_end() {
        let table = DmaTable::new();
        let file = ram();
        for page in 0..100 {
            assert!(map(&table, page, 3, Some(file.try_clone().unwrap())));
        }
        assert_eq!(count_files(table.shares().iter()), 1);
        for page in 100..99 + MAX_FILES as u64 {
            assert!(map(&table, page, 3, Some(ram())));
        }
        assert!(!map(&table, 200, 3, Some(ram())), "one too many");
        assert!(map(&table, 201, 3, Some(file)), "not if it is known");
        table.write(200 << 12, &[1]).unwrap();
    }
}
