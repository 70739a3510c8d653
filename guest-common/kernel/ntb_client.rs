// SPDX-License-Identifier: GPL-2.0

//! Non-transparent bridges: the side that uses one.
//!
//! C header: [`include/linux/ntb.h`](srctree/include/linux/ntb.h)
//!
//! A [`Client`] is probed for every bridge that has none, keeps a [`Bridge`] to work with, and hears
//! its events. Bridges have one peer here.
//!
//! Stands on `bindings.rs` with `linux/ntb.h` and the helpers `ntb`.

use core::{marker::PhantomData, mem, ptr, ptr::NonNull};

use kernel::{
    device, driver,
    error::{from_result, to_result},
    prelude::*,
    sync::aref::{ARef, AlwaysRefCounted},
    types::{ForeignOwnable, Opaque},
    ThisModule,
};

use crate::bindings::{self, ntb_client, ntb_ctx_ops, ntb_dev};

/// The only peer (`NTB_DEF_PEER_IDX`).
const PEER: c_int = 0;

/// A client of bridges.
pub(crate) trait Client: Send + Sync + Sized + 'static {
    /// A bridge was found: makes what the client keeps for it. No event arrives before that is done.
    fn probe(bridge: &ARef<Bridge>) -> impl PinInit<Self, Error>;

    /// Events arrive from now on. May sleep; an error undoes the probe, after [`Client::stop`].
    fn start(&self) -> Result {
        Ok(())
    }

    /// No event arrives any more, and the bridge is about to go. May sleep.
    fn stop(&self) {}

    /// The link has changed. Atomic.
    fn link_event(&self) {}

    /// A doorbell of this vector was rung. Atomic.
    fn db_event(&self, vector: u32) {
        let _ = vector;
    }
}

/// A bridge (`struct ntb_dev`). A provider that takes its bridge away waits for the last reference.
///
/// # Invariants
///
/// Always a valid bridge that its provider has registered, and not finished to unregister.
#[repr(transparent)]
pub(crate) struct Bridge(Opaque<ntb_dev>);

// SAFETY: A bridge belongs to no thread, and is counted by its device.
unsafe impl Send for Bridge {}
// SAFETY: Providers lock what needs a lock.
unsafe impl Sync for Bridge {}

// SAFETY: A bridge is counted by its device, and `ntb_unregister_device()` waits for its release.
unsafe impl AlwaysRefCounted for Bridge {
    fn inc_ref(&self) {
        // SAFETY: A shared reference means that the count is not zero.
        unsafe { kernel::bindings::get_device(&raw mut (*self.0.get()).dev) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller owns a reference, by the contract of this function.
        unsafe { kernel::bindings::put_device(&raw mut (*obj.cast::<ntb_dev>().as_ptr()).dev) };
    }
}

impl AsRef<device::Device> for Bridge {
    fn as_ref(&self) -> &device::Device {
        // SAFETY: By the type invariant.
        unsafe { device::Device::from_raw(&raw mut (*self.0.get()).dev) }
    }
}

/// A count, or an error.
fn counted(ret: c_int) -> Result<u32> {
    to_result(ret)?;
    Ok(u32::try_from(ret)?)
}

#[allow(dead_code)] // each client has its own use
impl Bridge {
    fn raw(&self) -> *mut ntb_dev {
        self.0.get()
    }

    /// The device to map memory for that the peer is to reach.
    pub(crate) fn dma_device(&self) -> &device::Device<device::Bound> {
        // SAFETY: By the type invariant. The driver of that device registered the bridge, or that of
        // a device below it: it unregisters the bridge before it is unbound.
        unsafe { device::Device::from_raw(bindings::rust_helper_ntb_get_dma_dev(self.raw())) }
    }

    /// The name of the PCI device that carries the bridge, such as `0000:01:00.0`.
    pub(crate) fn pci_name(&self) -> &CStr {
        // SAFETY: By the type invariant; a bridge has a PCI device.
        let pdev: &device::Device =
            unsafe { device::Device::from_raw(&raw mut (*(*self.raw()).pdev).dev) };
        pdev.name()
    }

