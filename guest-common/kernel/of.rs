// SPDX-License-Identifier: GPL-2.0

//! Device-tree nodes made at run time, overlays on them, and the platform devices they describe.
//!
//! C headers: [`include/linux/of.h`](srctree/include/linux/of.h),
//! [`include/linux/of_platform.h`](srctree/include/linux/of_platform.h)
//!
//! Each type here undoes in `drop` what its constructor did, so a driver keeps them in one struct
//! and the order of the fields is the order of the teardown.
//!
//! A module mounts this file as `mod of`, and `bindings.rs` with `linux/of_platform.h` beside it.

use core::ptr::{self, NonNull};

use kernel::{
    bindings,
    device::{self, Bound},
    error::to_result,
    prelude::*,
    sync::aref::{ARef, AlwaysRefCounted},
    types::Opaque,
};

use crate::bindings::{of_platform_default_populate, of_platform_depopulate};

/// The `struct device` behind a device, which `device::Device` keeps to its own crate.
fn raw_device(dev: &device::Device<Bound>) -> *mut bindings::device {
    // CAST: `device::Device` is a `#[repr(transparent)]` wrapper of `struct device`.
    ptr::from_ref(dev).cast_mut().cast()
}

/// A node of the live device tree (`struct device_node`).
///
/// # Invariants
///
/// A `Node` is always a valid, reference-counted `struct device_node` made by the C side.
#[repr(transparent)]
pub(crate) struct Node(Opaque<bindings::device_node>);

impl Node {
    /// Borrows the node at `ptr`; `None` if `ptr` is null.
    ///
    /// # Safety
    ///
    /// A non-null `ptr` must point to a `struct device_node` that stays alive for `'a`.
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::device_node) -> Option<&'a Self> {
        // SAFETY: By the caller's promise; `Node` is a transparent wrapper.
        unsafe { ptr.cast::<Self>().as_ref() }
    }

    fn as_raw(&self) -> *mut bindings::device_node {
        self.0.get()
    }

    /// The child called `name` (without its unit address).
    pub(crate) fn child(&self, name: &CStr) -> Option<ARef<Self>> {
        // SAFETY: The node is valid by the type invariant, and the name ends in a NUL.
        let child = unsafe { bindings::of_get_child_by_name(self.as_raw(), name.as_char_ptr()) };
        // SAFETY: What is found comes with a reference for the caller.
        NonNull::new(child.cast::<Self>()).map(|child| unsafe { ARef::from_raw(child) })
    }

    /// What an `iommus` property says of requester `id` on this bus, by the bus's `iommu-map`: the IOMMU's phandle
    /// and the id that the IOMMU knows the requester by. `None` if no IOMMU translates for it.
    pub(crate) fn iommu_of(&self, id: u32) -> Result<Option<KVec<u32>>> {
        let mut found = bindings::of_phandle_args::default();
        // SAFETY: The node is valid by the type invariant, and `found` is there to be filled.
        to_result(unsafe { bindings::of_map_iommu_id(self.as_raw(), id, &mut found) })?;
        let Some(iommu) = NonNull::new(found.np.cast::<Self>()) else {
            return Ok(None);
        };
        // SAFETY: What is found comes with a reference for the caller.
        let iommu = unsafe { ARef::from_raw(iommu) };

        let mut cells = KVec::new();
        // SAFETY: The node is valid, and its phandle does not change.
        cells.push(unsafe { (*iommu.as_raw()).phandle }, GFP_KERNEL)?;
        let count = usize::try_from(found.args_count)?;
        cells.extend_from_slice(found.args.get(..count).ok_or(EINVAL)?, GFP_KERNEL)?;
        Ok(Some(cells))
    }

    /// The node's `struct fwnode_handle`, as other subsystems know it.
    pub(crate) fn fwnode(&self) -> *mut bindings::fwnode_handle {
        // SAFETY: By the type invariant the node is valid, so its field has an address.
        unsafe { &raw mut (*self.as_raw()).fwnode }
    }
}

// SAFETY: A `struct device_node` may be used and released from any thread.
unsafe impl Send for Node {}
// SAFETY: No method of `Node` changes the node without the device tree's own locks.
unsafe impl Sync for Node {}

