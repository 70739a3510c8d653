// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What ends a command from outside: Ctrl-C, SIGTERM, SIGHUP and `--timeout`.
//!
//! A live pair is ended in order; a second signal ends the runner at once.

use crate::orphans;
use crate::run;
use crate::status::{Exit, Failure};
use crate::watch::Watch;
use nix::sys::signal::{SigSet, Signal};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

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

/// Ends the command with 124 when this much time has passed from now.
pub fn limit(time: Duration) {
    let wait = move || {
        std::thread::sleep(time);
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
        eprintln!("pair: {failure}");
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
