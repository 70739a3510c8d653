// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bytes through a socket into the server. The first byte of the input says how it is cut into writes.

#![no_main]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

use libfuzzer_sys::fuzz_target;
use qemu_device::vfio_user::irq::Interrupts;
use qemu_device::vfio_user::memory::DmaTable;
use qemu_device::vfio_user::server::serve;
use qemu_device_fuzz::Toy;

/// An agreement on the version, so that inputs need not find it first.
const VERSION: [u8; 20] = [0, 0, 1, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fuzz_target!(|data: &[u8]| {
    let [cut, data @ ..] = data else { return };
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        let mut reader = ours.try_clone().unwrap();
        let reading = scope.spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(1..) = reader.read(&mut buffer) {}
        });
        let writing = scope.spawn(move || {
            let greeting = if cut & 0x80 == 0 { &VERSION[..] } else { &[] };
            let piece = usize::from(cut & 0x7f) + 1;
            // The server may hang up first.
            let _ = ours.write_all(greeting);
            let _ = data
                .chunks(piece)
                .try_for_each(|piece| ours.write_all(piece));
            let _ = ours.shutdown(Shutdown::Write);
        });
        let (memory, interrupts) = (Arc::new(DmaTable::new()), Arc::new(Interrupts::new()));
        if let Err(error) = serve(theirs, &memory, &interrupts, &mut Toy::default()) {
            let _ = error.to_string();
        }
        // The end of a scope waits for less than the end of its threads: LeakSanitizer would see them.
        writing.join().unwrap();
        reading.join().unwrap();
    });
});
