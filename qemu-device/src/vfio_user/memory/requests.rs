// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Accesses that the client is asked to do, because it alone knows what lies at their address
//! (*VFIO_USER_DMA_READ*, *VFIO_USER_DMA_WRITE*).
//!
//! For a guest with an IOMMU that is each register that the guest has mapped for the device's DMA: the client maps
//! memory with us and nothing else (QEMU: `vfio_iommu_map_notify`).
//!
//! QEMU performs them under its big lock, which a vCPU that waits for a reply of ours holds. So whoever answers that
//! client must never wait here. Who serves the other one may, and does: for what it reads, and, as PCI's flow control
//! has it, for room when many writes are under way. A doorbell must not be lost because QEMU is slow.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use zerocopy::{FromBytes, IntoBytes};

use crate::vfio_user::transport::{Sender, MAX_QUEUED};
use crate::vfio_user::wire::{command, flags, DmaAccess, Header, HEADER_SIZE};

/// The most bytes of one access: what a CPU loads or stores at once.
pub const MAX_REQUEST: usize = 8;

/// The most requests under way. What the client has not done yet it keeps in its memory.
pub const MAX_REQUESTS: usize = 64;

// A client that answers what it has read has never more to read than these.
const _: () =
    assert!(MAX_REQUESTS * (HEADER_SIZE + size_of::<DmaAccess>() + MAX_REQUEST) <= MAX_QUEUED);

/// How long a client may take over one request.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why an access did not happen.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RequestError {
    /// More than [`MAX_REQUEST`] bytes, or none.
    #[error("it is no single load or store")]
    Length,
    /// Nobody is connected, or no more.
    #[error("there is no client")]
    NoClient,
    /// The client has not done one of [`MAX_REQUESTS`], or a read, for a second. Until it answers, nobody waits for it
    /// again.
    #[error("the client is behind")]
    Behind,
    /// The client could not do it.
    #[error("the client has nothing there")]
    Refused,
}

type Answer = Result<Vec<u8>, RequestError>;

/// The requests of one connection.
#[derive(Debug, Default)]
pub(super) struct Requests {
    state: Mutex<State>,
    /// There was an answer, or the client is another.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    client: Option<Sender>,
    /// What was sent and not answered, by message id.
    under_way: BTreeMap<u16, Request>,
    /// The answers that somebody waits for, until they are taken.
    answers: BTreeMap<u16, Answer>,
    /// Whether somebody has waited in vain since the last answer.
    behind: bool,
    next_id: u16,
}

#[derive(Debug)]
struct Request {
    address: u64,
    /// Whether somebody waits for the answer.
    awaited: bool,
}

impl State {
    fn full(&self) -> bool {
        self.under_way.len() >= MAX_REQUESTS
    }
}

impl Requests {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while `so`; when that has taken too long, the client is behind.
    fn wait<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        mut so: impl FnMut(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        let (mut state, wait) = self
            .changed
            .wait_timeout_while(state, PATIENCE, |state| so(state))
            .unwrap_or_else(PoisonError::into_inner);
        state.behind |= wait.timed_out();
        state
    }

    /// Sends them over `client` from now on; `None`: to nobody.
    pub fn connect(&self, client: Option<Sender>) {
        let mut state = self.state();
        *state = State {
            client,
            // Who waits for an answer of the client before does not take one of this client's for it.
            next_id: state.next_id,
            ..State::default()
        };
        drop(state);
        self.changed.notify_all();
    }

    /// Sends a request off for `len` bytes at `address`. Returns its message id.
    fn send(
        &self,
        command: u16,
        address: u64,
        len: usize,
        data: &[u8],
    ) -> Result<(MutexGuard<'_, State>, u16), RequestError> {
        if len == 0 || len > MAX_REQUEST {
            return Err(RequestError::Length);
        }
        let mut state = self.wait(self.state(), |state| {
            state.client.is_some() && state.full() && !state.behind
        });
        let client = state.client.as_ref().ok_or(RequestError::NoClient)?;
        if state.full() {
            return Err(RequestError::Behind);
        }
        let mut id = state.next_id;
        while state.under_way.contains_key(&id) {
            id = id.wrapping_add(1);
        }
        let size = HEADER_SIZE + size_of::<DmaAccess>() + data.len();
        let header = Header {
            message_id: id,
            command,
            message_size: size as u32,
            flags: flags::TYPE_COMMAND,
            error: 0,
        };
        let access = DmaAccess {
            address,
            count: len as u64,
        };
        let message = [header.as_bytes(), access.as_bytes(), data].concat();
        client.queue(&message).map_err(|_| RequestError::NoClient)?;
        let awaited = command == command::DMA_READ;
        state.under_way.insert(id, Request { address, awaited });
        state.next_id = id.wrapping_add(1);
        Ok((state, id))
    }

    /// Sends `data` off to `address`.
    pub fn post(&self, address: u64, data: &[u8]) -> Result<(), RequestError> {
        self.send(command::DMA_WRITE, address, data.len(), data)
            .map(drop)
    }

    /// Fills `data` with what the client reads at `address`, after all that was posted before.
    pub fn fetch(&self, address: u64, data: &mut [u8]) -> Result<(), RequestError> {
        if self.state().behind {
            return Err(RequestError::Behind);
        }
        let (state, id) = self.send(command::DMA_READ, address, data.len(), &[])?;
        let mut state = self.wait(state, |state| state.under_way.contains_key(&id));
        if let Some(answer) = state.answers.remove(&id) {
            let answer = answer?;
            let answer = answer.get(..data.len()).ok_or(RequestError::Refused)?;
            data.copy_from_slice(answer);
            return Ok(());
        }
        match state.under_way.get_mut(&id) {
            Some(request) => {
                request.awaited = false;
                Err(RequestError::Behind)
            }
            None => Err(RequestError::NoClient),
        }
    }

    /// The client has answered a request with `payload`. Returns the address that it was for, if it was under way.
    pub fn answered(&self, header: &Header, payload: &[u8]) -> Option<u64> {
        let mut state = self.state();
        let Request { address, awaited } = state.under_way.remove(&header.message_id)?;
        state.behind = false;
        if awaited {
            let answer = match DmaAccess::read_from_prefix(payload) {
                Ok((_, data)) if !header.failed() => Ok(data[..data.len().min(MAX_REQUEST)].into()),
                _ => Err(RequestError::Refused),
            };
            state.answers.insert(header.message_id, answer);
        }
        drop(state);
        self.changed.notify_all();
        Some(address)
    }
}
