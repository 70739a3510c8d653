// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One channel: its registers, and the state machine that walks a list.
//!
//! ```text
//!             doorbell                     fetch ─┐
//!   CS 0/2/3 ─────────► CS 1: what is next? copy ─┴─► job out ──► finished ─► what is next?
//!                        │    link: follow it
//!                        └──► nothing valid: CS 3, then DONE
//! ```
//!
//! The rules are those by which the stock driver's lists work (`dw_edma_core_start`): link elements are
//! followed whatever their cycle bit, CCS is toggled on TCB, and the first *data* element whose CB is not
//! CCS ends the run, with LLP and CCS kept for the next doorbell.

use std::collections::VecDeque;

use abi::edma::control;

use super::element::{self, Data, Element};
use super::interrupts::{Abort, Cause, Due, Raised};
use super::job::{Job, Limits, Outcome, Ticket, Transfer};
use super::registers::ChannelRegister;
use super::Direction;
use crate::controller::access::Write;
use crate::controller::Reason;

/// Flags of the current element that control 1 shows.
const ELEMENT_FLAGS: u32 = control::CB.mask()
    | control::TCB.mask()
    | control::LLP.mask()
    | control::LIE.mask()
    | control::RIE.mask();

/// What can be written of a channel's control 1; its status is the engine's.
const CONTROL1_WRITABLE: u32 = !control::CS.mask();

/// Links after the last data element until its interrupt no longer waits for the next one. The driver's
/// lists have one; a list of links alone must not hold an interrupt back for ever.
const PATIENCE: u32 = 16;

/// A job that is out.
#[derive(Clone, Copy, Debug)]
enum Out {
    Fetch,
    Copy { elements: usize, bytes: u64 },
}

/// How a run is to end once the job that is out has been reported.
#[derive(Clone, Copy, Debug)]
enum End {
    /// By the doorbell's stop bit.
    Stop,
    /// The engine was disabled.
    Disable,
    /// The link is gone.
    LinkLost,
}

/// What has become of the channel since power-on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Times it was started.
    pub runs: u64,
    /// Data elements finished.
    pub elements: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// Links followed.
    pub links: u64,
    /// DONE interrupts, on the line or as a message.
    pub done: u64,
    /// Aborts other than by a stop.
    pub errors: u64,
    /// Stops by the doorbell.
    pub stops: u64,
}

/// One channel.
#[derive(Clone, Debug, Default)]
pub struct Channel {
    control1: u32,
    control2: u32,
    transfer_size: u32,
    sar: u64,
    dar: u64,
    llp: u64,
    /// Which run this is; never repeats, not even after a reset.
    generation: u64,
    out: Option<Out>,
    /// Elements from LLP on, as they were when they were fetched.
    list: VecDeque<Element>,
    /// The first of them was fetched after everything before it was done.
    fresh: bool,
    /// The first of them is in the registers, which have what is left of it.
    begun: bool,
    /// Rung while running.
    doorbell: bool,
    end: Option<End>,
    /// The interrupt of the element that was finished last, not raised yet.
    due: Due,
    /// Links since that element.
    links: u32,
    counters: Counters,
    last_interrupt: Option<&'static str>,
    last_error: Option<Reason>,
}

impl Channel {
    /// Power-on reset: jobs that are out are void.
    pub fn reset(&mut self) {
        *self = Self {
            generation: self.generation + 1,
            ..Self::default()
        };
    }

    /// The register's value.
    pub const fn read(&self, register: ChannelRegister) -> u32 {
        match register {
            ChannelRegister::Control1 => self.control1,
            ChannelRegister::Control2 => self.control2,
            ChannelRegister::TransferSize => self.transfer_size,
            ChannelRegister::SarLow => self.sar as u32,
            ChannelRegister::SarHigh => (self.sar >> 32) as u32,
            ChannelRegister::DarLow => self.dar as u32,
            ChannelRegister::DarHigh => (self.dar >> 32) as u32,
            ChannelRegister::LlpLow => self.llp as u32,
            ChannelRegister::LlpHigh => (self.llp >> 32) as u32,
        }
    }

