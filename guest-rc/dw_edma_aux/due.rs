// SPDX-License-Identifier: GPL-2.0

//! When the watchdog is due, among several who ask for it. Nothing but the decision, so that it can be
//! tested outside of a kernel (`abi/tests/modules.rs`).

/// When the watchdog is to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Again {
    /// At the next tick: nothing else tells of completions.
    Soon,
    /// In case that a message is lost.
    Later,
}

/// What is to be done with the watchdog's delayed work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is due by then anyway.
    Nothing,
    /// Queue it.
    Queue,
    /// It is queued for later: bring it forward.
    Hasten,
}

/// When the watchdog is due, if it is.
#[derive(Default)]
pub(crate) struct Due(Option<Again>);

impl Due {
    /// The watchdog is to come, at the latest `again`. What is due already is never put off: who asks
    /// more often than there are ticks would keep it away for good.
    pub(crate) fn arm(&mut self, again: Again) -> Step {
        let step = match self.0 {
            None => Step::Queue,
            Some(due) if due <= again => return Step::Nothing,
            Some(_) => Step::Hasten,
        };
        self.0 = Some(again);
        step
    }

    /// The watchdog has come.
    pub(crate) fn begun(&mut self) {
        self.0 = None;
    }
}
