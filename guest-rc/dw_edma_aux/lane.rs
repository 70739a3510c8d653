// SPDX-License-Identifier: GPL-2.0

//! What is kept of a channel, and of a transfer.

use kernel::{fmt, prelude::*};

use crate::{
    auxiliary_pci,
    edma_ring::{Cycle, Ring},
    hardware::{interrupting, Hardware, Status},
    provider::{Outcome, Piece},
    vntb::routing::Routing,
};

/// Batches of elements that may be in the ring. While one is worked on, the next one waits behind it;
/// what comes meanwhile is collected for the one after, so that under load one look at the hardware
/// serves many transfers.
const BATCHES: usize = 2;

/// Ended transfers and bytes after which the client's wish for an interrupt is heard within a batch;
/// the last element of a batch has one anyway. So many bytes are some milliseconds: each message costs a
/// read across the bus, and a queue of large transfers is to have few.
const MOST_TRANSFERS: u32 = 32;
const MOST_BYTES: u64 = 16 << 20;

/// How often to look whether a channel is no longer running that is about to stop.
const LOOKS: u32 = 50;

/// What the channel is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// Nothing: it has to be told where its list begins.
    Rest,
    /// It works on the ring, or waits at the end of it.
    List,
    /// It goes round a cycle.
    Cycle,
    /// It was asked to stop.
    Stopping,
    /// The device is gone.
    Gone,
}

/// What has happened, for who looks at debugfs.
#[derive(Default)]
pub(crate) struct Counters {
    /// Transfers that ended well, and otherwise.
    pub(crate) done: u64,
    pub(crate) failed: u64,
    /// Messages that arrived.
    pub(crate) interrupts: u64,
    /// Times that the watchdog looked, and those when it found what no message had told.
    pub(crate) looks: u64,
    pub(crate) found: u64,
    /// Batches of elements.
    pub(crate) batches: u64,
}

/// A transfer.
pub(crate) struct Transfer {
    pieces: KVec<Piece>,
    destination: u64,
    /// Whether it begins again at its end.
    pub(crate) cyclic: bool,
    interrupt: bool,
    /// Pieces that are in the ring or done.
    next: usize,
    /// Where the next one goes.
    offset: u64,
    /// Position in the ring after the last of them.
    end: u64,
}

impl Transfer {
    pub(crate) fn new(
        pieces: KVec<Piece>,
        destination: u64,
        cyclic: bool,
        interrupt: bool,
    ) -> Result<Self> {
        let bytes = pieces
            .iter()
            .map(|piece| u64::from(piece.length))
            .try_fold(0u64, |sum, length| sum.checked_add(length))
            .ok_or(EINVAL)?;
        destination.checked_add(bytes).ok_or(EINVAL)?;
        Ok(Self {
            pieces,
            destination,
            cyclic,
            interrupt,
            next: 0,
            offset: 0,
            end: 0,
        })
    }

    /// It has not begun.
    fn rewind(&mut self) {
        self.next = 0;
        self.offset = 0;
        self.end = 0;
    }

    /// Whether all of it is done, the ring being done up to `tail`.
    fn is_done(&self, tail: u64) -> bool {
        !self.cyclic && self.next == self.pieces.len() && self.end <= tail
    }

    /// Bytes left.
    fn left(&self, tail: u64) -> u32 {
        let out = self.end.saturating_sub(tail).min(self.next as u64) as usize;
        let left: u64 = self
            .pieces
            .iter()
            .skip(self.next - out)
            .map(|piece| u64::from(piece.length))
            .sum();
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// Bytes left of the lap of a cycle that is at `period`.
    fn left_of_lap(&self, period: u32) -> u32 {
        let left = self.pieces.iter().skip(period as usize);
        left.map(|piece| piece.length)
            .fold(0, |sum: u32, length| sum.saturating_add(length))
    }
}

/// A channel.
pub(crate) struct Lane {
    /// None when the device is gone.
    pub(crate) hardware: Option<Hardware>,
    routing: Routing,
    /// The interrupt whose message tells completions, if there is one.
    irq: Option<u32>,
    pub(crate) destination: Option<u64>,
    pub(crate) run: Run,
    pub(crate) paused: bool,
    pub(crate) ring: Ring,
    size: u32,
    cycle: Option<(Cycle, u32)>,
    /// Where the batches end that are in the ring.
    batches: [u64; BATCHES],
    batched: usize,
    /// Transfers and bytes since the last element that interrupts.
    quiet: (u32, u64, u32),
    /// A message led to progress since the watchdog came by.
    pub(crate) fresh: bool,
    pub(crate) counters: Counters,
}

impl Lane {
    /// A channel whose `size` bytes of descriptor memory are the engine's at `base`.
    pub(crate) fn new(
        hardware: Hardware,
        routing: Routing,
        irq: Option<u32>,
        base: u64,
        size: u32,
    ) -> Result<Self> {
        Ok(Self {
            hardware: Some(hardware),
            routing,
            irq: irq.filter(|_| routing.interrupts_rc()),
            destination: None,
            run: Run::Rest,
            paused: false,
            ring: Ring::new(base, size).ok_or(EINVAL)?,
            size,
            cycle: None,
            batches: [0; BATCHES],
            batched: 0,
            quiet: (0, 0, 0),
            fresh: false,
            counters: Counters::default(),
        })
    }

