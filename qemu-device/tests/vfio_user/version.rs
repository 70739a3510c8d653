// SPDX-License-Identifier: Apache-2.0 OR MIT
//! *VFIO_USER_VERSION*.

use qemu_device::vfio_user::wire::{command, flags};
use qemu_device::vfio_user::Errno;
use serde_json::Value;

use crate::peer::Peer;

fn proposal(major: u16, minor: u16, data: &str) -> Vec<u8> {
    [&major.to_ne_bytes(), &minor.to_ne_bytes(), data.as_bytes()].concat()
}

/// Proposes, and returns the version agreed on and its capabilities.
fn negotiate(minor: u16, data: &str) -> ((u16, u16), Value) {
    let (mut peer, _server) = Peer::silent();
    let reply = peer.request(command::VERSION, &proposal(0, minor, data)[..]);
    let [a, b, c, d, json @ .., 0] = &reply.payload[..] else {
        panic!("{reply:?}")
    };
    let version = (u16::from_ne_bytes([*a, *b]), u16::from_ne_bytes([*c, *d]));
    let json: Value = serde_json::from_slice(json).unwrap();
    (version, json["capabilities"].clone())
}

#[track_caller]
fn refused(proposal: &[u8], reason: &str) {
    let (mut peer, server) = Peer::silent();
    assert_eq!(peer.error(command::VERSION, proposal, &[]), Errno::EINVAL);
    peer.assert_closed();
    let logged = server.end_reason();
    assert!(logged.contains(reason), "{logged}");
}

#[test]
fn qemu_is_offered_what_it_accepts() {
    // Word for word what QEMU 11.1 proposes; it takes no reply that is longer than its proposal.
    let data = r#"{"capabilities": {"migration": {"max_bitmap_size": 268435456, "pgsize": 4096}, "max_dma_maps": 65535, "max_msg_fds": 16, "pgsizes": 4096, "max_data_xfer_size": 1048576, "write_multiple": true}}"#;
    let (version, capabilities) = negotiate(0, &format!("{data}\0"));
    assert_eq!(version, (0, 0), "at most what was proposed");
    assert_eq!(
        capabilities["max_msg_fds"], 16,
        "QEMU refuses a server that takes more"
    );
    assert_eq!(capabilities["max_data_xfer_size"], 1 << 20);
    assert_eq!(capabilities["pgsizes"], 4096);
    assert_eq!(capabilities["max_dma_maps"], 4096);
    assert_eq!(capabilities["write_multiple"], true);
    assert!(capabilities.to_string().len() < data.len());
}

#[test]
fn a_client_that_may_send_them_is_offered_32_descriptors() {
    for data in ["", "{}\0", "{\"capabilities\":{\"max_msg_fds\":64}}\0"] {
        let (version, capabilities) = negotiate(9, data);
        assert_eq!(version, (0, 1), "at most what is spoken here");
        assert_eq!(capabilities["max_msg_fds"], 32, "with {data:?}");
        assert_eq!(capabilities["write_multiple"], false, "nobody asked");
    }
}

#[test]
fn another_major_version_is_refused() {
    refused(&proposal(1, 0, "{}\0"), "the client speaks protocol 1.0");
}

#[test]
fn a_short_version_is_refused() {
    refused(&[0, 0], "command 1 with 2 bytes of payload, too few");
    refused(&[], "too few");
}

#[test]
fn version_data_without_nul_is_refused() {
    refused(&proposal(0, 1, "{}"), "does not end in NUL");
}

#[test]
fn malformed_json_is_refused() {
    for data in [
        "\0",
        "{\0",
        "\"\0",
        "{}\0{}\0",
        "[1]\0",
        "{\"capabilities\": \"23\"}\0",
        "{\"capabilities\": {\"max_msg_fds\": \"many\"}}\0",
        "{\"capabilities\": {\"max_msg_fds\": -1}}\0",
        "{\"capabilities\": {\"max_msg_fds\": 4294967296}}\0",
    ] {
        refused(&proposal(0, 1, data), "malformed capabilities: ");
    }
    // Deeper than any parser's stack.
    refused(
        &proposal(0, 1, &format!("{}\0", "[".repeat(100_000))),
        "malformed capabilities",
    );
    refused(&[0, 0, 0, 0, 0xff, 0xfe, 0], "malformed capabilities");
}

#[test]
fn nothing_comes_before_the_version() {
    let (mut peer, server) = Peer::silent();
    assert_eq!(
        peer.error(command::DEVICE_RESET, &[0u8; 0], &[]),
        Errno::EINVAL
    );
    peer.assert_closed();
    assert_eq!(server.toy.seen().resets, 0);
    assert_eq!(
        server.end_reason(),
        "command 13 came before the version was agreed on"
    );
}

#[test]
fn a_second_version_is_refused_and_changes_nothing() {
    let (mut peer, _server) = Peer::agreed();
    assert_eq!(
        peer.refused(command::VERSION, &[0u16, 0], &[]),
        Errno::EINVAL
    );
}

#[test]
fn a_posted_version_is_an_agreement_too() {
    let (mut peer, _server) = Peer::silent();
    peer.send(command::VERSION, flags::NO_REPLY, &[0; 4], &[]);
    peer.request(command::DEVICE_RESET, &[0u8; 0]);
}
