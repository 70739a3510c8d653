// SPDX-License-Identifier: GPL-2.0

//! Moves scatter lists between memory of the endpoint and an address on the PCI bus, with every
//! channel of the endpoint controller's eDMA, as a test says.
//!
//! `spider_edma_test/control` in debugfs, read, has a line for each channel. Written, it takes one
//! command:
//! - `start CHANNEL ADDRESS PIECES LONGEST SEED [TIMES]`: submits a transfer of so many pieces of 1 to
//!   LONGEST bytes, between pieces here that lie about and ADDRESS there, where they follow each
//!   other; and submits the same so many TIMES. What is to be sent is test data;
//! - `wait CHANNEL MILLISECONDS`: until all of them have ended: `ETIMEDOUT` if not in time, `EIO` if
//!   not all bytes were moved;
//! - `check CHANNEL`: whether the pieces have test data, and what is around them has none:
//!   `EBADMSG` if not;
//! - `pause CHANNEL`, `resume CHANNEL`, `terminate CHANNEL`;
//! - `raw CHANNEL OFFSET WORD…`: writes words of 64 bits to the channel's memory.

use kernel::{
    debugfs, device::Device, fmt, new_mutex, prelude::*, sync::Mutex, uaccess::UserSliceReader,
};

#[path = "../../guest-common/kernel/bindings.rs"]
mod bindings;
#[path = "../../guest-common/kernel/command.rs"]
mod command;
#[path = "../../guest-common/kernel/completion.rs"]
mod completion;
#[path = "../../guest-common/kernel/dmaengine.rs"]
#[allow(dead_code)] // serves others as well
mod dmaengine;
#[path = "../../guest-common/kernel/pattern.rs"]
mod pattern;
mod slot;

use command::Command;
use dmaengine::{Channel, DeviceAddress};
use slot::Slot;

/// Whether a DMA engine is an endpoint controller's: devices are called after their node.
fn is_endpoint(engine: &Device) -> bool {
    engine.name().to_bytes().ends_with(b".pcie-ep")
}

/// All channels that are free, those of a direction together, in the order of their numbers.
fn all_channels() -> Result<KVec<Slot>> {
    let mut slots = KVec::new();
    loop {
        match Channel::request(|candidate| is_endpoint(candidate.engine())) {
            Ok(channel) => slots.push(Slot::new(channel)?, GFP_KERNEL)?,
            Err(ENODEV) if !slots.is_empty() => return Ok(slots),
            Err(e) => return Err(e),
        }
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
            "start" => {
                // SAFETY: The remote side of an eDMA is the PCI bus. There is nothing of this
                // board's behind it but the functions' BARs, which an endpoint does not reach.
                let address = unsafe { DeviceAddress::new(command.number()?) };
                let count = command.number()?;
                let longest = command.number()?;
                let seed = command.number()?;
                let times: usize = command.optional()?.unwrap_or(1);
                command.end()?;
                slot.start(address, count, longest, seed, times)
            }
            "wait" => {
                let limit = command.number()?;
                command.end()?;
                let transfers = slot.transfers()?;
                // Other channels are not to wait as well.
                drop(slots);
                slot::wait(&transfers, limit)
            }
            "raw" => {
                let mut offset: usize = command.number()?;
                while let Some(word) = command.optional::<u64>()? {
                    slot.write(offset, word)?;
                    offset = offset.checked_add(size_of::<u64>()).ok_or(EINVAL)?;
                }
                Ok(())
            }
            verb => {
                command.end()?;
                match verb {
                    "check" => slot.check(),
                    "pause" => slot.channel.pause(),
                    "resume" => slot.channel.resume(),
                    "terminate" => slot.channel.terminate(),
                    _ => Err(EINVAL),
                }
            }
        }
    }
}

struct EdmaTest {
    _control: Pin<KBox<debugfs::File<Control>>>,
    _dir: debugfs::Dir,
}

impl kernel::Module for EdmaTest {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let slots = all_channels()
            .inspect_err(|e| pr_err!("no channel of an endpoint's eDMA is free: {:?}\n", e))?;
        let dir = debugfs::Dir::new(c"spider_edma_test");
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

module! {
    type: EdmaTest,
    name: "spider_edma_test",
    authors: ["spider-pair contributors"],
    description: "Scatter lists through the eDMA of an R-Car S4 PCIe endpoint",
    license: "GPL",
}
