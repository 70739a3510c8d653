// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What an EP's software may do to configuration space.

use abi::spider;
use proptest::prelude::*;
use qemu_device::controller::Width;

/// A write to DBI or to the BAR masks in dbi2: offset in the SoC mirror, width, value.
#[derive(Clone, Debug)]
pub struct EpWrite(pub u32, pub Width, pub u32);

/// The registers below port logic.
const PLACES: [u32; 31] = [
    0x00, 0x04, 0x08, 0x0c, 0x10, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x28, 0x2c, 0x30, 0x34, 0x3c, 0x40,
    0x44, 0x50, 0x70, 0x74, 0x78, 0x7c, 0x80, 0x94, 0x9c, 0xa0, 0x100, 0x104, 0x108, 0x10c, 0x110,
];

/// Any of them, mostly where there is something.
pub fn ep_write() -> impl Strategy<Value = EpWrite> {
    let offset = prop_oneof![
        8 => (proptest::sample::select(PLACES.to_vec()), 0..4u32).prop_map(|(at, byte)| at + byte),
        2 => (0..6u32).prop_map(|bar| spider::DBI2.offset + 0x10 + 4 * bar),
        1 => 0..0x1000u32,
    ];
    let value = prop_oneof![
        any::<u32>(),
        (0..32u32).prop_map(|bit| 1 << bit),
        Just(u32::MAX)
    ];
    let width = prop_oneof![Just(Width::Byte), Just(Width::Word), Just(Width::Dword)];
    (offset, width, value).prop_map(|(at, width, value)| EpWrite(at, width, value))
}
