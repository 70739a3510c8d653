// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The eDMA's engine, rule by rule, driven with memory of its own: no thread, no guest.

#[path = "../silicon_common/mod.rs"]
mod silicon_common;

mod ends;
mod interrupts;
mod lists;
mod routes;
mod world;
