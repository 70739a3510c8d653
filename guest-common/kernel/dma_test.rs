// SPDX-License-Identifier: GPL-2.0

//! Channels of a DMA engine between two boards, as a test has them work.
//!
//! A file in debugfs, read, has a line for each channel. Written, it takes one command:
//! - `start CHANNEL ADDRESS PIECES LONGEST SEED [TIMES]`: submits a transfer of so many pieces of 1 to
//!   LONGEST bytes, between pieces here that lie about and ADDRESS there, where they follow each
//!   other; and submits the same so many TIMES. What is to be sent is test data;
//! - `move CHANNEL ADDRESS OFFSET LENGTH SEED [TIMES]`: the same with one piece at OFFSET;
//! - `apart CHANNEL ADDRESS PIECES LONGEST SEED [DEPTH]`: as `start`, but each piece is a transfer of its
//!   own, DEPTH (1) of which are submitted together when those before have ended; and waits for them as
//!   `again` does. A transfer that did something else than it should leaves a place without its data;
//! - `again CHANNEL TIMES [DEPTH]`: submits the last of these so many times more, DEPTH (1) together
//!   when those before have ended, and waits for them: `ETIMEDOUT` if one does not end, `EIO` if one
//!   does not move all. How many nanoseconds it all took is in the channel's line then;
//! - `cycle CHANNEL ADDRESS LENGTH PERIOD [TOLD]`: moves the first LENGTH bytes of the channel's memory
//!   to or from ADDRESS, again and again until `terminate`; the engine tells of each PERIOD, unless
//!   TOLD is 0;
//! - `wait CHANNEL MILLISECONDS`: until all of them have ended: `ETIMEDOUT` if not in time, `EIO` if
//!   not all bytes were moved;
//! - `check CHANNEL`: whether the pieces have test data, and what is around them has none:
//!   `EBADMSG` if not;
//! - `pause CHANNEL`, `resume CHANNEL`, `terminate CHANNEL`;
//! - `raw CHANNEL OFFSET WORD…`: writes words of 64 bits to the channel's memory;
//! - `fill CHANNEL [SEED OFFSET LENGTH]…`: for transfers that others begin, the channel's memory has
//!   test data there, and background elsewhere;
//! - `holds CHANNEL [SEED OFFSET LENGTH]…`: whether all of that is so: `EBADMSG` if not.
//!
//! Stands on `dmaengine.rs`, `command.rs`, `content.rs` and `pattern.rs`.

use kernel::{
    debugfs, fmt, new_mutex,
    prelude::*,
    sync::Mutex,
    time::{Instant, Monotonic, Msecs},
    uaccess::UserSliceReader,
};

use crate::{
    command::{self, Command},
    content::Content,
    dmaengine::{Candidate, Channel, DeviceAddress},
};

#[path = "dma_test/slot.rs"]
mod slot;

use slot::{Pieces, Slot, MEMORY};

/// How long one transfer may take that is submitted again, in milliseconds.
const PATIENCE: Msecs = 5000;

/// Channels at work, and the file. Dropped, the channels are free.
pub(crate) struct Test {
    _control: Pin<KBox<debugfs::File<Control>>>,
    _dir: debugfs::Dir,
}

