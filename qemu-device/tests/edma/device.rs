// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The whole device against the model: its thread moves the bytes of random lists between real mappings,
//! past their ends and through the outbound regions.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use abi::edma::{channel, control};
use abi::spider;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::guest::{eventually, memory, Guest};
use crate::model::memory::Memory;
use crate::model::{Model, Next, Region, State, Way, WAYS};
use crate::pair::{Pair, RAM, WINDOW};

/// Two maps that adjoin, of two files, in the EP.
const EP: u64 = 0x6000_0000;
/// Two maps with a page between them, in the RC.
const RC: u64 = 0x6000_0000;
const PAGE: u64 = 0x1000;
/// The list, in a page of its own at the end of the EP's RAM: what lies behind it does not answer.
const LIST: u64 = RAM + crate::pair::RAM_SIZE - PAGE;
/// Base of an outbound region onto the RC's second map, behind the one that the pair has.
const SHORTCUT: u64 = WINDOW + spider::WINDOW_SIZE as u64;

/// An element: flags, size, and offsets at both ends.
#[derive(Clone, Copy, Debug)]
struct Element {
    link: bool,
    lie: bool,
    size: u32,
    local: u64,
    remote: u64,
}

fn element() -> impl Strategy<Value = Element> {
    let size = prop_oneof![4 => 0..64u32, 4 => 0..2000u32, 1 => 0..9000u32];
    let local = prop_oneof![
        20 => (0..PAGE).prop_map(|at| EP + at),
        2 => (0..2 * PAGE).prop_map(|at| EP + at),
        1 => (EP - 100..EP + 100).prop_map(|at| at),
    ];
    let remote = prop_oneof![
        20 => (0..PAGE / 2).prop_map(|at| RC + at),
        10 => (0..PAGE / 2).prop_map(|at| SHORTCUT + at),
        3 => (0..PAGE).prop_map(|at| RC + 2 * PAGE + at),
        1 => (0..3 * PAGE).prop_map(|at| RC + at),
        1 => (0..PAGE).prop_map(|at| SHORTCUT + at),
    ];
    (
        prop::bool::weighted(0.1),
        any::<bool>(),
        size,
        local,
        remote,
    )
        .prop_map(|(link, lie, size, local, remote)| Element {
            link,
            lie,
            size,
            local,
            remote,
        })
}

/// The list as bytes. A link leads to the next element but one, and changes the cycle.
fn encode(way: Way, elements: &[Element]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut cycle = true;
    for (index, element) in elements.iter().enumerate() {
        let (source, destination) = match way {
            Way::Write => (element.local, element.remote),
            Way::Read => (element.remote, element.local),
        };
        if element.link {
            cycle = !cycle;
            let flags = control::LLP.mask() | control::TCB.mask();
            bytes.extend(u64::from(flags).to_le_bytes());
            bytes.extend((LIST + (index as u64 + 1) * 24).to_le_bytes());
            bytes.extend([0; 8]);
        } else {
            let flags = control::CB.place(cycle.into()) | control::LIE.place(element.lie.into());
            bytes.extend(flags.to_le_bytes());
            bytes.extend(element.size.to_le_bytes());
            bytes.extend(source.to_le_bytes());
            bytes.extend(destination.to_le_bytes());
        }
    }
    bytes.extend(u64::from(control::CB.place((!cycle).into())).to_le_bytes());
    bytes.extend([0; 16]);
    bytes
}

/// A device, its two guests, and files of their RAM.
struct Boards {
    pair: Pair,
    _rc: Guest,
    ep: [File; 2],
    rc: [File; 2],
}

fn file(descriptor: &OwnedFd) -> File {
    File::from(descriptor.try_clone().expect("a descriptor"))
}

impl Boards {
    fn new() -> Self {
        let (mut pair, mut rc) = Pair::running();
        let [first, second, third, fourth] = [(); 4].map(|()| memory(PAGE));
        pair.ep.map(EP, PAGE, Some((&first, 0)));
        pair.ep.map(EP + PAGE, PAGE, Some((&second, 0)));
        rc.map(RC, PAGE, Some((&third, 0)));
        rc.map(RC + 2 * PAGE, PAGE, Some((&fourth, 0)));
        pair.outbound(1, SHORTCUT - WINDOW, RC + 2 * PAGE, PAGE);
        for way in WAYS {
            pair.register(spider::DMA, way.map().engine_enable, 1);
            // As the driver has it, or an abort of a list is silent.
            pair.register(spider::DMA, way.map().linked_list_err_enable, 0xff);
        }
        pair.ep.fence();
        Self {
            pair,
            _rc: rc,
            ep: [first, second].map(|descriptor| file(&descriptor)),
            rc: [third, fourth].map(|descriptor| file(&descriptor)),
        }
    }

    /// What is in the RAM that lists reach.
    fn contents(files: &[File; 2]) -> [Vec<u8>; 2] {
        [0, 1].map(|index| {
            let mut bytes = vec![0; PAGE as usize];
            files[index].read_exact_at(&mut bytes, 0).expect("RAM");
            bytes
        })
    }

