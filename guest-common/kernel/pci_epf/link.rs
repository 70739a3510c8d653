// SPDX-License-Identifier: GPL-2.0

//! The link between a function and a controller, from its making to its end.
//!
//! It can end by the controller's end: when the driver of its device is unbound, the PCI endpoint core frees it without
//! a word to the function, which keeps a pointer. The driver core does tell: before it unbinds a device's driver it
//! unbinds those of the device's consumers, and waits for them (`device_link_add()`). So each link has a consumer of the
//! controller's device, a device on the faux bus that is called after the function ([`Watch`]), and when that is unbound
//! the function takes down all that it has set up ([`Private::controller_goes`]). No lock of a bus or of the PCI endpoint
//! core is held meanwhile.
//!
//! The function can be linked again when there is a controller. What the core does when a link is removed it has not
//! done, and does not do any more, since the link stood in the controller's directory in configfs, which is gone: the
//! next link makes up for that. The function's own directory still counts the old link, and cannot be removed, as with
//! stock drivers.

use core::ptr::{self, NonNull};

use kernel::{
    bindings as kbindings, device,
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc, Completion,
    },
};

use super::{Attached, Attachment, Bound, Driver, Private};
use crate::bindings::{pci_epc, pci_epf};

/// `DL_FLAG_AUTOREMOVE_CONSUMER`, of which bindgen makes nothing: the link goes when the consumer is unbound.
const AUTOREMOVE_CONSUMER: u32 = 1 << 1;

/// Hears that the driver of a controller's device is about to be unbound. Dropped, it does not, and has been heard.
///
/// To drop it one must not have the lock of what is bound, which the one who hears takes.
///
/// # Invariants
///
/// The pointer is a device on the faux bus, which is ours to destroy.
pub(super) struct Watch(NonNull<kbindings::faux_device>);

// SAFETY: A device belongs to no thread.
unsafe impl Send for Watch {}

impl Watch {
    /// Has `private` hear of the controller `epc`. Says as well whether it will: not if the driver of the controller's
    /// device is not bound, or is on its way.
    ///
    /// # Safety
    ///
    /// Function and controller must be valid, and `private` stay where it is until the value is dropped.
    pub(super) unsafe fn new<T: Driver>(
        private: &Private<T>,
        epc: NonNull<pci_epc>,
    ) -> Result<(Self, bool)> {
        // SAFETY: By the contract of this function. The name is copied, and the operations are static.
        let faux = unsafe {
            let function = &raw mut (*private.epf.as_ptr()).dev;
            let name = device::Device::<device::Normal>::from_raw(function).name();
            kbindings::faux_device_create(name.as_char_ptr(), ptr::null_mut(), &Private::<T>::WATCH)
        };
        // INVARIANT: Just made for us.
        let this = Self(NonNull::new(faux).ok_or(ENOMEM)?);
        // SAFETY: Both devices are valid. Nobody unbinds ours before it is linked.
        let hears = unsafe {
            let consumer = &raw mut (*faux).dev;
            kbindings::dev_set_drvdata(consumer, ptr::from_ref(private).cast_mut().cast());
            let supplier = (*epc.as_ptr()).dev.parent;
            let link = kbindings::device_link_add(consumer, supplier, AUTOREMOVE_CONSUMER);
            // The driver core changes the state once more if it is about to call us.
            !link.is_null()
                && (&raw const (*link).status).read_volatile()
                    == kbindings::device_link_state_DL_STATE_ACTIVE
        };
        Ok((this, hears))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. This waits for who hears.
        unsafe { kbindings::faux_device_destroy(self.0.as_ptr()) };
    }
}

/// A controller that has gone, without an end of the link on the core's side.
///
/// # Invariants
///
/// We have a reference to the device of `epc`.
pub(super) struct Gone {
    epc: NonNull<pci_epc>,
    // Heard of it, and cannot be destroyed while it does.
    _watch: Watch,
}

// SAFETY: A reference belongs to no thread.
unsafe impl Send for Gone {}

impl Drop for Gone {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { kbindings::put_device(&raw mut (*self.epc.as_ptr()).dev) };
    }
}

impl<T: Driver> Bound<T> {
    /// Takes down what the driver has set up, and waits until nobody uses the controller any more.
    fn end(self: KBox<Self>) {
        let released = self.attached.0.released.clone();
        drop(self);
        released.wait_for_completion();
    }
}

