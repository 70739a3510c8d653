// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Counts reads of BARs by a guest's CPU, each of which waits for its answer.
//!
//! What a library in QEMU lets a guest read at memory speed is no message, and not here.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use abi::pci;
use serde_json::{Map, Value};

/// Reads of each of a face's BARs since the process started.
#[derive(Default)]
pub(super) struct Reads([AtomicU64; pci::BARS]);

impl Reads {
    /// Counts a read of a vfio region, if that is a BAR.
    pub(super) fn count(&self, region: u32) {
        if let Some(bar) = self.0.get(region as usize) {
            bar.fetch_add(1, Relaxed);
        }
    }

    /// What `inspect` shows: `bar0` and so on, without those that nobody has read.
    pub(super) fn inspect(&self) -> Value {
        let bars: Map<_, _> = self
            .0
            .iter()
            .map(|bar| bar.load(Relaxed))
            .enumerate()
            .filter(|(_, reads)| *reads > 0)
            .map(|(bar, reads)| (format!("bar{bar}"), reads.into()))
            .collect();
        bars.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfio_user::CONFIG_REGION;

    #[test]
    fn each_bar_is_counted_and_nothing_else_is() {
        let reads = Reads::default();
        for region in [2, 5, 2, CONFIG_REGION, u32::MAX] {
            reads.count(region);
        }
        assert_eq!(reads.inspect(), serde_json::json!({ "bar2": 2, "bar5": 1 }));
    }
}
