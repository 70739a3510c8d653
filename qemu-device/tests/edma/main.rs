// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The eDMA against a reference model, without guests.

mod chaos;
#[allow(dead_code)] // shared with the tests of windows
#[path = "../windows/guest.rs"]
mod guest;
mod model;
#[allow(dead_code)] // shared with the tests of windows
#[path = "../windows/pair.rs"]
mod pair;
mod script;
#[path = "../silicon_common/mod.rs"]
mod silicon_common;
mod strategies;
mod world;

mod anything;
mod device;
