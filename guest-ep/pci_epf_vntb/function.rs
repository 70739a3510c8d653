// SPDX-License-Identifier: GPL-2.0

//! A PCI endpoint function that is a virtual non-transparent bridge between the RC and the EP.
//!
//! It does what `drivers/pci/endpoint/functions/pci-epf-vntb.c` does, under the same name, with the
//! same attributes in configfs and the same layout of the control block; and it can export channels
//! of the endpoint's DMA controller to the RC.
//!
//! * [`settings`]: the attributes in configfs.
//! * [`layout`]: which BAR has what, from the settings; pure.
//! * [`inbound`]: BARs with a memory window and a slice of exported DMA channels.
//! * [`notified`]: what exported channels tell the EP.
//! * [`bridge`]: the bridge at work: commands of the RC, operations of the NTB core.
//! * here: what is set up when a function is linked to a controller, and in which order it goes.

use kernel::{
    device,
    driver,
    pci,
    prelude::*,
    sync::Arc,
    ThisModule, //
};

#[path = "../../guest-common/kernel/bindings.rs"]
mod bindings;
mod bridge;
#[allow(dead_code)] // as `dmaengine`, which stands on it
#[path = "../../guest-common/kernel/completion.rs"]
mod completion;
#[path = "../../guest-common/kernel/display.rs"]
mod display;
#[allow(dead_code)] // a client that only holds channels needs the least of it
#[path = "../../guest-common/kernel/dmaengine.rs"]
mod dmaengine;
#[path = "../../guest-common/kernel/dw_edma.rs"]
mod dw_edma;
#[path = "../../guest-common/kernel/dw_iatu.rs"]
mod dw_iatu;
#[allow(dead_code, unreachable_pub)] // the crate `abi` serves others as well
#[path = "../../abi/src/edma.rs"]
mod edma;
#[allow(dead_code, unreachable_pub)] // as above
#[path = "../../abi/src/field.rs"]
mod field;
#[allow(dead_code, unreachable_pub)] // as above
#[path = "../../abi/src/iatu.rs"]
mod iatu;
mod inbound;
mod layout;
mod notified;
#[path = "../../guest-common/kernel/ntb.rs"]
mod ntb;
#[path = "../pci_ep_dma/pci_ep_dma.rs"]
mod pci_ep_dma;
#[path = "../../guest-common/kernel/pci_ep_doorbell.rs"]
mod pci_ep_doorbell;
#[path = "../../guest-common/kernel/pci_epc.rs"]
mod pci_epc;
#[path = "../../guest-common/kernel/pci_epf.rs"]
mod pci_epf;
#[path = "../../guest-common/kernel/pci_epf_bar.rs"]
mod pci_epf_bar;
#[path = "../../guest-common/kernel/pci_virtual.rs"]
mod pci_virtual;
mod settings;
#[allow(dead_code, unreachable_pub)] // the crate `abi` serves others as well
#[path = "../../abi/src/vntb.rs"]
mod vntb;
#[path = "../../guest-common/kernel/work.rs"]
mod work;

use bridge::{Bridge, Windows};
use layout::{Dma, Layout};
use notified::{Export, Notified, Shown};
use pci_ep_doorbell::Listening;
use pci_epf::{Attached, Function, Header};
use pci_epf_bar::Bar;
use settings::Settings;
use vntb::control::{self, Control};

/// The driver of the device on the virtual bus.
const PCI_DRIVER: &CStr = c"pci-vntb";
/// Base class of the function: memory controller (PCI Code and ID Assignment Specification, 1.6).
const BASE_CLASS_MEMORY: u8 = 0x05;
/// All ones: configfs says whose it is.
const ANY_ID: u16 = !0;

struct Vntb;

impl pci_epf::Driver for Vntb {
    const ID_TABLE: &'static pci_epf::IdTable = &pci_epf::IdTable::new(c"pci_epf_vntb");
    const HEADER: Header = Header {
        vendor: ANY_ID,
        device: ANY_ID,
        base_class: BASE_CLASS_MEMORY,
        interrupt_pin: true,
    };

