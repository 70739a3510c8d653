// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Windows against the access path: for every address, both lead to the same byte of the same file,
//! and what is a whole page of RAM is a window.

mod silicon_common;

use abi::windows::MAX_WINDOWS;
use abi::{iatu, pci, spider};
use proptest::prelude::*;
use qemu_device::controller::Config;
use qemu_device::fabric::windows::{of_ep, of_rc, Ram, Window};
use qemu_device::fabric::{self, pieces, Resolved, Target};
use qemu_device::rc_face::RcFace;
use silicon_common::{bar_address, bar_target, Board, Direction, REGISTERS_GPA, WINDOW_GPA};

const PAGE: u64 = 4096;
const WINDOW: u64 = spider::WINDOW_SIZE as u64;

fn ram(address: u64, size: u64, map: u64) -> Ram {
    Ram { address, size, map }
}

/// Bar, offset, length, map, offset in the map.
type Plain = (u8, u64, u64, u64, u64);

fn plain(windows: &[Window]) -> Vec<Plain> {
    let plain = |w: &Window| (w.bar, w.offset, w.len, w.map, w.map_offset);
    windows.iter().map(plain).collect()
}

fn ep(board: &Board, ram: &[Ram]) -> Vec<Plain> {
    plain(&of_ep(&board.controller, board.bars(), ram, PAGE))
}

fn rc(board: &Board, ram: &[Ram]) -> Vec<Plain> {
    let face = RcFace::plug(&board.controller);
    plain(&of_rc(&board.controller, board.bars(), &face, ram, PAGE))
}

#[test]
fn a_region_onto_ram_is_a_window() {
    let mut board = Board::running();
    let guest = [ram(0x4000_0000, 0x1000_0000, 7)];
    assert_eq!(ep(&board, &guest), []);
    board.map(
        Direction::Outbound,
        3,
        WINDOW_GPA + 0x5000,
        0x4123_0000,
        0x3000,
    );
    assert_eq!(ep(&board, &guest), [(2, 0x5000, 0x3000, 7, 0x123_0000)]);
    assert_eq!(ep(&board, &[]), []);
    board.config_write16(0x04, 0x0402);
    assert_eq!(ep(&board, &guest), [], "no bus master");
    board.config_write16(0x04, 0x0406);
    assert_eq!(ep(&board, &guest).len(), 1);
    board.unmap(Direction::Outbound, 3);
    assert_eq!(ep(&board, &guest), []);
}

#[test]
fn the_msis_page_is_no_window() {
    let mut board = Board::running();
    let guest = [ram(0, 0x1000_0000, 7)];
    // MSIs go to 0x8090000.
    board.map(Direction::Outbound, 0, WINDOW_GPA, 0x0808_e000, 0x4000);
    let expected = [
        (2, 0, 0x2000, 7, 0x808_e000),
        (2, 0x3000, 0x1000, 7, 0x809_1000),
    ];
    assert_eq!(ep(&board, &guest), expected);
    // Off, but still where they would go.
    board.config_write16(0x52, 0x80);
    assert_eq!(ep(&board, &guest), expected);
    board.config_write(0x54, 0x0808_fffc);
    let expected = [
        (2, 0, 0x1000, 7, 0x808_e000),
        (2, 0x2000, 0x2000, 7, 0x809_0000),
    ];
    assert_eq!(ep(&board, &guest), expected);
}

#[test]
fn bars_are_windows_up_to_where_they_were_plugged() {
    let mut board = Board::running();
    let guest = [ram(0x4000_0000, 0x2000_0000, 1)];
    let windows = |offset| bar_target(offset) - 0x4000_0000;
    let all = [
        (0, 0, 0x10_0000, 1, windows(0)),
        (2, 0, 0x10_0000, 1, windows(2)),
    ];
    assert_eq!(rc(&board, &guest), all, "BAR 4 is smaller than a page");
    let face = RcFace::plug(&board.controller);
    board.set_bar_resizable(0, 0x20_0000);
    let grown = of_rc(&board.controller, board.bars(), &face, &guest, PAGE);
    assert_eq!(plain(&grown), all);
    assert_eq!(rc(&board, &guest)[0].2, 0x20_0000);
    board.config_write16(0x04, 0x0404);
    assert_eq!(rc(&board, &guest), [], "no memory requests");
    board.config_write16(0x04, 0x0406);
    assert_eq!(rc(&board, &guest).len(), 2);
    board.stop();
    assert_eq!(rc(&board, &guest), []);
}

