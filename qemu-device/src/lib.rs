// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The silicon between two QEMU guests: an R-Car S4 PCIe endpoint controller served over vfio-user.

pub mod vfio_user;
