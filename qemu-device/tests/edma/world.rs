// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The real controller and the model side by side, each with RAM of its own. Whatever is done to one is
//! done to the other, and after each step everything that software could see is compared.

use abi::edma::{self, channel, control};
use abi::{app, spider};
use qemu_device::controller::{
    Config, Direction, Effect, Effects, Job, Limits, Outcome, Reason, Ticket, Transfer,
};
use qemu_device::fabric::{self, Target};

use crate::model::memory::Memory;
use crate::model::{Model, MsiWord, Next, Region, State, Way, WAYS};
use crate::script::message_data;
use crate::silicon_common::{self, Board};

/// Lists of the channels, one area each; no RAM adjoins, or the engine would look ahead into what
/// belongs to another channel.
pub const LISTS: u64 = 0x4000_0000;
/// Bytes of a channel's list area.
pub const LIST_AREA: u64 = 0x400;
/// Distance between two channels' areas.
pub const LIST_STRIDE: u64 = 0x1000;
/// Data of the EP, in two blocks that adjoin.
pub const EP_DATA: u64 = 0x4100_0000;
pub const EP_DATA_LEN: u64 = 0x1800;
/// Data of the RC: RAM, a hole, RAM.
pub const RC_DATA: u64 = 0x8000_0000;
pub const RC_DATA_LEN: u64 = 0x2000;
/// Where the RC takes MSIs (`Board::rc_enumerates`); its RAM lies around.
pub const MSI: u64 = 0x0809_0000;

/// A job that is out.
struct Out {
    job: Job,
    way: Way,
    number: usize,
    /// What it came to, once it was done.
    done: Option<Done>,
}

enum Done {
    Fetched(Vec<u8>),
    Copied,
    Failed { moved: u64, reason: Reason },
}

/// Both eDMAs and what surrounds them.
pub struct World {
    pub board: Board,
    pub model: Model,
    ep: Memory,
    rc: Memory,
    /// MSIs that data has raised.
    msis: Vec<u32>,
    out: Vec<Out>,
    /// An edge reached the EP's CPU, and its handler has not run since.
    edge: bool,
    /// The app window lets the line through.
    gate: bool,
    /// The engine had nothing to do when last asked, and has not said otherwise since.
    asleep: bool,
    /// Jobs that each channel got while the channel of the index waited, by index.
    waits: Vec<Vec<usize>>,
}

/// What is wrong, if anything.
pub type Verdict = Result<(), String>;

impl World {
    /// A running board with as many channels each way, engines enabled, nothing masked.
    pub fn new(channels: u8) -> Self {
        let mut board = Board::new(Config {
            edma_channels: Some(channels),
        });
        board.probe();
        board.bind_epf_test();
        board.start();
        board.rc_enumerates();
        board.take_effects();
        let bytes = |len: u64, seed: u64| -> Vec<u8> {
            (0..len)
                .map(|at| ((at ^ seed).wrapping_mul(0x9e37_79b9) >> 11) as u8)
                .collect()
        };
        let half = EP_DATA_LEN / 2;
        let lists = (0..2 * u64::from(channels))
            .map(|index| (LISTS + index * LIST_STRIDE, vec![0; LIST_AREA as usize]));
        let data = [(EP_DATA, bytes(half, 1)), (EP_DATA + half, bytes(half, 2))];
        let ep = Memory::new(lists.chain(data).collect());
        let rc = Memory::new(vec![
            (RC_DATA, bytes(RC_DATA_LEN / 2, 3)),
            (RC_DATA + RC_DATA_LEN * 3 / 4, bytes(RC_DATA_LEN / 4, 4)),
            (MSI - 0x20, bytes(0x40, 5)),
            (0, bytes(0x20, 6)),
        ]);
        let all = 2 * usize::from(channels);
        let mut world = Self {
            board,
            model: Model::new(channels.into(), ep.clone(), rc.clone()),
            ep,
            rc,
            msis: Vec::new(),
            out: Vec::new(),
            edge: false,
            gate: true,
            asleep: false,
            waits: vec![vec![0; all]; all],
        };
        world.learn_road();
        for way in WAYS {
            let map = way.map();
            let zeroes = [map.int_mask, map.linked_list_err_enable];
            let messages = (0..4).map(|at| map.done_imwr + 4 * at);
            for offset in zeroes.into_iter().chain(messages) {
                world.board.writel(spider::DMA, offset, 0);
            }
            for pair in 0..4 {
                let data = message_data(way, pair, 0);
                world.model.write(map.imwr_data + 4 * pair, data);
                world
                    .board
                    .writel(spider::DMA, map.imwr_data + 4 * pair, data);
            }
        }
        for way in WAYS {
            world
                .write(way.map().engine_enable, 1)
                .expect("an engine to begin with");
        }
        world
    }

