// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A QEMU, as far as its vfio-user socket goes: writes are posted, everything else is answered.

use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::{fcntl, FcntlArg, SealFlag};
use nix::sys::memfd::{memfd_create, MFdFlags};
use nix::sys::socket::{sendmsg, ControlMessage, MsgFlags};
use qemu_device::vfio_user::wire::{
    command, flags, DmaMap, DmaUnmap, Header, RegionAccess, HEADER_SIZE,
};
use qemu_device::vfio_user::CONFIG_REGION;
use zerocopy::{FromBytes, IntoBytes};

/// Longer than anything takes.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// RAM as `memory-backend-memfd` makes it.
pub fn memory(size: u64) -> OwnedFd {
    let file = memfd_create(c"ram", MFdFlags::MFD_ALLOW_SEALING).unwrap();
    nix::unistd::ftruncate(&file, size as i64).unwrap();
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)).unwrap();
    file
}

/// Waits until `done`.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub struct Guest {
    stream: UnixStream,
    next_id: u16,
}

impl Guest {
    /// Connects to the socket at `path` once it is there, and agrees on the version.
    pub fn connect(path: &Path) -> Self {
        let mut stream = None;
        eventually("connecting", || {
            stream = UnixStream::connect(path).ok();
            stream.is_some()
        });
        let stream = stream.unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut guest = Self { stream, next_id: 0 };
        guest.ask(command::VERSION, [0u16, 0].as_bytes(), &[]);
        guest
    }

    fn send(&mut self, number: u16, attributes: u32, payload: &[u8], fds: &[RawFd]) {
        let header = Header {
            message_id: self.next_id,
            command: number,
            message_size: (HEADER_SIZE + payload.len()) as u32,
            flags: flags::TYPE_COMMAND | attributes,
            error: 0,
        };
        self.next_id = self.next_id.wrapping_add(1);
        let bytes = [header.as_bytes(), payload].concat();
        let rights = [ControlMessage::ScmRights(fds)];
        let control = if fds.is_empty() { &[][..] } else { &rights[..] };
        let (fd, parts) = (self.stream.as_raw_fd(), [IoSlice::new(&bytes)]);
        let sent = sendmsg::<()>(fd, &parts, control, MsgFlags::MSG_NOSIGNAL, None).unwrap();
        self.stream.write_all(&bytes[sent..]).unwrap();
    }

    /// Sends a command that is to be done, and returns the payload of the reply.
    fn ask(&mut self, number: u16, payload: &[u8], fds: &[RawFd]) -> Vec<u8> {
        self.send(number, 0, payload, fds);
        let mut header = [0; HEADER_SIZE];
        self.stream.read_exact(&mut header).expect("a reply");
        let header = Header::read_from_bytes(&header).unwrap();
        let mut payload = vec![0; header.message_size as usize - HEADER_SIZE];
        self.stream.read_exact(&mut payload).unwrap();
        assert_eq!((header.command, header.error), (number, 0));
        payload
    }

    pub fn map(&mut self, address: u64, size: u64, file: Option<(&OwnedFd, u64)>) {
        let map = DmaMap {
            argsz: 32,
            flags: 3,
            offset: file.map_or(0, |(_, offset)| offset),
            address,
            size,
        };
        let fd = file.map(|(file, _)| file.as_raw_fd());
        self.ask(command::DMA_MAP, map.as_bytes(), fd.as_slice());
    }

    pub fn unmap(&mut self, address: u64, size: u64) {
        let (argsz, flags) = (24, 0);
        let unmap = DmaUnmap {
            argsz,
            flags,
            address,
            size,
        };
        self.ask(command::DMA_UNMAP, unmap.as_bytes(), &[]);
    }

    fn access(region: u32, offset: u64, count: usize) -> RegionAccess {
        let count = count as u32;
        RegionAccess {
            offset,
            region,
            count,
        }
    }

    /// A posted write.
    pub fn post(&mut self, region: u32, offset: u64, data: &[u8]) {
        let access = Self::access(region, offset, data.len());
        let payload = [access.as_bytes(), data].concat();
        self.send(command::REGION_WRITE, flags::NO_REPLY, &payload, &[]);
    }

    pub fn read(&mut self, region: u32, offset: u64, len: usize) -> Vec<u8> {
        let access = Self::access(region, offset, len);
        let reply = self.ask(command::REGION_READ, access.as_bytes(), &[]);
        reply[size_of::<RegionAccess>()..].to_vec()
    }

    pub fn read32(&mut self, region: u32, offset: u64) -> u32 {
        u32::from_le_bytes(self.read(region, offset, 4).try_into().unwrap())
    }

    pub fn config(&mut self, offset: u64, value: u32) {
        self.post(CONFIG_REGION, offset, &value.to_le_bytes());
    }

    /// A read that has no effect: what was posted before is done.
    pub fn fence(&mut self) {
        self.read32(CONFIG_REGION, 0);
    }

    /// QEMU is killed.
    pub fn hang_up(&self) {
        self.stream.shutdown(std::net::Shutdown::Both).unwrap();
    }

    pub fn reset(&mut self) {
        self.ask(command::DEVICE_RESET, &[], &[]);
    }
}