    /// Writes a register. While the channel runs they are the engine's, and writes vanish *(inferred: the
    /// driver never does it)*.
    pub fn write(&mut self, register: ChannelRegister, write: Write) {
        if self.running() {
            return;
        }
        let low = |value: u64| value & !0xffff_ffff | u64::from(write.onto(value as u32, u32::MAX));
        let high = |value: u64| {
            u64::from(write.onto((value >> 32) as u32, u32::MAX)) << 32 | value & 0xffff_ffff
        };
        match register {
            ChannelRegister::Control1 => {
                self.control1 = write.onto(self.control1, CONTROL1_WRITABLE);
            }
            ChannelRegister::Control2 => self.control2 = write.onto(self.control2, u32::MAX),
            ChannelRegister::TransferSize => {
                self.transfer_size = write.onto(self.transfer_size, u32::MAX);
            }
            ChannelRegister::SarLow => self.sar = low(self.sar),
            ChannelRegister::SarHigh => self.sar = high(self.sar),
            ChannelRegister::DarLow => self.dar = low(self.dar),
            ChannelRegister::DarHigh => self.dar = high(self.dar),
            ChannelRegister::LlpLow => self.llp = low(self.llp),
            ChannelRegister::LlpHigh => self.llp = high(self.llp),
        }
    }

    /// Control 1.
    pub const fn control1(&self) -> u32 {
        self.control1
    }

    /// SAR, DAR and LLP.
    pub const fn addresses(&self) -> [u64; 3] {
        [self.sar, self.dar, self.llp]
    }

    /// Bytes left of the element in the registers.
    pub const fn transfer_size(&self) -> u32 {
        self.transfer_size
    }

    /// What has become of it since power-on.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The last interrupt and the last error.
    pub const fn last(&self) -> (Option<&'static str>, Option<Reason>) {
        (self.last_interrupt, self.last_error)
    }

    /// Whether CS says running.
    pub const fn running(&self) -> bool {
        control::CS.get(self.control1) == control::CS_RUNNING
    }

    /// Whether a job is out.
    pub const fn is_out(&self) -> bool {
        self.out.is_some()
    }

    const fn linked(&self) -> bool {
        control::LLE.is_set(self.control1)
    }

    fn set_status(&mut self, status: u32) {
        self.control1 = self.control1 & !control::CS.mask() | control::CS.place(status);
    }

    /// The doorbell. Returns whether the channel now has something to do that it had not before. Rung
    /// while it runs, it is kept for the moment when the list seems to end.
    pub fn ring(&mut self) -> bool {
        if self.running() {
            self.doorbell = true;
            return false;
        }
        self.start();
        true
    }

    fn start(&mut self) {
        self.set_status(control::CS_RUNNING);
        self.generation += 1;
        self.counters.runs += 1;
        self.forget();
    }

    /// Forgets what belongs to a run.
    fn forget(&mut self) {
        self.list.clear();
        self.fresh = false;
        self.begun = false;
        self.doorbell = false;
        self.end = None;
        self.due = Due::default();
        self.links = 0;
    }

    /// The doorbell's stop bit: the run ends, and aborts, when nothing is moving any more.
    pub fn stop(&mut self) -> Raised {
        self.end_with(End::Stop)
    }

    /// The engine was disabled: the run ends quietly when nothing is moving any more.
    pub fn disable(&mut self) -> Raised {
        self.end_with(End::Disable)
    }

    /// The link is gone: the run aborts when nothing is moving any more.
    pub fn link_lost(&mut self) -> Raised {
        self.end_with(End::LinkLost)
    }

    fn end_with(&mut self, end: End) -> Raised {
        let mut raised = Raised::default();
        if self.running() {
            // What was rung before is over; what is rung from now on starts the channel again.
            self.doorbell = false;
            self.end.get_or_insert(end);
            if self.out.is_none() {
                self.come_to_end(&mut raised);
            }
        }
        raised
    }

