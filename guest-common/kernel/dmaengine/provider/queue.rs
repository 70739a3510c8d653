// SPDX-License-Identifier: GPL-2.0

//! A channel and what waits in it.

use core::{
    cell::UnsafeCell,
    marker::{PhantomData, PhantomPinned},
    ptr::{self, NonNull},
};

use kernel::{
    bindings as kbindings,
    prelude::*,
    sync::atomic::{Atomic, Relaxed},
    types::{NotThreadSafe, Opaque},
};

use super::{
    failures::{self, Failures},
    Driver, Engine, Outcome, Raw,
};
use crate::bindings;

/// A channel of an engine.
///
/// # Invariants
///
/// `vc` is initialised as soon as its engine's registration is known to anybody, and is one of the
/// channels of a `dma_device` that is in an [`Engine<D>`]. Its lists have descriptors that are in a
/// [`Descriptor<D>`] each, which the list owns.
#[pin_data(PinnedDrop)]
pub(crate) struct Channel<D: Driver> {
    #[pin]
    vc: Opaque<bindings::virt_dma_chan>,
    number: u32,
    content: UnsafeCell<Content<D>>,
    /// We have a reference to its device.
    named: Atomic<bool>,
    #[pin]
    _pin: PhantomPinned,
}

/// What the channel's lock guards.
struct Content<D: Driver> {
    state: D::Channel,
    failures: Failures,
}

// SAFETY: A channel belongs to no thread.
unsafe impl<D: Driver> Send for Channel<D> {}
// SAFETY: Whatever is in it is guarded by its lock.
unsafe impl<D: Driver> Sync for Channel<D> {}

impl<D: Driver> Channel<D> {
    pub(super) fn new(number: u32, state: D::Channel) -> impl PinInit<Self> {
        pin_init!(Self {
            vc: Opaque::zeroed(),
            number,
            content: UnsafeCell::new(Content {
                state,
                failures: Failures::new(),
            }),
            named: Atomic::new(false),
            _pin: PhantomPinned,
        })
    }

    /// Makes it a channel of `dma`.
    ///
    /// # Safety
    ///
    /// Once, before anybody else sees it; the channels of `dma` have a list, and the channel lives as
    /// long as `dma`, which is in an [`Engine<D>`].
    pub(super) unsafe fn init(&self, dma: *mut bindings::dma_device) {
        let vc = self.vc.get();
        // SAFETY: By the contract of this function.
        unsafe {
            (*vc).desc_free = Some(Descriptor::<D>::free);
            bindings::vchan_init(vc, dma);
        }
    }

    /// The channel around the C side's.
    ///
    /// # Safety
    ///
    /// `chan` must be a channel of an [`Engine<D>`] that lives as long as the borrow.
    pub(super) unsafe fn from_raw<'a>(chan: *mut bindings::dma_chan) -> &'a Self {
        // SAFETY: By the type invariant and the contract of this function.
        unsafe {
            let vc = kernel::container_of!(chan, bindings::virt_dma_chan, chan);
            &*kernel::container_of!(Opaque::cast_from(vc.cast_const()), Self, vc)
        }
    }

    pub(super) fn as_raw(&self) -> *mut bindings::virt_dma_chan {
        self.vc.get()
    }

    /// The C side's channel.
    pub(super) fn chan(&self) -> *mut bindings::dma_chan {
        // SAFETY: Only a place is computed.
        unsafe { &raw mut (*self.vc.get()).chan }
    }

    /// The engine that this is a channel of.
    pub(super) fn engine(&self) -> &Engine<D> {
        // SAFETY: By the type invariant, which also says that the engine lives as long.
        unsafe {
            let dma = (*self.chan()).device;
            &*kernel::container_of!(Opaque::cast_from(dma.cast_const()), Engine<D>, dma)
        }
    }

    /// Keeps the channel's device, and with it its name, as long as the engine: clients may look at
    /// it until they release the channel, which can be after the engine is unregistered.
    pub(super) fn keep_name(&self) {
        // SAFETY: A channel that was registered has a device.
        unsafe { kbindings::get_device(&raw mut (*(*self.chan()).dev).device) };
        self.named.store(true, Relaxed);
    }

