// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is no message: the connection is closed, with a reason for the log, and nothing else happens.

use std::net::Shutdown;
use std::os::fd::AsRawFd;

use qemu_device::vfio_user::wire::{
    command, flags, Header, HEADER_SIZE, MAX_MESSAGE_FDS, MAX_MESSAGE_SIZE,
};
use qemu_device::vfio_user::Errno;
use zerocopy::IntoBytes;

use crate::peer::{eventfd, Peer, Server};

fn header(command: u16, message_size: u32, flags: u32) -> Header {
    Header {
        message_id: 0xbad,
        command,
        message_size,
        flags,
        error: 0,
    }
}

/// The client is told `errno`, then the connection is closed for `reason`.
#[track_caller]
fn closed(mut peer: Peer, server: Server, errno: Errno, reason: &str) {
    let reply = peer.receive();
    assert_eq!(
        (reply.header.message_id, reply.header.message_size),
        (0xbad, 16)
    );
    assert_eq!(reply.header.flags, flags::TYPE_REPLY | flags::ERROR);
    assert_eq!(Errno::from_raw(reply.header.error as i32), errno);
    peer.assert_closed();
    assert_eq!(server.end_reason(), reason);
}

/// The connection is closed for `reason` without a word.
#[track_caller]
fn closed_silently(mut peer: Peer, server: Server, reason: &str) {
    peer.assert_closed();
    assert_eq!(server.end_reason(), reason);
}

#[test]
fn a_size_below_the_headers() {
    for size in [0, 1, 15] {
        let (mut peer, server) = Peer::agreed();
        peer.send_raw(header(command::DEVICE_RESET, size, 0).as_bytes(), &[]);
        let reason = format!("a message of {size} bytes, 16 to {MAX_MESSAGE_SIZE} make sense");
        closed(peer, server, Errno::EINVAL, &reason);
    }
}

#[test]
fn an_oversized_message() {
    for size in [MAX_MESSAGE_SIZE + 1, u32::MAX] {
        let (mut peer, server) = Peer::agreed();
        peer.send_raw(header(command::REGION_WRITE, size, 0).as_bytes(), &[]);
        let reason = format!("a message of {size} bytes, 16 to {MAX_MESSAGE_SIZE} make sense");
        closed(peer, server, Errno::EINVAL, &reason);
    }
}

#[test]
fn a_reply_nobody_asked_for() {
    let (mut peer, server) = Peer::agreed();
    peer.send_raw(
        header(command::DEVICE_SET_IRQS, 16, flags::TYPE_REPLY).as_bytes(),
        &[],
    );
    closed_silently(
        peer,
        server,
        "message 2989 of command 8 is no command (flags 0x1)",
    );
}

#[test]
fn a_type_that_is_reserved() {
    let (mut peer, server) = Peer::agreed();
    peer.send_raw(header(command::DEVICE_RESET, 16, 7).as_bytes(), &[]);
    closed_silently(
        peer,
        server,
        "message 2989 of command 13 is no command (flags 0x7)",
    );
}

#[test]
fn the_end_within_a_header_or_a_payload() {
    for len in [1, 15, 16, 17, 47] {
        let (mut peer, server) = Peer::agreed();
        let mut message = header(command::DMA_MAP, 48, 0).as_bytes().to_vec();
        message.resize(48, 0);
        peer.send_raw(&message[..len], &[]);
        peer.stream.shutdown(Shutdown::Write).unwrap();
        closed_silently(
            peer,
            server,
            &format!("the connection ended {len} bytes into a message"),
        );
    }
}

#[test]
fn a_payload_too_short_for_its_command() {
    for (number, needed) in [
        (command::DMA_MAP, 32),
        (command::DMA_UNMAP, 24),
        (command::DEVICE_GET_INFO, 16),
        (command::DEVICE_GET_REGION_INFO, 32),
        (command::DEVICE_GET_REGION_IO_FDS, 16),
        (command::DEVICE_GET_IRQ_INFO, 16),
        (command::DEVICE_SET_IRQS, 20),
        (command::REGION_READ, 16),
        (command::REGION_WRITE, 16),
        (command::REGION_WRITE_MULTI, 8),
    ] {
        for len in [0, 1, needed - 1] {
            let (mut peer, server) = Peer::agreed();
            let header = header(number, (HEADER_SIZE + len) as u32, 0);
            peer.send_raw(&[header.as_bytes(), &vec![0; len]].concat(), &[]);
            let reason = format!("command {number} with {len} bytes of payload, too few");
            closed(peer, server, Errno::EINVAL, &reason);
        }
    }
}

#[test]
fn a_posted_message_that_is_none_is_not_answered_either() {
    let (mut peer, server) = Peer::agreed();
    peer.send_raw(
        header(command::DMA_MAP, 16, flags::NO_REPLY).as_bytes(),
        &[],
    );
    closed_silently(peer, server, "command 2 with 0 bytes of payload, too few");
}

#[test]
fn too_many_descriptors() {
    let eventfds: Vec<_> = (0..=MAX_MESSAGE_FDS).map(|_| eventfd()).collect();
    let fds: Vec<_> = eventfds.iter().map(AsRawFd::as_raw_fd).collect();
    let (mut peer, server) = Peer::agreed();
    peer.send_raw(header(command::DEVICE_RESET, 16, 0).as_bytes(), &fds);
    let reason = "33 file descriptors arrived, at most 32 are taken with a message";
    closed_silently(peer, server, reason);
}

#[test]
fn too_many_descriptors_by_and_by() {
    let eventfd = eventfd();
    let (mut peer, server) = Peer::agreed();
    for byte in header(command::DEVICE_SET_IRQS, 1000, 0).as_bytes() {
        // The server hangs up at the eleventh.
        let _ = peer.try_send_raw(&[*byte], &[eventfd.as_raw_fd(); 3]);
    }
    let reason = "33 file descriptors arrived, at most 32 are taken with a message";
    closed_silently(peer, server, reason);
}
