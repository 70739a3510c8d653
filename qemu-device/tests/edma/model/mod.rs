// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The eDMA as software sees it, told a second time: slow, obvious, on plain bytes.
//!
//! Written from the driver (`dw-edma-v0-core.c`, `dw-edma-core.c`) and what it relies on, not from the
//! engine. It knows nothing of jobs, batches or turns. Whoever compares tells it which register was
//! written and which bytes the engine moves next; the model reads the list for itself, says whether
//! that is what the list says, moves the same bytes in memories of its own, and keeps account of the
//! interrupts that are due. So it accepts every order of channels and every size of step, and nothing
//! but the one result.

pub mod memory;
mod registers;
mod route;

use abi::edma::{self, channel, control, element, DirectionMap};

use memory::Memory;
pub use registers::Shared;
pub use route::{MsiWord, Region, Remote, Side};

/// More links than that in a row are a list without end, in the lists of these tests.
const MAX_LINKS: usize = 200;

/// Direction of a transfer, seen from the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the EP to the RC.
    Write,
    /// From the RC to the EP.
    Read,
}

/// Both directions.
pub const WAYS: [Way; 2] = [Way::Write, Way::Read];

impl Way {
    /// Where its registers lie.
    pub const fn map(self) -> &'static DirectionMap {
        match self {
            Self::Write => &edma::WRITE,
            Self::Read => &edma::READ,
        }
    }
}

/// What a channel's status field says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    #[default]
    Idle,
    Running,
    Halted,
    Stopped,
}

impl State {
    /// The status field (`dw_edma_v0_core_ch_status`).
    pub const fn code(self) -> u32 {
        match self {
            Self::Idle => 0,
            Self::Running => control::CS_RUNNING,
            Self::Halted => control::CS_HALTED,
            Self::Stopped => control::CS_STOPPED,
        }
    }
}

/// One channel.
#[derive(Clone, Debug, Default)]
pub struct Channel {
    /// Control 1 without its status field.
    pub control1: u32,
    /// The channel's registers by number; the first is not used.
    pub registers: [u32; 9],
    pub state: State,
    /// A doorbell came while it ran.
    latched: bool,
    /// It is to stop as soon as the job that is out comes back, and whether that is an abort.
    stop: Option<Stop>,
    /// A job is out.
    pub busy: bool,
    /// Bytes of the present element that were moved.
    moved: u64,
    /// What is left of the element that was moved last: the registers show it once it is reported.
    touched: Option<(u32, u64, u64)>,
    /// Single-element mode: the element was moved.
    complete: bool,
    /// Control words of elements that were moved but not yet reported.
    unreported: Vec<u32>,
    /// What the job that is out has met.
    met: Option<Met>,
    /// The engine has seen the end of the list: with its next look it stops, or heeds a doorbell.
    at_end: bool,
    /// A local interrupt is due.
    due_local: bool,
    /// One was due while the status bit stood, so that nobody sees whether it has come.
    unseen: bool,
    /// Messages to the RC are due.
    due_remote: u32,
}

/// Why a channel stops before the end of its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// The doorbell's stop bit.
    Asked,
    /// The engine was disabled.
    Disabled,
    /// The link went down.
    Unlinked,
}

/// What a job finds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    /// The next element is not the engine's.
    End,
    /// The list is not in RAM.
    NoList,
    /// Source or destination did not answer: which.
    NoData(Side),
}

impl Channel {
    fn linked(&self) -> bool {
        control::LLE.is_set(self.control1)
    }

    fn start(&mut self) {
        self.state = State::Running;
        (self.latched, self.at_end, self.complete, self.moved) = (false, false, false, 0);
    }

    fn pair(&self, low: u32) -> u64 {
        let low = low as usize / 4;
        u64::from(self.registers[low + 1]) << 32 | u64::from(self.registers[low])
    }

    /// Address of the next element.
    pub fn llp(&self) -> u64 {
        self.pair(channel::LLP_LOW)
    }

