// SPDX-License-Identifier: GPL-2.0

//! Test data that both boards can make and recognise without telling each other more than a seed.

use core::ops::Range;

use kernel::{dma::Coherent, io::io_project, io::Io, prelude::*};

/// What memory holds where no data belongs.
pub(crate) const BACKGROUND: u8 = 0xa5;

/// Bytes that are looked at at a time.
const CHUNK: usize = 256;

/// Numbers that look like chance and follow from a seed (xorshift32, Marsaglia 2003).
#[derive(Clone, Debug)]
pub(crate) struct Random(u32);

impl Random {
    pub(crate) fn new(seed: u32) -> Self {
        // The state 0 has no successor but itself.
        Self(seed.wrapping_mul(0x9e37_79b9) | 1)
    }

    /// A number from 1 to `limit`, which is not 0.
    pub(crate) fn up_to(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        1 + (self.0 as usize) % limit
    }
}

/// The byte at `index` of the stream of a seed. Neighbours differ, and so do pages and seeds.
pub(crate) fn byte(seed: u32, index: usize) -> u8 {
    let mixed = (index as u32 ^ seed.rotate_left(16)).wrapping_mul(0x9e37_79b1);
    (mixed >> 24) as u8 ^ (mixed >> 11) as u8
}

/// Writes `value` of each offset to `memory`; fails with `EINVAL` if `range` is not within it.
pub(crate) fn fill(
    memory: &Coherent<[u8]>,
    range: Range<usize>,
    value: impl Fn(usize) -> u8,
) -> Result {
    let mut chunk = [0; CHUNK];
    for start in range.clone().step_by(CHUNK) {
        let end = range.end.min(start + CHUNK);
        let part = &mut chunk[..end - start];
        for (offset, byte) in (start..end).zip(part.iter_mut()) {
            *byte = value(offset);
        }
        io_project!(memory, [try: start..end]).copy_from_slice(part);
    }
    Ok(())
}

/// The first offset in `range` at which `memory` is not what `value` says, and what it is there.
/// Fails with `EINVAL` if `range` is not within `memory`.
pub(crate) fn difference(
    memory: &Coherent<[u8]>,
    range: Range<usize>,
    value: impl Fn(usize) -> u8,
) -> Result<Option<(usize, u8)>> {
    let mut chunk = [0; CHUNK];
    for start in range.clone().step_by(CHUNK) {
        let end = range.end.min(start + CHUNK);
        let part = &mut chunk[..end - start];
        io_project!(memory, [try: start..end]).copy_to_slice(part);
        if let Some((offset, &byte)) = (start..end).zip(&*part).find(|&(at, &is)| is != value(at)) {
            return Ok(Some((offset, byte)));
        }
    }
    Ok(None)
}
