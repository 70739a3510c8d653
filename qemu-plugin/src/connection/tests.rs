// SPDX-License-Identifier: GPL-2.0-or-later
//! A device played by the test, at the other end of a socket pair; what the guest would see is read from
//! the arena.

use super::*;
use crate::test_support::{hear, memory, say, set, window};
use abi::windows::{Fence, Map, Unmap, Window, PAGE_SIZE, SIDE_RC};
use nix::sys::socket::socketpair;
use std::sync::mpsc::{channel, Receiver};
use std::sync::Arc;
use std::thread::JoinHandle;

struct Device {
    stream: Option<OwnedFd>,
    arena: Arc<Arena>,
    published: Receiver<Vec<Range>>,
    library: JoinHandle<End>,
    seq: u64,
}

impl Device {
    fn start() -> Self {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
        let arena = Arc::new(Arena::reserve().unwrap());
        let (sender, published) = channel();
        let theirs_arena = arena.clone();
        let library = std::thread::spawn(move || {
            let publish = |wanted| sender.send(wanted).unwrap();
            let patience = Duration::from_millis(300);
            serve(&theirs, SIDE_RC, patience, &theirs_arena, publish)
        });
        let device = Self {
            stream: Some(ours),
            arena,
            published,
            library,
            seq: 0,
        };
        assert_eq!(device.hear(), Hello::new(SIDE_RC).to_bytes());
        device
    }

    fn hear(&self) -> Vec<u8> {
        hear(self.stream.as_ref().unwrap())
    }

    fn say(&self, message: &[u8], files: &[&OwnedFd]) {
        say(self.stream.as_ref().unwrap(), message, files);
    }

    fn map(&self, id: u32, pages: u64) {
        let size = pages * PAGE_SIZE;
        let map = Map {
            id,
            size,
            fd_offset: 0,
        };
        self.say(&map.to_bytes(), &[&memory(pages)]);
    }

    /// Publishes a set and waits for the answer.
    fn publish(&mut self, windows: &[Window]) {
        self.seq += 1;
        self.say(&set(self.seq, windows), &[]);
        assert_eq!(self.hear(), Ack { seq: self.seq }.to_bytes());
    }

    /// First byte of a page of a BAR, as the guest sees it through a region over it.
    fn look(&self, bar: u32, page: u64) -> u8 {
        let at = Arena::offset(Range::new(bar, page * PAGE_SIZE, PAGE_SIZE).unwrap());
        // SAFETY: the tests look only where a window has been.
        unsafe {
            self.arena
                .base()
                .cast::<u8>()
                .add(at as usize)
                .read_volatile()
        }
    }

    fn end(mut self) -> (End, Arc<Arena>) {
        self.stream = None;
        (self.library.join().unwrap(), self.arena)
    }
}

fn range(bar: u32, page: u64, pages: u64) -> Range {
    Range::new(bar, page * PAGE_SIZE, pages * PAGE_SIZE).unwrap()
}

#[test]
fn what_is_answered_is_in_force() {
    let mut device = Device::start();
    device.publish(&[]);
    assert_eq!(device.published.recv().unwrap(), []);
    device.map(1, 8);
    for turn in 0..1000 {
        let at = turn % 7;
        device.publish(&[window(2, 0, 2, 1, at)]);
        assert_eq!(
            [device.look(2, 0), device.look(2, 1)],
            [at as u8 + 1, at as u8 + 2]
        );
        if turn % 10 == 9 {
            device.publish(&[window(2, 1, 1, 1, at)]);
            assert_eq!([device.look(2, 0), device.look(2, 1)], [0xff, at as u8 + 1]);
        }
    }
    device.publish(&[]);
    assert_eq!([device.look(2, 0), device.look(2, 1)], [0xff, 0xff]);
    device.say(&Unmap { id: 1 }.to_bytes(), &[]);
    device.publish(&[]);
    assert_eq!(device.end().0, End::Gone);
}

