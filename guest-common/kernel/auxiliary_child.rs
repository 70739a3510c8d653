// SPDX-License-Identifier: GPL-2.0

//! Devices on the auxiliary bus that a driver makes for another driver, with properties, which
//! `kernel::auxiliary::Registration` of Linux 7.3 lacks.
//!
//! C headers: [`include/linux/auxiliary_bus.h`](srctree/include/linux/auxiliary_bus.h),
//! [`include/linux/property.h`](srctree/include/linux/property.h)
//!
//! A module mounts this file as `mod auxiliary_child` and `completion.rs` as `mod completion`.

use core::ptr;

use kernel::{
    bindings,
    device::{self, Bound},
    devres::Devres,
    error::to_result,
    prelude::*,
    time::Msecs,
    types::Opaque,
};

use crate::completion::Completion;

/// How long to wait for the last reference to a child before a line says so, in milliseconds.
const PATIENCE: Msecs = 10_000;

/// A property of 32 bits and its value.
pub(crate) type Property = (&'static CStr, u32);

/// The device, as the bus has it.
#[pin_data]
struct Inner {
    #[pin]
    device: Opaque<bindings::auxiliary_device>,
    #[pin]
    released: Completion,
}

/// A child of a device, which goes before the parent is unbound ([`Devres`]). Dropped, its driver is unbound and it is
/// gone.
///
/// # Invariants
///
/// The device of `inner` is initialised and on its bus, and this value has the reference to it that
/// initialisation gave.
pub(crate) struct Child {
    inner: Pin<KBox<Inner>>,
}

// SAFETY: A device belongs to no thread.
unsafe impl Send for Child {}
// SAFETY: There is nothing to do with it but to drop it.
unsafe impl Sync for Child {}

impl Child {
    /// Makes the child `module.name.id` of `parent`; its driver, if it is there, probes meanwhile.
    ///
    /// What it uses of the parent, such as interrupt vectors, the caller keeps until the child is dropped.
    pub(crate) fn new(
        parent: &device::Device<Bound>,
        module: &'static CStr,
        name: &'static CStr,
        id: u32,
        properties: &[Property],
    ) -> Result<Devres<Self>> {
        Devres::new(parent, Self::add(parent, module, name, id, properties))
    }

    fn add(
        parent: &device::Device<Bound>,
        module: &'static CStr,
        name: &'static CStr,
        id: u32,
        properties: &[Property],
    ) -> Result<Self> {
        // The last one, all zeroes, ends the list.
        let mut entries: KVec<bindings::property_entry> =
            KVec::with_capacity(properties.len() + 1, GFP_KERNEL)?;
        for &(name, value) in properties {
            entries.push(entry(name, value), GFP_KERNEL)?;
        }
        entries.push(bindings::property_entry::default(), GFP_KERNEL)?;

        let inner = KBox::pin_init(
            pin_init!(Inner {
                device: Opaque::zeroed(),
                released <- Completion::new(),
            }),
            GFP_KERNEL,
        )?;
        let device = inner.device.get();
        // SAFETY: Nobody else looks at the device yet.
        // CAST: `device::Device` is a `#[repr(transparent)]` wrapper of `struct device`.
        unsafe {
            (*device).dev.parent = ptr::from_ref(parent).cast_mut().cast();
            (*device).dev.release = Some(Inner::released);
            (*device).name = name.as_char_ptr();
            (*device).id = id;
        }
        // SAFETY: The device has what it needs, is pinned, and stays until its release.
        to_result(unsafe { bindings::auxiliary_device_init(device) })?;

        let add = || -> Result {
            // SAFETY: The device is initialised. The entries, whose names are static, are copied.
            to_result(unsafe {
                bindings::device_create_managed_software_node(
                    &raw mut (*device).dev,
                    entries.as_ptr(),
                    ptr::null(),
                )
            })?;
            // SAFETY: As above.
            to_result(unsafe { bindings::__auxiliary_device_add(device, module.as_char_ptr()) })
                .inspect_err(|_| {
                    // SAFETY: Only a device that is on its bus takes its node away itself.
                    unsafe { bindings::device_remove_software_node(&raw mut (*device).dev) };
                })
        };
        match add() {
            // INVARIANT: Just added.
            Ok(()) => Ok(Self { inner }),
            Err(error) => {
                inner.put();
                Err(error)
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. This unbinds the driver.
        unsafe { bindings::auxiliary_device_delete(self.inner.device.get()) };
        self.inner.put();
    }
}

impl Inner {
    /// Gives the reference of the initialisation back, and waits for all others: the memory is ours,
    /// and so is the code that the last one runs.
    fn put(&self) {
        // SAFETY: The device is initialised, and its first reference is ours.
        unsafe { bindings::auxiliary_device_uninit(self.device.get()) };
        while !self.released.wait_timeout(PATIENCE) {
            pr_err!("an auxiliary device is still in use: waiting for who has it to let go\n");
        }
    }

    extern "C" fn released(device: *mut bindings::device) {
        // SAFETY: The function is the release of no other device than the one in an `Inner`, which
        // stays until this has happened.
        let inner = unsafe {
            let device = kernel::container_of!(device, bindings::auxiliary_device, dev);
            &*kernel::container_of!(Opaque::cast_from(device.cast_const()), Self, device)
        };
        inner.released.complete_all();
    }
}

/// As `PROPERTY_ENTRY_U32`.
fn entry(name: &'static CStr, value: u32) -> bindings::property_entry {
    let mut entry = bindings::property_entry {
        name: name.as_char_ptr(),
        length: size_of::<u32>(),
        is_inline: true,
        type_: bindings::dev_prop_type_DEV_PROP_U32,
        ..Default::default()
    };
    entry.__bindgen_anon_1.value.u32_data = [value, 0];
    entry
}
