// SPDX-License-Identifier: GPL-2.0

//! Memory of the RC that the endpoint may read and write: a driver for the endpoint controller's
//! function as it is after power-on, with no endpoint function behind it.
//!
//! `spider_buffer/control` in debugfs, read, says where the buffer is for the function, and how large.
//! Written, it takes one command, and fails with `EBADMSG` if what that checks is not so:
//! - `fill [SEED OFFSET LENGTH]…`: test data there, background elsewhere;
//! - `check [SEED OFFSET LENGTH]…`: whether all of that is so.

use core::ops::Range;

use kernel::{
    debugfs,
    device::Core,
    device_id::IdArray,
    dma::{Coherent, Device, DmaMask},
    fmt, pci,
    prelude::*,
    sync::Arc,
    uaccess::UserSliceReader,
};

#[path = "../../guest-common/kernel/command.rs"]
#[allow(dead_code)] // the endpoint's module needs more of it
mod command;
#[path = "../../guest-common/kernel/pattern.rs"]
#[allow(dead_code)] // as above
mod pattern;
#[path = "../../guest-common/kernel/pci_enabled.rs"]
mod pci_enabled;

use command::Command;
use pci_enabled::Enabled;

/// Bytes of the buffer: as much as the page allocator gives in one piece.
const SIZE: usize = 4 << 20;

/// The device id of the controller, of vendor Renesas, before a function has written its own.
const DEVICE_ID: u32 = 0x0031;

struct Buffer(Arc<Coherent<[u8]>>);

impl Buffer {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:#x} {:#x}", self.0.dma_address(), self.0.size())
    }

    fn control(&self, reader: &mut UserSliceReader) -> Result {
        let mut text = [0; command::MAX];
        let mut command = Command::read(reader, &mut text)?;
        let verb = command.word()?;
        let mut content = Content::default();
        while let Some(seed) = command.optional()? {
            content.add(seed, command.number()?, command.number()?)?;
        }
        match verb {
            "fill" => pattern::fill(&self.0, 0..SIZE, |offset| content.byte(offset)),
            "check" => self.check(&content),
            _ => Err(EINVAL),
        }
    }

    fn check(&self, content: &Content) -> Result {
        let Some((offset, byte)) =
            pattern::difference(&self.0, 0..SIZE, |offset| content.byte(offset))?
        else {
            return Ok(());
        };
        pr_err!(
            "at {:#x}: {:#04x} instead of {:#04x}\n",
            offset,
            byte,
            content.byte(offset)
        );
        Err(EBADMSG)
    }
}

/// Where in the buffer test data is, and of which seed; background is elsewhere.
#[derive(Default)]
struct Content(KVec<(u32, Range<usize>)>);

impl Content {
    fn add(&mut self, seed: u32, offset: usize, length: usize) -> Result {
        let end = offset.checked_add(length).ok_or(EINVAL)?;
        if end > SIZE {
            return Err(EINVAL);
        }
        Ok(self.0.push((seed, offset..end), GFP_KERNEL)?)
    }

    fn byte(&self, offset: usize) -> u8 {
        let holds = |(_, range): &&(u32, Range<usize>)| range.contains(&offset);
        match self.0.iter().find(holds) {
            Some((seed, range)) => pattern::byte(*seed, offset - range.start),
            None => pattern::BACKGROUND,
        }
    }
}

/// What a probed function holds. Fields drop in this order: the buffer goes when the function can no
/// longer write to it.
#[pin_data]
struct BufferDriver<'bound> {
    #[pin]
    _control: debugfs::File<Buffer>,
    _dir: debugfs::Dir,
    _enabled: Enabled<'bound>,
    _memory: Arc<Coherent<[u8]>>,
}

struct Driver;

// Not `pci_device_table!`: its alias would make this module a driver of the stock function in the eyes of
// modprobe and lspci. Whoever wants it loads it by name.
static PCI_TABLE: IdArray<pci::DeviceId, (), 1> =
    IdArray::new([(pci::DeviceId::from_id(pci::Vendor::RENESAS, DEVICE_ID), &())]);

impl pci::Driver for Driver {
    type IdInfo = ();
    type Data<'bound> = BufferDriver<'bound>;

    const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<BufferDriver<'bound>, Error> + 'bound {
        pin_init::pin_init_scope(move || {
            // SAFETY: Nothing is allocated or mapped for the device yet.
            unsafe { pdev.dma_set_mask_and_coherent(DmaMask::new::<64>())? };
            let memory = Coherent::<u8>::zeroed_slice(pdev.as_ref(), SIZE, GFP_KERNEL)?;
            let memory = Arc::new(memory, GFP_KERNEL)?;
            let enabled = Enabled::new(pdev)?;
            let dir = debugfs::Dir::new(c"spider_buffer");

            Ok(try_pin_init!(BufferDriver {
                _control <- dir.read_write_callback_file(
                    c"control",
                    Buffer(memory.clone()),
                    &Buffer::show,
                    &Buffer::control,
                ),
                _dir: dir,
                _enabled: enabled,
                _memory: memory,
            }))
        })
    }
}

kernel::module_pci_driver! {
    type: Driver,
    name: "spider_buffer",
    authors: ["spider-pair contributors"],
    description: "Memory that an emulated R-Car S4 PCIe endpoint may read and write",
    license: "GPL",
}
