// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Performs an access where the fabric said it goes: the peer's RAM, a register block, an interrupt.

use std::fmt;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::{Machine, Silicon};
use crate::fabric::{self, Reason, Resolved, Target};
use crate::vfio_user::irq;
use crate::vfio_user::memory::{DmaTable, MemoryError};

/// What a read returns where nothing answers: a master abort on PCI reads all ones.
const UNSUPPORTED_REQUEST: u8 = 0xff;

/// Who makes an access, and where it begins.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub by: Requester,
    /// Where in what `by` says.
    pub at: u64,
}

/// Who makes an access, and by which way.
#[derive(Clone, Copy)]
pub(super) enum Requester {
    /// The RC, through one of the function's BARs.
    Rc { bar: u8 },
    /// The EP's CPU, through its outbound window.
    Ep,
    /// The eDMA, with a message for an address of the RC's.
    EdmaMessage,
    /// The eDMA, with what lies at an address of the EP's.
    EdmaData,
}

impl Origin {
    /// The same access, `done` bytes further on.
    fn after(self, done: usize) -> Self {
        Self {
            at: self.at.wrapping_add(done as u64),
            ..self
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at;
        match self.by {
            Requester::Rc { bar } => write!(f, "from the RC through BAR {bar} + {at:#x}"),
            Requester::Ep => write!(f, "from the EP through its window + {at:#x}"),
            Requester::EdmaMessage => write!(f, "from the eDMA, its message for {at:#x}"),
            Requester::EdmaData => write!(f, "from the eDMA, the EP's data at {at:#x}"),
        }
    }
}

impl Machine {
    /// Fills `data` from wherever `resolve` says each part of it lives. `resolve` gets the offset into
    /// `data` and the length left, and answers for a prefix of at least one byte.
    pub(super) fn read_through(
        self: &Arc<Self>,
        origin: Origin,
        data: &mut [u8],
        resolve: impl Fn(&Silicon, u64, u64) -> Resolved,
    ) {
        let mut done = 0;
        while done < data.len() {
            let left = (data.len() - done) as u64;
            let from = origin.after(done);
            let mut silicon = self.silicon();
            let Resolved { target, len } = resolve(&silicon, done as u64, left);
            let part = &mut data[done..done + len.clamp(1, left) as usize];
            done += part.len();
            match target {
                Target::EpRegister { offset } => {
                    silicon.controller.ep_read_bytes(offset, part);
                }
                Target::Unsupported(reason) => {
                    self.unsupported(silicon, reason, format_args!("{from}"));
                    part.fill(UNSUPPORTED_REQUEST);
                }
                // An MSI is a posted write; whoever reads its address gets zeroes, not an error: the
                // EP's driver flushes a moved MSI window by reading it (`dw_pcie_ep_raise_msi_irq`).
                Target::RcMsi => part.fill(0),
                Target::EpRam { address } => {
                    drop(silicon);
                    if !self.read_ep(from, address, part) {
                        part.fill(UNSUPPORTED_REQUEST);
                    }
                }
                Target::RcRam { address } => {
                    drop(silicon);
                    let done = self.rc_memory(|ram| ram.read(address, part));
                    if !self.answered(done, Reason::NoRcMemory, from, address) {
                        part.fill(UNSUPPORTED_REQUEST);
                    }
                }
            }
        }
    }

