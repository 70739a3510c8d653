// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The bytes of the windows protocol, spelt out.

use abi::windows::{
    kind_of, Ack, Hello, Map, SetHeader, Unmap, Window, GOODBYE, MAX_MESSAGE, MAX_WINDOWS,
};

#[test]
fn hello() {
    let bytes = Hello::new(1).to_bytes();
    assert_eq!(&bytes, b"\x01\0\0\0SPWN\x01\0\0\0\x01\0\0\0");
    assert_eq!(Hello::from_bytes(&bytes), Some(Hello::new(1)));
    assert_eq!(kind_of(&bytes), Some(1));
}

#[test]
fn ack() {
    let ack = Ack {
        seq: 0x0807_0605_0403_0201,
    };
    let bytes = ack.to_bytes();
    assert_eq!(bytes, [2, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(Ack::from_bytes(&bytes), Some(ack));
}

#[test]
fn map_and_unmap() {
    let map = Map {
        id: 7,
        size: 0x1_2000_0000,
        fd_offset: 0x3000,
    };
    let bytes = map.to_bytes();
    assert_eq!(
        &bytes,
        b"\x11\0\0\0\x07\0\0\0\0\0\0\x20\x01\0\0\0\0\x30\0\0\0\0\0\0"
    );
    assert_eq!(Map::from_bytes(&bytes), Some(map));
    let bytes = Unmap { id: 7 }.to_bytes();
    assert_eq!(bytes, [0x12, 0, 0, 0, 7, 0, 0, 0]);
    assert_eq!(Unmap::from_bytes(&bytes), Some(Unmap { id: 7 }));
}

#[test]
fn goodbye() {
    assert_eq!(GOODBYE, [0x14, 0, 0, 0]);
}

#[test]
fn window() {
    let window = Window {
        bar: 2,
        offset: 0x1000,
        len: 0x20_0000,
        map: 9,
        map_offset: 0x1_0000_5000,
        flags: Window::WRITABLE,
    };
    let bytes = window.to_bytes();
    let words = [2, 1, 0x1000, 0, 0x20_0000, 0, 9, 0, 0x5000, 1];
    let expected: Vec<u8> = words.iter().copied().flat_map(u32::to_le_bytes).collect();
    assert_eq!(bytes.as_slice(), expected);
    assert_eq!(Window::from_bytes(&bytes), Some(window));
}

#[test]
fn a_set_has_as_many_windows_as_it_says() {
    let head = SetHeader { count: 2, seq: 3 };
    let mut bytes = head.to_bytes().to_vec();
    assert_eq!(bytes, [0x13, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    for len in 0..120 {
        bytes.resize(len, 0);
        let expected = (len == 16 + 2 * 40).then_some(head);
        let whole = (len >= 16).then(|| SetHeader::from_bytes(&bytes)).flatten();
        assert_eq!(whole, expected, "{len} bytes");
        if len < 16 {
            bytes = head.to_bytes().to_vec();
        }
    }
    let count = MAX_WINDOWS as u32 + 1;
    let mut bytes = SetHeader { count, seq: 3 }.to_bytes().to_vec();
    bytes.resize(16 + count as usize * 40, 0);
    assert_eq!(SetHeader::from_bytes(&bytes), None, "too many");
    assert_eq!(bytes.len() - 40, MAX_MESSAGE);
}

#[test]
fn what_is_no_message_is_none() {
    for len in 0..64 {
        for kind in 0..32u8 {
            let mut bytes = vec![0; len];
            if let Some(first) = bytes.first_mut() {
                *first = kind;
            }
            assert_eq!(Hello::from_bytes(&bytes).is_some(), (kind, len) == (1, 16));
            assert_eq!(Ack::from_bytes(&bytes).is_some(), (kind, len) == (2, 16));
            assert_eq!(Map::from_bytes(&bytes).is_some(), (kind, len) == (17, 24));
            assert_eq!(Unmap::from_bytes(&bytes).is_some(), (kind, len) == (18, 8));
            assert_eq!(
                SetHeader::from_bytes(&bytes).is_some(),
                (kind, len) == (19, 16)
            );
        }
    }
}
