// SPDX-License-Identifier: Apache-2.0 OR MIT
//! BARs of which windows reach only a part.

use abi::pci::{self, rebar};
use abi::windows::{REACH, SIDE_RC};
use abi::{dbi, spider};

use crate::guest::memory;
use crate::library::Library;
use crate::pair::Pair;

/// Where the EP guest has more RAM, and how much: twice as much as windows reach.
const MORE_RAM: u64 = 0x8000_0000;
const BIG: u64 = 2 * REACH;

/// `dw_pcie_ep_set_bar_resizable` with that size, and the RC's plug.
#[test]
fn a_bar_larger_than_windows_reach_is_windows_as_far_as_they_do() {
    let mut pair = Pair::start();
    let file = memory(BIG);
    pair.ep.map(MORE_RAM, BIG, Some((&file, 0)));
    pair.register(
        spider::DBI,
        dbi::MISC_CONTROL_1,
        dbi::RO_WRITE_ENABLE.mask(),
    );
    let size = BIG.ilog2() - rebar::MIN_LOG2;
    let at = dbi::RESIZABLE_BAR + rebar::CAPABILITY;
    pair.register(spider::DBI, at, rebar::SIZES.place(1 << size));
    pair.register(spider::DBI2, pci::header::bar(0), 1);
    pair.inbound(0, 0, MORE_RAM);
    pair.ltssm(true);
    pair.ep.fence();
    let mut rc = pair.plug();

    let library = Library::join(&pair, SIDE_RC);
    assert_eq!(library.windows(), [(0, 0, REACH, 0)]);
    // The last page within reach natively, the first beyond by message.
    library.state().write(0, REACH - 4, b"near").unwrap();
    assert_eq!(library.state().read::<3>(0, REACH), None);
    rc.post(0, REACH, b"far");
    assert_eq!(rc.read(0, REACH - 4, 7), b"nearfar");
}
