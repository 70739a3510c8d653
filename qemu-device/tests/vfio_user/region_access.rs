// SPDX-License-Identifier: Apache-2.0 OR MIT
//! *VFIO_USER_REGION_READ* and *VFIO_USER_REGION_WRITE*.

use std::os::fd::AsRawFd;

use qemu_device::vfio_user::wire::{command, flags, RegionAccess, MAX_DATA_TRANSFER};
use qemu_device::vfio_user::{Errno, CONFIG_REGION};
use zerocopy::IntoBytes;

use crate::peer::{self, eventfd, Peer};

fn access(region: u32, offset: u64, count: u32) -> RegionAccess {
    RegionAccess {
        offset,
        region,
        count,
    }
}

fn write(access: RegionAccess, data: &[u8]) -> Vec<u8> {
    [access.as_bytes(), data].concat()
}

#[test]
fn what_is_written_is_read() {
    let (mut peer, server) = Peer::agreed();
    for count in [1u32, 2, 4, 8, 3, 4096, MAX_DATA_TRANSFER] {
        let data: Vec<u8> = (0..count).map(|n| (n * 7) as u8).collect();
        let at = access(peer::BAR, 0, count);
        let reply = peer.request(command::REGION_WRITE, &write(at, &data)[..]);
        assert_eq!(reply.payload::<RegionAccess>(), at);
        let reply = peer.request(command::REGION_READ, &at);
        assert_eq!(reply.payload, write(at, &data));
    }
    assert_eq!(server.toy.seen().writes.len(), 7);
}

#[test]
fn nothing_can_be_read_and_written_at_any_place_within() {
    let (mut peer, server) = Peer::agreed();
    let nothing = access(peer::BAR, peer::BAR_SIZE, 0);
    assert_eq!(
        peer.request(command::REGION_READ, &nothing)
            .payload::<RegionAccess>(),
        nothing
    );
    peer.request(command::REGION_WRITE, &nothing);
    assert!(
        server.toy.seen().writes.is_empty(),
        "the device is not asked"
    );
}

#[test]
fn what_lies_outside_is_refused() {
    let (mut peer, server) = Peer::agreed();
    for at in [
        access(peer::BAR, peer::BAR_SIZE, 1),
        access(peer::BAR, peer::BAR_SIZE - 3, 4),
        access(peer::BAR, u64::MAX, 4),
        access(peer::BAR, u64::MAX - 3, 4),
        access(CONFIG_REGION, peer::CONFIG_SIZE - 1, 2),
        access(1, 0, 4),
        access(9, 0, 4),
        access(u32::MAX, 0, 4),
    ] {
        assert_eq!(peer.refused(command::REGION_READ, &at, &[]), Errno::EINVAL);
        let data = vec![0; at.count as usize];
        let errno = peer.refused(command::REGION_WRITE, &write(at, &data)[..], &[]);
        assert_eq!(errno, Errno::EINVAL);
    }
    for count in [MAX_DATA_TRANSFER + 1, u32::MAX] {
        let at = access(peer::BAR, 0, count);
        assert_eq!(peer.refused(command::REGION_READ, &at, &[]), Errno::EINVAL);
    }
    assert!(server.toy.seen().writes.is_empty());
}

#[test]
fn a_direction_that_is_not_allowed_is_refused() {
    let (mut peer, server) = Peer::agreed();
    let at = access(peer::READ_ONLY_BAR, 0, 4);
    peer.request(command::REGION_READ, &at);
    assert_eq!(
        peer.refused(command::REGION_WRITE, &write(at, &[0; 4])[..], &[]),
        Errno::EACCES
    );
    assert!(server.toy.seen().writes.is_empty());
}

#[test]
fn the_devices_own_errno_reaches_the_client() {
    let (mut peer, _server) = Peer::agreed();
    let at = access(peer::BROKEN_BAR, 0, 4);
    assert_eq!(peer.refused(command::REGION_READ, &at, &[]), Errno::EIO);
    assert_eq!(
        peer.refused(command::REGION_WRITE, &write(at, &[0; 4])[..], &[]),
        Errno::EIO
    );
}

#[test]
fn too_little_data_ends_the_session_and_too_much_does_not() {
    let (mut peer, server) = Peer::agreed();
    let at = access(peer::BAR, 0, 4);
    assert_eq!(
        peer.refused(command::REGION_WRITE, &write(at, &[0; 5])[..], &[]),
        Errno::EINVAL
    );
    assert_eq!(
        peer.error(command::REGION_WRITE, &write(at, &[0; 3])[..], &[]),
        Errno::EINVAL
    );
    peer.assert_closed();
    assert_eq!(
        server.end_reason(),
        "command 10 with 19 bytes of payload, too few"
    );
}

#[test]
fn posted_commands_are_never_answered() {
    let (mut peer, server) = Peer::agreed();
    let good = write(access(peer::BAR, 0, 4), &[1, 2, 3, 4]);
    let bad = write(access(peer::BROKEN_BAR, 0, 4), &[0; 4]);
    peer.send(command::REGION_WRITE, flags::NO_REPLY, &good, &[]);
    peer.send(command::REGION_WRITE, flags::NO_REPLY, &bad, &[]);
    peer.send(command::REGION_READ, flags::NO_REPLY, &good[..16], &[]);
    peer.send(999, flags::NO_REPLY, b"whatever this is", &[]);
    // `request` insists on its own reply being the next.
    let reply = peer.request(command::REGION_READ, &access(peer::BAR, 0, 4));
    assert_eq!(reply.payload[16..], [1, 2, 3, 4]);
    assert_eq!(server.toy.seen().writes.len(), 1);
}

#[test]
fn descriptors_do_not_belong_here() {
    let (mut peer, server) = Peer::agreed();
    let eventfd = eventfd();
    let at = write(access(peer::BAR, 0, 4), &[0; 4]);
    let errno = peer.refused(command::REGION_WRITE, &at[..], &[eventfd.as_raw_fd()]);
    assert_eq!(errno, Errno::EINVAL);
    assert!(server.toy.seen().writes.is_empty());
}
