// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Does the eDMA's jobs, on a thread of its own beside the ports.
//!
//! The silicon's lock is held to fetch a job and to report it, not while bytes move. What a job can cover
//! is bounded ([`LIMITS`]), and so is whatever waits for it: an unmap, a stop, another channel's turn.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::access::{Origin, Requester};
use super::{Machine, Silicon};
use crate::controller::{Direction, Effects, Job, Limits, Outcome, Ticket, Transfer};
use crate::fabric::{self, DmaRoutes, Reason, Resolved, Target};
use crate::vfio_user::memory::{Copier, CopyError, DmaTable, MemoryError, Side};

/// The most that one job moves: some 30 us of copying, and elements enough that what a job costs beside
/// it does not matter.
const LIMITS: Limits = Limits {
    elements: 64,
    bytes: 256 << 10,
};

/// Bytes of a list element.
const ELEMENT: usize = abi::edma::element::SIZE as usize;

/// Jobs in a row that move nothing before the worker believes that a list goes in circles.
const FRUITLESS: u32 = 4096;

/// How long it then rests after each: a guest that makes such a list does not get a whole CPU for it.
const REST: Duration = Duration::from_millis(1);

/// Bytes of the word at the RC's MSI address.
const WORD: usize = 4;

/// What others see of the worker.
#[derive(Default)]
pub(super) struct Dma {
    ready: Condvar,
    /// Odd while a job's bytes move; it becomes so under the silicon's lock.
    moves: AtomicU64,
}

impl Dma {
    /// A channel has something to do.
    pub fn wake(&self) {
        self.ready.notify_one();
    }

    /// Waits until no byte moves any more that was asked for before: after a change of where addresses
    /// lead none may arrive by the old way. On PCIe the answer to that change pushes them ahead of it.
    /// Not to be called by the worker, or with the silicon locked.
    pub fn settle(&self) {
        let moves = self.moves.load(Ordering::Acquire);
        while moves % 2 == 1 && self.moves.load(Ordering::Acquire) == moves {
            thread::yield_now();
        }
    }
}

/// A part of a transfer whose remote bytes lie together.
struct Piece {
    local: u64,
    target: Target,
    len: u64,
}

/// What the worker holds on to from one job to the next.
struct Worker {
    machine: Arc<Machine>,
    pieces: Vec<Piece>,
    list: Vec<u8>,
    /// Jobs in a row that moved nothing.
    fruitless: u32,
}

/// How a job went, before it is reported.
enum Done {
    /// So many bytes of the list are in [`Worker::list`].
    Fetched(usize),
    Copied,
    Failed {
        moved: u64,
        reason: Reason,
    },
}

impl Machine {
    /// Starts the thread that does the eDMA's jobs. It lives as long as the process.
    ///
    /// # Errors
    ///
    /// There is no thread to be had.
    pub fn serve_dma(self: &Arc<Self>) -> io::Result<()> {
        let mut worker = Worker {
            machine: self.clone(),
            pieces: Vec::new(),
            list: vec![0; LIMITS.elements * ELEMENT],
            fruitless: 0,
        };
        thread::Builder::new()
            .name("dma".into())
            .spawn(move || worker.run())?;
        Ok(())
    }

    /// Carries a message of the eDMA into the RC.
    pub(super) fn dma_message(self: &Arc<Self>, address: u64, data: u32) {
        let origin = Origin {
            by: Requester::EdmaMessage,
            at: address,
        };
        self.write_through(origin, &data.to_le_bytes(), |silicon, done, left| {
            fabric::from_edma(&silicon.controller, address.wrapping_add(done), left)
        });
    }
}

impl Worker {
    fn run(&mut self) {
        let machine = self.machine.clone();
        let mut report: Option<(Ticket, Done)> = None;
        loop {
            let mut silicon = machine.silicon();
            let mut effects = Effects::default();
            if let Some((ticket, done)) = report.take() {
                self.report(&mut silicon, ticket, &done, &mut effects);
            }
            if self.fruitless > FRUITLESS && effects.is_empty() {
                let rested = machine.dma.ready.wait_timeout(silicon, REST);
                silicon = rested.unwrap_or_else(PoisonError::into_inner).0;
            }
            let job = silicon.controller.dma_next(LIMITS, &mut effects);
            match job {
                None if effects.is_empty() => {
                    self.fruitless = 0;
                    let woken = machine.dma.ready.wait(silicon);
                    drop(woken.unwrap_or_else(PoisonError::into_inner));
                }
                None => {
                    drop(silicon);
                    machine.perform(effects);
                }
                Some(job) => {
                    self.route(&silicon, &job);
                    machine.dma.moves.fetch_add(1, Ordering::AcqRel);
                    drop(silicon);
                    machine.perform(effects);
                    let done = self.perform(&job);
                    machine.dma.moves.fetch_add(1, Ordering::AcqRel);
                    report = Some((job.ticket(), done));
                }
            }
        }
    }

