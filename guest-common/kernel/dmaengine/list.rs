// SPDX-License-Identifier: GPL-2.0

//! The memory side of a transfer.

use core::ops::Range;

use kernel::{bindings as kbindings, dma::Coherent, prelude::*, sync::Arc};

use crate::bindings;

/// Pieces of one coherent allocation, in the order in which an engine is to go through them
/// (`struct scatterlist`, mapped).
///
/// # Invariants
///
/// Each entry of `entries` lies within `memory` and is not empty; the last one is marked as such.
pub(crate) struct ScatterList {
    entries: KVVec<kbindings::scatterlist>,
    memory: Arc<Coherent<[u8]>>,
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
    pub(crate) fn new(memory: Arc<Coherent<[u8]>>, parts: &[Range<usize>]) -> Result<Self> {
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
    pub(crate) fn memory(&self) -> &Arc<Coherent<[u8]>> {
        &self.memory
    }

    /// For an engine's driver, which does not keep it beyond the preparation of a descriptor.
    pub(super) fn as_raw(&mut self) -> *mut kbindings::scatterlist {
        self.entries.as_mut_ptr()
    }
}
