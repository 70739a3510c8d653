// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The vfio-user server over a real socket: a file for each message of the protocol, and one for a
//! client that others wrote.

mod client;
mod peer;
