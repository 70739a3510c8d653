// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Performs an access where the fabric said it goes: the peer's RAM, a register block, an interrupt.

use std::sync::{Arc, MutexGuard};

use super::{Attachment, Machine, Silicon};
use crate::fabric::{self, Reason, Resolved, Target};
use crate::vfio_user::irq;

/// What a read returns where nothing answers: a master abort on PCI reads all ones.
const UNSUPPORTED_REQUEST: u8 = 0xff;

impl Machine {
    /// Fills `data` from wherever `resolve` says each part of it lives. `resolve` gets the offset into
    /// `data` and the length left, and answers for a prefix of at least one byte.
    pub(super) fn read_through(
        self: &Arc<Self>,
        data: &mut [u8],
        resolve: impl Fn(&Silicon, u64, u64) -> Resolved,
    ) {
        let mut done = 0;
        while done < data.len() {
            let left = (data.len() - done) as u64;
            let mut silicon = self.silicon();
            let Resolved { target, len } = resolve(&silicon, done as u64, left);
            let part = &mut data[done..done + len.clamp(1, left) as usize];
            done += part.len();
            match target {
                Target::EpRegister { offset } => {
                    silicon.controller.ep_read_bytes(offset, part);
                }
                Target::Unsupported(reason) => {
                    self.unsupported(silicon, reason);
                    part.fill(UNSUPPORTED_REQUEST);
                }
                // An MSI is a posted write; whoever reads its address gets zeroes, not an error: the
                // EP's driver flushes a moved MSI window by reading it (`dw_pcie_ep_raise_msi_irq`).
                Target::RcMsi => part.fill(0),
                Target::EpRam { address } => {
                    drop(silicon);
                    self.read_ram(self.ep(), address, part, Reason::NoEpMemory);
                }
                Target::RcRam { address } => {
                    drop(silicon);
                    self.read_ram(self.rc(), address, part, Reason::NoRcMemory);
                }
            }
        }
    }

    /// Carries `data` to wherever `resolve` says each part of it lives; what nobody answers is
    /// dropped and counted, as a posted write on PCI is.
    pub(super) fn write_through(
        self: &Arc<Self>,
        data: &[u8],
        resolve: impl Fn(&Silicon, u64, u64) -> Resolved,
    ) {
        let mut done = 0;
        while done < data.len() {
            let left = (data.len() - done) as u64;
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
                Target::Unsupported(reason) => self.unsupported(silicon, reason),
                Target::RcMsi => match fabric::msi_vector(&silicon.controller, part) {
                    Ok(vector) => {
                        drop(silicon);
                        if let Some(rc) = self.rc() {
                            rc.interrupts.trigger(irq::MSI_INDEX, vector.into());
                        }
                    }
                    Err(reason) => self.unsupported(silicon, reason),
                },
                Target::EpRam { address } => {
                    drop(silicon);
                    self.write_ram(self.ep(), address, part, Reason::NoEpMemory);
                }
                Target::RcRam { address } => {
                    drop(silicon);
                    self.write_ram(self.rc(), address, part, Reason::NoRcMemory);
                }
            }
        }
    }

    /// `none` is the reason that is counted when there is no RAM at `address`, or no guest at all.
    fn read_ram(&self, port: Option<Attachment>, address: u64, data: &mut [u8], none: Reason) {
        let read = port.map(|port| port.memory.read(address, data));
        if !matches!(read, Some(Ok(()))) {
            self.unsupported(self.silicon(), none);
            data.fill(UNSUPPORTED_REQUEST);
        }
    }

    fn write_ram(&self, port: Option<Attachment>, address: u64, data: &[u8], none: Reason) {
        let written = port.map(|port| port.memory.write(address, data));
        if !matches!(written, Some(Ok(()))) {
            self.unsupported(self.silicon(), none);
        }
    }

    /// Counts a request that nobody answers. A guest can cause them without end, so ever fewer of them
    /// are logged.
    fn unsupported(&self, mut silicon: MutexGuard<'_, Silicon>, reason: Reason) {
        let logged = silicon.controller.count_unsupported(reason);
        drop(silicon);
        if logged {
            log::warn!("unsupported request: {}", reason.name());
        }
    }
}