    /// The channel's number, from 0.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// The driver of the channel's engine.
    pub(crate) fn driver(&self) -> &D {
        self.engine().driver()
    }

    /// Locks the channel, with interrupts off.
    pub(crate) fn lock(&self) -> Queue<'_, D> {
        // SAFETY: The channel is initialised.
        let flags = unsafe { bindings::rust_helper_vchan_lock(self.vc.get()) };
        Queue {
            channel: self,
            flags,
            _not_send: NotThreadSafe,
        }
    }
}

#[pinned_drop]
impl<D: Driver> PinnedDrop for Channel<D> {
    fn drop(self: Pin<&mut Self>) {
        if self.named.load(Relaxed) {
            // SAFETY: The reference is that of `keep_name`.
            unsafe { kbindings::put_device(&raw mut (*(*self.chan()).dev).device) };
        }
    }
}

/// A channel that is locked.
pub(crate) struct Queue<'a, D: Driver> {
    channel: &'a Channel<D>,
    flags: c_ulong,
    _not_send: NotThreadSafe,
}

impl<'a, D: Driver> Queue<'a, D> {
    /// The channel.
    pub(crate) fn channel(&self) -> &'a Channel<D> {
        self.channel
    }

    fn content(&mut self) -> &mut Content<D> {
        // SAFETY: The lock is ours as long as this value, which is borrowed exclusively.
        unsafe { &mut *self.channel.content.get() }
    }

    /// What the driver keeps of the channel.
    pub(crate) fn state(&mut self) -> &mut D::Channel {
        &mut self.content().state
    }

    /// What the driver keeps of the channel, and of the transfers that were issued and have not
    /// ended, in their order.
    pub(crate) fn parts(&mut self) -> (&mut D::Channel, Issued<'_, D>) {
        let vc = self.channel.vc.get();
        let issued = Issued {
            vc,
            last: ptr::null_mut(),
            _queue: PhantomData,
        };
        (&mut self.content().state, issued)
    }

    /// Whether something was issued and has not ended.
    pub(crate) fn has_issued(&self) -> bool {
        self.first().is_some()
    }

    fn first(&self) -> Option<Raw> {
        // SAFETY: We have the lock.
        NonNull::new(unsafe {
            bindings::rust_helper_vchan_issued_after(self.channel.vc.get(), ptr::null_mut())
        })
    }

    /// The first transfer that was issued and has not ended has now, with `residue` bytes left. Its
    /// callback runs later.
    pub(crate) fn finish_first(&mut self, outcome: Outcome, residue: u32) {
        let Some(first) = self.first() else { return };
        // SAFETY: The descriptor is in a list of ours, and we have the lock.
        let cookie = unsafe { (*first.as_ptr()).tx.cookie };
        match outcome {
            Outcome::Complete => self.content().failures.ended(cookie),
            _ => self.content().failures.add(cookie, cookie),
        }
        // SAFETY: As above; nobody has borrowed the transfer.
        unsafe { bindings::rust_helper_vchan_complete(first.as_ptr(), outcome.as_raw(), residue) };
    }

    /// A period of the first transfer, which is a cycle, is over.
    pub(crate) fn period_over(&mut self) {
        if let Some(first) = self.first() {
            // SAFETY: The descriptor is in a list of ours, and we have the lock.
            unsafe { bindings::rust_helper_vchan_cyclic_callback(first.as_ptr()) };
        }
    }

    pub(super) fn issue_pending(&mut self) -> bool {
        // SAFETY: We have the lock.
        unsafe { bindings::rust_helper_vchan_issue_pending(self.channel.vc.get()) }
    }

    /// Ends all that was submitted, as failures without a callback.
    pub(super) fn terminate(&mut self) {
        let chan = self.channel.chan();
        // SAFETY: The cookies are guarded by the lock that we have.
        let (ended, given) = unsafe { ((*chan).completed_cookie, (*chan).cookie) };
        if ended != given {
            self.content().failures.add(failures::next(ended), given);
        }
        // SAFETY: We have the lock.
        unsafe { bindings::rust_helper_vchan_terminate(self.channel.vc.get()) };
    }

    /// Whether a transfer that ended is one that failed.
    pub(super) fn failed(&mut self, cookie: bindings::dma_cookie_t) -> bool {
        self.content().failures.contains(cookie)
    }

    /// Bytes left of the transfer with `cookie`, if it was submitted and has not ended.
    pub(super) fn residue(&mut self, cookie: bindings::dma_cookie_t) -> Option<u32> {
        // SAFETY: We have the lock.
        let raw = unsafe { bindings::rust_helper_vchan_find(self.channel.vc.get(), cookie) };
        let raw = NonNull::new(raw)?;
        // SAFETY: By the type invariant of the channel; we have the lock, and borrow no transfer.
        let transfer = unsafe { &*(*Descriptor::<D>::from_raw(raw)).transfer.get() };
        Some(D::residue(&self.content().state, transfer))
    }
}