    fn set_llp(&mut self, address: u64) {
        self.set_pair(channel::LLP_LOW, address);
    }

    fn set_pair(&mut self, low: u32, value: u64) {
        let low = low as usize / 4;
        self.registers[low] = value as u32;
        self.registers[low + 1] = (value >> 32) as u32;
    }
}

/// What a channel does next, as its registers and its list say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Move the rest of an element.
    Move {
        /// The element's control word.
        control: u32,
        /// The next byte in the EP's address space, and on the way to the RC, before translation.
        ends: (u64, u64),
        /// Bytes left.
        len: u64,
    },
    /// Nothing: the single element was moved, or the next one is not the engine's yet.
    End,
    /// The list leads to where there is no RAM.
    ListFault,
    /// The list is links only.
    Endless,
}

/// The whole eDMA, with both boards' RAM.
#[derive(Clone, Debug)]
pub struct Model {
    /// Channels in each direction.
    pub channels: usize,
    pub shared: [Shared; 2],
    /// A write to a status register asserts the line until any write to a clear register.
    emulated: bool,
    channel: [Vec<Channel>; 2],
    pub ep: Memory,
    pub rc: Memory,
    pub remote: Remote,
    /// Abort messages that are due.
    owed: Vec<(u64, u32)>,
}

impl Model {
    /// As after power-on, with as many channels in each direction.
    pub fn new(channels: usize, ep: Memory, rc: Memory) -> Self {
        let row = vec![Channel::default(); channels];
        Self {
            channels,
            shared: Default::default(),
            emulated: false,
            channel: [row.clone(), row],
            ep,
            rc,
            remote: Remote::default(),
            owed: Vec::new(),
        }
    }

    /// A channel by direction and number.
    pub fn channel(&self, way: Way, number: usize) -> &Channel {
        &self.channel[way as usize][number]
    }

    fn channel_mut(&mut self, way: Way, number: usize) -> &mut Channel {
        &mut self.channel[way as usize][number]
    }

    /// A disabled engine is not off before the jobs of its channels are back.
    pub fn draining(&self, way: Way) -> bool {
        self.channel[way as usize]
            .iter()
            .any(|channel| channel.busy)
    }

    /// The level of the line, before the app window's gate.
    pub fn line(&self) -> bool {
        self.emulated || self.shared.iter().any(Shared::line)
    }

    /// What a channel that runs does next. Follows links, which nobody sees but in the list pointer and
    /// the cycle state.
    pub fn next(&mut self, way: Way, number: usize) -> Next {
        let channel = &mut self.channel[way as usize][number];
        if !channel.linked() {
            let left = u64::from(channel.registers[channel::TRANSFER_SIZE as usize / 4]);
            let ends = (
                channel.pair(channel::SAR_LOW),
                channel.pair(channel::DAR_LOW),
            );
            return match channel.complete {
                true => Next::End,
                false => endpoints(way, channel.control1, ends, channel.moved, left),
            };
        }
        for _ in 0..MAX_LINKS {
            let mut bytes = [0; element::SIZE as usize];
            if self.ep.read(channel.llp(), &mut bytes).is_err() {
                return Next::ListFault;
            }
            let word = |at: u32| u32::from_le_bytes(bytes[at as usize..][..4].try_into().unwrap());
            let long = |at: u32| u64::from_le_bytes(bytes[at as usize..][..8].try_into().unwrap());
            let head = word(element::CONTROL);
            if control::LLP.is_set(head) {
                // Whatever its cycle bit: the link behind a short last chunk carries the other one.
                channel.set_llp(long(element::LLP));
                if control::TCB.is_set(head) {
                    channel.control1 ^= control::CCS.mask();
                }
                continue;
            }
            if control::CB.is_set(head) != control::CCS.is_set(channel.control1) {
                return Next::End;
            }
            let ends = (long(element::SAR), long(element::DAR));
            let size = word(element::TRANSFER_SIZE).into();
            return endpoints(way, head, ends, channel.moved, size);
        }
        Next::Endless
    }