impl Test {
    /// Takes all channels that suit and are free, those of a direction together, in the order of
    /// their numbers; `name/control` is the file. Fails with `ENODEV` if there is none.
    ///
    /// # Safety
    ///
    /// As long as the value is there, the devices of engines whose channels suit must stay bound, and so
    /// must the drivers of those engines that [`Channel::request_of_bound`] says it of.
    pub(crate) unsafe fn new(
        name: &CStr,
        mut suits: impl FnMut(&Candidate<'_>) -> bool,
    ) -> Result<Self> {
        let mut slots = KVec::new();
        loop {
            // SAFETY: By the contract of this function.
            match unsafe { Channel::request_of_bound(&mut suits) } {
                // SAFETY: As above.
                Ok(channel) => slots.push(unsafe { Slot::new(channel) }?, GFP_KERNEL)?,
                Err(ENODEV) if !slots.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        let dir = debugfs::Dir::new(name);
        let control = KBox::pin_init(
            dir.read_write_callback_file(
                c"control",
                pin_init!(Control { slots <- new_mutex!(slots) }),
                &Control::show,
                &Control::command,
            ),
            GFP_KERNEL,
        )?;
        Ok(Self {
            _control: control,
            _dir: dir,
        })
    }
}

/// What debugfs shows.
#[pin_data]
struct Control {
    #[pin]
    slots: Mutex<KVec<Slot>>,
}

impl Control {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, slot) in self.slots.lock().iter().enumerate() {
            write!(f, "{index} ")?;
            slot.show(f)?;
            writeln!(f)?;
        }
        Ok(())
    }

    fn command(&self, reader: &mut UserSliceReader) -> Result {
        let mut text = [0; command::MAX];
        let mut command = Command::read(reader, &mut text)?;
        let verb = command.word()?;
        let index: usize = command.number()?;
        let mut slots = self.slots.lock();
        let slot = slots.get_mut(index).ok_or(ENXIO)?;
        match verb {
            "start" | "move" => {
                // SAFETY: The remote side of these engines is the PCI bus or the other board. There
                // is nothing of this board's behind it but BARs, which it does not reach.
                let address = unsafe { DeviceAddress::new(command.number()?) };
                let (first, second) = (command.number()?, command.number()?);
                let seed = command.number()?;
                let times: usize = command.optional()?.unwrap_or(1);
                command.end()?;
                let pieces = match verb {
                    "start" => Pieces::new(first, second, seed)?,
                    _ => Pieces::one(first, second, seed)?,
                };
                slot.start(address, pieces, times)
            }
            "apart" => {
                let start: u64 = command.number()?;
                let (count, longest) = (command.number()?, command.number()?);
                let seed = command.number()?;
                let depth: usize = command.optional()?.unwrap_or(1);
                command.end()?;
                if depth == 0 {
                    return Err(EINVAL);
                }
                let address = |at: usize| {
                    // SAFETY: As above.
                    unsafe { DeviceAddress::new(start.wrapping_add(at as u64)) }
                };
                slot.begin_apart(Pieces::new(count, longest, seed)?)?;
                drop(slots);
                for first in (0..count).step_by(depth) {
                    // As below, in between.
                    let mut slots = self.slots.lock();
                    let slot = slots.get_mut(index).ok_or(ENXIO)?;
                    let transfers = slot.start_apart(first, depth, address)?;
                    drop(slots);
                    slot::wait(&transfers, PATIENCE)?;
                }
                Ok(())
            }
            "cycle" => {
                // SAFETY: As above.
                let address = unsafe { DeviceAddress::new(command.number()?) };
                let (length, period) = (command.number()?, command.number()?);
                let told = command.optional::<u32>()? != Some(0);
                command.end()?;
                slot.go_round(address, length, period, told)
            }
            "wait" => {
                let limit = command.number()?;
                command.end()?;
                let transfers = slot.transfers()?;
                // Other channels are not to wait as well.
                drop(slots);
                slot::wait(&transfers, limit)
            }
            "again" => {
                let mut times: usize = command.number()?;
                let depth: usize = command.optional()?.unwrap_or(1);
                command.end()?;
                if depth == 0 {
                    return Err(EINVAL);
                }
                drop(slots);
                let begun = Instant::<Monotonic>::now();
                while times > 0 {
                    let together = times.min(depth);
                    times -= together;
                    // As above, in between.
                    let mut slots = self.slots.lock();
                    let transfers = slots.get_mut(index).ok_or(ENXIO)?.again(together)?;
                    drop(slots);
                    slot::wait(&transfers, PATIENCE)?;
                }
                let took = begun.elapsed();
                let mut slots = self.slots.lock();
                slots.get_mut(index).ok_or(ENXIO)?.took = Some(took);
                Ok(())
            }
            "raw" => {
                let mut offset: usize = command.number()?;
                while let Some(word) = command.optional::<u64>()? {
                    slot.write(offset, word)?;
                    offset = offset.checked_add(size_of::<u64>()).ok_or(EINVAL)?;
                }
                Ok(())
            }
            "fill" => Content::read(&mut command, MEMORY)?.fill(slot.memory()),
            "holds" => Content::read(&mut command, MEMORY)?.check(slot.memory()),
            verb => {
                command.end()?;
                match verb {
                    "check" => slot.check(),
                    "pause" => slot.channel.pause(),
                    "resume" => slot.channel.resume(),
                    "terminate" => slot.terminate(),
                    _ => Err(EINVAL),
                }
            }
        }
    }
}
