// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The whole device as two QEMUs and the libraries inside them see it: sockets in, sockets out.

mod bounce;
mod fence;
mod guest;
mod hostile;
mod library;
mod order;
mod pair;
mod reach;
