// SPDX-License-Identifier: GPL-2.0

//! What clients, interrupts and the watchdog want of a channel.

use kernel::{prelude::*, sync::Arc};

use crate::{
    due::Again,
    hardware::Status,
    lane::{Fed, Lane, Run},
    provider::{settle, Config, Driver, Engine, Outcome, Queue, Request},
    transfer::Transfer,
    watch::Watch,
};

/// The endpoint's eDMA.
pub(crate) struct Edma {
    watch: Arc<Watch>,
}

impl Edma {
    pub(crate) fn new(watch: Arc<Watch>) -> Self {
        Self { watch }
    }
}

type Channel<'a> = Queue<'a, Edma>;

/// Why a channel is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Interrupt,
    Tick,
    Client,
}

/// A channel's message has arrived.
pub(crate) fn interrupt(queue: &mut Channel<'_>) {
    queue.state().counters.interrupts += 1;
    look(queue, Cause::Interrupt);
}

/// The watchdog comes by. Says when it is to come again, if it is.
pub(crate) fn tick(queue: &mut Channel<'_>) -> Option<Again> {
    let lane = queue.state();
    let polls = lane.polls();
    if lane.again && !lane.paused {
        feed(queue);
    }
    let lane = queue.state();
    if lane.is_busy() && !lane.paused {
        // Where messages come, the next one will tell.
        if core::mem::take(&mut lane.fresh) && !polls && !lane.again {
            return Some(Again::Later);
        }
        lane.counters.looks += 1;
        look(queue, Cause::Tick);
    }
    let lane = queue.state();
    if lane.paused && lane.is_busy() && lane.status() == Status::Gone {
        lose(queue, "does not answer");
    }
    let lane = queue.state();
    lane.is_busy().then_some(match polls || lane.again {
        true => Again::Soon,
        false => Again::Later,
    })
}

/// Finds out how far a channel is, and what is to be done then.
fn look(queue: &mut Channel<'_>, cause: Cause) {
    let lane = queue.state();
    match lane.run {
        Run::List if lane.ring.is_idle() => return,
        Run::List | Run::Cycle => {}
        Run::Stopping => return feed(queue),
        Run::Rest | Run::Gone => return,
    }
    let batched = lane.batched();
    if lane.advance() {
        let told = lane.run == Run::Cycle || lane.batched() < batched;
        match cause {
            Cause::Interrupt => lane.fresh = true,
            // What no message told, though the end of a batch has one: see whether they are sent to us
            // at all.
            Cause::Tick if told && !lane.polls() => {
                lane.counters.found += 1;
                lane.route();
            }
            Cause::Tick | Cause::Client => {}
        }
        return progress(queue);
    }
    match lane.status() {
        Status::Gone => lose(queue, "does not answer"),
        // It may do so the next time.
        Status::Silent => Watch::arm(&queue.channel().driver().watch, Again::Later),
        Status::Halted => abort(queue),
        Status::Running => {
            // A message that says only what was known. A period can be over without the pointer
            // having moved: after a whole lap.
            if cause == Cause::Interrupt && lane.run == Run::Cycle {
                queue.period_over();
            }
        }
        // It came to the end between the two looks; or it was at the end before it saw what was
        // added, or was reset, and has to be told.
        Status::Stopped | Status::Reset if !lane.paused => {
            if lane.advance() {
                return progress(queue);
            }
            match cause {
                Cause::Tick => {
                    if lane.route() {
                        pr_warn!("DMA messages of a channel were led elsewhere: led back\n");
                    }
                    let fed = lane.publish_again();
                    fed_again(queue, fed);
                }
                Cause::Interrupt | Cause::Client => {
                    if let Some(hardware) = &lane.hardware {
                        hardware.ring();
                    }
                }
            }
        }
        Status::Stopped | Status::Reset => {}
    }
}

/// The engine has come further.
fn progress(queue: &mut Channel<'_>) {
    if queue.state().run == Run::Cycle {
        return queue.period_over();
    }
    retire(queue);
    feed(queue);
}

/// Tells of the transfers that are done.
fn retire(queue: &mut Channel<'_>) {
    loop {
        let (lane, mut issued) = queue.parts();
        let done = issued.next().is_some_and(|first| lane.is_done(first));
        if !done {
            return;
        }
        lane.counters.done += 1;
        queue.finish_first(Outcome::Complete, 0);
    }
}

/// Gives the hardware what was issued.
fn feed(queue: &mut Channel<'_>) {
    let lane = queue.state();
    if lane.run == Run::Gone || lane.hardware.is_none() {
        return fail(queue);
    }
    if !lane.is_stopped() {
        return Watch::arm(&queue.channel().driver().watch, Again::Soon);
    }
    let (lane, issued) = queue.parts();
    let fed = lane.feed(issued);
    fed_again(queue, fed);
}

/// Has the watchdog come after a channel was fed, or was to be.
fn fed_again(queue: &mut Channel<'_>, fed: Fed) {
    let lane = queue.state();
    lane.again = fed == Fed::Again;
    let again = match fed {
        Fed::Nothing => return,
        Fed::Begun if !lane.polls() => Again::Later,
        Fed::Begun | Fed::Again => Again::Soon,
    };
    Watch::arm(&queue.channel().driver().watch, again);
}

