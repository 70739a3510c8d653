// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is known of a run, shared by every thread that looks after a part of it.

use crate::status::Failure;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A run's state. Whoever waits for a part of it also wakes when the run fails.
#[derive(Default)]
pub struct Watch {
    state: Mutex<State>,
    changed: Condvar,
}

/// What the threads have found out.
#[derive(Default)]
pub struct State {
    /// The first thing that went wrong.
    pub failure: Option<Failure>,
    /// The run is being ended on purpose: what dies now is no failure.
    pub ending: bool,
    /// The controller's link.
    pub link_up: bool,
    /// The device on the RC's root port, as the link follower last left it.
    pub plugged: bool,
}

impl Watch {
    /// A fresh run's.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Changes the state and wakes all who wait.
    pub fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// The run has failed. The first failure counts; once the run is being ended none does.
    pub fn fail(&self, failure: Failure) {
        self.update(|state| {
            if state.failure.is_none() && !state.ending {
                log::debug!("the run failed: {failure}");
                state.failure = Some(failure);
            }
        });
    }

    /// The failure, if there is one.
    ///
    /// # Errors
    /// That failure.
    pub fn health(&self) -> Result<(), Failure> {
        self.lock().failure.clone().map_or(Ok(()), Err)
    }

    /// Whether the run has failed or is being ended.
    pub fn over(&self) -> bool {
        let state = self.lock();
        state.ending || state.failure.is_some()
    }

    /// Waits until `ready` gives something, and names `what` it waited for when `timeout` has passed.
    ///
    /// # Errors
    /// The run's failure as soon as there is one; a timeout.
    pub fn wait<T>(
        &self,
        what: &str,
        timeout: Duration,
        mut ready: impl FnMut(&State) -> Option<T>,
    ) -> Result<T, Failure> {
        let begun = Instant::now();
        let mut state = self.lock();
        loop {
            if let Some(failure) = &state.failure {
                return Err(failure.clone());
            }
            if let Some(value) = ready(&state) {
                return Ok(value);
            }
            let Some(left) = timeout.checked_sub(begun.elapsed()) else {
                return Err(Failure::timeout(what, timeout));
            };
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(|poisoned| poisoned.into_inner())
                .0;
        }
    }

    /// Tries `attempt` every `pause` until it gives something: for what announces itself to nobody.
    ///
    /// # Errors
    /// As [`Watch::wait`], or whatever `attempt` fails with.
    pub fn poll<T>(
        &self,
        what: &str,
        timeout: Duration,
        pause: Duration,
        mut attempt: impl FnMut() -> Result<Option<T>, Failure>,
    ) -> Result<T, Failure> {
        let begun = Instant::now();
        loop {
            self.health()?;
            if let Some(value) = attempt()? {
                return Ok(value);
            }
            if begun.elapsed() >= timeout {
                return Err(Failure::timeout(what, timeout));
            }
            self.pause(pause);
        }
    }

    /// Sleeps, but wakes at any change.
    pub fn pause(&self, time: Duration) {
        let state = self.lock();
        drop(self.changed.wait_timeout(state, time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Exit;

    #[test]
    fn the_first_failure_counts_and_wakes_who_waits() {
        let watch = Watch::new();
        let other = watch.clone();
        let waiter = std::thread::spawn(move || {
            other.wait("the link", Duration::from_secs(60), |state| {
                state.link_up.then_some(())
            })
        });
        watch.fail(Failure::new(Exit::Panic, "first"));
        watch.fail(Failure::harness("second"));
        assert_eq!(waiter.join().unwrap().unwrap_err().message, "first");
    }

    #[test]
    fn a_deadline_names_what_was_waited_for() {
        let failure = Watch::new()
            .wait("the link", Duration::from_millis(10), |state| {
                state.link_up.then_some(())
            })
            .unwrap_err();
        assert_eq!(failure.exit, Exit::Timeout);
        assert!(failure.message.contains("the link"));
    }

    #[test]
    fn what_dies_at_the_end_is_no_failure() {
        let watch = Watch::new();
        watch.update(|state| state.ending = true);
        watch.fail(Failure::harness("QEMU ended"));
        assert!(watch.health().is_ok());
    }
}
