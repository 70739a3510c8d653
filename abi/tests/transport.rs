// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The control window of the eDMA transport: byte for byte, with everything wrong that a peer can
//! write, and as two sides that run against each other.

#[path = "transport/model.rs"]
mod model;

use abi::transport::layout::{Layout, MAX_ENTRIES, MAX_QUEUES, MIN_ENTRIES};
use abi::transport::ring::{Buffer, Completion, Place, Receiver, RingError, Sender};
use abi::transport::session::{Handshake, Header, HeaderError, Step};
use proptest::prelude::*;

const HEADER: Header = Header {
    session: 0x0123_4567,
    answered: 0x89ab_cdef,
    queues: 4,
    entries: 256,
    max_frame: 0x1_0040,
};

const PLACE: Place = Place {
    session: 0x0123_4567,
    queue: 3,
    index: 0x102,
};

/// Words as the peer finds them in memory.
fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn the_header_is_this_byte_for_byte() {
    let golden = b"NTED\x01\x00\x1c\x00\x04\x00\x00\x00\x00\x01\x00\x00\x40\x00\x01\x00\
        \xef\xcd\xab\x89\x67\x45\x23\x01";
    assert_eq!(bytes(&HEADER.encode()), golden);
    assert_eq!(Header::decode(&HEADER.encode()), Ok(Some(HEADER)));
    let farewell = Header {
        session: 0,
        answered: 0,
        ..HEADER
    };
    assert_eq!(Header::decode(&farewell.encode()), Ok(None));
    assert_eq!(Header::decode(&[0; Header::WORDS]), Ok(None));
}

/// The check words were computed by another implementation of MurmurHash3 (Python's `mmh3`).
#[test]
fn entries_are_this_byte_for_byte() {
    let buffer = Buffer {
        address: 0x12_3456_7000,
        len: 0x1_0040,
    };
    let golden = b"\x00\x70\x56\x34\x12\x00\x00\x00\x40\x00\x01\x00\
        \x6d\xa7\x24\xb6";
    assert_eq!(bytes(&buffer.encode(PLACE)), golden);
    let completion = Completion { len: 1514 };
    let golden = b"\xea\x05\x00\x00\x16\xcb\x9c\x79";
    assert_eq!(bytes(&completion.encode(PLACE)), golden);
}

#[test]
fn the_window_is_laid_out_so() {
    let layout = Layout::new(8, 256).unwrap();
    assert_eq!(layout.buffers_head(0), 0x80);
    assert_eq!(layout.completions_head(0), 0xc0);
    assert_eq!(layout.completions_head(7), 0x440);
    assert_eq!(layout.buffer(0, 0), 0x1000);
    assert_eq!(layout.buffer(0, 0x1_01ff), 0x1ff0);
    assert_eq!(layout.completion(0, 0), 0x2000);
    assert_eq!(layout.completion(1, 255), 0x2800 + 0x1000 + 255 * 8);
    assert_eq!(layout.size(), 0x1000 + 8 * 0x1800);
    assert_eq!(
        Layout::fitting(8, 0x10_0000).unwrap().entries(),
        MAX_ENTRIES
    );
    assert_eq!(Layout::fitting(1, 0x1180).unwrap().entries(), MIN_ENTRIES);
    assert_eq!(Layout::fitting(1, 0x117f), None);
}

#[test]
fn a_header_that_breaks_a_rule_says_which() {
    let with = |change: fn(&mut [u32; Header::WORDS])| {
        let mut words = HEADER.encode();
        change(&mut words);
        Header::decode(&words)
    };
    assert_eq!(with(|w| w[0] = 4), Err(HeaderError::Magic(4)));
    assert_eq!(with(|w| w[1] += 1), Err(HeaderError::Version(2)));
    assert_eq!(with(|w| w[1] ^= 1 << 16), Err(HeaderError::Size(29)));
    assert_eq!(with(|w| w[2] = 9), Err(HeaderError::Queues(9)));
    assert_eq!(with(|w| w[2] = 0), Err(HeaderError::Queues(0)));
    assert_eq!(with(|w| w[3] = 48), Err(HeaderError::Entries(48)));
    assert_eq!(with(|w| w[3] = 8), Err(HeaderError::Entries(8)));
    assert_eq!(with(|w| w[4] = 0), Err(HeaderError::MaxFrame));
}

#[test]
fn an_entry_that_breaks_a_rule_says_which() {
    let decode = |address, len| {
        let words = Buffer { address, len }.encode(PLACE);
        Buffer::decode(&words, PLACE, 2048)
    };
    let long = RingError::Length {
        len: 2049,
        max: 2048,
    };
    assert_eq!(decode(0x1000, 2049), Err(long));
    assert!(matches!(decode(0x1000, 0), Err(RingError::Length { .. })));
    assert_eq!(decode(!0, 1), Err(RingError::Address(!0)));
    let words = Completion { len: 2049 }.encode(PLACE);
    assert_eq!(Completion::decode(&words, PLACE, 2048), Err(long));
}

