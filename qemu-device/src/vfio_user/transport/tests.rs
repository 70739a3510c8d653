// SPDX-License-Identifier: Apache-2.0 OR MIT

use std::io::Write;
use std::thread;
use std::time::Duration;

use nix::sys::resource::{getrusage, UsageWho};
use nix::sys::time::TimeValLike;
use zerocopy::IntoBytes;

use super::*;

fn header(id: u16, message_size: usize) -> Header {
    let message_size = message_size as u32;
    Header {
        message_id: id,
        command: 9,
        message_size,
        flags: 0,
        error: 0,
    }
}

/// CPU time of this thread so far, in microseconds.
fn cpu_time() -> i64 {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
    usage.user_time().num_microseconds() + usage.system_time().num_microseconds()
}

#[test]
fn waiting_costs_no_cpu() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let waiting = thread::spawn(move || {
        let mut transport = Transport::new(theirs);
        let before = cpu_time();
        let first = transport.receive().unwrap().is_some();
        (first, cpu_time() - before)
    });
    thread::sleep(Duration::from_millis(500));
    (&ours)
        .write_all(header(1, HEADER_SIZE).as_bytes())
        .unwrap();
    let (first, spent) = waiting.join().unwrap();
    assert!(first);
    assert!(
        spent < 20_000,
        "{spent} us of CPU in half a second of waiting"
    );
}

#[test]
fn looking_is_given_up_while_messages_are_rare() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let waiting = thread::spawn(move || {
        let mut transport = Transport::new(theirs);
        let before = cpu_time();
        let mut messages = 0;
        while transport.receive().unwrap().is_some() {
            messages += 1;
        }
        (messages, cpu_time() - before)
    });
    for id in 0..300 {
        thread::sleep(Duration::from_millis(1));
        (&ours)
            .write_all(header(id, HEADER_SIZE).as_bytes())
            .unwrap();
    }
    drop(ours);
    let (messages, spent) = waiting.join().unwrap();
    assert_eq!(messages, 300);
    // Looking for 100 us each time would take 30 ms.
    assert!(spent < 20_000, "{spent} us of CPU");
}

#[test]
fn messages_that_are_there_come_with_one_system_call() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut transport = Transport::new(theirs);
    let mut sent = 0;
    for _ in 0..50 {
        for id in 0..100u16 {
            let size = HEADER_SIZE + usize::from(id % 37);
            let mut message = header(id, size).as_bytes().to_vec();
            message.resize(size, id as u8);
            ours.write_all(&message).unwrap();
            sent += size as u64;
        }
        for id in 0..100u16 {
            let message = transport.receive().unwrap().unwrap();
            assert_eq!(message.header.message_id, id);
            assert_eq!(message.payload, vec![id as u8; usize::from(id % 37)]);
            assert!(message.fds.is_empty());
            assert_eq!(transport.received, sent, "all of them with the first");
        }
    }
    assert_eq!(transport.buffer.len(), BUFFER_SIZE, "nothing made it grow");
}

#[test]
fn the_buffer_grows_no_further_than_the_longest_message() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let sending = thread::spawn(move || {
        for _ in 0..3 {
            let mut message = header(1, MAX_MESSAGE_SIZE as usize).as_bytes().to_vec();
            message.resize(MAX_MESSAGE_SIZE as usize, 1);
            ours.write_all(header(0, HEADER_SIZE).as_bytes()).unwrap();
            ours.write_all(&message).unwrap();
        }
    });
    let mut transport = Transport::new(theirs);
    for n in 0..6 {
        let message = transport.receive().unwrap().unwrap();
        assert_eq!(message.header.message_id, n % 2);
    }
    assert!(transport.receive().unwrap().is_none());
    assert_eq!(transport.buffer.len(), MAX_MESSAGE_SIZE as usize);
    sending.join().unwrap();
}

#[test]
fn a_reply_longer_than_the_socket_holds_arrives_whole() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut transport = Transport::new(theirs);
    let reply: Vec<u8> = (0..3_000_000u32).map(|n| (n / 3) as u8).collect();
    let sent = reply.clone();
    let sending = thread::spawn(move || transport.send(&sent).unwrap());
    let mut received = vec![0; reply.len()];
    std::io::Read::read_exact(&mut ours, &mut received).unwrap();
    assert!(received == reply);
    sending.join().unwrap();
}
