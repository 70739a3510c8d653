// SPDX-License-Identifier: GPL-2.0

//! In place of `auxiliary_child.rs` in a kernel without an auxiliary bus: there is no child, and the
//! bridge works without.

use kernel::{
    device::{self, Bound},
    devres::Devres,
    prelude::*,
};

/// There is none.
pub(crate) enum Child {}

impl Child {
    /// Fails with `EOPNOTSUPP`, and a line that says what is missing.
    pub(crate) fn new(
        parent: &device::Device<Bound>,
        _module: &'static CStr,
        _name: &'static CStr,
        _id: u32,
        _properties: &[(&'static CStr, u32)],
    ) -> Result<Devres<Self>> {
        dev_err!(parent, "this kernel has no CONFIG_AUXILIARY_BUS\n");
        Err(EOPNOTSUPP)
    }
}
