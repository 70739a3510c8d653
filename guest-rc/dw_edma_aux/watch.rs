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
    engine::{self, Edma},
    pci_vector::Handler,
    provider::Engine,
    work,
};

/// How often the watchdog looks at a channel with transfers that has a vector, in milliseconds: what a
/// lost message costs, and how soon a dead endpoint is noticed.
const PERIOD: Msecs = 20;

/// When the watchdog is to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Again {
    /// At the next tick: nothing else tells of completions.
    Soon,
    /// In case that a message is lost.
    Later,
}

impl Again {
    fn delay(self) -> Jiffies {
        match self {
            Self::Soon => 1,
            Self::Later => msecs_to_jiffies(PERIOD),
        }
    }
}

/// What interrupts and the watchdog's work know of the engine.
#[pin_data]
pub(crate) struct Watch {
    /// As long as the device is there.
    #[pin]
    engine: SpinLockIrq<Option<Arc<Engine<Edma>>>>,
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

    /// Has the watchdog come. If it is to come anyway, then when it does.
    pub(crate) fn arm(this: &Arc<Self>, again: Again) {
        // Fails if it is to come already.
        let _ = workqueue::system_highpri().enqueue_delayed(this.clone(), again.delay());
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