    /// Number of our port.
    pub(crate) fn port(&self) -> Result<u32> {
        // SAFETY: By the type invariant; so for all calls below.
        counted(unsafe { bindings::rust_helper_ntb_port_number(self.raw()) })
    }

    /// Whether the link is up. Atomic.
    pub(crate) fn link_is_up(&self) -> bool {
        // SAFETY: As above.
        unsafe { bindings::rust_helper_ntb_link_is_up(self.raw()) & 1 << PEER != 0 }
    }

    /// Asks for the link.
    pub(crate) fn link_enable(&self) -> Result {
        // SAFETY: As above.
        to_result(unsafe { bindings::rust_helper_ntb_link_enable(self.raw()) })
    }

    /// Gives the link up.
    pub(crate) fn link_disable(&self) -> Result {
        // SAFETY: As above.
        to_result(unsafe { bindings::rust_helper_ntb_link_disable(self.raw()) })
    }

    /// Doorbells that there are, a bit for each.
    pub(crate) fn db_valid_mask(&self) -> u64 {
        // SAFETY: As above.
        unsafe { bindings::rust_helper_ntb_db_valid_mask(self.raw()) }
    }

    /// Doorbells that have been rung. Atomic.
    pub(crate) fn db_read(&self) -> u64 {
        // SAFETY: As above.
        unsafe { bindings::rust_helper_ntb_db_read(self.raw()) }
    }

    /// Forgets doorbells. Atomic.
    pub(crate) fn db_clear(&self, bits: u64) -> Result {
        // SAFETY: As above.
        to_result(unsafe { bindings::rust_helper_ntb_db_clear(self.raw(), bits) })
    }

    /// Lets doorbells interrupt us. Atomic.
    pub(crate) fn db_clear_mask(&self, bits: u64) -> Result {
        // SAFETY: As above.
        to_result(unsafe { bindings::rust_helper_ntb_db_clear_mask(self.raw(), bits) })
    }

    /// Rings the peer. Atomic.
    pub(crate) fn peer_db_set(&self, bits: u64) -> Result {
        // SAFETY: As above.
        to_result(unsafe { bindings::rust_helper_ntb_peer_db_set(self.raw(), bits) })
    }

    /// Scratchpads of each side.
    pub(crate) fn spad_count(&self) -> Result<u32> {
        // SAFETY: As above.
        counted(unsafe { bindings::rust_helper_ntb_spad_count(self.raw()) })
    }

    /// Reads our scratchpad; all ones if there is none. Atomic.
    pub(crate) fn spad_read(&self, spad: u32) -> u32 {
        match c_int::try_from(spad) {
            // SAFETY: As above.
            Ok(spad) => unsafe { bindings::rust_helper_ntb_spad_read(self.raw(), spad) },
            Err(_) => !0,
        }
    }

    /// Writes our scratchpad. Atomic.
    pub(crate) fn spad_write(&self, spad: u32, value: u32) -> Result {
        let spad = c_int::try_from(spad)?;
        // SAFETY: As above.
        to_result(unsafe { bindings::rust_helper_ntb_spad_write(self.raw(), spad, value) })
    }

    /// Reads the peer's scratchpad; all ones if there is none. Atomic.
    pub(crate) fn peer_spad_read(&self, spad: u32) -> u32 {
        match c_int::try_from(spad) {
            // SAFETY: As above.
            Ok(spad) => unsafe { bindings::rust_helper_ntb_peer_spad_read(self.raw(), PEER, spad) },
            Err(_) => !0,
        }
    }

