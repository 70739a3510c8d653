// SPDX-License-Identifier: GPL-2.0

//! A PCI bus that is not there, with one device on it, so that a driver of PCI devices can carry
//! something that is not one.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

use core::{
    any::TypeId,
    ptr::{self, NonNull},
};

use kernel::{
    bindings,
    device,
    dma::{Device as _, DmaMask},
    error::to_result,
    pci,
    prelude::*,
    sync::Arc, //
};

/// Words of a configuration space, without extensions.
const WORDS: usize = 16;

/// A bus with one device, number 0, whose configuration space is read-only. Dropped, both are gone,
/// and before them the device's driver.
///
/// # Invariants
///
/// `bus` is a root bus of [`OPS`] whose `sysdata` is `_data`.
pub(crate) struct Bus<T: Send + Sync + 'static> {
    bus: NonNull<bindings::pci_bus>,
    _data: KBox<Data<T>>,
}

/// What the C side keeps for a bus. Its layout lets operations see the head without knowing `T`.
#[repr(C)]
struct Data<T> {
    head: Head,
    content: Arc<T>,
}

struct Head {
    config: [u32; WORDS],
    content: TypeId,
}

/// Operations of all buses of this kind, by whose address they are known.
static OPS: bindings::pci_ops = bindings::pci_ops {
    read: Some(read),
    write: Some(write),
    ..pin_init::zeroed()
};

// SAFETY: A bus belongs to no thread; what it consists of is locked on the C side.
unsafe impl<T: Send + Sync> Send for Bus<T> {}

impl<T: Send + Sync> Bus<T> {
    /// Makes a bus with the number `number` and a device of these ids, which only the driver called
    /// `driver` can have; it gets `content` by [`Bus::content`].
    ///
    /// The class is all ones, so that nobody takes the device for what it is not.
    pub(crate) fn new(
        number: u8,
        vendor: u16,
        device: u16,
        driver: &CStr,
        content: Arc<T>,
    ) -> Result<Self> {
        let mut config = [0; WORDS];
        config[0] = u32::from(device) << 16 | u32::from(vendor);
        config[2] = !0; // class, revision
        config[3] = 0x40; // cache line size
        let head = Head {
            config,
            content: TypeId::of::<T>(),
        };
        let data = KBox::new(Data { head, content }, GFP_KERNEL)?;

        let sysdata = ptr::from_ref(&*data).cast_mut().cast();
        // SAFETY: The operations are never written to, and with the data they outlive the bus.
        let bus =
            unsafe { bindings::pci_scan_bus(number.into(), (&raw const OPS).cast_mut(), sysdata) };
        // INVARIANT: Just made so.
        let this = Self {
            bus: NonNull::new(bus).ok_or(EINVAL)?,
            _data: data,
        };

        // SAFETY: The bus is valid. The device, if it was found, is referenced until the put below.
        unsafe {
            let pdev = bindings::pci_get_slot(bus, 0);
            if pdev.is_null() {
                return Err(ENODEV);
            }
            let overridden = to_result(bindings::__device_set_driver_override(
                &raw mut (*pdev).dev,
                driver.as_char_ptr(),
                driver.to_bytes().len(),
            ));
            bindings::pci_dev_put(pdev);
            overridden?;
            bindings::pci_lock_rescan_remove();
            bindings::pci_bus_add_devices(bus);
            bindings::pci_unlock_rescan_remove();
        }
        Ok(this)
    }

    /// What the bus of `pdev` carries, if it is a bus of this kind.
    pub(crate) fn content(pdev: &pci::Device<device::Bound>) -> Option<&Arc<T>> {
        // CAST: `pci::Device` is a `#[repr(transparent)]` wrapper of `struct pci_dev`.
        let pdev: *mut bindings::pci_dev = ptr::from_ref(pdev).cast_mut().cast();
        // SAFETY: A device has a bus as long as it is there. Only buses of this kind have these
        // operations; their data starts with a `Head`, is of the type that this says, and outlives
        // their devices' drivers.
        unsafe {
            let bus = (*pdev).bus;
            if !ptr::eq((*bus).ops, &raw const OPS) {
                return None;
            }
            let data = (*bus).sysdata.cast_const();
            if (*data.cast::<Head>()).content != TypeId::of::<T>() {
                return None;
            }
            Some(&(*data.cast::<Data<T>>()).content)
        }
    }
}

extern "C" fn read(
    bus: *mut bindings::pci_bus,
    devfn: c_uint,
    place: c_int,
    size: c_int,
    value: *mut u32,
) -> c_int {
    let Ok(place) = usize::try_from(place) else {
        // CAST: A small constant.
        return bindings::PCIBIOS_BAD_REGISTER_NUMBER as c_int;
    };
    if devfn != 0 {
        return bindings::PCIBIOS_DEVICE_NOT_FOUND as c_int;
    }
    // SAFETY: The PCI core calls this for a bus of this kind, whose data starts with a `Head`, with
    // room for a value.
    unsafe {
        let head = (*bus).sysdata.cast_const().cast::<Head>();
        let word = (*head).config.get(place / 4).copied().unwrap_or(0);
        let shifted = word >> (8 * (place % 4));
        value.write(match size {
            1 => shifted & 0xff,
            2 => shifted & 0xffff,
            _ => shifted,
        });
    }
    0
}

extern "C" fn write(
    _bus: *mut bindings::pci_bus,
    _devfn: c_uint,
    _place: c_int,
    _size: c_int,
    _value: u32,
) -> c_int {
    0
}

impl<T: Send + Sync> Drop for Bus<T> {
    fn drop(&mut self) {
        let bus = self.bus.as_ptr();
        // SAFETY: By the type invariant; the bridge is that which `pci_scan_bus` allocated for the
        // bus. The lock keeps others from scanning meanwhile.
        unsafe {
            let bridge = kernel::container_of!((*bus).bridge, bindings::pci_host_bridge, dev);
            bindings::pci_lock_rescan_remove();
            bindings::pci_stop_root_bus(bus);
            bindings::pci_remove_root_bus(bus);
            bindings::pci_unlock_rescan_remove();
            bindings::pci_free_host_bridge(bridge);
        }
    }
}

/// Lets a virtual device address 4 GiB, as clients that look at its mask expect.
pub(crate) fn set_dma_mask(pdev: &pci::Device<device::Core<'_>>) -> Result {
    // SAFETY: The device is being probed, and does no DMA: nobody uses the mask at the same time.
    unsafe { pdev.dma_set_mask_and_coherent(DmaMask::new::<32>()) }
}
