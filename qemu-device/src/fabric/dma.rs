// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whose addresses the many transfers of one job are.
//!
//! [`from_edma`] asks the controller anew each time, which for an element of 64 bytes takes longer than to
//! move it. What the answers depend on is therefore looked up once for all of them.

use super::{from_edma, pieces, Reason, Resolved, Target};
use crate::controller::Controller;

/// Bytes of the word at the RC's MSI address.
const WORD: u64 = 4;

/// The way of the eDMA's requests, as it is while the controller is borrowed.
pub struct DmaRoutes<'a> {
    controller: &'a Controller,
    refused: Option<Reason>,
    /// Ranges in which there is more to be asked than whether requests may leave at all: first and last
    /// address of each enabled outbound region, and the MSI word.
    special: Vec<(u64, u64)>,
}

impl<'a> DmaRoutes<'a> {
    /// The way as `controller` has it now.
    pub fn new(controller: &'a Controller) -> Self {
        let msi = controller.msi().address;
        let mut special: Vec<_> = controller.iatu().outbound_ranges().collect();
        special.push((msi, msi.saturating_add(WORD - 1)));
        Self {
            controller,
            refused: controller.may_master().err(),
            special,
        }
    }

    /// The target of the first of `len` bytes from `address` on, as [`from_edma`] has it.
    fn resolve(&self, address: u64, len: u64) -> Resolved {
        let len = len.max(1);
        if let Some(reason) = self.refused {
            return Resolved::unsupported(reason, len);
        }
        let last = address.saturating_add(len - 1);
        let special = self.special.iter();
        if special
            .clone()
            .all(|&(from, to)| last < from || to < address)
        {
            return Resolved {
                target: Target::RcRam { address },
                len,
            };
        }
        from_edma(self.controller, address, len)
    }

    /// The parts of a transfer, each with the offset of its first byte in it.
    pub fn pieces(&self, address: u64, len: u32) -> impl Iterator<Item = (u64, Resolved)> + '_ {
        pieces(address, len.into(), |address, len| {
            self.resolve(address, len)
        })
        .map(move |(at, resolved)| (at.wrapping_sub(address), resolved))
    }
}
