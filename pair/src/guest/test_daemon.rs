// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A relay and a guest for the unit tests: the agent's sessions, run on the host.

use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;

use agent::mux::GREETING;

use super::Guest;

/// A guest whose commands run on this host; it lives in `dir`.
pub fn guest() -> (tempfile::TempDir, Guest) {
    serve(|stream| {
        let _ = agent::session::serve(stream.into());
    })
}

/// A guest that greets, then does as told.
pub fn serve(session: fn(UnixStream)) -> (tempfile::TempDir, Guest) {
    let (dir, listener, socket) = listen();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                stream.write_all(GREETING).unwrap();
                session(stream);
            });
        }
    });
    (dir, Guest::new("ep", socket))
}

/// A socket on which nothing happens by itself.
pub fn listen() -> (tempfile::TempDir, UnixListener, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("relay");
    let listener = UnixListener::bind(&socket).unwrap();
    (dir, listener, socket)
}