// SAFETY: Nodes are counted by their kobject.
unsafe impl AlwaysRefCounted for Node {
    fn inc_ref(&self) {
        // SAFETY: A shared reference means that the count is not zero.
        unsafe { bindings::of_node_get(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller owns a reference, by the contract of this function.
        unsafe { bindings::of_node_put(obj.cast().as_ptr()) };
    }
}

/// A set of changes to the live tree, made and undone as a whole (`struct of_changeset`).
///
/// # Invariants
///
/// The changeset is initialised, and applied if `applied` says so.
struct Changes {
    set: KBox<Opaque<bindings::of_changeset>>,
    applied: bool,
}

// SAFETY: A changeset belongs to no thread; it is only changed through `&mut self`.
unsafe impl Send for Changes {}

impl Changes {
    /// An empty set.
    fn new() -> Result<Self> {
        let set = KBox::new(Opaque::uninit(), GFP_KERNEL)?;
        // SAFETY: `set` is memory for a changeset, which does not move while boxed.
        unsafe { bindings::of_changeset_init(set.get()) };
        // INVARIANT: It was just initialised.
        Ok(Self {
            set,
            applied: false,
        })
    }

    /// Adds a property that is an array of 32-bit cells to `node`, which the caller holds while the set lives.
    fn cells(&mut self, node: &Node, name: &CStr, cells: &[u32]) -> Result {
        // SAFETY: Changeset and node are valid by the invariants; name and cells are copied.
        to_result(unsafe {
            bindings::of_changeset_add_prop_u32_array(
                self.set.get(),
                node.as_raw(),
                name.as_char_ptr(),
                cells.as_ptr(),
                cells.len(),
            )
        })
    }

    /// Makes the changes.
    fn apply(&mut self) -> Result {
        if self.applied {
            return Err(EBUSY);
        }
        // SAFETY: The changeset is initialised and not applied.
        to_result(unsafe { bindings::of_changeset_apply(self.set.get()) })?;
        self.applied = true;
        Ok(())
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        if self.applied {
            // SAFETY: The changeset is initialised and applied.
            let ret = unsafe { bindings::of_changeset_revert(self.set.get()) };
            if let Err(e) = to_result(ret) {
                pr_err!("device-tree changes could not be undone: {:?}\n", e);
            }
        }
        // SAFETY: The changeset is initialised and is not used again.
        unsafe { bindings::of_changeset_destroy(self.set.get()) };
    }
}

/// A property added to a node that is there already; dropped, it is removed.
pub(crate) struct Property {
    _changes: Changes,
    _node: ARef<Node>,
}

impl Property {
    /// Adds a property that is an array of 32-bit cells.
    pub(crate) fn cells(node: &Node, name: &CStr, cells: &[u32]) -> Result<Self> {
        let mut changes = Changes::new()?;
        changes.cells(node, name, cells)?;
        changes.apply()?;
        Ok(Self {
            _changes: changes,
            _node: node.into(),
        })
    }
}

/// One new node and its properties, applied to the live tree as a whole.
///
/// # Invariants
///
/// `node` was created by `changes` below `_parent`.
pub(crate) struct NewNode {
    changes: Changes,
    node: ARef<Node>,
    // of_changeset_create_node() stores the parent without counting it.
    _parent: ARef<Node>,
}

impl NewNode {
    /// Prepares a node called `name` (with its unit address) below `parent`.
    pub(crate) fn new(parent: &Node, name: &CStr) -> Result<Self> {
        let changes = Changes::new()?;
        // SAFETY: The changeset is initialised, `parent` is valid, and the name is copied.
        let node = unsafe {
            let set = changes.set.get();
            bindings::of_changeset_create_node(set, parent.as_raw(), name.as_char_ptr())
        };
        let node = NonNull::new(node.cast::<Node>()).ok_or(ENOMEM)?;

        // INVARIANT: The node is the changeset's own, below `parent`.
        Ok(Self {
            changes,
            // SAFETY: of_changeset_create_node() hands one reference to its caller.
            node: unsafe { ARef::from_raw(node) },
            _parent: parent.into(),
        })
    }

    /// Adds a property that is one string.
    pub(crate) fn string(&mut self, name: &CStr, value: &CStr) -> Result {
        // SAFETY: Changeset and node are valid by the invariant; name and value are copied.
        to_result(unsafe {
            bindings::of_changeset_add_prop_string(
                self.changes.set.get(),
                self.node.as_raw(),
                name.as_char_ptr(),
                value.as_char_ptr(),
            )
        })
    }

    /// Adds a property that is an array of 32-bit cells.
    pub(crate) fn cells(&mut self, name: &CStr, cells: &[u32]) -> Result {
        self.changes.cells(&self.node, name, cells)
    }

    /// Adds a property that has no value.
    pub(crate) fn flag(&mut self, name: &CStr) -> Result {
        // SAFETY: Changeset and node are valid by the invariant; the name is copied.
        to_result(unsafe {
            bindings::of_changeset_add_prop_bool(
                self.changes.set.get(),
                self.node.as_raw(),
                name.as_char_ptr(),
            )
        })
    }

    /// Puts the node into the live tree and makes it the node of `dev`.
    ///
    /// Fails with `EBUSY` if `dev` has a node.
    pub(crate) fn attach(mut self, dev: &device::Device<Bound>) -> Result<DeviceNode<'_>> {
        self.changes.apply()?;

        // SAFETY: Both are valid; the device takes a reference of its own to the node.
        to_result(unsafe { bindings::device_add_of_node(raw_device(dev), self.node.as_raw()) })?;
        // INVARIANT: The changeset is applied, and `dev` just took the node.
        Ok(DeviceNode { dev, new: self })
    }
}

/// A device's own node, there as long as this value.
///
/// # Invariants
///
/// `new` is applied, and its node is that of `dev`.
pub(crate) struct DeviceNode<'a> {
    dev: &'a device::Device<Bound>,
    new: NewNode,
}

