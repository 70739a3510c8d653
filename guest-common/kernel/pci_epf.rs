// SPDX-License-Identifier: GPL-2.0

//! Drivers of PCI endpoint functions.
//!
//! C header: [`include/linux/pci-epf.h`](srctree/include/linux/pci-epf.h)
//!
//! A function is made in configfs (`mkdir functions/NAME/X`), where its driver shows attributes of
//! its own, and then linked to a controller. [`Driver::bind`] gets an [`Attached`] handle and
//! returns all that it set up as one value; that value is dropped when the link goes. Everything
//! that is made from the handle keeps it, and the link waits for the last one: a driver that forgets
//! one hangs there, instead of using a controller that is gone. The link goes when the user removes it,
//! or before the controller's driver is unbound (`pci_epf/link.rs`), or the function's own.
//!
//! Stands on `bindings.rs` with `linux/pci-epc.h`, `linux/pci-epf.h` and `linux/pci-ep-msi.h`; what
//! a function asks of its controller is in `pci_epc.rs`, which the module mounts beside this file,
//! and BARs are in `pci_epf_bar.rs`.

#[path = "pci_epf/link.rs"]
mod link;

use core::{
    marker::PhantomData,
    mem,
    ptr::{self, NonNull},
};

use kernel::{
    bindings::{self as kbindings, pci_epf_device_id},
    configfs::{self, HasGroup},
    device, driver,
    error::{from_result, to_result},
    prelude::*,
    str::CString,
    sync::{
        atomic::{Atomic, AtomicFlag, Relaxed},
        Arc, Completion, Mutex,
    },
    types::Opaque,
    ThisModule,
};

use self::link::{Gone, Watch};
use crate::bindings::{
    __pci_epf_register_driver, pci_epc, pci_epf, pci_epf_driver, pci_epf_header, pci_epf_ops,
    pci_epf_unregister_driver,
};

/// A driver of endpoint functions.
pub(crate) trait Driver: 'static {
    /// The functions that the driver serves; a directory of each name is made in configfs.
    const ID_TABLE: &'static IdTable;

    /// The settings of a function, which stand in configfs.
    type Config: Send + Sync + 'static;

    /// What an attached function consists of.
    type Bound: Send + 'static;

    /// The attributes that show and change the settings.
    fn attributes() -> &'static configfs::ItemType<Group<Self::Config>, Attributes<Self::Config>>;

    /// What a new function's header says until somebody writes something else into configfs.
    const HEADER: Header;

    /// A function was made: its settings until somebody writes others.
    fn probe(function: &Function) -> impl PinInit<Self::Config, Error>;

    /// The function was linked to a controller, which has not started the link yet.
    ///
    /// Settings can be written at any time; take a copy. [`Attributes::writable`] refuses writes
    /// from now on.
    fn bind(function: &Attached, config: &Self::Config) -> Result<Self::Bound>;
}

/// The directory in which a function's own attributes lie.
pub(crate) type Group<C> = configfs::Group<Attributes<C>>;

/// Names of functions, as [`Driver::ID_TABLE`] needs them. The last entry is empty.
#[repr(transparent)]
pub(crate) struct IdTable([pci_epf_device_id; 2]);

// SAFETY: The table is never written.
unsafe impl Sync for IdTable {}

impl IdTable {
    /// A table of one name, of at most 19 bytes; checked when it is built.
    pub(crate) const fn new(name: &CStr) -> Self {
        let bytes = name.to_bytes_with_nul();
        // SAFETY: All-zero bytes are a valid `pci_epf_device_id`, namely the last one of a table.
        let mut ids: [pci_epf_device_id; 2] = unsafe { mem::zeroed() };
        assert!(bytes.len() <= ids[0].name.len(), "name too long");
        let mut i = 0;
        while i < bytes.len() {
            ids[0].name[i] = bytes[i];
            i += 1;
        }
        Self(ids)
    }
}

