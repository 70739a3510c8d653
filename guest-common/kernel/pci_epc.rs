// SPDX-License-Identifier: GPL-2.0

//! What a PCI endpoint function asks of its controller.
//!
//! C header: [`include/linux/pci-epc.h`](srctree/include/linux/pci-epc.h)
//!
//! Stands on `pci_epf.rs`, mounted beside it.

use core::{
    marker::PhantomData,
    ptr::{self, NonNull},
};

use kernel::{
    bindings as kbindings,
    device,
    error::to_result,
    prelude::*,
    sync::Mutex, //
};

use crate::{
    bindings::{
        pci_epc_aux_resource, pci_epc_aux_resource_type_PCI_EPC_AUX_DOORBELL_MMIO,
        pci_epc_bar_type_BAR_DISABLED, pci_epc_bar_type_BAR_RESERVED, pci_epc_features,
        pci_epc_get_aux_resources, pci_epc_get_aux_resources_count, pci_epc_get_features,
        pci_epc_map_addr, pci_epc_mem_alloc_addr, pci_epc_mem_free_addr, pci_epc_raise_irq,
        pci_epc_set_msi, pci_epc_unmap_addr, pci_epc_write_header,
    },
    pci_epf::Attached,
    pci_epf_bar::BarNumber,
};

/// What a controller can do for a function (`struct pci_epc_features`).
///
/// # Invariants
///
/// The features are valid and do not change for `'a`.
pub(crate) struct Features<'a>(NonNull<pci_epc_features>, PhantomData<&'a Attached>);

#[allow(dead_code)] // each driver asks for something else
impl Features<'_> {
    /// The C side's pointer.
    pub(crate) fn as_raw(&self) -> *const pci_epc_features {
        self.0.as_ptr()
    }

    fn get(&self) -> &pci_epc_features {
        // SAFETY: By the type invariant.
        unsafe { self.0.as_ref() }
    }

    /// Whether the function can raise MSIs.
    pub(crate) fn msi_capable(&self) -> bool {
        self.get().msi_capable() != 0
    }

    /// Whether the function can raise MSI-Xs.
    pub(crate) fn msix_capable(&self) -> bool {
        self.get().msix_capable() != 0
    }

    /// Whether parts of a BAR can lead to addresses of their own.
    pub(crate) fn subrange_mapping(&self) -> bool {
        self.get().subrange_mapping() != 0
    }

    /// Whether a function can have this BAR, as `pci_epc_get_next_free_bar` sees it: it exists, is
    /// not the controller's own, and is not the upper half of a 64-bit BAR.
    pub(crate) fn usable(&self, bar: BarNumber) -> bool {
        let all = &self.get().bar;
        let upper = bar
            .index()
            .checked_sub(1)
            .and_then(|below| all.get(below))
            .is_some_and(|below| below.only_64bit);
        all.get(bar.index()).is_some_and(|desc| {
            !upper
                && desc.type_ != pci_epc_bar_type_BAR_RESERVED
                && desc.type_ != pci_epc_bar_type_BAR_DISABLED
        })
    }
}

/// Registers of a controller's own DMA engine.
#[allow(dead_code)] // each driver asks for something else
pub(crate) struct DmaRegisters {
    /// Where the EP's CPU finds them.
    pub(crate) phys: kbindings::phys_addr_t,
    /// Size in bytes.
    pub(crate) size: u64,
    /// Where the RC sees them already, if the controller's hardware has put them into a BAR.
    pub(crate) exposed: Option<(BarNumber, u64)>,
}

