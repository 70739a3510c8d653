// SPDX-License-Identifier: GPL-2.0

//! A channel, memory for it, and its last transfers.

use core::{ops::Range, ptr};

use kernel::{
    bindings,
    device::Device,
    dma::Coherent,
    fmt,
    io::io_project,
    io::Io,
    prelude::*,
    sync::Arc,
    time::{Delta, Msecs},
};

use crate::{
    dmaengine::{
        Channel, Config, Cycle, DeviceAddress, Direction, Memory, Outcome, ScatterList, Transfer,
    },
    pattern::{self, Random, BACKGROUND},
};

/// Bytes of a channel's memory.
pub(super) const MEMORY: usize = 1 << 20;

/// Most bytes between two pieces.
const LONGEST_GAP: usize = 31;

/// Pieces of memory that have the bytes of a stream in their order, wherever each lies.
pub(super) struct Pieces {
    pieces: KVVec<Range<usize>>,
    seed: u32,
}

impl Pieces {
    /// `count` pieces of 1 to `longest` bytes; fails with `ENOSPC` if they have no place in a
    /// channel's memory.
    pub(super) fn new(count: usize, longest: usize, seed: u32) -> Result<Self> {
        if count == 0 || longest == 0 || longest > MEMORY {
            return Err(EINVAL);
        }
        let mut random = Random::new(seed);
        let mut pieces = KVVec::new();
        let mut at = 0;
        for _ in 0..count {
            let start = at + random.up_to(LONGEST_GAP);
            at = start + random.up_to(longest);
            if at > MEMORY {
                return Err(ENOSPC);
            }
            pieces.push(start..at, GFP_KERNEL)?;
        }
        for last in (1..count).rev() {
            pieces.swap(last, random.up_to(last + 1) - 1);
        }
        Ok(Self { pieces, seed })
    }

    /// One piece; fails with `EINVAL` if it is empty or not within a channel's memory.
    pub(super) fn one(offset: usize, length: usize, seed: u32) -> Result<Self> {
        let end = offset.checked_add(length).ok_or(EINVAL)?;
        if length == 0 || end > MEMORY {
            return Err(EINVAL);
        }
        let mut pieces = KVVec::new();
        pieces.push(offset..end, GFP_KERNEL)?;
        Ok(Self { pieces, seed })
    }

