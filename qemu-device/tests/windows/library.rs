// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A library without a QEMU: it keeps what the device tells it, and holds the device to the protocol.

use std::collections::BTreeMap;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use abi::windows::{
    kind, kind_of, Ack, Hello, Map, SetHeader, Unmap, Window, GOODBYE, MAX_MAPS, MAX_MESSAGE,
    PAGE_SIZE, REACH,
};
use nix::errno::Errno;
use nix::sys::socket::{
    connect, recvmsg, sendmsg, setsockopt, socket, sockopt, AddressFamily, ControlMessage,
    ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr,
};
use nix::sys::stat::fstat;
use nix::sys::time::{TimeVal, TimeValLike};
use nix::sys::uio::{pread, pwrite};

use crate::guest::{eventually, PATIENCE};
use crate::pair::Pair;

/// A connection that says and hears whatever it likes.
pub struct Line(OwnedFd);

impl Line {
    pub fn connect(path: &Path) -> Self {
        let (family, kind) = (AddressFamily::Unix, SockType::SeqPacket);
        let fd = socket(family, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
        connect(fd.as_raw_fd(), &UnixAddr::new(path).unwrap()).unwrap();
        let patience = TimeVal::seconds(PATIENCE.as_secs() as i64);
        setsockopt(&fd, sockopt::ReceiveTimeout, &patience).unwrap();
        Self(fd)
    }

    /// Sends `message` with its own end of the connection.
    pub fn send_itself(&self, message: &[u8]) {
        self.send(message, &[self.0.as_raw_fd()]).unwrap();
    }

    pub fn send(&self, message: &[u8], fds: &[RawFd]) -> Result<usize, Errno> {
        let rights = [ControlMessage::ScmRights(fds)];
        let control = if fds.is_empty() { &[][..] } else { &rights[..] };
        let parts = [IoSlice::new(message)];
        let flags = MsgFlags::MSG_NOSIGNAL;
        sendmsg::<UnixAddr>(self.0.as_raw_fd(), &parts, control, flags, None)
    }

    /// The next message with its descriptors; empty at the end.
    pub fn receive(&self) -> (Vec<u8>, Vec<OwnedFd>) {
        let mut buffer = vec![0; MAX_MESSAGE + 1];
        let mut control = nix::cmsg_space!([RawFd; 8]);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let fd = self.0.as_raw_fd();
        let message = loop {
            match recvmsg::<UnixAddr>(fd, &mut parts, Some(&mut control), flags) {
                Ok(message) => break message,
                // Once, before what the device has said last: it has hung up and not read everything.
                Err(Errno::ECONNRESET) => {}
                Err(errno) => panic!("the device neither says anything nor hangs up: {errno}"),
            }
        };
        let mut fds = Vec::new();
        for part in message.cmsgs().unwrap() {
            if let ControlMessageOwned::ScmRights(rights) = part {
                // SAFETY: the kernel has just made them for us.
                fds.extend(rights.iter().map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) }));
            }
        }
        let len = message.bytes;
        buffer.truncate(len);
        (buffer, fds)
    }

    /// Whether the device ends the connection next. It lives, so it says goodbye.
    pub fn ends(&self) -> bool {
        self.receive().0 == GOODBYE && self.receive().0.is_empty()
    }
}

/// What the library knows.
#[derive(Default)]
pub struct State {
    maps: BTreeMap<u32, (Map, OwnedFd)>,
    named: Vec<u32>,
    pub set: Vec<Window>,
    pub sets: u64,
    /// When the last set was acknowledged.
    pub acked: Option<Instant>,
    /// How long an answer takes.
    pub delay: Duration,
    /// Do not answer.
    pub mute: bool,
    /// The device said that it lives on.
    pub goodbye: bool,
    pub closed: bool,
}

impl State {
    /// Bar, offset, length and offset in the file of each window.
    pub fn windows(&self) -> Vec<(u32, u64, u64, u64)> {
        let place = |window: &Window| {
            let map = &self.maps[&window.map].0;
            let at = map.fd_offset + window.map_offset;
            (window.bar, window.offset, window.len, at)
        };
        self.set.iter().map(place).collect()
    }

    pub fn maps(&self) -> usize {
        self.maps.len()
    }

    fn place(&self, bar: u32, offset: u64) -> Option<(&OwnedFd, i64)> {
        let window = self.set.iter().find(|window| {
            window.bar == bar && (window.offset..window.offset + window.len).contains(&offset)
        })?;
        let (map, file) = &self.maps[&window.map];
        let at = map.fd_offset + window.map_offset + (offset - window.offset);
        Some((file, at as i64))
    }

