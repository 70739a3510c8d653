// SPDX-License-Identifier: GPL-2.0

//! Non-transparent bridges: the side that provides one.
//!
//! C header: [`include/linux/ntb.h`](srctree/include/linux/ntb.h)
//!
//! A provider embeds a [`Port`] in a struct that lives in an [`Arc`], says so by
//! [`impl_has_port!`], implements [`Operations`], and gets it onto the NTB bus by
//! [`Registration::new`]. Bridges have one peer here; those with more need more operations.
//!
//! Stands on `bindings.rs` with `linux/ntb.h`.

use core::{marker::PhantomData, ptr};

use kernel::{
    bindings as kbindings, device,
    dma::DmaAddress,
    error::{from_result, to_result},
    pci,
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, AtomicFlag, Full, Relaxed, Release},
        rcu, Arc, ArcBorrow,
    },
    types::Opaque,
};

use crate::bindings::{
    self, ntb_db_event, ntb_dev, ntb_dev_ops, ntb_link_event, ntb_register_device,
    ntb_unregister_device,
};

/// What a memory window asks of the buffer behind it.
pub(crate) struct MwAlign {
    /// Alignment of its address.
    pub(crate) address: u64,
    /// Alignment of its size.
    pub(crate) size: u64,
    /// Its greatest size.
    pub(crate) max: u64,
}

/// What a bridge does. Indices come from clients and can be anything, but for that of the peer, which
/// is checked before.
///
/// Where it says so a method may be called in atomic context. See `struct ntb_dev_ops`.
pub(crate) trait Operations: HasPort + Send + Sync + Sized + 'static {
    /// Whether the link is up, as a mask of peers. Atomic.
    fn link_is_up(&self) -> u64;
    /// The client wants the link. `carrier` is the device whose driver registered the bridge.
    fn link_enable(&self, carrier: &device::Device<device::Bound>) -> Result;
    /// The client does not want the link any more.
    fn link_disable(&self) -> Result;

    /// Inbound windows, which lead from the peer to our memory.
    fn mw_count(&self) -> Result<u32>;
    /// What inbound window `index` asks of a buffer.
    fn mw_align(&self, index: usize) -> Result<MwAlign>;
    /// Makes inbound window `index` lead to a buffer.
    fn mw_set_trans(&self, index: usize, address: DmaAddress, size: u64) -> Result;
    /// Makes it lead nowhere.
    fn mw_clear_trans(&self, index: usize) -> Result;
    /// Outbound windows, which lead to the peer's memory.
    fn peer_mw_count(&self) -> Result<u32>;
    /// Address and size of outbound window `index`.
    fn peer_mw_addr(&self, index: usize) -> Result<(kbindings::phys_addr_t, u64)>;

    /// Interrupt vectors that doorbells have: one for each bit, so fewer than 64. Atomic.
    fn db_vector_count(&self) -> u32;
    /// Doorbell bits that have been rung. Atomic.
    fn db_rung(&self) -> &Bits;
    /// Doorbell bits that there are.
    fn db_valid_mask(&self) -> u64 {
        let next = 1u64.checked_shl(self.db_vector_count());
        next.map_or(!0, |next| next - 1)
    }
    /// Rings the peer. Atomic.
    fn peer_db_set(this: ArcBorrow<'_, Self>, bits: u64) -> Result;

    /// Scratchpads of each side.
    fn spad_count(&self) -> u32;
    /// Reads our scratchpad `index`, all ones if there is none. Atomic.
    fn spad_read(&self, index: usize) -> u32;
    /// Writes our scratchpad `index`. Atomic.
    fn spad_write(&self, index: usize, value: u32) -> Result;
    /// Reads the peer's scratchpad `index`, all ones if there is none. Atomic.
    fn peer_spad_read(&self, index: usize) -> u32;
    /// Writes the peer's scratchpad `index`. Atomic.
    fn peer_spad_write(&self, index: usize, value: u32) -> Result;

    /// The device for which clients map buffers of inbound windows.
    fn dma_device(&self) -> &device::Device;
}

