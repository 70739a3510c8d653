// SPDX-License-Identifier: GPL-2.0

//! Transfers that never end.

use core::ptr::NonNull;

use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
    },
};

use super::{Channel, Direction, Memory};
use crate::bindings;

/// A transfer that goes round its memory until the channel's transfers are terminated.
pub(crate) struct Cycle {
    periods: Atomic<u64>,
    _memory: Arc<Memory>,
}

impl Cycle {
    /// Times that the engine has told of the end of a period. One that is late tells once of several.
    pub(crate) fn periods(&self) -> u64 {
        self.periods.load(Relaxed)
    }

    /// # Safety
    ///
    /// Only for the engine to call, with the pointer in an `Arc<Cycle>` that lives until the channel's
    /// transfers were terminated.
    unsafe extern "C" fn period(param: *mut c_void) {
        // SAFETY: By the contract of this function.
        let this = unsafe { &*param.cast_const().cast::<Self>() };
        this.periods.fetch_add(1, Relaxed);
    }
}

impl Channel {
    /// Moves the first `length` bytes of `memory`, a multiple of `period`, to or from the device
    /// again and again, from [`Channel::issue_pending`] to [`Channel::terminate`]. An engine that can tell
    /// of each period does if it is to be `told`.
    ///
    /// Fails with `EBUSY` if the channel has a cycle, with `ENOMEM` if the engine takes it not, and with
    /// `EINVAL` if the memory is too small or was allocated for another engine.
    pub(crate) fn start_cycle(
        &mut self,
        memory: &Arc<Memory>,
        length: usize,
        period: usize,
        direction: Direction,
        told: bool,
    ) -> Result<Arc<Cycle>> {
        if self.cycle.is_some() {
            return Err(EBUSY);
        }
        if length > memory.size() || !memory.belongs_to(self) {
            return Err(EINVAL);
        }
        let cycle = Arc::new(
            Cycle {
                periods: Atomic::new(0),
                _memory: memory.clone(),
            },
            GFP_KERNEL,
        )?;
        let flags = match told {
            true => bindings::dma_ctrl_flags_DMA_PREP_INTERRUPT,
            false => 0,
        };
        // SAFETY: The channel is ours, and the memory is its engine's and has `length` bytes. It and
        // what the callback needs stay with the channel until its transfers are terminated.
        unsafe {
            let desc = NonNull::new(bindings::rust_helper_dmaengine_prep_dma_cyclic(
                self.raw().as_ptr(),
                memory.dma_address(),
                length,
                period,
                direction.as_raw(),
                flags as c_ulong,
            ))
            .ok_or(ENOMEM)?;
            (*desc.as_ptr()).callback = Some(Cycle::period);
            (*desc.as_ptr()).callback_param = Arc::as_ptr(&cycle).cast_mut().cast();
            bindings::rust_helper_dmaengine_submit(desc.as_ptr());
        }
        self.cycle = Some(cycle.clone());
        Ok(cycle)
    }
}
