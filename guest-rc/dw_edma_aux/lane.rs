// SPDX-License-Identifier: GPL-2.0

//! What is kept of a channel, and of a transfer.

use kernel::{
    fmt,
    time::{Delta, Instant, Monotonic},
};

use crate::{
    auxiliary_pci,
    descriptors::Element,
    edma_ring::{Cycle, Ring},
    hardware::{interrupting, Hardware, Status},
    provider::Outcome,
    transfer::Transfer,
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

/// How long nobody has to answer until the device is gone. An endpoint that sets a BAR again is back in
/// less than that, if its CPU is not too busy.
const SILENCE: Delta = Delta::from_millis(100);

/// What came of [`Lane::feed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fed {
    /// There was nothing to do, or no room.
    Nothing,
    /// The engine was told to go on.
    Begun,
    /// It cannot be done now: descriptors do not arrive, or the channel runs still.
    Again,
}

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
    /// Position before which elements are valid.
    valid: u64,
    /// Feeding is to be tried again.
    pub(crate) again: bool,
    /// Since when nobody answers.
    silent: Option<Instant<Monotonic>>,
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
    /// A channel with descriptor memory of `size` bytes for `ring`.
    pub(crate) fn new(
        hardware: Hardware,
        routing: Routing,
        irq: Option<u32>,
        ring: Ring,
        size: u32,
    ) -> Self {
        Self {
            hardware: Some(hardware),
            routing,
            irq: irq.filter(|_| routing.interrupts_rc()),
            destination: None,
            run: Run::Rest,
            paused: false,
            ring,
            valid: 0,
            again: false,
            silent: None,
            size,
            cycle: None,
            batches: [0; BATCHES],
            batched: 0,
            quiet: (0, 0, 0),
            fresh: false,
            counters: Counters::default(),
        }
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
        hardware.is_some_and(|hardware| hardware.route(self.routing, message))
    }

    /// What the hardware does. It is gone when it did not answer for [`SILENCE`].
    pub(crate) fn status(&mut self) -> Status {
        let Some(hardware) = &mut self.hardware else {
            return Status::Gone;
        };
        let status = hardware.status();
        if status != Status::Silent {
            self.silent = None;
            return status;
        }
        let since = self.silent.get_or_insert_with(Instant::now);
        match since.elapsed() >= SILENCE {
            true => Status::Gone,
            false => Status::Silent,
        }
    }

    /// Whether a channel that is about to stop comes to rest within a few looks.
    pub(crate) fn rests(&mut self) -> bool {
        (0..LOOKS).any(|_| !matches!(self.status(), Status::Running | Status::Silent))
    }

    /// Makes the ring empty and invalid, the channel being at rest.
    pub(crate) fn clear(&mut self) {
        if let Some(hardware) = &self.hardware {
            for offset in self.ring.offsets() {
                hardware.descriptors.write_control(offset, 0);
            }
        }
        self.ring.reset();
        self.valid = 0;
        self.again = false;
        self.silent = None;
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
            Status::Running | Status::Silent => return false,
            Status::Gone => self.run = Run::Gone,
            _ => self.clear(),
        }
        true
    }

    /// Puts what is `issued` into the ring as far as there is room, and starts the engine on it.
    pub(crate) fn feed<'a>(&mut self, issued: impl Iterator<Item = &'a mut Transfer>) -> Fed {
        let Some(hardware) = &mut self.hardware else {
            return Fed::Nothing;
        };
        if self.paused || !matches!(self.run, Run::Rest | Run::List) {
            return Fed::Nothing;
        }
        if self.valid < self.ring.head() {
            return self.publish();
        }
        if self.batched == BATCHES {
            return Fed::Nothing;
        }
        let message = self.irq.is_some();
        let mut last = None;
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
                let mut element = Element {
                    source: piece.address,
                    destination: transfer.destination + transfer.offset,
                    length: piece.length,
                    control: slot.control,
                };
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
                if tell {
                    (transfers, bytes, elements) = (0, 0, 0);
                    element.control = interrupting(element.control, message);
                }
                hardware.descriptors.fill(slot.offset, element);
                last = Some(slot.offset);
            }
        }
        self.quiet = (0, 0, 0);
        let Some(last) = last else {
            return Fed::Nothing;
        };
        // Whatever else interrupts, the last one of all does.
        hardware
            .descriptors
            .change_control(last, |word| interrupting(word, message));
        if let Some(batch) = self.batches.get_mut(self.batched) {
            *batch = self.ring.head();
            self.batched += 1;
        }
        self.counters.batches += 1;
        self.publish()
    }

    /// Makes what is in the ring valid, once it is sure to be there, and has the engine go on.
    fn publish(&mut self) -> Fed {
        let Some(hardware) = &mut self.hardware else {
            return Fed::Nothing;
        };
        let done = self.valid.saturating_sub(self.ring.tail());
        let new = || self.ring.out().skip(done as usize);
        let descriptors = &mut hardware.descriptors;
        let filled = new().all(|slot| {
            let linked = slot
                .link
                .is_none_or(|link| descriptors.links(link, self.ring.base()));
            linked && descriptors.is_filled(slot.offset)
        });
        if !filled || !descriptors.ends_before(self.ring.end()) {
            return Fed::Again;
        }
        for slot in new() {
            descriptors.validate(slot.offset);
        }
        let arrived = new()
            .last()
            .is_none_or(|slot| descriptors.is_valid(slot.offset));
        if !arrived || self.run == Run::Rest && !hardware.begin(self.ring.base()) {
            return Fed::Again;
        }
        self.run = Run::List;
        self.valid = self.ring.head();
        hardware.ring();
        Fed::Begun
    }

    /// The engine has come to what it takes for the end, with something still out: descriptors were
    /// lost, or the doorbell was. All that is out is written again where it is not as it should be.
    pub(crate) fn publish_again(&mut self) -> Fed {
        if self.run == Run::List {
            self.valid = self.ring.tail();
            return self.publish();
        }
        if let Some(hardware) = &self.hardware {
            hardware.ring();
        }
        Fed::Begun
    }

    /// Starts a cycle.
    fn go_round(&mut self, transfer: &mut Transfer) -> Fed {
        // The end of the ring is reached, which is not to say that it was noticed.
        if !self.rests() {
            return Fed::Again;
        }
        // Elements of before are valid for the cycle.
        self.clear();
        let base = self.ring.base();
        let message = self.irq.is_some();
        let periods = u32::try_from(transfer.pieces.len()).unwrap_or(u32::MAX);
        let (Some(cycle), Some(hardware)) =
            (Cycle::new(base, self.size, periods), &mut self.hardware)
        else {
            return Fed::Nothing;
        };
        let descriptors = &mut hardware.descriptors;
        let control = match transfer.interrupt {
            true => interrupting(cycle.control(), message),
            false => cycle.control(),
        };
        let mut offsets = cycle.offsets();
        let arrived = 'laps: loop {
            let mut destination = transfer.destination;
            for piece in &transfer.pieces {
                let Some(offset) = offsets.next() else {
                    break 'laps true;
                };
                let element = Element {
                    source: piece.address,
                    destination,
                    length: piece.length,
                    control,
                };
                descriptors.fill(offset, element);
                descriptors.validate(offset);
                if !descriptors.is_filled(offset) || !descriptors.is_valid(offset) {
                    break 'laps false;
                }
                destination += u64::from(piece.length);
            }
        };
        if !arrived || !descriptors.links(cycle.link(), base) || !hardware.begin(base) {
            return Fed::Again;
        }
        hardware.ring();
        self.cycle = Some((cycle, 0));
        self.run = Run::Cycle;
        Fed::Begun
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
            (Run::Cycle, Some((cycle, element))) => {
                let found = cycle.locate(pointer);
                let before = core::mem::replace(element, found.unwrap_or(*element));
                found.is_some() && *element != before
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
            Run::Rest | Run::List => self.again || !self.ring.is_idle(),
            Run::Cycle | Run::Stopping => true,
            Run::Gone => false,
        }
    }

    /// Whether the engine has work, or has had some since it was started.
    pub(crate) fn is_started(&self) -> bool {
        match self.run {
            Run::List => !self.ring.is_idle(),
            Run::Cycle => true,
            Run::Rest | Run::Stopping | Run::Gone => false,
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
            Some((cycle, element)) if transfer.cyclic => {
                transfer.left_of_lap(cycle.period(element))
            }
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
        let hardware = self.hardware.as_ref();
        let reads = hardware.map_or(0, Hardware::reads);
        let lost = hardware.map_or(0, |hardware| hardware.descriptors.lost);
        write!(
            f,
            "{} {:?}{} out={} done={done} failed={failed} interrupts={interrupts} looks={looks} \
             found={found} batches={batches} reads={reads} lost={lost}",
            self.routing.name(),
            self.run,
            if self.paused { " paused" } else { "" },
            self.ring.head() - self.ring.tail(),
        )
    }
}