    /// Ends the run as was asked for, now that no job is out.
    fn come_to_end(&mut self, raised: &mut Raised) {
        let Some(end) = self.end.take() else { return };
        let again = self.doorbell;
        match end {
            End::Stop => {
                self.counters.stops += 1;
                self.halt(control::CS_STOPPED, Some(Cause::Stopped), raised);
            }
            End::Disable => self.halt(control::CS_STOPPED, None, raised),
            End::LinkLost => self.fail(Cause::Remote, Reason::LinkDown, raised),
        }
        if again {
            self.start();
        }
    }

    fn fail(&mut self, cause: Cause, reason: Reason, raised: &mut Raised) {
        self.counters.errors += 1;
        self.last_error = Some(reason);
        self.halt(control::CS_HALTED, Some(cause), raised);
    }

    /// The run is over: status first, then what it has to tell.
    fn halt(&mut self, status: u32, abort: Option<Cause>, raised: &mut Raised) {
        self.set_status(status);
        self.raise_due(raised);
        if let Some(cause) = abort {
            let single = (!self.linked()).then(|| Due::of(self.control1));
            raised.abort = Some(Abort { cause, single });
            self.last_interrupt = Some("abort");
        }
        self.forget();
    }

    fn raise_due(&mut self, raised: &mut Raised) {
        let due = std::mem::take(&mut self.due);
        if due.any() {
            raised.done.local |= due.local;
            raised.done.remote |= due.remote;
            self.counters.done += 1;
            self.last_interrupt = Some("done");
        }
    }

    /// The next job, if the channel runs and none is out. `direction` and `number` are the channel's.
    pub fn next(
        &mut self,
        direction: Direction,
        number: usize,
        limits: Limits,
        raised: &mut Raised,
    ) -> Option<Job> {
        if !self.running() || self.out.is_some() {
            return None;
        }
        let ticket = Ticket {
            direction,
            channel: number as u8,
            generation: self.generation,
        };
        if !self.linked() {
            return Some(self.copy(ticket, limits));
        }
        // A link and a stale end each leave the list empty, which makes it a fetch: two rounds at most.
        loop {
            match self.list.front() {
                None => return Some(self.fetch(ticket, limits)),
                Some(&Element::Link { control, next }) => self.follow(control, next, raised),
                Some(Element::Data(data)) if data.is_valid(self.control1) => {
                    self.links = 0;
                    self.raise_due(raised);
                    return Some(self.copy(ticket, limits));
                }
                // It may have become valid while what was before it was moved; or since, and a doorbell
                // said so.
                Some(_) if !self.fresh || std::mem::take(&mut self.doorbell) => self.list.clear(),
                Some(_) => {
                    self.halt(control::CS_STOPPED, None, raised);
                    return None;
                }
            }
        }
    }

    fn fetch(&mut self, ticket: Ticket, limits: Limits) -> Job {
        self.out = Some(Out::Fetch);
        Job::Fetch {
            ticket,
            address: self.llp,
            len: limits.elements.max(1).saturating_mul(element::SIZE),
        }
    }

    fn follow(&mut self, flags: u32, next: u64, raised: &mut Raised) {
        self.show(flags);
        self.llp = next;
        if control::TCB.is_set(flags) {
            self.control1 ^= control::CCS.mask();
        }
        self.list.clear();
        self.counters.links += 1;
        self.links = self.links.saturating_add(1);
        if self.links >= PATIENCE {
            self.raise_due(raised);
        }
    }

    /// Lets control 1 show an element's flags.
    fn show(&mut self, flags: u32) {
        self.control1 = self.control1 & !ELEMENT_FLAGS | flags & ELEMENT_FLAGS;
    }

    /// Takes an element into the registers.
    fn load(&mut self, data: Data) {
        self.show(data.control);
        self.transfer_size = data.size;
        self.sar = data.sar;
        self.dar = data.dar;
        self.begun = true;
    }

