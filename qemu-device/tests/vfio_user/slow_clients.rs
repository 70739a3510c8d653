// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Clients that begin and do not go on: none keeps the server for ever.

use std::thread;
use std::time::Duration;

use qemu_device::vfio_user::wire::{command, Header, RegionAccess};
use zerocopy::IntoBytes;

use crate::peer::Peer;

/// The header of a message of `size` bytes.
fn begun(size: u32) -> Header {
    Header {
        message_id: 7,
        command: command::REGION_WRITE,
        message_size: size,
        flags: 0,
        error: 0,
    }
}

#[test]
fn half_a_message_has_a_deadline() {
    let (mut peer, server) = Peer::agreed();
    peer.send_raw(begun(48).as_bytes(), &[]);
    server.wait_for_end();
    peer.assert_closed();
    assert_eq!(
        server.end_reason(),
        "the rest of a message did not come within 10 s, 16 bytes did"
    );
}

#[test]
fn bytes_in_drops_have_the_same_deadline() {
    let (mut peer, server) = Peer::agreed();
    peer.send_raw(begun(4096).as_bytes(), &[]);
    // The server hangs up meanwhile.
    while peer.try_send_raw(&[0], &[]).is_ok() {
        thread::sleep(Duration::from_millis(200));
    }
    server.wait_for_end();
    let reason = server.end_reason();
    assert!(reason.starts_with("the rest of a message"), "{reason}");
}

#[test]
fn between_messages_there_is_no_deadline() {
    let (mut peer, _server) = Peer::agreed();
    thread::sleep(Duration::from_secs(11));
    peer.request(command::DEVICE_RESET, &[0u8; 0]);
}

#[test]
fn replies_that_are_not_read_have_a_deadline() {
    let (mut peer, server) = Peer::agreed();
    let read = RegionAccess {
        offset: 0,
        region: 0,
        count: 0x8000,
    };
    for _ in 0..100 {
        peer.send(command::REGION_READ, 0, read.as_bytes(), &[]);
    }
    server.wait_for_end();
    let reason = server.end_reason();
    assert!(reason.starts_with("a reply could not be sent"), "{reason}");
}