    /// Writes the peer's scratchpad. Atomic.
    pub(crate) fn peer_spad_write(&self, spad: u32, value: u32) -> Result {
        let spad = c_int::try_from(spad)?;
        // SAFETY: As above.
        to_result(unsafe {
            bindings::rust_helper_ntb_peer_spad_write(self.raw(), PEER, spad, value)
        })
    }
}

/// An adapter for the registration of clients.
pub(crate) struct Adapter<T: Client>(PhantomData<T>);

// SAFETY:
// - `ntb_client` is a C type declared as `repr(C)`.
// - `T` is what `probe_callback` stores, and `remove_callback` takes away again: the NTB core clears the
//   driver that it is given, and with it the callback by which the driver core would drop the data.
// - `DEVICE_DRIVER_OFFSET` is the offset of the embedded `struct device_driver`.
unsafe impl<T: Client> driver::DriverLayout for Adapter<T> {
    type DriverType = ntb_client;
    type DriverData<'bound> = T;
    const DEVICE_DRIVER_OFFSET: usize = mem::offset_of!(ntb_client, drv);
}

// SAFETY: `unregister` undoes a successful `register`.
unsafe impl<T: Client> driver::RegistrationOps for Adapter<T> {
    unsafe fn register(
        client: &Opaque<ntb_client>,
        name: &'static CStr,
        module: &'static ThisModule,
    ) -> Result {
        // SAFETY: The client is not registered yet, so nobody else looks at it. It stays where it
        // is until `unregister`.
        unsafe {
            let client = client.get();
            (*client).ops = bindings::ntb_client_ops {
                probe: Some(Self::probe_callback),
                remove: Some(Self::remove_callback),
            };
            to_result(bindings::__ntb_register_client(
                client,
                module.as_ptr(),
                name.as_char_ptr(),
            ))
        }
    }

    unsafe fn unregister(client: &Opaque<ntb_client>) {
        // SAFETY: By the caller's promise the client is registered.
        unsafe { bindings::ntb_unregister_client(client.get()) };
    }
}

impl<T: Client> Adapter<T> {
    const EVENTS: ntb_ctx_ops = ntb_ctx_ops {
        link_event: Some(Self::link_event),
        db_event: Some(Self::db_event),
        msg_event: None,
    };

    extern "C" fn probe_callback(_client: *mut ntb_client, ntb: *mut ntb_dev) -> c_int {
        from_result(|| {
            let bridge = NonNull::new(ntb.cast::<Bridge>()).ok_or(EINVAL)?;
            // SAFETY: The core probes with a valid bridge, which we take a reference to.
            let bridge: ARef<Bridge> = unsafe { bridge.as_ref() }.into();
            let data = KBox::pin_init(T::probe(&bridge), GFP_KERNEL)?;
            // SAFETY: The data does not move, and outlives the context, which `ntb_clear_ctx()`
            // ends. The events fit the data.
            to_result(unsafe {
                let context = ptr::from_ref(&*data).cast_mut().cast();
                bindings::ntb_set_ctx(ntb, context, &Self::EVENTS)
            })?;
            data.start().inspect_err(|_| {
                // SAFETY: The context is ours.
                unsafe { bindings::ntb_clear_ctx(ntb) };
                // Events may have begun something.
                data.stop();
            })?;
            // SAFETY: The device is valid, and its driver's data is ours to set.
            unsafe {
                let dev = &raw mut (*ntb).dev;
                kernel::bindings::dev_set_drvdata(dev, data.into_foreign().cast());
            }
            Ok(0)
        })
    }

    extern "C" fn remove_callback(_client: *mut ntb_client, ntb: *mut ntb_dev) {
        // SAFETY: The context is ours; from here on no event runs.
        unsafe { bindings::ntb_clear_ctx(ntb) };
        // SAFETY: The device is valid, and `probe_callback` stored the data, which we take back.
        let data = unsafe {
            let dev = &raw mut (*ntb).dev;
            let data = kernel::bindings::dev_get_drvdata(dev);
            kernel::bindings::dev_set_drvdata(dev, ptr::null_mut());
            Pin::<KBox<T>>::from_foreign(data.cast())
        };
        data.stop();
    }

    extern "C" fn link_event(context: *mut c_void) {
        // SAFETY: The context is the data, as long as events arrive.
        unsafe { &*context.cast_const().cast::<T>() }.link_event();
    }

    extern "C" fn db_event(context: *mut c_void, vector: c_int) {
        if let Ok(vector) = u32::try_from(vector) {
            // SAFETY: As above.
            unsafe { &*context.cast_const().cast::<T>() }.db_event(vector);
        }
    }
}
