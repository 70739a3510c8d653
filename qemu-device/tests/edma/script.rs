// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What software, the link and the engine's driver do, in any order: as data, so that a failure shrinks.

use abi::edma::{self, channel, control, element};
use proptest::collection::vec;
use proptest::prelude::*;
use qemu_device::controller::Limits;

use crate::model::{Next, Region, State, Way, WAYS};
use crate::world::{
    Verdict, World, EP_DATA, EP_DATA_LEN, LISTS, LIST_AREA, LIST_STRIDE, MSI, RC_DATA, RC_DATA_LEN,
};

/// Elements that a channel's list area holds, but for the last, which ends the list.
const ROOM: usize = LIST_AREA as usize / element::SIZE as usize - 1;
/// Base of the region that leads to the RC's data, where nothing else is.
const WINDOW: u64 = 0x1040_0000;

/// A channel, by its place among those that are built in.
#[derive(Clone, Copy, Debug)]
pub struct Pick(usize);

impl Pick {
    /// The channel in a world.
    fn of(self, world: &World) -> (Way, usize) {
        let channels = world.model.channels;
        let index = self.0 % (2 * channels);
        (WAYS[index / channels], index % channels)
    }
}

/// An element of a list.
#[derive(Clone, Copy, Debug)]
pub enum Item {
    /// Moves bytes.
    Data {
        /// Its cycle bit is the one that the engine waits for.
        mine: bool,
        lie: bool,
        rie: bool,
        size: u32,
        local: u64,
        remote: u64,
    },
    /// Leads elsewhere.
    Link {
        cb: bool,
        tcb: bool,
        /// An element of the same area, or nowhere.
        to: Option<usize>,
    },
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Op {
    /// A list is written and started, as the driver does (`dw_edma_core_start`).
    Program {
        pick: Pick,
        items: Vec<Item>,
        first: usize,
        ring: bool,
    },
    /// More elements where a list ended, the first of them last.
    Extend {
        pick: Pick,
        items: Vec<Item>,
        ring: bool,
    },
    /// A single element.
    Single {
        pick: Pick,
        lie: bool,
        rie: bool,
        size: u32,
        local: u64,
        remote: u64,
    },
    Ring(Pick),
    Stop(Pick),
    Enable(Way, bool),
    /// A register that all channels of a direction share, by its distance in the map, and its value.
    Shared(Way, SharedRegister, u32),
    /// A register of a channel that runs: must change nothing.
    Meddle(Pick, u32, u32),
    Handle,
    Gate(bool),
    Link(bool),
    BusMaster(bool),
    Region(usize, Option<Region>),
    Take(Limits),
    Perform(usize),
    Finish(usize),
    Run(usize, Limits),
}

/// Registers that hold what interrupts need.
#[derive(Clone, Copy, Debug)]
pub enum SharedRegister {
    Status,
    Mask,
    Clear,
    Imwr(u32),
    Data(u32),
    ListError,
}

impl Op {
    /// Lets it happen.
    pub fn apply(&self, world: &mut World) -> Verdict {
        match self {
            Self::Program {
                pick,
                items,
                first,
                ring,
            } => program(world, *pick, items, *first, *ring),
            Self::Extend { pick, items, ring } => extend(world, *pick, items, *ring),
            Self::Single {
                pick,
                lie,
                rie,
                size,
                local,
                remote,
            } => single(world, *pick, (*lie, *rie), *size, (*local, *remote)),
            Self::Ring(pick) => ring(world, *pick, 0),
            Self::Stop(pick) => ring(world, *pick, edma::DOORBELL_STOP.mask()),
            Self::Enable(way, on) => world.write(way.map().engine_enable, (*on).into()),
            Self::Shared(way, register, value) => {
                let map = way.map();
                let offset = match register {
                    SharedRegister::Status => map.int_status,
                    SharedRegister::Mask => map.int_mask,
                    SharedRegister::Clear => map.int_clear,
                    SharedRegister::Imwr(at) => {
                        let base = if *at < 2 {
                            map.done_imwr
                        } else {
                            map.abort_imwr
                        };
                        base + at % 2 * 4
                    }
                    SharedRegister::Data(pair) => map.imwr_data + 4 * pair,
                    SharedRegister::ListError => map.linked_list_err_enable,
                };
                let value = match register {
                    SharedRegister::Data(pair) => message_data(*way, *pair, *value),
                    _ => *value,
                };
                world.write(offset, value)
            }
            Self::Meddle(pick, register, value) => {
                let (way, number) = pick.of(world);
                match world.model.channel(way, number).state {
                    State::Running => world.write_channel(way, number, *register, *value),
                    _ => Ok(()),
                }
            }
            Self::Handle => world.handle(),
            Self::Gate(open) => world.set_gate(*open),
            Self::Link(up) => world.set_link(*up),
            Self::BusMaster(master) => world.set_bus_master(*master),
            Self::Region(index, region) => {
                world.set_region(*index, *region);
                Ok(())
            }
            Self::Take(limits) => world.take(*limits).map(drop),
            Self::Perform(index) => world.perform(index % world.jobs_out().max(1)),
            Self::Finish(index) => world.finish(index % world.jobs_out().max(1)),
            Self::Run(jobs, limits) => world.run(*jobs, *limits).map(drop),
        }
    }
}

/// Message data of two channels, in which each has low bits of its own: whose message it is must show.
pub fn message_data(way: Way, pair: u32, value: u32) -> u32 {
    let tag = (way as u32 * 4 + pair) * 2;
    value & 0xffe0_ffe0 | tag | (tag + 1) << 16
}

fn area(world: &World, (way, number): (Way, usize)) -> u64 {
    LISTS + (way as usize * world.model.channels + number) as u64 * LIST_STRIDE
}

/// The 24 bytes of an element; `cycle` is what the engine waits for.
fn encode(world: &World, channel: (Way, usize), item: Item, cycle: bool) -> Vec<u8> {
    let bit = |set: bool, field: abi::field::Field| if set { field.mask() } else { 0 };
    match item {
        Item::Data {
            mine,
            lie,
            rie,
            size,
            local,
            remote,
        } => {
            let (source, destination) = match channel.0 {
                Way::Write => (local, remote),
                Way::Read => (remote, local),
            };
            let word =
                bit(mine == cycle, control::CB) | bit(lie, control::LIE) | bit(rie, control::RIE);
            let mut bytes = [word.to_le_bytes(), size.to_le_bytes()].concat();
            bytes.extend_from_slice(&source.to_le_bytes());
            bytes.extend_from_slice(&destination.to_le_bytes());
            bytes
        }
        Item::Link { cb, tcb, to } => {
            let word = control::LLP.mask() | bit(cb, control::CB) | bit(tcb, control::TCB);
            let target = match to {
                Some(index) => area(world, channel) + (index % ROOM) as u64 * 24,
                None => 0xdead_0000,
            };
            let mut bytes = u64::from(word).to_le_bytes().to_vec();
            bytes.extend_from_slice(&target.to_le_bytes());
            bytes.extend_from_slice(&[0; 8]);
            bytes
        }
    }
}

/// What ends a list.
const TERMINATOR: Item = Item::Data {
    mine: false,
    lie: true,
    rie: true,
    size: 8,
    local: 0,
    remote: 0,
};

fn program(world: &mut World, pick: Pick, items: &[Item], first: usize, start: bool) -> Verdict {
    let at @ (way, number) = pick.of(world);
    if world.model.channel(way, number).state == State::Running {
        return Ok(());
    }
    let list = area(world, at);
    for (index, item) in items.iter().chain([&TERMINATOR]).enumerate() {
        let bytes = encode(world, at, *item, true);
        world.store(list + index as u64 * 24, &bytes);
    }
    let start_at = list + (first % (items.len() + 1)) as u64 * 24;
    let control1 = control::CCS.mask() | control::LLE.mask();
    world.write_channel(way, number, channel::CONTROL1, control1)?;
    world.write_channel(way, number, channel::LLP_LOW, start_at as u32)?;
    world.write_channel(way, number, channel::LLP_HIGH, (start_at >> 32) as u32)?;
    if start {
        ring(world, pick, 0)?;
    }
    Ok(())
}

fn extend(world: &mut World, pick: Pick, items: &[Item], start: bool) -> Verdict {
    let at @ (way, number) = pick.of(world);
    let channel = world.model.channel(way, number);
    let (llp, control1) = (channel.llp(), channel.control1);
    let (here, cycle, next) = world.model.follow(way, number, llp, control1);
    if !control::LLE.is_set(control1) || next != Next::End {
        return Ok(());
    }
    let index = here.wrapping_sub(area(world, at)) / 24;
    if index as usize + items.len() > ROOM {
        return Ok(());
    }
    // From the last to the first, so that the engine never sees what is not there yet.
    let items = [items, &[TERMINATOR]].concat();
    for (index, item) in items.into_iter().enumerate().rev() {
        let bytes = encode(world, at, item, cycle);
        let element = here + index as u64 * 24;
        world.store(element + 4, &bytes[4..]);
        world.store(element, &bytes[..4]);
    }
    if start {
        ring(world, pick, 0)?;
    }
    Ok(())
}

fn single(
    world: &mut World,
    pick: Pick,
    (lie, rie): (bool, bool),
    size: u32,
    (local, remote): (u64, u64),
) -> Verdict {
    let (way, number) = pick.of(world);
    let (source, destination) = match way {
        Way::Write => (local, remote),
        Way::Read => (remote, local),
    };
    let control1 = control::LIE.place(lie.into()) | control::RIE.place(rie.into());
    for (register, value) in [
        (channel::CONTROL1, control1),
        (channel::TRANSFER_SIZE, size),
        (channel::SAR_LOW, source as u32),
        (channel::SAR_HIGH, (source >> 32) as u32),
        (channel::DAR_LOW, destination as u32),
        (channel::DAR_HIGH, (destination >> 32) as u32),
    ] {
        world.write_channel(way, number, register, value)?;
    }
    ring(world, pick, 0)
}

fn ring(world: &mut World, pick: Pick, bits: u32) -> Verdict {
    let (way, number) = pick.of(world);
    world.write(way.map().doorbell, number as u32 | bits)
}

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
