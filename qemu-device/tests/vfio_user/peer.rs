// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A toy device behind the real server, and a client that may say anything.

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::memfd::{memfd_create, MFdFlags};
use nix::sys::socket::{sendmsg, ControlMessage, MsgFlags};
use qemu_device::vfio_user::irq::{Interrupts, ERR_INDEX, INTX_INDEX, MSIX_INDEX, MSI_INDEX};
use qemu_device::vfio_user::memory::DmaTable;
use qemu_device::vfio_user::server::{serve, ServeError, Stop};
use qemu_device::vfio_user::wire::{command, flags, Header, HEADER_SIZE};
use qemu_device::vfio_user::{Device, Errno, RegionInfo, CONFIG_REGION};
use zerocopy::{FromBytes, Immutable, IntoBytes};

pub const BAR: u32 = 0;
pub const BAR_SIZE: u64 = 1 << 20;
pub const READ_ONLY_BAR: u32 = 2;
/// Reads and writes of this BAR fail with `EIO`.
pub const BROKEN_BAR: u32 = 4;
pub const CONFIG_SIZE: u64 = 4096;

/// What the device has seen.
#[derive(Default)]
pub struct Seen {
    pub bar: Vec<u8>,
    pub writes: Vec<(u32, u64, Vec<u8>)>,
    pub resets: usize,
    pub posts_refused: Vec<u64>,
}

/// A device that remembers.
#[derive(Clone, Default)]
pub struct Toy(Arc<Mutex<Seen>>);

impl Toy {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Seen {
            bar: vec![0; BAR_SIZE as usize],
            ..Seen::default()
        })))
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap()
    }
}

impl Device for Toy {
    fn region(&self, index: u32) -> Option<RegionInfo> {
        match index {
            BAR => Some(RegionInfo::read_write(BAR_SIZE)),
            READ_ONLY_BAR => Some(RegionInfo::read_only(4096)),
            BROKEN_BAR => Some(RegionInfo::read_write(4096)),
            CONFIG_REGION => Some(RegionInfo::read_write(CONFIG_SIZE)),
            _ => None,
        }
    }

    fn irq_count(&self, index: u32) -> Option<u32> {
        match index {
            INTX_INDEX | ERR_INDEX => Some(1),
            MSI_INDEX => Some(32),
            MSIX_INDEX => Some(2048),
            _ => None,
        }
    }

    fn read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> Result<(), Errno> {
        match region {
            BAR => {
                let at = offset as usize;
                data.copy_from_slice(&self.seen().bar[at..at + data.len()]);
            }
            BROKEN_BAR => return Err(Errno::EIO),
            _ => data.fill(region as u8),
        }
        Ok(())
    }

    fn write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<(), Errno> {
        if region == BROKEN_BAR {
            return Err(Errno::EIO);
        }
        let mut seen = self.seen();
        if region == BAR {
            seen.bar[offset as usize..offset as usize + data.len()].copy_from_slice(data);
        }
        seen.writes.push((region, offset, data.to_vec()));
        Ok(())
    }

    fn reset(&mut self) {
        self.seen().resets += 1;
    }

    fn post_refused(&mut self, address: u64) {
        self.seen().posts_refused.push(address);
    }
}

/// The server, at work on a thread of its own.
pub struct Server {
    pub toy: Toy,
    pub memory: Arc<DmaTable>,
    pub interrupts: Arc<Interrupts>,
    pub stop: Stop,
    thread: JoinHandle<Result<(), ServeError>>,
}

impl Server {
    /// Serves a new toy over `stream`.
    pub fn start(stream: UnixStream) -> Self {
        let toy = Toy::new();
        let memory = Arc::new(DmaTable::new());
        let interrupts = Arc::new(Interrupts::new());
        let stop = Stop::new(&stream).unwrap();
        let thread = {
            let (memory, interrupts, mut toy) = (memory.clone(), interrupts.clone(), toy.clone());
            std::thread::spawn(move || serve(stream, &memory, &interrupts, &mut toy))
        };
        Self {
            toy,
            memory,
            interrupts,
            stop,
            thread,
        }
    }

    /// How the connection ended.
    pub fn end(self) -> Result<(), ServeError> {
        self.thread.join().expect("the server does not panic")
    }