#[allow(dead_code)] // each driver asks for something else
impl Attached {
    /// What the controller can do for this function.
    pub(crate) fn features(&self) -> Result<Features<'_>> {
        let (func_no, vfunc_no) = self.numbers();
        // SAFETY: The controller is valid.
        let features = unsafe { pci_epc_get_features(self.epc(), func_no, vfunc_no) };
        // INVARIANT: Features are constants of the controller's driver, which stays while a function
        // is linked to its controller.
        NonNull::new(features.cast_mut())
            .map(|features| Features(features, PhantomData))
            .ok_or(EOPNOTSUPP)
    }

    /// The device that does the controller's DMA. It is bound: its driver made the controller, and a link
    /// ends before that goes.
    pub(crate) fn dma_device(&self) -> &device::Device<device::Bound> {
        // SAFETY: The controller is valid; its parent is the device that it was created for, which
        // it holds a reference to, and which is bound by the invariant of `Attachment`.
        unsafe { device::Device::<device::Normal>::from_raw((*self.epc()).dev.parent).as_bound() }
    }

    /// The registers of the controller's own DMA engine; `ENODEV` if it does not offer them.
    pub(crate) fn dma_registers(&self) -> Result<DmaRegisters> {
        let (func_no, vfunc_no) = self.numbers();
        // SAFETY: The controller is valid.
        let count = unsafe { pci_epc_get_aux_resources_count(self.epc(), func_no, vfunc_no) };
        let count = usize::try_from(count).map_err(|_| ENODEV)?;
        let mut all = KVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            all.push(pci_epc_aux_resource::default(), GFP_KERNEL)?;
        }
        // SAFETY: The controller is valid, and there is room for that many.
        to_result(unsafe {
            pci_epc_get_aux_resources(
                self.epc(),
                func_no,
                vfunc_no,
                all.as_mut_ptr(),
                count as c_int,
            )
        })?;
        // Of the engine Linux 7.3 tells but one register, the doorbell.
        let doorbell = all
            .iter()
            .find(|one| one.type_ == pci_epc_aux_resource_type_PCI_EPC_AUX_DOORBELL_MMIO)
            .ok_or(ENODEV)?;

        let (phys, size) = self.memory_resource(c"dma").ok_or(ENODEV)?;
        let offset = doorbell.phys_addr.checked_sub(phys).ok_or(ENODEV)?;
        if offset >= size {
            return Err(ENODEV);
        }
        let exposed = match BarNumber::try_from(i64::from(doorbell.bar)) {
            Ok(bar) => Some((bar, doorbell.bar_offset.checked_sub(offset).ok_or(ENODEV)?)),
            Err(_) => None,
        };
        Ok(DmaRegisters {
            phys,
            size,
            exposed,
        })
    }

    /// A window of registers that the controller's platform device has under this name: its address
    /// and its size.
    pub(crate) fn memory_resource(&self, name: &CStr) -> Option<(kbindings::phys_addr_t, u64)> {
        // SAFETY: The controller's parent is valid. On this bus it is a platform device, whose
        // resources do not change while it is bound.
        unsafe {
            let parent = (*self.epc()).dev.parent;
            if !ptr::eq((*parent).bus, &raw const kbindings::platform_bus_type) {
                return None;
            }
            let pdev = kernel::container_of!(parent, kbindings::platform_device, dev);
            let flags = kbindings::IORESOURCE_MEM;
            let found = kbindings::platform_get_resource_byname(pdev, flags, name.as_char_ptr());
            let found = found.as_ref()?;
            let size = found.end.checked_sub(found.start)?.checked_add(1)?;
            Some((found.start, size))
        }
    }

    /// Writes the function's header, as configfs has it, into its configuration space.
    pub(crate) fn write_header(&self) -> Result {
        let (func_no, vfunc_no) = self.numbers();
        // SAFETY: Controller and function are valid; the function has a header from its probe on.
        to_result(unsafe {
            pci_epc_write_header(self.epc(), func_no, vfunc_no, (*self.epf()).header)
        })
    }

    /// Gives the function an MSI capability of `count` vectors, which the controller rounds up to a
    /// power of two.
    pub(crate) fn set_msi(&self, count: u8) -> Result {
        let (func_no, vfunc_no) = self.numbers();
        // SAFETY: The controller is valid.
        to_result(unsafe { pci_epc_set_msi(self.epc(), func_no, vfunc_no, count) })
    }

    /// Raises an MSI, counted from 0, on the RC. May sleep.
    pub(crate) fn raise_msi(&self, vector: u16) -> Result {
        let (func_no, vfunc_no) = self.numbers();
        let number = vector.checked_add(1).ok_or(EINVAL)?;
        // SAFETY: The controller is valid.
        to_result(unsafe {
            pci_epc_raise_irq(
                self.epc(),
                func_no,
                vfunc_no,
                kbindings::PCI_IRQ_MSI,
                number,
            )
        })
    }
}

