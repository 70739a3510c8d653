// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The other process: an echo, or the server with a device of one register behind it.

use std::env;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;

use qemu_device::vfio_user::irq::Interrupts;
use qemu_device::vfio_user::memory::DmaTable;
use qemu_device::vfio_user::server::serve;
use qemu_device::vfio_user::{Device, Errno, RegionInfo};

use crate::figures::{REPLY_SIZE, REQUEST_SIZE};

/// Arguments that make this program the other process.
pub const BARE: &str = "--serve-bare";
pub const VFIO_USER: &str = "--serve-vfio-user";

/// The other process and what talks to it; it ends with the connection.
pub struct Remote<T> {
    pub peer: T,
    child: Child,
}

impl<T> Remote<T> {
    fn spawn(argument: &str, socket: OwnedFd, connect: impl FnOnce() -> T) -> Self {
        let program = env::current_exe().expect("the path of this program");
        let child = Command::new(program)
            .arg(argument)
            .stdin(socket)
            .spawn()
            .expect("a process");
        Self {
            peer: connect(),
            child,
        }
    }
}

impl<T> Drop for Remote<T> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts an echo at the other end of a socketpair.
pub fn spawn_bare() -> Remote<UnixStream> {
    let (ours, theirs) = UnixStream::pair().expect("a socketpair");
    Remote::spawn(BARE, theirs.into(), || ours)
}

/// Starts the server and connects to it by path.
pub fn spawn_vfio_user<T>(connect: impl FnOnce(&Path) -> T) -> Remote<T> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("register.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    Remote::spawn(VFIO_USER, listener.into(), || connect(&path))
}

fn socket() -> OwnedFd {
    std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .expect("a socket on standard input")
}

/// Answers requests until the connection ends.
pub fn bare() {
    let mut stream = UnixStream::from(socket());
    let mut request = [0; REQUEST_SIZE];
    while stream.read_exact(&mut request).is_ok() && stream.write_all(&[0; REPLY_SIZE]).is_ok() {}
}

/// Serves one connection.
pub fn vfio_user() {
    let (stream, _) = UnixListener::from(socket()).accept().expect("a connection");
    let (memory, interrupts) = (Arc::new(DmaTable::new()), Arc::new(Interrupts::new()));
    let _ = serve(stream, &memory, &interrupts, &mut Register(0));
}

/// A device of one register in BAR 0.
struct Register(u32);

impl Device for Register {
    fn region(&self, index: u32) -> Option<RegionInfo> {
        (index == 0).then_some(RegionInfo::read_write(4096))
    }

    fn irq_count(&self, _index: u32) -> Option<u32> {
        None
    }

    fn read(&mut self, _region: u32, _offset: u64, data: &mut [u8]) -> Result<(), Errno> {
        data.copy_from_slice(&self.0.to_ne_bytes()[..data.len()]);
        Ok(())
    }

    fn write(&mut self, _region: u32, _offset: u64, data: &[u8]) -> Result<(), Errno> {
        self.0 = u32::from_ne_bytes(data.try_into().map_err(|_| Errno::EINVAL)?);
        Ok(())
    }

    fn reset(&mut self) {
        self.0 = 0;
    }
}
