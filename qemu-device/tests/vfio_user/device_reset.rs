// SPDX-License-Identifier: Apache-2.0 OR MIT
//! *VFIO_USER_DEVICE_RESET*.

use std::os::fd::AsRawFd;

use qemu_device::vfio_user::irq::MSI_INDEX;
use qemu_device::vfio_user::wire::command;

use crate::peer::{eventfd, signals, Peer};
use crate::set_irqs::assign;

#[test]
fn reaches_the_device() {
    let (mut peer, server) = Peer::agreed();
    let reply = peer.request(command::DEVICE_RESET, &[0u8; 0]);
    assert_eq!(reply.payload, [0; 0]);
    assert_eq!(server.toy.seen().resets, 1);
}

#[test]
fn forgets_what_was_pending_and_keeps_eventfds() {
    let (mut peer, server) = Peer::agreed();
    let eventfd = eventfd();
    server.interrupts.trigger(MSI_INDEX, 1);
    peer.request_with(
        command::DEVICE_SET_IRQS,
        &assign(MSI_INDEX, 0, 1),
        &[eventfd.as_raw_fd()],
    );
    peer.request(command::DEVICE_RESET, &[0u8; 0]);
    assert_eq!(server.interrupts.pending(), 0);
    server.interrupts.trigger(MSI_INDEX, 0);
    assert_eq!(signals(&eventfd), 1);
}