    fn report(
        &self,
        silicon: &mut MutexGuard<'_, Silicon>,
        ticket: Ticket,
        done: &Done,
        effects: &mut Effects,
    ) {
        let outcome = match *done {
            Done::Fetched(len) => Outcome::Fetched(&self.list[..len]),
            Done::Copied => Outcome::Copied,
            Done::Failed { moved, reason } => Outcome::Failed { moved, reason },
        };
        if silicon.controller.dma_finish(ticket, outcome, effects) {
            if let Outcome::Failed { reason, .. } = outcome {
                log::warn!("{ticket}: {}", reason.name());
            }
        }
    }

    /// Finds out whose the remote addresses of a job are, up to the first that is nobody's.
    fn route(&mut self, silicon: &Silicon, job: &Job) {
        self.pieces.clear();
        let Job::Copy { transfers, .. } = job else {
            return;
        };
        let routes = DmaRoutes::new(&silicon.controller);
        for &Transfer { local, remote, len } in transfers {
            for (at, Resolved { target, len }) in routes.pieces(remote, len) {
                self.pieces.push(Piece {
                    local: local.wrapping_add(at),
                    target,
                    len,
                });
                if matches!(target, Target::Unsupported(_)) {
                    return;
                }
            }
        }
    }

    /// Does a job, with nothing locked but the guests' memory maps.
    fn perform(&mut self, job: &Job) -> Done {
        let Some(ep) = self.machine.ep() else {
            return Done::Failed {
                moved: 0,
                reason: Reason::NoEpMemory,
            };
        };
        match *job {
            Job::Fetch { address, len, .. } => {
                self.fruitless = self.fruitless.saturating_add(1);
                let list = &mut self.list[..len.min(LIMITS.elements * ELEMENT)];
                Done::Fetched(read_what_is_there(&ep.memory, address, list))
            }
            Job::Copy { direction, .. } => {
                let mut moved = 0;
                let copied = self.copy(direction, &ep.memory, &mut moved);
                self.fruitless = match moved {
                    0 => self.fruitless.saturating_add(1),
                    _ => 0,
                };
                match copied {
                    Ok(()) => Done::Copied,
                    Err(reason) => Done::Failed { moved, reason },
                }
            }
        }
    }

    /// Moves all pieces, in order. Counts the bytes in `moved`, also when it fails.
    fn copy(&self, direction: Direction, ep: &DmaTable, moved: &mut u64) -> Result<(), Reason> {
        let rc = self.machine.rc();
        let nothing = DmaTable::new();
        let rc = rc.as_ref().map_or(&nothing, |rc| &rc.memory);
        let (source, target) = match direction {
            Direction::Write => (ep, rc),
            Direction::Read => (rc, ep),
        };
        let mut copier = None;
        for piece in &self.pieces {
            match piece.target {
                Target::RcRam { address } => {
                    let (from, to) = match direction {
                        Direction::Write => (piece.local, address),
                        Direction::Read => (address, piece.local),
                    };
                    let copier = copier.get_or_insert_with(|| Copier::new(source, target));
                    copier.copy(from, to, piece.len).map_err(|error| {
                        *moved += error.moved;
                        no_memory(direction, error)
                    })?;
                }
                Target::RcMsi => {
                    // Others take the silicon's lock before those of the maps.
                    copier = None;
                    self.message_word(direction, ep, piece.local)?;
                }
                Target::Unsupported(reason) => return Err(reason),
                // `from_edma` leads to the RC.
                Target::EpRam { .. } | Target::EpRegister { .. } => return Err(Reason::Loopback),
            }
            *moved += piece.len;
        }
        Ok(())
    }

    /// Moves the word at the RC's MSI address: written it is an interrupt, read it is zero.
    fn message_word(&self, direction: Direction, ep: &DmaTable, local: u64) -> Result<(), Reason> {
        let mut word = [0; WORD];
        match direction {
            Direction::Write => {
                ep.read(local, &mut word).map_err(|_| Reason::NoEpMemory)?;
                let origin = Origin {
                    by: Requester::EdmaData,
                    at: local,
                };
                self.machine
                    .write_through(origin, &word, |_, _, left| Resolved {
                        target: Target::RcMsi,
                        len: left,
                    });
                Ok(())
            }
            Direction::Read => ep.write(local, &word).map_err(|_| Reason::NoEpMemory),
        }
    }
}

/// Reads from `address` on until `data` is full or the RAM ends. Returns how many bytes it read.
fn read_what_is_there(memory: &DmaTable, address: u64, data: &mut [u8]) -> usize {
    match memory.read(address, data) {
        Ok(()) => data.len(),
        Err(
            MemoryError::Unmapped { address: end }
            | MemoryError::NotShared { address: end }
            | MemoryError::Forbidden { address: end },
        ) => end.saturating_sub(address) as usize,
    }
}

/// Whose memory was not there.
const fn no_memory(direction: Direction, error: CopyError) -> Reason {
    match (direction, error.side) {
        (Direction::Write, Side::Source) | (Direction::Read, Side::Target) => Reason::NoEpMemory,
        (Direction::Write, Side::Target) | (Direction::Read, Side::Source) => Reason::NoRcMemory,
    }
}