    /// What the guest reads through a window; `None` if the access traps.
    pub fn read<const N: usize>(&self, bar: u32, offset: u64) -> Option<[u8; N]> {
        let (file, at) = self.place(bar, offset)?;
        let mut data = [0; N];
        assert_eq!(pread(file, &mut data, at), Ok(N));
        Some(data)
    }

    pub fn write(&self, bar: u32, offset: u64, data: &[u8]) -> Option<()> {
        let (file, at) = self.place(bar, offset)?;
        assert_eq!(pwrite(file, data, at), Ok(data.len()));
        Some(())
    }

    /// Takes a message in. Returns the set that is to be answered.
    fn take(&mut self, message: &[u8], mut fds: Vec<OwnedFd>) -> Option<Ack> {
        match kind_of(message) {
            Some(kind::MAP) => {
                let map = Map::from_bytes(message).unwrap();
                assert!(
                    map.size > 0 && map.size % PAGE_SIZE == 0 && map.fd_offset % PAGE_SIZE == 0
                );
                let file = fds.pop().expect("a descriptor");
                assert!(map.fd_offset + map.size <= fstat(&file).unwrap().st_size as u64);
                assert!(!self.named.contains(&map.id), "a name used twice");
                self.named.push(map.id);
                self.maps.insert(map.id, (map, file));
                assert!(self.maps.len() <= MAX_MAPS);
                None
            }
            Some(kind::UNMAP) => {
                let Unmap { id } = Unmap::from_bytes(message).unwrap();
                assert!(
                    self.set.iter().all(|window| window.map != id),
                    "still named"
                );
                self.maps.remove(&id).expect("it was announced");
                None
            }
            Some(kind::WINDOWS) => {
                let header = SetHeader::from_bytes(message).unwrap();
                let windows = message[SetHeader::SIZE..].chunks_exact(Window::SIZE);
                self.set = windows.map(|w| Window::from_bytes(w).unwrap()).collect();
                let mut end = (0, 0);
                for window in &self.set {
                    assert!((window.bar, window.offset) >= end, "{:x?}", self.set);
                    end = (window.bar, window.offset + window.len);
                    let map = &self.maps[&window.map].0;
                    assert!(window.map_offset + window.len <= map.size);
                    assert!(window.offset + window.len <= REACH);
                    assert_eq!(window.flags, Window::WRITABLE);
                }
                self.sets += 1;
                assert_eq!(header.seq, self.sets, "sets are counted");
                Some(Ack { seq: header.seq })
            }
            Some(kind::GOODBYE) => {
                assert_eq!(message, GOODBYE);
                self.goodbye = true;
                None
            }
            other => panic!("message of kind {other:?}"),
        }
    }
}

/// A library at work.
pub struct Library {
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
    line: Arc<Line>,
}

impl Library {
    /// Connects as the library of `side`, and waits for the first set.
    pub fn join(pair: &Pair, side: u32) -> Self {
        let line = Arc::new(Line::connect(&pair.path("windows.sock")));
        line.send(&Hello::new(side).to_bytes(), &[]).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let (hearing, shared) = (line.clone(), state.clone());
        let thread = std::thread::spawn(move || work(&hearing, &shared));
        let library = Self {
            state,
            thread: Some(thread),
            line,
        };
        eventually("the first set", || library.state().acked.is_some());
        library
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn windows(&self) -> Vec<(u32, u64, u64, u64)> {
        self.state().windows()
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        let _ =
            nix::sys::socket::shutdown(self.line.0.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        let result = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            result.expect("the device keeps to the protocol");
        }
    }
}

fn work(line: &Line, state: &Mutex<State>) {
    // Nothing to hear is no fault here.
    setsockopt(&line.0, sockopt::ReceiveTimeout, &TimeVal::seconds(0)).unwrap();
    loop {
        let (message, fds) = line.receive();
        if message.is_empty() {
            state.lock().unwrap().closed = true;
            return;
        }
        let (ack, delay) = {
            let mut state = state.lock().unwrap();
            let ack = state.take(&message, fds).filter(|_| !state.mute);
            (ack, state.delay)
        };
        if let Some(ack) = ack {
            std::thread::sleep(delay);
            state.lock().unwrap().acked = Some(Instant::now());
            let _ = line.send(&ack.to_bytes(), &[]);
        }
    }
}
