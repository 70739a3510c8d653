// SPDX-License-Identifier: GPL-2.0

//! What the dmaengine calls. It does so with channels of the engine whose operations these are, which
//! lives at least until the call is over.

use core::ptr;

use kernel::{
    bindings::{dma_addr_t, scatterlist},
    error::from_result,
    prelude::*,
    sync::Arc,
    types::Opaque,
};

use super::{
    queue::{Channel, Descriptor},
    release::free_later,
    settle, Config, Driver, Engine, Piece, Request,
};
use crate::bindings::{self, dma_async_tx_descriptor, dma_chan, dma_device};

/// Widths of accesses, in bytes. To an engine that writes memory they mean nothing.
const WIDTHS: u32 = 1 << 1 | 1 << 2 | 1 << 4 | 1 << 8 | 1 << 16;

/// Sets the operations and capabilities of `dma`.
///
/// # Safety
///
/// `dma` must be all zeroes or initialised, and nobody else's yet, and be in an [`Engine<D>`].
pub(super) unsafe fn fill<D: Driver>(dma: *mut dma_device) {
    // SAFETY: By the contract of this function.
    unsafe {
        for can in [
            bindings::dma_transaction_type_DMA_SLAVE,
            bindings::dma_transaction_type_DMA_CYCLIC,
            bindings::dma_transaction_type_DMA_PRIVATE,
        ] {
            bindings::rust_helper_dma_device_can(dma, can);
        }
        (*dma).directions = 1 << bindings::dma_transfer_direction_DMA_MEM_TO_DEV;
        (*dma).src_addr_widths = WIDTHS;
        (*dma).dst_addr_widths = WIDTHS;
        (*dma).residue_granularity =
            bindings::dma_residue_granularity_DMA_RESIDUE_GRANULARITY_SEGMENT;
        (*dma).device_alloc_chan_resources = Some(claim::<D>);
        (*dma).device_free_chan_resources = Some(free::<D>);
        (*dma).device_config = Some(configure::<D>);
        (*dma).device_prep_slave_sg = Some(prepare_list::<D>);
        (*dma).device_prep_dma_cyclic = Some(prepare_cycle::<D>);
        (*dma).device_issue_pending = Some(issue::<D>);
        (*dma).device_pause = Some(pause::<D>);
        (*dma).device_resume = Some(resume::<D>);
        (*dma).device_terminate_all = Some(terminate::<D>);
        (*dma).device_synchronize = Some(synchronize::<D>);
        (*dma).device_tx_status = Some(status::<D>);
        (*dma).device_release = Some(release::<D>);
    }
}

/// # Safety
///
/// Only for the dmaengine to call, with a channel of an [`Engine<D>`].
unsafe extern "C" fn claim<D: Driver>(chan: *mut dma_chan) -> c_int {
    // SAFETY: By the contract of this function.
    let channel = unsafe { Channel::<D>::from_raw(chan) };
    from_result(|| {
        if !channel.engine().is_open() {
            // Not `ENODEV`, for which the dmaengine takes the engine off its list, and then again
            // when it is released.
            return Err(ENXIO);
        }
        D::claim(&mut channel.lock()).map_err(|_| ENXIO)?;
        Ok(0)
    })
}

/// # Safety
///
/// As [`claim`].
unsafe extern "C" fn free<D: Driver>(chan: *mut dma_chan) {
    // SAFETY: As above.
    let channel = unsafe { Channel::<D>::from_raw(chan) };
    end(channel);
    settle(channel);
    // SAFETY: The channel is initialised, and nothing of it is in the hardware any more. The first
    // call waits for callbacks.
    unsafe {
        bindings::rust_helper_vchan_synchronize(channel.as_raw());
        bindings::rust_helper_vchan_free_chan_resources(channel.as_raw());
    }
}

/// # Safety
///
/// As [`claim`].
unsafe extern "C" fn configure<D: Driver>(
    chan: *mut dma_chan,
    config: *mut bindings::dma_slave_config,
) -> c_int {
    // SAFETY: As above; the configuration is valid.
    let (channel, config) = unsafe {
        let destination = (*config).dst_addr;
        (Channel::<D>::from_raw(chan), Config { destination })
    };
    from_result(|| D::configure(&mut channel.lock(), &config).map(|()| 0))
}

/// Prepares a request; null if that cannot be.
fn prepare<D: Driver>(
    channel: &Channel<D>,
    request: Result<Request>,
    direction: bindings::dma_transfer_direction,
    flags: c_ulong,
) -> *mut dma_async_tx_descriptor {
    let interrupt = flags & bindings::dma_ctrl_flags_DMA_PREP_INTERRUPT as c_ulong != 0;
    let right = direction == bindings::dma_transfer_direction_DMA_MEM_TO_DEV;
    let transfer = request.and_then(|request| match right && channel.engine().is_open() {
        true => D::prepare(&mut channel.lock(), request, interrupt),
        false => Err(EINVAL),
    });
    match transfer {
        Ok(transfer) => Descriptor::prepare(channel, transfer, flags),
        Err(_) => ptr::null_mut(),
    }
}

