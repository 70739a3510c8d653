// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The controller's eDMA as its driver sees it: jobs out, outcomes in.

use super::edma::Edma;
use super::{Controller, Effect, Effects, Job, Limits, Outcome, Ticket};

impl Controller {
    /// The next piece of work of the eDMA, if there is any: channels take turns. What it brings about
    /// (interrupts of a list that has just been found to end) is added to `effects`.
    ///
    /// Looks at each channel at most once. `None` means that nothing will come of its own accord:
    /// [`Effect::DmaReady`] says when to ask again, and until then every job that is out must be reported.
    pub fn dma_next(&mut self, limits: Limits, effects: &mut Effects) -> Option<Job> {
        self.with_line(effects, |edma, effects| edma.next(limits, effects))
    }

    /// Tells the eDMA how a job went. Status changes here, so the data must be visible already; effects
    /// are to be performed after it, in order. A job of before a power-on reset is void and changes
    /// nothing.
    ///
    /// Returns whether the outcome is worth a line in a log: an error, and not one of thousands.
    pub fn dma_finish(
        &mut self,
        ticket: Ticket,
        outcome: Outcome<'_>,
        effects: &mut Effects,
    ) -> bool {
        let valid = self.with_line(effects, |edma, effects| {
            edma.finish(ticket, outcome, effects)
        });
        match outcome {
            Outcome::Failed { reason, .. } if valid => self.counters.unsupported(reason),
            _ => false,
        }
    }

    /// The link is gone, and with it whoever the eDMA talked to.
    pub(super) fn dma_link_lost(&mut self, effects: &mut Effects) {
        self.with_line(effects, Edma::link_lost);
    }

    /// Lets the eDMA act, and says so if that raises its interrupt line: after what it has sent to the
    /// RC.
    fn with_line<T>(
        &mut self,
        effects: &mut Effects,
        act: impl FnOnce(&mut Edma, &mut Effects) -> T,
    ) -> T {
        let line = self.ep_interrupt_line();
        let value = act(&mut self.edma, effects);
        if !line && self.ep_interrupt_line() {
            effects.push(Effect::EpInterrupt);
        }
        value
    }
}
