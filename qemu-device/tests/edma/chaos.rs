// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Two guests that write what they like, where they like, in registers and in lists. No model says what
//! comes of it; but whatever it is stays within bounds.

use abi::edma::{self, channel, control};
use abi::spider;
use qemu_device::controller::{
    Config, Direction, Effect, Effects, Job, Limits, Outcome, Reason, Width,
};
use qemu_device::fabric::{self, Target};

use crate::model::memory::Memory;
use crate::model::WAYS;
use crate::silicon_common::{Board, REGISTERS_GPA};
use crate::world::bounded;

/// The EP's RAM.
pub const EP_RAM: u64 = 0x4000_0000;
/// The RC's RAM, by its bus address.
pub const RC_RAM: u64 = 0x8000_0000;
/// Bytes of each.
pub const RAM_SIZE: u64 = 0x2000;

/// What somebody does.
#[derive(Clone, Debug)]
pub enum Action {
    /// The EP's CPU writes 32 bits to the SoC mirror.
    Register(u32, u32),
    /// The EP's CPU stores to its RAM, at an offset.
    Store(u64, Vec<u8>),
    /// The RC writes 32 bits to configuration space.
    Config(u32, u32),
    /// The RC writes 32 bits to BAR 2, which leads to the EP's registers.
    Bar(u32, u32),
    /// The EP board's reset.
    PowerOn,
    /// The engine's driver takes a job.
    Take(Limits),
    /// It reports one.
    Finish(usize),
}

/// What is wrong, if anything.
type Verdict = Result<(), String>;

struct Chaos {
    board: Board,
    ep: Memory,
    rc: Memory,
    channels: u8,
    out: Vec<Job>,
    /// The engine had nothing to do when last asked, and has not said otherwise since.
    asleep: bool,
}

/// Lets all of it happen; then everything is stopped, and must come to rest.
///
/// # Errors
///
/// What the engine must not do.
pub fn live_through(channels: u8, actions: &[Action]) -> Verdict {
    let mut board = Board::new(Config {
        edma_channels: Some(channels),
    });
    board.probe();
    board.bind_epf_test();
    board.start();
    board.rc_enumerates();
    board.map_bar(1, 2, REGISTERS_GPA & !0xf_ffff);
    for way in WAYS {
        board.writel(spider::DMA, way.map().engine_enable, 1);
    }
    board.take_effects();
    let ram = |address| Memory::new(vec![(address, vec![0; RAM_SIZE as usize])]);
    let mut chaos = Chaos {
        board,
        ep: ram(EP_RAM),
        rc: ram(RC_RAM),
        channels,
        out: Vec::new(),
        asleep: false,
    };
    for (at, action) in actions.iter().enumerate() {
        chaos
            .apply(action)
            .map_err(|error| format!("step {at}, {action:x?}: {error}"))?;
    }
    chaos.calm_down()
}

impl Chaos {
    fn apply(&mut self, action: &Action) -> Verdict {
        let line = self.board.controller.ep_interrupt_line();
        let (controller, effects) = (&mut self.board.controller, &mut self.board.effects);
        match action {
            Action::Register(offset, value) => {
                let _ = controller.ep_write((*offset).into(), Width::Dword, *value, effects);
            }
            Action::Store(offset, bytes) => {
                let _ = self.ep.write(EP_RAM + offset, bytes);
            }
            Action::Config(offset, value) => {
                let bytes = value.to_le_bytes();
                controller.rc_config_write((*offset).into(), &bytes, effects);
            }
            Action::Bar(offset, value) => self.write_bar((*offset).into(), *value),
            Action::PowerOn => controller.power_on_reset(effects),
            Action::Take(limits) => drop(self.take(*limits)?),
            Action::Finish(index) => {
                let index = index % self.out.len().max(1);
                if index < self.out.len() {
                    self.finish(index)?;
                }
            }
        }
        self.settle(line)
    }

    fn write_bar(&mut self, offset: u64, value: u32) {
        let controller = &mut self.board.controller;
        let bars = self.board.ep_face.bars();
        let resolved = fabric::from_rc_bar(controller, bars, 2, offset, 4);
        let bytes = value.to_le_bytes();
        match resolved.target {
            Target::EpRegister { offset } if resolved.len == 4 => {
                controller.ep_write_bytes(offset, &bytes, &mut self.board.effects);
            }
            Target::EpRam { address } => drop(self.ep.write(address, &bytes)),
            _ => {}
        }
    }