    /// A register of the eDMA as the engine has it.
    pub fn read(&mut self, offset: u32) -> u32 {
        self.board.readl(spider::DMA, offset)
    }

    /// A register of a channel, as software reads it.
    pub fn channel_register(&mut self, way: Way, number: usize, register: u32) -> u32 {
        self.read(way.map().channels + number as u32 * edma::CHANNEL_STRIDE + register)
    }

    /// A 64-bit register of a channel, as software reads it.
    pub fn channel_pair(&mut self, way: Way, number: usize, low: u32) -> u64 {
        let halves = [low + 4, low].map(|at| self.channel_register(way, number, at));
        u64::from(halves[0]) << 32 | u64::from(halves[1])
    }

    /// A write of 32 bits to the dma window, by whoever.
    pub fn write(&mut self, offset: u32, value: u32) -> Verdict {
        let line = self.board.controller.ep_interrupt_line();
        self.model.write(offset, value);
        self.board.writel(spider::DMA, offset, value);
        let handled = WAYS
            .iter()
            .any(|way| [way.map().int_clear, way.map().int_mask].contains(&offset));
        self.compare(line, handled)
            .map_err(|error| format!("write of {value:#x} to {offset:#x}: {error}"))
    }

    /// A write to a channel's register.
    pub fn write_channel(&mut self, way: Way, number: usize, register: u32, value: u32) -> Verdict {
        let offset = way.map().channels + number as u32 * edma::CHANNEL_STRIDE + register;
        self.write(offset, value)
    }

    /// Software stores bytes in the EP's RAM.
    pub fn store(&mut self, address: u64, bytes: &[u8]) {
        self.ep.write(address, bytes).expect("a store to RAM");
        self.model.ep.write(address, bytes).expect("a store to RAM");
    }

    /// The app window's gate for the interrupt line.
    pub fn set_gate(&mut self, open: bool) -> Verdict {
        let line = self.board.controller.ep_interrupt_line();
        self.gate = open;
        let value = if open { 0xffff } else { 0 };
        self.board
            .writel(spider::APP, app::DMA_INTERRUPT_ENABLE, value);
        self.compare(line, false)
    }

    /// The EP lets the link go, or brings it up again, after which the RC enumerates.
    pub fn set_link(&mut self, up: bool) -> Verdict {
        let line = self.board.controller.ep_interrupt_line();
        if up == self.board.controller.link_up() {
            return Ok(());
        }
        if up {
            self.board.start();
            self.board.rc_enumerates();
        } else {
            self.board.stop();
            self.model.unlink();
        }
        self.learn_road();
        self.compare(line, false)
    }

    /// The RC grants or withdraws the right to send requests.
    pub fn set_bus_master(&mut self, master: bool) -> Verdict {
        let line = self.board.controller.ep_interrupt_line();
        let value = if master { 0x0406 } else { 0x0402 };
        self.board.config_write16(0x04, value);
        self.learn_road();
        self.compare(line, false)
    }

    /// What the configuration of the function makes of the way to the RC; it is not the eDMA's.
    fn learn_road(&mut self) {
        let controller = &self.board.controller;
        let msi = controller.msi();
        self.model.remote.open = controller.may_master().is_ok();
        self.model.remote.msi = MsiWord {
            address: msi.address,
            data: msi.data.into(),
            vectors: if msi.enabled { msi.vectors.into() } else { 0 },
        };
    }

    /// An outbound region, or none any more.
    pub fn set_region(&mut self, index: usize, region: Option<Region>) {
        match region {
            Some(Region { base, last, target }) => {
                let size = last - base + 1;
                let direction = silicon_common::Direction::Outbound;
                self.board.map(direction, index as u32, base, target, size);
            }
            None => self
                .board
                .unmap(silicon_common::Direction::Outbound, index as u32),
        }
        self.model.remote.regions[index] = region;
    }

    /// The driver's handler, if an edge has come (`dw_edma_v0_core_handle_int` behind
    /// `dw_edma_v0_core_ack_emulated_irq`): one look at each status register.
    pub fn handle(&mut self) -> Verdict {
        if !std::mem::take(&mut self.edge) {
            return Ok(());
        }
        for way in WAYS {
            self.write(way.map().int_clear, 0)?;
        }
        for way in WAYS {
            let status = self.read(way.map().int_status);
            for bit in (0..24).map(|bit| 1 << bit).filter(|bit| status & bit != 0) {
                self.write(way.map().int_clear, bit)?;
            }
        }
        Ok(())
    }

