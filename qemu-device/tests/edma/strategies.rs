// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random steps of a script, in a form that shrinks.

use abi::edma::{self, channel};
use abi::spider;
use proptest::collection::vec;
use proptest::prelude::*;
use qemu_device::controller::Limits;

use crate::chaos::{Action, EP_RAM, RAM_SIZE, RC_RAM};
use crate::model::{Region, Way};
use crate::script::{Item, Op, Pick, SharedRegister, ROOM, WINDOW};
use crate::world::{EP_DATA, EP_DATA_LEN, MSI, RC_DATA, RC_DATA_LEN};

fn pick() -> impl Strategy<Value = Pick> {
    // Few channels at work make more happen on each.
    prop_oneof![3 => 0..3usize, 1 => 0..16usize].prop_map(Pick)
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![Just(Way::Write), Just(Way::Read)]
}

fn size() -> impl Strategy<Value = u32> {
    prop_oneof![
        1 => Just(0u32),
        2 => 1..9u32,
        6 => 1..200u32,
        1 => 200..2000u32,
        1 => prop_oneof![Just(u32::MAX), Just(0x1000u32), any::<u32>()],
    ]
}

fn local() -> impl Strategy<Value = u64> {
    prop_oneof![
        12 => (0..EP_DATA_LEN - 200).prop_map(|at| EP_DATA + at),
        2 => (0..EP_DATA_LEN + 64).prop_map(|at| EP_DATA - 32 + at),
        1 => prop_oneof![Just(0u64), Just(u64::MAX - 7), any::<u64>()],
    ]
}

fn remote() -> impl Strategy<Value = u64> {
    prop_oneof![
        10 => (0..RC_DATA_LEN / 2 - 100).prop_map(|at| RC_DATA + at),
        3 => (0..RC_DATA_LEN).prop_map(|at| RC_DATA + at),
        4 => (0..RC_DATA_LEN / 2).prop_map(|at| WINDOW + at),
        2 => (0..0x40u64).prop_map(|at| MSI - 0x20 + at),
        1 => Just(MSI),
        1 => prop_oneof![0..0x20u64, Just(u64::MAX - 7), any::<u64>()],
    ]
}

fn data() -> impl Strategy<Value = Item> {
    let bits = (
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.25),
        prop::bool::weighted(0.15),
    );
    (bits, size(), local(), remote()).prop_map(|((mine, lie, rie), size, local, remote)| {
        Item::Data {
            mine,
            lie,
            rie,
            size,
            local,
            remote,
        }
    })
}

fn item() -> impl Strategy<Value = Item> {
    let link = (
        any::<bool>(),
        any::<bool>(),
        prop::option::weighted(0.9, 0..ROOM),
    )
        .prop_map(|(cb, tcb, to)| Item::Link { cb, tcb, to });
    prop_oneof![8 => data(), 1 => link]
}

/// How much a job may cover.
pub fn limits() -> impl Strategy<Value = Limits> {
    let elements =
        prop_oneof![2 => Just(1usize), 3 => 2..6usize, 2 => Just(64usize), 1 => Just(0usize)];
    let bytes =
        prop_oneof![1 => 1..40u64, 2 => Just(1u64 << 20), 1 => Just(u64::MAX), 1 => Just(0u64)];
    (elements, bytes).prop_map(|(elements, bytes)| Limits { elements, bytes })
}

fn region() -> impl Strategy<Value = Option<Region>> {
    let pages = (0..3u64, 0..3u64, 0..3u64);
    let region =
        (prop_oneof![Just(WINDOW), Just(RC_DATA)], pages).prop_map(|(base, (at, len, to))| {
            let base = base + at * 0x1000;
            Region {
                base,
                last: base + (len + 1) * 0x1000 - 1,
                target: RC_DATA + to * 0x1000,
            }
        });
    prop::option::weighted(0.7, region)
}

fn shared_register() -> impl Strategy<Value = (SharedRegister, u32)> {
    let bits = prop_oneof![
        Just(0u32),
        Just(0x00ff_00ff),
        (0..24u32).prop_map(|bit| 1 << bit),
        any::<u32>()
    ];
    let register = prop_oneof![
        2 => Just(SharedRegister::Status),
        4 => Just(SharedRegister::Mask),
        4 => Just(SharedRegister::Clear),
        2 => (0..4u32).prop_map(SharedRegister::Imwr),
        2 => (0..4u32).prop_map(SharedRegister::Data),
        3 => Just(SharedRegister::ListError),
    ];
    (register, bits)
}