    /// A job of a channel has been handed out.
    ///
    /// # Errors
    ///
    /// The channel does not run, or has one out already.
    pub fn taken(&mut self, way: Way, number: usize) -> Result<(), String> {
        let channel = self.channel_mut(way, number);
        if channel.state != State::Running || channel.busy {
            return Err(format!("a job, when the channel is {channel:?}"));
        }
        // At the end of its list only a doorbell makes it look again.
        if std::mem::take(&mut channel.at_end) && !std::mem::take(&mut channel.latched) {
            return Err(format!("a job beyond the end: {channel:?}"));
        }
        channel.busy = true;
        channel.met = None;
        Ok(())
    }

    /// The engine reads the list at `address` now.
    pub fn fetches(&mut self, way: Way, number: usize, address: u64) {
        let next = self.next(way, number);
        let channel = self.channel_mut(way, number);
        // Only a look at the very element that is not there, or not the engine's, counts: others are
        // links on the way to it, or a look ahead.
        channel.met = match next {
            Next::End if channel.llp() == address => Some(Met::End),
            Next::ListFault if channel.llp() == address => Some(Met::NoList),
            _ => None,
        };
    }

    /// The engine moves `len` bytes of a channel next. Returns how many of them there were to move
    /// before one did not answer, having moved as many here.
    ///
    /// # Errors
    ///
    /// The list says otherwise.
    pub fn moves(
        &mut self,
        way: Way,
        number: usize,
        (local, remote, len): (u64, u64, u32),
    ) -> Result<u64, String> {
        let next = self.next(way, number);
        let what = || format!("{len} bytes {local:#x} {remote:#x}, the list has {next:x?}");
        let Next::Move {
            control,
            ends,
            len: left,
        } = next
        else {
            return Err(what());
        };
        if (local, remote) != ends || u64::from(len) > left || (len == 0 && left != 0) {
            return Err(what());
        }
        let moved = self.copy(way, local, remote, len.into());
        let silent = self.remote.silent;
        let ends = (local.wrapping_add(moved), remote.wrapping_add(moved));
        let (source, destination) = match way {
            Way::Write => ends,
            Way::Read => (ends.1, ends.0),
        };
        let channel = self.channel_mut(way, number);
        channel.moved += moved;
        channel.touched = Some(((left - moved) as u32, source, destination));
        if moved < u64::from(len) {
            channel.met = Some(Met::NoData(silent));
        } else if moved == left {
            channel.unreported.push(control);
            if channel.linked() {
                channel.moved = 0;
                channel.set_llp(channel.llp().wrapping_add(element::SIZE.into()));
            } else {
                channel.complete = true;
            }
        }
        Ok(moved)
    }

    /// Bytes one by one, as far as both ends answer.
    fn copy(&mut self, way: Way, local: u64, remote: u64, len: u64) -> u64 {
        let Self {
            ep,
            rc,
            remote: road,
            ..
        } = self;
        let mut done = 0;
        while done < len {
            let (here, there) = (local.wrapping_add(done), remote.wrapping_add(done));
            let moved = match way {
                Way::Write => road.send(ep, rc, here, there, len - done),
                Way::Read => road.receive(ep, rc, here, there, len - done),
            };
            if moved == 0 {
                break;
            }
            done += moved;
        }
        done
    }

    /// The engine has been told how a channel's job went: now, and not before, interrupts may tell of
    /// it, and the channel comes to rest if there is a reason.
    pub fn reported(&mut self, way: Way, number: usize) {
        let channel = self.channel_mut(way, number);
        channel.busy = false;
        for control in std::mem::take(&mut channel.unreported) {
            channel.due_local |= control::LIE.is_set(control);
            channel.due_remote += u32::from(control::RIE.is_set(control));
        }
        if let Some((size, source, destination)) = channel.touched.take() {
            channel.registers[channel::TRANSFER_SIZE as usize / 4] = size;
            channel.set_pair(channel::SAR_LOW, source);
            channel.set_pair(channel::DAR_LOW, destination);
            if !channel.linked() {
                channel.moved = 0;
            }
        }
        let met = channel.met.take();
        if let Some(met @ (Met::NoList | Met::NoData(_))) = met {
            self.abort(way, number, met);
        } else if !channel.linked() && channel.complete {
            // Nothing is left that a stop could stop, or a doorbell start.
            channel.state = State::Stopped;
            (channel.latched, channel.stop) = (false, None);
        } else {
            channel.at_end = met == Some(Met::End);
            self.heed_stop(way, number);
        }
    }

