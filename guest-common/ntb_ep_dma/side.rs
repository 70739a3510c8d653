// SPDX-License-Identifier: GPL-2.0

//! A side at work: it lends a buffer, fills the other's, and judges what arrives.

use core::{ptr, slice};

use kernel::{
    fmt, impl_has_work, new_condvar, new_mutex,
    prelude::*,
    sync::{aref::ARef, Arc, CondVar, Mutex},
    time::{delay::fsleep, msecs_to_jiffies, Delta, Instant, Monotonic, Msecs},
    workqueue::{self, Work, WorkItem},
};

use crate::{
    dmaengine::{
        Candidate, Channel, Config, DeviceAddress, Direction, Memory, Outcome, ScatterList,
        Transfer,
    },
    ntb_client::Bridge,
    pattern,
    vntb::ep_dma::{self, spad, State, LENGTH, TIMEOUT_MS},
    words::{self, Words},
    work,
};

/// How long a side waits for the other, and for its own engine.
const TIMEOUT: Delta = Delta::from_millis(TIMEOUT_MS as i64);
/// How long a side that takes its buffer back leaves it to another that does not say whether it is
/// amid a transfer, as the published client does not.
const GRACE: Delta = Delta::from_millis(100);
/// How long it waits for one that says so: longer than any transfer may take over there.
const PATIENCE: Delta = Delta::from_millis(2 * TIMEOUT_MS as i64);
/// How often it looks meanwhile.
const GLANCE: Delta = Delta::from_millis(10);
/// How often a side that waits looks around, if nothing wakes it.
const PAUSE: Msecs = 100;

/// The byte at an index of a lent buffer in which nothing has arrived.
const fn nothing(index: usize) -> u8 {
    !ep_dma::pattern(index)
}

/// The last run.
#[derive(Default)]
struct Last {
    /// 0, or the error, negative.
    status: c_int,
    /// Bytes that were moved.
    length: u32,
}

/// What this side knows of the other.
#[derive(Default)]
struct Known {
    /// The other's transfer that was judged.
    judged: Option<u32>,
    /// Its last one was wrong, which was said.
    complained: bool,
    /// The bridge goes.
    stopped: bool,
}

/// A side.
#[pin_data]
pub(crate) struct Side {
    bridge: ARef<Bridge>,
    /// The doorbell that we ring.
    doorbell: u64,
    /// What the other side writes to.
    lent: Arc<Memory>,
    /// Counts our transfers; held by who runs one.
    #[pin]
    seq: Mutex<u32>,
    #[pin]
    last: Mutex<Last>,
    #[pin]
    known: Mutex<Known>,
    /// The other side may have said something, or the bridge goes.
    #[pin]
    news: CondVar,
    #[pin]
    work: Work<Side>,
}

impl_has_work! { impl HasWork<Self> for Side { self.work } }

impl Side {
    /// A side that the other does not hear of yet.
    pub(crate) fn new(bridge: ARef<Bridge>) -> Result<Arc<Self>> {
        if bridge.spad_count()? < spad::COUNT {
            dev_err!(bridge.as_ref(), "too few scratchpads\n");
            return Err(EINVAL);
        }
        let doorbell =
            ep_dma::doorbell(bridge.port()?).filter(|bit| bridge.db_valid_mask() & bit != 0);
        let doorbell = doorbell.ok_or(EINVAL).inspect_err(|_| {
            dev_err!(bridge.as_ref(), "this port has no doorbell\n");
        })?;
        let lent = Memory::of_device(bridge.dma_device(), LENGTH as usize)?;
        pattern::fill(&lent, 0..LENGTH as usize, nothing)?;
        Arc::pin_init(
            pin_init!(Self {
                bridge,
                doorbell,
                lent,
                seq <- new_mutex!(0),
                last <- new_mutex!(Last::default()),
                known <- new_mutex!(Known::default()),
                news <- new_condvar!(),
                work <- workqueue::new_work!("ntb_ep_dma"),
            }),
            GFP_KERNEL,
        )
    }