    type Config = Settings;
    type Bound = Bound;

    fn attributes() -> &'static settings::ItemType {
        settings::attributes()
    }

    fn probe(function: &Function) -> impl PinInit<Settings, Error> {
        dev_info!(function, "pci-ep epf driver loaded\n");
        Settings::new()
    }

    fn bind(function: &Attached, settings: &Settings) -> Result<Bound> {
        let values = settings.values();
        let layout = Layout::new(function, &values)?;
        let bound = Bound::new(function, &layout)?;
        settings.assigned(&layout);
        Ok(bound)
    }
}

/// A function at work. Fields drop in this order: whoever uses a thing goes before it.
struct Bound {
    _bus: pci_virtual::Bus<Bridge>,
    _work: bridge::Work,
    // Leads to the doorbells.
    _doorbell_bar: Option<Bar>,
    _doorbells: Option<Listening<Bridge>>,
    _bridge: Arc<Bridge>,
    // The bridge's BARs lead there.
    _export: Option<Export>,
    _notified: Option<Shown>,
}

impl Bound {
    fn new(function: &Attached, layout: &Layout) -> Result<Self> {
        let mut control = layout.control();

        let mut control_bar = Bar::take(function, layout.control_bar)?;
        control_bar
            .allocate(layout.control_size())
            .inspect_err(|_| dev_err!(function, "no memory for control block and scratchpads\n"))?;
        control_bar.set().inspect_err(|_| {
            dev_err!(
                function,
                "BAR {} cannot be set\n",
                u32::from(layout.control_bar)
            )
        })?;
        function
            .set_msi(layout.vectors)
            .inspect_err(|_| dev_err!(function, "MSI configuration failed\n"))?;

        let (export, notified) = match layout.dma {
            Some(Dma { slice, routing, .. }) => {
                let notified = Notified::new(routing, slice.num_chans() as usize);
                let notified = Arc::new(notified, GFP_KERNEL)?;
                let export = Export::new(function, slice, &routing, notified.clone())?;
                (Some(export), Some(Shown::new(function.as_ref(), notified)?))
            }
            None => (None, None),
        };
        let windows = Windows::new(function, layout, export.as_ref())?;
        function
            .write_header()
            .inspect_err(|_| dev_err!(function, "the header cannot be written\n"))?;

        let bridge = Bridge::new(function, layout, control_bar, windows)?;
        let (doorbells, doorbell_bar) = match doorbells(function, layout, &bridge, &mut control) {
            Ok((doorbells, bar)) => (Some(doorbells), bar),
            Err(_) => {
                bridge.poll_in(polled(function, layout, &mut control)?);
                (None, None)
            }
        };
        bridge.publish(&control);
        let work = bridge::Work::new(bridge.clone());
        let bus = pci_virtual::Bus::new(
            layout.bus_number,
            layout.vendor,
            layout.device,
            PCI_DRIVER,
            bridge.clone(),
        )
        .inspect_err(|_| dev_err!(function, "the virtual PCI bus cannot be made\n"))?;
        work.start();
        Ok(Self {
            _bus: bus,
            _work: work,
            _doorbell_bar: doorbell_bar,
            _doorbells: doorbells,
            _bridge: bridge,
            _export: export,
            _notified: notified,
        })
    }
}