    /// The engine has looked at a channel and says that it stands. Without a doorbell it may do so at
    /// the end of the list, and must before it rests.
    pub fn stands(&mut self, way: Way, number: usize) {
        let channel = self.channel_mut(way, number);
        if channel.state == State::Running && channel.at_end && !channel.latched {
            channel.state = State::Stopped;
            channel.at_end = false;
        }
    }

    /// A channel that is to stop does so unless a job of it is out.
    fn heed_stop(&mut self, way: Way, number: usize) {
        let channel = self.channel_mut(way, number);
        if channel.busy {
            return;
        }
        let Some(stop) = channel.stop.take() else {
            return;
        };
        // What was begun is done again from its start, but for a single element's rest.
        (channel.moved, channel.at_end) = (0, false);
        channel.state = State::Stopped;
        let again = std::mem::take(&mut channel.latched);
        match stop {
            Stop::Asked => self.tell_abort(way, number),
            Stop::Disabled => {}
            Stop::Unlinked => self.abort(way, number, Met::NoData(Side::Rc)),
        }
        if again {
            self.channel_mut(way, number).start();
        }
    }

    /// A run ends on an address that does not answer.
    fn abort(&mut self, way: Way, number: usize, met: Met) {
        // The RC's side of the read engine has a register of its own.
        let (register, bit) = match (way, met) {
            (_, Met::NoList) => (0, 16 + number),
            (Way::Read, Met::NoData(Side::Rc)) => (1, number),
            _ => (0, number),
        };
        self.shared[way as usize].error[register] |= 1 << bit;
        let channel = self.channel_mut(way, number);
        channel.state = State::Halted;
        (channel.latched, channel.stop) = (false, None);
        (channel.at_end, channel.moved) = (false, 0);
        self.tell_abort(way, number);
    }

    /// Abort status and message, as far as they are enabled: by the linked-list error enables in list
    /// mode (of which the driver sets the one that the databook calls remote), else by the element.
    fn tell_abort(&mut self, way: Way, number: usize) {
        let shared = &mut self.shared[way as usize];
        let channel = &self.channel[way as usize][number];
        let (remote, local) = if channel.linked() {
            let enabled = |shift: usize| shared.linked_list_err >> (shift + number) & 1 != 0;
            (enabled(0), enabled(0) || enabled(16))
        } else {
            (
                control::RIE.is_set(channel.control1),
                control::LIE.is_set(channel.control1),
            )
        };
        if local {
            shared.status |= 1 << (16 + number);
        }
        if remote {
            self.owed.push(shared.message(number, true));
        }
    }

    /// The link went down.
    pub fn unlink(&mut self) {
        for way in WAYS {
            self.stop_all(way, Stop::Unlinked);
        }
    }

    /// Channels of a direction that run stop as soon as no job of theirs is out.
    fn stop_all(&mut self, way: Way, stop: Stop) {
        for number in 0..self.channels {
            self.stop(way, number, stop);
        }
    }

    fn stop(&mut self, way: Way, number: usize, stop: Stop) {
        let channel = self.channel_mut(way, number);
        if channel.state == State::Running {
            // A doorbell from before is over; one from now on starts the channel again.
            channel.latched = false;
            channel.stop.get_or_insert(stop);
            self.heed_stop(way, number);
        }
    }

