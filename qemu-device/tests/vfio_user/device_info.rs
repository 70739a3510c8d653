// SPDX-License-Identifier: Apache-2.0 OR MIT
//! *VFIO_USER_DEVICE_GET_INFO*.

use qemu_device::vfio_user::wire::{command, DeviceInfo};
use qemu_device::vfio_user::Errno;
use vfio_bindings::bindings::vfio::{VFIO_DEVICE_FLAGS_PCI, VFIO_DEVICE_FLAGS_RESET};

use crate::peer::Peer;

fn ask(argsz: u32) -> DeviceInfo {
    DeviceInfo {
        argsz,
        flags: 0,
        num_regions: 0,
        num_irqs: 0,
    }
}

#[test]
fn a_pci_device_that_can_be_reset() {
    let (mut peer, _server) = Peer::agreed();
    for argsz in [16, 32, u32::MAX] {
        let info: DeviceInfo = peer
            .request(command::DEVICE_GET_INFO, &ask(argsz))
            .payload();
        let flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
        assert_eq!(
            info,
            DeviceInfo {
                argsz: 16,
                flags,
                num_regions: 9,
                num_irqs: 5
            }
        );
    }
}

#[test]
fn no_room_for_the_reply() {
    let (mut peer, _server) = Peer::agreed();
    for argsz in [0, 15] {
        assert_eq!(
            peer.refused(command::DEVICE_GET_INFO, &ask(argsz), &[]),
            Errno::EINVAL
        );
    }
}
