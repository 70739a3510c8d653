// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bytes through a socket into the control server. The first byte of the input says how it is cut into writes.

#![no_main]

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use qemu_device::control::{serve, Events};
use qemu_device::controller::Config;
use qemu_device::machine::{Machine, RcSocket};

/// Who is told of events is told until both directions are closed: so long its client listens in silence.
const SILENCE: Duration = Duration::from_millis(5);

/// Reads until the end; all of it, but a last line that is cut off, are lines of JSON.
fn read_all(mut stream: &UnixStream) {
    let mut answers = Vec::new();
    let mut part = [0; 4096];
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(count) => answers.extend_from_slice(&part[..count]),
            // All has been written by now, or there is more to read.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let _ = stream.shutdown(Shutdown::Both);
            }
            Err(_) => break,
        }
    }
    for line in answers.split_inclusive(|byte| *byte == b'\n') {
        if line.ends_with(b"\n") {
            let _: serde_json::Value = serde_json::from_slice(line).expect("a line of JSON");
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let [cut, data @ ..] = data else { return };
    let events = Arc::new(Events::default());
    let nowhere = RcSocket::new(Path::new("/nonexistent/rc.sock"));
    let machine = Machine::new(Config::default(), nowhere, events.clone());
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        let client = scope.spawn(move || {
            let piece = usize::from(*cut) + 1;
            // The server may hang up first.
            let _ = data
                .chunks(piece)
                .try_for_each(|piece| ours.write_all(piece));
            let _ = ours.shutdown(Shutdown::Write);
            ours.set_read_timeout(Some(SILENCE)).unwrap();
            read_all(&ours);
        });
        let quits = Cell::new(0);
        let quit = || {
            quits.set(quits.get() + 1);
            Ok(())
        };
        if let Err(error) = serve(&theirs, &machine, &events, quit) {
            let _ = error.to_string();
        }
        drop(theirs);
        // The end of a scope waits for less than the end of its threads: LeakSanitizer would see them.
        client.join().unwrap();
    });
});