    /// Lets a channel do a list, on the device and in the model, and compares.
    fn compare(&mut self, way: Way, number: usize, elements: &[Element]) -> Result<(), String> {
        let list = encode(way, elements);
        file(&self.pair.ep_ram)
            .write_all_at(&list, LIST - RAM)
            .expect("RAM");
        let [ep_low, ep_high] = Self::contents(&self.ep);
        let [rc_low, rc_high] = Self::contents(&self.rc);
        let ep = vec![(LIST, list), (EP, ep_low), (EP + PAGE, ep_high)];
        let rc = vec![(RC, rc_low), (RC + 2 * PAGE, rc_high)];
        let mut model = Model::new(4, Memory::new(ep), Memory::new(rc));
        model.remote.open = true;
        model.remote.regions[1] = Some(Region {
            base: SHORTCUT,
            last: SHORTCUT + PAGE - 1,
            target: RC + 2 * PAGE,
        });
        let map = way.map();
        let first = map.channels + number as u32 * abi::edma::CHANNEL_STRIDE;
        model.write(map.engine_enable, 1);
        model.write(map.linked_list_err_enable, 0xff);
        for (offset, value) in [
            (map.int_clear, u32::MAX),
            (first, control::CCS.mask() | control::LLE.mask()),
            // An empty list leaves what an abort before has left.
            (first + channel::TRANSFER_SIZE, 0),
            (first + channel::LLP_LOW, LIST as u32),
            (first + channel::LLP_HIGH, (LIST >> 32) as u32),
            (map.doorbell, number as u32),
        ] {
            model.write(offset, value);
            self.pair.register(spider::DMA, offset, value);
        }
        alone(&mut model, way, number)?;
        let pair = &mut self.pair;
        eventually("the end of the list", || {
            let control1 = pair.read_register(spider::DMA, first);
            control::CS.get(control1) != control::CS_RUNNING
        });
        let mut register = |offset: u32| pair.read_register(spider::DMA, offset);
        let expected = model.channel(way, number);
        let shared = &model.shared[way as usize];
        let status = control::CS.get(register(first));
        let pointer = register(first + channel::LLP_LOW);
        same("status", status, expected.state.code())?;
        same("list pointer", pointer, expected.llp() as u32)?;
        same("interrupts", register(map.int_status), shared.status)?;
        same("errors", register(map.err_status), shared.error[0])?;
        let size = register(first + channel::TRANSFER_SIZE);
        same("bytes left", size, expected.registers[2])?;
        let [ep, rc] = [&self.ep, &self.rc].map(Self::contents);
        let is = |memory: &Memory, address: u64, bytes: &[u8]| {
            let mut mine = vec![0; bytes.len()];
            memory.clone().read(address, &mut mine).is_ok() && mine == bytes
        };
        let blocks = [
            is(&model.ep, EP, &ep[0]),
            is(&model.ep, EP + PAGE, &ep[1]),
            is(&model.rc, RC, &rc[0]),
            is(&model.rc, RC + 2 * PAGE, &rc[1]),
        ];
        match blocks {
            [true, true, true, true] => Ok(()),
            _ => Err(format!("other bytes than the model's: {blocks:?}")),
        }
    }
}

/// The model does a list on its own.
fn alone(model: &mut Model, way: Way, number: usize) -> Result<(), String> {
    while model.channel(way, number).state == State::Running {
        model.taken(way, number)?;
        let next = model.next(way, number);
        let llp = model.channel(way, number).llp();
        model.fetches(way, number, llp);
        if let Next::Move {
            ends: (local, remote),
            len,
            ..
        } = next
        {
            model.moves(way, number, (local, remote, len as u32))?;
        }
        model.reported(way, number);
        model.stands(way, number);
        let status = model.shared[way as usize].status | 1 << number;
        // The device tells at some time; at the end it has.
        let _ = model.adopt_status(way, status);
    }
    Ok(())
}

fn same(what: &str, theirs: u32, mine: u32) -> Result<(), String> {
    match theirs == mine {
        true => Ok(()),
        false => Err(format!("{what}: {theirs:#x}, the model has {mine:#x}")),
    }
}

#[test]
fn the_device_moves_what_the_model_moves() {
    let boards = Boards::new();
    for (seed, file) in boards.ep.iter().chain(&boards.rc).enumerate() {
        let bytes: Vec<u8> = (0..PAGE)
            .map(|at| (at * 7 + seed as u64 * 61) as u8)
            .collect();
        file.write_all_at(&bytes, 0).expect("RAM");
    }
    let config = ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 500,
        ..ProptestConfig::with_cases(150)
    };
    let boards = std::cell::RefCell::new(boards);
    proptest!(config, |(way in 0..2usize, number in 0..4usize, elements in vec(element(), 0..80))| {
        let compared = boards.borrow_mut().compare(WAYS[way], number, &elements);
        if let Err(error) = compared {
            prop_assert!(false, "{}", error);
        }
    });
}
