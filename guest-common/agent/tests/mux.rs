// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Both ends of a trunk in one process, with echoing channels at the guest's end.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{channel, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use agent::mux::frame::{data_header, Frame, BATCH, BOOT_ID};
use agent::mux::{Mux, TrunkError, GREETING, WINDOW};

const FIRST: &[u8; BOOT_ID] = b"11111111-1111-1111-1111-111111111111";
const SECOND: &[u8; BOOT_ID] = b"22222222-2222-2222-2222-222222222222";

/// The host's end on a thread; the trunk's other end; how the thread ended.
fn host(name: &str) -> (PathBuf, UnixStream, Receiver<TrunkError>) {
    let path = std::env::temp_dir().join(format!("mux-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut mux = Mux::host(near);
        let error = loop {
            if let Err(error) = mux.turn(Some(&listener), drop) {
                break error;
            }
        };
        let _ = sender.send(error);
    });
    (path, far, receiver)
}

/// A guest's end on a thread; each channel's stream is handed to `serve` on a thread of its own.
fn guest(trunk: UnixStream, boot: &'static [u8; BOOT_ID], serve: fn(UnixStream)) {
    trunk.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let mut mux = Mux::guest(trunk, boot)?;
        loop {
            mux.turn(None, |stream| drop(thread::spawn(move || serve(stream))))?;
        }
        #[allow(unreachable_code)]
        Ok::<(), TrunkError>(())
    });
}

fn echo(mut stream: UnixStream) {
    let mut copy = stream.try_clone().unwrap();
    let _ = std::io::copy(&mut stream, &mut copy);
}

fn connect(path: &PathBuf) -> UnixStream {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let mut stream = UnixStream::connect(path).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut greeting = [0; GREETING.len()];
        if stream.read_exact(&mut greeting).is_ok() {
            assert_eq!(greeting, GREETING);
            return stream;
        }
        assert!(Instant::now() < deadline, "nobody serves");
        thread::sleep(Duration::from_millis(1));
    }
}

fn echoes(mut stream: UnixStream, seed: u32, length: usize) {
    let data: Vec<u8> = (0..length as u32)
        .map(|i| (i.wrapping_add(seed).wrapping_mul(i) >> 9) as u8)
        .collect();
    let mut reader = stream.try_clone().unwrap();
    let expected = data.clone();
    let reading = thread::spawn(move || {
        let mut received = vec![0; expected.len()];
        reader.read_exact(&mut received).unwrap();
        assert!(received == expected, "bytes of channel {seed} are wrong");
    });
    stream.write_all(&data).unwrap();
    reading.join().unwrap();
}

#[test]
fn many_channels_at_once_keep_their_bytes_apart() {
    let (path, trunk, _) = host("many");
    guest(trunk, FIRST, echo);
    let clients: Vec<_> = (0..8)
        .map(|seed| {
            let stream = connect(&path);
            thread::spawn(move || echoes(stream, seed, 5_000_000))
        })
        .collect();
    clients
        .into_iter()
        .for_each(|client| client.join().unwrap());
}

#[test]
fn whoever_does_not_read_holds_up_nobody_else() {
    let (path, trunk, _) = host("slow");
    guest(trunk, FIRST, echo);
    let mut slow = connect(&path);
    slow.set_write_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let mut taken = 0;
    while let Ok(count) = slow.write(&[7; 65536]) {
        taken += count;
        assert!(taken < 100 * WINDOW as usize, "nothing holds back");
    }
    echoes(connect(&path), 1, 2_000_000);
    // And of the slow one's bytes none is lost.
    let mut received = vec![0; taken];
    slow.read_exact(&mut received).unwrap();
    assert!(received.iter().all(|byte| *byte == 7));
}

#[test]
fn the_last_bytes_arrive_before_the_end() {
    let (path, trunk, _) = host("end");
    guest(trunk, FIRST, |mut stream| {
        stream.write_all(&vec![1; 3_000_000]).unwrap()
    });
    let mut received = Vec::new();
    let mut client = connect(&path);
    thread::sleep(Duration::from_millis(100));
    client.read_to_end(&mut received).unwrap();
    assert_eq!(received.len(), 3_000_000);
}

