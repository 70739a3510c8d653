// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A board with RAM on both sides, the stock driver's way of starting a channel, and a worker that does
//! the eDMA's jobs one at a time.

use abi::edma::{self, control};
use abi::spider;
use qemu_device::controller::{Direction, Effect, Job, Limits, Outcome, Reason, Ticket, Transfer};
use qemu_device::fabric::{self, Resolved, Target};

use crate::silicon_common::Board;

/// The EP's RAM.
pub const EP: u64 = 0x4000_0000;
/// The RC's RAM, where no outbound region of the tests leads by chance.
pub const RC: u64 = 0x8000_0000;
/// Bytes of either.
pub const SIZE: u64 = 0x4_0000;
/// Where the tests put their lists, in the EP's RAM.
pub const LIST: u64 = EP + 0x2_0000;

/// One step of a list at a time.
pub const STEP: Limits = Limits {
    elements: 1,
    bytes: u64::MAX,
};
/// What the worker uses.
pub const MANY: Limits = Limits {
    elements: 64,
    bytes: 256 << 10,
};

/// More jobs than any list here needs.
const PATIENCE: usize = 10_000;

/// RAM of one guest.
pub struct Ram {
    base: u64,
    bytes: Vec<u8>,
}

impl Ram {
    fn new(base: u64, seed: u8) -> Self {
        let bytes = (0..SIZE).map(|at| (at % 251) as u8 ^ seed).collect();
        Self { base, bytes }
    }

    /// The offset of `address`, and how many bytes there are from it on.
    fn at(&self, address: u64) -> Option<(usize, u64)> {
        let offset = address.checked_sub(self.base)?;
        let left = SIZE.checked_sub(offset).filter(|left| *left > 0)?;
        Some((offset as usize, left))
    }

    pub fn get(&self, address: u64, len: u64) -> &[u8] {
        let (offset, left) = self.at(address).expect("in RAM");
        assert!(len <= left);
        &self.bytes[offset..][..len as usize]
    }

    pub fn put(&mut self, address: u64, data: &[u8]) {
        let (offset, left) = self.at(address).expect("in RAM");
        assert!(data.len() as u64 <= left);
        self.bytes[offset..][..data.len()].copy_from_slice(data);
    }
}

/// A data element.
#[derive(Clone, Copy)]
pub struct Data {
    pub flags: u32,
    pub size: u32,
    pub sar: u64,
    pub dar: u64,
}

impl Data {
    /// One with CB, from EP to RC at the same offset, without interrupt.
    pub fn out(offset: u64, size: u32) -> Self {
        Self {
            flags: CB,
            size,
            sar: EP + offset,
            dar: RC + offset,
        }
    }

    pub fn with(self, flags: u32) -> Self {
        Self {
            flags: self.flags | flags,
            ..self
        }
    }

    /// CB turned round.
    pub fn stale(self) -> Self {
        Self {
            flags: self.flags ^ CB,
            ..self
        }
    }
}

pub const CB: u32 = control::CB.mask();
pub const TCB: u32 = control::TCB.mask();
pub const LIE: u32 = control::LIE.mask();
pub const RIE: u32 = control::RIE.mask();

pub struct World {
    pub board: Board,
    pub ep: Ram,
    pub rc: Ram,
    /// Vectors of the MSIs that the RC got.
    pub msis: Vec<u16>,
    /// Edges of the interrupt line to the EP.
    pub edges: usize,
    /// Whether somebody was told to ask for jobs.
    pub ready: bool,
    pub limits: Limits,
}

impl World {
    /// A pair whose link stands, epf-test bound, MSIs on.
    pub fn new() -> Self {
        Self {
            board: Board::running(),
            ep: Ram::new(EP, 0),
            rc: Ram::new(RC, 0xff),
            msis: Vec::new(),
            edges: 0,
            ready: false,
            limits: MANY,
        }
    }

    pub fn read(&mut self, offset: u32) -> u32 {
        self.board.readl(spider::DMA, offset)
    }

    pub fn write(&mut self, offset: u32, value: u32) {
        self.board.writel(spider::DMA, offset, value);
        self.see_effects();
    }

