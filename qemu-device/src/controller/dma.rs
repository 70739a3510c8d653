// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The controller's eDMA as its driver sees it: jobs out, outcomes in.

use super::{Controller, Effects, Job, Limits, Outcome, Ticket};

impl Controller {
    /// The next piece of work of the eDMA, if there is any: channels take turns. What it brings about
    /// (interrupts of a list that has just been found to end) is added to `effects`.
    ///
    /// Looks at each channel at most once. `None` means that nothing will come of its own accord:
    /// [`Effect::DmaReady`] says when to ask again, and until then every job that is out must be reported.
    pub fn dma_next(&mut self, limits: Limits, effects: &mut Effects) -> Option<Job> {
        let _ = (limits, effects);
        None
    }

    /// Tells the eDMA how a job went. Status changes here, so the data must be visible already; effects
    /// are to be performed after it, in order.
    pub fn dma_finish(&mut self, ticket: Ticket, outcome: Outcome<'_>, effects: &mut Effects) {
        let _ = (ticket, outcome, effects);
    }
}
