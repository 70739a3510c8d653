// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The eDMA of the whole device as two QEMUs see it: registers and lists in, bytes in the other RAM.

#[allow(dead_code)] // shared with the tests of windows
#[path = "../windows/guest.rs"]
mod guest;
#[allow(dead_code)] // shared with the tests of windows
#[path = "../windows/pair.rs"]
mod pair;

mod channel;
mod ends;
mod transfers;
