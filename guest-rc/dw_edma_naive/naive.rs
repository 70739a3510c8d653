// SPDX-License-Identifier: GPL-2.0

//! The naive way to drive the channels that an endpoint exports: the stock `dw-edma` core, which the RC
//! has as well, is given the registers and the descriptor memory, and owns the read channels as it
//! would own those of a card (`DW_EDMA_CHIP_PARTIAL`).
//!
//! It takes completions from `rd_int_status`, of which there is one, and which the endpoint's own driver
//! clears, too: transfers hang that are done. This module exists to show that; `dw_edma_aux` is the
//! driver to use, for the same device.
//!
//! A client has to go before the device or this module does: the core gives no reference to either.

use kernel::{
    auxiliary,
    device::{Bound, Core},
    error::to_result,
    pci,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{Atomic, Relaxed},
    },
};

#[allow(dead_code)] // it serves others as well
#[path = "../../guest-common/kernel/auxiliary_pci.rs"]
mod auxiliary_pci;
#[path = "../../guest-common/kernel/bindings.rs"]
mod bindings;
#[path = "../../guest-common/kernel/display.rs"]
mod display;
#[path = "../../guest-common/kernel/dma_offer.rs"]
mod dma_offer;
#[allow(dead_code, unreachable_pub)] // the crate `abi` serves others as well
#[path = "../../abi/src/edma.rs"]
mod edma;
#[allow(dead_code, unreachable_pub)] // as above
#[path = "../../abi/src/field.rs"]
mod field;
#[allow(dead_code)] // serves others as well
#[path = "../../guest-common/kernel/pci_vector.rs"]
mod pci_vector;
#[allow(dead_code, unreachable_pub)] // as above
#[path = "../../abi/src/vntb.rs"]
mod vntb;

use auxiliary_pci::Mapping;
use bindings::{dw_edma_chip, dw_edma_plat_ops};
use dma_offer::Offer;
use vntb::{child, window::Window};

/// The first vector that is the channels'. The core asks by a device that it does not know from
/// others; there is one.
static IRQ_BASE: Atomic<u32> = Atomic::new(0);

static OPS: dw_edma_plat_ops = dw_edma_plat_ops {
    irq_vector: Some(irq_vector),
    pci_address: None,
};

/// # Safety
///
/// Only for the core to call, with the function's device.
unsafe extern "C" fn irq_vector(dev: *mut kernel::bindings::device, number: c_uint) -> c_int {
    // SAFETY: The device is that of a PCI function, by the caller's contract.
    unsafe {
        let pdev = kernel::container_of!(dev, kernel::bindings::pci_dev, dev);
        kernel::bindings::pci_irq_vector(pdev, IRQ_BASE.load(Relaxed) + number)
    }
}

/// Channels in the hands of the stock core. Dropped, it has let go of them.
///
/// # Invariants
///
/// `dw_edma_probe` has succeeded with `chip`, which leads to the mappings.
struct Naive {
    chip: KBox<dw_edma_chip>,
    registers: Mapping,
    _descriptors: KVec<Mapping>,
    _pdev: ARef<pci::Device>,
}

// SAFETY: A chip belongs to no thread.
unsafe impl Send for Naive {}

impl Naive {
    fn new(pdev: &pci::Device<Bound>, offer: &Offer) -> Result<Self> {
        let header = offer.header(pdev)?;
        let Window { bar, offset, size } = header.ctrl;
        let registers = Mapping::new(pdev, bar, offset, size)?;

        let mut chip = KBox::init(pin_init::init_zeroed::<dw_edma_chip>(), GFP_KERNEL)?;
        let device: &kernel::device::Device<Bound> = pdev.as_ref();
        // CAST: `device::Device` is a `#[repr(transparent)]` wrapper of `struct device`.
        chip.dev = core::ptr::from_ref(device).cast_mut().cast();
        chip.nr_irqs = c_int::try_from(header.num_chans)?;
        chip.ops = &raw const OPS;
        // Without PARTIAL the core would reset the write channels as well, and so switch the endpoint's
        // own DMA off. The count is that of the hardware, or the core refuses.
        chip.flags = bindings::dw_edma_chip_flags_DW_EDMA_CHIP_PARTIAL;
        chip.reg_base = registers.start();
        chip.mf = bindings::dw_edma_map_format_EDMA_MF_EDMA_UNROLL;
        chip.ll_rd_cnt = u16::try_from(header.num_chans)?;
        let mut descriptors = KVec::new();
        for (region, channel) in chip.ll_region_rd.iter_mut().zip(header.channels()) {
            let Window { bar, offset, size } = channel.desc;
            let window = Mapping::new(pdev, bar, offset, size)?;
            region.paddr = channel.desc_phys_addr;
            region.vaddr.io = window.start();
            region.sz = size as usize;
            descriptors.push(window, GFP_KERNEL)?;
        }

        IRQ_BASE.store(offer.irq_base, Relaxed);
        // SAFETY: The chip is complete; it and what it leads to stay until `dw_edma_remove`. What the
        // core allocates is the function's, whose driver lets go of us before it goes.
        to_result(unsafe { bindings::dw_edma_probe(&mut *chip) })?;
        // INVARIANT: Just done.
        let this = Self {
            chip,
            registers,
            _descriptors: descriptors,
            _pdev: pdev.into(),
        };
        this.compose(header.num_chans);
        Ok(this)
    }

    /// Names the messages of our vectors. The core takes those of the function's first ones: it does
    /// not expect that others come before.
    fn compose(&self, channels: u32) {
        for channel in 0..channels {
            // SAFETY: The chip's device is the function's.
            let irq = unsafe { irq_vector(self.chip.dev, channel) };
            let message = u32::try_from(irq).ok().and_then(auxiliary_pci::message);
            let Some(message) = message else { continue };
            let field = match channel % 2 {
                0 => edma::IMWR_DATA_EVEN,
                _ => edma::IMWR_DATA_ODD,
            };
            let at = edma::READ.imwr_data + channel / 2 * 4;
            let data = self.registers.read32(at);
            self.registers.write32(at, field.set(data, message.data));
        }
    }
}

impl Drop for Naive {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::dw_edma_remove(&mut *self.chip) };
    }
}

struct Driver;

kernel::auxiliary_device_table!(
    TABLE,
    <Driver as auxiliary::Driver>::IdInfo,
    [(auxiliary::DeviceId::new(child::MAKER, child::NAME), ())]
);

impl auxiliary::Driver for Driver {
    type IdInfo = ();
    type Data<'bound> = Naive;

    const ID_TABLE: auxiliary::IdTable<Self::IdInfo> = &TABLE;

    fn probe<'bound>(
        device: &'bound auxiliary::Device<Core<'_>>,
        _info: &'bound Self::IdInfo,
    ) -> impl PinInit<Naive, Error> + 'bound {
        let parent = device.parent();
        parent
            .try_into()
            .and_then(|pdev: &pci::Device<Bound>| Naive::new(pdev, &Offer::of(device)?))
    }
}

kernel::module_auxiliary_driver! {
    type: Driver,
    name: "spider_edma_naive",
    authors: ["spider-pair contributors"],
    description: "An endpoint's exported DMA channels in the hands of the stock dw-edma core",
    license: "GPL",
}
