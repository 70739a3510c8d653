// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whose address is this: examples for each rule, and properties over arbitrary regions.

mod silicon_common;

use abi::{iatu, pci, spider};
use proptest::prelude::*;
use qemu_device::controller::{Config, Reason};
use qemu_device::fabric::{self, pieces, Resolved, Target};
use silicon_common::{bar_address, bar_target, Board, Direction, REGISTERS_GPA, WINDOW_GPA};

fn outbound(board: &Board, offset: u64, len: u64) -> (Target, u64) {
    let Resolved { target, len } =
        fabric::from_ep_window(&board.controller, board.bars(), offset, len);
    (target, len)
}

fn inbound(board: &Board, bar: u8, offset: u64, len: u64) -> (Target, u64) {
    let Resolved { target, len } =
        fabric::from_rc_bar(&board.controller, board.bars(), bar, offset, len);
    (target, len)
}

#[test]
fn the_outbound_window_resolves_region_by_region() {
    let mut board = Board::running();
    board.map(
        Direction::Outbound,
        0,
        WINDOW_GPA + 0x1000,
        0x1_2345_6000,
        0x2000,
    );
    board.map(
        Direction::Outbound,
        1,
        WINDOW_GPA + 0x4000,
        0x8000_0000,
        0x1000,
    );
    assert_eq!(
        outbound(&board, 0, 0x10000),
        (Target::Unsupported(Reason::NoOutboundRegion), 0x1000)
    );
    assert_eq!(
        outbound(&board, 0x1ff8, 16),
        (
            Target::RcRam {
                address: 0x1_2345_6ff8
            },
            16
        )
    );
    assert_eq!(
        outbound(&board, 0x2ff8, 16),
        (
            Target::RcRam {
                address: 0x1_2345_7ff8
            },
            8
        )
    );
    assert_eq!(
        outbound(&board, 0x3ff8, 16),
        (Target::Unsupported(Reason::NoOutboundRegion), 8)
    );
    assert_eq!(
        outbound(&board, 0x4000, 4),
        (
            Target::RcRam {
                address: 0x8000_0000
            },
            4
        )
    );
    board.unmap(Direction::Outbound, 1);
    assert_eq!(
        outbound(&board, 0x4000, 4),
        (Target::Unsupported(Reason::NoOutboundRegion), 4)
    );
    let end = u64::from(spider::WINDOW_SIZE);
    assert_eq!(
        outbound(&board, end, 4),
        (Target::Unsupported(Reason::OutsideBar), 4)
    );
    assert_eq!(
        outbound(&board, u64::MAX, 4),
        (Target::Unsupported(Reason::OutsideBar), 4)
    );
}

#[test]
fn an_unassigned_window_reaches_nothing() {
    let mut board = Board::running();
    board.map(Direction::Outbound, 0, 0, 0x8000_0000, 0x1000);
    board.ep_face.reset();
    assert_eq!(
        outbound(&board, 0, 4),
        (Target::Unsupported(Reason::WindowUnassigned), 4)
    );
}

#[test]
fn only_memory_requests_go_out() {
    let mut board = Board::running();
    board.map(Direction::Outbound, 0, WINDOW_GPA, 0x8000_0000, 0x1000);
    board.writel(spider::ATU, iatu::CTRL1, 2);
    assert_eq!(
        outbound(&board, 0, 4),
        (Target::Unsupported(Reason::NotMemory), 4)
    );
}

#[test]
fn where_regions_overlap_the_lower_number_wins() {
    let mut board = Board::running();
    board.map(Direction::Outbound, 3, WINDOW_GPA, 0x8000_0000, 0x4000);
    board.map(
        Direction::Outbound,
        1,
        WINDOW_GPA + 0x1000,
        0x9000_0000,
        0x1000,
    );
    assert_eq!(
        outbound(&board, 0, 0x4000),
        (
            Target::RcRam {
                address: 0x8000_0000
            },
            0x1000
        )
    );
    assert_eq!(
        outbound(&board, 0x1000, 0x4000),
        (
            Target::RcRam {
                address: 0x9000_0000
            },
            0x1000
        )
    );
    assert_eq!(
        outbound(&board, 0x2000, 0x4000),
        (
            Target::RcRam {
                address: 0x8000_2000
            },
            0x2000
        )
    );
}

