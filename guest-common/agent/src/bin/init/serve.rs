// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The command server: the guest's end of the virtio-serial port, and a thread for each command.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use agent::mux::frame::BOOT_ID;
use agent::mux::{Mux, TrunkError, PORT_NAME};
use agent::session::{self, SessionError};
use nix::libc;
use nix::sys::signal::{SigSet, Signal};

use crate::console::say;

/// How long the kernel may take to find the port.
const PORT_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two looks for the runner.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves for ever; returns only if there is no port.
pub fn run() -> ExitCode {
    // At a shutdown PID 1 ends everybody by SIGTERM; the server lives on to tell how they ended.
    // Blocked, not ignored: an ignored signal would stay so in every command.
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGTERM);
    let _ = mask.thread_block();
    if let Err(error) = agent::process::outlive_full_memory() {
        say!("memory that is full may end the command server: {error}");
    }

    let Some(port) = find_port() else {
        say!(
            "no virtio-serial port {PORT_NAME} after {} s (CONFIG_VIRTIO_CONSOLE, CONFIG_VIRTIO_PCI)",
            PORT_TIMEOUT.as_secs()
        );
        return ExitCode::FAILURE;
    };
    say!("ready for commands");
    loop {
        match serve(&port) {
            TrunkError::Ended => {}
            error => say!("{}: {error}", port.display()),
        }
        thread::sleep(PAUSE);
    }
}

/// Until the runner leaves.
fn serve(port: &PathBuf) -> TrunkError {
    let result = (|| {
        let trunk = open(port)?;
        let mut mux = Mux::guest(trunk, &boot_id()?)?;
        loop {
            mux.turn(None, start)?;
        }
    })();
    match result {
        Ok(never) => never,
        Err(error) => error,
    }
}

fn open(port: &PathBuf) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(port)
}

/// A name for this start of the server.
fn boot_id() -> io::Result<[u8; BOOT_ID]> {
    let uuid = fs::read("/proc/sys/kernel/random/uuid")?;
    let id = uuid.get(..BOOT_ID).and_then(|id| id.try_into().ok());
    id.ok_or_else(|| io::Error::other("/proc/sys/kernel/random/uuid is no UUID"))
}

/// The port's device. The host tells the ports' names after the driver is up.
fn find_port() -> Option<PathBuf> {
    let deadline = Instant::now() + PORT_TIMEOUT;
    loop {
        let ports = fs::read_dir("/sys/class/virtio-ports")
            .into_iter()
            .flatten()
            .flatten();
        let mut ports = ports.filter(|port| {
            fs::read_to_string(port.path().join("name")).is_ok_and(|name| name.trim() == PORT_NAME)
        });
        if let Some(port) = ports.next() {
            return Some(PathBuf::from("/dev").join(port.file_name()));
        }
        if Instant::now() > deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn start(link: UnixStream) {
    let serve = || match session::serve(link.into()) {
        // A host that leaves is everyday.
        Ok(()) | Err(SessionError::Lost) => {}
        Err(e) => say!("command: {e}"),
    };
    if let Err(e) = thread::Builder::new().name("command".into()).spawn(serve) {
        say!("no thread for a command: {e}");
    }
}
