// SPDX-License-Identifier: GPL-2.0

//! What exported DMA channels that notify the EP have told it, counted for debugfs: a line for each,
//! `CHANNEL ROUTING done=N aborted=M`.

use kernel::{
    debugfs, device, fmt,
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
    },
};

use crate::{
    dw_edma::{End, Listener},
    pci_ep_dma,
    vntb::{routing::Routing, MAX_CHANNELS},
};

/// The exported channels of a function.
pub(crate) type Export = pci_ep_dma::Export<Arc<Notified>>;

/// What a channel has told.
struct Counts {
    done: Atomic<u64>,
    aborted: Atomic<u64>,
}

/// What all channels have told.
pub(crate) struct Notified {
    routing: [Routing; MAX_CHANNELS],
    counts: [Counts; MAX_CHANNELS],
    used: usize,
}

impl Notified {
    /// Nothing was told yet by `used` channels.
    pub(crate) fn new(routing: [Routing; MAX_CHANNELS], used: usize) -> Self {
        Self {
            routing,
            counts: [const {
                Counts {
                    done: Atomic::new(0),
                    aborted: Atomic::new(0),
                }
            }; MAX_CHANNELS],
            used,
        }
    }

    fn show(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let channels = self.routing.iter().zip(&self.counts);
        for (id, (routing, counts)) in channels.take(self.used).enumerate() {
            writeln!(
                f,
                "{id} {} done={} aborted={}",
                routing.name(),
                counts.done.load(Relaxed),
                counts.aborted.load(Relaxed)
            )?;
        }
        Ok(())
    }
}

impl Listener for Arc<Notified> {
    fn notified(&self, id: u32, end: End) {
        let Some(counts) = self.counts.get(id as usize) else {
            return;
        };
        let count = match end {
            End::Done => &counts.done,
            End::Aborted => &counts.aborted,
        };
        count.fetch_add(1, Relaxed);
    }
}

/// Shows the counts, in a directory of the function's name. Dropped, the file is gone.
pub(crate) struct Shown {
    _file: Pin<KBox<debugfs::File<Arc<Notified>>>>,
    _dir: debugfs::Dir,
}

impl Shown {
    /// Shows `notified` as that of `function`.
    pub(crate) fn new(function: &device::Device, notified: Arc<Notified>) -> Result<Self> {
        let dir = debugfs::Dir::new(function.name());
        let file = dir.read_callback_file(c"dma_notified", notified, &Notified::show);
        let file = KBox::pin_init(file, GFP_KERNEL)?;
        Ok(Self {
            _file: file,
            _dir: dir,
        })
    }
}