    /// A register of a channel.
    pub fn register(direction: Direction, channel: u32, register: u32) -> u32 {
        direction.map().channels + channel * edma::CHANNEL_STRIDE + register
    }

    pub fn control1(&mut self, direction: Direction, channel: u32) -> u32 {
        self.read(Self::register(direction, channel, edma::channel::CONTROL1))
    }

    pub fn status(&mut self, direction: Direction, channel: u32) -> u32 {
        control::CS.get(self.control1(direction, channel))
    }

    pub fn llp(&mut self, direction: Direction, channel: u32) -> u64 {
        let low = self.read(Self::register(direction, channel, edma::channel::LLP_LOW));
        let high = self.read(Self::register(direction, channel, edma::channel::LLP_HIGH));
        u64::from(high) << 32 | u64::from(low)
    }

    /// `dw_edma_v0_write_ll_data`.
    pub fn put_data(&mut self, address: u64, data: Data) {
        self.ep.put(address + 4, &data.size.to_le_bytes());
        self.ep.put(address + 8, &data.sar.to_le_bytes());
        self.ep.put(address + 16, &data.dar.to_le_bytes());
        self.ep.put(address, &data.flags.to_le_bytes());
    }

    /// `dw_edma_v0_write_ll_link`.
    pub fn put_link(&mut self, address: u64, flags: u32, next: u64) {
        self.ep.put(address + 8, &next.to_le_bytes());
        let flags = flags | control::LLP.mask();
        self.ep.put(address, &flags.to_le_bytes());
    }

    /// Elements one after the other at [`LIST`]; returns the address after the last.
    pub fn put_list(&mut self, list: &[Data]) -> u64 {
        let mut address = LIST;
        for data in list {
            self.put_data(address, *data);
            address += u64::from(edma::element::SIZE);
        }
        address
    }

    /// `dw_edma_v0_core_ch_enable` of a local channel.
    pub fn enable(&mut self, direction: Direction, channel: u32, list: u64) {
        let map = direction.map();
        self.write(map.engine_enable, 1);
        let mask = self.read(map.int_mask);
        let bit = 1 << channel;
        self.write(map.int_mask, mask & !(bit | bit << 16));
        let enabled = self.read(map.linked_list_err_enable);
        self.write(map.linked_list_err_enable, enabled | bit);
        let control1 = control::CCS.mask() | control::LLE.mask();
        self.write(
            Self::register(direction, channel, edma::channel::CONTROL1),
            control1,
        );
        let llp = edma::channel::LLP_LOW;
        self.write(Self::register(direction, channel, llp), list as u32);
        self.write(
            Self::register(direction, channel, llp + 4),
            (list >> 32) as u32,
        );
    }

    /// `dw_edma_v0_core_ch_doorbell`.
    pub fn ring(&mut self, direction: Direction, channel: u32) {
        self.write(direction.map().doorbell, channel);
    }

    pub fn stop(&mut self, direction: Direction, channel: u32) {
        self.write(
            direction.map().doorbell,
            edma::DOORBELL_STOP.mask() | channel,
        );
    }

    /// Programs a channel for a single element.
    pub fn single(&mut self, direction: Direction, channel: u32, flags: u32, data: Data) {
        self.write(direction.map().engine_enable, 1);
        for (register, value) in [
            (edma::channel::CONTROL1, flags),
            (edma::channel::TRANSFER_SIZE, data.size),
            (edma::channel::SAR_LOW, data.sar as u32),
            (edma::channel::SAR_HIGH, (data.sar >> 32) as u32),
            (edma::channel::DAR_LOW, data.dar as u32),
            (edma::channel::DAR_HIGH, (data.dar >> 32) as u32),
        ] {
            self.write(Self::register(direction, channel, register), value);
        }
    }

    pub fn next(&mut self) -> Option<Job> {
        let job = self
            .board
            .controller
            .dma_next(self.limits, &mut self.board.effects);
        self.see_effects();
        job
    }

    pub fn finish(&mut self, ticket: Ticket, outcome: Outcome<'_>) {
        self.board
            .controller
            .dma_finish(ticket, outcome, &mut self.board.effects);
        self.see_effects();
    }

