// SPDX-License-Identifier: GPL-2.0

//! BARs of a PCI endpoint function: what the RC sees in them.
//!
//! C header: [`include/linux/pci-epf.h`](srctree/include/linux/pci-epf.h)
//!
//! Stands on `pci_epf.rs` and `pci_epc.rs`, mounted beside it.

use core::ptr::{self, NonNull};

use kernel::{
    bindings as kbindings, dma::DmaAddress, error::to_result, prelude::*, sync::atomic::Relaxed,
};

use crate::{
    bindings::{
        self, pci_epc_clear_bar, pci_epc_set_bar, pci_epf_alloc_space, pci_epf_assign_bar_space,
        pci_epf_bar, pci_epf_bar_submap, pci_epf_free_space,
    },
    pci_epf::Attached,
};

const PRIMARY: bindings::pci_epc_interface_type =
    bindings::pci_epc_interface_type_PRIMARY_INTERFACE;

/// Number of a BAR, 0 to 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BarNumber(u8);

impl BarNumber {
    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        // CAST: There are six.
        (0..kbindings::PCI_STD_NUM_BARS as u8).map(Self)
    }

    /// The number as the C side has it.
    pub(crate) fn as_raw(self) -> bindings::pci_barno {
        self.0.into()
    }

    /// The number as an index.
    pub(crate) fn index(self) -> usize {
        self.0.into()
    }
}

impl TryFrom<i64> for BarNumber {
    type Error = Error;

    fn try_from(number: i64) -> Result<Self> {
        Self::all()
            .find(|bar| i64::from(bar.0) == number)
            .ok_or(EINVAL)
    }
}

impl From<BarNumber> for u32 {
    fn from(bar: BarNumber) -> u32 {
        bar.0.into()
    }
}

/// A part of a BAR that leads to an address of its own.
#[derive(Clone, Copy)]
pub(crate) struct SubRange {
    /// Where it leads.
    pub(crate) address: DmaAddress,
    /// Its size; it starts where the one before it ends.
    pub(crate) size: usize,
}

/// A BAR, owned: nobody else can have it while this value is there.
///
/// It is configured in two steps: what is behind it ([`Bar::allocate`], [`Bar::point`],
/// [`Bar::point_around`]), then [`Bar::set`] tells the controller. Dropped, the BAR is cleared.
///
/// # Invariants
///
/// `at` has the BAR marked as taken, by this value. `memory`, if any, is what the C side
/// allocated for it, of the size that the BAR has.
pub(crate) struct Bar {
    at: Attached,
    number: BarNumber,
    set: bool,
    memory: Option<Memory>,
    // What `pci_epf_bar::submap` points to.
    submap: KVec<pci_epf_bar_submap>,
}

// SAFETY: A BAR belongs to no thread; it is changed through `&mut self` only.
unsafe impl Send for Bar {}
// SAFETY: Through `&self` only the memory can be reached, whose accesses are single words.
unsafe impl Sync for Bar {}

impl Bar {
    /// Takes a BAR of the function; `EBUSY` if it is taken.
    pub(crate) fn take(at: &Attached, number: BarNumber) -> Result<Self> {
        let bit = 1 << number.0;
        let mut taken = at.bars_taken().load(Relaxed);
        loop {
            if taken & bit != 0 {
                return Err(EBUSY);
            }
            match at
                .bars_taken()
                .cmpxchg(taken, taken | bit, kernel::sync::atomic::Full)
            {
                Ok(_) => break,
                Err(other) => taken = other,
            }
        }
        // INVARIANT: The bit was clear and is set now.
        Ok(Self {
            at: at.clone(),
            number,
            set: false,
            memory: None,
            submap: KVec::new(),
        })
    }

    fn raw(&self) -> *mut pci_epf_bar {
        // SAFETY: The function is valid, and there is such a BAR.
        unsafe { &raw mut (*self.at.epf()).bar[self.number.index()] }
    }

    /// Size in bytes, once there is something behind the BAR.
    pub(crate) fn size(&self) -> usize {
        // SAFETY: The BAR is ours and valid.
        unsafe { (*self.raw()).size }
    }

    /// The memory behind the BAR, if [`Bar::allocate`] put it there.
    pub(crate) fn memory(&self) -> Option<&Memory> {
        self.memory.as_ref()
    }

    /// Allocates zeroed memory of at least `size` bytes, as large as the controller's BAR has to be,
    /// and puts it behind the BAR.
    pub(crate) fn allocate(&mut self, size: usize) -> Result {
        if self.memory.is_some() || self.set {
            return Err(EBUSY);
        }
        let features = self.at.features()?;
        // SAFETY: Function and features are valid; the BAR is ours, and not in use.
        let base = unsafe {
            pci_epf_alloc_space(
                self.at.epf(),
                size,
                self.number.as_raw(),
                features.as_raw(),
                PRIMARY,
            )
        };
        let base = NonNull::new(base.cast()).ok_or(ENOMEM)?;
        // INVARIANT: Just allocated, at least as large as what was asked for.
        self.memory = Some(Memory { base, size });
        Ok(())
    }

    /// Puts `size` bytes at `address` behind the BAR, which gets exactly that size.
    ///
    /// What is there is open to the RC once the BAR is set. A BAR that is set can be pointed
    /// elsewhere, and set again, if the controller allows that.
    pub(crate) fn point(&mut self, address: DmaAddress, size: usize) -> Result {
        if self.memory.is_some() {
            return Err(EBUSY);
        }
        let wide = u32::try_from(size).is_err();
        // SAFETY: The BAR is ours, and the controller reads it in `set` only.
        unsafe {
            let bar = self.raw();
            (*bar).barno = self.number.as_raw();
            (*bar).phys_addr = address;
            (*bar).size = size;
            (*bar).addr = ptr::null_mut();
            if wide {
                // CAST: Flags of the register's low byte.
                (*bar).flags |= kbindings::PCI_BASE_ADDRESS_MEM_TYPE_64 as c_int;
            }
        }
        Ok(())
    }