    fn take(&mut self, limits: Limits) -> Result<bool, String> {
        let effects = &mut self.board.effects;
        let job = self.board.controller.dma_next(limits, effects);
        self.asleep = job.is_none();
        let Some(job) = job else { return Ok(false) };
        bounded(&job, limits).map_err(|error| format!("{job:x?}: {error}"))?;
        let ticket = job.ticket();
        if ticket.channel >= self.channels {
            return Err(format!("a job of a channel that is not built in: {job:x?}"));
        }
        if self.out.iter().any(|out| out.ticket() == ticket) {
            return Err(format!("two jobs of a channel at a time: {job:x?}"));
        }
        self.out.push(job);
        Ok(true)
    }

    fn finish(&mut self, index: usize) -> Verdict {
        let job = self.out.remove(index);
        let mut bytes = Vec::new();
        let outcome = match &job {
            Job::Fetch { address, len, .. } => {
                for at in 0..*len as u64 {
                    let mut byte = [0];
                    if self.ep.read(address.wrapping_add(at), &mut byte).is_err() {
                        break;
                    }
                    bytes.push(byte[0]);
                }
                Outcome::Fetched(&bytes)
            }
            Job::Copy {
                direction,
                transfers,
                ..
            } => {
                let mut moved = 0;
                let mut reason = None;
                for transfer in transfers {
                    for at in 0..transfer.len.into() {
                        let local = transfer.local.wrapping_add(at);
                        let remote = transfer.remote.wrapping_add(at);
                        reason = self.byte(*direction, local, remote).err();
                        if reason.is_some() {
                            break;
                        }
                        moved += 1;
                    }
                    if reason.is_some() {
                        break;
                    }
                }
                match reason {
                    None => Outcome::Copied,
                    Some(reason) => Outcome::Failed { moved, reason },
                }
            }
        };
        let effects = &mut self.board.effects;
        self.board
            .controller
            .dma_finish(job.ticket(), outcome, effects);
        self.asleep = false;
        Ok(())
    }

    fn byte(&mut self, direction: Direction, local: u64, remote: u64) -> Result<(), Reason> {
        let address = match fabric::from_edma(&self.board.controller, remote, 1).target {
            Target::RcRam { address } => address,
            Target::Unsupported(reason) => return Err(reason),
            _ => return Ok(()),
        };
        let mut byte = [0];
        let ep = Reason::NoEpMemory;
        let rc = Reason::NoRcMemory;
        match direction {
            Direction::Write => {
                self.ep.read(local, &mut byte).map_err(|_| ep)?;
                self.rc.write(address, &byte).map_err(|_| rc)
            }
            Direction::Read => {
                self.rc.read(address, &mut byte).map_err(|_| rc)?;
                self.ep.write(local, &byte).map_err(|_| ep)
            }
        }
    }

    /// What holds after each step, whatever it was.
    fn settle(&mut self, line: bool) -> Verdict {
        let effects: Effects = std::mem::take(&mut self.board.effects);
        let mut edges = 0;
        for effect in effects {
            match effect {
                Effect::EpInterrupt => edges += 1,
                Effect::DmaReady => self.asleep = false,
                _ => {}
            }
        }
        let now = self.board.controller.ep_interrupt_line();
        if now && !line && edges == 0 {
            return Err("the line rose, and no edge tells of it".into());
        }
        if self.asleep && self.out.is_empty() && self.running() > 0 {
            return Err("a channel has work, and nobody was told".into());
        }
        Ok(())
    }

    /// Channels whose status says that they run.
    fn running(&mut self) -> usize {
        let mut running = 0;
        for way in WAYS {
            for number in 0..u32::from(self.channels) {
                let at = way.map().channels + number * edma::CHANNEL_STRIDE + channel::CONTROL1;
                let control1 = self.board.readl(spider::DMA, at);
                running += usize::from(control::CS.get(control1) == control::CS_RUNNING);
            }
        }
        running
    }

    /// Disabled engines come to rest in a few steps, whatever the lists say.
    fn calm_down(&mut self) -> Verdict {
        for way in WAYS {
            let enable = spider::DMA.offset + way.map().engine_enable;
            self.apply(&Action::Register(enable, 0))?;
        }
        while !self.out.is_empty() {
            self.apply(&Action::Finish(0))?;
        }
        for way in WAYS {
            if self.board.readl(spider::DMA, way.map().engine_enable) != 0 {
                return Err("disabled, and it does not go off".into());
            }
        }
        let limits = Limits {
            elements: 1,
            bytes: 1,
        };
        if self.running() > 0 || self.take(limits)? {
            return Err("disabled, and it goes on".into());
        }
        let tree = self.board.controller.inspect();
        match tree["edma"]["present"].as_bool() {
            Some(true) => Ok(()),
            _ => Err("the eDMA is gone".into()),
        }
    }
}
