// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The layouts themselves; see the crate's documentation (`lib.rs`) for how they are shared.

#![allow(dead_code)] // a kernel module that includes this file uses a part of it

pub mod app;
pub mod dbi;
pub mod edma;
pub mod field;
pub mod iatu;
pub mod pci;
pub mod spider;
