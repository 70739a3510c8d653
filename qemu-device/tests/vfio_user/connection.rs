// SPDX-License-Identifier: Apache-2.0 OR MIT
//! *Socket Disconnection Behavior*, *Command Concurrency*, and how descriptors find their message.

use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use qemu_device::vfio_user::irq::MSI_INDEX;
use qemu_device::vfio_user::wire::{command, flags, DmaMap, Header, RegionAccess};
use zerocopy::IntoBytes;

use crate::peer::{self, eventfd, sealed_memfd, signals, Peer};
use crate::set_irqs::assign;

#[test]
fn a_client_that_leaves_takes_its_maps_and_eventfds_along() {
    let (mut peer, server) = Peer::agreed();
    let ram = sealed_memfd(0x1000);
    peer.request_with(
        command::DMA_MAP,
        &crate::dma_map::at(0, 0x1000),
        &[ram.as_raw_fd()],
    );
    let eventfd = eventfd();
    peer.request_with(
        command::DEVICE_SET_IRQS,
        &assign(MSI_INDEX, 0, 1),
        &[eventfd.as_raw_fd()],
    );
    let (memory, interrupts) = (server.memory.clone(), server.interrupts.clone());
    memory.write(0, &[1]).unwrap();
    drop(peer);
    server.end().unwrap();
    memory.write(0, &[1]).unwrap_err();
    interrupts.trigger(MSI_INDEX, 0);
    assert_eq!(signals(&eventfd), 0);
}

#[test]
fn another_thread_can_stop_a_connection() {
    let (mut peer, server) = Peer::agreed();
    let began = Instant::now();
    server.stop.stop();
    server.end().unwrap();
    assert!(began.elapsed() < Duration::from_secs(5));
    peer.assert_closed();
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    let (mut peer, server) = Peer::agreed();
    let mut ids = Vec::new();
    for n in 0..200u32 {
        let access = RegionAccess {
            offset: u64::from(4 * n),
            region: peer::BAR,
            count: 4,
        };
        let write = [access.as_bytes(), n.as_bytes()].concat();
        peer.send(command::REGION_WRITE, flags::NO_REPLY, &write, &[]);
        ids.push((
            n,
            peer.send(command::REGION_READ, 0, access.as_bytes(), &[]),
        ));
    }
    for (n, id) in ids {
        let reply = peer.receive();
        assert_eq!(reply.header.message_id, id);
        assert_eq!(reply.payload[16..], n.to_ne_bytes());
    }
    assert_eq!(server.toy.seen().writes.len(), 200);
}

#[test]
fn messages_may_arrive_in_any_pieces() {
    let (mut peer, server) = Peer::agreed();
    let access = RegionAccess {
        offset: 8,
        region: peer::BAR,
        count: 0x8000,
    };
    let data: Vec<u8> = (0..access.count).map(|n| n as u8).collect();
    let header = Header {
        message_id: 1,
        command: command::REGION_WRITE,
        message_size: 32 + access.count,
        flags: 0,
        error: 0,
    };
    let message = [header.as_bytes(), access.as_bytes(), &data].concat();
    for split in [1, 15, 16, 17, 31, 32, 33, 0x7000] {
        let mut stream = message.clone();
        stream.extend_from_slice(&message);
        let (first, rest) = stream.split_at(split);
        peer.send_raw(first, &[]);
        std::thread::sleep(Duration::from_millis(2));
        peer.send_raw(rest, &[]);
        for _ in 0..2 {
            assert_eq!(peer.receive().header, header.reply(32));
        }
    }
    assert_eq!(server.toy.seen().bar[8..8 + data.len()], data);
}

#[test]
fn descriptors_stay_with_their_message_among_others() {
    let (mut peer, server) = Peer::agreed();
    let files: Vec<_> = (0..40u8)
        .map(|n| {
            let file = sealed_memfd(0x1000);
            nix::sys::uio::pwrite(&file, &[n], 0).unwrap();
            file
        })
        .collect();
    // Posted, so that the server finds many of them at once.
    let write = [
        RegionAccess {
            offset: 0,
            region: peer::BAR,
            count: 4,
        }
        .as_bytes(),
        &[0xaa; 4],
    ]
    .concat();
    for (n, file) in files.iter().enumerate() {
        peer.send(command::REGION_WRITE, flags::NO_REPLY, &write, &[]);
        let map: DmaMap = crate::dma_map::at(n as u64 * 0x1000, 0x1000);
        let fds = if n % 3 == 0 {
            &[][..]
        } else {
            &[file.as_raw_fd()][..]
        };
        peer.send(command::DMA_MAP, flags::NO_REPLY, map.as_bytes(), fds);
    }
    peer.request(command::DEVICE_RESET, &[0u8; 0]);
    for n in 0..files.len() as u8 {
        let mut byte = [0xff];
        let read = server.memory.read(u64::from(n) * 0x1000, &mut byte);
        assert_eq!(read.is_ok(), n % 3 != 0);
        assert_eq!(byte[0], if n % 3 == 0 { 0xff } else { n });
    }
}

#[test]
fn descriptors_that_come_with_a_later_piece_of_their_message_are_its_own() {
    let (mut peer, server) = Peer::agreed();
    let ram = sealed_memfd(0x1000);
    let header = Header {
        message_id: 1,
        command: command::DMA_MAP,
        message_size: 48,
        flags: 0,
        error: 0,
    };
    peer.send_raw(header.as_bytes(), &[]);
    peer.send_raw(crate::dma_map::at(0, 0x1000).as_bytes(), &[ram.as_raw_fd()]);
    assert_eq!(peer.receive().header, header.reply(16));
    server.memory.write(0, &[1]).unwrap();
}