/// Anything.
pub fn op() -> impl Strategy<Value = Op> {
    let items = || vec(item(), 0..12);
    prop_oneof![
        6 => (pick(), items(), 0..2usize, prop::bool::weighted(0.9))
            .prop_map(|(pick, items, first, ring)| Op::Program { pick, items, first, ring }),
        3 => (pick(), vec(data(), 1..6), any::<bool>())
            .prop_map(|(pick, items, ring)| Op::Extend { pick, items, ring }),
        2 => (pick(), any::<bool>(), any::<bool>(), size(), local(), remote()).prop_map(
            |(pick, lie, rie, size, local, remote)| Op::Single { pick, lie, rie, size, local, remote }
        ),
        3 => pick().prop_map(Op::Ring),
        1 => pick().prop_map(Op::Stop),
        1 => (way(), prop::bool::weighted(0.7)).prop_map(|(way, on)| Op::Enable(way, on)),
        6 => (way(), shared_register())
            .prop_map(|(way, (register, value))| Op::Shared(way, register, value)),
        1 => (pick(), (0..channel::SIZE / 4).prop_map(|at| at * 4), any::<u32>())
            .prop_map(|(pick, register, value)| Op::Meddle(pick, register, value)),
        3 => Just(Op::Handle),
        1 => prop::bool::weighted(0.8).prop_map(Op::Gate),
        1 => prop::bool::weighted(0.8).prop_map(Op::Link),
        1 => prop::bool::weighted(0.8).prop_map(Op::BusMaster),
        1 => (0..4usize, region()).prop_map(|(index, region)| Op::Region(index, region)),
        10 => limits().prop_map(Op::Take),
        4 => (0..4usize).prop_map(Op::Perform),
        10 => (0..4usize).prop_map(Op::Finish),
        2 => (1..30usize, limits()).prop_map(|(jobs, limits)| Op::Run(jobs, limits)),
    ]
}

/// A register of the eDMA, and a value that might mean something there.
fn register() -> impl Strategy<Value = (u32, u32)> {
    let addresses = prop_oneof![
        Just(EP_RAM as u32),
        Just(RC_RAM as u32),
        (0..RAM_SIZE as u32).prop_map(|at| EP_RAM as u32 + at),
    ];
    let value = prop_oneof![
        4 => 0..0x40u32,
        2 => Just(0x300u32),
        2 => (0..8u32).prop_map(|number| edma::DOORBELL_STOP.mask() | number),
        4 => addresses,
        1 => any::<u32>(),
    ];
    let place = prop_oneof![
        3 => prop_oneof![Just(edma::WRITE.doorbell), Just(edma::READ.doorbell)],
        2 => (0..0x130u32).prop_map(|at| at & !3),
        6 => (0..4u32, 0..9u32)
            .prop_map(|(number, at)| edma::WRITE.channels + number * 0x100 + at * 4),
    ];
    (place, value)
}

/// Anything that the guests and the engine's driver can do.
pub fn action() -> impl Strategy<Value = Action> {
    let word = prop_oneof![
        0..0x20u32,
        0..0x100u32,
        (0..RAM_SIZE as u32).prop_map(|at| EP_RAM as u32 + at),
        (0..RAM_SIZE as u32).prop_map(|at| RC_RAM as u32 + at),
        any::<u32>()
    ];
    let element = (0..RAM_SIZE / 24, vec(word, 6)).prop_map(|(at, words)| {
        // Addresses have no high halves, mostly.
        let words = [
            words[0] & 0x1f,
            words[1] & 0x3ff,
            words[2],
            words[3] & 1,
            words[4],
            words[5] & 1,
        ];
        let bytes = words.into_iter().flat_map(u32::to_le_bytes).collect();
        Action::Store(at * 24, bytes)
    });
    prop_oneof![
        12 => register().prop_map(|(at, value)| Action::Register(spider::DMA.offset + at, value)),
        1 => (0..spider::REGISTERS_SIZE / 4, any::<u32>())
            .prop_map(|(at, value)| Action::Register(at * 4, value)),
        6 => element,
        1 => (0..0x120u32, any::<u32>()).prop_map(|(at, value)| Action::Config(at & !3, value)),
        3 => register().prop_map(|(at, value)| Action::Bar(spider::DMA.offset + at, value)),
        1 => Just(Action::PowerOn),
        8 => limits().prop_map(Action::Take),
        8 => (0..8usize).prop_map(Action::Finish),
    ]
}