#[test]
fn registers_are_no_window_even_where_the_guest_has_ram() {
    let mut board = Board::running();
    let guest = [ram(0, 0x1_0000_0000, 1)];
    board.map_bar(0, 0, REGISTERS_GPA & !0xf_ffff);
    let end = spider::REGISTERS_SIZE.into();
    let windows = rc(&board, &guest);
    assert_eq!(
        windows[0],
        (0, end, 0x10_0000 - end, 1, REGISTERS_GPA + end)
    );
    board.map_bar(0, 0, WINDOW_GPA);
    assert!(rc(&board, &guest).iter().all(|window| window.0 == 2));
}

#[test]
fn ram_that_adjoins_is_one_window_only_within_a_map() {
    let mut board = Board::running();
    let guest = [
        ram(0x4000_0000, 0x2000, 1),
        ram(0x4000_2000, 0x2000, 2),
        ram(0x4000_5000, 0x1000, 3),
    ];
    board.map(Direction::Outbound, 0, WINDOW_GPA, 0x4000_0000, 0x2000);
    board.map(
        Direction::Outbound,
        1,
        WINDOW_GPA + 0x2000,
        0x4000_2000,
        0x1000,
    );
    board.map(
        Direction::Outbound,
        2,
        WINDOW_GPA + 0x3000,
        0x4000_3000,
        0x5000,
    );
    let expected = [
        (2, 0, 0x2000, 1, 0),
        (2, 0x2000, 0x2000, 2, 0),
        (2, 0x5000, 0x1000, 3, 0),
    ];
    assert_eq!(ep(&board, &guest), expected);
}

#[test]
fn the_rest_traps_when_there_are_too_many() {
    let mut board = Board::running();
    let guest: Vec<_> = (0..1000)
        .map(|n| ram(0x4000_0000 + n * 0x2000, 0x1000, n + 1))
        .collect();
    board.map(Direction::Outbound, 0, WINDOW_GPA, 0x4000_0000, WINDOW);
    let windows = ep(&board, &guest);
    assert_eq!(windows.len(), MAX_WINDOWS);
    assert_eq!(windows[63], (2, 63 * 0x2000, 0x1000, 64, 0));
}

/// A region, a piece of guest RAM, and a switch: each in pages.
type Region = (u32, u64, u64, u64);

/// Where targets and RAM are: so few pages that they meet.
const SPAN: u64 = 64;

fn regions(pages: u64) -> impl Strategy<Value = Vec<Region>> {
    let region = (0..16u32, 0..pages, 1..24u64, 0..SPAN);
    proptest::collection::vec(region, 0..12)
}

/// Maps with gaps between some, in order, and their size in pages.
fn maps(base: u64) -> impl Strategy<Value = Vec<Ram>> {
    proptest::collection::vec((0..4u64, 1..12u64), 0..12).prop_map(move |parts| {
        let mut at = base;
        let mut maps = Vec::new();
        for (number, (gap, pages)) in parts.into_iter().enumerate() {
            at += gap * PAGE;
            maps.push(ram(at, pages * PAGE, number as u64 + 1));
            at += pages * PAGE;
        }
        maps
    })
}

/// The byte of a map that the access path reaches at `offset`.
fn trapped(
    maps: &[Ram],
    resolve: impl Fn(u64, u64) -> Resolved,
    offset: u64,
) -> Option<(u64, u64)> {
    let (Target::RcRam { address } | Target::EpRam { address }) = resolve(offset, 1).target else {
        return None;
    };
    let map = maps
        .iter()
        .find(|map| (map.address..map.address + map.size).contains(&address))?;
    Some((map.map, address - map.address))
}

