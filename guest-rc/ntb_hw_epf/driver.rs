// SPDX-License-Identifier: GPL-2.0

//! The RC's end of a virtual non-transparent bridge, whose other end is an endpoint function.
//!
//! It does what `drivers/ntb/hw/epf/ntb_hw_epf.c` does, under the same name and for the same devices,
//! and works with its peers; and it understands version 1 of the control block, in which an endpoint
//! says that it exports DMA channels. For these it makes a device on the auxiliary bus, and leaves
//! them to the driver of that (`abi::vntb::child`).
//!
//! What it reads through the BARs was written by the peer, so all of it is checked (`abi::vntb`): a
//! control block that cannot be right ends the probe, an export that cannot be right is refused, and
//! the bridge works without it.
//!
//! * [`map`]: which BAR of which device has what.
//! * [`registers`]: a BAR as long as the device is there.
//! * [`peer`]: what the endpoint says of itself.
//! * [`endpoint`]: the bridge at work.
//! * here: probe and removal.

use kernel::{
    device::Core,
    dma::{Device as _, DmaMask},
    pci,
    prelude::*,
    sync::Arc, //
};

#[cfg_attr(
    CONFIG_AUXILIARY_BUS,
    path = "../../guest-common/kernel/auxiliary_child.rs"
)]
#[cfg_attr(not(CONFIG_AUXILIARY_BUS), path = "no_child.rs")]
mod auxiliary_child;
#[path = "../../guest-common/kernel/bindings.rs"]
mod bindings;
#[cfg(CONFIG_AUXILIARY_BUS)]
#[path = "../../guest-common/kernel/completion.rs"]
mod completion;
#[path = "../../guest-common/kernel/display.rs"]
mod display;
mod endpoint;
mod map;
#[allow(dead_code)] // the endpoint's driver needs more of it
#[path = "../../guest-common/kernel/ntb.rs"]
mod ntb;
#[path = "../../guest-common/kernel/pci_enabled.rs"]
mod pci_enabled;
#[path = "../../guest-common/kernel/pci_id.rs"]
mod pci_id;
#[path = "../../guest-common/kernel/pci_irq.rs"]
mod pci_irq;
#[path = "../../guest-common/kernel/pci_vector.rs"]
mod pci_vector;
mod peer;
mod registers;
#[allow(dead_code, unreachable_pub)] // the crate `abi` serves others as well
#[path = "../../abi/src/vntb.rs"]
mod vntb;

use endpoint::{Doorbells, Endpoint, Offers};
use map::Map;
use pci_enabled::Enabled;
use pci_irq::{Listening, Vectors};
use vntb::irq;

/// Memory controller, RAM (PCI Code and ID Assignment Specification, 1.6).
const CLASS_MEMORY_RAM: u16 = 0x0500;

/// What a probed device holds. Fields drop in this order: whoever uses a thing goes before it.
struct Bound<'bound> {
    _ntb: ntb::Registration<'bound, Endpoint>,
    _offers: Offers,
    _doorbells: Doorbells,
    _interrupts: Listening<'bound, Endpoint>,
    _endpoint: Arc<Endpoint>,
    _enabled: Enabled<'bound>,
}

struct NtbEpf;

kernel::pci_device_table!(
    PCI_TABLE,
    <NtbEpf as pci::Driver>::IdInfo,
    [
        // Texas Instruments J721E.
        (
            pci_id::with_class(0x104c, 0xb00d, CLASS_MEMORY_RAM),
            &map::J721E
        ),
        // Freescale (NXP) i.MX 8.
        (
            pci_id::with_class(0x1957, 0x0809, CLASS_MEMORY_RAM),
            &map::MX8
        ),
        // Renesas R-Car.
        (
            pci_id::with_class(0x1912, 0x0030, CLASS_MEMORY_RAM),
            &map::RCAR
        ),
    ]
);

/// Lets the device reach all memory, or else what is below 4 GiB.
fn set_dma_mask(pdev: &pci::Device<Core<'_>>) -> Result {
    // SAFETY: The device is being probed: nobody maps or allocates memory for it meanwhile.
    let set = |mask| unsafe { pdev.dma_set_mask_and_coherent(mask) };
    set(DmaMask::new::<64>()).or_else(|_| {
        dev_warn!(pdev, "Cannot DMA highmem\n");
        set(DmaMask::new::<32>())
    })
}

impl pci::Driver for NtbEpf {
    type IdInfo = &'static Map;
    type Data<'bound> = Bound<'bound>;

    const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        map: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Bound<'bound>, Error> + 'bound {
        // A device that was made ours by its name alone (`driver_override`) has no map.
        let map = *map.ok_or(EINVAL)?;
        let enabled = Enabled::without_master(pdev)
            .inspect_err(|_| dev_err!(pdev, "Cannot enable PCI device\n"))?;
        set_dma_mask(pdev).inspect_err(|_| dev_err!(pdev, "Cannot set DMA mask\n"))?;

        let vectors = Vectors::new(pdev, irq::MIN_VECTORS, irq::MAX_VECTORS)
            .inspect_err(|_| dev_err!(pdev, "Failed to get MSI interrupts\n"))?;
        let endpoint = Endpoint::new(pdev, map, vectors.count())?;
        let msix = vectors.is_msix();
        // SAFETY: The driver core keeps the result, and drops it.
        let interrupts = unsafe { vectors.listen(&endpoint, endpoint.vectors(), c"ntb_epf") }
            .inspect_err(|_| dev_err!(pdev, "Failed to request irq\n"))?;
        let doorbells = Doorbells::configure(endpoint.clone(), msix)
            .inspect_err(|_| dev_err!(pdev, "Failed to configure doorbell\n"))?;
        // The endpoint may still have windows onto what was memory of the kernel before us, until it
        // has heard of our vectors.
        pdev.set_master();
        // SAFETY: The driver core keeps the registration, and drops it.
        let ntb = unsafe { ntb::Registration::new(endpoint.clone(), pdev) }
            .inspect_err(|_| dev_err!(pdev, "Failed to register NTB device\n"))?;
        Ok(Bound {
            _ntb: ntb,
            _offers: Offers(endpoint.clone()),
            _doorbells: doorbells,
            _interrupts: interrupts,
            _endpoint: endpoint,
            _enabled: enabled,
        })
    }
}

/// Whoever loads this driver wants what drives the channels as well, and before a client asks for one;
/// without a udev nobody loads that by its alias.
#[cfg(MODULE)]
#[link_section = ".modinfo"]
#[used]
static SOFTDEP: [u8; 25] = *b"softdep=pre: dw_edma_aux\0";

kernel::module_pci_driver! {
    type: NtbEpf,
    name: "ntb_hw_epf",
    authors: ["spider-pair contributors"],
    description: "NTB host driver for PCI endpoint functions",
    license: "GPL",
}