    /// The other side hears of us.
    pub(crate) fn start(&self) -> Result {
        let bridge = &self.bridge;
        // It may remember us from before.
        let mut seq = self.seq.lock();
        *seq = words::told_seq(bridge);
        // What is there may be another kernel's word, and with the link it would be ours.
        words::withdraw(bridge, *seq)?;
        bridge.db_clear_mask(self.doorbell)?;
        bridge.link_enable()?;
        // What the other side did before we came is not ours to judge.
        let before = Words::read(bridge);
        if before.state() == Some(State::XferDone) {
            self.known.lock().judged = Some(before.seq);
        }
        words::lend(bridge, self.lent.dma_address(), LENGTH)?;
        words::tell(bridge, State::Ready, *seq, 0, self.doorbell)
    }

    /// The other side hears that we go; who runs a transfer gives up.
    pub(crate) fn stop(self: &Arc<Self>) {
        self.known.lock().stopped = true;
        self.news.notify_all();
        {
            let seq = self.seq.lock();
            // The bridge may be gone already, or the other side.
            let _ = words::withdraw(&self.bridge, *seq);
            let _ = self.bridge.peer_db_set(self.doorbell);
            fsleep(GRACE);
            self.wait_for_the_other();
            let _ = self.bridge.link_disable();
        }
        work::disable_sync::<_, 0>(self);
    }

    /// Waits until the other side does not write to our buffer any more, which was taken back.
    fn wait_for_the_other(&self) {
        let start = Instant::<Monotonic>::now();
        // Events have ended, so nothing would wake us.
        while self.bridge.link_is_up() && Words::read(&self.bridge).is_transferring() {
            if start.elapsed() >= PATIENCE {
                dev_warn!(
                    self.device(),
                    "the other side says to be amid a transfer for ever: not waited for any longer\n"
                );
                return;
            }
            fsleep(GLANCE);
        }
    }

    /// The other side may have said something. Atomic.
    pub(crate) fn look_soon(self: &Arc<Self>) {
        // Fails if it is about to be looked at already.
        let _ = work::any_cpu().enqueue::<_, 0>(self.clone());
    }

    /// Whether a run can begin.
    pub(crate) fn is_ready(&self) -> bool {
        self.bridge.link_is_up() && Words::read(&self.bridge).buffer(LENGTH).is_some()
    }

    /// Waits until a run can begin. Fails with `ETIMEDOUT` if the other side does not come, with
    /// `ENODEV` if the bridge goes, with `EINTR` if a signal came.
    pub(crate) fn wait_ready(&self) -> Result {
        self.wait(|_| self.is_ready().then_some(Ok(())))
    }

    /// Fills the other side's buffer and waits for its verdict.
    ///
    /// Fails with `ENOTCONN` if the link is down or the other side is not ready, or goes; with `ENODEV`
    /// if there is no engine for this bridge, or the bridge goes; with `EIO` if the engine
    /// fails; with `EBADMSG` if the other side says that what arrived is wrong; with `ETIMEDOUT` if
    /// it says nothing, or the engine does not end.
    pub(crate) fn run(&self) -> Result {
        let mut seq = self.seq.lock();
        let mut length = 0;
        let outcome = self.transfer(&mut seq, &mut length);
        let status = outcome.err().map_or(0, Error::to_errno);
        *self.last.lock() = Last { status, length };
        outcome
    }

