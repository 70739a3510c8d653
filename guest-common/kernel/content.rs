// SPDX-License-Identifier: GPL-2.0

//! What memory is to hold, as a test says: test data of seeds at places, background elsewhere.

use core::ops::Range;

use kernel::{dma::Coherent, prelude::*};

use crate::{
    command::Command,
    pattern::{self, BACKGROUND},
};

/// Where in memory test data is, and of which seed; background is elsewhere.
pub(crate) struct Content {
    parts: KVec<(u32, Range<usize>)>,
    size: usize,
}

impl Content {
    /// Reads `[SEED OFFSET LENGTH]…`, the rest of a command; fails with `EINVAL` if a part is not
    /// within `size` bytes of memory.
    pub(crate) fn read(command: &mut Command<'_>, size: usize) -> Result<Self> {
        let mut parts = KVec::new();
        while let Some(seed) = command.optional()? {
            let offset: usize = command.number()?;
            let end = offset.checked_add(command.number()?).ok_or(EINVAL)?;
            if end > size {
                return Err(EINVAL);
            }
            parts.push((seed, offset..end), GFP_KERNEL)?;
        }
        Ok(Self { parts, size })
    }

    fn byte(&self, offset: usize) -> u8 {
        let holds = |(_, range): &&(u32, Range<usize>)| range.contains(&offset);
        match self.parts.iter().find(holds) {
            Some((seed, range)) => pattern::byte(*seed, offset - range.start),
            None => BACKGROUND,
        }
    }

    /// Makes `memory` hold it.
    pub(crate) fn fill(&self, memory: &Coherent<[u8]>) -> Result {
        pattern::fill(memory, 0..self.size, |offset| self.byte(offset))
    }

    /// Fails with `EBADMSG`, and a line that says where, if `memory` does not hold it.
    pub(crate) fn check(&self, memory: &Coherent<[u8]>) -> Result {
        let found = pattern::difference(memory, 0..self.size, |offset| self.byte(offset))?;
        let Some((offset, byte)) = found else {
            return Ok(());
        };
        pr_err!(
            "at {:#x}: {:#04x} instead of {:#04x}\n",
            offset,
            byte,
            self.byte(offset)
        );
        Err(EBADMSG)
    }
}
