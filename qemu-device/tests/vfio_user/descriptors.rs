// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Descriptors that no message has a use for.

use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;

use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use qemu_device::vfio_user::wire::{command, Header, RegionAccess};
use zerocopy::IntoBytes;

use crate::peer::{eventfd, sealed_memfd, Peer};

/// The first 16 of 48 bytes.
fn begun() -> Header {
    Header {
        message_id: 7,
        command: command::DMA_MAP,
        message_size: 48,
        flags: 0,
        error: 0,
    }
}

#[test]
fn the_clients_own_end_does_not_keep_its_connection_open() {
    let (mut peer, server) = Peer::agreed();
    let own = peer.stream.as_raw_fd();
    peer.send_raw(begun().as_bytes(), &[own]);
    drop(peer);
    server.wait_for_end();
    assert_eq!(
        server.end_reason(),
        "the connection ended 16 bytes into a message"
    );
}

#[test]
fn the_clients_own_end_behind_unread_replies_does_not_either() {
    let (mut peer, server) = Peer::agreed();
    let read = RegionAccess {
        offset: 0,
        region: 0,
        count: 0x8000,
    };
    for _ in 0..100 {
        peer.send(command::REGION_READ, 0, read.as_bytes(), &[]);
    }
    let own = peer.stream.as_raw_fd();
    peer.send_raw(begun().as_bytes(), &[own]);
    drop(peer);
    server.wait_for_end();
}

#[test]
fn what_is_no_memory_and_no_eventfd_is_closed_before_its_message_is_whole() {
    let (mut peer, _server) = Peer::agreed();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (eventfd, memory) = (eventfd(), sealed_memfd(0x1000));
    let fds = [&theirs as &dyn AsRawFd, &eventfd, &memory].map(|fd| fd.as_raw_fd());
    peer.send_raw(begun().as_bytes(), &fds);
    drop(theirs);
    let mut end = [PollFd::new(ours.as_fd(), PollFlags::empty())];
    let in_time = poll(&mut end, PollTimeout::from(60_000u16)).unwrap();
    assert_eq!(in_time, 1, "the server holds it");
    peer.stream.shutdown(Shutdown::Write).unwrap();
}
