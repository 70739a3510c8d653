// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Commands that are not for this server, and such as there are none: an errno, and the stream in step.

use std::os::fd::AsRawFd;

use nix::fcntl::OFlag;
use qemu_device::vfio_user::wire::command;
use qemu_device::vfio_user::Errno;

use crate::peer::{eventfd, Peer};

#[test]
fn unknown_and_unsupported_commands() {
    let (mut peer, _server) = Peer::agreed();
    for number in [
        0,
        command::DIRTY_PAGES,
        command::DEVICE_FEATURE,
        command::MIG_DATA_READ,
        command::MIG_DATA_WRITE,
        19,
        999,
        u16::MAX,
    ] {
        for len in [0, 1, 16, 5000, 1 << 20] {
            assert_eq!(
                peer.refused(number, &vec![0xa5u8; len][..], &[]),
                Errno::ENOTSUP
            );
        }
    }
}

#[test]
fn commands_that_are_the_servers_to_send() {
    let (mut peer, _server) = Peer::agreed();
    for number in [command::DMA_READ, command::DMA_WRITE] {
        assert_eq!(peer.refused(number, &[0u64, 16], &[]), Errno::EINVAL);
    }
}

#[test]
fn descriptors_with_them_are_closed() {
    let (mut peer, _server) = Peer::agreed();
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_NONBLOCK).unwrap();
    peer.refused(999, &[0u8; 4], &[writer.as_raw_fd(), eventfd().as_raw_fd()]);
    drop(writer);
    // The end of the pipe shows once every copy of the writing end is closed, which is before the reply.
    assert_eq!(nix::unistd::read(&reader, &mut [0]), Ok(0));
}
