// SPDX-License-Identifier: GPL-2.0

//! What `kernel::sync::Completion` of Linux 7.3 lacks: a wait with a deadline.
//!
//! C header: [`include/linux/completion.h`](srctree/include/linux/completion.h)

use kernel::{
    bindings,
    prelude::*,
    time::{msecs_to_jiffies, Msecs},
    types::Opaque,
};

/// An event that happens once (`struct completion`).
#[pin_data]
pub(crate) struct Completion {
    #[pin]
    inner: Opaque<bindings::completion>,
}

// SAFETY: A completion belongs to no thread.
unsafe impl Send for Completion {}
// SAFETY: It locks itself.
unsafe impl Sync for Completion {}

impl Completion {
    /// An event that has not happened yet.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- Opaque::ffi_init(|slot: *mut bindings::completion| {
                // SAFETY: `slot` is memory for a completion, which does not move while pinned.
                unsafe { bindings::init_completion(slot) };
            }),
        })
    }

    /// The event has happened: releases all who wait and will wait. From any context.
    pub(crate) fn complete_all(&self) {
        // SAFETY: The completion is initialised since `new`.
        unsafe { bindings::complete_all(self.inner.get()) };
    }

    /// Waits until the event happens, for at most `limit`; `false` if it did not. Sleeps.
    pub(crate) fn wait_timeout(&self, limit: Msecs) -> bool {
        // SAFETY: The completion is initialised since `new`.
        unsafe {
            bindings::wait_for_completion_timeout(self.inner.get(), msecs_to_jiffies(limit)) != 0
        }
    }
}