/// What the function's configuration space says of it; configfs writes vendor, device and more.
#[derive(Clone, Copy)]
pub(crate) struct Header {
    /// Vendor id.
    pub(crate) vendor: u16,
    /// Device id.
    pub(crate) device: u16,
    /// Base class.
    pub(crate) base_class: u8,
    /// Whether the function has an interrupt pin (INTA).
    pub(crate) interrupt_pin: bool,
}

/// An endpoint function (`struct pci_epf`) whose driver is bound.
///
/// # Invariants
///
/// Always a valid `struct pci_epf` made by the C side.
#[repr(transparent)]
pub(crate) struct Function(Opaque<pci_epf>);

impl Function {
    /// # Safety
    ///
    /// `epf` must be valid for `'a`.
    unsafe fn from_raw<'a>(epf: *mut pci_epf) -> &'a Self {
        // SAFETY: By the caller's promise; `Function` is a transparent wrapper.
        unsafe { &*epf.cast() }
    }
}

impl AsRef<device::Device> for Function {
    fn as_ref(&self) -> &device::Device {
        // SAFETY: By the type invariant the function, and so its device, is valid.
        unsafe { device::Device::from_raw(&raw mut (*self.0.get()).dev) }
    }
}

/// A handle of a function while it is linked to a controller.
#[derive(Clone)]
pub(crate) struct Attached(Arc<Attachment>);

/// # Invariants
///
/// Both pointers are valid, the link holds, and the controller's parent is bound, until `released` is
/// complete.
struct Attachment {
    epf: NonNull<pci_epf>,
    epc: NonNull<pci_epc>,
    /// BARs that somebody has: see `pci_epf_bar.rs`.
    bars_taken: Atomic<u32>,
    released: Arc<Completion>,
}

// SAFETY: A function and its controller belong to no thread; what changes them locks on the C side.
unsafe impl Send for Attachment {}
// SAFETY: As above.
unsafe impl Sync for Attachment {}

impl Attached {
    /// The function.
    pub(crate) fn epf(&self) -> *mut pci_epf {
        self.0.epf.as_ptr()
    }

    /// The controller.
    pub(crate) fn epc(&self) -> *mut pci_epc {
        self.0.epc.as_ptr()
    }

    /// BARs that have an owner, a bit for each.
    pub(crate) fn bars_taken(&self) -> &Atomic<u32> {
        &self.0.bars_taken
    }

    /// Number of the physical function, and of the virtual one (0: none).
    pub(crate) fn numbers(&self) -> (u8, u8) {
        // SAFETY: The function is valid, and is not renumbered while it is linked.
        unsafe { ((*self.epf()).func_no, (*self.epf()).vfunc_no) }
    }

    /// How many MSIs the function was given in configfs (`msi_interrupts`).
    pub(crate) fn msi_interrupts(&self) -> u8 {
        // SAFETY: The function is valid; whoever writes the byte in configfs writes it whole.
        unsafe { ptr::read_volatile(&raw const (*self.epf()).msi_interrupts) }
    }
}

impl AsRef<device::Device> for Attached {
    fn as_ref(&self) -> &device::Device {
        // SAFETY: By the invariant of `Attachment` the function, and so its device, is valid.
        unsafe { device::Device::from_raw(&raw mut (*self.epf()).dev) }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.released.complete_all();
    }
}

/// What a function's attributes in configfs act on.
pub(crate) struct Attributes<C> {
    shared: Arc<Shared<C>>,
}

#[pin_data]
struct Shared<C> {
    #[pin]
    config: C,
    attached: AtomicFlag,
}

impl<C> Attributes<C> {
    /// The settings.
    pub(crate) fn config(&self) -> &C {
        &self.shared.config
    }

    /// Whether settings can be changed now; `EOPNOTSUPP` while the function is linked.
    pub(crate) fn writable(&self) -> Result {
        match self.shared.attached.load(Relaxed) {
            true => Err(EOPNOTSUPP),
            false => Ok(()),
        }
    }
}