/// A bridge, as the NTB core knows it, inside the provider's data.
#[pin_data]
pub(crate) struct Port<T> {
    #[pin]
    ntb: Opaque<ntb_dev>,
    /// The bridge is on its bus, and events can be passed on.
    live: AtomicFlag,
    /// There is a [`Registration`].
    registered: AtomicFlag,
    _data: PhantomData<fn() -> T>,
}

// SAFETY: The bridge belongs to no thread; its events are locked on the C side.
unsafe impl<T> Send for Port<T> {}
// SAFETY: As above.
unsafe impl<T> Sync for Port<T> {}

impl<T> Port<T> {
    /// A bridge that is not registered.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            ntb: Opaque::zeroed(),
            live: AtomicFlag::new(false),
            registered: AtomicFlag::new(false),
            _data: PhantomData,
        })
    }

    /// Tells the client that the link has changed. Atomic; nothing happens if there is no client.
    ///
    /// A bridge that is just being registered may have a client already, which hears of it as soon as
    /// the registration is complete.
    pub(crate) fn link_event(&self) {
        // SAFETY: `when_live` passes a registered bridge.
        self.when_live(|ntb| unsafe { ntb_link_event(ntb) });
    }

    /// Tells the client that a doorbell of `vector` was rung, which [`Operations::db_rung`] says as
    /// well. Atomic; else as [`Port::link_event`].
    pub(crate) fn db_event(&self, vector: u32) {
        if let Ok(vector) = c_int::try_from(vector) {
            // SAFETY: `when_live` passes a registered bridge.
            self.when_live(|ntb| unsafe { ntb_db_event(ntb, vector) });
        }
    }

    /// Whether the bridge is on its bus or about to be, so that there can be a client.
    pub(crate) fn is_registered(&self) -> bool {
        self.registered.load(Acquire)
    }

    /// Runs `then` with the bridge if it is registered, and holds its removal up meanwhile.
    fn when_live(&self, then: impl FnOnce(*mut ntb_dev)) {
        // `Registration` clears the flag, and waits for readers before it goes on.
        let _guard = rcu::read_lock();
        if self.live.load(Acquire) {
            then(self.ntb.get());
        }
    }
}

/// Says where in a provider's data its [`Port`] is. Use [`impl_has_port!`].
///
/// # Safety
///
/// `container_of` must return the address of the value whose [`HasPort::port`] is at `port`.
pub(crate) unsafe trait HasPort: Sized {
    /// The port.
    fn port(&self) -> &Port<Self>;

    /// The data around a port.
    ///
    /// # Safety
    ///
    /// `port` must be the port of a valid value of this type.
    unsafe fn container_of(port: *const Port<Self>) -> *const Self;
}

/// Implements [`HasPort`] for a struct with a field of type [`Port`].
macro_rules! impl_has_port {
    (impl HasPort for $type:ty { self.$field:ident }) => {
        // SAFETY: Both name the same field.
        unsafe impl $crate::ntb::HasPort for $type {
            fn port(&self) -> &$crate::ntb::Port<Self> {
                &self.$field
            }

            unsafe fn container_of(port: *const $crate::ntb::Port<Self>) -> *const Self {
                // SAFETY: By the caller's promise the port is this field of such a struct.
                unsafe { ::kernel::container_of!(port, Self, $field) }
            }
        }
    };
}
pub(crate) use impl_has_port;

/// A bridge on the NTB bus, as long as the device is bound that carries it. Dropped, its client is
/// gone, and so is the bridge.
///
/// # Invariants
///
/// The port of `data` is registered, by this value.
pub(crate) struct Registration<'a, T: Operations> {
    data: Arc<T>,
    _carrier: PhantomData<&'a pci::Device<device::Bound>>,
}

