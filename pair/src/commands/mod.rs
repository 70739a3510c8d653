// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What each subcommand does.

mod gdb;
mod guest;
mod inspect;
mod run;

pub use gdb::gdb;
pub use guest::{in_guest, set_up};
pub use inspect::inspect;
pub use run::run;
