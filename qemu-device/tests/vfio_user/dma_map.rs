// SPDX-License-Identifier: Apache-2.0 OR MIT
//! *VFIO_USER_DMA_MAP*.

use std::os::fd::{AsRawFd, RawFd};

use qemu_device::vfio_user::memory::{MemoryError, MAX_DMA_MAPS, MAX_MAPPED};
use qemu_device::vfio_user::wire::{command, DmaMap, DMA_MAP_FLAG_MMAP};
use qemu_device::vfio_user::Errno;

use crate::peer::{eventfd, sealed_memfd, unsealed_memfd, Peer};

/// A map of `size` bytes at `address`, for reading and writing.
pub fn at(address: u64, size: u64) -> DmaMap {
    DmaMap {
        argsz: 32,
        flags: 3,
        offset: 0,
        address,
        size,
    }
}

#[track_caller]
fn refused(map: DmaMap, fds: &[RawFd], errno: Errno) {
    let (mut peer, server) = Peer::agreed();
    assert_eq!(peer.refused(command::DMA_MAP, &map, fds), errno);
    assert_eq!(
        server.memory.inspect()["maps"],
        serde_json::json!([]),
        "nothing is kept"
    );
}

#[test]
fn memory_is_shared() {
    let (mut peer, server) = Peer::agreed();
    let ram = sealed_memfd(0x3000);
    let map = DmaMap {
        offset: 0x1000,
        ..at(0x8000_0000, 0x2000)
    };
    assert_eq!(
        peer.request_with(command::DMA_MAP, &map, &[ram.as_raw_fd()])
            .payload,
        [0; 0]
    );
    nix::sys::uio::pwrite(&ram, b"spider", 0x1ffd).unwrap();
    let mut data = [0; 6];
    server.memory.read(0x8000_0ffd, &mut data).unwrap();
    assert_eq!(&data, b"spider");
}

#[test]
fn a_map_without_a_file_is_remembered() {
    let (mut peer, server) = Peer::agreed();
    peer.request(command::DMA_MAP, &at(0x1000, 0x1000));
    let error = server.memory.read(0x1800, &mut [0]).unwrap_err();
    assert_eq!(error, MemoryError::NotShared { address: 0x1800 });
    assert_eq!(
        peer.refused(command::DMA_MAP, &at(0x1000, 0x1000), &[]),
        Errno::EEXIST
    );
    peer.request(command::DMA_UNMAP, &crate::dma_unmap::at(0x1000, 0x1000));
}

#[test]
fn directions_are_kept() {
    let (mut peer, server) = Peer::agreed();
    let ram = sealed_memfd(0x1000);
    for (n, flags) in [0, 1, 2].into_iter().enumerate() {
        let map = DmaMap {
            flags,
            ..at(n as u64 * 0x1000, 0x1000)
        };
        peer.request_with(command::DMA_MAP, &map, &[ram.as_raw_fd()]);
    }
    let readable = |address| server.memory.read(address, &mut [0]).is_ok();
    let writable = |address| server.memory.write(address, &[0]).is_ok();
    assert_eq!(
        [readable(0), readable(0x1000), readable(0x2000)],
        [false, true, false]
    );
    assert_eq!(
        [writable(0), writable(0x1000), writable(0x2000)],
        [false, false, true]
    );
}

#[test]
fn overlaps_are_refused() {
    let (mut peer, _server) = Peer::agreed();
    peer.request(command::DMA_MAP, &at(0x4000, 0x2000));
    for (address, size) in [
        (0x4000, 0x2000),
        (0x3000, 0x2000),
        (0x5000, 0x2000),
        (0, 0x10000),
        (0x5000, 0x1000),
    ] {
        assert_eq!(
            peer.refused(command::DMA_MAP, &at(address, size), &[]),
            Errno::EEXIST
        );
    }
    peer.request(command::DMA_MAP, &at(0x3000, 0x1000));
    peer.request(command::DMA_MAP, &at(0x6000, 0x1000));
}

#[test]
fn nonsense_is_refused() {
    let ram = sealed_memfd(0x2000);
    let fd = ram.as_raw_fd();
    refused(
        DmaMap {
            argsz: 31,
            ..at(0, 0x1000)
        },
        &[fd],
        Errno::EINVAL,
    );
    refused(
        DmaMap {
            flags: 8,
            ..at(0, 0x1000)
        },
        &[fd],
        Errno::EINVAL,
    );
    refused(at(0, 0), &[fd], Errno::EINVAL);
    refused(at(0, 0x800), &[fd], Errno::EINVAL);
    refused(at(0x800, 0x1000), &[fd], Errno::EINVAL);
    refused(
        DmaMap {
            offset: 0x800,
            ..at(0, 0x1000)
        },
        &[fd],
        Errno::EINVAL,
    );
    refused(at(u64::MAX - 0xfff, 0x1000), &[fd], Errno::EINVAL);
    refused(at(0x1000, u64::MAX - 0xfff), &[fd], Errno::EINVAL);
    refused(at(0, 0x1000), &[fd, fd], Errno::EINVAL);
}

