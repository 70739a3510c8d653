// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Register writes, list memory and both faces against the eDMA. The first byte of the input says whether
//! the rest is a script for the engine and its reference model side by side (`tests/edma`), or nonsense
//! that two guests write; then how many channels there are.

#![no_main]
#![allow(dead_code)] // the tests use more of these

#[path = "../../tests/edma/chaos.rs"]
mod chaos;
#[path = "../../tests/edma/model/mod.rs"]
mod model;
#[path = "../../tests/edma/script.rs"]
mod script;
#[path = "../../tests/silicon_common/mod.rs"]
mod silicon_common;
#[path = "../../tests/edma/world.rs"]
mod world;

use abi::edma::{channel, WRITE};
use abi::spider;
use libfuzzer_sys::fuzz_target;
use qemu_device::controller::Limits;

use chaos::{Action, EP_RAM, RAM_SIZE, RC_RAM};
use model::{Region, Way, WAYS};
use script::{Item, Op, Pick, SharedRegister, ROOM, WINDOW};
use world::{EP_DATA, EP_DATA_LEN, MSI, RC_DATA, RC_DATA_LEN};

/// Steps of one input.
const STEPS: usize = 200;

/// The input, from its start on; zeroes after its end.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn half(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn word(&mut self) -> u32 {
        u32::from(self.half()) | u32::from(self.half()) << 16
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    fn flag(&mut self) -> bool {
        self.byte() & 1 != 0
    }

    fn way(&mut self) -> Way {
        WAYS[self.below(2)]
    }

    fn pick(&mut self) -> Pick {
        Pick(self.below(8))
    }

    fn limits(&mut self) -> Limits {
        let (elements, bytes) = (self.byte(), self.byte());
        Limits {
            elements: usize::from(elements % 72),
            bytes: match bytes {
                0..=63 => bytes.into(),
                64..=127 => u64::MAX,
                _ => 1 << (bytes % 21),
            },
        }
    }

    fn size(&mut self) -> u32 {
        match self.byte() {
            byte @ 0..=199 => byte.into(),
            200..=250 => u32::from(self.half()) % 2048,
            _ => self.word(),
        }
    }

    fn local(&mut self) -> u64 {
        match self.byte() {
            255 => u64::MAX - u64::from(self.byte()),
            254 => u64::from(self.word()),
            // Up to both ends of the RAM, and beyond.
            _ => EP_DATA - 32 + u64::from(self.half()) % (EP_DATA_LEN + 64),
        }
    }

    fn remote(&mut self) -> u64 {
        match self.byte() {
            255 => u64::MAX - u64::from(self.byte()),
            254 => u64::from(self.half() & 0x1f),
            253 => u64::from(self.word()),
            240..=252 => MSI,
            220..=239 => MSI - 0x20 + u64::from(self.byte() & 0x3f),
            150..=219 => WINDOW + u64::from(self.half()) % RC_DATA_LEN,
            _ => RC_DATA + u64::from(self.half()) % RC_DATA_LEN,
        }
    }

    fn item(&mut self, links: bool) -> Item {
        let bits = self.byte();
        if links && bits & 0xe0 == 0xe0 {
            let to = self.below(ROOM + 2);
            return Item::Link {
                cb: bits & 1 != 0,
                tcb: bits & 2 != 0,
                to: (to < ROOM).then_some(to),
            };
        }
        Item::Data {
            mine: bits & 7 != 7,
            lie: bits & 0x18 == 0x18,
            rie: bits & 0x60 == 0x60,
            size: self.size(),
            local: self.local(),
            remote: self.remote(),
        }
    }

    fn items(&mut self, most: usize, links: bool) -> Vec<Item> {
        let count = self.below(most + 1);
        (0..count).map(|_| self.item(links)).collect()
    }

    fn op(&mut self) -> Op {
        match self.below(32) {
            0..=3 => Op::Program {
                pick: self.pick(),
                items: self.items(12, true),
                first: self.below(2),
                ring: self.byte() & 7 != 7,
            },
            4 | 5 => Op::Extend {
                pick: self.pick(),
                items: vec![self.item(false), self.item(false)],
                ring: self.flag(),
            },
            6 => Op::Single {
                pick: self.pick(),
                lie: self.flag(),
                rie: self.flag(),
                size: self.size(),
                local: self.local(),
                remote: self.remote(),
            },
            7 | 8 => Op::Ring(self.pick()),
            9 => Op::Stop(self.pick()),
            10 => Op::Enable(self.way(), self.flag()),
            11..=14 => {
                let register = match self.below(8) {
                    0 => SharedRegister::Status,
                    1 | 2 => SharedRegister::Mask,
                    3 | 4 => SharedRegister::Clear,
                    5 => SharedRegister::Imwr(self.below(4) as u32),
                    6 => SharedRegister::Data(self.below(4) as u32),
                    _ => SharedRegister::ListError,
                };
                Op::Shared(self.way(), register, self.word())
            }
            15 => {
                let register = 4 * self.below(channel::SIZE as usize / 4) as u32;
                Op::Meddle(self.pick(), register, self.word())
            }
            16 | 17 => Op::Handle,
            18 => Op::Gate(self.flag()),
            19 => Op::Link(self.flag()),
            20 => Op::BusMaster(self.flag()),
            21 => {
                let base =
                    if self.flag() { WINDOW } else { RC_DATA } + self.below(3) as u64 * 0x1000;
                let region = Region {
                    base,
                    last: base + (self.below(3) as u64 + 1) * 0x1000 - 1,
                    target: RC_DATA + self.below(3) as u64 * 0x1000,
                };
                Op::Region(self.below(16), self.flag().then_some(region))
            }
            22..=25 => Op::Take(self.limits()),
            26 => Op::Perform(self.below(8)),
            27..=30 => Op::Finish(self.below(8)),
            _ => Op::Run(self.below(30), self.limits()),
        }
    }

    /// A word that may be an address, a flag or nonsense.
    fn value(&mut self) -> u32 {
        let near = |base: u64, at: u16| base as u32 + u32::from(at) % RAM_SIZE as u32;
        match self.byte() {
            0..=99 => u32::from(self.byte()) & 0x3f,
            100..=129 => 0x300 | u32::from(self.byte()) & 0x1f,
            130..=149 => 1 << 31 | u32::from(self.byte()) & 7,
            150..=199 => near(EP_RAM, self.half()),
            200..=239 => near(RC_RAM, self.half()),
            _ => self.word(),
        }
    }

    fn dma_register(&mut self) -> u32 {
        match self.byte() {
            0..=79 => WRITE.doorbell,
            80..=129 => u32::from(self.byte()) & !3,
            130..=139 => u32::from(self.half()) & !3,
            byte => WRITE.channels + u32::from(byte & 7) * 0x100 + self.below(9) as u32 * 4,
        }
    }

    fn action(&mut self) -> Action {
        match self.below(24) {
            0..=6 => Action::Register(spider::DMA.offset + self.dma_register(), self.value()),
            7 => Action::Register(u32::from(self.half()) & !3, self.value()),
            8..=11 => {
                let at = u64::from(self.half()) % (RAM_SIZE / 24) * 24;
                let [low, high] = [self.half(), self.half()].map(u32::from);
                let words = [low & 0x31f, high & 0x3ff, self.value(), 0, self.value(), 0];
                Action::Store(at, words.into_iter().flat_map(u32::to_le_bytes).collect())
            }
            12 => Action::Config(u32::from(self.half()) & 0xffc, self.value()),
            13 | 14 => Action::Bar(spider::DMA.offset + self.dma_register(), self.value()),
            15 if self.byte() > 200 => Action::PowerOn,
            15..=18 => Action::Take(self.limits()),
            _ => Action::Finish(self.below(16)),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let nonsense = input.flag();
    let mut steps = Vec::new();
    let verdict = if nonsense {
        let channels = input.below(8) as u8 + 1;
        while !input.0.is_empty() && steps.len() < STEPS {
            steps.push(input.action());
        }
        chaos::live_through(channels, &steps).map_err(|error| format!("{error}: {steps:#x?}"))
    } else {
        let mut steps = Vec::new();
        let channels = input.below(4) as u8 + 1;
        while !input.0.is_empty() && steps.len() < STEPS {
            steps.push(input.op());
        }
        script::tell(channels, &steps).map_err(|error| format!("{error}: {steps:#x?}"))
    };
    if let Err(error) = verdict {
        panic!("{error}");
    }
});