    /// Puts the smallest BAR that the controller allows around the `size` bytes at `address`, and
    /// returns where they are in it.
    pub(crate) fn point_around(&mut self, address: DmaAddress, size: usize) -> Result<usize> {
        if self.memory.is_some() || self.set {
            return Err(EBUSY);
        }
        let features = self.at.features()?;
        // SAFETY: Function and features are valid; the BAR is ours, and not in use.
        to_result(unsafe {
            pci_epf_assign_bar_space(
                self.at.epf(),
                size,
                self.number.as_raw(),
                features.as_raw(),
                PRIMARY,
                address,
            )
        })?;
        self.offset_of(address)
    }

    /// Where `address` is in the BAR, which is aligned to its size.
    pub(crate) fn offset_of(&self, address: DmaAddress) -> Result<usize> {
        // SAFETY: The BAR is ours and valid.
        let base = unsafe { (*self.raw()).phys_addr };
        let offset = usize::try_from(address.checked_sub(base).ok_or(EINVAL)?)?;
        if offset >= self.size() {
            return Err(EINVAL);
        }
        Ok(offset)
    }

    /// Tells the controller what is behind the BAR.
    pub(crate) fn set(&mut self) -> Result {
        self.submap.clear();
        self.set_with_submap()
    }

    /// Makes each part of the BAR, which has to be set, lead to an address of its own. The parts
    /// must cover the BAR; the RC must have given it an address.
    pub(crate) fn set_sub_ranges(&mut self, ranges: &[SubRange]) -> Result {
        let mut submap = KVec::with_capacity(ranges.len(), GFP_KERNEL)?;
        for range in ranges {
            let entry = pci_epf_bar_submap {
                phys_addr: range.address,
                size: range.size,
            };
            submap.push(entry, GFP_KERNEL)?;
        }
        // The controller may look at the list that it has until it is given the new one.
        let before = core::mem::replace(&mut self.submap, submap);
        let set = self.set_with_submap();
        drop(before);
        set
    }

    fn set_with_submap(&mut self) -> Result {
        let (func_no, vfunc_no) = self.at.numbers();
        // SAFETY: The BAR is ours. The list that it is given stays until the next call changes it.
        unsafe {
            let bar = self.raw();
            // CAST: A controller has far fewer windows.
            (*bar).num_submap = self.submap.len() as c_uint;
            (*bar).submap = match self.submap.is_empty() {
                true => ptr::null_mut(),
                false => self.submap.as_mut_ptr(),
            };
        }
        // SAFETY: Controller and BAR are valid. The controller may keep the pointer until the BAR is
        // cleared, which `drop` does, and the function has its BARs as long as it lives.
        to_result(unsafe { pci_epc_set_bar(self.at.epc(), func_no, vfunc_no, self.raw()) })?;
        self.set = true;
        Ok(())
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        let (func_no, vfunc_no) = self.at.numbers();
        // SAFETY: Controller and BAR are valid, the memory is that which `allocate` got, and once
        // the BAR is cleared nobody uses it. What the next owner finds is as good as new.
        unsafe {
            if self.set {
                pci_epc_clear_bar(self.at.epc(), func_no, vfunc_no, self.raw());
            }
            if let Some(memory) = self.memory.take() {
                let base = memory.base.as_ptr().cast();
                pci_epf_free_space(self.at.epf(), base, self.number.as_raw(), PRIMARY);
            }
            *self.raw() = pci_epf_bar::default();
        }
        let bit = 1 << self.number.0;
        let mut taken = self.at.bars_taken().load(Relaxed);
        while let Err(other) =
            self.at
                .bars_taken()
                .cmpxchg(taken, taken & !bit, kernel::sync::atomic::Full)
        {
            taken = other;
        }
    }
}

/// Memory that the RC reads and writes as well, a word at a time and at any time.
///
/// An access out of bounds, or one that is not aligned, is like one to a bus where nobody answers:
/// it reads all ones, and writes nothing.
///
/// # Invariants
///
/// `base` points to `size` bytes, aligned to a page.
pub(crate) struct Memory {
    base: NonNull<u8>,
    size: usize,
}

macro_rules! access {
    ($read:ident, $write:ident, $type:ty, $read_raw:ident, $write_raw:ident) => {
        /// Reads the word at `offset`, and orders later accesses after it.
        pub(crate) fn $read(&self, offset: u32) -> $type {
            match self.at(offset, size_of::<$type>()) {
                // SAFETY: In bounds and aligned.
                Some(at) => unsafe { kbindings::$read_raw(at.cast_const()) },
                None => !0,
            }
        }

        /// Writes the word at `offset`, after all earlier accesses.
        pub(crate) fn $write(&self, offset: u32, value: $type) {
            if let Some(at) = self.at(offset, size_of::<$type>()) {
                // SAFETY: In bounds and aligned.
                unsafe { kbindings::$write_raw(value, at) }
            }
        }
    };
}

#[allow(dead_code)] // each driver has its own words
impl Memory {
    access!(read16, write16, u16, readw, writew);
    access!(read32, write32, u32, readl, writel);

    /// Size in bytes.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    fn at(&self, offset: u32, size: usize) -> Option<*mut c_void> {
        let offset = usize::try_from(offset).ok()?;
        if offset % size != 0 || offset > self.size || size > self.size - offset {
            return None;
        }
        // SAFETY: Inside the memory, by the check above.
        Some(unsafe { self.base.as_ptr().add(offset) }.cast())
    }
}
