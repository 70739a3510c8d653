// SPDX-License-Identifier: Apache-2.0 OR MIT
//! *VFIO_USER_DMA_UNMAP*.

use std::os::fd::AsRawFd;

use qemu_device::vfio_user::memory::MemoryError;
use qemu_device::vfio_user::wire::{command, DmaUnmap};
use qemu_device::vfio_user::Errno;

use crate::peer::{sealed_memfd, Peer, Server};

/// Takes the map of `size` bytes at `address` away.
pub fn at(address: u64, size: u64) -> DmaUnmap {
    DmaUnmap {
        argsz: 24,
        flags: 0,
        address,
        size,
    }
}

const ALL: DmaUnmap = DmaUnmap {
    argsz: 24,
    flags: 2,
    address: 0,
    size: 0,
};

/// Two maps, at 0x1000 and 0x3000.
fn mapped() -> (Peer, Server) {
    let (mut peer, server) = Peer::agreed();
    let ram = sealed_memfd(0x2000);
    for address in [0x1000, 0x3000] {
        let map = crate::dma_map::at(address, 0x2000);
        peer.request_with(command::DMA_MAP, &map, &[ram.as_raw_fd()]);
    }
    (peer, server)
}

#[test]
fn the_memory_is_gone() {
    let (mut peer, server) = mapped();
    let reply: DmaUnmap = peer
        .request(command::DMA_UNMAP, &at(0x1000, 0x2000))
        .payload();
    assert_eq!(reply, at(0x1000, 0x2000), "the original entry comes back");
    let error = server.memory.read(0x1000, &mut [0]).unwrap_err();
    assert_eq!(error, MemoryError::Unmapped { address: 0x1000 });
    server.memory.read(0x3000, &mut [0]).unwrap();
    peer.request(command::DMA_MAP, &crate::dma_map::at(0x1000, 0x2000));
}

#[test]
fn all_at_once() {
    let (mut peer, server) = mapped();
    assert_eq!(
        peer.request(command::DMA_UNMAP, &ALL).payload::<DmaUnmap>(),
        ALL
    );
    server.memory.read(0x1000, &mut [0]).unwrap_err();
    server.memory.read(0x3000, &mut [0]).unwrap_err();
    peer.request(command::DMA_UNMAP, &ALL);
}

#[test]
fn a_range_takes_all_within_it_along_and_need_not_hold_any() {
    let (mut peer, server) = mapped();
    // A page that was never mapped, and either half of all addresses: QEMU's, for a guest with an IOMMU.
    for (address, size) in [(0x5000, 0x1000), (1 << 63, 1 << 63), (0, 1 << 63)] {
        server.memory.read(0x1000, &mut [0; 0x4000]).unwrap();
        peer.request(command::DMA_UNMAP, &at(address, size));
    }
    server.memory.read(0x1000, &mut [0]).unwrap_err();
    server.memory.read(0x3000, &mut [0]).unwrap_err();
}

#[test]
fn no_map_is_cut_in_two() {
    let (mut peer, server) = mapped();
    for (address, size) in [
        (0x1000, 0x1000),
        (0x2000, 0x1000),
        (0x1000, 0x3000),
        (0x2000, 0x3000),
        (0x2000, 0x2000),
        (0, 0),
        (0x1000, 0),
        (0x1000, u64::MAX),
    ] {
        assert_eq!(
            peer.refused(command::DMA_UNMAP, &at(address, size), &[]),
            Errno::EINVAL
        );
    }
    server.memory.read(0x1000, &mut [0; 0x4000]).unwrap();
}

#[test]
fn nonsense_is_refused() {
    let (mut peer, server) = mapped();
    for nonsense in [
        DmaUnmap {
            argsz: 8,
            ..at(0x1000, 0x2000)
        },
        // Dirty pages belong to migration.
        DmaUnmap {
            flags: 1,
            ..at(0x1000, 0x2000)
        },
        DmaUnmap { flags: 3, ..ALL },
        DmaUnmap {
            flags: 4,
            ..at(0x1000, 0x2000)
        },
        DmaUnmap {
            address: 0x1000,
            ..ALL
        },
        DmaUnmap {
            size: 0x2000,
            ..ALL
        },
    ] {
        assert_eq!(
            peer.refused(command::DMA_UNMAP, &nonsense, &[]),
            Errno::EINVAL
        );
    }
    server.memory.read(0x1000, &mut [0; 0x4000]).unwrap();
}