/// The engine gave up at the first transfer that is not done. It goes on with the next one.
fn abort(queue: &mut Channel<'_>) {
    retire(queue);
    let (lane, issued) = queue.parts();
    let (why, left) = lane.give_up(issued);
    lane.counters.failed += 1;
    queue.finish_first(why, left);
    feed(queue);
}

/// The device is gone, and all that was asked of it is in vain.
fn lose(queue: &mut Channel<'_>, how: &str) {
    let number = queue.channel().number();
    queue.state().run = Run::Gone;
    if queue.has_issued() {
        pr_err!(
            "the endpoint's DMA channel {} {}: transfers fail\n",
            number,
            how
        );
    }
    fail(queue);
}

/// Fails all that was issued.
fn fail(queue: &mut Channel<'_>) {
    loop {
        let (lane, mut issued) = queue.parts();
        let Some(first) = issued.next() else { return };
        let left = lane.left(first);
        lane.counters.failed += 1;
        queue.finish_first(Outcome::Aborted, left);
    }
}

impl Driver for Edma {
    type Channel = Lane;
    type Transfer = Transfer;

    fn claim(queue: &mut Channel<'_>) -> Result {
        let lane = queue.state();
        if lane.run == Run::Gone {
            return Err(ENXIO);
        }
        // Whoever had the channel before may have gone without a word: this kernel, or the one before.
        match lane.status() {
            Status::Gone | Status::Silent => return Err(ENXIO),
            Status::Running => {
                if let Some(hardware) = &lane.hardware {
                    hardware.stop();
                }
                if !lane.rests() {
                    return Err(EBUSY);
                }
            }
            Status::Halted | Status::Stopped | Status::Reset => {}
        }
        lane.clear();
        lane.destination = None;
        lane.route();
        Ok(())
    }

    fn configure(queue: &mut Channel<'_>, config: &Config) -> Result {
        queue.state().destination = Some(config.destination);
        Ok(())
    }

    fn prepare(queue: &mut Channel<'_>, request: Request, interrupt: bool) -> Result<Transfer> {
        let lane = queue.state();
        let destination = lane.destination.ok_or(EINVAL)?;
        let (pieces, cyclic) = match request {
            Request::List(pieces) => (pieces, false),
            Request::Cycle(periods) if periods.len() > lane.most_periods() => return Err(EINVAL),
            Request::Cycle(periods) => (periods, true),
        };
        Transfer::new(pieces, destination, cyclic, interrupt)
    }

    fn issue(queue: &mut Channel<'_>) {
        feed(queue);
    }

    fn pause(queue: &mut Channel<'_>) -> Result {
        let lane = queue.state();
        if lane.paused || !lane.is_busy() || lane.run == Run::Stopping {
            return Err(EPERM);
        }
        lane.paused = true;
        if matches!(lane.status(), Status::Running | Status::Silent) {
            if let Some(hardware) = &lane.hardware {
                hardware.stop();
            }
        }
        Ok(())
    }

    fn resume(queue: &mut Channel<'_>) -> Result {
        let lane = queue.state();
        if !lane.paused {
            return Err(EPERM);
        }
        lane.paused = false;
        // It may still be about to stop, and would not hear the doorbell then.
        lane.rests();
        if lane.is_started() {
            if let Some(hardware) = &lane.hardware {
                hardware.ring();
            }
        }
        look(queue, Cause::Client);
        feed(queue);
        let polls = queue.state().polls();
        let again = if polls { Again::Soon } else { Again::Later };
        Watch::arm(&queue.channel().driver().watch, again);
        Ok(())
    }

    fn is_paused(lane: &Lane) -> bool {
        lane.paused
    }

    fn stop(queue: &mut Channel<'_>) {
        let lane = queue.state();
        lane.paused = false;
        if !lane.is_busy() || lane.run == Run::Stopping {
            return;
        }
        lane.run = match lane.status() {
            Status::Gone => Run::Gone,
            Status::Running | Status::Silent => {
                if let Some(hardware) = &lane.hardware {
                    hardware.stop();
                }
                Run::Stopping
            }
            Status::Halted | Status::Stopped | Status::Reset => Run::Stopping,
        };
    }

    fn is_stopped(queue: &mut Channel<'_>) -> bool {
        queue.state().is_stopped()
    }

    fn look(queue: &mut Channel<'_>) {
        let lane = queue.state();
        if lane.is_busy() && lane.run != Run::Stopping {
            look(queue, Cause::Client);
        }
    }

    fn residue(lane: &Lane, transfer: &Transfer) -> u32 {
        lane.left(transfer)
    }

    fn depart(engine: &Engine<Self>) {
        Watch::detach(&engine.driver().watch);
        for channel in engine.channels() {
            {
                let mut queue = channel.lock();
                Self::look(&mut queue);
                Self::stop(&mut queue);
            }
            settle(channel);
            let hardware = {
                let mut queue = channel.lock();
                queue.state().run = Run::Gone;
                fail(&mut queue);
                queue.state().hardware.take()
            };
            // Unmaps, which may sleep.
            drop(hardware);
        }
    }
}
