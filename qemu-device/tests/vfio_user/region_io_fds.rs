// SPDX-License-Identifier: Apache-2.0 OR MIT
//! *VFIO_USER_DEVICE_GET_REGION_IO_FDS*.

use qemu_device::vfio_user::wire::{command, RegionIoFds};
use qemu_device::vfio_user::Errno;

use crate::peer::{self, Peer};

#[test]
fn no_region_has_any() {
    let (mut peer, _server) = Peer::agreed();
    let ask = RegionIoFds {
        argsz: 56,
        flags: 0,
        index: peer::BAR,
        count: 0,
    };
    let reply: RegionIoFds = peer
        .request(command::DEVICE_GET_REGION_IO_FDS, &ask)
        .payload();
    assert_eq!(reply, RegionIoFds { argsz: 16, ..ask });
}

#[test]
fn nonsense_is_refused() {
    let (mut peer, _server) = Peer::agreed();
    let ask = RegionIoFds {
        argsz: 16,
        flags: 0,
        index: 0,
        count: 0,
    };
    for nonsense in [
        RegionIoFds { argsz: 15, ..ask },
        RegionIoFds { flags: 1, ..ask },
        RegionIoFds { index: 9, ..ask },
        RegionIoFds { count: 1, ..ask },
    ] {
        assert_eq!(
            peer.refused(command::DEVICE_GET_REGION_IO_FDS, &nonsense, &[]),
            Errno::EINVAL
        );
    }
}
