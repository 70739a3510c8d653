// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whatever a client sends: the server does not panic, answers in order for as long as it understands,
//! and has not a descriptor more afterwards than before. In a process of its own, to count these.

#[allow(dead_code)] // other tests use the rest
#[path = "vfio_user/peer.rs"]
mod peer;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use qemu_device::vfio_user::wire::{
    command, flags, Header, HEADER_SIZE, MAX_MESSAGE_FDS, MAX_MESSAGE_SIZE,
};
use zerocopy::{FromBytes, IntoBytes};

use peer::{eventfd, sealed_memfd, unsealed_memfd, Peer};

/// One write to the socket.
#[derive(Clone, Debug)]
enum Act {
    /// A message whose size is right.
    Message {
        command: u16,
        attributes: u32,
        payload: Vec<u8>,
        fds: Vec<Fd>,
    },
    /// Anything.
    Bytes { bytes: Vec<u8>, fds: Vec<Fd> },
}

#[derive(Clone, Copy, Debug)]
enum Fd {
    Eventfd,
    Ram,
    Shrinkable,
    Pipe,
}

impl Fd {
    fn open(self) -> OwnedFd {
        match self {
            Self::Eventfd => eventfd().into(),
            Self::Ram => sealed_memfd(0x4000),
            Self::Shrinkable => unsealed_memfd(0x4000),
            Self::Pipe => nix::unistd::pipe().unwrap().1,
        }
    }
}

fn fds() -> impl Strategy<Value = Vec<Fd>> {
    let fd = select(vec![
        Fd::Eventfd,
        Fd::Eventfd,
        Fd::Ram,
        Fd::Ram,
        Fd::Shrinkable,
        Fd::Pipe,
    ]);
    prop_oneof![
        4 => Just(Vec::new()),
        4 => vec(fd.clone(), 1..3),
        1 => vec(fd.clone(), 3..=MAX_MESSAGE_FDS),
        1 => (MAX_MESSAGE_FDS + 1..=64usize).prop_map(|count| vec![Fd::Eventfd; count]),
    ]
}

/// A payload made of numbers that mean something somewhere.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        6 => 0..40u32,
        2 => select(vec![0x1000u32, 0x2000, 0x3000, 4096, 0x21, 0x24, 0x11, 0x12]),
        1 => any::<u32>(),
        1 => Just(u32::MAX),
    ];
    // Most are long enough for any command, for one that is not ends the session.
    let words = |count| vec(word.clone(), count).prop_map(|words| words.as_bytes().to_vec());
    prop_oneof![20 => words(8..13), 2 => words(0..13), 1 => vec(any::<u8>(), 0..64), 1 => vec(any::<u8>(), 0..5000)]
}

fn act() -> impl Strategy<Value = Act> {
    let attributes = prop_oneof![6 => Just(0), 3 => Just(flags::NO_REPLY), 1 => any::<u32>()];
    let known = 0..=command::MIG_DATA_WRITE;
    let number = prop_oneof![9 => known, 1 => any::<u16>()];
    let message =
        (number, attributes, payload(), fds()).prop_map(|(command, attributes, payload, fds)| {
            Act::Message {
                command,
                attributes,
                payload,
                fds,
            }
        });
    let bytes = (vec(any::<u8>(), 1..40), fds()).prop_map(|(bytes, fds)| Act::Bytes { bytes, fds });
    prop_oneof![30 => message, 1 => bytes]
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Sends `acts`, and returns every byte that came back before the server closed the connection.
fn converse(acts: &[Act]) -> (Vec<u8>, bool) {
    let (mut peer, server) = Peer::agreed();
    let mut reader = peer.stream.try_clone().unwrap();
    let reading = std::thread::spawn(move || {
        let mut replies = Vec::new();
        let mut buffer = [0; 4096];
        // A reset is an end as well: we may have sent what was never read.
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            replies.extend_from_slice(&buffer[..count]);
        }
        replies
    });
    for (id, act) in acts.iter().enumerate() {
        let (bytes, fds) = match act {
            Act::Message {
                command,
                attributes,
                payload,
                fds,
            } => {
                let header = Header {
                    message_id: id as u16,
                    command: *command,
                    message_size: (HEADER_SIZE + payload.len()) as u32,
                    flags: *attributes,
                    error: 0,
                };
                ([header.as_bytes(), payload].concat(), fds)
            }
            Act::Bytes { bytes, fds } => (bytes.clone(), fds),
        };
        let files: Vec<_> = fds.iter().map(|fd| fd.open()).collect();
        let raw: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
        if peer.try_send_raw(&bytes, &raw).is_err() {
            break;
        }
    }
    let _ = peer.stream.flush();
    let _ = peer.stream.shutdown(Shutdown::Write);
    let orderly = server.end().is_ok();
    (reading.join().unwrap(), orderly)
}

/// The headers of the replies, which must be whole.
fn headers(mut replies: &[u8]) -> Vec<Header> {
    let mut headers = Vec::new();
    while !replies.is_empty() {
        let (header, _) = Header::read_from_prefix(replies).expect("a whole header");
        assert!((HEADER_SIZE as u32..=MAX_MESSAGE_SIZE).contains(&header.message_size));
        replies = replies
            .get(header.message_size as usize..)
            .expect("a whole reply");
        headers.push(header);
    }
    headers
}

proptest! {
    #[test]
    fn no_panic_no_leak_and_in_step(acts in vec(act(), 1..40)) {
        let before = open_descriptors();
        let (replies, orderly) = converse(&acts);
        prop_assert_eq!(open_descriptors(), before, "descriptors leaked");

        let headers = headers(&replies);
        for header in &headers {
            prop_assert_eq!(header.flags & flags::TYPE_MASK, flags::TYPE_REPLY);
            prop_assert_eq!(header.flags & flags::ERROR != 0, header.error != 0);
        }
        let garbage = acts.iter().position(|act| matches!(act, Act::Bytes { .. }));
        let whole = &acts[..garbage.unwrap_or(acts.len())];
        let expected: Vec<_> = whole.iter().enumerate().filter_map(|(id, act)| match act {
            Act::Message { command, attributes, .. } =>
                (attributes & (flags::NO_REPLY | flags::TYPE_MASK) == 0).then_some((id as u16, *command)),
            Act::Bytes { .. } => None,
        }).collect();
        let got: Vec<_> = headers.iter().map(|h| (h.message_id, h.command)).collect();
        let common = got.len().min(expected.len());
        prop_assert_eq!(&got[..common], &expected[..common], "answered out of step");
        if garbage.is_none() {
            prop_assert!(got.len() <= expected.len(), "answers to nothing");
            prop_assert!(!orderly || got.len() == expected.len(), "answers are missing");
        }
    }
}
