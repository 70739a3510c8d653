// SPDX-License-Identifier: GPL-2.0

//! DMA engines, as their drivers see them: slave transfers from memory to a device.
//!
//! C headers: [`include/linux/dmaengine.h`](srctree/include/linux/dmaengine.h),
//! [`drivers/dma/virt-dma.h`](srctree/drivers/dma/virt-dma.h); see also
//! [`Documentation/driver-api/dmaengine/provider.rst`](srctree/Documentation/driver-api/dmaengine/provider.rst)
//!
//! A driver implements [`Driver`] and registers it with its channels ([`Registration`]). What a client
//! prepares, submits and issues is kept in queues (virt-dma), one for each channel; the driver comes
//! to them by [`Channel::lock`], takes what was issued to its hardware, and says how each transfer
//! ended ([`Queue::finish_first`]). Callbacks run later, in a tasklet, without the lock.
//!
//! A device can go while clients hold channels: the engine's memory stays until the last one is
//! released, and a channel of a device that is gone fails whatever is asked of it. The module has a
//! [`Releases`] for what is left of such engines.
//!
//! A module mounts this file as `mod provider`, `work.rs` as `mod work`, and `bindings.rs` with
//! `linux/dmaengine.h`, the private `drivers/dma/virt-dma.h` and the helpers `dmaengine_provider` as
//! `mod bindings`.

#[path = "provider/failures.rs"]
mod failures;
#[path = "provider/operations.rs"]
mod operations;
#[path = "provider/queue.rs"]
mod queue;
#[path = "provider/release.rs"]
mod release;

use core::{marker::PhantomData, ptr, ptr::NonNull};

use kernel::{
    device::{self, Bound},
    error::to_result,
    impl_has_work,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{Acquire, Atomic, Release},
        Arc,
    },
    time::{delay::fsleep, Delta, Instant, Monotonic},
    types::Opaque,
    workqueue::{self, Work},
    ThisModule,
};

pub(crate) use self::{
    queue::{Channel, Queue},
    release::Releases,
};
use crate::bindings;

/// How long a channel may take to come to rest.
const GRACE: Delta = Delta::from_millis(500);
/// How often to look whether it has.
const PAUSE: Delta = Delta::from_micros(200);

/// A piece of memory of a transfer, as the engine's device has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    /// Its address.
    pub(crate) address: u64,
    /// Its length in bytes, never 0.
    pub(crate) length: u32,
}

/// What a client wants to be moved.
pub(crate) enum Request {
    /// These pieces, once, to where the device was said to be.
    List(KVec<Piece>),
    /// These periods, again and again, until it is terminated.
    Cycle(KVec<Piece>),
}

/// What a client says of the device (`struct dma_slave_config`).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Config {
    /// Where the device is to be written, as the engine has it.
    pub(crate) destination: u64,
}

/// How a transfer ended (`enum dmaengine_tx_result`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All bytes were moved.
    Complete,
    /// The source could not be read.
    ReadFailed,
    /// The destination could not be written.
    WriteFailed,
    /// It was given up.
    Aborted,
}

impl Outcome {
    fn as_raw(self) -> bindings::dmaengine_tx_result {
        match self {
            Self::Complete => bindings::dmaengine_tx_result_DMA_TRANS_NOERROR,
            Self::ReadFailed => bindings::dmaengine_tx_result_DMA_TRANS_READ_FAILED,
            Self::WriteFailed => bindings::dmaengine_tx_result_DMA_TRANS_WRITE_FAILED,
            Self::Aborted => bindings::dmaengine_tx_result_DMA_TRANS_ABORTED,
        }
    }
}

