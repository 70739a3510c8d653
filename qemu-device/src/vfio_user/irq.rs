// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Interrupts towards the guest (*VFIO_USER_DEVICE_SET_IRQS*).
//!
//! An interrupt is a signal at an eventfd that the client sent. Between the guest enabling MSI and the
//! eventfds arriving there is a gap: what is raised in it stays pending and goes out with the eventfd.

mod eventfd;

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{json, Value};
pub use vfio_bindings::bindings::vfio::{
    VFIO_PCI_ERR_IRQ_INDEX as ERR_INDEX, VFIO_PCI_INTX_IRQ_INDEX as INTX_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX as MSIX_INDEX, VFIO_PCI_MSI_IRQ_INDEX as MSI_INDEX,
    VFIO_PCI_REQ_IRQ_INDEX as REQ_INDEX,
};

pub(super) use self::eventfd::is_eventfd;
use self::eventfd::EventFd;
pub use self::eventfd::{prepare, NotAnEventFd};
use super::IRQ_INDICES;

/// The most vectors an interrupt type can have: MSI-X, by the PCI specification.
pub const MAX_VECTORS: u32 = 2048;

/// One vector.
#[derive(Default)]
struct Vector {
    eventfd: Option<EventFd>,
    masked: bool,
    pending: bool,
}

impl Vector {
    /// Lets a pending interrupt out if there is a way and nothing holds it. Returns whether it went.
    fn flush(&mut self) -> bool {
        match &self.eventfd {
            Some(eventfd) if self.pending && !self.masked => {
                self.pending = !eventfd.signal();
                !self.pending
            }
            _ => false,
        }
    }
}

#[derive(Default)]
struct State {
    /// By interrupt type; as long as the highest vector ever meant, at most [`MAX_VECTORS`].
    vectors: [Vec<Vector>; IRQ_INDICES as usize],
    /// The level of INTx.
    intx_asserted: bool,
    counters: Counters,
}

impl State {
    fn vector(&mut self, index: u32, vector: u32) -> Option<&mut Vector> {
        let vectors = self.vectors.get_mut(index as usize)?;
        if vector >= MAX_VECTORS {
            return None;
        }
        let wanted = vector as usize + 1;
        if vectors.len() < wanted {
            vectors.resize_with(wanted, Vector::default);
        }
        vectors.get_mut(vector as usize)
    }

    /// Lets out what `vector` holds back. INTx is raised for as long as its level says so, and masks
    /// itself when it fires (*AUTOMASKED*).
    fn flush(&mut self, index: u32, vector: u32) {
        let asserted = index == INTX_INDEX && self.intx_asserted;
        let Some(vector) = self.vector(index, vector) else {
            return;
        };
        vector.pending |= asserted;
        if vector.flush() {
            vector.masked = index == INTX_INDEX;
            self.counters.signalled += 1;
        }
    }
}

/// What has become of interrupts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Raised by the device.
    pub triggered: u64,
    /// Signalled at an eventfd. Below `triggered` when one vector was raised repeatedly while pending.
    pub signalled: u64,
    /// Raised on a vector that cannot exist.
    pub dropped: u64,
}

/// The interrupts of one function: the session configures them, anyone may trigger.
#[derive(Default)]
pub struct Interrupts {
    state: Mutex<State>,
}

impl Interrupts {
    /// No eventfd anywhere yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises vector `vector` of interrupt type `index` once. Without an eventfd, or masked, it stays
    /// pending; a vector that is pending already stays so.
    pub fn trigger(&self, index: u32, vector: u32) {
        let mut state = self.state();
        state.counters.triggered += 1;
        match state.vector(index, vector) {
            Some(entry) => {
                entry.pending = true;
                state.flush(index, vector);
            }
            None => state.counters.dropped += 1,
        }
    }

    /// Sets the level of INTx. It fires again at each unmask for as long as it is asserted.
    pub fn set_intx(&self, asserted: bool) {
        let mut state = self.state();
        let rises = asserted && !state.intx_asserted;
        state.intx_asserted = asserted;
        state.counters.triggered += u64::from(rises);
        if let Some(entry) = state.vector(INTX_INDEX, 0) {
            entry.pending = asserted;
        }
        state.flush(INTX_INDEX, 0);
    }

