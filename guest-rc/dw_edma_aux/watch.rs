// SPDX-License-Identifier: GPL-2.0

//! Interrupts and the watchdog: reasons to look at channels.

use kernel::{
    impl_has_delayed_work, new_delayed_work, new_spinlock_irq,
    prelude::*,
    sync::{Arc, SpinLockIrq},
    time::{msecs_to_jiffies, Jiffies, Msecs},
    workqueue::{self, DelayedWork, WorkItem},
};

use crate::{
    due::{Again, Due, Step},
    engine::{self, Edma},
    pci_vector::Handler,
    provider::Engine,
    work,
};

/// How often the watchdog looks at a channel with transfers that has a vector, in milliseconds: what a
/// lost message costs, and how soon a dead endpoint is noticed.
const PERIOD: Msecs = 20;

fn delay(again: Again) -> Jiffies {
    match again {
        Again::Soon => 1,
        Again::Later => msecs_to_jiffies(PERIOD),
    }
}

/// What interrupts and the watchdog's work know of the engine.
#[pin_data]
pub(crate) struct Watch {
    /// As long as the device is there.
    #[pin]
    engine: SpinLockIrq<Option<Arc<Engine<Edma>>>>,
    /// When `work` is due.
    #[pin]
    due: SpinLockIrq<Due>,
    #[pin]
    work: DelayedWork<Self>,
}

impl_has_delayed_work! {
    impl HasDelayedWork<Self> for Watch { self.work }
}

impl Watch {
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                engine <- new_spinlock_irq!(None),
                due <- new_spinlock_irq!(Due::default()),
                work <- new_delayed_work!("dw_edma_aux::watch"),
            }),
            GFP_KERNEL,
        )
    }

    /// There is an engine to look at.
    pub(crate) fn attach(this: &Arc<Self>, engine: Arc<Engine<Edma>>) {
        *this.engine.lock() = Some(engine);
        // Clients may have been quicker, and nobody has heard their messages.
        Self::arm(this, Again::Soon);
    }

    /// There is none any more: nobody looks. Sleeps.
    pub(crate) fn detach(this: &Arc<Self>) {
        let engine = this.engine.lock().take();
        work::disable_delayed_sync(this);
        drop(engine);
    }

    /// Has the watchdog come, at the latest `again`.
    pub(crate) fn arm(this: &Arc<Self>, again: Again) {
        let mut due = this.due.lock();
        match due.arm(again) {
            Step::Nothing => return,
            Step::Queue => {}
            Step::Hasten => work::cancel_delayed(this),
        }
        // Fails if it is queued already, for no later than that.
        let _ = workqueue::system_highpri().enqueue_delayed(this.clone(), delay(again));
    }

    fn engine(&self) -> Option<Arc<Engine<Edma>>> {
        self.engine.lock().clone()
    }
}

impl Handler for Watch {
    fn interrupt(&self, number: u32) {
        let engine = self.engine();
        if let Some(channel) = engine.as_ref().and_then(|engine| engine.channel(number)) {
            engine::interrupt(&mut channel.lock());
        }
    }
}

impl WorkItem for Watch {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.due.lock().begun();
        let Some(engine) = this.engine() else { return };
        let again = engine
            .channels()
            .filter_map(|channel| engine::tick(&mut channel.lock()))
            .min();
        if let Some(again) = again {
            Self::arm(&this, again);
        }
    }
}