    /// As `run`; `length` is what was moved, whatever became of it.
    fn transfer(&self, seq: &mut u32, length: &mut u32) -> Result {
        self.still_there()?;
        let target = Words::read(&self.bridge).buffer(LENGTH).ok_or_else(|| {
            dev_err!(
                self.device(),
                "the other side lends no buffer: is ntb_ep_dma there?\n"
            );
            ENOTCONN
        })?;
        // The other side may have taken its buffer back meanwhile, and now waits for us if it does;
        // `send` looks.
        words::begin(&self.bridge, *seq, LENGTH)?;
        self.send(target).inspect_err(|_| {
            let _ = words::say(&self.bridge, State::Ready, *seq, 0);
        })?;
        *length = LENGTH;

        *seq = seq.wrapping_add(1);
        words::tell(&self.bridge, State::XferDone, *seq, LENGTH, self.doorbell)?;
        match self.verdict(*seq)? {
            State::Pass => Ok(()),
            _ => {
                dev_err!(
                    self.device(),
                    "the other side says that what arrived is wrong\n"
                );
                Err(EBADMSG)
            }
        }
    }

    /// Moves test data to `target` on the other side. The other side knows that we begin; when this
    /// returns nothing is on its way any more.
    fn send(&self, target: u64) -> Result {
        let device = self.bridge.dma_device();
        let suits = |candidate: &Candidate<'_>| {
            let can = candidate.capabilities();
            ptr::eq(candidate.engine(), &**device)
                && can.is_some_and(|can| can.moves(Direction::MemToDev))
        };
        let mut channel = Channel::request(suits).inspect_err(|_| {
            dev_err!(
                self.device(),
                "no DMA channel of {} is free: is the driver of its DMA engine there?\n",
                device.name()
            );
        })?;