#[test]
fn a_side_restarts_with_another_session() {
    let mut side = Handshake::new(7);
    side.restart(7);
    assert_eq!(side.session(), 8);
    side.restart(0);
    assert_eq!(side.session(), 1);
    side.restart(0);
    assert_eq!(side.session(), 2);
    let mut last = Handshake::new(!0);
    last.restart(!0);
    assert_eq!(last.session(), 1);
}

#[test]
fn a_peer_that_leaves_is_noticed() {
    let mut side = Handshake::new(7);
    let peer = |session, answered| Header {
        session,
        answered,
        ..HEADER
    };
    assert_eq!(side.step(None), Step::Wait);
    assert_eq!(side.step(Some(&peer(9, 0))), Step::Answer);
    side.answer(9);
    assert_eq!(side.step(Some(&peer(9, 0))), Step::Wait);
    assert_eq!(side.step(Some(&peer(9, 7))), Step::Up);
    assert_eq!(side.step(None), Step::Restart);
    assert!(!side.is_up());
}

proptest! {
    /// Whatever is damaged in an entry, it is noticed; and an entry is good in its own place only.
    #[test]
    fn damage_is_noticed(address in any::<u64>(), len in 1u32..0x1000, word in 0usize..4, bits in 1u32..) {
        let address = address >> 1;
        let mut words = Buffer { address, len }.encode(PLACE);
        prop_assert_eq!(Buffer::decode(&words, PLACE, 0x1000), Ok(Buffer { address, len }));
        for place in [
            Place { index: PLACE.index.wrapping_add(bits), ..PLACE },
            Place { session: PLACE.session ^ bits, ..PLACE },
            Place { queue: PLACE.queue ^ bits, ..PLACE },
        ] {
            prop_assert_eq!(Buffer::decode(&words, place, 0x1000), Err(RingError::Check(place.index)));
        }
        words[word] ^= bits;
        prop_assert_eq!(Buffer::decode(&words, PLACE, 0x1000), Err(RingError::Check(PLACE.index)));
    }

    /// Any words make a header or an error.
    #[test]
    fn any_header_is_read(words in any::<[u32; Header::WORDS]>()) {
        if let Ok(Some(header)) = Header::decode(&words) {
            prop_assert!(Layout::new(header.queues, header.entries).is_some());
        }
    }

    /// No offset of any layout lies outside its window, and no two entries overlap.
    #[test]
    fn offsets_are_apart(queues in 1..=MAX_QUEUES, log in 4u32..=10, queue in any::<u32>(), index in any::<u32>()) {
        let layout = Layout::new(queues, 1 << log).unwrap();
        let queue = queue % queues;
        let buffer = layout.buffer(queue, index);
        let completion = layout.completion(queue, index);
        prop_assert!(layout.buffer(queue, 0) + (1 << log) * Buffer::SIZE <= layout.completion(queue, 0));
        prop_assert!(buffer >= 0x1000 && buffer + Buffer::SIZE <= layout.size());
        prop_assert!(completion + Completion::SIZE <= layout.size());
        prop_assert_eq!(layout.buffer(queue, index.wrapping_add(1 << log)), buffer);
        if queue + 1 < queues {
            prop_assert!(completion + Completion::SIZE <= layout.buffer(queue + 1, 0));
        }
    }

    /// Heads of a hostile peer: what is taken stays within what is out, whatever they are.
    #[test]
    fn heads_are_never_trusted(heads in prop::collection::vec((any::<u32>(), any::<bool>()), 1..200)) {
        const ENTRIES: u32 = 16;
        let (mut receiver, mut sender) = (Receiver::new(ENTRIES), Sender::new(ENTRIES));
        let (mut out, mut flying) = (0u32, 0u32);
        for (head, near) in heads {
            // Half of them are near enough to be taken now and then.
            let near = |base: u32| if near { base.wrapping_add(head % 20).wrapping_sub(2) } else { head };
            while receiver.post().is_some() {
                out += 1;
            }
            if let Ok(ready) = receiver.announce(near(receiver.head().wrapping_sub(out))) {
                prop_assert!(ready <= out);
            }
            while receiver.take().is_some() {
                out = out.checked_sub(1).expect("took a buffer that was not out");
            }
            if let Ok(ready) = sender.announce(near(sender.head().wrapping_add(flying))) {
                prop_assert!(ready + flying <= ENTRIES);
            }
            while sender.take().is_some() {
                flying += 1;
                prop_assert!(flying <= ENTRIES);
            }
            for _ in 0..head % 5 {
                flying -= u32::from(sender.complete().is_some());
            }
            prop_assert_eq!(sender.in_flight(), flying);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Two sides with word by word delivery, restarts and farewells at any time.
    #[test]
    fn two_sides_at_random(choices in prop::collection::vec(any::<u16>(), 0..4000)) {
        model::random(&choices);
    }
}

/// All interleavings of two sides that each send a frame, one of which starts again at any time.
#[test]
fn two_sides_in_every_order() {
    let seen = model::exhaustive();
    assert!(seen > 10_000, "only {seen} states");
}
