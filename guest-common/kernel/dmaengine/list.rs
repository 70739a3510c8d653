// SPDX-License-Identifier: GPL-2.0

//! The memory side of a transfer.

use core::{
    ops::{Deref, Range},
    ptr,
};

use kernel::{
    bindings as kbindings,
    device::{self, Bound},
    dma::Coherent,
    prelude::*,
    sync::{aref::ARef, Arc},
};

use super::Channel;
use crate::bindings;

/// Memory that an engine reaches.
///
/// # Invariants
///
/// `coherent` was allocated for `device`.
pub(crate) struct Memory {
    coherent: Coherent<[u8]>,
    device: ARef<device::Device>,
}

impl Memory {
    /// Allocates memory that `device` reaches, and so all channels of its engine; all zeroes. It has
    /// to be dropped before `device` is unbound, as whatever is allocated for a device.
    pub(crate) fn of_device(device: &device::Device<Bound>, bytes: usize) -> Result<Arc<Self>> {
        // INVARIANT: Allocated for `device`.
        let memory = Self {
            coherent: Coherent::zeroed_slice(device, bytes, GFP_KERNEL)?,
            device: device.into(),
        };
        Ok(Arc::new(memory, GFP_KERNEL)?)
    }

    /// Whether the engine of `channel` reaches it.
    pub(super) fn belongs_to(&self, channel: &Channel) -> bool {
        ptr::eq::<device::Device>(channel.engine(), &*self.device)
    }
}

impl Deref for Memory {
    type Target = Coherent<[u8]>;

    fn deref(&self) -> &Coherent<[u8]> {
        &self.coherent
    }
}

/// Pieces of memory, in the order in which an engine is to go through them
/// (`struct scatterlist`, mapped).
///
/// # Invariants
///
/// Each entry of `entries` lies within `memory` and is not empty; the last one is marked as such.
pub(crate) struct ScatterList {
    entries: KVVec<kbindings::scatterlist>,
    memory: Arc<Memory>,
    bytes: usize,
}

// SAFETY: A scatter list belongs to no thread. Its pointers are to itself and to `memory`.
unsafe impl Send for ScatterList {}
// SAFETY: It is not changed after it was made.
unsafe impl Sync for ScatterList {}

impl ScatterList {
    /// Names the parts of `memory` that a transfer reads or writes.
    ///
    /// Parts may overlap. Fails with `EINVAL` if there is none, one is empty or is not within
    /// `memory`, or their number or a length needs more than 32 bits.
    pub(crate) fn new(memory: Arc<Memory>, parts: &[Range<usize>]) -> Result<Self> {
        let count = u32::try_from(parts.len())?;
        if count == 0 {
            return Err(EINVAL);
        }

        let mut entries: KVVec<kbindings::scatterlist> =
            KVVec::from_elem(pin_init::zeroed(), parts.len(), GFP_KERNEL)?;
        // SAFETY: There are `count` entries.
        unsafe { kbindings::sg_init_table(entries.as_mut_ptr(), count) };

        let mut bytes = 0usize;
        for (entry, part) in entries.iter_mut().zip(parts) {
            let length = part.end.checked_sub(part.start).ok_or(EINVAL)?;
            if length == 0 || part.end > memory.size() {
                return Err(EINVAL);
            }
            bytes = bytes.checked_add(length).ok_or(EINVAL)?;
            let address = memory.dma_address() + part.start as u64;
            // SAFETY: `entry` is initialised.
            unsafe { bindings::rust_helper_sg_set_dma(entry, address, u32::try_from(length)?) };
        }

        // INVARIANT: Checked above for each entry; sg_init_table() marked the last one.
        Ok(Self {
            entries,
            memory,
            bytes,
        })
    }

    /// How many pieces there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The bytes in all pieces.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The memory that the pieces are in.
    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// For an engine's driver, which does not keep it beyond the preparation of a descriptor.
    pub(super) fn as_raw(&mut self) -> *mut kbindings::scatterlist {
        self.entries.as_mut_ptr()
    }
}
