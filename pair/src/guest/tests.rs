// SPDX-License-Identifier: Apache-2.0 OR MIT

use super::test_guest::{guest, off, serve, session, TestGuest};
use super::*;
use agent::wire::{Decoder, Frame, ToGuest, ToHost, WindowSize, MAX_PAYLOAD};
use proptest::prelude::*;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_command_has_its_own_streams_and_status() {
    let test = guest();
    let guest = &test.guest;
    let output = guest.run("echo out; echo err >&2; exit 3", SOON).unwrap();
    let expected = Output {
        exit: Exit::Code(3),
        stdout: b"out\n".to_vec(),
        stderr: b"err\n".to_vec(),
    };
    assert_eq!(output, expected);
    assert_eq!(guest.run("kill -9 $$", SOON).unwrap().exit.status(), 137);
}

#[test]
fn input_beyond_the_window_arrives_whole() {
    let test = guest();
    let guest = &test.guest;
    let input: Vec<u8> = (0..5_000_000u32)
        .map(|i| (i.wrapping_mul(i) >> 5) as u8)
        .collect();
    let output = guest.run_with_input("cat", &input, SOON).unwrap();
    assert!(output.stdout == input);
}

#[test]
fn input_that_nobody_wants_does_not_hold_the_command() {
    let test = guest();
    let guest = &test.guest;
    let output = guest
        .run_with_input("exec true", &vec![0; 5_000_000], SOON)
        .unwrap();
    assert_eq!(output.exit, Exit::Code(0));
}

#[test]
fn a_command_that_takes_too_long_is_named_and_killed() {
    let test = guest();
    let guest = &test.guest;
    let error = guest
        .run("echo $$; exec sleep 77", Duration::from_millis(300))
        .unwrap_err();
    assert!(matches!(error, GuestError::Timeout { .. }), "{error}");
    assert!(error.to_string().contains("sleep 77"), "{error}");
}

#[test]
fn a_guest_that_goes_away_is_lost() {
    let test = serve(|mut stream| {
        let _ = stream.read(&mut [0; 100]);
    });
    let error = test.guest.run("true", SOON).unwrap_err();
    assert!(matches!(error, GuestError::Lost { .. }), "{error}");
}

#[test]
fn an_agent_that_makes_no_sense_is_said_so() {
    let test = serve(|mut stream| {
        let _ = stream.read(&mut [0; 100]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = stream.read(&mut [0; 100]);
    });
    let error = test.guest.run("true", SOON).unwrap_err();
    assert!(matches!(error, GuestError::Protocol { .. }), "{error}");
}

#[test]
fn a_wait_names_what_it_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let guest = Guest::new("rc", dir.path().join("none"));
    let error = guest
        .wait_ready(Duration::from_millis(50))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("guest rc") && error.contains("nothing serves"),
        "{error}"
    );

    let test = off();
    let error = test
        .guest
        .wait_ready(Duration::from_millis(50))
        .unwrap_err()
        .to_string();
    assert!(error.contains("agent does not answer"), "{error}");

    // A runner that hangs: its socket takes the connection, and that is all.
    let socket = dir.path().join("hung");
    let _listener = UnixListener::bind(&socket).unwrap();
    let guest = Guest::new("rc", &socket);
    let error = guest
        .wait_ready(Duration::from_millis(50))
        .unwrap_err()
        .to_string();
    assert!(error.contains("runner does not answer"), "{error}");
}

#[test]
fn a_guest_may_boot_after_its_relay() {
    let test = off();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| test.guest.wait_ready(SOON));
        std::thread::sleep(Duration::from_millis(50));
        test.boot(1, session);
        waiting.join().unwrap().unwrap();
    });
}

#[test]
fn a_reboot_ends_what_was() {
    let test = off();
    let trunk = test.boot(1, session);
    let guest = test.guest.clone();
    guest.wait_ready(SOON).unwrap();
    let old = std::thread::spawn(move || guest.run("sleep 30", SOON));
    std::thread::sleep(Duration::from_millis(100));
    // The old agent is gone without a word: a thread that reads no more is as good as none, so the
    // new one greets on the same port.
    let greeting = trunk.try_clone().unwrap();
    TestGuest::start_agent(greeting, 2, session);
    let error = old.join().unwrap().unwrap_err();
    assert!(matches!(error, GuestError::Lost { .. }), "{error}");
}