impl core::ops::Deref for DeviceNode<'_> {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.new.node
    }
}

impl Drop for DeviceNode<'_> {
    fn drop(&mut self) {
        // SAFETY: By the invariant the device's node is ours; this drops the device's reference.
        unsafe { bindings::device_remove_of_node(raw_device(self.dev)) };
    }
}

/// A compiled overlay that is part of the module's image.
///
/// # Invariants
///
/// The bytes are a flattened device tree that dtc made.
#[derive(Clone, Copy)]
pub(crate) struct Blob(&'static [u8]);

impl Blob {
    /// The blob between the two symbols that kbuild puts around a `.dtbo.o`.
    ///
    /// # Safety
    ///
    /// `begin` and `end` must be the bounds of one such blob.
    pub(crate) unsafe fn from_bounds(begin: *const u8, end: *const u8) -> Self {
        // INVARIANT: By the caller's promise this is what kbuild had from dtc.
        // SAFETY: By the caller's promise both point into, or just past, one read-only object.
        Self(unsafe { core::slice::from_raw_parts(begin, end.byte_offset_from(begin) as usize) })
    }
}

/// Names an overlay that kbuild linked into the module: `embedded_overlay!(BEGIN, END)`, with the
/// symbols `__dtbo_<file>_begin` and `__dtbo_<file>_end` of `scripts/Makefile.dtbs`.
macro_rules! embedded_overlay {
    ($begin:ident, $end:ident) => {{
        extern "C" {
            static $begin: u8;
            static $end: u8;
        }
        // SAFETY: kbuild's wrapper puts the two symbols around what dtc wrote.
        unsafe { $crate::of::Blob::from_bounds(&raw const $begin, &raw const $end) }
    }};
}
pub(crate) use embedded_overlay;

/// An overlay applied to the live tree; dropped, it is removed.
pub(crate) struct Overlay(c_int);

impl Overlay {
    /// Applies `blob`, whose fragments' empty target paths mean `base`.
    pub(crate) fn apply(blob: Blob, base: &Node) -> Result<Self> {
        let mut overlay = Self(0);
        // SAFETY: The blob is a flattened tree by its invariant and is copied; `base` is valid. On
        // failure the id names what was applied in part, and dropping `overlay` removes it.
        to_result(unsafe {
            bindings::of_overlay_fdt_apply(
                blob.0.as_ptr().cast(),
                blob.0.len().try_into()?,
                &mut overlay.0,
                base.as_raw(),
            )
        })?;
        Ok(overlay)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        // SAFETY: The id is that of our overlay, or 0, which does nothing.
        if let Err(e) = to_result(unsafe { bindings::of_overlay_remove(&mut self.0) }) {
            pr_err!("device-tree overlay could not be removed: {:?}\n", e);
        }
    }
}

/// The platform devices below a device, made from its node; dropped, they are unregistered.
pub(crate) struct Children<'a>(&'a device::Device<Bound>);

impl<'a> Children<'a> {
    /// Makes a platform device of each available node below that of `dev`, buses included.
    ///
    /// Fails with `ENODEV` if `dev` has no node. A child whose driver does not bind is no failure.
    pub(crate) fn populate(dev: &'a device::Device<Bound>) -> Result<Self> {
        // SAFETY: `dev` is valid, and whoever set its node also holds it while `dev` is bound.
        let node = unsafe { Node::from_raw((*raw_device(dev)).of_node) }.ok_or(ENODEV)?;
        let children = Self(dev);
        // SAFETY: Node and device are valid and no table of names is given. What was made before a
        // failure goes away with `children`.
        to_result(unsafe {
            of_platform_default_populate(node.as_raw(), ptr::null(), raw_device(dev))
        })?;
        Ok(children)
    }
}

impl Drop for Children<'_> {
    fn drop(&mut self) {
        // SAFETY: The device is valid; without a populated node this does nothing.
        unsafe { of_platform_depopulate(raw_device(self.0)) };
    }
}