    /// Each piece, and where in the stream it begins.
    fn iter(&self) -> impl Iterator<Item = (Range<usize>, usize)> + '_ {
        self.pieces.iter().scan(0, |position, piece| {
            let at = *position;
            *position += piece.len();
            Some((piece.clone(), at))
        })
    }

    /// Bytes of the stream.
    fn bytes(&self) -> usize {
        self.pieces.iter().map(Range::len).sum()
    }

    fn fill(&self, memory: &Coherent<[u8]>) -> Result {
        for (piece, at) in self.iter() {
            let start = piece.start;
            pattern::fill(memory, piece, |offset| {
                pattern::byte(self.seed, at + offset - start)
            })?;
        }
        Ok(())
    }

    /// Where `memory` is not as it should be, if anywhere.
    fn difference(&self, memory: &Coherent<[u8]>) -> Result<Option<(usize, u8)>> {
        for (piece, at) in self.iter() {
            let start = piece.start;
            let found = pattern::difference(memory, piece, |offset| {
                pattern::byte(self.seed, at + offset - start)
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }

        let mut sorted = KVVec::new();
        sorted.extend_from_slice(&self.pieces, GFP_KERNEL)?;
        sorted.sort_unstable_by_key(|piece| piece.start);
        let mut end = 0;
        for piece in sorted {
            let found = pattern::difference(memory, end..piece.start, |_| BACKGROUND)?;
            if found.is_some() {
                return Ok(found);
            }
            end = piece.end;
        }
        pattern::difference(memory, end..MEMORY, |_| BACKGROUND)
    }
}

/// A channel and what it is made to do.
pub(super) struct Slot {
    pub(super) channel: Channel,
    direction: Direction,
    memory: Arc<Memory>,
    pieces: Option<Pieces>,
    transfers: KVVec<Transfer>,
    cycle: Option<Arc<Cycle>>,
    /// How long the last run of `again` took.
    pub(super) took: Option<Delta>,
}

impl Slot {
    /// # Safety
    ///
    /// The device of the channel's engine must stay bound as long as the slot is there.
    pub(super) unsafe fn new(channel: Channel) -> Result<Self> {
        // SAFETY: By the contract of this function.
        let memory = Memory::of_device(unsafe { channel.engine().as_bound() }, MEMORY)?;
        let direction = if channel.capabilities()?.moves(Direction::MemToDev) {
            Direction::MemToDev
        } else {
            Direction::DevToMem
        };
        Ok(Self {
            channel,
            direction,
            memory,
            pieces: None,
            transfers: KVVec::new(),
            cycle: None,
            took: None,
        })
    }

    /// Starts a transfer, `times` over; fails with `EBUSY` if one has not ended.
    pub(super) fn start(&mut self, address: DeviceAddress, pieces: Pieces, times: usize) -> Result {
        self.fill(&pieces)?;
        self.channel
            .configure(self.direction, &Config { address, width: 4 })?;
        self.pieces = Some(pieces);
        self.submit(times)
    }

    /// Has `pieces` ready for [`Slot::start_apart`]; fails with `EBUSY` if a transfer has not ended.
    pub(super) fn begin_apart(&mut self, pieces: Pieces) -> Result {
        self.fill(&pieces)?;
        self.pieces = Some(pieces);
        Ok(())
    }

    /// Starts `most` transfers of one piece each, from piece `first` on, or as many as are left.
    /// `address` says where the byte of the stream goes that a piece begins with. Fails with `EBUSY` if
    /// a transfer has not ended.
    pub(super) fn start_apart(
        &mut self,
        first: usize,
        most: usize,
        address: impl Fn(usize) -> DeviceAddress,
    ) -> Result<KVVec<Transfer>> {
        if !self.rests() {
            return Err(EBUSY);
        }
        self.transfers.clear();
        let pieces = self.pieces.as_ref().ok_or(ENOENT)?;
        for (piece, at) in pieces.iter().skip(first).take(most) {
            let mut list = ScatterList::new(self.memory.clone(), &[piece])?;
            let address = address(at);
            self.channel
                .configure(self.direction, &Config { address, width: 4 })?;
            let transfer = self
                .channel
                .prepare(&mut list, self.direction)?
                .submit(None)?;
            self.transfers.push(transfer, GFP_KERNEL)?;
        }
        self.channel.issue_pending();
        let mut transfers = KVVec::new();
        transfers.extend_from_slice(&self.transfers, GFP_KERNEL)?;
        Ok(transfers)
    }

    /// The memory has what a transfer of `pieces` begins with.
    fn fill(&mut self, pieces: &Pieces) -> Result {
        if !self.rests() {
            return Err(EBUSY);
        }
        pattern::fill(&self.memory, 0..MEMORY, |_| BACKGROUND)?;
        if self.direction == Direction::MemToDev {
            pieces.fill(&self.memory)?;
        }
        self.transfers.clear();
        Ok(())
    }

    /// Starts the last transfer once more, `times` over; fails with `ENOENT` if there was none, and
    /// with `EBUSY` if one has not ended.
    pub(super) fn again(&mut self, times: usize) -> Result<KVVec<Transfer>> {
        if !self.rests() {
            return Err(EBUSY);
        }
        self.transfers.clear();
        self.submit(times)?;
        self.transfers()
    }

    /// Starts the transfer, `times` over.
    fn submit(&mut self, times: usize) -> Result {
        let pieces = self.pieces.as_ref().ok_or(ENOENT)?;
        let mut list = ScatterList::new(self.memory.clone(), &pieces.pieces)?;
        for _ in 0..times {
            let transfer = self
                .channel
                .prepare(&mut list, self.direction)?
                .submit(None)?;
            self.transfers.push(transfer, GFP_KERNEL)?;
        }
        self.channel.issue_pending();
        Ok(())
    }

    /// Starts a transfer that never ends, of what the memory has, `told` of its periods or not.
    pub(super) fn go_round(
        &mut self,
        address: DeviceAddress,
        length: usize,
        period: usize,
        told: bool,
    ) -> Result {
        if !self.rests() {
            return Err(EBUSY);
        }
        self.channel
            .configure(self.direction, &Config { address, width: 4 })?;
        let cycle = self
            .channel
            .start_cycle(&self.memory, length, period, self.direction, told)?;
        self.cycle = Some(cycle);
        self.channel.issue_pending();
        Ok(())
    }

    /// Ends whatever the channel does.
    pub(super) fn terminate(&mut self) -> Result {
        self.channel.terminate()?;
        self.cycle = None;
        Ok(())
    }

    /// Whether all transfers have ended.
    fn rests(&self) -> bool {
        self.transfers
            .iter()
            .all(|transfer| transfer.outcome().is_some())
    }

    /// The last transfers; fails with `ENOENT` if there was none.
    pub(super) fn transfers(&self) -> Result<KVVec<Transfer>> {
        let mut transfers = KVVec::new();
        transfers.extend_from_slice(&self.transfers, GFP_KERNEL)?;
        if transfers.is_empty() {
            return Err(ENOENT);
        }
        Ok(transfers)
    }

    /// Fails with `EBADMSG` if the pieces of the last transfers have not what was moved, or there is
    /// something around them.
    pub(super) fn check(&self) -> Result {
        let pieces = self.pieces.as_ref().ok_or(ENOENT)?;
        let Some((offset, byte)) = pieces.difference(&self.memory)? else {
            return Ok(());
        };
        pr_err!(
            "{}: at {:#x}: {:#04x} is wrong\n",
            self.channel.name(),
            offset,
            byte
        );
        Err(EBADMSG)
    }

    /// The channel's memory.
    pub(super) fn memory(&self) -> &Coherent<[u8]> {
        &self.memory
    }

    /// Writes a word to the channel's memory.
    pub(super) fn write(&self, offset: usize, word: u64) -> Result {
        let end = offset.checked_add(size_of::<u64>()).ok_or(EINVAL)?;
        io_project!(**self.memory, [try: offset..end]).copy_from_slice(&word.to_le_bytes());
        Ok(())
    }
}

impl Slot {
    /// Most bytes of a segment that the engine's device says to take (`dma_get_max_seg_size`).
    fn longest_segment(&self) -> u32 {
        let device: &Device = self.channel.engine();
        // CAST: `Device` is a `#[repr(transparent)]` wrapper of `struct device`.
        let device: *const bindings::device = ptr::from_ref(device).cast();
        // SAFETY: The device is valid, and its parameters, if it has any, are set before its driver is
        // bound.
        unsafe { (*device).dma_parms.as_ref() }.map_or(0, |parms| parms.max_segment_size)
    }

    /// A line about the channel, without its end: what the first transfer that has not ended does,
    /// and how the last one that has did.
    pub(super) fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.direction {
            Direction::MemToDev => "write",
            Direction::DevToMem => "read",
        };
        let ended = |transfer: &&Transfer| transfer.outcome().is_some();
        f.write_fmt(fmt!("{} ", self.channel.name()))?;
        write!(
            f,
            "{direction} memory={:#x} segment={:#x} bytes={} ended={}/{}",
            self.memory.dma_address(),
            self.longest_segment(),
            self.transfers.first().map_or(0, Transfer::bytes),
            self.transfers.iter().filter(ended).count(),
            self.transfers.len()
        )?;
        if let Some(pieces) = &self.pieces {
            write!(f, " stream={}", pieces.bytes())?;
        }
        if let Some(cycle) = &self.cycle {
            write!(f, " periods={}", cycle.periods())?;
        }
        if let Some(transfer) = self.transfers.iter().find(|transfer| !ended(transfer)) {
            write!(f, " now={:?}", self.channel.progress(transfer))?;
        }
        if let Some(outcome) = self.transfers.iter().filter_map(Transfer::outcome).last() {
            write!(f, " last={outcome:?}")?;
        }
        if let Some(took) = self.took {
            write!(f, " took={}", took.as_nanos())?;
        }
        Ok(())
    }
}

/// Waits until all have ended; fails with `ETIMEDOUT` if they have not after `limit`, and with `EIO`
/// if one has not moved all.
pub(super) fn wait(transfers: &[Transfer], limit: Msecs) -> Result {
    let Some(last) = transfers.last() else {
        return Ok(());
    };
    last.wait(limit)?;
    for (index, transfer) in transfers.iter().enumerate() {
        let outcome = transfer.outcome().ok_or(ETIMEDOUT)?;
        if outcome != Outcome::Complete {
            pr_err!(
                "transfer {} of {}: {:?}, {} bytes left\n",
                index + 1,
                transfers.len(),
                outcome,
                transfer.residue()
            );
            return Err(EIO);
        }
    }
    Ok(())
}