    /// Jobs that are out.
    pub fn jobs_out(&self) -> usize {
        self.out.len()
    }

    /// Takes a job, if there is one. Returns whether there was.
    pub fn take(&mut self, limits: Limits) -> Result<bool, String> {
        let line = self.board.controller.ep_interrupt_line();
        let effects = &mut self.board.effects;
        let job = self.board.controller.dma_next(limits, effects);
        for (way, number) in self.model.all() {
            let control1 = self.channel_register(way, number, channel::CONTROL1);
            if control::CS.get(control1) == control::CS_STOPPED {
                self.model.stands(way, number);
            }
        }
        let some = job.is_some();
        self.asleep = !some;
        if let Some(job) = job {
            let Ticket {
                direction, channel, ..
            } = job.ticket();
            let way = match direction {
                Direction::Write => Way::Write,
                Direction::Read => Way::Read,
            };
            let number = usize::from(channel);
            bounded(&job, limits).map_err(|error| format!("{job:x?}: {error}"))?;
            self.model.taken(way, number)?;
            self.count_turn(way, number)?;
            self.out.push(Out {
                job,
                way,
                number,
                done: None,
            });
        }
        self.compare(line, false)
            .map_err(|error| format!("taking a job: {error}"))?;
        if !some && self.out.is_empty() {
            self.at_rest()?;
        }
        Ok(some)
    }

    /// A channel that could work must not be passed over while others get turn after turn.
    fn count_turn(&mut self, way: Way, number: usize) -> Verdict {
        let channels = self.model.channels;
        let index = |way: Way, number: usize| way as usize * channels + number;
        let taker = index(way, number);
        for (way, number) in self.model.all() {
            let waiter = index(way, number);
            let channel = self.model.channel(way, number);
            let waits = channel.state == State::Running && !channel.busy && waiter != taker;
            let turns = &mut self.waits[waiter];
            if waits {
                turns[taker] += 1;
                if turns[taker] > 2 {
                    return Err(format!("{way:?} {number} is passed over: {turns:?}"));
                }
            } else {
                turns.fill(0);
            }
        }
        Ok(())
    }

    /// Does a job that is out.
    pub fn perform(&mut self, index: usize) -> Verdict {
        let Some(out) = self.out.get(index).filter(|out| out.done.is_none()) else {
            return Ok(());
        };
        let (way, number) = (out.way, out.number);
        let done = match out.job.clone() {
            Job::Fetch { address, len, .. } => {
                self.model.fetches(way, number, address);
                let mut bytes = vec![0; len];
                let there = (0..len).take_while(|at| {
                    let at = *at;
                    self.ep
                        .read(address.wrapping_add(at as u64), &mut bytes[at..=at])
                        .is_ok()
                });
                let there = there.count();
                bytes.truncate(there);
                Done::Fetched(bytes)
            }
            Job::Copy { transfers, .. } => self
                .copy(way, number, &transfers)
                .map_err(|error| format!("{way:?} {number}: {error}"))?,
        };
        self.out[index].done = Some(done);
        if (&self.ep, &self.rc) != (&self.model.ep, &self.model.rc) {
            return Err(format!("{way:?} {number}: other bytes than the model's"));
        }
        same("MSIs", &self.msis, &self.model.remote.raised)
    }

    fn copy(&mut self, way: Way, number: usize, transfers: &[Transfer]) -> Result<Done, String> {
        let mut sum = 0;
        for transfer in transfers {
            let Transfer { local, remote, len } = *transfer;
            let (moved, reason) = self.transfer(way, transfer);
            let expected = self.model.moves(way, number, (local, remote, len))?;
            same("bytes moved", &moved, &expected)?;
            sum += moved;
            if let Some(reason) = reason {
                return Ok(Done::Failed { moved: sum, reason });
            }
        }
        Ok(Done::Copied)
    }