    /// Carries `data` to wherever `resolve` says each part of it lives; what nobody answers is
    /// dropped and counted, as a posted write on PCI is.
    pub(super) fn write_through(
        self: &Arc<Self>,
        origin: Origin,
        data: &[u8],
        resolve: impl Fn(&Silicon, u64, u64) -> Resolved,
    ) {
        let mut done = 0;
        while done < data.len() {
            let left = (data.len() - done) as u64;
            let from = origin.after(done);
            let silicon = self.silicon();
            let Resolved { target, len } = resolve(&silicon, done as u64, left);
            let part = &data[done..done + len.clamp(1, left) as usize];
            done += part.len();
            match target {
                Target::EpRegister { offset } => {
                    self.change(silicon, |silicon, effects| {
                        silicon.controller.ep_write_bytes(offset, part, effects);
                    });
                }
                Target::Unsupported(reason) => {
                    self.unsupported(silicon, reason, format_args!("{from}"));
                }
                Target::RcMsi => match fabric::msi_vector(&silicon.controller, part) {
                    Ok(vector) => {
                        drop(silicon);
                        if let Some(rc) = self.rc() {
                            rc.interrupts.trigger(irq::MSI_INDEX, vector.into());
                        }
                    }
                    Err(reason) => self.unsupported(silicon, reason, format_args!("{from}")),
                },
                Target::EpRam { address } => {
                    drop(silicon);
                    self.write_ep(from, address, part);
                }
                Target::RcRam { address } => {
                    drop(silicon);
                    let done = self.rc_memory(|ram| ram.write(address, part));
                    self.answered(done, Reason::NoRcMemory, from, address);
                }
            }
        }
    }

    /// Does something with the EP's RAM, if there is an EP.
    fn ep_memory<T>(&self, act: impl FnOnce(&DmaTable) -> T) -> Option<T> {
        let ep = self.ep.read().unwrap_or_else(PoisonError::into_inner);
        ep.as_ref().map(|ep| act(&ep.memory))
    }

    /// As [`ep_memory`](Self::ep_memory), on the other side.
    fn rc_memory<T>(&self, act: impl FnOnce(&DmaTable) -> T) -> Option<T> {
        let rc = self.rc.read().unwrap_or_else(PoisonError::into_inner);
        rc.as_ref().map(|rc| act(&rc.attachment.memory))
    }

    /// Whether RAM answered a request. `none` is the reason that is counted when there is none at the
    /// address, or no guest at all.
    fn answered(
        &self,
        done: Option<Result<(), MemoryError>>,
        none: Reason,
        from: Origin,
        address: u64,
    ) -> bool {
        let answered = matches!(done, Some(Ok(())));
        if !answered {
            self.unsupported(
                self.silicon(),
                none,
                format_args!("at {address:#x}, {from}"),
            );
        }
        answered
    }

    /// Where the EP's QEMU has mapped no memory there may be registers of the EP: a doorbell, or the eDMA's, that its
    /// drivers have mapped through an IOMMU (`pci_epf_alloc_doorbell`). QEMU knows.
    fn read_ep(&self, from: Origin, address: u64, data: &mut [u8]) -> bool {
        let mut done = self.ep_memory(|ram| ram.read(address, data));
        if let Some(Err(error)) = done {
            // Waits: with no lock.
            done = self
                .ep()
                .map(|ep| ep.memory.fetch(address, data).map_err(|_| error));
        }
        self.answered(done, Reason::NoEpMemory, from, address)
    }

    /// As [`read_ep`](Self::read_ep); a write has not happened yet when this returns.
    fn write_ep(&self, from: Origin, address: u64, data: &[u8]) {
        let mut done = self.ep_memory(|ram| ram.write(address, data));
        if let Some(Err(error)) = done {
            // May wait: with no lock.
            done = self
                .ep()
                .map(|ep| ep.memory.post(address, data).map_err(|_| error));
        }
        self.answered(done, Reason::NoEpMemory, from, address);
    }

    /// Counts a request of the RC that nothing in the EP answered at this address.
    pub(super) fn nothing_in_ep(&self, address: u64) {
        self.unsupported(
            self.silicon(),
            Reason::NoEpMemory,
            format_args!("at {address:#x}"),
        );
    }

    /// Counts a request that nobody answers. A guest can cause them without end, so ever fewer of them are logged, with
    /// `place`.
    fn unsupported(
        &self,
        mut silicon: MutexGuard<'_, Silicon>,
        reason: Reason,
        place: fmt::Arguments<'_>,
    ) {
        let logged = silicon.controller.count_unsupported(reason);
        drop(silicon);
        if logged {
            log::warn!("unsupported request: {} {place}", reason.name());
        }
    }
}