/// A driver of an engine that moves memory to a device.
///
/// All functions with a [`Queue`] run with the channel's lock and interrupts off: they must not sleep.
pub(crate) trait Driver: Send + Sync + Sized + 'static {
    /// What the driver keeps of a channel.
    type Channel: Send;
    /// What the driver keeps of a transfer.
    type Transfer: Send;

    /// A client has come.
    fn claim(queue: &mut Queue<'_, Self>) -> Result;

    /// The client says where the device is, for what it prepares from now on.
    fn configure(queue: &mut Queue<'_, Self>, config: &Config) -> Result;

    /// Makes a transfer of what the client asks for. `interrupt` is whether it wants to be told of
    /// its end at once.
    fn prepare(
        queue: &mut Queue<'_, Self>,
        request: Request,
        interrupt: bool,
    ) -> Result<Self::Transfer>;

    /// Something was issued.
    fn issue(queue: &mut Queue<'_, Self>);

    /// Halts the transfers; `EPERM` if nothing runs.
    fn pause(queue: &mut Queue<'_, Self>) -> Result;

    /// Goes on after a pause; `EPERM` if there is none.
    fn resume(queue: &mut Queue<'_, Self>) -> Result;

    /// Whether there is a pause.
    fn is_paused(channel: &Self::Channel) -> bool;

    /// The queue is empty: the hardware is to drop whatever it has of it.
    fn stop(queue: &mut Queue<'_, Self>);

    /// Whether the hardware touches no memory of a transfer that was stopped any more.
    fn is_stopped(queue: &mut Queue<'_, Self>) -> bool;

    /// Looks how far the hardware is: a client asks.
    fn look(queue: &mut Queue<'_, Self>);

    /// Bytes of a transfer that are not moved yet.
    fn residue(channel: &Self::Channel, transfer: &Self::Transfer) -> u32;

    /// The device goes: no interrupt and no work of the driver comes to the engine after this, and
    /// every transfer that is issued from now on fails. Can sleep.
    fn depart(engine: &Engine<Self>);
}

/// An engine and its channels.
///
/// # Invariants
///
/// `dma` is the engine of `channels`, and was initialised by `Registration::new`.
#[pin_data]
pub(crate) struct Engine<D: Driver> {
    #[pin]
    dma: Opaque<bindings::dma_device>,
    channels: KVec<Pin<KBox<Channel<D>>>>,
    driver: D,
    /// Keeps what clients map memory for.
    _device: ARef<device::Device>,
    /// Clients may come.
    open: Atomic<bool>,
    /// Frees it: see `release.rs`.
    #[pin]
    release: Work<Self>,
}

impl_has_work! {
    impl{D: Driver} HasWork<Self> for Engine<D> { self.release }
}

// SAFETY: An engine belongs to no thread.
unsafe impl<D: Driver> Send for Engine<D> {}
// SAFETY: The C side locks the engine, and each channel has a lock.
unsafe impl<D: Driver> Sync for Engine<D> {}

impl<D: Driver> Engine<D> {
    /// The driver.
    pub(crate) fn driver(&self) -> &D {
        &self.driver
    }

    /// The channels, by their numbers.
    pub(crate) fn channels(&self) -> impl Iterator<Item = &Channel<D>> {
        self.channels.iter().map(|channel| &**channel)
    }

    /// A channel.
    pub(crate) fn channel(&self, number: u32) -> Option<&Channel<D>> {
        self.channels.get(number as usize).map(|channel| &**channel)
    }

    fn is_open(&self) -> bool {
        self.open.load(Acquire)
    }
}

/// A registered engine. Dropped, its device is gone: see [`Driver::depart`].
///
/// # Invariants
///
/// The engine is registered, and the C side has a reference to it, which its release gives back.
pub(crate) struct Registration<'a, D: Driver> {
    engine: Arc<Engine<D>>,
    _device: PhantomData<&'a device::Device<Bound>>,
}

impl<'a, D: Driver> Registration<'a, D> {
    /// Registers an engine, for whose transfers memory is to be mapped for `device`. A channel's
    /// number is its place in `channels`, and its `chan_id`.
    ///
    /// Fails with `ENXIO` if the module has no [`Releases`].
    ///
    /// # Safety
    ///
    /// The registration must be dropped, so not leaked: the dmaengine goes on calling `module` until
    /// then, and `device` has to be bound.
    pub(crate) unsafe fn new(
        device: &'a device::Device<Bound>,
        module: &'static ThisModule,
        driver: D,
        channels: impl Iterator<Item = Result<D::Channel>>,
    ) -> Result<Self> {
        if !Releases::are_there() {
            return Err(ENXIO);
        }
        let mut boxes = KVec::new();
        for (number, channel) in (0..).zip(channels) {
            let channel = KBox::pin_init(Channel::new(number, channel?), GFP_KERNEL)?;
            boxes.push(channel, GFP_KERNEL)?;
        }
        let engine = Arc::pin_init(
            pin_init!(Engine {
                dma: Opaque::zeroed(),
                channels: boxes,
                driver,
                _device: device.into(),
                open: Atomic::new(false),
                release <- workqueue::new_work!("provider::Engine::release"),
            }),
            GFP_KERNEL,
        )?;
        let dma = engine.dma.get();
        // SAFETY: Nobody else knows the engine yet, and it does not move.
        // CAST: `device::Device` is a `#[repr(transparent)]` wrapper of `struct device`.
        unsafe {
            let list = &raw mut (*dma).channels;
            (*list).next = list;
            (*list).prev = list;
            (*dma).dev = ptr::from_ref(device).cast_mut().cast();
            operations::fill::<D>(dma);
        }
        for channel in engine.channels() {
            // SAFETY: The list of channels is initialised; a channel stays as long as the engine.
            unsafe { channel.init(dma) };
        }

        let owned = engine.clone().into_raw();
        // SAFETY: The engine is complete. It stays until its release, which takes `owned` back.
        let registered = to_result(unsafe { bindings::dma_async_device_register(dma) });
        if let Err(error) = registered {
            // SAFETY: Nothing was registered, so there is no release.
            drop(unsafe { Arc::from_raw(owned) });
            return Err(error);
        }
        for channel in engine.channels() {
            channel.keep_name();
        }
        // INVARIANT: Just registered.
        let this = Self {
            engine,
            _device: PhantomData,
        };
        // SAFETY: The device is registered. What was written there is the module of the driver that
        // `device` is bound to; yet it is ours whose code a client's channel needs. As long as the
        // engine is not open, each request fails that saw the other one.
        unsafe { (*dma).owner = module.as_ptr().cast() };
        release::barrier();
        this.engine.open.store(true, Release);
        Ok(this)
    }

    /// The engine.
    pub(crate) fn engine(&self) -> &Arc<Engine<D>> {
        &self.engine
    }
}

impl<D: Driver> Drop for Registration<'_, D> {
    fn drop(&mut self) {
        self.engine.open.store(false, Release);
        D::depart(&self.engine);
        // SAFETY: By the type invariant. Channels that clients hold stay usable, and the engine with
        // them; no new client comes, since the engine is not open.
        unsafe { bindings::dma_async_device_unregister(self.engine.dma.get()) };
    }
}

/// Waits until a channel's hardware has come to rest; says so if it does not. Sleeps.
pub(crate) fn settle<D: Driver>(channel: &Channel<D>) {
    let start = Instant::<Monotonic>::now();
    while !D::is_stopped(&mut channel.lock()) {
        if start.elapsed() > GRACE {
            pr_err!("DMA channel {} does not stop\n", channel.number());
            return;
        }
        fsleep(PAUSE);
    }
}

/// A descriptor's place as the C side has it.
type Raw = NonNull<bindings::virt_dma_desc>;
