// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The vfio-user server over a real socket: a file for each message of the protocol, one for what is
//! no message at all, and one for a client that others wrote.

mod client;
mod connection;
mod descriptors;
mod device_info;
mod device_reset;
mod dma_map;
mod dma_requests;
mod dma_unmap;
mod irq_info;
mod malformed;
mod peer;
mod region_access;
mod region_info;
mod region_io_fds;
mod region_write_multi;
mod set_irqs;
mod slow_clients;
mod unsupported;
mod version;
