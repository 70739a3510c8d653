// SPDX-License-Identifier: GPL-2.0

//! A device-tree interrupt controller with one line, fed by an interrupt vector of a PCI device.
//!
//! C header: [`include/linux/irqdomain.h`](srctree/include/linux/irqdomain.h)
//!
//! Stands on `of.rs`, which the module mounts as `mod of`.

use core::ptr::{self, NonNull};

use kernel::{
    bindings,
    error::from_err_ptr,
    irq::{self, Flags, IrqReturn},
    pci::IrqVectorRegistration,
    prelude::*,
};

use crate::of::Node;

/// The domain's only hardware interrupt.
const LINE: bindings::irq_hw_number_t = 0;

static OPS: bindings::irq_domain_ops = bindings::irq_domain_ops {
    map: Some(map),
    xlate: Some(bindings::irq_domain_xlate_onecell),
    ..pin_init::zeroed()
};

/// Sets up a line that somebody asked for.
///
/// Masking and acknowledging are the parent vector's business, and it never runs twice at a time:
/// nothing is left for a chip to do.
///
/// # Safety
///
/// Only for the interrupt core to call, by way of `OPS`.
unsafe extern "C" fn map(
    _domain: *mut bindings::irq_domain,
    virq: c_uint,
    _hwirq: bindings::irq_hw_number_t,
) -> c_int {
    // SAFETY: The core calls this with an allocated `virq`; the chip is a static of the kernel.
    unsafe {
        bindings::irq_set_chip_and_handler_name(
            virq,
            &raw const bindings::dummy_irq_chip,
            Some(bindings::handle_simple_irq),
            ptr::null(),
        )
    };
    0
}

/// # Invariants
///
/// The pointer is a domain of one line that this value owns.
struct Domain(NonNull<bindings::irq_domain>);

// SAFETY: A domain belongs to no thread and locks itself.
unsafe impl Send for Domain {}
// SAFETY: As above.
unsafe impl Sync for Domain {}

impl Domain {
    fn new(node: &Node) -> Result<Self> {
        let info = bindings::irq_domain_info {
            fwnode: node.fwnode(),
            size: 1,
            hwirq_max: 1,
            ops: &raw const OPS,
            ..pin_init::zeroed()
        };
        // SAFETY: `info` describes a linear domain of one line; the domain takes a reference to
        // the node, and its operations are static.
        let domain = from_err_ptr(unsafe { bindings::irq_domain_instantiate(&info) })?;
        // INVARIANT: A domain of one line, just made for us.
        NonNull::new(domain).map(Self).ok_or(ENOMEM)
    }
}

impl irq::Handler for Domain {
    fn handle(&self) -> IrqReturn {
        // SAFETY: The domain is valid, and `Forward` asks for a handler that runs in hard
        // interrupt context even where handlers are threaded.
        match unsafe { bindings::generic_handle_domain_irq(self.0.as_ptr(), LINE) } {
            0 => IrqReturn::Handled,
            _ => IrqReturn::None,
        }
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        let mut virq = 0;
        // SAFETY: The domain is ours, and no handler runs: either the registration that held us is
        // gone or it never was. Of the line only the mapping is left, since the devices that used
        // it are gone by the contract of `Forward::new`.
        unsafe {
            if !bindings::__irq_resolve_mapping(self.0.as_ptr(), LINE, &mut virq).is_null() {
                bindings::irq_dispose_mapping(virq);
            }
            bindings::irq_domain_remove(self.0.as_ptr());
        }
    }
}

/// Forwards the first vector of a PCI device to line 0 of an interrupt controller's node.
///
/// Dropped, it frees the vector's handler, the domain and then the vectors.
pub(crate) struct Forward<'a> {
    _registration: Pin<KBox<irq::Registration<'a, Domain>>>,
    _vectors: KBox<IrqVectorRegistration<'a>>,
}

impl<'a> Forward<'a> {
    /// Makes `node`, which has `interrupt-controller` and one interrupt cell, a domain.
    ///
    /// `name` is what `/proc/interrupts` calls the vector.
    ///
    /// # Safety
    ///
    /// The value must be dropped before `'a` ends, so not leaked, and only when the devices that
    /// use the line are gone.
    pub(crate) unsafe fn new(
        vectors: IrqVectorRegistration<'a>,
        node: &Node,
        name: &'static CStr,
    ) -> Result<Self> {
        let domain = Domain::new(node)?;
        let vectors = KBox::new(vectors, GFP_KERNEL)?;
        // SAFETY: The box does not move its content, and the only borrower, the registration, is
        // dropped before it: by the order of the fields, or here if it cannot be made.
        let borrowed: &'a IrqVectorRegistration<'a> = unsafe { &*ptr::from_ref(&*vectors) };
        let request = borrowed.index(0)?.into();

        // SAFETY: The registration is kept in `Forward`, whose fields are private, and dropped
        // with it, which the caller does not leak.
        let registration =
            unsafe { irq::Registration::new(request, Flags::NO_THREAD, name, Ok(domain)) };
        Ok(Self {
            _registration: KBox::pin_init(registration, GFP_KERNEL)?,
            _vectors: vectors,
        })
    }
}
