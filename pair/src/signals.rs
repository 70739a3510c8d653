// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What ends a command from outside: Ctrl-C, SIGTERM, SIGHUP and `--timeout`.
//!
//! A live pair is ended in order; a second signal ends the runner at once.

use crate::orphans;
use crate::run;
use crate::status::{printable, Exit, Failure};
use crate::watch::Watch;
use nix::sys::signal::{SigSet, Signal};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

static STATE: Mutex<State> = Mutex::new(State {
    cause: None,
    holds: 0,
    watches: Vec::new(),
});

struct State {
    /// What ended the command.
    cause: Option<Failure>,
    /// How many [`Hold`]s there are.
    holds: usize,
    /// The live runs.
    watches: Vec<Weak<Watch>>,
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the ending signals over. Call it first in `main`, before any thread exists: they inherit the mask.
pub fn install() {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        set.add(signal);
    }
    if let Err(error) = set.thread_block() {
        log::warn!("signals cannot be taken over: {error}");
        return;
    }
    let wait = move || loop {
        if let Ok(signal) = set.wait() {
            take(signal);
        }
    };
    if let Err(error) = std::thread::Builder::new()
        .name("signals".into())
        .spawn(wait)
    {
        log::warn!("signals cannot be taken over: {error}");
    }
}

fn take(signal: Signal) {
    let name = signal.as_str();
    end(Failure::new(
        Exit::Signal(signal as i32),
        format!("ended by {name}"),
    ));
}

/// How many [`Pause`]s there are.
static PAUSES: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// While it lives no time passes for [`limit`]: what a run is made of is built, which has deadlines of its own.
pub struct Pause(());

impl Pause {
    /// Begins to pause.
    pub fn new() -> Self {
        Self::count(|pauses| *pauses += 1);
        Pause(())
    }

    fn count(change: impl FnOnce(&mut usize)) {
        change(&mut PAUSES.0.lock().unwrap_or_else(PoisonError::into_inner));
        PAUSES.1.notify_all();
    }
}

impl Default for Pause {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        Self::count(|pauses| *pauses -= 1);
    }
}

/// Ends the command with 124 when this much time has passed from now, [`Pause`]s not counted.
pub fn limit(time: Duration) {
    let wait = move || {
        let mut left = time;
        let mut pauses = PAUSES.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !left.is_zero() {
            let begun = Instant::now();
            let running = *pauses == 0;
            let most = if running { left } else { Duration::MAX };
            let waited = PAUSES.1.wait_timeout(pauses, most);
            pauses = waited.unwrap_or_else(PoisonError::into_inner).0;
            if running {
                left = left.saturating_sub(begun.elapsed());
            }
        }
        drop(pauses);
        end(Failure::timeout("the command to end (--timeout)", time));
    };
    if let Err(error) = std::thread::Builder::new()
        .name("timeout".into())
        .spawn(wait)
    {
        log::warn!("there will be no timeout: {error}");
    }
}

fn end(failure: Failure) {
    let (at_once, watches) = {
        let mut state = state();
        let watches: Vec<_> = state.watches.iter().filter_map(Weak::upgrade).collect();
        let second = state.cause.is_some();
        state.cause.get_or_insert(failure.clone());
        (second || (watches.is_empty() && state.holds == 0), watches)
    };
    if at_once {
        eprintln!("pair: {}", printable(&failure.message));
        // The kernel kills our own children with us (PR_SET_PDEATHSIG), but not a command's.
        orphans::kill_all();
        run::abandon_all();
        std::process::exit(failure.exit.code().into());
    }
    for watch in watches {
        watch.fail(failure.clone());
    }
}

/// Whether the command may go on.
///
/// # Errors
/// What ended it.
pub fn check() -> Result<(), Failure> {
    state().cause.clone().map_or(Ok(()), Err)
}

/// From now on a signal fails this run instead of ending the runner.
pub fn subscribe(watch: &Arc<Watch>) {
    let mut state = state();
    state.watches.retain(|watch| watch.strong_count() > 0);
    state.watches.push(Arc::downgrade(watch));
    if let Some(cause) = &state.cause {
        watch.fail(cause.clone());
    }
}

/// While it lives the first signal only marks [`check`]: for a command with files to finish.
pub struct Hold(());

impl Hold {
    /// Begins to hold.
    pub fn new() -> Self {
        state().holds += 1;
        Hold(())
    }
}

impl Default for Hold {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        state().holds -= 1;
    }
}