    /// What a driver of the engine does: asks the fabric piece by piece.
    fn transfer(&mut self, way: Way, transfer: &Transfer) -> (u64, Option<Reason>) {
        let Transfer { local, remote, len } = *transfer;
        let controller = &self.board.controller;
        let pieces = fabric::pieces(remote, len.into(), |at, left| {
            fabric::from_edma(controller, at, left)
        });
        let mut done = 0;
        for (_, piece) in pieces {
            let here = local.wrapping_add(done);
            let (moved, reason) = match piece.target {
                Target::RcRam { address } => {
                    bytewise(way, &mut self.ep, &mut self.rc, here, address, piece.len)
                }
                Target::RcMsi => {
                    let mut word = [0; 4];
                    let answers = match way {
                        Way::Write => self.ep.read(here, &mut word),
                        Way::Read => self.ep.write(here, &word),
                    };
                    match (way, answers) {
                        (Way::Read, Err(unmapped)) => {
                            (unmapped.0.wrapping_sub(here), Some(Reason::NoEpMemory))
                        }
                        (Way::Write, Err(_)) => (0, Some(Reason::NoEpMemory)),
                        (_, Ok(())) => {
                            let vector = fabric::msi_vector(controller, &word);
                            if let (Way::Write, Ok(vector)) = (way, vector) {
                                self.msis.push(vector.into());
                            }
                            (4, None)
                        }
                    }
                }
                Target::Unsupported(reason) => (0, Some(reason)),
                Target::EpRam { .. } | Target::EpRegister { .. } => {
                    unreachable!("on the RC's side")
                }
            };
            done += moved;
            if reason.is_some() {
                return (done, reason);
            }
        }
        (done, None)
    }

    /// Reports a job that is out, having done it if nobody has.
    pub fn finish(&mut self, index: usize) -> Verdict {
        if index >= self.out.len() {
            return Ok(());
        }
        self.perform(index)?;
        let Out {
            job,
            way,
            number,
            done,
        } = self.out.remove(index);
        let line = self.board.controller.ep_interrupt_line();
        let done = done.expect("it was done just now");
        let outcome = match &done {
            Done::Fetched(bytes) => Outcome::Fetched(bytes),
            Done::Copied => Outcome::Copied,
            Done::Failed { moved, reason } => Outcome::Failed {
                moved: *moved,
                reason: *reason,
            },
        };
        let effects = &mut self.board.effects;
        self.board
            .controller
            .dma_finish(job.ticket(), outcome, effects);
        self.model.reported(way, number);
        self.asleep = false;
        self.compare(line, false)
            .map_err(|error| format!("{way:?} {number}, {job:x?} reported: {error}"))
    }