/// A piece of the controller's outbound window, through which the EP reaches the RC's memory.
///
/// # Invariants
///
/// `phys`, `virt` and `size` are what `pci_epc_mem_alloc_addr` gave.
#[pin_data(PinnedDrop)]
pub(crate) struct Outbound {
    at: Attached,
    phys: kbindings::phys_addr_t,
    virt: NonNull<c_void>,
    size: usize,
    #[pin]
    mapped: Mutex<bool>,
}

// SAFETY: A piece of the window belongs to no thread; its mapping is locked.
unsafe impl Send for Outbound {}
// SAFETY: As above.
unsafe impl Sync for Outbound {}

impl Outbound {
    /// Reserves `size` bytes of the window.
    pub(crate) fn new(at: &Attached, size: usize) -> Result<Pin<KBox<Self>>> {
        let mut phys = 0;
        // SAFETY: The controller is valid.
        let virt = unsafe { pci_epc_mem_alloc_addr(at.epc(), &mut phys, size) };
        let virt = NonNull::new(virt).ok_or(ENOMEM)?;
        let free = kernel::types::ScopeGuard::new(|| {
            // SAFETY: Just allocated, and not used by anybody.
            unsafe { pci_epc_mem_free_addr(at.epc(), phys, virt.as_ptr(), size) };
        });
        // INVARIANT: The three are from above.
        let this = KBox::pin_init(
            pin_init!(Self {
                at: at.clone(),
                phys,
                virt,
                size,
                mapped <- kernel::new_mutex!(false),
            }),
            GFP_KERNEL,
        )?;
        free.dismiss();
        Ok(this)
    }

    /// Where the EP's CPU finds it.
    pub(crate) fn phys(&self) -> kbindings::phys_addr_t {
        self.phys
    }

    /// Size in bytes.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Makes the first `size` bytes lead to `pci_addr`, instead of where they lead before.
    pub(crate) fn map(&self, pci_addr: u64, size: u64) -> Result {
        let size = usize::try_from(size)?;
        if size == 0 || size > self.size {
            return Err(EINVAL);
        }
        let (func_no, vfunc_no) = self.at.numbers();
        let mut mapped = self.mapped.lock();
        self.unmap_locked(&mut mapped);
        // SAFETY: The controller is valid; the piece is ours, and leads nowhere.
        to_result(unsafe {
            pci_epc_map_addr(self.at.epc(), func_no, vfunc_no, self.phys, pci_addr, size)
        })?;
        *mapped = true;
        Ok(())
    }

    /// Makes it lead nowhere.
    pub(crate) fn unmap(&self) {
        self.unmap_locked(&mut self.mapped.lock());
    }

    fn unmap_locked(&self, mapped: &mut bool) {
        let (func_no, vfunc_no) = self.at.numbers();
        if core::mem::take(mapped) {
            // SAFETY: The controller is valid, and the piece is mapped.
            unsafe { pci_epc_unmap_addr(self.at.epc(), func_no, vfunc_no, self.phys) };
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Outbound {
    fn drop(self: Pin<&mut Self>) {
        self.unmap();
        // SAFETY: By the type invariant; nobody uses it any more.
        unsafe {
            pci_epc_mem_free_addr(self.at.epc(), self.phys, self.virt.as_ptr(), self.size);
        }
    }
}
