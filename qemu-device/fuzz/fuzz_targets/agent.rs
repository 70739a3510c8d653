// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The protocol between runner and guest. The first byte of the input says at which end and in which layer the rest of it
//! arrives: the frames of a session, or the trunk that carries many of them.

#![no_main]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::OnceLock;

use agent::mux::frame::{Frame, BOOT_ID, MAX_PAYLOAD};
use agent::mux::Mux;
use agent::wire::{self, ToGuest, ToHost, WireError};
use libfuzzer_sys::fuzz_target;

const BOOT: [u8; BOOT_ID] = *b"01234567-89ab-cdef-0123-456789abcdef";

/// Takes frames out of `data`, which arrives in pieces, until it ends or makes no sense.
fn frames(mut data: &[u8], piece: usize, mut each: impl FnMut(wire::Frame)) {
    let mut decoder = wire::Decoder::default();
    loop {
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => each(frame),
                Ok(None) => break,
                Err(error) => return drop(error.to_string()),
            }
        }
        let count = decoder.fill(&mut (&mut data).take(piece as u64)).unwrap();
        if count == 0 {
            return;
        }
    }
}

/// What was understood is said again and understood to be the same.
fn to_guest(frame: wire::Frame) {
    let message = match ToGuest::parse(frame) {
        Ok(message) => message,
        Err(error) => return drop(error.to_string()),
    };
    let mut again = Vec::new();
    match message.encode(&mut again) {
        Ok(()) => frames(&again, 64 << 10, |frame| {
            assert_eq!(ToGuest::parse(frame).as_ref(), Ok(&message));
        }),
        Err(error) => assert!(matches!(error, WireError::TooLong { .. })),
    }
}

fn to_host(frame: wire::Frame) {
    let message = match ToHost::parse(frame) {
        Ok(message) => message,
        Err(error) => return drop(error.to_string()),
    };
    let mut again = Vec::new();
    message.encode(&mut again);
    if frame.payload.len() <= wire::CHUNK {
        frames(&again, 64 << 10, |frame| {
            assert_eq!(ToHost::parse(frame).as_ref(), Ok(&message));
        });
    }
}

/// Frames made of the input, with channels that there are; or whatever its bytes are.
fn trunk_bytes(mut data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let [what, channel, length, rest @ ..] = data {
        let channel = u32::from(channel % 5);
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        data = rest;
        let long;
        match what % 16 {
            0 => bytes.extend_from_slice(payload),
            1 => Frame::Hello(&BOOT).encode(&mut bytes),
            2 => Frame::Welcome(&BOOT).encode(&mut bytes),
            3 | 4 => Frame::Open(channel).encode(&mut bytes),
            5..=9 => Frame::Data(channel, payload).encode(&mut bytes),
            10 => {
                long = vec![*length; MAX_PAYLOAD];
                Frame::Data(channel, &long).encode(&mut bytes);
            }
            11 | 12 => {
                let credit = u32::from(*length) << (what >> 3);
                Frame::Credit(channel, credit).encode(&mut bytes);
            }
            13 | 14 => Frame::Close(channel).encode(&mut bytes),
            _ => bytes.push(0),
        }
    }
    bytes
}

/// A trunk, and its other end.
fn trunk() -> (UnixStream, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    far.set_nonblocking(true).unwrap();
    (near, far)
}

/// Moves what there is, and then `bytes` in pieces, until the trunk has ended; the channels' other ends are `local`.
fn run(
    mut mux: Mux<UnixStream>,
    mut far: UnixStream,
    bytes: &[u8],
    listener: Option<&UnixListener>,
    mut local: Vec<UnixStream>,
) {
    let mut pieces = bytes.chunks(40_000);
    let mut buffer = [0; 16 << 10];
    loop {
        // What the other end said is read, and each channel echoes or is closed.
        while let Ok(1..) = far.read(&mut buffer) {}
        match pieces.next().map(|piece| far.write(piece)) {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => far.shutdown(Shutdown::Write).unwrap_or(()),
        }
        let mut opened = Vec::new();
        if let Err(error) = mux.turn(listener, |stream| opened.push(stream)) {
            return drop(error.to_string());
        }
        local.append(&mut opened);
        for stream in &mut local {
            stream.set_nonblocking(true).unwrap();
            if let Ok(count @ 1..) = stream.read(&mut buffer) {
                let _ = stream.write(&buffer[..count]);
                if buffer[0] & 0x80 != 0 {
                    let _ = stream.shutdown(Shutdown::Both);
                }
            }
        }
    }
}

fn host(data: &[u8]) {
    static ADDRESS: OnceLock<(SocketAddr, UnixListener)> = OnceLock::new();
    let (address, listener) = ADDRESS.get_or_init(|| {
        let name = format!("spider-pair-fuzz-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        listener.set_nonblocking(true).unwrap();
        (address, listener)
    });
    let (near, mut far) = trunk();
    let mut mux = Mux::host(near);
    let mut hello = Vec::new();
    Frame::Hello(&BOOT).encode(&mut hello);
    far.write_all(&hello).unwrap();
    // Reads the greeting, and takes it in.
    mux.turn(None, |_| ()).unwrap();
    let clients: Vec<_> = (0..4)
        .map(|_| UnixStream::connect_addr(address).unwrap())
        .collect();
    run(mux, far, &trunk_bytes(data), Some(listener), clients);
    // None is left for the next input.
    while listener.accept().is_ok() {}
}

fn guest(data: &[u8]) {
    let (near, mut far) = trunk();
    let mut welcome = Vec::new();
    Frame::Welcome(&BOOT).encode(&mut welcome);
    far.write_all(&welcome).unwrap();
    let mux = Mux::guest(near, &BOOT).unwrap();
    run(mux, far, &trunk_bytes(data), None, Vec::new());
}

fuzz_target!(|data: &[u8]| {
    let [what, data @ ..] = data else { return };
    let piece = usize::from(what >> 2) * 13 + 1;
    match what & 3 {
        0 => frames(data, piece, to_guest),
        1 => frames(data, piece, to_host),
        2 => host(data),
        _ => guest(data),
    }
});
