// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Looking up a job's routes at once must give what looking up each address gives.

use proptest::prelude::*;
use qemu_device::fabric::{self, DmaRoutes};

use crate::silicon_common::{Board, Direction};

/// Pages around the MSI's, and the ends of the address space.
fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0x0808_e000..0x0809_2000u64,
        1 => 0..0x2000u64,
        1 => u64::MAX - 0x2000..=u64::MAX,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn one_look_is_as_good_as_many(
        regions in proptest::collection::vec((address(), any::<u32>(), 0..4u64), 0..6),
        master in any::<bool>(),
        asked in proptest::collection::vec((address(), 0..0x3000u32), 1..20),
    ) {
        let mut board = Board::running();
        for (index, (base, target, pages)) in regions.into_iter().enumerate() {
            let base = base & !0xfff;
            let size = (pages * 0x1000).min(u64::MAX - base).max(0x1000);
            let last = base.saturating_add(size - 1);
            let target = u64::from(target) & !0xfff;
            board.map(Direction::Outbound, index as u32, base, target, last - base + 1);
        }
        if !master {
            board.config_write16(0x04, 0x0402);
        }
        let routes = DmaRoutes::new(&board.controller);
        for (address, len) in asked {
            let many = fabric::pieces(address, len.into(), |address, len| {
                fabric::from_edma(&board.controller, address, len)
            });
            let many: Vec<_> = many.map(|(at, to)| (at.wrapping_sub(address), to)).collect();
            prop_assert_eq!(routes.pieces(address, len).collect::<Vec<_>>(), many);
        }
    }
}
