// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The silicon between two QEMU guests: an R-Car S4 PCIe endpoint controller served over vfio-user.

mod clients;
pub mod control;
pub mod controller;
pub mod ep_face;
pub mod fabric;
pub mod logging;
pub mod machine;
pub mod rc_face;
pub mod vfio_user;
