// SPDX-License-Identifier: Apache-2.0 OR MIT
//! *VFIO_USER_REGION_WRITE_MULTI*.

use qemu_device::vfio_user::wire::{command, RegionAccess, SingleWrite};
use qemu_device::vfio_user::Errno;
use zerocopy::IntoBytes;

use crate::peer::{self, Peer};

fn single(region: u32, offset: u64, count: u32) -> SingleWrite {
    SingleWrite {
        access: RegionAccess {
            offset,
            region,
            count,
        },
        data: [1, 2, 3, 4, 5, 6, 7, 8],
    }
}

fn multi(wr_cnt: u64, writes: &[SingleWrite]) -> Vec<u8> {
    [wr_cnt.as_bytes(), writes.as_bytes()].concat()
}

#[test]
fn writes_happen_in_order() {
    let (mut peer, server) = Peer::agreed();
    let writes = [
        single(peer::BAR, 0, 8),
        single(peer::BAR, 4, 4),
        single(peer::BAR, 0x10, 1),
    ];
    let reply = peer.request(command::REGION_WRITE_MULTI, &multi(3, &writes)[..]);
    assert_eq!(reply.payload::<u64>(), 3);
    let seen = server.toy.seen();
    assert_eq!(seen.bar[..8], [1, 2, 3, 4, 1, 2, 3, 4]);
    assert_eq!(seen.bar[0x10..0x12], [1, 0]);
}

#[test]
fn none_at_all_is_fine() {
    let (mut peer, _server) = Peer::agreed();
    assert_eq!(
        peer.request(command::REGION_WRITE_MULTI, &0u64)
            .payload::<u64>(),
        0
    );
}

#[test]
fn the_first_that_fails_ends_it() {
    let (mut peer, server) = Peer::agreed();
    for (bad, errno) in [
        (single(peer::BROKEN_BAR, 0, 4), Errno::EIO),
        (single(peer::BAR, peer::BAR_SIZE, 4), Errno::EINVAL),
        (single(peer::BAR, 0, 9), Errno::EINVAL),
        (single(peer::BAR, 0, u32::MAX), Errno::EINVAL),
        (single(peer::READ_ONLY_BAR, 0, 4), Errno::EACCES),
    ] {
        let writes = [single(peer::BAR, 0, 4), bad, single(peer::BAR, 8, 4)];
        let message = multi(3, &writes);
        assert_eq!(
            peer.refused(command::REGION_WRITE_MULTI, &message[..], &[]),
            errno
        );
        assert_eq!(std::mem::take(&mut server.toy.seen().writes).len(), 1);
    }
}

#[test]
fn a_count_beyond_the_data_ends_the_session_and_one_below_does_not() {
    let writes = [single(peer::BAR, 0, 4); 2];
    let (mut peer, server) = Peer::agreed();
    for count in [0, 1] {
        let message = multi(count, &writes);
        assert_eq!(
            peer.refused(command::REGION_WRITE_MULTI, &message[..], &[]),
            Errno::EINVAL
        );
    }
    assert!(server.toy.seen().writes.is_empty());
    for count in [3, 0x0aaa_aaaa_aaaa_aaac, u64::MAX] {
        let (mut peer, server) = Peer::agreed();
        let message = multi(count, &writes);
        assert_eq!(
            peer.error(command::REGION_WRITE_MULTI, &message[..], &[]),
            Errno::EINVAL
        );
        peer.assert_closed();
        assert_eq!(
            server.end_reason(),
            "command 15 with 56 bytes of payload, too few"
        );
    }
}

#[test]
fn half_a_write_at_the_end_ends_the_session() {
    let (mut peer, server) = Peer::agreed();
    let message = multi(2, &[single(peer::BAR, 0, 4); 2]);
    assert_eq!(
        peer.error(command::REGION_WRITE_MULTI, &message[..50], &[]),
        Errno::EINVAL
    );
    peer.assert_closed();
    assert!(
        server.toy.seen().writes.is_empty(),
        "not even the first is done"
    );
}
