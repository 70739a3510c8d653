// SPDX-License-Identifier: GPL-2.0

//! Makes the endpoint face of an emulated R-Car S4, a PCI device, the platform device that the
//! kernel's own `pcie-rcar-gen4` driver binds to.
//!
//! The PCI device gets a device-tree node, which is a bus (one range for each BAR) and an interrupt
//! controller (one line, the device's MSI). An overlay puts the endpoint controller below it. This
//! is what `drivers/misc/lan966x_pci.c` does, except that the node is made here: the PCI core only
//! makes one for bridges and a few ids that it knows.
//!
//! No region stays requested: the children map and request the BARs.

use kernel::{
    device::Core,
    io::Io,
    pci,
    prelude::*,
    str::CString, //
};

#[path = "../../guest-common/kernel/bindings.rs"]
mod bindings;
#[allow(dead_code, unreachable_pub)] // the crate `abi` serves others as well
#[path = "../../abi/src/edma.rs"]
mod edma;
#[allow(dead_code, unreachable_pub)]
#[path = "../../abi/src/field.rs"]
mod field;
#[path = "../../guest-common/kernel/irq_domain.rs"]
mod irq_domain;
#[path = "../../guest-common/kernel/of.rs"]
mod of;
#[path = "../../guest-common/kernel/pci_device.rs"]
mod pci_device;
#[path = "../../guest-common/kernel/pci_enabled.rs"]
mod pci_enabled;
#[allow(dead_code, unreachable_pub)] // the crate `abi` serves others as well
#[path = "../../abi/src/spider.rs"]
mod spider;

use irq_domain::Forward;
use of::{Children, DeviceNode, NewNode, Node, Overlay, Property};
use pci_enabled::Enabled;
use spider::ep_face;

/// `phys.hi` of a PCI address: 32-bit memory, not relocatable (IEEE 1275 PCI bus binding, 2.2.1.1).
const SPACE_MEM32: u32 = 0x8200_0000;

/// The BARs that the children's addresses are in, with their sizes.
const BARS: [(u8, u32); 2] = [
    (spider::REGISTERS_BAR, spider::REGISTERS_SIZE),
    (spider::WINDOW_BAR, spider::WINDOW_SIZE),
];

/// What a probed device holds. Fields drop in this order, which is the order of the teardown:
/// whoever uses a thing goes before it.
struct Bridge<'bound> {
    _children: Children<'bound>,
    _iommus: Option<Property>,
    _overlay: Overlay,
    _interrupt: Forward<'bound>,
    _node: DeviceNode<'bound>,
    _enabled: Enabled<'bound>,
}

struct BridgeDriver;

kernel::pci_device_table!(
    PCI_TABLE,
    <BridgeDriver as pci::Driver>::IdInfo,
    [(
        pci_device::device_id(ep_face::VENDOR_ID, ep_face::DEVICE_ID),
        ()
    )]
);

/// Describes the device as a bus: child addresses are a BAR's number and an offset in it.
fn new_node(pdev: &pci::Device<Core<'_>>) -> Result<NewNode> {
    let Some(parent) = pci_device::bus_node(pdev) else {
        dev_err!(
            pdev,
            "no device-tree node on this bus: plug the device into the root bus (pcie.0)\n"
        );
        return Err(ENODEV);
    };

    let devfn = u32::from(pdev.dev_id()) & 0xff;
    let name = CString::try_from_fmt(fmt!("dev@{:x},{:x}", devfn >> 3, devfn & 7))?;
    let compatible =
        CString::try_from_fmt(fmt!("pci{:x},{:x}", ep_face::VENDOR_ID, ep_face::DEVICE_ID))?;

    let mut ranges = KVec::new();
    for (bar, size) in BARS {
        if pdev.resource_len(bar.into())? != size.into() {
            dev_err!(
                pdev,
                "BAR {} is not {:#x} bytes: device and module are of different versions\n",
                bar,
                size
            );
            return Err(ENODEV);
        }
        let Ok(address) = u32::try_from(pci_device::bus_address(pdev, bar)?) else {
            dev_err!(
                pdev,
                "BAR {} is above 4 GiB, where the children's DMA mask does not reach\n",
                bar
            );
            return Err(ENODEV);
        };
        let range = [bar.into(), 0, 0, SPACE_MEM32, 0, address, 0, size];
        ranges.extend_from_slice(&range, GFP_KERNEL)?;
    }

    let mut node = NewNode::new(parent, &name)?;
    node.string(c"compatible", &compatible)?;
    // Configuration space: bus, device and function, size 0.
    node.cells(c"reg", &[u32::from(pdev.dev_id()) << 8, 0, 0, 0, 0])?;
    node.cells(c"#address-cells", &[3])?;
    node.cells(c"#size-cells", &[2])?;
    node.cells(c"ranges", &ranges)?;
    node.cells(c"#interrupt-cells", &[1])?;
    node.flag(c"interrupt-controller")?;
    Ok(node)
}