#[test]
fn a_qemu_that_ends_is_lost_and_its_successor_is_found() {
    let test = off();
    let trunk = test.boot(1, session);
    let guest = test.guest.clone();
    guest.wait_ready(SOON).unwrap();
    let old = std::thread::spawn(move || guest.run("sleep 30", SOON));
    std::thread::sleep(Duration::from_millis(100));
    trunk.shutdown(std::net::Shutdown::Both).unwrap();
    let error = old.join().unwrap().unwrap_err();
    assert!(matches!(error, GuestError::Lost { .. }), "{error}");
    test.boot(2, session);
    assert_eq!(test.guest.run("exit 5", SOON).unwrap().exit, Exit::Code(5));
}

#[test]
fn a_relay_that_ends_takes_its_socket_and_its_commands_along() {
    let test = guest();
    test.guest.wait_ready(SOON).unwrap();
    let guest = test.guest.clone();
    let old = std::thread::spawn(move || guest.run("sleep 30", SOON));
    std::thread::sleep(Duration::from_millis(100));
    let socket = test.guest.socket().to_owned();
    drop(test.relay);
    assert!(!socket.exists());
    let error = old.join().unwrap().unwrap_err();
    assert!(matches!(error, GuestError::Lost { .. }), "{error}");
}

#[test]
fn many_commands_at_once_keep_their_bytes_apart() {
    let test = guest();
    std::thread::scope(|scope| {
        for seed in 0..8u32 {
            let guest = &test.guest;
            scope.spawn(move || {
                let input: Vec<u8> = (0..3_000_000)
                    .map(|i: u32| (i.wrapping_mul(i ^ seed) >> 7) as u8)
                    .collect();
                let output = guest.run_with_input("cat", &input, SOON).unwrap();
                assert!(output.stdout == input, "bytes of command {seed} are wrong");
            });
        }
    });
}

fn host_frame() -> impl Strategy<Value = (u8, Vec<u8>)> {
    (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..300))
}

proptest! {
    /// Whatever arrives: no panic, and every frame is either understood or a typed error.
    #[test]
    fn any_bytes_are_frames_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        let (mut decoder, mut source) = (Decoder::default(), &bytes[..]);
        'stream: while !source.is_empty() {
            decoder.fill(&mut source).unwrap();
            loop {
                match decoder.next_frame() {
                    Ok(Some(frame)) => {
                        prop_assert!(frame.payload.len() <= MAX_PAYLOAD);
                        let _ = (ToGuest::parse(frame), ToHost::parse(frame));
                    }
                    Ok(None) => break,
                    Err(_) => break 'stream,
                }
            }
        }
    }

    /// A frame's meaning, written again, is the same frame.
    #[test]
    fn what_is_understood_can_be_said_again((kind, payload) in host_frame()) {
        let frame = Frame { kind, payload: &payload };
        let mut again = Vec::new();
        if let Ok(message) = ToGuest::parse(frame) {
            message.encode(&mut again).unwrap();
            prop_assert_eq!(&again[..1], &[kind]);
            prop_assert_eq!(&again[5..], &payload[..]);
        }
        if let Ok(message) = ToHost::parse(frame) {
            again.clear();
            message.encode(&mut again);
            prop_assert_eq!(&again[5..], &payload[..]);
        }
    }

    /// Frames are the same wherever the stream is cut.
    #[test]
    fn a_cut_changes_nothing(
        chunks in proptest::collection::vec(1usize..2000, 1..20),
        data in proptest::collection::vec(any::<u8>(), 0..5_000),
        command in "\\PC{0,40}",
        name in "[A-Z_]{1,8}",
        rows in any::<u16>(),
    ) {
        let start = Start {
            command: command.replace('\0', ""),
            environment: vec![(name, command.replace('\0', ""))],
            terminal: Some(WindowSize { rows, columns: 80 }),
            ..Start::default()
        };
        let sent = [ToGuest::Start(start), ToGuest::Stdin(&data)];
        let mut bytes = Vec::new();
        for message in &sent {
            message.encode(&mut bytes).unwrap();
        }
        let (mut decoder, mut rest) = (Decoder::default(), &bytes[..]);
        let (mut received, mut cuts) = (0, chunks.iter().cycle());
        while !rest.is_empty() {
            let (mut piece, tail) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            rest = tail;
            while !piece.is_empty() {
                decoder.fill(&mut piece).unwrap();
                while let Some(frame) = decoder.next_frame().unwrap() {
                    prop_assert_eq!(&ToGuest::parse(frame).unwrap(), &sent[received]);
                    received += 1;
                }
            }
        }
        prop_assert_eq!(received, sent.len());
        prop_assert!(!decoder.has_partial_frame());
    }
}
