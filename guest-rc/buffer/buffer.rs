// SPDX-License-Identifier: GPL-2.0

//! Memory of the RC that the endpoint may read and write: a driver for the endpoint controller's
//! function as it is after power-on, with no endpoint function behind it.
//!
//! `spider_buffer/control` in debugfs, read, says where the buffer is for the function, and how large.
//! Written, it takes one command, and fails with `EBADMSG` if what that checks is not so:
//! - `fill [SEED OFFSET LENGTH]…`: test data there, background elsewhere;
//! - `check [SEED OFFSET LENGTH]…`: whether all of that is so.

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
#[path = "../../guest-common/kernel/content.rs"]
mod content;
#[path = "../../guest-common/kernel/pattern.rs"]
#[allow(dead_code)] // as above
mod pattern;
#[path = "../../guest-common/kernel/pci_enabled.rs"]
mod pci_enabled;

use command::Command;
use content::Content;
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
        let content = Content::read(&mut command, SIZE)?;
        match verb {
            "fill" => content.fill(&self.0),
            "check" => content.check(&self.0),
            _ => Err(EINVAL),
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
