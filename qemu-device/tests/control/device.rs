// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device as a process of its own, and what it costs the machine.

use std::fs;
use std::io::{BufRead, BufReader, IoSlice, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{sendmsg, ControlMessage, MsgFlags};
use serde_json::Value;

/// How long anything may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `so`, and not for ever.
#[track_caller]
pub fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !so() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A running device.
pub struct Device {
    dir: tempfile::TempDir,
    process: Child,
}

impl Device {
    /// Started, and listening.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_qemu-device"))
            .arg("--dir")
            .arg(dir.path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let device = Self { dir, process };
        let path = device.path("control.sock");
        wait_until("it listens", || UnixStream::connect(&path).is_ok());
        // Every thread runs once it answers.
        line(&device.ask(r#"{"op":"inspect","path":"link"}"#));
        device
    }

    fn path(&self, socket: &str) -> PathBuf {
        self.dir.path().join(socket)
    }

    /// A connection to one of its sockets.
    pub fn connect(&self, socket: &str) -> UnixStream {
        let stream = UnixStream::connect(self.path(socket)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A connection to the control socket that has sent `request`, which the device may have refused by then.
    pub fn ask(&self, request: &str) -> UnixStream {
        let mut stream = self.connect("control.sock");
        let _ = writeln!(stream, "{request}");
        stream
    }

    /// How many threads and descriptors it has.
    pub fn costs(&self) -> [usize; 2] {
        ["task", "fd"].map(|what| {
            let path = format!("/proc/{}/{what}", self.process.id());
            fs::read_dir(path).unwrap().count()
        })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The next line that the device sends.
pub fn line(stream: &UnixStream) -> Value {
    let mut line = String::new();
    BufReader::with_capacity(1, stream)
        .read_line(&mut line)
        .expect("it answers");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

/// Sends `bytes` with descriptors.
pub fn send_with(stream: &UnixStream, bytes: &[u8], fds: &[RawFd]) {
    let rights = [ControlMessage::ScmRights(fds)];
    let parts = [IoSlice::new(bytes)];
    let flags = MsgFlags::MSG_NOSIGNAL;
    let sent = sendmsg::<()>(stream.as_raw_fd(), &parts, &rights, flags, None);
    assert_eq!(sent, Ok(bytes.len()));
}