        let source = Memory::of_device(device, LENGTH as usize)?;
        let whole = 0..LENGTH as usize;
        pattern::fill(&source, whole.clone(), ep_dma::pattern)?;
        // SAFETY: The engine is the bridge's own, which writes on the other side of it.
        let address = unsafe { DeviceAddress::new(target) };
        channel.configure(Direction::MemToDev, &Config { address, width: 4 })?;
        let mut list = ScatterList::new(source, slice::from_ref(&whole))?;
        let transfer = channel
            .prepare(&mut list, Direction::MemToDev)?
            .submit(None)?;
        if Words::read(&self.bridge).buffer(LENGTH) != Some(target) {
            return Err(ENOTCONN);
        }
        channel.issue_pending();
        match self.end_of(&transfer)? {
            Outcome::Complete => Ok(()),
            outcome => {
                dev_err!(self.device(), "{}: {:?}\n", channel.name(), outcome);
                Err(EIO)
            }
        }
    }

    /// Waits for the end of a transfer, or of the bridge.
    fn end_of(&self, transfer: &Transfer) -> Result<Outcome> {
        let start = Instant::<Monotonic>::now();
        loop {
            match transfer.wait(PAUSE) {
                Err(_) if start.elapsed() < TIMEOUT => self.still_there()?,
                Err(error) => {
                    dev_err!(
                        self.device(),
                        "the DMA transfer did not end within {} ms\n",
                        TIMEOUT_MS
                    );
                    return Err(error);
                }
                ended => return ended,
            }
        }
    }

    /// Waits for the other side's verdict on transfer `seq`.
    fn verdict(&self, seq: u32) -> Result<State> {
        self.wait(|words| match words.verdict(seq) {
            Some(verdict) => Some(Ok(verdict)),
            None if words.buffer(LENGTH).is_none() || !self.bridge.link_is_up() => {
                Some(Err(ENOTCONN))
            }
            None => None,
        })
        .inspect_err(|error| {
            if *error == ETIMEDOUT {
                dev_err!(
                    self.device(),
                    "the other side did not judge transfer {} within {} ms\n",
                    seq,
                    TIMEOUT_MS
                );
            }
        })
    }

    /// Waits until `what` finds in the other side's words what it looks for. Fails with `ETIMEDOUT` if
    /// that takes too long, with `ENODEV` if the bridge goes, with `EINTR` if a signal came.
    fn wait<T>(&self, mut what: impl FnMut(&Words) -> Option<Result<T>>) -> Result<T> {
        let start = Instant::<Monotonic>::now();
        let mut known = self.known.lock();
        loop {
            if let Some(found) = what(&Words::read(&self.bridge)) {
                return found;
            }
            if known.stopped {
                return Err(ENODEV);
            }
            if start.elapsed() >= TIMEOUT {
                return Err(ETIMEDOUT);
            }
            let _ = self
                .news
                .wait_interruptible_timeout(&mut known, msecs_to_jiffies(PAUSE));
            if kernel::current!().signal_pending() {
                return Err(EINTR);
            }
        }
    }

    fn still_there(&self) -> Result {
        if self.known.lock().stopped {
            return Err(ENODEV);
        }
        match self.bridge.link_is_up() {
            true => Ok(()),
            false => Err(ENOTCONN),
        }
    }

    /// Judges the other side's transfer, if there is a new one.
    fn look(&self) {
        let mut known = self.known.lock();
        let words = Words::read(&self.bridge);
        if words.state() != Some(State::XferDone) {
            // Whoever starts anew may count anew.
            known.judged = None;
        } else if known.judged != Some(words.seq) && !known.stopped {
            known.judged = Some(words.seq);
            let verdict = match self.judge(&words, &mut known.complained) {
                Ok(true) => State::Pass,
                _ => State::Fail,
            };
            // If this fails, the other side runs into its deadline.
            let _ = words::tell(
                &self.bridge,
                verdict,
                words.seq,
                words.length,
                self.doorbell,
            );
        }
        drop(known);
        self.news.notify_all();
    }

    /// Whether what the other side sent is right, and room for the next.
    fn judge(&self, words: &Words, complained: &mut bool) -> Result<bool> {
        let all = LENGTH as usize;
        let sent = words.length as usize;
        let right = if sent == 0 || sent > all {
            self.complain(complained, fmt!("{} bytes cannot have been sent", sent));
            false
        } else if let Some((index, byte)) =
            pattern::difference(&self.lent, 0..sent, ep_dma::pattern)?
        {
            self.complain(complained, fmt!("byte {} is {:#04x}", index, byte));
            false
        } else {
            *complained = false;
            true
        };
        pattern::fill(&self.lent, 0..all, nothing)?;
        Ok(right)
    }

    /// Says what is wrong, once until something was right: the other side can go on for ever.
    fn complain(&self, complained: &mut bool, what: fmt::Arguments<'_>) {
        if !*complained {
            dev_err!(self.device(), "wrong transfer: {}\n", what);
        }
        *complained = true;
    }

    fn device(&self) -> &kernel::device::Device {
        self.bridge.as_ref()
    }

    /// The file `result`.
    pub(crate) fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = Words::read(&self.bridge);
        {
            let last = self.last.lock();
            writeln!(f, "last_status: {}", last.status)?;
            writeln!(f, "last_len: {}", last.length)?;
        }
        writeln!(f, "local_buf_dma: {:#x}", self.lent.dma_address())?;
        writeln!(f, "local_buf_size: {LENGTH}")?;
        writeln!(
            f,
            "peer_ready: {}",
            u8::from(words.buffer(LENGTH).is_some())
        )?;
        match words.state() {
            Some(state) => writeln!(f, "peer_state: {}", state.name())?,
            None => writeln!(f, "peer_state: unknown ({:#x})", words.state)?,
        }
        writeln!(f, "peer_dma: {:#x}", words.address)?;
        writeln!(f, "peer_size: {}", words.size)?;
        writeln!(f, "peer_seq: {}", words.seq)?;
        writeln!(f, "peer_xfer_len: {}", words.length)?;
        writeln!(f, "link_up: {}", u8::from(self.bridge.link_is_up()))
    }
}

/// Looks at what the other side says.
impl WorkItem for Side {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let _ = this.bridge.db_clear(!0);
        this.look();
    }
}