    /// How many batches are in the ring whose end is not known to be reached.
    pub(crate) fn batched(&self) -> usize {
        self.batched
    }

    /// Whether completions have to be looked for.
    pub(crate) fn polls(&self) -> bool {
        self.irq.is_none()
    }

    /// Has the hardware tell completions. Says whether it would not have.
    pub(crate) fn route(&self) -> bool {
        let message = self.irq.and_then(auxiliary_pci::message);
        let hardware = self.hardware.as_ref();
        hardware.is_some_and(|hardware| hardware.route(message))
    }

    /// What the hardware does.
    pub(crate) fn status(&mut self) -> Status {
        let hardware = self.hardware.as_mut();
        hardware.map_or(Status::Gone, |hardware| hardware.status())
    }

    /// Whether a channel that is about to stop comes to rest within a few looks.
    pub(crate) fn rests(&mut self) -> bool {
        (0..LOOKS).any(|_| self.status() != Status::Running)
    }

    /// Makes the ring empty and invalid, the channel being at rest.
    pub(crate) fn clear(&mut self) {
        if let Some(hardware) = &self.hardware {
            for offset in self.ring.offsets() {
                hardware.control(offset, 0);
            }
        }
        self.ring.reset();
        self.cycle = None;
        self.batched = 0;
        self.quiet = (0, 0, 0);
        self.run = Run::Rest;
    }

    /// If the channel was asked to stop, looks whether it has, and clears it then.
    pub(crate) fn is_stopped(&mut self) -> bool {
        if self.run != Run::Stopping {
            return true;
        }
        match self.status() {
            Status::Running => return false,
            Status::Gone => self.run = Run::Gone,
            _ => self.clear(),
        }
        true
    }

