// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Register layouts and constants that every side agrees on.
//!
//! Nothing in here has a dependency or does input or output, so the device, the runner and the
//! guests' kernel modules share it. A kernel module cannot link a crate of ours; it mounts the files
//! that it needs with `#[path = "…/abi/src/spider.rs"] mod spider;`. That is why these refer to each
//! other by `super::`, and why this file holds nothing of its own.
//!
//! Sources, cited at each item: the Linux 7.3 drivers (`rcar` is `pcie-rcar-gen4.c`, `dw` is
//! `pcie-designware.[ch]`, `dwep` is `pcie-designware-ep.c`, `v0` is `dw-edma-v0-{core.c,regs.h}`),
//! the PCI Express Base Specification ("PCIe"), and terms of the DesignWare databook as the
//! drivers quote them. What no driver states is marked *inferred*. [`vntb`] and [`windows`] are
//! protocols, and name their sources themselves.

#![no_std]
#![forbid(unsafe_code)]

pub mod app;
pub mod dbi;
pub mod edma;
pub mod edma_ring;
pub mod field;
pub mod iatu;
pub mod pci;
pub mod spider;
pub mod transport;
pub mod vntb;
pub mod windows;
