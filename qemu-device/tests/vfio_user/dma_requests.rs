// SPDX-License-Identifier: Apache-2.0 OR MIT
//! *VFIO_USER_DMA_READ* and *VFIO_USER_DMA_WRITE*, which the server sends.

use std::thread;
use std::time::{Duration, Instant};

use qemu_device::vfio_user::memory::{RequestError, MAX_REQUESTS};
use qemu_device::vfio_user::wire::{command, flags, DmaAccess, Header, RegionAccess, HEADER_SIZE};
use qemu_device::vfio_user::Errno;
use zerocopy::{FromBytes, IntoBytes};

use crate::peer::{Peer, Reply, Server};

/// What the client says to the write that came as `asked`.
fn answer(peer: &mut Peer, asked: &Reply, errno: Option<Errno>) {
    let reply = match errno {
        None => asked.header.reply(HEADER_SIZE as u32),
        Some(errno) => asked.header.error_reply(errno),
    };
    peer.send_raw(reply.as_bytes(), &[]);
}

/// Where the device heard that nothing was, once all that was sent before has been read.
fn refusals(peer: &mut Peer, server: &Server) -> Vec<u64> {
    peer.request(command::DEVICE_RESET, &[0u8; 0]);
    server.toy.seen().posts_refused.clone()
}

/// A client that the server knows to have the version: it has had another reply since.
fn connected() -> (Peer, Server) {
    let (mut peer, server) = Peer::agreed();
    peer.request(command::DEVICE_RESET, &[0u8; 0]);
    (peer, server)
}

#[test]
fn nobody_is_asked_before_there_is_a_version() {
    let (_peer, server) = Peer::silent();
    assert_eq!(server.memory.post(0, &[0]), Err(RequestError::NoClient));
}

#[test]
fn the_client_is_asked_and_nobody_waits() {
    let (mut peer, server) = connected();
    server.memory.post(0xffff_f004, &[1, 2, 3, 4]).unwrap();
    server.memory.post(0x10, &[5]).unwrap();
    let first = peer.receive();
    assert_eq!(first.header.command, command::DMA_WRITE);
    assert_eq!(first.header.flags, flags::TYPE_COMMAND, "to be answered");
    let (write, data) = DmaAccess::read_from_prefix(&first.payload).unwrap();
    assert_eq!((write.address, write.count), (0xffff_f004, 4));
    assert_eq!(data, [1, 2, 3, 4]);
    let second = peer.receive();
    assert_ne!(first.header.message_id, second.header.message_id);
    answer(&mut peer, &second, None);
    assert_eq!(refusals(&mut peer, &server), [0u64; 0]);
    answer(&mut peer, &first, Some(Errno::ENODEV));
    assert_eq!(refusals(&mut peer, &server), [0xffff_f004]);
}

#[test]
fn a_client_that_does_not_answer_is_asked_so_often_and_no_more() {
    let (mut peer, server) = connected();
    for _ in 0..MAX_REQUESTS {
        server.memory.post(0, &[0; 8]).unwrap();
    }
    assert_eq!(server.memory.post(0, &[0; 8]), Err(RequestError::Behind));
    // It is waited for once.
    let begin = Instant::now();
    for _ in 0..100 {
        assert_eq!(server.memory.post(0, &[0; 8]), Err(RequestError::Behind));
    }
    assert!(begin.elapsed() < Duration::from_secs(5));
    let asked = peer.receive();
    answer(&mut peer, &asked, None);
    for _ in 1..MAX_REQUESTS {
        peer.receive();
    }
    refusals(&mut peer, &server);
    server.memory.post(0, &[0; 8]).unwrap();
    assert_eq!(server.memory.post(0, &[0; 8]), Err(RequestError::Behind));
}

#[test]
fn a_client_that_is_slow_is_waited_for() {
    let (mut peer, server) = connected();
    let memory = server.memory.clone();
    let posting = thread::spawn(move || {
        (0..3 * MAX_REQUESTS as u64).all(|n| memory.post(n, &[0; 8]).is_ok())
    });
    for n in 0..3 * MAX_REQUESTS as u64 {
        if n % 50 == 0 {
            thread::sleep(Duration::from_millis(20));
        }
        let asked = peer.receive();
        let (write, _) = DmaAccess::read_from_prefix(&asked.payload).unwrap();
        assert_eq!(write.address, n, "in order");
        answer(&mut peer, &asked, None);
    }
    assert!(posting.join().unwrap(), "none is lost");
}

#[test]
fn who_waits_hears_that_the_client_has_gone() {
    let (peer, server) = connected();
    let memory = server.memory.clone();
    let posting =
        thread::spawn(move || (0..=MAX_REQUESTS).try_for_each(|_| memory.post(0, &[0; 8])));
    thread::sleep(Duration::from_millis(100));
    drop(peer);
    assert_eq!(posting.join().unwrap(), Err(RequestError::NoClient));
}

#[test]
fn a_client_that_does_not_read_its_replies_holds_nobody_up() {
    let (mut peer, server) = connected();
    let read = RegionAccess {
        offset: 0,
        region: 0,
        count: 0x1000,
    };
    // More than the socket holds: the server waits for room with one of these half sent.
    let replies = 200;
    for _ in 0..replies {
        peer.send(command::REGION_READ, 0, read.as_bytes(), &[]);
    }
    thread::sleep(Duration::from_millis(200));
    let begin = Instant::now();
    server.memory.post(0x10, &[1]).unwrap();
    server.memory.post(0x20, &[2]).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5));
    let mut asked = 0;
    for _ in 0..replies + 2 {
        match peer.receive().header.command {
            command::DMA_WRITE => asked += 1,
            other => assert_eq!(other, command::REGION_READ),
        }
    }
    assert_eq!(asked, 2);
}