impl<'a, T: Operations> Registration<'a, T> {
    const OPS: ntb_dev_ops = ntb_dev_ops {
        link_is_up: Some(Self::link_is_up),
        link_enable: Some(Self::link_enable),
        link_disable: Some(Self::link_disable),
        mw_count: Some(Self::mw_count),
        mw_get_align: Some(Self::mw_get_align),
        mw_set_trans: Some(Self::mw_set_trans),
        mw_clear_trans: Some(Self::mw_clear_trans),
        peer_mw_count: Some(Self::peer_mw_count),
        peer_mw_get_addr: Some(Self::peer_mw_get_addr),
        db_valid_mask: Some(Self::db_valid_mask),
        db_vector_count: Some(Self::db_vector_count),
        db_vector_mask: Some(Self::db_vector_mask),
        db_read: Some(Self::db_read),
        db_clear: Some(Self::db_clear),
        db_set_mask: Some(Self::db_mask),
        db_clear_mask: Some(Self::db_mask),
        peer_db_set: Some(Self::peer_db_set),
        spad_count: Some(Self::spad_count),
        spad_read: Some(Self::spad_read),
        spad_write: Some(Self::spad_write),
        peer_spad_read: Some(Self::peer_spad_read),
        peer_spad_write: Some(Self::peer_spad_write),
        get_dma_dev: Some(Self::get_dma_dev),
        ..pin_init::zeroed()
    };

    /// Puts the bridge of `data` onto the bus, as a child of `pdev`; `EBUSY` if it is there.
    ///
    /// # Safety
    ///
    /// The caller must not `mem::forget()` the registration or otherwise keep its [`Drop`] from
    /// running: clients would call a bridge whose device is not bound any more.
    pub(crate) unsafe fn new(data: Arc<T>, pdev: &'a pci::Device<device::Bound>) -> Result<Self> {
        let port = data.port();
        if port.registered.xchg(true, Full) {
            return Err(EBUSY);
        }
        let ntb = port.ntb.get();
        // SAFETY: The bridge is not registered, by the flag, and since `live` is not set either,
        // nobody looks at it: we may write all of it.
        // CAST: `pci::Device` is a `#[repr(transparent)]` wrapper of `struct pci_dev`.
        unsafe {
            ptr::write_bytes(ntb, 0, 1);
            (*ntb).pdev = ptr::from_ref(pdev).cast_mut().cast();
            (*ntb).topo = bindings::ntb_topo_NTB_TOPO_NONE;
            (*ntb).ops = &Self::OPS;
        }
        // SAFETY: The bridge is complete and does not move; what it is in stays until it is
        // unregistered, since the registration has it.
        if let Err(error) = to_result(unsafe { ntb_register_device(ntb) }) {
            port.registered.store(false, Release);
            return Err(error);
        }
        port.live.store(true, Release);
        // A client that was there already may have missed what happened until now: it looks once.
        port.link_event();
        for vector in 0..data.db_vector_count() {
            if data.db_rung().read() & 1 << vector != 0 {
                port.db_event(vector);
            }
        }
        // INVARIANT: Just registered.
        Ok(Self {
            data,
            _carrier: PhantomData,
        })
    }

    /// The data around the bridge `ntb`.
    ///
    /// # Safety
    ///
    /// `ntb` must be a bridge of this type that is registered as long as the borrow lasts.
    unsafe fn data<'b>(ntb: *mut ntb_dev) -> ArcBorrow<'b, T> {
        // SAFETY: The bridge is the field `ntb` of a port, which is in a `T`, which is in an `Arc`
        // that the registration has.
        unsafe {
            let port = kernel::container_of!(Opaque::cast_from(ntb.cast_const()), Port<T>, ntb);
            ArcBorrow::from_raw(T::container_of(port))
        }
    }
}

impl<T: Operations> Drop for Registration<'_, T> {
    fn drop(&mut self) {
        let port = self.data.port();
        port.live.store(false, Release);
        rcu::synchronize_rcu();
        // SAFETY: By the type invariant. This waits until nobody uses the bridge any more.
        unsafe { ntb_unregister_device(port.ntb.get()) };
        port.registered.store(false, Release);
    }
}

/// Indices come as C integers; a negative one is no index.
fn index(raw: c_int) -> Result<usize> {
    Ok(usize::try_from(raw)?)
}

/// There is one peer, number 0.
fn only_peer(raw: c_int) -> Result {
    match raw {
        0 => Ok(()),
        _ => Err(EINVAL),
    }
}

/// What a callback that counts returns.
fn count(count: u32) -> Result<c_int> {
    Ok(c_int::try_from(count)?)
}

