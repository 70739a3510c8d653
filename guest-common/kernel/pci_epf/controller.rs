// SPDX-License-Identifier: GPL-2.0

//! A controller whose driver is unbound while a function is linked to it.
//!
//! The PCI endpoint core frees the controller then, without a word to the function, which keeps a pointer to it. So
//! each function listens to the controllers' bus, and is unlinked in two steps, as `pci_epc_epf_unlink()` would do it:
//!
//! - before the driver goes (`BUS_NOTIFY_UNBIND_DRIVER`), while the controller works, all that the function set up is
//!   taken down ([`Private::controller_goes`]);
//! - when it is gone (`BUS_NOTIFY_UNBOUND_DRIVER`), and the controller's directory in configfs with it, so that nobody
//!   can be about to remove the link there, the core's own half is undone ([`Private::controller_gone`]).
//!
//! The function can be linked again when there is a controller. The old link stands in a directory that nobody finds
//! any more, and still counts as one: the function's own directory can never be removed, as with the stock drivers.

use core::ptr::NonNull;

use kernel::{
    bindings as kbindings, error::to_result, prelude::*, sync::atomic::Relaxed, types::Opaque,
};

use super::{Driver, Private};
use crate::bindings::{
    pci_epc, pci_epc_interface_type_PRIMARY_INTERFACE, pci_epc_remove_epf, pci_epf,
};

/// A controller that is about to go, or gone.
///
/// # Invariants
///
/// We have a reference to the device of `epc`, whose parent is or was `parent`.
pub(super) struct Gone {
    epc: NonNull<pci_epc>,
    parent: *const kbindings::device,
}

// SAFETY: A reference belongs to no thread.
unsafe impl Send for Gone {}

impl Drop for Gone {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { kbindings::put_device(&raw mut (*self.epc.as_ptr()).dev) };
    }
}

/// The function's lock, which its driver's operations are called with.
pub(super) struct Locked(NonNull<pci_epf>);

impl Locked {
    /// # Safety
    ///
    /// `epf` must be valid as long as the value.
    pub(super) unsafe fn new(epf: NonNull<pci_epf>) -> Self {
        // SAFETY: By the contract of this function.
        unsafe { kbindings::mutex_lock(&raw mut (*epf.as_ptr()).lock) };
        Self(epf)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // SAFETY: By the contract of `new`, which took the lock.
        unsafe { kbindings::mutex_unlock(&raw mut (*self.0.as_ptr()).lock) };
    }
}

/// Fails if nobody would tell us that the driver of the controller goes: with `EOPNOTSUPP` if it is not on the bus that
/// we listen to, and with `EAGAIN` if its driver is not bound yet, or not any more.
///
/// # Safety
///
/// `epc` must be valid, and a function that is being linked to it have its lock.
pub(super) unsafe fn will_tell(epc: NonNull<pci_epc>) -> Result {
    // SAFETY: A controller has a parent, which it holds a reference to. If the status is read too late, the driver core
    // is about to tell us, and waits for the function's lock.
    let (bus, status) = unsafe {
        let parent = (*epc.as_ptr()).dev.parent;
        let status = (&raw const (*parent).links.status).read_volatile();
        ((*parent).bus, status)
    };
    if !core::ptr::eq(bus, &raw const kbindings::platform_bus_type) {
        return Err(EOPNOTSUPP);
    }
    match status {
        kbindings::dl_dev_state_DL_DEV_DRIVER_BOUND => Ok(()),
        _ => Err(EAGAIN),
    }
}

/// Registers a function's notifier with the controllers' bus.
///
/// # Safety
///
/// `slot` must be the notifier in a `Private<T>` that is otherwise initialised, and stay until
/// [`stop_listening`].
pub(super) unsafe fn listen<T: Driver>(slot: *mut kbindings::notifier_block) -> Result {
    // SAFETY: By the contract of this function.
    to_result(unsafe {
        slot.write(kbindings::notifier_block {
            notifier_call: Some(notified::<T>),
            ..Default::default()
        });
        kbindings::bus_register_notifier(&raw const kbindings::platform_bus_type, slot)
    })
}

/// Undoes [`listen`], and waits for a notification that is under way.
///
/// # Safety
///
/// `block` must be registered by [`listen`].
pub(super) unsafe fn stop_listening(block: *mut kbindings::notifier_block) {
    // SAFETY: By the contract of this function. It cannot fail then.
    unsafe { kbindings::bus_unregister_notifier(&raw const kbindings::platform_bus_type, block) };
}

/// # Safety
///
/// Only for the bus to call, with a notifier that [`listen`] has registered and a device.
unsafe extern "C" fn notified<T: Driver>(
    block: *mut kbindings::notifier_block,
    event: c_ulong,
    device: *mut c_void,
) -> c_int {
    let device = device.cast_const().cast();
    // SAFETY: By the contracts of `listen` and of this function.
    let private = unsafe {
        let block = Opaque::cast_from(block.cast_const());
        &*kernel::container_of!(block, Private<T>, listener)
    };
    // CAST: There are few events.
    match event as kbindings::bus_notifier_event {
        kbindings::bus_notifier_event_BUS_NOTIFY_UNBIND_DRIVER => private.controller_goes(device),
        kbindings::bus_notifier_event_BUS_NOTIFY_UNBOUND_DRIVER => private.controller_gone(device),
        _ => {}
    }
    // CAST: 0.
    kbindings::NOTIFY_DONE as c_int
}

impl<T: Driver> Private<T> {
    /// The driver of `device` is about to be unbound. If that is the controller's, takes everything down.
    fn controller_goes(&self, device: *const kbindings::device) {
        // SAFETY: A function outlives what its driver keeps for it.
        let _locked = unsafe { Locked::new(self.epf) };
        let bound = {
            let mut bound = self.bound.lock();
            match bound
                .as_ref()
                .is_some_and(|bound| bound.attached.is_below(device))
            {
                true => bound.take(),
                false => None,
            }
        };
        let Some(bound) = bound else { return };
        let epc = bound.attached.0.epc;
        // SAFETY: The controller is valid: its driver is still bound.
        unsafe { kbindings::get_device(&raw mut (*epc.as_ptr()).dev) };
        // INVARIANT: Just taken.
        let gone = Gone {
            epc,
            parent: device,
        };
        let before = self.gone.lock().replace(gone);
        drop(before);
        bound.end();
        self.shared.attached.store(false, Relaxed);
    }

    /// The driver of `device` has been unbound. If that was the controller's, undoes what is left of the link.
    fn controller_gone(&self, device: *const kbindings::device) {
        let gone = {
            let mut gone = self.gone.lock();
            match gone
                .as_ref()
                .is_some_and(|gone| core::ptr::eq(gone.parent, device))
            {
                true => gone.take(),
                false => None,
            }
        };
        let Some(gone) = gone else { return };
        let epf = self.epf.as_ptr();
        // SAFETY: The function is valid, and so is the controller, by our reference. If the function still has it,
        // nobody has unlinked them, nor can anybody any more. The link had a reference to our module, which stays for
        // the rest of this call: to unload it one has to wait for the notifier.
        unsafe {
            if (*epf).epc != gone.epc.as_ptr() {
                return;
            }
            if (*epf).is_vf != 0 {
                (*epf).epc = core::ptr::null_mut();
                return;
            }
            pci_epc_remove_epf(
                gone.epc.as_ptr(),
                epf,
                pci_epc_interface_type_PRIMARY_INTERFACE,
            );
            kbindings::module_put((*(*epf).driver).owner.cast());
        }
    }
}
