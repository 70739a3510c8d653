// SPDX-License-Identifier: GPL-2.0

//! Ids of PCI devices that `pci::DeviceId` of Linux 7.3 cannot make.
//!
//! C header: [`include/linux/mod_devicetable.h`](srctree/include/linux/mod_devicetable.h)

use core::mem;

use kernel::{bindings, pci};

const ANY: u32 = !0;
/// Base class and subclass, without the programming interface.
const CLASS_MASK: u32 = 0xff_ff00;

/// An entry of an id table for one vendor and device of one class, given as base class and subclass.
pub(crate) const fn with_class(vendor: u16, device: u16, class: u16) -> pci::DeviceId {
    let id = bindings::pci_device_id {
        vendor: vendor as u32,
        device: device as u32,
        subvendor: ANY,
        subdevice: ANY,
        class: (class as u32) << 8,
        class_mask: CLASS_MASK,
        driver_data: 0,
        override_only: 0,
    };
    // SAFETY: `pci::DeviceId` is a `#[repr(transparent)]` wrapper of `struct pci_device_id`.
    unsafe { mem::transmute::<bindings::pci_device_id, pci::DeviceId>(id) }
}
