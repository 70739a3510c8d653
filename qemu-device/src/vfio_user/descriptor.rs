// SPDX-License-Identifier: Apache-2.0 OR MIT
//! File descriptors of the client's, judged as they arrive.
//!
//! A descriptor can be of anything: of the client's own end of the connection, which then has no end while it is kept. So
//! one that the protocol has no use for is closed at once, whether or not the rest of its message ever comes.

use std::os::fd::OwnedFd;

use super::irq;
use super::memory::{self, MapFileError};

/// What came along with a message.
#[derive(Debug)]
pub enum Descriptor {
    /// Memory that can be relied on, for a map.
    Memory(OwnedFd),
    /// For an interrupt.
    EventFd(OwnedFd),
    /// Neither, and closed. Why it is no memory.
    Closed(MapFileError),
}

impl From<OwnedFd> for Descriptor {
    fn from(fd: OwnedFd) -> Self {
        if irq::is_eventfd(&fd) {
            return Self::EventFd(fd);
        }
        match memory::check_file(&fd) {
            Ok(()) => Self::Memory(fd),
            Err(error) => Self::Closed(error),
        }
    }
}
