// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A channel of the pair's eDMA, programmed as the stock driver does it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use abi::edma::{self, control};
use abi::spider;

use crate::guest::PATIENCE;
use crate::pair::{Pair, RAM};

/// Where lists are, a MiB before the end of the EP's RAM.
pub const LISTS: u64 = RAM + 0xf0_0000;

/// Where data may be: past the address of the RC's MSIs, which no transfer may cross.
pub const DATA: u64 = RAM + 0x10_0000;

/// A data element.
pub struct Data {
    pub flags: u32,
    pub size: u32,
    pub sar: u64,
    pub dar: u64,
}

pub const CB: u32 = control::CB.mask();
pub const LIE: u32 = control::LIE.mask();

/// RAM as its guest sees it.
pub fn put(ram: &OwnedFd, address: u64, data: &[u8]) {
    let file = File::from(ram.try_clone().unwrap());
    file.write_all_at(data, address - RAM).unwrap();
}

pub fn get(ram: &OwnedFd, address: u64, len: usize) -> Vec<u8> {
    let file = File::from(ram.try_clone().unwrap());
    let mut data = vec![0; len];
    file.read_exact_at(&mut data, address - RAM).unwrap();
    data
}

/// Bytes that tell where they belong.
pub fn pattern(seed: u64, len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|at| (at.wrapping_mul(0x9e37_79b9).wrapping_add(seed) >> 7) as u8)
        .collect()
}

#[derive(Clone, Copy)]
pub struct Channel {
    pub map: &'static edma::DirectionMap,
    pub number: u32,
}

impl Channel {
    pub const fn write(number: u32) -> Self {
        Self {
            map: &edma::WRITE,
            number,
        }
    }

    pub const fn read(number: u32) -> Self {
        Self {
            map: &edma::READ,
            number,
        }
    }

    /// Its own list in the EP's RAM.
    pub fn list(self) -> u64 {
        let half = u64::from(self.map == &edma::READ);
        LISTS + (u64::from(self.number) * 2 + half) * 0x1_0000
    }

    pub fn register(self, register: u32) -> u32 {
        self.map.channels + self.number * edma::CHANNEL_STRIDE + register
    }

    /// Writes data elements, and after them a link to `next`; without one, a stale element.
    pub fn put_list(self, pair: &Pair, list: &[Data], next: Option<u64>) {
        let mut bytes = Vec::new();
        for data in list {
            bytes.extend(data.flags.to_le_bytes());
            bytes.extend(data.size.to_le_bytes());
            bytes.extend(data.sar.to_le_bytes());
            bytes.extend(data.dar.to_le_bytes());
        }
        let flags = next.map_or(0, |_| control::LLP.mask());
        bytes.extend(u64::from(flags).to_le_bytes());
        bytes.extend(next.unwrap_or(0).to_le_bytes());
        bytes.extend([0; 8]);
        put(&pair.ep_ram, self.list(), &bytes);
    }

    /// `dw_edma_v0_core_ch_enable`, then the doorbell. All writes are posted.
    pub fn start(self, pair: &mut Pair) {
        let list = self.list();
        for (register, value) in [
            (self.map.engine_enable, 1),
            (self.map.int_mask, 0),
            (self.map.linked_list_err_enable, 0xff),
            (
                self.register(edma::channel::CONTROL1),
                control::CCS.mask() | control::LLE.mask(),
            ),
            (self.register(edma::channel::LLP_LOW), list as u32),
            (self.register(edma::channel::LLP_HIGH), (list >> 32) as u32),
            (self.map.doorbell, self.number),
        ] {
            pair.register(spider::DMA, register, value);
        }
    }

    pub fn stop(self, pair: &mut Pair) {
        let value = edma::DOORBELL_STOP.mask() | self.number;
        pair.register(spider::DMA, self.map.doorbell, value);
    }

    pub fn status(self, pair: &mut Pair) -> u32 {
        let control1 = self.register(edma::channel::CONTROL1);
        control::CS.get(pair.read_register(spider::DMA, control1))
    }

    /// The channel's done (bit 0) and abort (bit 16).
    pub fn interrupts(self, pair: &mut Pair) -> u32 {
        let status = pair.read_register(spider::DMA, self.map.int_status);
        status >> self.number & 0x1_0001
    }

    /// Asks until the channel has told something, and clears that.
    pub fn wait(self, pair: &mut Pair) -> u32 {
        let end = Instant::now() + PATIENCE;
        loop {
            let told = self.interrupts(pair);
            if told != 0 {
                pair.register(spider::DMA, self.map.int_clear, told << self.number);
                return told;
            }
            assert!(Instant::now() < end, "nothing within {PATIENCE:?}");
        }
    }

    /// What `inspect` says of it.
    pub fn inspect(self, pair: &Pair) -> serde_json::Value {
        let direction = if self.map == &edma::READ {
            "read"
        } else {
            "write"
        };
        pair.inspect(&format!("edma.{direction}.channels.{}", self.number))
    }

    /// A list that goes in circles, moving `size` bytes each time.
    pub fn go_in_circles(self, pair: &mut Pair, size: u32) {
        let data = Data {
            flags: CB,
            size,
            sar: DATA,
            dar: DATA,
        };
        self.put_list(pair, &[data], Some(self.list()));
        self.start(pair);
        let moved = |pair: &Pair| self.inspect(pair)["elements"].as_u64();
        let before = moved(pair);
        crate::guest::eventually("it moves", || moved(pair) > before);
        assert_eq!(self.status(pair), control::CS_RUNNING);
    }
}

/// The process's CPU time while `wait` passes.
pub fn cpu_time(pair: &Pair, wait: Duration) -> Duration {
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pair.process.id())).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let mut times = fields.split_whitespace().skip(11).take(2);
        let mut next = || times.next().unwrap().parse::<u64>().unwrap();
        next() + next()
    };
    let before = ticks();
    std::thread::sleep(wait);
    // USER_HZ is 100 on all of them.
    Duration::from_millis((ticks() - before) * 10)
}