/// What the driver core keeps for a function.
#[pin_data(PinnedDrop)]
pub(crate) struct Private<T: Driver> {
    #[pin]
    header: Opaque<pci_epf_header>,
    shared: Arc<Shared<T::Config>>,
    /// The directory, with the reference that its creator holds; null before it is made.
    group: Atomic<*mut kbindings::config_group>,
    /// The function, which outlives this.
    epf: NonNull<pci_epf>,
    /// Locked as well while the function is bound and while that ends.
    #[pin]
    bound: Mutex<Option<(KBox<Bound<T>>, Watch)>>,
    /// The controller that it was linked to, if that has gone.
    #[pin]
    gone: Mutex<Option<Gone>>,
}

// SAFETY: Nothing in it belongs to a thread: the header is C data that configfs reads and writes,
// the group counts its references, and the function locks itself.
unsafe impl<T: Driver> Send for Private<T> {}

/// Fields drop in this order.
struct Bound<T: Driver> {
    _driver: T::Bound,
    attached: Attached,
}

#[pinned_drop]
impl<T: Driver> PinnedDrop for Private<T> {
    fn drop(self: Pin<&mut Self>) {
        let group = self.group.load(Relaxed);
        if !group.is_null() {
            // SAFETY: `add_cfs` left us the reference that a new group starts with. configfs has
            // references of its own as long as it shows the directory.
            unsafe { kbindings::config_item_put(&raw mut (*group).cg_item) };
        }
    }
}

/// An adapter for the registration of endpoint function drivers.
pub(crate) struct Adapter<T: Driver>(PhantomData<T>);

// SAFETY:
// - `pci_epf_driver` is a C type declared as `repr(C)`.
// - `Private<T>` is what `probe_callback` stores.
// - `DEVICE_DRIVER_OFFSET` is the offset of the embedded `struct device_driver`.
unsafe impl<T: Driver> driver::DriverLayout for Adapter<T> {
    type DriverType = pci_epf_driver;
    type DriverData<'bound> = Private<T>;
    const DEVICE_DRIVER_OFFSET: usize = mem::offset_of!(pci_epf_driver, driver);
}

// SAFETY: `unregister` undoes a successful `register`.
unsafe impl<T: Driver> driver::RegistrationOps for Adapter<T> {
    unsafe fn register(
        driver: &Opaque<pci_epf_driver>,
        name: &'static CStr,
        module: &'static ThisModule,
    ) -> Result {
        // SAFETY: The driver is not registered yet, so nobody else looks at it.
        unsafe {
            let driver = driver.get();
            (*driver).driver.name = name.as_char_ptr();
            (*driver).probe = Some(Self::probe_callback);
            (*driver).remove = Some(Self::remove_callback);
            (*driver).ops = &Self::OPS;
            (*driver).owner = module.as_ptr();
            (*driver).id_table = T::ID_TABLE.0.as_ptr();
        }
        // SAFETY: The driver is complete and stays where it is until `unregister`.
        to_result(unsafe { __pci_epf_register_driver(driver.get(), module.as_ptr()) })
    }

    unsafe fn unregister(driver: &Opaque<pci_epf_driver>) {
        // SAFETY: By the caller's promise the driver is registered.
        unsafe { pci_epf_unregister_driver(driver.get()) };
    }
}

impl<T: Driver> Adapter<T> {
    const OPS: pci_epf_ops = pci_epf_ops {
        bind: Some(Self::bind_callback),
        unbind: Some(Self::unbind_callback),
        add_cfs: Some(Self::add_cfs_callback),
    };

    /// The private data of a function.
    ///
    /// # Safety
    ///
    /// `epf` must be valid and between probe and removal for `'a`.
    unsafe fn private<'a>(epf: *mut pci_epf) -> Pin<&'a Private<T>> {
        // SAFETY: The device is valid and bound; `probe_callback` stored a `Private<T>`, which the
        // driver core frees only after the removal.
        unsafe {
            let dev = (&raw mut (*epf).dev).cast::<device::Device<device::CoreInternal<'_>>>();
            let dev = &*dev;
            dev.drvdata_borrow::<Private<T>>()
        }
    }