#[test]
fn regions_larger_than_4_gib_need_the_increase_bit() {
    let mut board = Board::running();
    // 8 GiB and a page.
    let base = (1u64 << 36) + WINDOW_GPA - 0x1000;
    board.map(Direction::Outbound, 0, base, 0, (2 << 32) + 0x1000);
    let lookup = |board: &Board, address| {
        matches!(
            board.controller.iatu().outbound(address, 4),
            qemu_device::controller::Translation::Hit { .. }
        )
    };
    assert!(lookup(&board, base + (1 << 32)));
    assert!(lookup(&board, base + (2 << 32)));
    assert!(!lookup(&board, base + (2 << 32) + 0x1000));
    board.writel(spider::ATU, iatu::CTRL1, 0);
    assert!(
        lookup(&board, base),
        "without it the upper half of the limit is the base's"
    );
    assert!(!lookup(&board, base + (1 << 32)));
}

#[test]
fn the_msi_word_is_an_msi_only_as_a_whole_and_only_when_enabled() {
    let mut board = Board::running();
    board.map(Direction::Outbound, 0, WINDOW_GPA, 0x0809_0000, 0x1000);
    assert_eq!(outbound(&board, 0, 8), (Target::RcMsi, 4));
    assert_eq!(
        outbound(&board, 0, 2),
        (Target::Unsupported(Reason::MsiNotDword), 2)
    );
    assert_eq!(
        outbound(&board, 2, 8),
        (Target::Unsupported(Reason::MsiNotDword), 2)
    );
    assert_eq!(
        outbound(&board, 4, 8),
        (
            Target::RcRam {
                address: 0x0809_0004
            },
            8
        )
    );
    board.config_write16(0x52, 0x0080);
    assert_eq!(
        outbound(&board, 0, 4),
        (Target::Unsupported(Reason::MsiDisabled), 4)
    );
    board.config_write(0x54, 0x0809_0040);
    assert_eq!(
        outbound(&board, 0, 4),
        (
            Target::RcRam {
                address: 0x0809_0000
            },
            4
        )
    );
    assert_eq!(
        outbound(&board, 0, 0x1000),
        (
            Target::RcRam {
                address: 0x0809_0000
            },
            0x40
        )
    );
}

/// `dw_pcie_ep_raise_msi_irq` before the RC has set MSIs up maps PCI address 0 and writes there.
#[test]
fn an_msi_to_address_0_is_dropped() {
    let mut board = Board::running();
    board.controller.rc_reset();
    board.config_write16(0x04, 0x0006);
    assert_eq!(board.msi_message(), (0, 0));
    board.map(Direction::Outbound, 0, WINDOW_GPA, 0, 0x1000);
    assert_eq!(
        outbound(&board, 0, 4),
        (Target::Unsupported(Reason::MsiDisabled), 4)
    );
    board.config_write16(0x52, 0x0081);
    assert_eq!(
        outbound(&board, 0, 4),
        (Target::Unsupported(Reason::MsiDisabled), 4)
    );
}

#[test]
fn the_vector_is_what_replaces_the_low_bits_of_the_data() {
    let mut board = Board::running();
    let vector =
        |board: &Board, data: u32| fabric::msi_vector(&board.controller, &data.to_le_bytes());
    assert_eq!(vector(&board, 0x5f), Ok(31));
    assert_eq!(vector(&board, 0x60), Err(Reason::MsiUnknownVector));
    assert_eq!(vector(&board, 0x3f), Err(Reason::MsiUnknownVector));
    assert_eq!(vector(&board, 0x1_0040), Err(Reason::MsiUnknownVector));
    // 4 of the 32 granted.
    board.config_write16(0x52, 0x00a1);
    assert_eq!(vector(&board, 0x43), Ok(3));
    assert_eq!(vector(&board, 0x44), Err(Reason::MsiUnknownVector));
    assert_eq!(
        fabric::msi_vector(&board.controller, &[0x40, 0]),
        Err(Reason::MsiNotDword)
    );
    board.config_write16(0x52, 0x0080);
    assert_eq!(vector(&board, 0x40), Err(Reason::MsiDisabled));
}