/// Callbacks of the NTB core. It calls each of them with a bridge that these operations were given
/// for and that stays registered meanwhile, as [`Registration::data`] requires, and with out
/// parameters that are null or valid.
impl<T: Operations> Registration<'_, T> {
    extern "C" fn link_is_up(
        ntb: *mut ntb_dev,
        _speed: *mut bindings::ntb_speed,
        _width: *mut bindings::ntb_width,
    ) -> u64 {
        // SAFETY: As for all callbacks.
        unsafe { Self::data(ntb) }.link_is_up()
    }

    extern "C" fn link_enable(
        ntb: *mut ntb_dev,
        _speed: bindings::ntb_speed,
        _width: bindings::ntb_width,
    ) -> c_int {
        // SAFETY: As for all callbacks.
        let data = unsafe { Self::data(ntb) };
        // SAFETY: `new` set a device that is bound as long as the registration is there.
        let carrier = unsafe {
            let carrier: *mut kbindings::device = &raw mut (*(*ntb).pdev).dev;
            device::Device::<device::Bound>::from_raw(carrier)
        };
        from_result(|| data.link_enable(carrier).map(|()| 0))
    }

    extern "C" fn link_disable(ntb: *mut ntb_dev) -> c_int {
        // SAFETY: As for all callbacks.
        from_result(|| unsafe { Self::data(ntb) }.link_disable().map(|()| 0))
    }

    extern "C" fn mw_count(ntb: *mut ntb_dev, peer: c_int) -> c_int {
        from_result(|| {
            only_peer(peer)?;
            // SAFETY: As for all callbacks.
            count(unsafe { Self::data(ntb) }.mw_count()?)
        })
    }

    extern "C" fn mw_get_align(
        ntb: *mut ntb_dev,
        peer: c_int,
        window: c_int,
        address: *mut kbindings::resource_size_t,
        size: *mut kbindings::resource_size_t,
        max: *mut kbindings::resource_size_t,
    ) -> c_int {
        from_result(|| {
            only_peer(peer)?;
            // SAFETY: As for all callbacks.
            let align = unsafe { Self::data(ntb) }.mw_align(index(window)?)?;
            let wanted = [
                (address, align.address),
                (size, align.size),
                (max, align.max),
            ];
            for (place, value) in wanted {
                if !place.is_null() {
                    // SAFETY: Out parameters that are not null are valid.
                    unsafe { place.write(value) };
                }
            }
            Ok(0)
        })
    }

    extern "C" fn mw_set_trans(
        ntb: *mut ntb_dev,
        peer: c_int,
        window: c_int,
        address: DmaAddress,
        size: kbindings::resource_size_t,
    ) -> c_int {
        from_result(|| {
            only_peer(peer)?;
            // SAFETY: As for all callbacks.
            unsafe { Self::data(ntb) }.mw_set_trans(index(window)?, address, size)?;
            Ok(0)
        })
    }

    extern "C" fn mw_clear_trans(ntb: *mut ntb_dev, peer: c_int, window: c_int) -> c_int {
        from_result(|| {
            only_peer(peer)?;
            // SAFETY: As for all callbacks.
            unsafe { Self::data(ntb) }.mw_clear_trans(index(window)?)?;
            Ok(0)
        })
    }

    extern "C" fn peer_mw_count(ntb: *mut ntb_dev) -> c_int {
        // SAFETY: As for all callbacks.
        from_result(|| count(unsafe { Self::data(ntb) }.peer_mw_count()?))
    }

    extern "C" fn peer_mw_get_addr(
        ntb: *mut ntb_dev,
        window: c_int,
        base: *mut kbindings::phys_addr_t,
        size: *mut kbindings::resource_size_t,
    ) -> c_int {
        from_result(|| {
            // SAFETY: As for all callbacks.
            let (address, len) = unsafe { Self::data(ntb) }.peer_mw_addr(index(window)?)?;
            if !base.is_null() {
                // SAFETY: Out parameters that are not null are valid.
                unsafe { base.write(address) };
            }
            if !size.is_null() {
                // SAFETY: As above.
                unsafe { size.write(len) };
            }
            Ok(0)
        })
    }

    extern "C" fn db_valid_mask(ntb: *mut ntb_dev) -> u64 {
        // SAFETY: As for all callbacks.
        unsafe { Self::data(ntb) }.db_valid_mask()
    }

    extern "C" fn db_vector_count(ntb: *mut ntb_dev) -> c_int {
        // SAFETY: As for all callbacks.
        from_result(|| count(unsafe { Self::data(ntb) }.db_vector_count()))
    }

    extern "C" fn db_vector_mask(ntb: *mut ntb_dev, vector: c_int) -> u64 {
        // SAFETY: As for all callbacks.
        let vectors = unsafe { Self::data(ntb) }.db_vector_count();
        match u32::try_from(vector) {
            Ok(vector) if vector < vectors => 1u64.checked_shl(vector).unwrap_or(0),
            _ => 0,
        }
    }

    extern "C" fn db_read(ntb: *mut ntb_dev) -> u64 {
        // SAFETY: As for all callbacks.
        unsafe { Self::data(ntb) }.db_rung().read()
    }

    extern "C" fn db_clear(ntb: *mut ntb_dev, bits: u64) -> c_int {
        // SAFETY: As for all callbacks.
        unsafe { Self::data(ntb) }.db_rung().clear(bits);
        0
    }

    /// Doorbells have no mask.
    extern "C" fn db_mask(_ntb: *mut ntb_dev, _bits: u64) -> c_int {
        0
    }

    extern "C" fn peer_db_set(ntb: *mut ntb_dev, bits: u64) -> c_int {
        // SAFETY: As for all callbacks.
        from_result(|| T::peer_db_set(unsafe { Self::data(ntb) }, bits).map(|()| 0))
    }

    extern "C" fn spad_count(ntb: *mut ntb_dev) -> c_int {
        // SAFETY: As for all callbacks.
        from_result(|| count(unsafe { Self::data(ntb) }.spad_count()))
    }

    extern "C" fn spad_read(ntb: *mut ntb_dev, spad: c_int) -> u32 {
        // SAFETY: As for all callbacks.
        index(spad).map_or(!0, |spad| unsafe { Self::data(ntb) }.spad_read(spad))
    }

    extern "C" fn spad_write(ntb: *mut ntb_dev, spad: c_int, value: u32) -> c_int {
        from_result(|| {
            // SAFETY: As for all callbacks.
            unsafe { Self::data(ntb) }.spad_write(index(spad)?, value)?;
            Ok(0)
        })
    }

    extern "C" fn peer_spad_read(ntb: *mut ntb_dev, peer: c_int, spad: c_int) -> u32 {
        let (Ok(()), Ok(spad)) = (only_peer(peer), index(spad)) else {
            return !0;
        };
        // SAFETY: As for all callbacks.
        unsafe { Self::data(ntb) }.peer_spad_read(spad)
    }

    extern "C" fn peer_spad_write(
        ntb: *mut ntb_dev,
        peer: c_int,
        spad: c_int,
        value: u32,
    ) -> c_int {
        from_result(|| {
            only_peer(peer)?;
            // SAFETY: As for all callbacks.
            unsafe { Self::data(ntb) }.peer_spad_write(index(spad)?, value)?;
            Ok(0)
        })
    }

    extern "C" fn get_dma_dev(ntb: *mut ntb_dev) -> *mut kbindings::device {
        // SAFETY: As for all callbacks.
        let data = unsafe { Self::data(ntb) };
        let device = data.dma_device();
        // CAST: `device::Device` is a `#[repr(transparent)]` wrapper of `struct device`.
        ptr::from_ref(device).cast_mut().cast()
    }
}

/// Doorbell bits, set by one side and taken by another, in any context.
pub(crate) struct Bits(Atomic<u64>);

impl Bits {
    /// No bit is set.
    pub(crate) const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// The bits that are set.
    pub(crate) fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Sets bits.
    pub(crate) fn set(&self, bits: u64) {
        self.update(|old| old | bits);
    }

    /// Clears bits.
    pub(crate) fn clear(&self, bits: u64) {
        self.update(|old| old & !bits);
    }

    /// Clears all bits and returns those that were set.
    pub(crate) fn take(&self) -> u64 {
        self.0.xchg(0, Full)
    }

    fn update(&self, change: impl Fn(u64) -> u64) {
        let mut old = self.0.load(Relaxed);
        while let Err(other) = self.0.cmpxchg(old, change(old), Full) {
            old = other;
        }
    }
}