    extern "C" fn probe_callback(epf: *mut pci_epf, _id: *const pci_epf_device_id) -> c_int {
        from_result(|| {
            // SAFETY: The bus probes with a valid function.
            let config = T::probe(unsafe { Function::from_raw(epf) });
            let shared = Arc::pin_init(
                try_pin_init!(Shared {
                    config <- config,
                    attached: AtomicFlag::new(false),
                }),
                GFP_KERNEL,
            )?;
            let header = T::HEADER;

            // SAFETY: The device is valid, and this is its probe.
            let dev = unsafe {
                &*(&raw mut (*epf).dev).cast::<device::Device<device::CoreInternal<'_>>>()
            };
            dev.set_drvdata(try_pin_init!(Private::<T> {
                header: Opaque::new(pci_epf_header {
                    vendorid: header.vendor,
                    deviceid: header.device,
                    baseclass_code: header.base_class,
                    interrupt_pin: match header.interrupt_pin {
                        true => kbindings::pci_interrupt_pin_PCI_INTERRUPT_INTA,
                        false => kbindings::pci_interrupt_pin_PCI_INTERRUPT_UNKNOWN,
                    },
                    ..Default::default()
                }),
                shared,
                group: Atomic::new(ptr::null_mut()),
                epf: NonNull::new(epf).ok_or(EINVAL)?,
                bound <- kernel::new_mutex!(None),
                gone <- kernel::new_mutex!(None),
            }))?;
            // SAFETY: The function is valid; the header stays until `remove_callback` takes it away.
            unsafe { (*epf).header = Self::private(epf).header.get() };
            Ok(0)
        })
    }

    extern "C" fn remove_callback(epf: *mut pci_epf) {
        // SAFETY: The bus removes a valid function, whose private data is about to be freed.
        let private = unsafe { Self::private(epf) };
        private.unlink();
        // SAFETY: As above; its header goes as well.
        unsafe { (*epf).header = ptr::null_mut() };
    }

    extern "C" fn bind_callback(epf: *mut pci_epf) -> c_int {
        // SAFETY: Called for a function whose driver is bound, as long as it is.
        let private = unsafe { Self::private(epf) };
        // SAFETY: The function is valid, and its link to a controller is being made under the
        // function's lock.
        let Some(epc) = NonNull::new(unsafe { (*epf).epc }) else {
            // Only a secondary interface so far.
            return 0;
        };
        from_result(|| {
            // SAFETY: As above.
            unsafe { private.link(epf, epc) }?;
            Ok(0)
        })
    }

    extern "C" fn unbind_callback(epf: *mut pci_epf) {
        // SAFETY: Called for a function whose driver is bound, as long as it is.
        let private = unsafe { Self::private(epf) };
        private.unlink();
        // Of a controller that goes at the same time the core has known.
        let gone = private.gone.lock().take();
        drop(gone);
    }

    extern "C" fn add_cfs_callback(
        epf: *mut pci_epf,
        _parent: *mut kbindings::config_group,
    ) -> *mut kbindings::config_group {
        // SAFETY: Called once for a new function, whose driver is bound.
        let private = unsafe { Self::private(epf) };
        let make = || {
            // SAFETY: The function is valid.
            let dev: &device::Device = unsafe { Function::from_raw(epf) }.as_ref();
            let name = CString::try_from_fmt(fmt!("{}", dev.name()))?;
            let attributes = Attributes {
                shared: private.shared.clone(),
            };
            let group = Arc::pin_init(
                Group::new(name, T::attributes(), Ok(attributes)),
                GFP_KERNEL,
            )?;
            // The group owns itself from here on: its `release` takes this reference back.
            // SAFETY: The pointer is that of a group.
            Ok(unsafe { Group::<T::Config>::group(Arc::into_raw(group)) }.cast_mut())
        };
        match make() {
            Ok(group) => {
                private.group.store(group, Relaxed);
                group
            }
            Err(error) => Error::to_ptr(error),
        }
    }
}