#[test]
fn a_bar_that_leads_to_the_ep_s_own_windows_is_cut_at_their_borders() {
    let mut board = Board::running();
    // 1 MiB around the SoC mirror: RAM does not begin before its end.
    board.map_bar(0, 0, REGISTERS_GPA);
    assert_eq!(
        inbound(&board, 0, 0x7ffc, 8),
        (Target::EpRegister { offset: 0x7ffc }, 4)
    );
    assert_eq!(
        inbound(&board, 0, 0x8000, 8),
        (
            Target::EpRam {
                address: REGISTERS_GPA + 0x8000
            },
            8
        )
    );
    board.map_bar(0, 0, WINDOW_GPA);
    assert_eq!(
        inbound(&board, 0, 0, 8),
        (Target::Unsupported(Reason::Loopback), 8)
    );
    board.map_bar(0, 0, WINDOW_GPA - 0x10_0000);
    let end = 0x10_0000;
    assert_eq!(
        inbound(&board, 0, 0, end),
        (
            Target::EpRam {
                address: WINDOW_GPA - end
            },
            end
        )
    );
}

#[test]
fn memory_ends_where_a_window_of_the_ep_begins() {
    let mut board = Board::running();
    board.unmap(Direction::Inbound, 0);
    let target = REGISTERS_GPA - 0x1000;
    board.map(
        Direction::Inbound,
        0,
        bar_address(0).into(),
        target,
        0x10_0000,
    );
    assert_eq!(
        inbound(&board, 0, 0, 0x2000),
        (Target::EpRam { address: target }, 0x1000)
    );
    assert_eq!(
        inbound(&board, 0, 0x1000, 4),
        (Target::EpRegister { offset: 0 }, 4)
    );
}

#[test]
fn inbound_regions_of_another_kind_or_function_do_not_match() {
    let mut board = Board::running();
    let missed = (Target::Unsupported(Reason::NoInboundRegion), 4);
    board.writel(spider::ATU, iatu::INBOUND + iatu::CTRL1, 4);
    assert_eq!(inbound(&board, 0, 0, 4), missed, "configuration requests");
    board.writel(spider::ATU, iatu::INBOUND + iatu::CTRL1, 1 << 20);
    assert_eq!(inbound(&board, 0, 0, 4), missed, "function 1");
    board.writel(spider::ATU, iatu::INBOUND + iatu::CTRL1, 0);
    assert_eq!(
        inbound(&board, 0, 0, 4),
        (
            Target::EpRam {
                address: bar_target(0)
            },
            4
        )
    );
}

#[test]
fn address_match_follows_the_bar_when_the_rc_moves_it_and_bar_match_does_not_care() {
    let mut board = Board::running();
    board.unmap(Direction::Inbound, 1);
    board.map(
        Direction::Inbound,
        1,
        bar_address(2).into(),
        0x7000_0000,
        0x10_0000,
    );
    assert_eq!(
        inbound(&board, 2, 0, 4),
        (
            Target::EpRam {
                address: 0x7000_0000
            },
            4
        )
    );
    board.config_write(0x18, bar_address(2) + 0x100_0000);
    assert_eq!(
        inbound(&board, 2, 0, 4),
        (Target::Unsupported(Reason::NoInboundRegion), 4)
    );
    board.config_write(0x10, bar_address(0) + 0x100_0000);
    assert_eq!(
        inbound(&board, 0, 0, 4),
        (
            Target::EpRam {
                address: bar_target(0)
            },
            4
        )
    );
}

