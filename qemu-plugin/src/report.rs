// SPDX-License-Identifier: GPL-2.0-or-later
//! What this library tells whoever started QEMU.

use std::fmt::Display;
use std::io::{stderr, Write};

/// One line on QEMU's standard error. That nobody may be reading is no reason to fail.
pub fn report(what: impl Display) {
    let _ = writeln!(stderr(), "spider-windows: {what}");
}