/// The next request, which is to read, is answered with `data`, as QEMU does.
fn answer_read(peer: &mut Peer, data: &[u8]) -> DmaAccess {
    let asked = peer.receive();
    assert_eq!(asked.header.command, command::DMA_READ);
    let access: DmaAccess = asked.payload();
    let size = HEADER_SIZE + size_of::<DmaAccess>() + data.len();
    let header = asked.header.reply(size as u32);
    let reply = [header.as_bytes(), access.as_bytes(), data].concat();
    peer.send_raw(&reply, &[]);
    access
}

#[test]
fn what_the_client_reads_is_waited_for() {
    let (mut peer, server) = connected();
    let memory = server.memory.clone();
    let reading = thread::spawn(move || {
        let mut data = [0; 4];
        let results = [0x10, 0x20, 0x30].map(|at| memory.fetch(at, &mut data).map(|()| data));
        (results, memory.fetch(0, &mut [0; 9]))
    });
    thread::sleep(Duration::from_millis(50));
    let access = answer_read(&mut peer, &[1, 2, 3, 4]);
    assert_eq!((access.address, access.count), (0x10, 4));
    let asked = peer.receive();
    answer(&mut peer, &asked, Some(Errno::ENODEV));
    let asked = peer.receive();
    // Neither an address nor data.
    answer(&mut peer, &asked, None);
    let (results, long) = reading.join().unwrap();
    let refused = Err(RequestError::Refused);
    assert_eq!(results, [Ok([1, 2, 3, 4]), refused, refused]);
    assert_eq!(long, Err(RequestError::Length));
    assert_eq!(refusals(&mut peer, &server), [0u64; 0], "no write was");
}

#[test]
fn a_read_that_is_not_answered_ends_and_the_next_does_not_wait() {
    let (mut peer, server) = connected();
    let fetch = || {
        let begin = Instant::now();
        let error = server.memory.fetch(0, &mut [0; 4]).unwrap_err();
        assert_eq!(error, RequestError::Behind);
        begin.elapsed()
    };
    assert!(fetch() >= Duration::from_millis(900));
    assert!(fetch() < Duration::from_millis(500));
    answer_read(&mut peer, &[1, 2, 3, 4]);
    assert_eq!(refusals(&mut peer, &server), [0u64; 0]);
    let memory = server.memory.clone();
    let reading = thread::spawn(move || memory.fetch(8, &mut [0; 4]));
    answer_read(&mut peer, &[1, 2, 3, 4]);
    assert_eq!(reading.join().unwrap(), Ok(()), "it is back");
}

#[test]
fn who_reads_hears_that_the_client_has_gone() {
    let (peer, server) = connected();
    let memory = server.memory.clone();
    let reading = thread::spawn(move || memory.fetch(0, &mut [0; 4]));
    thread::sleep(Duration::from_millis(100));
    drop(peer);
    assert_eq!(reading.join().unwrap(), Err(RequestError::NoClient));
}

#[test]
fn what_is_no_single_store_is_not_sent() {
    let (mut peer, server) = connected();
    for len in [0, 9, 4096] {
        let data = vec![0; len];
        assert_eq!(server.memory.post(0, &data), Err(RequestError::Length));
    }
    assert_eq!(refusals(&mut peer, &server), [0u64; 0]);
}

#[test]
fn an_answer_to_what_was_not_asked_ends_the_connection() {
    let (mut peer, server) = connected();
    server.memory.post(0x10, &[1]).unwrap();
    let mut asked = peer.receive();
    asked.header.message_id ^= 1;
    answer(&mut peer, &asked, None);
    peer.assert_closed();
    let id = asked.header.message_id;
    assert_eq!(
        server.end_reason(),
        format!("message {id} of command 12 is no command (flags 0x1)")
    );
}

#[test]
fn an_answer_to_nothing_ends_the_connection() {
    let (mut peer, server) = connected();
    let header = Header {
        message_id: 7,
        command: command::DMA_WRITE,
        message_size: HEADER_SIZE as u32,
        flags: flags::TYPE_REPLY,
        error: 0,
    };
    peer.send_raw(header.as_bytes(), &[]);
    peer.assert_closed();
    let memory = server.memory.clone();
    assert_eq!(
        server.end_reason(),
        "message 7 of command 12 is no command (flags 0x1)"
    );
    assert_eq!(memory.post(0, &[0]), Err(RequestError::NoClient));
}

#[test]
fn a_client_that_answers_and_never_reads_is_hung_up_on() {
    let (mut peer, server) = connected();
    let mut asked = Header {
        message_id: 0,
        command: command::DMA_WRITE,
        message_size: HEADER_SIZE as u32,
        flags: flags::TYPE_REPLY,
        error: 0,
    };
    let bytes = (HEADER_SIZE + size_of::<DmaAccess>() + 8) as u64;
    let mut posted = 0;
    // Ids are no secret.
    while server.memory.post(0x10, &[0; 8]).is_ok() {
        posted += bytes;
        // What the socket holds is not much.
        assert!(posted < 4 << 20, "all of it is kept");
        let _ = peer.try_send_raw(asked.as_bytes(), &[]);
        asked.message_id = asked.message_id.wrapping_add(1);
    }
    server.wait_for_end();
    assert_eq!(
        server.end_reason(),
        "the client leaves 65536 bytes of requests unread"
    );
}