    /// Waits until the connection has ended, and not for ever.
    #[track_caller]
    pub fn wait_for_end(&self) {
        let begin = Instant::now();
        while !self.thread.is_finished() {
            let waited = begin.elapsed();
            assert!(waited < Duration::from_secs(120), "the server serves on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// How the connection ended, as the log has it: the whole chain of reasons.
    pub fn end_reason(self) -> String {
        let error = self.end().expect_err("the server closes the connection");
        let mut reason = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            reason = format!("{reason}: {error}");
            cause = error.source();
        }
        reason
    }
}

/// Serves a toy to the independent client of the crate `vfio_user`.
pub fn independent_client() -> (vfio_user::Client, Server) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("toy.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let accepting = std::thread::spawn(move || Server::start(listener.accept().unwrap().0));
    let client = vfio_user::Client::new(&path).unwrap();
    (client, accepting.join().unwrap())
}

/// A client that says what it is told to say.
pub struct Peer {
    pub stream: UnixStream,
    next_id: u16,
}

/// A reply: its header and payload.
#[derive(Debug)]
pub struct Reply {
    pub header: Header,
    pub payload: Vec<u8>,
}

impl Reply {
    /// The payload, which is a `T` and nothing more.
    pub fn payload<T: FromBytes>(&self) -> T {
        T::read_from_bytes(&self.payload).expect("the payload has the size of its structure")
    }
}

impl Peer {
    /// Connected, and nothing said yet.
    pub fn silent() -> (Self, Server) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        (
            Self {
                stream: ours,
                next_id: 100,
            },
            Server::start(theirs),
        )
    }

    /// Connected, with an agreement on the version.
    pub fn agreed() -> (Self, Server) {
        let (mut peer, server) = Self::silent();
        peer.request(command::VERSION, &[0u16, 0].as_bytes().to_vec()[..]);
        (peer, server)
    }

    /// Sends a command and returns its id.
    pub fn send(&mut self, number: u16, attributes: u32, payload: &[u8], fds: &[RawFd]) -> u16 {
        let header = Header {
            message_id: self.next_id,
            command: number,
            message_size: (HEADER_SIZE + payload.len()) as u32,
            flags: flags::TYPE_COMMAND | attributes,
            error: 0,
        };
        self.next_id += 1;
        self.send_raw(&[header.as_bytes(), payload].concat(), fds);
        header.message_id
    }

    /// Sends bytes with descriptors.
    pub fn send_raw(&mut self, bytes: &[u8], fds: &[RawFd]) {
        self.try_send_raw(bytes, fds).expect("the server listens");
    }

    /// Sends bytes with descriptors to a server that may have hung up.
    pub fn try_send_raw(&mut self, bytes: &[u8], fds: &[RawFd]) -> io::Result<()> {
        let rights = [ControlMessage::ScmRights(fds)];
        let control = if fds.is_empty() { &[][..] } else { &rights[..] };
        let parts = [IoSlice::new(bytes)];
        let fd = self.stream.as_raw_fd();
        let sent = sendmsg::<()>(fd, &parts, control, MsgFlags::MSG_NOSIGNAL, None)?;
        self.stream.write_all(&bytes[sent..])
    }

    /// The next reply.
    pub fn receive(&mut self) -> Reply {
        let mut header = [0; HEADER_SIZE];
        self.stream.read_exact(&mut header).expect("a reply comes");
        let header = Header::read_from_bytes(&header).unwrap();
        let mut payload = vec![0; header.message_size as usize - HEADER_SIZE];
        self.stream.read_exact(&mut payload).unwrap();
        Reply { header, payload }
    }

    /// Sends a command and returns its reply, whatever it says.
    pub fn ask(&mut self, number: u16, payload: &[u8], fds: &[RawFd]) -> Reply {
        let id = self.send(number, 0, payload, fds);
        let reply = self.receive();
        assert_eq!(
            (reply.header.message_id, reply.header.command),
            (id, number)
        );
        assert_eq!(reply.header.flags & flags::TYPE_MASK, flags::TYPE_REPLY);
        reply
    }

    /// Sends a command that is to be done.
    pub fn request(
        &mut self,
        number: u16,
        payload: &(impl IntoBytes + Immutable + ?Sized),
    ) -> Reply {
        self.request_with(number, payload, &[])
    }

    /// Sends a command with descriptors that is to be done.
    pub fn request_with(
        &mut self,
        number: u16,
        payload: &(impl IntoBytes + Immutable + ?Sized),
        fds: &[RawFd],
    ) -> Reply {
        let reply = self.ask(number, payload.as_bytes(), fds);
        assert_eq!(
            reply.header.flags,
            flags::TYPE_REPLY,
            "refused: {:?}",
            reply.header
        );
        assert_eq!(reply.header.error, 0);
        reply
    }

    /// Sends a command that is to be refused; after which the session goes on.
    pub fn refused(
        &mut self,
        number: u16,
        payload: &(impl IntoBytes + Immutable + ?Sized),
        fds: &[RawFd],
    ) -> Errno {
        let errno = self.error(number, payload, fds);
        self.request(command::DEVICE_RESET, &[0u8; 0]);
        errno
    }

    /// Sends a command that is to be answered with an error.
    pub fn error(
        &mut self,
        number: u16,
        payload: &(impl IntoBytes + Immutable + ?Sized),
        fds: &[RawFd],
    ) -> Errno {
        let reply = self.ask(number, payload.as_bytes(), fds);
        assert_eq!(
            reply.header.flags,
            flags::TYPE_REPLY | flags::ERROR,
            "not refused"
        );
        assert_eq!(
            reply.payload, [0u8; 0],
            "an error reply is a header and no more"
        );
        assert_ne!(reply.header.error, 0, "an error reply has a reason");
        Errno::from_raw(reply.header.error as i32)
    }

    /// Asserts that the server has closed the connection.
    pub fn assert_closed(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            // What we sent and was never read makes the end a reset.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
            Ok(_) => assert_eq!(rest, [0u8; 0], "nothing after the end"),
        }
    }
}

/// An eventfd that does not block.
pub fn eventfd() -> EventFd {
    EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC).unwrap()
}

/// How often `eventfd` was signalled since last asked.
pub fn signals(eventfd: &EventFd) -> u64 {
    eventfd.read().unwrap_or(0)
}

/// A file such as QEMU's memory-backend-memfd makes.
pub fn sealed_memfd(size: u64) -> OwnedFd {
    let file = unsealed_memfd(size);
    nix::fcntl::fcntl(
        &file,
        nix::fcntl::FcntlArg::F_ADD_SEALS(nix::fcntl::SealFlag::F_SEAL_SHRINK),
    )
    .unwrap();
    file
}

/// A file that may shrink.
pub fn unsealed_memfd(size: u64) -> OwnedFd {
    let file = memfd_create(c"ram", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).unwrap();
    nix::unistd::ftruncate(file.as_fd(), size as i64).unwrap();
    file
}