/// Tells the controller below `node` of the IOMMU that translates for this PCI device, if one does: the controller's
/// DMA comes from here, but a platform device's IOMMU is looked for in its own node alone.
fn behind_iommu(pdev: &pci::Device<Core<'_>>, node: &Node) -> Result<Option<Property>> {
    let bus = pci_device::bus_node(pdev).ok_or(ENODEV)?;
    let Some(cells) = bus.iommu_of(pdev.dev_id().into())? else {
        return Ok(None);
    };
    let controller = node
        .child(c"pci-ep-bus")
        .and_then(|bus| bus.child(c"pcie-ep"))
        .ok_or(ENODEV)?;
    Property::cells(&controller, c"iommus", &cells).map(Some)
}

/// Whether the controller has an eDMA, by the channels that it counts, as the stock driver does
/// (`dw_pcie_edma_find_channels`).
fn has_edma(pdev: &pci::Device<Core<'_>>) -> Result<bool> {
    // Requested for this look alone: the children are not there yet.
    let registers = pdev.iomap_region(spider::REGISTERS_BAR.into(), c"spider-bridge")?;
    let ctrl = registers.try_read32((spider::DMA.offset + edma::CTRL).try_into()?)?;
    Ok(edma::WRITE_CHANNELS.get(ctrl) != 0)
}

impl pci::Driver for BridgeDriver {
    type IdInfo = ();
    type Data<'bound> = Bridge<'bound>;

    const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Bridge<'bound>, Error> + 'bound {
        let enabled = Enabled::new(pdev)?;
        let node = new_node(pdev)?.attach(pdev.as_ref())?;

        // The domain has to be there before the overlay's nodes look for their interrupt parent.
        let msi = pci::IrqTypes::default().with(pci::IrqType::Msi);
        let vectors = pdev
            .alloc_irq_vectors(1, ep_face::MSI_VECTORS.into(), msi)
            .inspect_err(|e| dev_err!(pdev, "no MSI ({:?}): is there an ITS or GICv2m?\n", e))?;
        // SAFETY: Dropped here if something below fails, else with `Bridge`, at unbind; either way
        // after the children, which alone use the line.
        let interrupt = unsafe { Forward::new(vectors, &node, c"spider-bridge") }?;

        let blob = match has_edma(pdev)? {
            true => of::embedded_overlay!(__dtbo_r8a779f0_ep_begin, __dtbo_r8a779f0_ep_end),
            false => of::embedded_overlay!(
                __dtbo_r8a779f0_ep_no_edma_begin,
                __dtbo_r8a779f0_ep_no_edma_end
            ),
        };
        let overlay = Overlay::apply(blob, &node)?;
        let iommus = behind_iommu(pdev, &node)?;
        let children = Children::populate(pdev.as_ref())?;

        dev_info!(pdev, "R-Car S4 endpoint controller attached\n");
        Ok(Bridge {
            _children: children,
            _iommus: iommus,
            _overlay: overlay,
            _interrupt: interrupt,
            _node: node,
            _enabled: enabled,
        })
    }
}

kernel::module_pci_driver! {
    type: BridgeDriver,
    name: "spider_bridge",
    authors: ["spider-pair contributors"],
    description: "Emulated R-Car S4 PCIe endpoint as a platform device",
    license: "GPL",
}
