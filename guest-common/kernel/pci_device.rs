// SPDX-License-Identifier: GPL-2.0

//! What `kernel::pci` of Linux 7.3 lacks for a device that carries a device-tree node.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)
//!
//! Stands on `of.rs`, which the module mounts as `mod of`.

use core::{mem, ptr};

use kernel::{bindings, device::Bound, pci, prelude::*};

use crate::of::Node;

const PCI_ANY_ID: u32 = !0;

/// The `struct pci_dev` behind a device, which `pci::Device` keeps to itself.
fn raw(pdev: &pci::Device<Bound>) -> *mut bindings::pci_dev {
    // CAST: `pci::Device` is a `#[repr(transparent)]` wrapper of `struct pci_dev`.
    ptr::from_ref(pdev).cast_mut().cast()
}

/// An entry of an id table for one vendor and device.
///
/// `pci::DeviceId::from_id` takes only vendors of the kernel's own list.
pub(crate) const fn device_id(vendor: u16, device: u16) -> pci::DeviceId {
    let id = bindings::pci_device_id {
        vendor: vendor as u32,
        device: device as u32,
        subvendor: PCI_ANY_ID,
        subdevice: PCI_ANY_ID,
        class: 0,
        class_mask: 0,
        driver_data: 0,
        override_only: 0,
    };
    // SAFETY: `pci::DeviceId` is a `#[repr(transparent)]` wrapper of `struct pci_device_id`.
    unsafe { mem::transmute::<bindings::pci_device_id, pci::DeviceId>(id) }
}

/// The node of the bus that a device sits on: that of the host bridge, or of the port above it.
pub(crate) fn bus_node<'a>(pdev: &'a pci::Device<Bound>) -> Option<&'a Node> {
    // SAFETY: A bound device has a bus, which outlives it and holds a reference to its node.
    unsafe { Node::from_raw((*(*raw(pdev)).bus).dev.of_node) }
}

/// The address of a BAR on the PCI bus, which is what a host bridge's `ranges` translates.
///
/// `bar` is 0 to 5, else the result is `EINVAL`.
pub(crate) fn bus_address(pdev: &pci::Device<Bound>, bar: u8) -> Result<u64> {
    if u32::from(bar) >= bindings::PCI_STD_NUM_BARS {
        return Err(EINVAL);
    }

    let pdev = raw(pdev);
    let mut region = bindings::pci_bus_region::default();
    // SAFETY: A bound device is valid, is on a bus, and its BARs stay where they are. No reference
    // is made to the resource, whose tree others change.
    unsafe {
        bindings::pcibios_resource_to_bus(
            (*pdev).bus,
            &mut region,
            &raw mut (*pdev).resource[usize::from(bar)],
        );
    }
    Ok(region.start)
}
