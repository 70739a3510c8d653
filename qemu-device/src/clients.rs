// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How many clients a socket may have at a time.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;

/// The clients of one socket, each of which costs a thread and a descriptor.
#[derive(Debug)]
pub struct Clients {
    most: usize,
    present: AtomicUsize,
    refused: AtomicU64,
}

impl Clients {
    /// At most `most` at a time.
    pub fn at_most(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            present: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// One more; until what is returned is dropped. `None` if there are too many. `socket` is its name in the log, where
    /// ever fewer refusals are.
    pub fn admit(self: &Arc<Self>, socket: &str) -> Option<Present> {
        let more = |present| (present < self.most).then_some(present + 1);
        let admitted = self
            .present
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        if admitted.is_ok() {
            return Some(Present(self.clone()));
        }
        let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        if refused.is_power_of_two() {
            let most = self.most;
            log::warn!("{socket}: {most} clients already, another is refused (refusal {refused})");
        }
        None
    }
}

/// A client's place.
#[derive(Debug)]
pub struct Present(Arc<Clients>);

impl Drop for Present {
    fn drop(&mut self) {
        self.0.present.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_client_is_gone() {
        let clients = Clients::at_most(2);
        let one = clients.admit("test").unwrap();
        let _two = clients.admit("test").unwrap();
        assert!(clients.admit("test").is_none());
        drop(one);
        assert!(clients.admit("test").is_some());
    }
}
