// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What software, the link and the engine's driver do: as data, from whichever source of chance.

use abi::edma::{self, channel, control, element};
use qemu_device::controller::Limits;

use crate::model::{Next, Region, State, Way, WAYS};
use crate::world::{Verdict, World, LISTS, LIST_AREA, LIST_STRIDE};

/// Elements that a channel's list area holds, but for the last, which ends the list.
pub const ROOM: usize = LIST_AREA as usize / element::SIZE as usize - 1;
/// Base of the region that leads to the RC's data, where nothing else is.
pub const WINDOW: u64 = 0x1040_0000;

/// A channel, by its place among those that are built in.
#[derive(Clone, Copy, Debug)]
pub struct Pick(pub usize);

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

/// More jobs than any list needs that ends.
const LONG: usize = 400;

/// Lets all of it happen to a fresh pair of boards, and what it has set going come to its end.
///
/// # Errors
///
/// Where the engine and the model differ first.
pub fn tell(channels: u8, ops: &[Op]) -> Verdict {
    let limits = Limits {
        elements: 8,
        bytes: 1 << 20,
    };
    let mut world = World::new(channels);
    for (at, op) in ops.iter().enumerate() {
        op.apply(&mut world)
            .map_err(|error| format!("step {at}, {op:x?}: {error}"))?;
    }
    // Lists that go round for ever are stopped.
    if !world.run(LONG, limits)? {
        for (way, number) in world.model.all() {
            if world.model.channel(way, number).state == State::Running {
                let stop = edma::DOORBELL_STOP.mask() | number as u32;
                world.write(way.map().doorbell, stop)?;
            }
        }
        if !world.run(2 * usize::from(channels) + 1, limits)? {
            return Err("stopped, and it goes on".into());
        }
    }
    world.nothing_is_lost()
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
    // By the engine's registers: what it has done and not reported, nobody knows yet.
    let llp = world.channel_pair(way, number, channel::LLP_LOW);
    let control1 = world.channel_register(way, number, channel::CONTROL1);
    let running = world.model.channel(way, number);
    let expected = (running.llp(), running.control1);
    let (here, cycle, next) = world.model.follow(way, number, llp, control1);
    if !control::LLE.is_set(control1) || next != Next::End {
        return Ok(());
    }
    let index = here.wrapping_sub(area(world, at)) / u64::from(element::SIZE);
    if index as usize + items.len() > ROOM {
        return Ok(());
    }
    // Links that it may not have followed yet are its own, read ahead or not: software leaves them alone.
    if world.model.follow(way, number, expected.0, expected.1) != (here, cycle, next) {
        return Ok(());
    }
    let written = here..here + (items.len() as u64 + 1) * u64::from(element::SIZE);
    for mut place in [llp, expected.0] {
        while place != here {
            if written.contains(&place) {
                return Ok(());
            }
            let mut target = [0; 8];
            let target_at = place + u64::from(element::LLP);
            let read = world.model.ep.read(target_at, &mut target);
            read.expect("follow() read it");
            place = u64::from_le_bytes(target);
        }
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