impl<T: Driver> Private<T> {
    /// The function `epf` is linked to a controller.
    ///
    /// # Safety
    ///
    /// The function must be ours, and the controller valid; only under the function's lock, by who links
    /// them.
    pub(super) unsafe fn link(&self, epf: *mut pci_epf, epc: NonNull<pci_epc>) -> Result {
        // SAFETY: By the contract of this function.
        unsafe { self.make_up(epf) };
        // Dropped after the lock that comes next.
        let watch;
        let mut bound = self.bound.lock();
        if bound.is_some() {
            // A secondary interface, which we have no use for. A failure would end the first link.
            return Ok(());
        }
        // SAFETY: By the contract of this function; the private data does not move, and drops the watch.
        let (one, hears) = unsafe { Watch::new(self, epc) }?;
        watch = one;
        if !hears {
            return Err(EAGAIN);
        }

        let released = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
        // INVARIANT: Whoever ends the link waits for `released` first (`Bound::end`), and so does the error
        // path below; before the controller's parent is unbound, the watch sees to that.
        let attachment = Attachment {
            epf: self.epf,
            epc,
            bars_taken: Atomic::new(0),
            released: released.clone(),
        };
        let attached = Attached(Arc::new(attachment, GFP_KERNEL)?);
        self.shared.attached.store(true, Relaxed);
        let make = || {
            let bound = Bound {
                _driver: T::bind(&attached, &self.shared.config)?,
                attached: attached.clone(),
            };
            Ok(KBox::new(bound, GFP_KERNEL)?)
        };
        match make() {
            Ok(ours) => {
                *bound = Some((ours, watch));
                Ok(())
            }
            Err(error) => {
                drop(attached);
                released.wait_for_completion();
                self.shared.attached.store(false, Relaxed);
                Err(error)
            }
        }
    }

    /// Ends the link, if there is one.
    pub(super) fn unlink(&self) {
        let watch = {
            let mut bound = self.bound.lock();
            let Some((ours, watch)) = bound.take() else {
                return;
            };
            ours.end();
            watch
        };
        self.shared.attached.store(false, Relaxed);
        drop(watch);
    }

    const WATCH: kbindings::faux_device_ops = kbindings::faux_device_ops {
        probe: None,
        remove: Some(Self::unbound_callback),
    };

    /// # Safety
    ///
    /// Only for the faux bus to call, with the device of a [`Watch`].
    unsafe extern "C" fn unbound_callback(faux: *mut kbindings::faux_device) {
        // SAFETY: By the contract of this function: `Watch::new` set the data, which stays as long as the watch.
        let private = unsafe {
            let data = kbindings::dev_get_drvdata(&raw const (*faux).dev);
            &*data.cast_const().cast::<Self>()
        };
        private.controller_goes(faux);
    }

    /// The watch `faux` is unbound. If it is that of the link, its controller goes: takes everything down.
    fn controller_goes(&self, faux: *mut kbindings::faux_device) {
        let mut bound = self.bound.lock();
        if !matches!(&*bound, Some((_, watch)) if watch.0.as_ptr() == faux) {
            return;
        }
        let Some((ours, watch)) = bound.take() else {
            return;
        };
        let epc = ours.attached.0.epc;
        // SAFETY: The controller is valid: the driver of its device is still bound.
        unsafe { kbindings::get_device(&raw mut (*epc.as_ptr()).dev) };
        ours.end();
        // SAFETY: The function is valid, and nobody of ours has the controller any more. The pointer is all that would
        // keep the function from being linked again. It stays in the controller's list, which is not looked at again,
        // in case that somebody has just begun to remove the link and takes it off.
        unsafe { (*self.epf.as_ptr()).epc = ptr::null_mut() };
        self.shared.attached.store(false, Relaxed);
        // INVARIANT: The reference is from above.
        let gone = Gone { epc, _watch: watch };
        let before = self.gone.lock().replace(gone);
        debug_assert!(before.is_none());
    }

    /// The function is being linked anew: ends what the core has not of the link before, if its controller has gone.
    ///
    /// # Safety
    ///
    /// Only under the function's lock, by who links it.
    unsafe fn make_up(&self, epf: *mut pci_epf) {
        let gone = self.gone.lock().take();
        if gone.is_some() {
            // SAFETY: The function has a driver, ours. That link had a reference to the module, and so has the new one.
            unsafe { kbindings::module_put((*(*epf).driver).owner.cast()) };
        }
    }
}