#[test]
fn a_target_at_the_end_of_the_address_space_does_not_wrap_within_a_piece() {
    let mut board = Board::running();
    board.map(
        Direction::Outbound,
        0,
        WINDOW_GPA,
        0xffff_ffff_ffff_f000,
        0x2000,
    );
    assert_eq!(
        outbound(&board, 0xffc, 8),
        (
            Target::RcRam {
                address: 0xffff_ffff_ffff_fffc
            },
            4
        )
    );
    assert_eq!(
        outbound(&board, 0x1004, 8),
        (Target::RcRam { address: 4 }, 8)
    );
}

/// A region as the tests know it, beside what the registers hold.
#[derive(Clone, Debug)]
struct Known {
    index: u32,
    base: u64,
    size: u64,
    target: u64,
}

/// Regions of whole pages within `[start, start + span)`, with targets anywhere.
fn regions(start: u64, span: u64) -> impl Strategy<Value = Vec<Known>> {
    let pages = span / 0x1000;
    let region = (0..16u32, 0..pages, 1..=pages, any::<u32>()).prop_map(
        move |(index, first, count, target)| Known {
            index,
            base: start + first * 0x1000,
            size: count.min(pages - first) * 0x1000,
            // The RC's RAM and the EP's windows come up now and then.
            target: u64::from(target % 0x2_0000) << 12,
        },
    );
    proptest::collection::vec(region, 0..10)
}

/// The translation of one byte, the slow and obvious way.
fn reference(known: &[Known], address: u64) -> Option<u64> {
    // A region programmed twice holds what was written last.
    (0..16).find_map(|index| {
        let region = known.iter().rev().find(|region| region.index == index)?;
        let offset = address
            .checked_sub(region.base)
            .filter(|offset| *offset < region.size)?;
        Some(region.target + offset)
    })
}

/// The address and the kind of what a byte within a piece reaches.
fn at(target: Target, offset: u64) -> Target {
    match target {
        Target::EpRam { address } => Target::EpRam {
            address: address + offset,
        },
        Target::RcRam { address } => Target::RcRam {
            address: address + offset,
        },
        Target::EpRegister { offset: register } => Target::EpRegister {
            offset: register + offset,
        },
        other => other,
    }
}

const SPAN: u64 = 0x10_0000;
/// Each region, window, BAR and the MSI word adds at most two borders.
const MOST_PIECES: usize = 2 * (16 + 4) + 1;