    /// Does `job`, and reports it.
    pub fn perform(&mut self, job: &Job) {
        match job {
            Job::Fetch {
                ticket,
                address,
                len,
            } => {
                let list = match self.ep.at(*address) {
                    Some((_, left)) => self.ep.get(*address, left.min(*len as u64)).to_vec(),
                    None => Vec::new(),
                };
                self.finish(*ticket, Outcome::Fetched(&list));
            }
            Job::Copy {
                ticket,
                direction,
                transfers,
            } => {
                let mut moved = 0;
                let failed = transfers
                    .iter()
                    .find_map(|transfer| self.transfer(*direction, *transfer, &mut moved).err());
                let outcome = match failed {
                    None => Outcome::Copied,
                    Some(reason) => Outcome::Failed { moved, reason },
                };
                self.finish(*ticket, outcome);
            }
        }
    }

    fn transfer(
        &mut self,
        direction: Direction,
        transfer: Transfer,
        moved: &mut u64,
    ) -> Result<(), Reason> {
        let mut at = 0;
        while at < u64::from(transfer.len) {
            let local = transfer.local.wrapping_add(at);
            let left = u64::from(transfer.len) - at;
            let (controller, remote) = (&self.board.controller, transfer.remote.wrapping_add(at));
            let Resolved { target, len } = fabric::from_edma(controller, remote, left);
            let address = match target {
                Target::RcRam { address } => address,
                Target::RcMsi => {
                    let word = self.ep.get(local, 4);
                    self.msis.extend(fabric::msi_vector(controller, word));
                    *moved += 4;
                    at += 4;
                    continue;
                }
                Target::Unsupported(reason) => return Err(reason),
                other => panic!("the eDMA reached {other:?}"),
            };
            let (_, local_left) = self.ep.at(local).ok_or(Reason::NoEpMemory)?;
            let (_, remote_left) = self.rc.at(address).ok_or(Reason::NoRcMemory)?;
            let len = len.min(local_left).min(remote_left);
            match direction {
                Direction::Write => self.rc.put(address, self.ep.get(local, len)),
                Direction::Read => self.ep.put(local, self.rc.get(address, len)),
            }
            *moved += len;
            at += len;
        }
        Ok(())
    }

    /// Does jobs until there are none. Returns how many there were.
    pub fn run(&mut self) -> usize {
        for done in 0..PATIENCE {
            match self.next() {
                Some(job) => self.perform(&job),
                None => return done,
            }
        }
        panic!("it does not end");
    }

    /// Does jobs up to the first that moves data, and hands that one over.
    pub fn run_to_copy(&mut self) -> Job {
        for _ in 0..PATIENCE {
            match self.next().expect("a copy") {
                copy @ Job::Copy { .. } => return copy,
                fetch => self.perform(&fetch),
            }
        }
        panic!("no copy");
    }

    fn see_effects(&mut self) {
        for effect in self.board.take_effects() {
            match effect {
                Effect::EpInterrupt => self.edges += 1,
                Effect::DmaReady => self.ready = true,
                Effect::DmaMessage { address, data } => {
                    let data = data.to_le_bytes();
                    let controller = &self.board.controller;
                    match fabric::from_edma(controller, address, 4).target {
                        // A message to where nothing is vanishes.
                        Target::RcRam { address } if self.rc.at(address).is_some() => {
                            self.rc.put(address, &data);
                        }
                        Target::RcMsi => self.msis.extend(fabric::msi_vector(controller, &data)),
                        _ => {}
                    }
                }
                Effect::LinkUp | Effect::LinkDown => {}
            }
        }
    }

    /// Bytes that a write channel has moved to the RC at the same offset.
    pub fn arrived(&self, offset: u64, len: u64) -> bool {
        self.ep.get(EP + offset, len) == self.rc.get(RC + offset, len)
    }

    /// Not one byte of these has.
    pub fn untouched(&self, offset: u64, len: u64) -> bool {
        let ep = self.ep.get(EP + offset, len).iter();
        ep.zip(self.rc.get(RC + offset, len))
            .all(|(a, b)| a ^ b == 0xff)
    }
}
