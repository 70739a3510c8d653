// SPDX-License-Identifier: GPL-2.0

//! A channel of a DMA engine, and what is prepared on it.

use core::{marker::PhantomData, mem, ptr::NonNull};

use kernel::{
    device,
    error::to_result,
    prelude::*,
    str::CStr,
    sync::{aref::ARef, Arc},
};

use super::{
    transfer::{Progress, State, Transfer},
    Cycle, Direction, Memory, Outcome, ScatterList,
};
use crate::bindings;

/// Borrows the device of the engine that `chan` belongs to.
///
/// # Safety
///
/// `chan` must be a registered channel for `'a`.
unsafe fn engine<'a>(chan: *mut bindings::dma_chan) -> &'a device::Device {
    // SAFETY: A registered channel has an engine, and that a device; both outlive it.
    unsafe { device::Device::from_raw((*(*chan).device).dev.cast()) }
}

/// # Safety
///
/// `chan` must be a channel whose engine is valid.
unsafe fn capabilities(chan: *mut bindings::dma_chan) -> Result<Capabilities> {
    let mut caps = pin_init::zeroed();
    // SAFETY: `chan` is valid by the contract of this function.
    to_result(unsafe { bindings::dma_get_slave_caps(chan, &mut caps) })?;
    Ok(Capabilities(caps))
}

/// What a channel can do (`struct dma_slave_caps`).
pub(crate) struct Capabilities(bindings::dma_slave_caps);

impl Capabilities {
    /// Whether the channel moves data that way.
    pub(crate) fn moves(&self, direction: Direction) -> bool {
        self.0.directions & (1 << direction.as_raw()) != 0
    }

    /// Whether a transfer can be paused and resumed.
    pub(crate) fn pauses(&self) -> bool {
        self.0.cmd_pause && self.0.cmd_resume
    }
}

/// A free channel that is offered to a client.
pub(crate) struct Candidate<'a> {
    chan: NonNull<bindings::dma_chan>,
    _offer: PhantomData<&'a ()>,
}

impl Candidate<'_> {
    /// The channel as the C side has it.
    pub(crate) fn as_raw(&self) -> NonNull<bindings::dma_chan> {
        self.chan
    }

    /// The engine that the channel belongs to.
    pub(crate) fn engine(&self) -> &device::Device {
        // SAFETY: A channel that is offered is registered.
        unsafe { engine(self.chan.as_ptr()) }
    }

    /// Whether the engine stays as long as its clients, whatever becomes of its device.
    fn outlives(&self) -> bool {
        // SAFETY: A channel that is offered is registered, and so is its engine.
        unsafe { (*(*self.chan.as_ptr()).device).device_release.is_some() }
    }

    /// What the channel can do; `None` if its engine does not tell.
    pub(crate) fn capabilities(&self) -> Option<Capabilities> {
        // SAFETY: As above.
        unsafe { capabilities(self.chan.as_ptr()) }.ok()
    }
}

/// An address at which an engine reaches a device, as the engine's bus has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeviceAddress(u64);

impl DeviceAddress {
    /// Vouches for an address.
    ///
    /// # Safety
    ///
    /// As far as transfers go from or to it, there must be nothing behind it that belongs to this
    /// kernel: a device's FIFO or memory, or another machine's memory across a bus.
    pub(crate) unsafe fn new(address: u64) -> Self {
        Self(address)
    }
}

/// What a channel must know of the device (`struct dma_slave_config`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    /// Where data is read (`DevToMem`) or written (`MemToDev`).
    pub(crate) address: DeviceAddress,
    /// Bytes in one access of the device: 1, 2, 3, 4, 8, … 128, or 0 if that does not matter.
    pub(crate) width: u32,
}

/// A channel that is ours alone; dropped, its transfers end and it is released.
///
/// # Invariants
///
/// - `chan` was requested for this value, and is released by its `drop` only. It is valid until then.
/// - `in_flight` has the state of each transfer that was submitted, neither ended nor terminated, and
///   `cycle` that of the one that never ends.
pub(crate) struct Channel {
    chan: NonNull<bindings::dma_chan>,
    /// The engine's device.
    engine: ARef<device::Device>,
    /// The channel's own device in sysfs, which goes when the engine is unregistered.
    node: ARef<device::Device>,
    in_flight: KVec<Arc<State>>,
    pub(super) cycle: Option<Arc<Cycle>>,
}

// SAFETY: A channel belongs to no thread.
unsafe impl Send for Channel {}
// SAFETY: Engines lock themselves; what they do not lock, a client's own order, needs `&mut self`.
unsafe impl Sync for Channel {}