proptest! {
    #[test]
    fn outbound_pieces_are_what_the_regions_say_byte_by_byte(
        known in regions(WINDOW_GPA, SPAN),
        offset in 0..SPAN,
        probes in proptest::collection::vec(0..SPAN, 1..20),
    ) {
        let mut board = Board::running();
        for region in &known {
            board.map(Direction::Outbound, region.index, region.base, region.target, region.size);
        }
        let resolve = |offset, len| fabric::from_ep_window(&board.controller, board.bars(), offset, len);
        let all: Vec<_> = pieces(offset, SPAN - offset, resolve).collect();
        prop_assert!(all.len() <= MOST_PIECES, "{} pieces", all.len());
        let mut next = offset;
        for (start, piece) in &all {
            prop_assert_eq!(*start, next);
            next += piece.len;
        }
        prop_assert_eq!(next, SPAN);
        for probe in probes.into_iter().filter(|probe| *probe >= offset) {
            let (start, piece) =
                all.iter().rfind(|(start, _)| *start <= probe).expect("a piece");
            let expected = match reference(&known, WINDOW_GPA + probe) {
                Some(address) if (0x0809_0000..0x0809_0004).contains(&address) => continue,
                Some(address) => Target::RcRam { address },
                None => Target::Unsupported(Reason::NoOutboundRegion),
            };
            prop_assert_eq!(at(piece.target, probe - start), expected);
            prop_assert_eq!(resolve(probe, 1).target, expected);
        }
    }

    #[test]
    fn inbound_pieces_are_what_the_regions_say_byte_by_byte(
        known in regions(bar_address(0).into(), SPAN),
        offset in 0..SPAN,
        probes in proptest::collection::vec(0..SPAN, 1..20),
    ) {
        let mut board = Board::running();
        for index in 0..3 {
            board.unmap(Direction::Inbound, index);
        }
        for region in &known {
            board.map(Direction::Inbound, region.index, region.base, region.target, region.size);
        }
        let resolve = |offset, len| fabric::from_rc_bar(&board.controller, board.bars(), 0, offset, len);
        let all: Vec<_> = pieces(offset, SPAN - offset, resolve).collect();
        prop_assert!(all.len() <= MOST_PIECES, "{} pieces", all.len());
        for probe in probes.into_iter().filter(|probe| *probe >= offset) {
            let (start, piece) =
                all.iter().rfind(|(start, _)| *start <= probe).expect("a piece");
            let registers = u64::from(spider::REGISTERS_SIZE);
            let window = u64::from(spider::WINDOW_SIZE);
            let expected = match reference(&known, u64::from(bar_address(0)) + probe) {
                None => Target::Unsupported(Reason::NoInboundRegion),
                Some(address) if (REGISTERS_GPA..REGISTERS_GPA + registers).contains(&address) => {
                    Target::EpRegister { offset: address - REGISTERS_GPA }
                }
                Some(address) if (WINDOW_GPA..WINDOW_GPA + window).contains(&address) => {
                    Target::Unsupported(Reason::Loopback)
                }
                Some(address) => Target::EpRam { address },
            };
            prop_assert_eq!(at(piece.target, probe - start), expected);
            prop_assert_eq!(resolve(probe, 1).target, expected);
        }
    }

    /// Whatever the registers hold, an answer stays within what was asked and within its bounds.
    #[test]
    fn no_answer_exceeds_the_request_or_wraps(
        writes in proptest::collection::vec((0..spider::ATU.size / 4, any::<u32>()), 0..100),
        command in any::<u16>(),
        bar in any::<u8>(),
        offset in any::<u64>(),
        small in 0..0x50_0000u64,
        len in any::<u64>(),
    ) {
        let mut board = Board::running();
        board.config_write16(0x04, command | 6);
        for (register, value) in writes {
            let _ = board.controller.ep_write(
                u64::from(spider::ATU.offset + 4 * register),
                qemu_device::controller::Width::Dword,
                value,
                &mut board.effects,
            );
        }
        for offset in [offset, small] {
            let answers = [
                fabric::from_ep_window(&board.controller, board.bars(), offset, len),
                fabric::from_rc_bar(&board.controller, board.bars(), bar, offset, len),
                fabric::from_rc_bar(&board.controller, board.bars(), bar % 6, offset, len),
                fabric::to_rc(&board.controller, offset, len),
                fabric::to_ep(board.bars(), offset, len),
            ];
            for (index, answer) in answers.into_iter().enumerate() {
                prop_assert!(answer.len >= 1 && answer.len <= len.max(1));
                match answer.target {
                    // What a window or a BAR leads to does not wrap.
                    Target::EpRam { address } | Target::RcRam { address } if index < 3 => {
                        prop_assert!(address.checked_add(answer.len - 1).is_some());
                    }
                    Target::EpRegister { offset } => {
                        prop_assert!(offset + answer.len <= spider::REGISTERS_SIZE.into());
                    }
                    Target::RcMsi => prop_assert_eq!(answer.len, 4),
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn a_disabled_bar_mask_or_another_bar_never_leaks_into_its_neighbour() {
    let mut board = Board::new(Config::default());
    board.probe();
    board.bind_epf_test();
    board.start();
    board.rc_enumerates();
    board.unmap(Direction::Inbound, 2);
    assert_eq!(
        inbound(&board, 4, 0, 4),
        (Target::Unsupported(Reason::NoInboundRegion), 4)
    );
    // Three BARs at the same address: BAR match tells them apart all the same.
    for bar in [0, 2, 4] {
        board.config_write(pci::header::bar(bar).into(), 0x2000_0000);
    }
    assert_eq!(
        inbound(&board, 0, 8, 4),
        (
            Target::EpRam {
                address: bar_target(0) + 8
            },
            4
        )
    );
    assert_eq!(
        inbound(&board, 2, 8, 4),
        (
            Target::EpRam {
                address: bar_target(2) + 8
            },
            4
        )
    );
}