    /// A job for what is in the registers, and for as much of the list after it as the limits allow.
    fn copy(&mut self, ticket: Ticket, limits: Limits) -> Job {
        if let (false, Some(&Element::Data(data))) = (self.begun, self.list.front()) {
            self.load(data);
        }
        let most = limits.elements.max(1);
        let mut left = limits.bytes.max(1);
        let mut transfers = Vec::with_capacity(most.min(self.list.len().max(1)));
        let current = Data {
            control: self.control1,
            size: self.transfer_size,
            sar: self.sar,
            dar: self.dar,
        };
        let waiting = self.list.iter().skip(1).map_while(|element| match element {
            Element::Data(data) if data.is_valid(self.control1) => Some(*data),
            _ => None,
        });
        for data in std::iter::once(current).chain(waiting).take(most) {
            if left == 0 && data.size > 0 {
                break;
            }
            let len = u64::from(data.size).min(left) as u32;
            left -= u64::from(len);
            let (local, remote) = match ticket.direction {
                Direction::Write => (data.sar, data.dar),
                Direction::Read => (data.dar, data.sar),
            };
            transfers.push(Transfer { local, remote, len });
            // Whoever waits for an element is told before the next one begins.
            if len < data.size || data.interrupts() {
                break;
            }
        }
        self.out = Some(Out::Copy {
            elements: transfers.len(),
            bytes: limits.bytes.max(1) - left,
        });
        Job::Copy {
            ticket,
            direction: ticket.direction,
            transfers,
        }
    }

    /// Takes an outcome. `false` if the job is void.
    pub fn finish(&mut self, ticket: Ticket, outcome: Outcome<'_>, raised: &mut Raised) -> bool {
        if ticket.generation != self.generation {
            return false;
        }
        let Some(out) = self.out.take() else {
            return false;
        };
        let error = match (out, outcome) {
            (Out::Fetch, Outcome::Fetched(bytes)) => {
                self.take_list(bytes);
                let nothing = self.list.is_empty();
                nothing.then_some((Cause::List, Reason::NoEpMemory))
            }
            (Out::Fetch, Outcome::Failed { reason, .. }) => Some((Cause::List, reason)),
            (Out::Copy { elements, bytes }, Outcome::Copied) => {
                self.advance(elements, bytes);
                None
            }
            (Out::Copy { elements, .. }, Outcome::Failed { moved, reason }) => {
                self.advance(elements, moved);
                let local = reason == Reason::NoEpMemory;
                Some((if local { Cause::Local } else { Cause::Remote }, reason))
            }
            // No answer to what was asked.
            (Out::Fetch, Outcome::Copied) => Some((Cause::List, Reason::NoEpMemory)),
            (Out::Copy { .. }, Outcome::Fetched(_)) => Some((Cause::Local, Reason::NoEpMemory)),
        };
        if let Some((cause, reason)) = error {
            self.fail(cause, reason, raised);
        } else if !self.linked() && self.transfer_size == 0 {
            self.halt(control::CS_STOPPED, None, raised);
        } else {
            self.come_to_end(raised);
        }
        true
    }

    /// The list from LLP on, up to a link or to the first element that is not valid.
    fn take_list(&mut self, bytes: &[u8]) {
        self.list.clear();
        self.fresh = true;
        self.begun = false;
        for bytes in bytes.chunks(element::SIZE) {
            let Some(element) = Element::parse(bytes) else {
                break;
            };
            self.list.push_back(element);
            match element {
                Element::Data(data) if data.is_valid(self.control1) => {}
                _ => break,
            }
        }
    }

    /// `moved` bytes of a job for `elements` elements are where they belong.
    fn advance(&mut self, elements: usize, mut moved: u64) {
        self.fresh = false;
        for index in 0..elements {
            if index > 0 {
                // One that follows in the same job.
                if let Some(&Element::Data(data)) = self.list.front() {
                    self.load(data);
                }
            }
            let step = moved.min(self.transfer_size.into());
            moved -= step;
            self.counters.bytes += step;
            self.sar = self.sar.wrapping_add(step);
            self.dar = self.dar.wrapping_add(step);
            self.transfer_size -= step as u32;
            if self.transfer_size > 0 {
                return;
            }
            self.counters.elements += 1;
            let due = Due::of(self.control1);
            self.due.local |= due.local;
            self.due.remote |= due.remote;
            if self.linked() {
                self.list.pop_front();
                self.begun = false;
                self.llp = self.llp.wrapping_add(element::SIZE as u64);
            }
        }
    }
}
