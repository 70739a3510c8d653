// SPDX-License-Identifier: GPL-2.0

//! What `kernel::workqueue` of Linux 7.3 lacks: taking work back, and queues of one's own.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use core::ops::Deref;
use core::ptr::NonNull;

use kernel::{
    bindings,
    prelude::*,
    sync::Arc,
    workqueue::{HasDelayedWork, HasWork, Queue, Work, WorkItem},
};

/// Takes work back that is queued or queues itself again, waits for it if it runs, and keeps it from
/// being queued ever after.
pub(crate) fn disable_sync<T, const ID: u64>(item: &Arc<T>)
where
    T: HasWork<T, ID> + WorkItem<ID, Pointer = Arc<T>>,
{
    // SAFETY: The item is valid, so its work is.
    let pending = unsafe {
        let work = T::raw_get_work(Arc::as_ptr(item).cast_mut());
        bindings::disable_work_sync(Work::raw_get(work))
    };
    if pending {
        // SAFETY: The queue had taken over a reference, and did not get to use it.
        drop(unsafe { Arc::from_raw(Arc::as_ptr(item)) });
    }
}

/// As [`disable_sync`], for work that can be delayed.
pub(crate) fn disable_delayed_sync<T, const ID: u64>(item: &Arc<T>)
where
    T: HasDelayedWork<T, ID> + WorkItem<ID, Pointer = Arc<T>>,
{
    // SAFETY: The item is valid, and by `HasDelayedWork` its work is that of a `delayed_work`.
    let pending = unsafe {
        let work = Work::raw_get(T::raw_get_work(Arc::as_ptr(item).cast_mut()));
        let delayed = kernel::container_of!(work, bindings::delayed_work, work);
        bindings::disable_delayed_work_sync(delayed)
    };
    if pending {
        // SAFETY: The queue had taken over a reference, and did not get to use it.
        drop(unsafe { Arc::from_raw(Arc::as_ptr(item)) });
    }
}

/// Takes work back that is queued for later, so that it can be queued for sooner; does not wait for it
/// if it runs, nor sleep.
#[allow(dead_code)] // few have several reasons to come
pub(crate) fn cancel_delayed<T, const ID: u64>(item: &Arc<T>)
where
    T: HasDelayedWork<T, ID> + WorkItem<ID, Pointer = Arc<T>>,
{
    // SAFETY: The item is valid, and by `HasDelayedWork` its work is that of a `delayed_work`.
    let pending = unsafe {
        let work = Work::raw_get(T::raw_get_work(Arc::as_ptr(item).cast_mut()));
        let delayed = kernel::container_of!(work, bindings::delayed_work, work);
        bindings::cancel_delayed_work(delayed)
    };
    if pending {
        // SAFETY: The queue had taken over a reference, and did not get to use it.
        drop(unsafe { Arc::from_raw(Arc::as_ptr(item)) });
    }
}

/// The kernel's own queue for work that may run on any CPU (`system_dfl_wq`); those that
/// `kernel::workqueue` of Linux 7.3 offers are deprecated.
#[allow(dead_code)] // for those who have not enough of it for an own one
pub(crate) fn any_cpu() -> &'static Queue {
    // SAFETY: The queue is made when the kernel starts, and is there for ever.
    unsafe { Queue::from_raw(bindings::system_dfl_wq) }
}

/// A queue of the driver's own. Dropped, it has run what it was given.
///
/// # Invariants
///
/// The queue is valid, and ours.
pub(crate) struct OwnQueue(NonNull<bindings::workqueue_struct>);

// SAFETY: A queue belongs to no thread.
unsafe impl Send for OwnQueue {}
// SAFETY: A queue locks itself.
unsafe impl Sync for OwnQueue {}

impl OwnQueue {
    /// A queue that works on the CPU that fills it, before others, and under memory pressure
    /// (`WQ_HIGHPRI | WQ_MEM_RECLAIM | WQ_PERCPU`).
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        let flags = bindings::wq_flags_WQ_MEM_RECLAIM
            | bindings::wq_flags_WQ_HIGHPRI
            | bindings::wq_flags_WQ_PERCPU;
        // SAFETY: The format takes one string, which follows the number of concurrent items.
        let queue = unsafe {
            bindings::alloc_workqueue_noprof(c"%s".as_char_ptr(), flags, 0, name.as_char_ptr())
        };
        // INVARIANT: Just allocated.
        NonNull::new(queue).map(Self).ok_or(ENOMEM)
    }
}

impl Deref for OwnQueue {
    type Target = Queue;

    fn deref(&self) -> &Queue {
        // SAFETY: By the type invariant.
        unsafe { Queue::from_raw(self.0.as_ptr()) }
    }
}

impl Drop for OwnQueue {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; this drains the queue.
        unsafe { bindings::destroy_workqueue(self.0.as_ptr()) };
    }
}
