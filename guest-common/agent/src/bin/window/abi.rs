// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The layouts that the device and the kernel modules have, too.
#![allow(dead_code)]

#[path = "../../../../../abi/src/field.rs"]
pub mod field;
#[path = "../../../../../abi/src/iatu.rs"]
pub mod iatu;
#[path = "../../../../../abi/src/spider.rs"]
pub mod spider;
