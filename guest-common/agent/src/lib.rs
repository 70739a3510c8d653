// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What runs commands in a guest for the runner on the host.
//!
//! - [`mux`]: many connections over the one virtio-serial port between runner and guest.
//! - [`wire`]: the framing within a connection, used by both sides; no operating system in it.
//! - [`session`]: one connection, one command, served from the guest's side over any stream.
//! - [`process`]: a command with its own session, on pipes or on a pseudo-terminal.
//! - [`bar`]: a PCI device's memory, for the programs that measure and test.
//!
//! The binary `init` is the guest's PID 1: it makes the file system, then keeps the server of
//! [`session`]s alive.

pub mod bar;
pub mod mux;
pub mod process;
pub mod session;
pub mod wire;