impl Channel {
    /// Requests the first free slave channel that `suits`, of an engine that stays as long as its clients, whatever
    /// becomes of its device (`device_release`). Sleeps.
    ///
    /// `suits` is called with the list of engines locked: it must not request another channel.
    /// Fails with `ENODEV` if no channel suits, which may change when an engine's driver comes.
    pub(crate) fn request(mut suits: impl FnMut(&Candidate<'_>) -> bool) -> Result<Self> {
        // SAFETY: Only engines suit that need no such promise.
        unsafe { Self::request_of_bound(|candidate| candidate.outlives() && suits(candidate)) }
    }

    /// As [`Channel::request`], of any engine.
    ///
    /// # Safety
    ///
    /// An engine without a `device_release` is freed when its driver is unbound, whether it has clients or
    /// not: that driver must stay bound as long as the channel is held.
    pub(crate) unsafe fn request_of_bound(
        mut suits: impl FnMut(&Candidate<'_>) -> bool,
    ) -> Result<Self> {
        /// # Safety
        ///
        /// Only for the dmaengine to call, with a registered channel and a pointer to an `F`.
        unsafe extern "C" fn filter<F: FnMut(&Candidate<'_>) -> bool>(
            chan: *mut bindings::dma_chan,
            param: *mut c_void,
        ) -> bool {
            let Some(chan) = NonNull::new(chan) else {
                return false;
            };
            // SAFETY: `request` passes a pointer to its closure, which is borrowed nowhere else.
            let suits = unsafe { &mut *param.cast::<F>() };
            suits(&Candidate {
                chan,
                _offer: PhantomData,
            })
        }
        fn filter_of<F: FnMut(&Candidate<'_>) -> bool>(_: &F) -> bindings::dma_filter_fn {
            Some(filter::<F>)
        }

        let mut mask = pin_init::zeroed();
        let filter = filter_of(&suits);
        // SAFETY: The mask is one of capabilities; the filter and its parameter fit each other, and
        // both are used only during the call.
        let chan = unsafe {
            bindings::rust_helper_dma_cap_set(bindings::dma_transaction_type_DMA_SLAVE, &mut mask);
            bindings::__dma_request_channel(
                &mask,
                filter,
                (&raw mut suits).cast(),
                core::ptr::null_mut(),
            )
        };
        let chan = NonNull::new(chan).ok_or(ENODEV)?;
        // SAFETY: The channel was registered when it was given to us.
        let (engine, node) = unsafe {
            let node = &raw mut (*(*chan.as_ptr()).dev).device;
            (
                engine(chan.as_ptr()).into(),
                device::Device::get_device(node.cast()),
            )
        };
        // INVARIANT: The channel was given to us alone, and nothing was submitted to it. Its engine stays
        // by what it promises, or what the caller does.
        Ok(Self {
            chan,
            engine,
            node,
            in_flight: KVec::new(),
            cycle: None,
        })
    }

    /// The channel as the C side has it, valid as long as this value.
    pub(crate) fn raw(&self) -> NonNull<bindings::dma_chan> {
        self.chan
    }

    fn as_raw(&self) -> *mut bindings::dma_chan {
        self.chan.as_ptr()
    }

    /// The channel's name, such as `dma0chan3`.
    pub(crate) fn name(&self) -> &CStr {
        self.node.name()
    }

    /// The engine's device, for which memory for transfers is to be mapped or allocated as long as it
    /// is bound. That is for the client to know: an engine can outlive the binding of its device.
    pub(crate) fn engine(&self) -> &device::Device {
        &self.engine
    }

    /// What the channel can do.
    pub(crate) fn capabilities(&self) -> Result<Capabilities> {
        // SAFETY: The channel is valid as long as we hold it.
        unsafe { capabilities(self.as_raw()) }
    }

    /// Tells the channel where the device is, for transfers prepared from now on.
    ///
    /// Fails with `ENOSYS` or `EINVAL` if the engine cannot do that.
    pub(crate) fn configure(&mut self, direction: Direction, config: &Config) -> Result {
        let mut raw: bindings::dma_slave_config = pin_init::zeroed();
        match direction {
            Direction::MemToDev => {
                raw.dst_addr = config.address.0;
                raw.dst_addr_width = config.width;
            }
            Direction::DevToMem => {
                raw.src_addr = config.address.0;
                raw.src_addr_width = config.width;
            }
        }
        raw.direction = direction.as_raw();
        // SAFETY: The channel is ours; the engine copies what it needs of `raw`.
        to_result(unsafe { bindings::rust_helper_dmaengine_slave_config(self.as_raw(), &mut raw) })
    }

    /// Prepares a transfer between the pieces of `list` and the device, which for engines to which
    /// it is memory has them one behind the other.
    ///
    /// Fails with `ENOMEM` if the engine takes it not: for want of memory, or because it was not
    /// configured or does not move data that way; and with `EINVAL` if the memory was allocated for
    /// another engine.
    pub(crate) fn prepare(
        &mut self,
        list: &mut ScatterList,
        direction: Direction,
    ) -> Result<Descriptor<'_>> {
        let flags =
            bindings::dma_ctrl_flags_DMA_PREP_INTERRUPT | bindings::dma_ctrl_flags_DMA_CTRL_ACK;
        let count = u32::try_from(list.len())?;
        if !list.memory().belongs_to(self) {
            return Err(EINVAL);
        }
        // SAFETY: The channel is ours, and the list is mapped for its engine and has `count`
        // entries.
        let desc = unsafe {
            bindings::rust_helper_dmaengine_prep_slave_sg(
                self.as_raw(),
                list.as_raw(),
                count,
                direction.as_raw(),
                flags as c_ulong,
            )
        };
        Ok(Descriptor {
            desc: NonNull::new(desc).ok_or(ENOMEM)?,
            channel: self,
            bytes: list.bytes(),
            memory: list.memory().clone(),
        })
    }

    /// Starts what was submitted.
    pub(crate) fn issue_pending(&self) {
        // SAFETY: The channel is ours.
        unsafe { bindings::rust_helper_dma_async_issue_pending(self.as_raw()) };
    }

    /// Asks for a pause, which engines take when they can.
    ///
    /// Fails with `ENOSYS` if the engine has none, or as its driver says if nothing runs.
    pub(crate) fn pause(&mut self) -> Result {
        // SAFETY: The channel is ours.
        to_result(unsafe { bindings::rust_helper_dmaengine_pause(self.as_raw()) })
    }

    /// Goes on after a pause.
    ///
    /// Fails with `ENOSYS` if the engine cannot, or as its driver says if there is no pause.
    pub(crate) fn resume(&mut self) -> Result {
        // SAFETY: The channel is ours.
        to_result(unsafe { bindings::rust_helper_dmaengine_resume(self.as_raw()) })
    }

    /// Ends all transfers and waits until the engine lets go of them. Sleeps.
    ///
    /// After a failure (`EINVAL`: the engine cannot; or as its driver says) they still count as
    /// running.
    pub(crate) fn terminate(&mut self) -> Result {
        // SAFETY: The channel is ours, and no callback of ours comes here.
        to_result(unsafe { bindings::rust_helper_dmaengine_terminate_sync(self.as_raw()) })?;
        self.cycle = None;
        for state in self.in_flight.drain_all() {
            if state.outcome().is_none() {
                state.finish(Outcome::Terminated, 0);
            }
        }
        Ok(())
    }

    /// How far a transfer of this channel is.
    pub(crate) fn progress(&self, transfer: &Transfer) -> Progress {
        let mut state: bindings::dma_tx_state = pin_init::zeroed();
        // SAFETY: The channel is ours; for a cookie that it does not know the result means nothing.
        let status = unsafe {
            bindings::rust_helper_dmaengine_tx_status(self.as_raw(), transfer.cookie, &mut state)
        };
        Progress::from_raw(status, state.residue)
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        let ended = self.terminate();
        // SAFETY: The channel is ours and not used again.
        unsafe { bindings::dma_release_channel(self.as_raw()) };
        if let Err(e) = ended {
            pr_err!(
                "DMA transfers did not end ({:?}): their memory is lost\n",
                e
            );
            for state in self.in_flight.drain_all() {
                mem::forget(state);
            }
            mem::forget(self.cycle.take());
        }
    }
}

/// A prepared transfer; dropped, it never runs.
pub(crate) struct Descriptor<'a> {
    desc: NonNull<bindings::dma_async_tx_descriptor>,
    channel: &'a mut Channel,
    bytes: usize,
    memory: Arc<Memory>,
}