/// Interrupts as doorbells, which `bridge` hears, and the BAR through which the RC rings them, unless
/// that is one of the controller's own.
fn doorbells(
    function: &Attached,
    layout: &Layout,
    bridge: &Arc<Bridge>,
    control: &mut Control,
) -> Result<(Listening<Bridge>, Option<Bar>)> {
    let name = c"pci_epf_vntb_db";
    let doorbells = Listening::new(function, layout.slots, bridge.clone(), name)?;
    let places = control.db_data.iter_mut().zip(&mut control.db_offset);
    let (low, high) = doorbells
        .all()
        .iter()
        .fold((u64::MAX, 0), |(low, high), doorbell| {
            (low.min(doorbell.address), high.max(doorbell.address))
        });

    if doorbells.all().iter().any(|one| one.exposed.is_some()) {
        for (doorbell, (data, offset)) in doorbells.all().iter().zip(places) {
            match doorbell.exposed {
                Some((bar, at)) if bar == layout.doorbell_bar => {
                    *data = doorbell.data;
                    *offset = u32::try_from(at)?;
                }
                _ => return Err(EINVAL),
            }
        }
        return Ok((doorbells, None));
    }

    let size = high.checked_sub(low).ok_or(EINVAL)? + u64::from(control::WORD);
    let mut bar = Bar::take(function, layout.doorbell_bar)?;
    bar.point_around(low, usize::try_from(size)?)?;
    for (doorbell, (data, offset)) in doorbells.all().iter().zip(places) {
        *data = doorbell.data;
        *offset = u32::try_from(bar.offset_of(doorbell.address)?)?;
    }
    bar.set()?;
    control.db_entry_size = 0;
    Ok((doorbells, Some(bar)))
}

/// Memory as doorbells, into which the EP looks now and then.
fn polled(function: &Attached, layout: &Layout, control: &mut Control) -> Result<Bar> {
    control.db_entry_size = control::WORD;
    control.db_data.fill(0);
    for (number, data) in (1..=layout.slots.into()).zip(&mut control.db_data) {
        *data = number;
    }
    control.db_offset.fill(0);
    let mut bar = Bar::take(function, layout.doorbell_bar)?;
    bar.allocate(usize::from(layout.slots) * control::WORD as usize)
        .and_then(|()| bar.set())
        .inspect_err(|_| dev_err!(function, "the doorbell BAR cannot be set\n"))?;
    Ok(bar)
}

/// Carries the bridge on a PCI device, as the NTB core wants it.
struct PciVntb;

kernel::pci_device_table!(
    PCI_TABLE,
    <PciVntb as pci::Driver>::IdInfo,
    // Nothing real: our device finds its driver by name (`driver_override`).
    [(pci::DeviceId::from_class(!0, !0), ())]
);

impl pci::Driver for PciVntb {
    type IdInfo = ();
    type Data<'bound> = ntb::Registration<'bound, Bridge>;

    const ID_TABLE: pci::IdTable<()> = &PCI_TABLE;

    fn probe<'bound>(
        pdev: &'bound pci::Device<device::Core<'_>>,
        _info: Option<&'bound ()>,
    ) -> impl PinInit<ntb::Registration<'bound, Bridge>, Error> + 'bound {
        let bridge = pci_virtual::Bus::<Bridge>::content(pdev).ok_or(ENODEV)?;
        pci_virtual::set_dma_mask(pdev).inspect_err(|_| dev_err!(pdev, "Cannot set DMA mask\n"))?;
        // SAFETY: The driver core keeps the registration, and drops it.
        unsafe { ntb::Registration::new(bridge.clone(), pdev) }
            .inspect_err(|_| dev_err!(pdev, "Failed to register NTB device\n"))
    }
}

/// Fields drop in this order.
#[pin_data]
struct Module {
    #[pin]
    _epf: driver::Registration<pci_epf::Adapter<Vntb>>,
    #[pin]
    _pci: driver::Registration<pci::Adapter<PciVntb>>,
}

impl kernel::InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _pci <- driver::Registration::new(PCI_DRIVER, module),
            _epf <- driver::Registration::new(c"pci_epf_vntb", module),
        })
    }
}

module! {
    type: Module,
    name: "pci_epf_vntb",
    authors: ["spider-pair contributors"],
    description: "PCI endpoint function: virtual NTB, with DMA export",
    license: "GPL",
}