impl<D: Driver> Drop for Queue<'_, D> {
    fn drop(&mut self) {
        // SAFETY: We have the lock, and `flags` came with it.
        unsafe { bindings::rust_helper_vchan_unlock(self.channel.vc.get(), self.flags) };
    }
}

/// Goes through issued transfers.
pub(crate) struct Issued<'a, D: Driver> {
    vc: *mut bindings::virt_dma_chan,
    last: *mut bindings::virt_dma_desc,
    _queue: PhantomData<&'a mut D::Transfer>,
}

impl<'a, D: Driver> Iterator for Issued<'a, D> {
    type Item = &'a mut D::Transfer;

    fn next(&mut self) -> Option<Self::Item> {
        // SAFETY: The queue that is borrowed has the lock, and changes no list meanwhile.
        let next = unsafe { bindings::rust_helper_vchan_issued_after(self.vc, self.last) };
        let raw = NonNull::new(next)?;
        self.last = next;
        // SAFETY: By the type invariant of the channel. Each descriptor is given out once, and the
        // queue that guards them is borrowed exclusively.
        Some(unsafe { &mut *(*Descriptor::<D>::from_raw(raw)).transfer.get() })
    }
}

/// A transfer, as the C side has it and as the driver has it.
pub(super) struct Descriptor<D: Driver> {
    vd: Opaque<bindings::virt_dma_desc>,
    transfer: UnsafeCell<D::Transfer>,
}

impl<D: Driver> Descriptor<D> {
    /// Gives a transfer to the channel, which hands it to the client; null without memory.
    pub(super) fn prepare(
        channel: &Channel<D>,
        transfer: D::Transfer,
        flags: c_ulong,
    ) -> *mut bindings::dma_async_tx_descriptor {
        let descriptor = KBox::new(
            Self {
                vd: Opaque::new(pin_init::zeroed()),
                transfer: UnsafeCell::new(transfer),
            },
            GFP_NOWAIT,
        );
        let Ok(descriptor) = descriptor else {
            return ptr::null_mut();
        };
        let raw = KBox::into_raw(descriptor);
        // SAFETY: The descriptor is valid and does not move; the list that it is put into owns it.
        unsafe { bindings::rust_helper_vchan_tx_prep(channel.as_raw(), (*raw).vd.get(), flags) }
    }

    /// # Safety
    ///
    /// `raw` must be a descriptor of a [`Channel<D>`].
    unsafe fn from_raw(raw: Raw) -> *mut Self {
        // SAFETY: By the type invariant of the channel.
        unsafe {
            let vd = Opaque::cast_from(raw.as_ptr().cast_const());
            kernel::container_of!(vd, Self, vd).cast_mut()
        }
    }

    extern "C" fn free(raw: *mut bindings::virt_dma_desc) {
        if let Some(raw) = NonNull::new(raw) {
            // SAFETY: The C side frees a descriptor of a channel of ours, which is in no list any
            // more, once.
            drop(unsafe { KBox::from_raw(Self::from_raw(raw)) });
        }
    }
}