#[test]
fn a_device_that_goes_away_leaves_void_behind() {
    let mut device = Device::start();
    device.map(1, 2);
    device.publish(&[window(0, 3, 2, 1, 0)]);
    assert_eq!(device.look(0, 3), 1);
    assert_eq!(device.published.recv().unwrap(), [range(0, 3, 2)]);
    let (end, arena) = device.end();
    assert_eq!(end, End::Gone);
    for page in [3, 4] {
        let at = Arena::offset(range(0, page, 1));
        // SAFETY: it was a window.
        let byte = unsafe { arena.base().cast::<u8>().add(at as usize).read_volatile() };
        assert_eq!(byte, 0xff);
    }
}

#[test]
fn a_device_that_lives_says_goodbye() {
    let mut device = Device::start();
    device.map(1, 2);
    device.publish(&[window(0, 3, 2, 1, 0)]);
    device.say(&GOODBYE, &[]);
    let (end, arena) = device.end();
    assert_eq!(end, End::Dropped);
    let at = Arena::offset(range(0, 3, 1));
    // SAFETY: it was a window.
    let byte = unsafe { arena.base().cast::<u8>().add(at as usize).read_volatile() };
    assert_eq!(byte, 0xff);
}

/// A library that was stopped answers too late: nobody hears it, and of what it has said before some was
/// not read, which the kernel reports to it first.
#[test]
fn a_goodbye_is_heard_though_nobody_hears_the_answer() {
    for (unread, goodbye) in [(false, true), (true, true), (false, false), (true, false)] {
        let flags = SockFlag::SOCK_CLOEXEC;
        let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags);
        let (ours, theirs) = pair.unwrap();
        say(&ours, &set(1, &[]), &[]);
        if goodbye {
            say(&ours, &GOODBYE, &[]);
        }
        if unread {
            tell(&theirs, b"unread", None).unwrap();
        }
        drop(ours);
        let arena = Arena::reserve().unwrap();
        let mut published = 0;
        let end = serve(&theirs, SIDE_RC, Duration::from_secs(1), &arena, |_| {
            published += 1
        });
        let expected = if goodbye { End::Dropped } else { End::Gone };
        assert_eq!((end, published), (expected, 1), "unread: {unread}");
    }
}

#[test]
fn a_goodbye_is_heard_from_a_device_that_did_not_listen() {
    let flags = SockFlag::SOCK_CLOEXEC;
    let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags);
    let (ours, theirs) = pair.unwrap();
    tell(&theirs, b"unread", None).unwrap();
    say(&ours, &GOODBYE, &[]);
    drop(ours);
    let mut buffer = [0; MAX_MESSAGE];
    assert_eq!(receive(&theirs, &mut buffer).unwrap().0, GOODBYE);
}

#[test]
fn a_device_that_does_not_wait_for_the_answer_has_closed_the_connection() {
    let mut device = Device::start();
    device.map(1, 2);
    device.say(&set(1, &[window(0, 3, 2, 1, 0)]), &[]);
    device.stream = None;
    let (end, arena) = device.end();
    assert_eq!(end, End::Gone);
    let at = Arena::offset(range(0, 3, 1));
    // SAFETY: it was a window.
    let byte = unsafe { arena.base().cast::<u8>().add(at as usize).read_volatile() };
    assert_eq!(byte, 0xff);
}

#[test]
fn a_malformed_message_voids_and_ends() {
    let mut device = Device::start();
    device.map(1, 2);
    device.publish(&[window(0, 3, 2, 1, 0)]);
    device.say(&set(2, &[window(0, 0, 3, 1, 0)]), &[]);
    assert_eq!(
        device.library.join().unwrap(),
        End::Broken("a window beyond its map".into())
    );
    let at = Arena::offset(range(0, 3, 1));
    // SAFETY: it was a window.
    let byte = unsafe {
        device
            .arena
            .base()
            .cast::<u8>()
            .add(at as usize)
            .read_volatile()
    };
    assert_eq!(byte, 0xff);
}

