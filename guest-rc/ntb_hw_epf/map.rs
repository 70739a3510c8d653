// SPDX-License-Identifier: GPL-2.0

//! Which BAR of which device has what: not told by the endpoint, so agreed on for each.

use crate::vntb::MAX_MWS;

/// BARs of a device.
pub(crate) struct Map {
    /// The control block.
    pub(crate) control: u32,
    /// The endpoint's scratchpads, at the start of a BAR of their own; `None` if they follow the
    /// RC's in the control BAR.
    pub(crate) peer_spads: Option<u32>,
    /// The doorbells.
    pub(crate) doorbells: u32,
    /// Memory windows.
    pub(crate) mws: [Option<u32>; MAX_MWS],
}

impl Map {
    /// The memory windows that there can be.
    pub(crate) fn mws(&self) -> impl Iterator<Item = u32> + '_ {
        self.mws.iter().map_while(|bar| *bar)
    }
}

/// `j721e_map`.
pub(crate) static J721E: Map = Map {
    control: 0,
    peer_spads: Some(1),
    doorbells: 2,
    mws: [Some(2), Some(3), Some(4), Some(5)],
};

/// `mx8_map`.
pub(crate) static MX8: Map = Map {
    control: 0,
    peer_spads: None,
    doorbells: 2,
    mws: [Some(4), Some(5), None, None],
};

/// `rcar_barno`.
pub(crate) static RCAR: Map = Map {
    control: 0,
    peer_spads: None,
    doorbells: 4,
    mws: [Some(2), None, None, None],
};