    /// What has happened so far.
    pub fn counters(&self) -> Counters {
        self.state().counters
    }

    /// How many vectors are raised and wait for an eventfd or an unmask.
    pub fn pending(&self) -> usize {
        self.state()
            .vectors
            .iter()
            .flatten()
            .filter(|vector| vector.pending)
            .count()
    }

    /// Gives vectors of type `index` from `start` on their eventfds, and what waited for them goes out.
    ///
    /// # Errors
    /// One of `fds` is no eventfd; then nothing has changed.
    pub(super) fn assign(
        &self,
        index: u32,
        start: u32,
        fds: Vec<OwnedFd>,
    ) -> Result<(), NotAnEventFd> {
        let eventfds = fds
            .into_iter()
            .map(EventFd::new)
            .collect::<Result<Vec<_>, _>>()?;
        let mut state = self.state();
        for (vector, eventfd) in (start..).zip(eventfds) {
            if let Some(entry) = state.vector(index, vector) {
                entry.eventfd = Some(eventfd);
                state.flush(index, vector);
            }
        }
        Ok(())
    }

    /// Takes the eventfds of `count` vectors from `start` away.
    pub(super) fn deassign(&self, index: u32, start: u32, count: u32) {
        self.each(index, start, count, |state, vector| {
            if let Some(entry) = state.vector(index, vector) {
                entry.eventfd = None;
            }
        });
    }

    /// Masks vectors, or unmasks them and lets out what waited.
    pub(super) fn set_masked(&self, index: u32, start: u32, count: u32, masked: bool) {
        self.each(index, start, count, |state, vector| {
            let Some(entry) = state.vector(index, vector) else {
                return;
            };
            entry.masked = masked;
            state.flush(index, vector);
        });
    }

    /// Turns interrupt type `index` off: no eventfds, nothing pending, nothing masked.
    pub(super) fn disable(&self, index: u32) {
        if let Some(vectors) = self.state().vectors.get_mut(index as usize) {
            vectors.clear();
        }
    }

    /// As after a reset of the function: nothing is pending or masked. Eventfds stay.
    pub(super) fn reset(&self) {
        let mut state = self.state();
        state.intx_asserted = false;
        for vector in state.vectors.iter_mut().flatten() {
            vector.pending = false;
            vector.masked = false;
        }
    }

    /// The client is gone: its eventfds are closed (*Client Disconnection*).
    pub(super) fn disconnect(&self) {
        for index in 0..IRQ_INDICES {
            self.disable(index);
        }
    }

    /// State and counters, for `pair inspect`.
    pub fn inspect(&self) -> Value {
        let state = self.state();
        let names = ["intx", "msi", "msix", "err", "req"];
        let mut tree: serde_json::Map<_, _> = names
            .into_iter()
            .zip(&state.vectors)
            .map(|(name, vectors)| {
                let count = |test: fn(&Vector) -> bool| vectors.iter().filter(|v| test(v)).count();
                let value = json!({
                    "eventfds": count(|v| v.eventfd.is_some()),
                    "pending": count(|v| v.pending),
                    "masked": count(|v| v.masked),
                });
                (name.to_owned(), value)
            })
            .collect();
        let Counters {
            triggered,
            signalled,
            dropped,
        } = state.counters;
        tree.insert("triggered".into(), triggered.into());
        tree.insert("signalled".into(), signalled.into());
        tree.insert("dropped".into(), dropped.into());
        Value::Object(tree)
    }

    fn each(&self, index: u32, start: u32, count: u32, mut act: impl FnMut(&mut State, u32)) {
        debug_assert!(index < IRQ_INDICES);
        let mut state = self.state();
        for vector in start..start.saturating_add(count).min(MAX_VECTORS) {
            act(&mut state, vector);
        }
    }

    // Every entry is valid on its own, whatever a panic elsewhere interrupted.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Interrupts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Interrupts({:?})", self.counters())
    }
}

#[cfg(test)]
mod tests;
