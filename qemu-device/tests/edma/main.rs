// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The eDMA against a reference model, without guests.

mod chaos;
mod model;
mod script;
#[path = "../silicon_common/mod.rs"]
mod silicon_common;
mod strategies;
mod world;

mod anything;