    /// Performs all there is to do, at most `jobs` jobs. Returns whether the engine came to rest.
    pub fn run(&mut self, jobs: usize, limits: Limits) -> Result<bool, String> {
        for _ in 0..jobs {
            while !self.out.is_empty() {
                self.finish(0)?;
            }
            if !self.take(limits)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Nothing is out and nothing comes: so nothing may run, and nothing may be due.
    fn at_rest(&mut self) -> Verdict {
        for (way, number) in self.model.all() {
            let channel = self.model.channel(way, number);
            if channel.state == State::Running {
                return Err(format!("at rest, but {way:?} {number} is {channel:?}"));
            }
        }
        Ok(())
    }

    /// Compares what software can see. `line` is the line's level before; `handled` says that somebody
    /// cleared or unmasked something and now waits for an edge.
    fn compare(&mut self, line: bool, handled: bool) -> Verdict {
        let effects: Effects = std::mem::take(&mut self.board.effects);
        let mut edges = 0;
        for effect in effects {
            match effect {
                Effect::EpInterrupt => edges += 1,
                Effect::DmaMessage { address, data } => self.model.message((address, data))?,
                Effect::DmaReady => self.asleep = false,
                Effect::LinkUp | Effect::LinkDown => {}
            }
        }
        for way in WAYS {
            let map = way.map();
            let status = self.read(map.int_status);
            self.model.adopt_status(way, status)?;
            let shared = self.model.shared[way as usize].clone();
            same("mask", &self.read(map.int_mask), &shared.mask)?;
            for at in 0..if way == Way::Read { 2 } else { 1 } {
                let error = self.read(map.err_status + 4 * at);
                same("error status", &error, &shared.error[at as usize])?;
            }
            let draining = self.model.draining(way);
            let enable = self.read(map.engine_enable);
            same("enable", &enable, &u32::from(shared.enable || draining))?;
        }
        self.compare_channels()?;
        if let Some(overdue) = self.model.overdue() {
            return Err(overdue);
        }
        let works = |(way, number): (Way, usize)| {
            let channel = self.model.channel(way, number);
            channel.state == State::Running && !channel.busy
        };
        if self.asleep && self.model.all().into_iter().any(works) {
            return Err("a channel has work, and nobody was told".into());
        }
        self.compare_line(line, handled, edges)
    }

    fn compare_channels(&mut self) -> Verdict {
        for (way, number) in self.model.all() {
            let what = |text: &str| format!("{way:?} {number} {text}");
            let channel = self.model.channel(way, number).clone();
            let control1 = self.channel_register(way, number, channel::CONTROL1);
            let state = control::CS.get(control1);
            same(&what("status"), &state, &channel.state.code())?;
            if channel.state == State::Running {
                continue;
            }
            let llp = self.channel_pair(way, number, channel::LLP_LOW);
            let pointers = (llp, control1 & control::CCS.mask());
            let mine = (channel.llp(), channel.control1 & control::CCS.mask());
            if control::LLE.is_set(control1) && pointers != mine {
                let theirs = self.model.follow(way, number, llp, control1);
                let mine = self
                    .model
                    .follow(way, number, channel.llp(), channel.control1);
                // In a circle of links no place is the first.
                if theirs.2 != Next::Endless || mine.2 != Next::Endless {
                    same(&what("list pointer"), &theirs, &mine)?;
                }
                // Before a link or behind it is the same place, as long as the link stands.
                self.model.settle(way, number, llp, control1);
            } else {
                same(&what("list pointer"), &pointers, &mine)?;
            }
            for register in (channel::TRANSFER_SIZE..channel::LLP_LOW).step_by(4) {
                let theirs = self.channel_register(way, number, register);
                let mine = channel.registers[register as usize / 4];
                same(&what(&format!("+{register:#x}")), &theirs, &mine)?;
            }
        }
        Ok(())
    }

    fn compare_line(&mut self, before: bool, handled: bool, edges: u32) -> Verdict {
        let line = self.board.controller.ep_interrupt_line();
        same("line", &line, &(self.gate && self.model.line()))?;
        if line && (!before || handled) && edges == 0 {
            return Err("the line is high, and no edge tells of it".into());
        }
        if !line && edges > 0 {
            return Err("an edge, and the line is low".into());
        }
        if edges > 1 {
            return Err(format!("{edges} edges at once"));
        }
        self.edge |= edges > 0;
        // Whoever sleeps until an edge comes must not sleep through a line that is high. While the
        // handler runs it may be.
        Ok(())
    }

    /// Runs the handler until no edge is left: then the line is low, or an interrupt was lost.
    pub fn nothing_is_lost(&mut self) -> Verdict {
        for way in WAYS {
            self.write(way.map().int_mask, 0)?;
        }
        self.set_gate(true)?;
        for _ in 0..3 {
            self.handle()?;
        }
        match self.board.controller.ep_interrupt_line() {
            false => Ok(()),
            true => Err("the line is high, and nobody will be told".into()),
        }
    }
}

fn bytewise(
    way: Way,
    ep: &mut Memory,
    rc: &mut Memory,
    here: u64,
    there: u64,
    len: u64,
) -> (u64, Option<Reason>) {
    for at in 0..len {
        let (here, there) = (here.wrapping_add(at), there.wrapping_add(at));
        let mut byte = [0];
        let failed = match way {
            Way::Write if ep.read(here, &mut byte).is_err() => Some(Reason::NoEpMemory),
            Way::Write if rc.write(there, &byte).is_err() => Some(Reason::NoRcMemory),
            Way::Read if rc.read(there, &mut byte).is_err() => Some(Reason::NoRcMemory),
            Way::Read if ep.write(here, &byte).is_err() => Some(Reason::NoEpMemory),
            _ => None,
        };
        if failed.is_some() {
            return (at, failed);
        }
    }
    (len, None)
}

/// A job is no longer than it may be.
pub fn bounded(job: &Job, limits: Limits) -> Verdict {
    let (elements, bytes) = (limits.elements.max(1), limits.bytes.max(1));
    let fits = match job {
        Job::Fetch { len, .. } => *len > 0 && len % 24 == 0 && *len <= elements * 24,
        Job::Copy { transfers, .. } => {
            let sum: u64 = transfers
                .iter()
                .map(|transfer| u64::from(transfer.len))
                .sum();
            (1..=elements).contains(&transfers.len()) && sum <= bytes
        }
    };
    if fits {
        Ok(())
    } else {
        Err(format!("more than {limits:?}"))
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, theirs: &T, mine: &T) -> Verdict {
    if theirs == mine {
        Ok(())
    } else {
        Err(format!("{what}: {theirs:x?}, the model has {mine:x?}"))
    }
}