/// Whether the page at `offset` is a whole page of one map, pages of which are `page` long.
fn whole(maps: &[Ram], resolve: impl Fn(u64, u64) -> Resolved, offset: u64, page: u64) -> bool {
    let mut parts = pieces(offset, page, &resolve);
    let (Some((_, first)), None) = (parts.next(), parts.next()) else {
        return false;
    };
    let (Some((map, at)), Some(last)) = (
        trapped(maps, &resolve, offset),
        trapped(maps, &resolve, offset + page - 1),
    ) else {
        return false;
    };
    first.len == page && at % page == 0 && last == (map, at + page - 1)
}

/// Holds `windows` of one BAR of `size` bytes against the access path.
fn compare(
    windows: &[Window],
    maps: &[Ram],
    resolve: impl Fn(u64, u64) -> Resolved,
    size: u64,
    page: u64,
) -> Result<(), TestCaseError> {
    let mut end = 0;
    for window in windows {
        prop_assert!(
            window.offset >= end && window.len > 0,
            "order: {:x?}",
            windows
        );
        end = window.offset + window.len;
        for number in [window.offset, window.len, window.map_offset] {
            prop_assert_eq!(number % page, 0, "{:x?}", window);
        }
    }
    prop_assert!(end <= size);
    let inside = |offset: u64| {
        windows
            .iter()
            .find(|window| (window.offset..window.offset + window.len).contains(&offset))
    };
    for at in (0..size).step_by(PAGE as usize) {
        for offset in [at, at + 4, at + 0x800, at + PAGE - 1] {
            if let Some(window) = inside(offset) {
                let byte = (window.map, window.map_offset + (offset - window.offset));
                prop_assert_eq!(Some(byte), trapped(maps, &resolve, offset), "{:#x}", offset);
            }
        }
        if at % page == 0 && inside(at).is_none() {
            prop_assert!(
                !whole(maps, &resolve, at, page),
                "{:#x} is RAM and no window",
                at
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_eps_windows_lead_where_its_accesses_lead(
        known in regions(WINDOW / PAGE),
        maps in maps(0x4000_0000),
        msi in 0..SPAN * PAGE,
        command in prop_oneof![8 => Just(6u8), 1 => any::<u8>()],
        large in any::<bool>(),
        ram_may_be_at_zero in any::<bool>(),
    ) {
        let mut board = Board::running();
        let base = if ram_may_be_at_zero { 0 } else { 0x4000_0000 };
        let maps: Vec<_> = maps.iter().map(|map| ram(map.address - 0x4000_0000 + base, map.size, map.map)).collect();
        for (index, first, pages, target) in &known {
            let pages = (*pages).min(WINDOW / PAGE - first);
            board.map(Direction::Outbound, *index, WINDOW_GPA + first * PAGE, base + target * PAGE, pages * PAGE);
        }
        board.config_write(0x54, (base + msi) as u32);
        board.config_write16(0x04, command.into());
        let page = if large { 4 * PAGE } else { PAGE };
        let windows = of_ep(&board.controller, board.bars(), &maps, page);
        prop_assert!(windows.iter().all(|window| window.bar == spider::WINDOW_BAR));
        prop_assert!(windows.len() < MAX_WINDOWS, "or the comparison would find holes");
        let resolve = |offset, len| fabric::from_ep_window(&board.controller, board.bars(), offset, len);
        compare(&windows, &maps, resolve, WINDOW, page)?;
    }

    #[test]
    fn the_rcs_windows_lead_where_its_accesses_lead(
        by_address in regions(0x60_0000 / PAGE),
        by_bar in proptest::collection::vec((0..16u32, 0..6u32, 0..2u64), 0..4),
        near_registers in any::<bool>(),
        maps in maps(REGISTERS_GPA - 16 * PAGE),
        move_bar in proptest::option::of(any::<u32>()),
        command in prop_oneof![8 => Just(6u8), 1 => any::<u8>()],
        shrink in any::<bool>(),
        large in any::<bool>(),
    ) {
        let mut board = Board::running();
        let face = RcFace::plug(&board.controller);
        // The EP's own BARs lie among the targets now and then.
        let base = if near_registers { REGISTERS_GPA - 16 * PAGE } else { 0x4000_0000 };
        let lowest = REGISTERS_GPA - 16 * PAGE;
        let maps: Vec<_> = maps.iter().map(|map| ram(map.address - lowest + base, map.size, map.map)).collect();
        for index in 0..3 {
            board.unmap(Direction::Inbound, index);
        }
        for (index, first, pages, target) in &by_address {
            let at = u64::from(bar_address(0)) + first * PAGE;
            board.map(Direction::Inbound, *index, at, base + target * PAGE, pages * PAGE);
        }
        for (index, bar, target) in &by_bar {
            board.map_bar(*index, *bar, (base & !0xf_ffff) + target * 0x10_0000);
        }
        if let Some(address) = move_bar {
            board.config_write(pci::header::bar(0).into(), address);
        }
        if shrink {
            board.writel(spider::DBI2, pci::header::bar(2), 0);
        } else {
            board.set_bar_resizable(2, 0x20_0000);
        }
        board.config_write16(0x04, command.into());
        let page = if large { 4 * PAGE } else { PAGE };
        let windows = of_rc(&board.controller, board.bars(), &face, &maps, page);
        prop_assert!(windows.len() < MAX_WINDOWS);
        prop_assert!(windows.is_sorted_by_key(|window| window.bar));
        for bar in 0..6u8 {
            let own: Vec<_> = windows.iter().filter(|window| window.bar == bar).copied().collect();
            let size = face.region_size(bar.into()).unwrap_or(0);
            let resolve = |offset, len| fabric::from_rc_bar(&board.controller, board.bars(), bar, offset, len);
            compare(&own, &maps, resolve, size, page)?;
        }
    }

    /// Whatever the registers hold, there are never too many windows, and they are found soon.
    #[test]
    fn anything_in_the_iatu_is_bounded(
        writes in proptest::collection::vec((0..u32::from(spider::ATU.size as u16) / 4, any::<u32>()), 0..400),
    ) {
        let mut board = Board::running();
        for (register, value) in writes {
            let _ = board.controller.ep_write(
                (spider::ATU.offset + register * 4).into(),
                qemu_device::controller::Width::Dword,
                value,
                &mut board.effects,
            );
        }
        for index in 0..iatu::REGIONS as u32 {
            for direction in [0, iatu::INBOUND] {
                let at = index * iatu::REGION_STRIDE + direction;
                let enabled = board.readl(spider::ATU, at + iatu::CTRL2) | 1 << 31;
                board.writel(spider::ATU, at + iatu::CTRL2, enabled);
            }
        }
        let guest: Vec<_> = (0..4096).map(|n| ram(n << 20, 0x1000, n + 1)).collect();
        let face = RcFace::plug(&board.controller);
        prop_assert!(of_ep(&board.controller, board.bars(), &guest, PAGE).len() <= MAX_WINDOWS);
        prop_assert!(of_rc(&board.controller, board.bars(), &face, &guest, PAGE).len() <= MAX_WINDOWS);
    }
}

#[test]
fn before_the_link_there_are_no_windows() {
    let mut board = Board::new(Config::default());
    board.probe();
    board.bind_epf_test();
    board.map(Direction::Outbound, 0, WINDOW_GPA, 0x4000_0000, 0x1000);
    let guest = [ram(0, 0x1_0000_0000, 1)];
    assert_eq!(ep(&board, &guest), []);
    assert_eq!(rc(&board, &guest), []);
    board.start();
    board.rc_enumerates();
    assert_eq!(ep(&board, &guest).len(), 1);
    assert_eq!(rc(&board, &guest).len(), 2);
    board.ep_face.config_write(0x04, &[0x04, 0]);
    assert_eq!(
        ep(&board, &guest),
        [],
        "the EP guest does not decode its window"
    );
}
