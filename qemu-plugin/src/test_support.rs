// SPDX-License-Identifier: GPL-2.0-or-later
//! What the tests say in the device's place.

use abi::windows::{kind, kind_of, SetHeader, Window, MAX_MESSAGE, PAGE_SIZE};
use nix::fcntl::{fcntl, FcntlArg, SealFlag};
use nix::sys::memfd::{memfd_create, MFdFlags};
use nix::sys::socket::{recv, sendmsg, ControlMessage, MsgFlags};
use std::fs::File;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;

/// RAM of a peer as its QEMU makes it; page n (from 0) is full of n + 1.
pub fn memory(pages: u64) -> OwnedFd {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let file = File::from(memfd_create(c"peer", flags).unwrap());
    for page in 0..pages {
        let bytes = [page as u8 + 1; PAGE_SIZE as usize];
        file.write_all_at(&bytes, page * PAGE_SIZE).unwrap();
    }
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).unwrap();
    file.into()
}

/// A window, counted in pages.
pub fn window(bar: u32, page: u64, pages: u64, map: u32, map_page: u64) -> Window {
    Window {
        bar,
        offset: page * PAGE_SIZE,
        len: pages * PAGE_SIZE,
        map,
        map_offset: map_page * PAGE_SIZE,
        flags: Window::WRITABLE,
    }
}

/// A set of windows as it is sent.
pub fn set(seq: u64, windows: &[Window]) -> Vec<u8> {
    let count = windows.len() as u32;
    let mut bytes = SetHeader { count, seq }.to_bytes().to_vec();
    bytes.extend(windows.iter().flat_map(|window| window.to_bytes()));
    bytes
}

/// Says it to the library, with files.
pub fn say(stream: &OwnedFd, message: &[u8], files: &[&OwnedFd]) {
    let raw: Vec<RawFd> = files.iter().map(|file| file.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &rights[..] };
    let (stream, parts) = (stream.as_raw_fd(), [IoSlice::new(message)]);
    sendmsg::<()>(stream, &parts, control, MsgFlags::MSG_NOSIGNAL, None).unwrap();
}

/// What the library says, but for its fence.
pub fn hear(stream: &OwnedFd) -> Vec<u8> {
    let mut buffer = [0; MAX_MESSAGE];
    loop {
        let bytes = recv(stream.as_raw_fd(), &mut buffer, MsgFlags::empty()).unwrap();
        if kind_of(&buffer[..bytes]) != Some(kind::FENCE) {
            return buffer[..bytes].to_vec();
        }
    }
}

/// Any message.
pub fn message(kind: u32, rest: &[u8]) -> Vec<u8> {
    const { assert!(kind::MAP == 0x11 && kind::UNMAP == 0x12 && kind::WINDOWS == 0x13) };
    [&kind.to_le_bytes()[..], rest].concat()
}