#[test]
fn a_file_that_is_too_short_is_refused() {
    let ram = sealed_memfd(0x2000);
    refused(at(0, 0x3000), &[ram.as_raw_fd()], Errno::EINVAL);
    refused(
        DmaMap {
            offset: 0x2000,
            ..at(0, 0x1000)
        },
        &[ram.as_raw_fd()],
        Errno::EINVAL,
    );
    let offset = u64::MAX - 0xfff;
    refused(
        DmaMap {
            offset,
            ..at(0, 0x1000)
        },
        &[ram.as_raw_fd()],
        Errno::EOVERFLOW,
    );
}

#[test]
fn a_file_that_could_shrink_is_refused() {
    refused(
        at(0, 0x1000),
        &[unsealed_memfd(0x1000).as_raw_fd()],
        Errno::EPERM,
    );
    let file = tempfile::tempfile().unwrap();
    file.set_len(0x1000).unwrap();
    refused(at(0, 0x1000), &[file.as_raw_fd()], Errno::EPERM);
}

#[test]
fn what_is_no_file_is_refused() {
    let (pipe, _other) = nix::unistd::pipe().unwrap();
    refused(at(0, 0x1000), &[pipe.as_raw_fd()], Errno::EINVAL);
    refused(at(0, 0x1000), &[eventfd().as_raw_fd()], Errno::EINVAL);
    let directory = std::fs::File::open("/").unwrap();
    refused(at(0, 0x1000), &[directory.as_raw_fd()], Errno::EINVAL);
}

#[test]
fn a_file_opened_for_reading_cannot_be_mapped_for_writing() {
    let ram = sealed_memfd(0x1000);
    let path = format!("/proc/self/fd/{}", ram.as_raw_fd());
    let file = std::fs::File::open(path).unwrap();
    refused(at(0, 0x1000), &[file.as_raw_fd()], Errno::EACCES);
}

#[test]
fn maps_are_bounded() {
    let (mut peer, _server) = Peer::agreed();
    for n in 0..MAX_DMA_MAPS as u64 {
        peer.request(command::DMA_MAP, &at(n * 0x2000, 0x1000));
    }
    let next = at(MAX_DMA_MAPS as u64 * 0x2000, 0x1000);
    assert_eq!(peer.refused(command::DMA_MAP, &next, &[]), Errno::ENOSPC);
}

#[test]
fn that_a_descriptor_may_be_mapped_may_be_said() {
    let (mut peer, server) = Peer::agreed();
    let ram = sealed_memfd(0x1000);
    let said = |address| DmaMap {
        flags: 3 | DMA_MAP_FLAG_MMAP,
        ..at(address, 0x1000)
    };
    peer.request_with(command::DMA_MAP, &said(0), &[ram.as_raw_fd()]);
    server.memory.write(0, &[1]).unwrap();
    assert_eq!(server.memory.shares().len(), 1, "like any other");
    peer.request(command::DMA_MAP, &said(0x1000));
    server.memory.write(0x1000, &[1]).unwrap_err();
}

#[test]
fn address_space_is_bounded() {
    let (mut peer, _server) = Peer::agreed();
    let part = MAX_MAPPED / 4;
    let sparse = sealed_memfd(2 * MAX_MAPPED);
    let fd = [sparse.as_raw_fd()];
    for n in 0..4 {
        peer.request_with(command::DMA_MAP, &at(n * part, part), &fd);
    }
    // 86 times that is all there is.
    let more = at(4 * part, 3 << 39);
    assert_eq!(peer.refused(command::DMA_MAP, &more, &fd), Errno::ENOSPC);
    let page = at(4 * part, 0x1000);
    assert_eq!(peer.refused(command::DMA_MAP, &page, &fd), Errno::ENOSPC);
    // What is not mapped here takes none.
    peer.request(command::DMA_MAP, &more);
    peer.request(command::DMA_UNMAP, &crate::dma_unmap::at(0, part));
    peer.request_with(command::DMA_MAP, &at(0, part), &fd);
}
