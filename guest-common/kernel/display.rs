// SPDX-License-Identifier: GPL-2.0

//! Values that only `core` can print, for the kernel's formatting.

use kernel::fmt;

/// Prints what implements `core::fmt::Display`.
pub(crate) struct Core<T>(pub(crate) T);

impl<T: core::fmt::Display> fmt::Display for Core<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        core::fmt::Display::fmt(&self.0, f)
    }
}
