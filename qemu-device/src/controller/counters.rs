// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Counts what did not reach anything, by reason.

use serde_json::{Map, Value};

use super::access::AccessError;

/// Why a request was not carried out. On a PCIe bus each of these is an unsupported request:
/// a read returns all ones, a posted write vanishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The link is down.
    LinkDown,
    /// The function is in a low power state (PMCSR).
    LowPower,
    /// RC to EP: the RC has not set COMMAND.MEMORY.
    MemoryDisabled,
    /// EP to RC: the RC has not set COMMAND.BUS_MASTER.
    BusMasterDisabled,
    /// RC to EP: the BAR is not enabled.
    BarDisabled,
    /// The offset lies beyond the end of the BAR.
    OutsideBar,
    /// RC to EP: no inbound iATU region matches.
    NoInboundRegion,
    /// RC to EP: the target is the EP's own outbound window; the core does not turn a request round.
    Loopback,
    /// EP to RC: the EP guest has not assigned an address to the outbound window.
    WindowUnassigned,
    /// EP to RC: no outbound iATU region matches.
    NoOutboundRegion,
    /// EP to RC: the region makes requests of a kind other than memory.
    NotMemory,
    /// EP to RC: an MSI before the RC has enabled MSIs, or with address 0.
    MsiDisabled,
    /// EP to RC: an access to the MSI address that is not a whole 32-bit word.
    MsiNotDword,
    /// EP to RC: an MSI whose data belongs to no vector that the RC has granted.
    MsiUnknownVector,
    /// RC to EP: there is no RAM at the address in the EP.
    NoEpMemory,
    /// EP to RC: there is no RAM at the address in the RC.
    NoRcMemory,
}

impl Reason {
    /// All reasons, in the order in which they are counted.
    pub const ALL: [Self; 16] = [
        Self::LinkDown,
        Self::LowPower,
        Self::MemoryDisabled,
        Self::BusMasterDisabled,
        Self::BarDisabled,
        Self::OutsideBar,
        Self::NoInboundRegion,
        Self::Loopback,
        Self::WindowUnassigned,
        Self::NoOutboundRegion,
        Self::NotMemory,
        Self::MsiDisabled,
        Self::MsiNotDword,
        Self::MsiUnknownVector,
        Self::NoEpMemory,
        Self::NoRcMemory,
    ];

    /// The name under which `inspect` shows the count.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LinkDown => "link_down",
            Self::LowPower => "low_power",
            Self::MemoryDisabled => "memory_disabled",
            Self::BusMasterDisabled => "bus_master_disabled",
            Self::BarDisabled => "bar_disabled",
            Self::OutsideBar => "outside_bar",
            Self::NoInboundRegion => "no_inbound_region",
            Self::Loopback => "loopback",
            Self::WindowUnassigned => "window_unassigned",
            Self::NoOutboundRegion => "no_outbound_region",
            Self::NotMemory => "not_memory",
            Self::MsiDisabled => "msi_disabled",
            Self::MsiNotDword => "msi_not_dword",
            Self::MsiUnknownVector => "msi_unknown_vector",
            Self::NoEpMemory => "no_ep_memory",
            Self::NoRcMemory => "no_rc_memory",
        }
    }

    /// Whether the function received the request, so that it is the one that reports it.
    pub(super) const fn is_inbound(self) -> bool {
        matches!(
            self,
            Self::MemoryDisabled
                | Self::BarDisabled
                | Self::OutsideBar
                | Self::NoInboundRegion
                | Self::Loopback
                | Self::NoEpMemory
        )
    }
}

/// Counters since the process started; a reset of the board does not clear them.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    unsupported: [u64; Reason::ALL.len()],
    outside_windows: u64,
    unknown_registers: u64,
    corrected: u64,
    last_error: Option<AccessError>,
}

impl Counters {
    /// Counts an unsupported request. Returns whether it is worth a line in a log: the first of its
    /// kind, the second, the fourth, …, so that a guest cannot flood it.
    pub fn unsupported(&mut self, reason: Reason) -> bool {
        tick(&mut self.unsupported[reason as usize])
    }

    /// Counts an access that reached no register. Returns whether it is worth a line in a log.
    pub fn access_error(&mut self, error: AccessError) -> bool {
        self.last_error = Some(error);
        tick(match error {
            AccessError::OutsideWindows { .. } => &mut self.outside_windows,
            AccessError::UnknownRegister { .. } => &mut self.unknown_registers,
        })
    }

    /// Counts a field of configuration space that was shown otherwise than it is. Returns whether it is
    /// worth a line in a log.
    pub fn corrected(&mut self) -> bool {
        tick(&mut self.corrected)
    }

    /// How many requests went unsupported for `reason`.
    pub fn count(&self, reason: Reason) -> u64 {
        self.unsupported[reason as usize]
    }

    /// The tree that `inspect` shows; counts of 0 are left out of `unsupported`.
    pub fn inspect(&self) -> Value {
        let unsupported: Map<_, _> = Reason::ALL
            .into_iter()
            .filter(|reason| self.count(*reason) > 0)
            .map(|reason| (reason.name().to_owned(), self.count(reason).into()))
            .collect();
        serde_json::json!({
            "unsupported": unsupported,
            "outside_windows": self.outside_windows,
            "unknown_registers": self.unknown_registers,
            "corrected_fields": self.corrected,
            "last_error": self.last_error.map(|error| error.to_string()),
        })
    }
}

fn tick(count: &mut u64) -> bool {
    *count = count.saturating_add(1);
    count.is_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_place_and_name() {
        let mut names: Vec<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
    }

    #[test]
    fn a_flood_is_logged_a_logarithmic_number_of_times() {
        let mut counters = Counters::default();
        let lines = (0..1_000_000)
            .filter(|_| counters.unsupported(Reason::LinkDown))
            .count();
        assert_eq!(lines, 20);
        assert_eq!(counters.count(Reason::LinkDown), 1_000_000);
    }
}
