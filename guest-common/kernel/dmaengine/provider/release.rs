// SPDX-License-Identifier: GPL-2.0

//! The end of an engine that was unregistered.
//!
//! The dmaengine tells of it (`device_release`) in the midst of `dma_release_channel()`, with its mutex held, and
//! goes on to look at the channel until it gives the mutex back. The channel is the engine's memory, so the engine is
//! freed by work that waits for the mutex first. That work is the module's code, and nobody counts it as a user of the
//! module: so the module has a queue for it, [`Releases`], which is drained before the module goes.

use core::{mem, ptr};

use kernel::{
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Full, Release},
        Arc,
    },
    workqueue::{Queue, WorkItem},
};

use super::{Driver, Engine};
use crate::{bindings, work::OwnQueue};

/// The queue of the module's [`Releases`]; null if there is none.
static QUEUE: Atomic<*mut Queue> = Atomic::new(ptr::null_mut());

/// Frees engines. A module that registers any has one from its start on, and drops it when its drivers are
/// unregistered. Dropped, it has freed all engines that were released.
///
/// # Invariants
///
/// `QUEUE` is `_queue` until `drop`.
pub(crate) struct Releases {
    _queue: OwnQueue,
}

impl Releases {
    /// Fails with `EBUSY` if the module has one.
    pub(crate) fn new() -> Result<Self> {
        let queue = OwnQueue::new(c"dma_release")?;
        let raw = ptr::from_ref::<Queue>(&queue).cast_mut();
        QUEUE
            .cmpxchg(ptr::null_mut(), raw, Full)
            .map_err(|_| EBUSY)?;
        // INVARIANT: Just set.
        Ok(Self { _queue: queue })
    }

    /// Whether the module has one.
    pub(super) fn are_there() -> bool {
        !QUEUE.load(Acquire).is_null()
    }
}

impl Drop for Releases {
    fn drop(&mut self) {
        QUEUE.store(ptr::null_mut(), Release);
        // Who has seen the queue has queued its engine when this returns: see `free_later`.
        barrier();
    }
}

/// Drops the dmaengine's reference to an engine when the dmaengine is done with it.
///
/// Only for `device_release`, so with the dmaengine's mutex.
pub(super) fn free_later<D: Driver>(engine: Arc<Engine<D>>) {
    // SAFETY: By the invariant of `Releases` the queue is valid; it stays so as long as we have the mutex, which its
    // `drop` waits for.
    match unsafe { QUEUE.load(Acquire).as_ref() } {
        // An engine is released once, so it is not queued already; if it were, it would be leaked.
        Some(queue) => {
            let _ = queue.enqueue(engine).map_err(mem::forget);
        }
        None => {
            pr_err!("a DMA engine outlives its module's Releases: leaked\n");
            mem::forget(engine);
        }
    }
}

impl<D: Driver> WorkItem for Engine<D> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        barrier();
        drop(this);
    }
}

/// Waits until the dmaengine's mutex was free: a request for a channel that nobody can give takes it.
pub(super) fn barrier() {
    /// Refuses every channel.
    ///
    /// # Safety
    ///
    /// None.
    unsafe extern "C" fn none(_: *mut bindings::dma_chan, _: *mut c_void) -> bool {
        false
    }
    let mask = pin_init::zeroed();
    // SAFETY: The mask is valid, and the filter needs no parameter.
    let found = unsafe {
        bindings::__dma_request_channel(&mask, Some(none), ptr::null_mut(), ptr::null_mut())
    };
    debug_assert!(found.is_null());
}