#[test]
fn a_client_that_leaves_ends_its_channel() {
    let (path, trunk, _) = host("leave");
    // The guest's end tells by a second channel how the first one's stream ended.
    guest(trunk, FIRST, |mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        std::fs::write(String::from_utf8(all).unwrap(), "over").unwrap();
    });
    let note = path.with_extension("note");
    let _ = std::fs::remove_file(&note);
    connect(&path)
        .write_all(note.to_str().unwrap().as_bytes())
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !note.exists() {
        assert!(Instant::now() < deadline, "the channel goes on");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn without_a_guest_clients_are_hung_up_on() {
    let (path, _trunk, _) = host("none");
    let mut client = UnixStream::connect(path).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_guest_that_starts_again_voids_what_was_before() {
    let (path, trunk, _) = host("again");
    let mut raw = trunk.try_clone().unwrap();
    // By hand: a first boot that dies in the middle of a frame, with its welcome unread.
    let mut bytes = vec![0; BATCH];
    Frame::Hello(FIRST).encode(&mut bytes);
    raw.write_all(&bytes).unwrap();
    let waiting = thread::spawn({
        let path = path.clone();
        move || connect(&path)
    });
    // It may be hung up on before the greeting has come through, and try again.
    let mut request = Vec::new();
    Frame::Open(1).encode(&mut request);
    let mut heard = Vec::new();
    while !heard.ends_with(&request) {
        let mut byte = [0];
        raw.read_exact(&mut byte).unwrap();
        heard.extend(byte);
    }
    raw.write_all(&request).unwrap();
    let mut client = waiting.join().unwrap();
    raw.write_all(&data_header(1, 20_000)).unwrap();
    raw.write_all(&[9; 100]).unwrap();
    guest(trunk, SECOND, echo);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    echoes(connect(&path), 2, 1_000_000);
}

#[test]
fn nonsense_ends_the_trunk_with_a_reason() {
    for bytes in [
        &b"\xff\0\0\0\0\0\0\0\0"[..],
        b"\x03\0\0\0\0\x01\0\0\0\0",
        b"\x04\0\0\0\0\0\0\0\xff",
    ] {
        let (_, mut trunk, ended) = host("nonsense");
        trunk.write_all(bytes).unwrap();
        let error = ended.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(matches!(error, TrunkError::Nonsense(_)), "{error}");
    }
}

#[test]
fn a_guest_beyond_its_window_is_refused() {
    let (path, mut trunk, ended) = host("window");
    let mut bytes = Vec::new();
    Frame::Hello(FIRST).encode(&mut bytes);
    trunk.write_all(&bytes).unwrap();
    bytes.clear();
    Frame::Open(1).encode(&mut bytes);
    trunk.write_all(&bytes).unwrap();
    let _client = loop {
        let client = UnixStream::connect(&path).unwrap();
        client
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        // Silence instead of the end: it waits for us to confirm.
        if (&client).read(&mut [0]).is_err() {
            break client;
        }
    };
    bytes.clear();
    Frame::Data(1, &[0; 16384]).encode(&mut bytes);
    while trunk.write_all(&bytes).is_ok() {}
    let error = ended.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(matches!(error, TrunkError::WindowExceeded), "{error}");
}

#[test]
fn an_ended_trunk_is_noticed() {
    let (_, trunk, ended) = host("ended");
    trunk.shutdown(Shutdown::Both).unwrap();
    let error = ended.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(matches!(error, TrunkError::Ended), "{error}");
}

#[test]
fn a_guest_that_greets_without_listening_does_not_fill_memory() {
    let (_, mut trunk, _) = host("greets");
    let mut greetings = Vec::new();
    for _ in 0..100_000 {
        Frame::Hello(FIRST).encode(&mut greetings);
    }
    trunk.write_all(&greetings).unwrap();
    // What the socket held, and what the host kept.
    trunk
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let (mut answers, mut buffer) = (0, vec![0; BATCH]);
    while let Ok(count @ 1..) = trunk.read(&mut buffer) {
        answers += count;
    }
    assert!(answers < greetings.len() / 4, "{answers} bytes of answers");
    // Whoever listens is answered.
    trunk
        .write_all(&greetings[..greetings.len() / 100_000])
        .unwrap();
    assert!(trunk.read(&mut buffer).unwrap() > 0);
}