    /// Puts what is `issued` into the ring as far as there is room, and starts the engine on it. Says
    /// whether something was.
    pub(crate) fn feed<'a>(&mut self, issued: impl Iterator<Item = &'a mut Transfer>) -> bool {
        let Some(hardware) = &mut self.hardware else {
            return false;
        };
        if self.paused || !matches!(self.run, Run::Rest | Run::List) || self.batched == BATCHES {
            return false;
        }
        let message = self.irq.is_some();
        let base = self.ring.base();
        let start = self.ring.head();
        // The last element, whose control word says whether it interrupts: the last one of all does.
        let mut last: Option<(u32, u32)> = None;
        let (mut transfers, mut bytes, mut elements) = self.quiet;
        'ring: for (index, transfer) in issued.enumerate() {
            if transfer.cyclic {
                if index == 0 && self.ring.is_idle() {
                    return self.go_round(transfer);
                }
                break;
            }
            while let Some(piece) = transfer.pieces.get(transfer.next) {
                let Some(slot) = self.ring.push() else {
                    break 'ring;
                };
                if let Some((offset, word)) = last {
                    hardware.control(offset, word);
                }
                if let Some(link) = slot.link {
                    hardware.link(link, base);
                }
                let destination = transfer.destination + transfer.offset;
                hardware.fill(slot.offset, piece.address, destination, piece.length);
                transfer.offset += u64::from(piece.length);
                transfer.next += 1;
                transfer.end = self.ring.head();

                bytes += u64::from(piece.length);
                elements += 1;
                let mut tell = elements >= self.ring.slots() / 4;
                if transfer.next == transfer.pieces.len() && transfer.interrupt {
                    transfers += 1;
                    tell |= transfers >= MOST_TRANSFERS || bytes >= MOST_BYTES;
                }
                let word = match tell {
                    true => interrupting(slot.control, message),
                    false => slot.control,
                };
                if tell {
                    (transfers, bytes, elements) = (0, 0, 0);
                }
                last = Some((slot.offset, word));
            }
        }
        self.quiet = (0, 0, 0);
        let Some((offset, word)) = last else {
            return false;
        };
        hardware.control(offset, interrupting(word, message));
        debug_assert!(self.ring.head() > start);
        if let Some(batch) = self.batches.get_mut(self.batched) {
            *batch = self.ring.head();
            self.batched += 1;
        }
        self.counters.batches += 1;
        if self.run == Run::Rest {
            hardware.begin(base);
            self.run = Run::List;
        }
        hardware.flush();
        hardware.ring();
        true
    }

    /// Starts a cycle.
    fn go_round(&mut self, transfer: &mut Transfer) -> bool {
        // The end of the ring is reached, which is not to say that it was noticed.
        if !self.rests() {
            return false;
        }
        // Elements of before are valid for the cycle.
        self.clear();
        let base = self.ring.base();
        let message = self.irq.is_some();
        let periods = u32::try_from(transfer.pieces.len()).unwrap_or(u32::MAX);
        let (Some(cycle), Some(hardware)) =
            (Cycle::new(base, self.size, periods), &mut self.hardware)
        else {
            return false;
        };
        let mut destination = transfer.destination;
        let word = match transfer.interrupt {
            true => interrupting(cycle.control(), message),
            false => cycle.control(),
        };
        for (piece, offset) in transfer.pieces.iter().zip(cycle.offsets()) {
            hardware.fill(offset, piece.address, destination, piece.length);
            hardware.control(offset, word);
            destination += u64::from(piece.length);
        }
        hardware.link(cycle.link(), base);
        hardware.begin(base);
        hardware.flush();
        hardware.ring();
        self.cycle = Some((cycle, 0));
        self.run = Run::Cycle;
        true
    }

    /// Most periods of a cycle.
    pub(crate) fn most_periods(&self) -> usize {
        self.ring.slots() as usize
    }

    /// Looks how far the engine is. Says whether it has come further.
    pub(crate) fn advance(&mut self) -> bool {
        let Some(hardware) = &mut self.hardware else {
            return false;
        };
        let pointer = hardware.pointer();
        match (self.run, &mut self.cycle) {
            (Run::Cycle, Some((cycle, period))) => {
                let found = cycle.locate(pointer);
                let before = core::mem::replace(period, found.unwrap_or(*period));
                found.is_some() && *period != before
            }
            _ => {
                let Some(position) = self.ring.locate(pointer) else {
                    return false;
                };
                let moved = position != self.ring.tail();
                self.ring.advance(position);
                let tail = self.ring.tail();
                while self.batched > 0 && self.batches[0] <= tail {
                    self.batches.rotate_left(1);
                    self.batched -= 1;
                }
                moved
            }
        }
    }

    /// Whether something is to come of the hardware.
    pub(crate) fn is_busy(&self) -> bool {
        match self.run {
            Run::List => !self.ring.is_idle(),
            Run::Cycle | Run::Stopping => true,
            Run::Rest | Run::Gone => false,
        }
    }

    /// Whether `first`, the first transfer, is over; it can begin again then.
    pub(crate) fn is_done(&self, first: &mut Transfer) -> bool {
        let done = first.is_done(self.ring.tail());
        if done {
            first.rewind();
        }
        done
    }

    /// Bytes left of a transfer.
    pub(crate) fn left(&self, transfer: &Transfer) -> u32 {
        match self.cycle {
            Some((_, period)) if transfer.cyclic => transfer.left_of_lap(period),
            _ => transfer.left(self.ring.tail()),
        }
    }

    /// Why the channel gave up, what is left of `first`, where it did; all of `issued` has not begun
    /// then, nor has the ring.
    pub(crate) fn give_up<'a>(
        &mut self,
        issued: impl Iterator<Item = &'a mut Transfer>,
    ) -> (Outcome, u32) {
        let hardware = self.hardware.as_mut();
        let why = hardware.map_or(Outcome::Aborted, |hardware| hardware.failure());
        let mut left = None;
        for transfer in issued {
            left.get_or_insert(self.left(transfer));
            transfer.rewind();
        }
        self.clear();
        (why, left.unwrap_or(0))
    }

    /// A line of debugfs.
    pub(crate) fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counters {
            done,
            failed,
            interrupts,
            looks,
            found,
            batches,
        } = self.counters;
        let reads = self.hardware.as_ref().map_or(0, Hardware::reads);
        write!(
            f,
            "{} {:?}{} out={} done={done} failed={failed} interrupts={interrupts} looks={looks} \
             found={found} batches={batches} reads={reads}",
            self.routing.name(),
            self.run,
            if self.paused { " paused" } else { "" },
            self.ring.head() - self.ring.tail(),
        )
    }
}
