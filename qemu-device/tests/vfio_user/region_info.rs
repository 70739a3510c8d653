// SPDX-License-Identifier: Apache-2.0 OR MIT
//! *VFIO_USER_DEVICE_GET_REGION_INFO*.

use qemu_device::vfio_user::wire::{command, RegionInfo};
use qemu_device::vfio_user::{Errno, CONFIG_REGION};

use crate::peer::{self, Peer};

fn ask(index: u32, argsz: u32) -> RegionInfo {
    RegionInfo {
        argsz,
        flags: 0,
        index,
        cap_offset: 0,
        size: 0,
        offset: 0,
    }
}

#[test]
fn regions_are_as_the_device_says() {
    let (mut peer, _server) = Peer::agreed();
    // Flags: 1 read, 2 write; never 4, which would end posted writes in QEMU.
    for (index, flags, size) in [
        (peer::BAR, 3, peer::BAR_SIZE),
        (1, 0, 0),
        (peer::READ_ONLY_BAR, 1, 4096),
        (CONFIG_REGION, 3, peer::CONFIG_SIZE),
        (8, 0, 0),
    ] {
        let asked = ask(index, 32);
        let info: RegionInfo = peer
            .request(command::DEVICE_GET_REGION_INFO, &asked)
            .payload();
        assert_eq!(
            info,
            RegionInfo {
                flags,
                size,
                ..asked
            }
        );
    }
}

#[test]
fn more_room_changes_nothing() {
    let (mut peer, _server) = Peer::agreed();
    let asked = ask(peer::BAR, 4096);
    let info: RegionInfo = peer
        .request(command::DEVICE_GET_REGION_INFO, &asked)
        .payload();
    assert_eq!((info.argsz, info.cap_offset), (32, 0));
}

#[test]
fn nonsense_is_refused() {
    let (mut peer, _server) = Peer::agreed();
    for nonsense in [ask(0, 31), ask(0, 0), ask(9, 32), ask(u32::MAX, 32)] {
        assert_eq!(
            peer.refused(command::DEVICE_GET_REGION_INFO, &nonsense, &[]),
            Errno::EINVAL
        );
    }
}