    /// Every channel, by direction and number.
    pub fn all(&self) -> Vec<(Way, usize)> {
        let numbers = 0..self.channels;
        WAYS.into_iter()
            .flat_map(|way| numbers.clone().map(move |number| (way, number)))
            .collect()
    }

    /// The engine's status register of a direction reads `status`, where here it is another: DONE bits
    /// may have come for what is due.
    ///
    /// # Errors
    ///
    /// There are bits that nothing accounts for, or that are missing.
    pub fn adopt_status(&mut self, way: Way, status: u32) -> Result<(), String> {
        let mine = self.shared[way as usize].status;
        for number in 0..self.channels {
            let bit = 1 << number;
            let (stood, stands) = (mine & bit != 0, status & bit != 0);
            let channel = self.channel_mut(way, number);
            let due = channel.due_local || channel.unseen;
            if stands && !stood && due {
                (channel.due_local, channel.unseen) = (false, false);
                self.shared[way as usize].status |= bit;
            } else if stood && channel.due_local {
                (channel.due_local, channel.unseen) = (false, true);
            }
            let channel = self.channel_mut(way, number);
            // The end of a run leaves nothing to come.
            channel.unseen &= channel.state == State::Running;
        }
        match self.shared[way as usize].status {
            now if now == status => Ok(()),
            now => Err(format!(
                "{way:?} status {status:#x}, not {mine:#x} or {now:#x}"
            )),
        }
    }

    /// The engine sends a message to the RC.
    ///
    /// # Errors
    ///
    /// None is due, or not that one.
    pub fn message(&mut self, message: (u64, u32)) -> Result<(), String> {
        if let Some(at) = self.owed.iter().position(|owed| *owed == message) {
            self.owed.remove(at);
            return Ok(());
        }
        for (way, number) in self.all() {
            let due = self.shared[way as usize].message(number, false) == message;
            let channel = self.channel_mut(way, number);
            if due && channel.due_remote > 0 {
                channel.due_remote -= 1;
                return Ok(());
            }
        }
        Err(format!("message {message:x?}, which nobody owes"))
    }

    /// Where a list pointer leads: past links, with the cycle state that they leave, and what is there.
    /// Leaves the channel as it is.
    pub fn follow(
        &mut self,
        way: Way,
        number: usize,
        llp: u64,
        control1: u32,
    ) -> (u64, bool, Next) {
        let before = self.channel(way, number).clone();
        self.settle(way, number, llp, control1);
        let next = self.next(way, number);
        let after = std::mem::replace(self.channel_mut(way, number), before);
        (after.llp(), control::CCS.is_set(after.control1), next)
    }

    /// A channel stands at `llp`, in the cycle state of `control1`.
    pub fn settle(&mut self, way: Way, number: usize, llp: u64, control1: u32) {
        let channel = self.channel_mut(way, number);
        channel.set_llp(llp);
        let ccs = control::CCS.mask();
        channel.control1 = channel.control1 & !ccs | control1 & ccs;
    }

    /// What is due where nothing may be any more: interrupts and messages of channels that stand still,
    /// and of aborts.
    pub fn overdue(&self) -> Option<String> {
        if let Some(message) = self.owed.first() {
            return Some(format!("abort message {message:x?} was not sent"));
        }
        self.all().into_iter().find_map(|(way, number)| {
            let channel = self.channel(way, number);
            let due = channel.due_local || channel.due_remote > 0;
            (due && channel.state != State::Running)
                .then(|| format!("{way:?} {number} stands, and did not tell: {channel:?}"))
        })
    }
}

/// An element as what is left to do of it.
fn endpoints(
    way: Way,
    control: u32,
    (source, destination): (u64, u64),
    moved: u64,
    size: u64,
) -> Next {
    let (local, remote) = match way {
        Way::Write => (source, destination),
        Way::Read => (destination, source),
    };
    Next::Move {
        control,
        ends: (local.wrapping_add(moved), remote.wrapping_add(moved)),
        len: size.saturating_sub(moved),
    }
}