/// # Safety
///
/// As [`claim`].
unsafe extern "C" fn prepare_list<D: Driver>(
    chan: *mut dma_chan,
    list: *mut scatterlist,
    count: c_uint,
    direction: bindings::dma_transfer_direction,
    flags: c_ulong,
    _context: *mut c_void,
) -> *mut dma_async_tx_descriptor {
    // SAFETY: As above.
    let channel = unsafe { Channel::<D>::from_raw(chan) };
    let request = || {
        let mut pieces = KVec::with_capacity(count as usize, GFP_NOWAIT)?;
        let mut entry = list;
        for _ in 0..count {
            if entry.is_null() {
                return Err(EINVAL);
            }
            let (mut address, mut length) = (0, 0);
            // SAFETY: The list has `count` entries, which are mapped.
            entry = unsafe { bindings::rust_helper_sg_dma(entry, &mut address, &mut length) };
            if length != 0 {
                pieces.push(Piece { address, length }, GFP_NOWAIT)?;
            }
        }
        match pieces.is_empty() {
            true => Err(EINVAL),
            false => Ok(Request::List(pieces)),
        }
    };
    prepare(channel, request(), direction, flags)
}

/// # Safety
///
/// As [`claim`].
unsafe extern "C" fn prepare_cycle<D: Driver>(
    chan: *mut dma_chan,
    address: dma_addr_t,
    length: usize,
    period: usize,
    direction: bindings::dma_transfer_direction,
    flags: c_ulong,
) -> *mut dma_async_tx_descriptor {
    // SAFETY: As above.
    let channel = unsafe { Channel::<D>::from_raw(chan) };
    let request = || {
        if period == 0 || length == 0 || length % period != 0 {
            return Err(EINVAL);
        }
        let count = length / period;
        let length = u32::try_from(period)?;
        let mut pieces = KVec::with_capacity(count, GFP_NOWAIT)?;
        let mut address = address;
        for _ in 0..count {
            pieces.push(Piece { address, length }, GFP_NOWAIT)?;
            address = address.checked_add(length.into()).ok_or(EINVAL)?;
        }
        Ok(Request::Cycle(pieces))
    };
    prepare(channel, request(), direction, flags)
}

/// # Safety
///
/// As [`claim`].
unsafe extern "C" fn issue<D: Driver>(chan: *mut dma_chan) {
    // SAFETY: As above.
    let mut queue = unsafe { Channel::<D>::from_raw(chan) }.lock();
    if queue.issue_pending() {
        D::issue(&mut queue);
    }
}

/// # Safety
///
/// As [`claim`].
unsafe extern "C" fn pause<D: Driver>(chan: *mut dma_chan) -> c_int {
    // SAFETY: As above.
    let mut queue = unsafe { Channel::<D>::from_raw(chan) }.lock();
    from_result(|| D::pause(&mut queue).map(|()| 0))
}

/// # Safety
///
/// As [`claim`].
unsafe extern "C" fn resume<D: Driver>(chan: *mut dma_chan) -> c_int {
    // SAFETY: As above.
    let mut queue = unsafe { Channel::<D>::from_raw(chan) }.lock();
    from_result(|| D::resume(&mut queue).map(|()| 0))
}

/// Ends all transfers of a channel.
fn end<D: Driver>(channel: &Channel<D>) {
    let mut queue = channel.lock();
    // What is finished already keeps its outcome.
    D::look(&mut queue);
    queue.terminate();
    D::stop(&mut queue);
}

/// # Safety
///
/// As [`claim`].
unsafe extern "C" fn terminate<D: Driver>(chan: *mut dma_chan) -> c_int {
    // SAFETY: As above.
    end(unsafe { Channel::<D>::from_raw(chan) });
    0
}

/// # Safety
///
/// As [`claim`].
unsafe extern "C" fn synchronize<D: Driver>(chan: *mut dma_chan) {
    // SAFETY: As above.
    let channel = unsafe { Channel::<D>::from_raw(chan) };
    settle(channel);
    // SAFETY: The channel is initialised.
    unsafe { bindings::rust_helper_vchan_synchronize(channel.as_raw()) };
}

/// # Safety
///
/// As [`claim`].
unsafe extern "C" fn status<D: Driver>(
    chan: *mut dma_chan,
    cookie: bindings::dma_cookie_t,
    state: *mut bindings::dma_tx_state,
) -> bindings::dma_status {
    // SAFETY: As above; the state is null or valid.
    let known = || unsafe { bindings::rust_helper_dma_cookie_status(chan, cookie, state) };
    // SAFETY: As above.
    let mut queue = unsafe { Channel::<D>::from_raw(chan) }.lock();
    if known() != bindings::dma_status_DMA_COMPLETE {
        D::look(&mut queue);
    }
    if known() == bindings::dma_status_DMA_COMPLETE {
        return match queue.failed(cookie) {
            true => bindings::dma_status_DMA_ERROR,
            false => bindings::dma_status_DMA_COMPLETE,
        };
    }
    if let Some(residue) = queue.residue(cookie) {
        if !state.is_null() {
            // SAFETY: The state is valid.
            unsafe { (*state).residue = residue };
        }
    }
    match D::is_paused(queue.state()) {
        true => bindings::dma_status_DMA_PAUSED,
        false => bindings::dma_status_DMA_IN_PROGRESS,
    }
}

/// # Safety
///
/// Only for the dmaengine to call, with its mutex and an engine that was registered and that nobody will
/// request a channel of any more.
unsafe extern "C" fn release<D: Driver>(dma: *mut dma_device) {
    // SAFETY: The registration gave the C side a reference to the engine around `dma`.
    let engine = unsafe {
        let dma = Opaque::cast_from(dma.cast_const());
        Arc::from_raw(kernel::container_of!(dma, Engine<D>, dma))
    };
    free_later(engine);
}