#[test]
fn a_message_that_is_too_long_is_none() {
    let device = Device::start();
    device.say(&[0x13; MAX_MESSAGE + 10], &[]);
    assert!(matches!(device.end().0, End::Broken(_)));
}

#[test]
fn files_beyond_what_there_is_room_for_are_noticed() {
    let device = Device::start();
    let file = memory(1);
    let map = Map {
        id: 1,
        size: PAGE_SIZE,
        fd_offset: 0,
    };
    device.say(&map.to_bytes(), &[&file; FILES + 3]);
    assert!(matches!(device.end().0, End::Broken(_)));
}

#[test]
fn a_device_that_does_not_answer_is_given_up_and_a_quiet_one_is_not() {
    let device = Device::start();
    let end = device.library.join().unwrap();
    assert_eq!(end, End::Broken("the device does not answer".into()));

    let mut device = Device::start();
    device.publish(&[]);
    std::thread::sleep(Duration::from_millis(500));
    device.publish(&[]);
    assert_eq!(device.end().0, End::Gone);
}

#[test]
fn a_socket_may_come_late_but_not_never() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("windows.sock");
    assert!(open(&path, Duration::from_millis(50)).is_err());
    let late = path.clone();
    let listener = std::thread::spawn(move || {
        use nix::sys::socket::{bind, listen, Backlog};
        std::thread::sleep(Duration::from_millis(100));
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).unwrap();
        bind(socket.as_raw_fd(), &UnixAddr::new(&late).unwrap()).unwrap();
        listen(&socket, Backlog::new(1).unwrap()).unwrap();
        socket
    });
    assert!(open(&path, Duration::from_secs(10)).is_ok());
    listener.join().unwrap();
}

/// `struct uffdio_writeprotect`.
#[repr(C)]
struct WriteProtect {
    range: [u64; 2],
    mode: u64,
}
nix::ioctl_readwrite!(uffdio_writeprotect, 0xaa, 0x06, WriteProtect);

/// QEMU stands still, or its library does; the device has gone on without it.
#[test]
fn what_the_device_has_closed_is_void_before_anyone_writes_there() {
    let mut device = Device::start();
    let stream = device.stream.as_ref().unwrap();
    let mut buffer = [0; Fence::SIZE];
    let (bytes, mut files) = receive(stream, &mut buffer).unwrap();
    let (fence, file) = (Fence::from_bytes(bytes).unwrap(), files.pop().unwrap());

    let ram = memory(4);
    let map = Map {
        id: 1,
        size: 4 * PAGE_SIZE,
        fd_offset: 0,
    };
    device.say(&map.to_bytes(), &[&ram]);
    device.publish(&[window(2, 0, 2, 1, 0)]);
    let at = fence.base + 2 * abi::windows::REACH;
    assert_eq!(
        at,
        device.arena.base() as u64 + Arena::offset(range(2, 0, 2))
    );
    let mut protect = WriteProtect {
        range: [at, 2 * PAGE_SIZE],
        mode: 1,
    };
    // SAFETY: the structure is the one that the request takes.
    unsafe { uffdio_writeprotect(file.as_raw_fd(), &mut protect) }.unwrap();

    let vcpu = std::thread::spawn(move || {
        // SAFETY: a page of the arena, which is never given back.
        unsafe { (at as *mut u8).add(PAGE_SIZE as usize).write_volatile(0x77) }
    });
    std::thread::sleep(Duration::from_millis(200));
    let peer = |page: u64| {
        let mut byte = [0];
        let at = (page * PAGE_SIZE) as i64;
        nix::sys::uio::pread(&ram, &mut byte, at).unwrap();
        byte[0]
    };
    assert!(!vcpu.is_finished(), "it has written");
    assert_eq!(device.look(2, 1), 2, "who reads need not wait");
    device.say(&GOODBYE, &[]);
    vcpu.join().unwrap();
    assert_eq!([peer(0), peer(1)], [1, 2], "closed memory was written to");
    assert_eq!([device.look(2, 0), device.look(2, 1)], [0xff, 0x77]);
    assert_eq!(device.end().0, End::Dropped);
}
