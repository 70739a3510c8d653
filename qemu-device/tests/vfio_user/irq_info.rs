// SPDX-License-Identifier: Apache-2.0 OR MIT
//! *VFIO_USER_DEVICE_GET_IRQ_INFO*.

use qemu_device::vfio_user::irq::{ERR_INDEX, INTX_INDEX, MSIX_INDEX, MSI_INDEX, REQ_INDEX};
use qemu_device::vfio_user::wire::{command, IrqInfo};
use qemu_device::vfio_user::Errno;

use crate::peer::Peer;

fn ask(index: u32, argsz: u32) -> IrqInfo {
    IrqInfo {
        argsz,
        flags: 0,
        index,
        count: 0,
    }
}

#[test]
fn each_type_says_what_it_can_do() {
    let (mut peer, _server) = Peer::agreed();
    // Flags: 1 eventfd, 2 maskable, 4 automasked.
    for (index, flags, count) in [
        (INTX_INDEX, 7, 1),
        (MSI_INDEX, 3, 32),
        (MSIX_INDEX, 3, 2048),
        (ERR_INDEX, 1, 1),
        (REQ_INDEX, 1, 0),
    ] {
        let info: IrqInfo = peer
            .request(command::DEVICE_GET_IRQ_INFO, &ask(index, 24))
            .payload();
        assert_eq!(
            info,
            IrqInfo {
                argsz: 16,
                flags,
                index,
                count
            }
        );
    }
}

#[test]
fn nonsense_is_refused() {
    let (mut peer, _server) = Peer::agreed();
    for nonsense in [ask(5, 16), ask(u32::MAX, 16), ask(0, 15)] {
        assert_eq!(
            peer.refused(command::DEVICE_GET_IRQ_INFO, &nonsense, &[]),
            Errno::EINVAL
        );
    }
}