impl Descriptor<'_> {
    /// Queues the transfer; [`Channel::issue_pending`] starts it.
    ///
    /// `on_end` is called when it ends, in a context that must not sleep, but not if it is
    /// terminated.
    pub(crate) fn submit(
        self,
        on_end: Option<KBox<dyn Fn(Outcome) + Send + Sync>>,
    ) -> Result<Transfer> {
        let Self {
            desc,
            channel,
            bytes,
            memory,
        } = self;
        let in_flight = &mut channel.in_flight;
        in_flight.retain(|state| state.outcome().is_none());
        let state = State::new(bytes, memory, on_end)?;
        in_flight.push(state.clone(), GFP_KERNEL)?;

        // SAFETY: The descriptor was prepared on the channel and is submitted once. The state lives
        // until its outcome is known, which for transfers that are not terminated is when the
        // callback has noted it, or the engine has let go of them all: it is kept in `in_flight`.
        let cookie = unsafe {
            let raw = desc.as_ptr();
            (*raw).callback_result = Some(State::ended);
            (*raw).callback_param = Arc::as_ptr(&state).cast_mut().cast();
            bindings::rust_helper_dmaengine_submit(raw)
        };
        if let Err(e) = to_result(cookie) {
            in_flight.pop();
            return Err(e);
        }
        Ok(Transfer { state, cookie })
    }
}
