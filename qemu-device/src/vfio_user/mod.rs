// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The server side of vfio-user: a PCI device that lives in another process than its guest.
//!
//! This room knows the protocol and nothing of what it carries: the device behind it is a [`Device`].
//! The source for every layout and rule is the *vfio-user Protocol Specification* (QEMU's
//! `docs/interop/vfio-user.rst`); section names are given as there. What QEMU's client
//! (`hw/vfio-user`) does beyond it is said where it matters.
//!
//! From the wire inwards:
//!
//! - [`transport`]: bytes and file descriptors over a Unix stream, cut into messages;
//! - [`descriptor`]: what the descriptors are of;
//! - [`wire`]: the layouts of the messages;
//! - [`session`]: what one connection may say and what it is answered. No I/O: a message goes in, the
//!   bytes of the reply come out;
//! - [`memory`]: the guest's RAM, by DMA address; [`irq`]: the eventfds that raise its interrupts. Both
//!   are shared with whoever else needs them while the session changes them;
//! - [`server`]: the loop that joins these.

pub mod descriptor;
pub mod irq;
pub mod memory;
pub mod server;
pub mod session;
pub mod transport;
mod version;
pub mod wire;

pub use nix::errno::Errno;
pub use vfio_bindings::bindings::vfio::{
    VFIO_PCI_CONFIG_REGION_INDEX as CONFIG_REGION, VFIO_PCI_NUM_IRQS as IRQ_INDICES,
    VFIO_PCI_NUM_REGIONS as REGIONS, VFIO_PCI_ROM_REGION_INDEX as ROM_REGION,
};

/// A PCI device, as far as vfio-user is concerned.
///
/// The session has checked an access before it gets here: the region is there, the range lies within
/// it, and the direction is allowed.
pub trait Device {
    /// What stands behind region `index` (0-5 the BARs, [`ROM_REGION`], [`CONFIG_REGION`], then VGA);
    /// `None` if nothing does. Clients ask once and keep the answer.
    fn region(&self, index: u32) -> Option<RegionInfo>;

    /// How many vectors interrupt type `index` of [`irq`] has; `None` or 0 if it has none.
    fn irq_count(&self, index: u32) -> Option<u32>;

    /// Fills `data` from `offset` of `region`.
    ///
    /// # Errors
    /// The errno goes back to the client, which gives the guest all ones.
    fn read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> Result<(), Errno>;

    /// Stores `data` at `offset` of `region`.
    ///
    /// # Errors
    /// The errno goes back to the client, unless the write was posted.
    fn write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<(), Errno>;

    /// The function's reset line, from `VFIO_USER_DEVICE_RESET`.
    fn reset(&mut self);

    /// [`memory::DmaTable::shares`] has changed. The client hears that its map came or went once this
    /// returns.
    fn memory_changed(&mut self) {}

    /// A [posted write](memory::DmaTable::post) met nothing at its `address`.
    fn post_refused(&mut self, _address: u64) {}
}

/// A region of a device. No region can be mapped by the client: each access is a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionInfo {
    /// Length in bytes; of a BAR, a power of two (QEMU asserts that).
    pub size: u64,
    /// Whether clients may read it.
    pub readable: bool,
    /// Whether clients may write it.
    pub writable: bool,
}

impl RegionInfo {
    /// A region of `size` bytes for reading and writing.
    pub const fn read_write(size: u64) -> Self {
        Self {
            size,
            readable: true,
            writable: true,
        }
    }

    /// A region of `size` bytes for reading.
    pub const fn read_only(size: u64) -> Self {
        Self {
            size,
            readable: true,
            writable: false,
        }
    }
}
