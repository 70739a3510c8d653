// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Configuration space as the RC sees it, and what DBI lets the EP do to it.

mod silicon_common;

use abi::{dbi, pci, spider};
use qemu_device::controller::{AccessError, Config, Reason, Width};
use qemu_device::fabric::{self, Target};
use qemu_device::rc_face::RcFace;
use silicon_common::{bar_address, Board};

/// The capabilities from `first` on: (offset, id). Fails if the list does not end.
fn capabilities(board: &Board) -> Vec<(u32, u32)> {
    let mut list = Vec::new();
    let mut at = board.config_read(0x34) & 0xff;
    while at != 0 {
        assert!(at >= 0x40 && at & 3 == 0 && list.len() < 48);
        let header = board.config_read(at.into());
        list.push((at, header & 0xff));
        at = header >> 8 & 0xff;
    }
    list
}

#[test]
fn the_capability_lists_are_well_formed() {
    let board = Board::running();
    assert_ne!(
        board.config_read(0x04) & 1 << 20,
        0,
        "STATUS says that there is a list"
    );
    assert_eq!(
        capabilities(&board),
        [(0x40, 0x01), (0x50, 0x05), (0x70, 0x10)]
    );
    // One extended capability: resizable BAR, version 1, the end of the list.
    assert_eq!(board.config_read(0x100), 0x0001_0015);
    assert_eq!(
        board.config_read(0x70) >> 16,
        0x0002,
        "version 2, endpoint, no slot"
    );
}

#[test]
fn what_lspci_shows_of_the_express_capability() {
    let board = Board::running();
    assert_eq!(
        board.config_read(0x74),
        0x1000_8001,
        "MPS 256, role-based errors, FLR"
    );
    assert_eq!(board.config_read(0x7c), 0x0040_0024, "16 GT/s, x2, no ASPM");
    assert_eq!(board.config_read(0x9c), 0x1e, "2.5 to 16 GT/s");
    assert_eq!(board.config_read(0xa0) & 0xf, 4, "target 16 GT/s");
    assert_eq!(board.config_read(0x40) >> 16 & 7, 3, "power management 3");
}

#[test]
fn sizing_shows_the_size_and_keeps_nothing_else() {
    let mut board = Board::running();
    for (bar, expected) in [
        (0, 0xfff0_0000),
        (1, 0),
        (2, 0xfff0_0000),
        (3, 0),
        (4, 0xffff_ff00),
        (5, 0),
    ] {
        let register = pci::header::bar(bar).into();
        board.config_write(register, u32::MAX);
        assert_eq!(board.config_read(register), expected, "BAR{bar}");
        board.config_write(register, 0xe5a5_5a5a);
        assert_eq!(
            board.config_read(register),
            0xe5a5_5a5a & expected,
            "BAR{bar}"
        );
    }
    board.config_write(0x30, u32::MAX);
    assert_eq!(board.config_read(0x30), 0, "no expansion ROM");
}

#[test]
fn the_rc_cannot_change_what_is_read_only() {
    let mut board = Board::running();
    let read_only = [
        0x00, 0x08, 0x2c, 0x34, 0x40, 0x70, 0x74, 0x7c, 0x94, 0x9c, 0x100, 0x104, 0x10c,
    ];
    for register in read_only {
        let before = board.config_read(register);
        board.config_write(register, !before);
        assert_eq!(board.config_read(register), before, "{register:#x}");
    }
    // Of these only some bits can change.
    for (register, writable) in [
        (0x04, 0x0000_0547),
        (0x0c, 0x0000_00ff),
        (0x3c, 0x0000_00ff),
        (0x50, 0x0071_0000),
        (0x54, 0xffff_fffc),
        (0x5c, 0x0000_ffff),
        (0x78, 0x0000_78ff),
        (0x80, 0x0000_00c8),
        (0xa0, 0x0000_03bf),
    ] {
        let before = board.config_read(register);
        board.config_write(register, !before & 0x7fff | !before & 0xffff_0000);
        let after = board.config_read(register);
        assert_eq!(
            (before ^ after) & !writable,
            0,
            "{register:#x}: {before:#x} to {after:#x}"
        );
        board.config_write(register, before & writable);
        assert_eq!(
            board.config_read(register) & writable,
            before & writable,
            "{register:#x}"
        );
    }
}

#[test]
fn the_rc_cannot_unlock_or_touch_port_logic() {
    let mut board = Board::running();
    board.config_write(dbi::MISC_CONTROL_1.into(), 1);
    board.config_write(0, 0xdead_beef);
    assert_eq!(board.config_read(0), 0x0031_1912);
    board.config_write(dbi::PORT_LINK_CONTROL.into(), 0);
    assert_ne!(board.config_read(dbi::PORT_LINK_CONTROL.into()), 0);
    assert_eq!(
        board.config_read(dbi::VERSION_NUMBER.into()),
        dbi::VERSION_520A
    );
}

#[test]
fn the_ep_changes_read_only_registers_under_ro_wr_en_only() {
    let mut board = Board::new(Config::default());
    board.writel(spider::DBI, 0, 0x1234_5678);
    assert_eq!(board.readl(spider::DBI, 0), 0x0031_1912);
    board.ro_wr(true);
    board.write(2, Width::Word, 0x0030);
    board.write(0x3d, Width::Byte, 0);
    board.ro_wr(false);
    board.write(0, Width::Byte, 0xff);
    assert_eq!(board.readl(spider::DBI, 0), 0x0030_1912);
    assert_eq!(board.controller.interrupt_pin(), 0);
}

#[test]
fn a_capability_pointer_cannot_be_bent_into_a_loop() {
    let mut board = Board::running();
    board.ro_wr(true);
    for register in [0x34, 0x40, 0x50, 0x70, 0x100] {
        board.writel(spider::DBI, register, 0x4040_4040);
    }
    board.ro_wr(false);
    assert_eq!(capabilities(&board).len(), 3);
    assert_eq!(board.config_read(0x100) >> 20, 0);
}

#[test]
fn msi_control_keeps_what_each_side_owns() {
    let mut board = Board::running();
    board.set_msi(2);
    assert_eq!(board.get_msi(), Some(32), "granted is the RC's");
    board.config_write16(0x52, 0xffff);
    let control = board.config_read(0x50) >> 16;
    assert_eq!(control >> 1 & 7, 2, "offered is the EP's");
    assert_eq!(control & 0x80, 0x80, "64-bit");
    assert_eq!(control & 0x100, 0, "no per-vector mask");
    assert_eq!(
        board.controller.msi().vectors,
        32,
        "a reserved value grants no more than 32"
    );
}

#[test]
fn resizing_follows_what_the_ep_offers() {
    let mut board = Board::running();
    board.set_bar_resizable(2, 0x80_0000);
    assert_eq!(board.config_read(0x10c), 1 << 7, "8 MiB offered");
    assert_eq!(board.config_read(0x110), 3 << 8 | 2, "8 MiB selected, BAR2");
    assert_eq!(
        board.config_read(0x108),
        2 << 5,
        "two resizable BARs, BAR0 has 1 MiB"
    );
    board.config_write(0x18, u32::MAX);
    assert_eq!(board.config_read(0x18), 0xff80_0000);
    // The RC may select among the sizes offered, and nothing else.
    board.config_write(0x110, 5 << 8);
    assert_eq!(board.config_read(0x110), 3 << 8 | 2);
    board.ro_wr(true);
    board.writel(spider::DBI, 0x10c, 1 << 7 | 1 << 9);
    board.ro_wr(false);
    board.config_write(0x110, 5 << 8);
    assert_eq!(board.config_read(0x110), 5 << 8 | 2);
    assert_eq!(
        board.config_read(0x18),
        0xfe00_0000,
        "the address stays aligned to the size"
    );
}

#[test]
fn absurd_sizes_are_cut_to_what_a_32_bit_bar_can_hold() {
    let mut board = Board::running();
    board.ro_wr(true);
    board.writel(spider::DBI, 0x104, 0x8000_0000);
    board.ro_wr(false);
    board.config_write(0x10, u32::MAX);
    assert_eq!(board.config_read(0x10), 0x8000_0000, "2 GiB");
    board.ro_wr(true);
    board.writel(spider::DBI, 0x104, 0);
    board.ro_wr(false);
    assert_eq!(board.config_read(0x104), 0);
    board.config_write(0x10, u32::MAX);
    assert_eq!(
        board.config_read(0x10),
        0x8000_0000,
        "no size offered: the last one stays"
    );
}

#[test]
fn disabling_a_bar_clears_the_address_that_the_rc_assigned() {
    let mut board = Board::running();
    assert_eq!(board.config_read(0x20), bar_address(4));
    board.writel(spider::DBI2, 0x20, 0);
    assert_eq!(board.config_read(0x20), 0);
    board.config_write(0x20, u32::MAX);
    assert_eq!(board.config_read(0x20), 0);
    let resolved = fabric::from_rc_bar(&board.controller, board.bars(), 4, 0, 4);
    assert_eq!(resolved.target, Target::Unsupported(Reason::BarDisabled));
}

#[test]
fn bars_1_3_and_5_cannot_be_enabled() {
    let mut board = Board::running();
    for bar in [1, 3, 5] {
        board.set_bar_fixed(bar, 0x1000);
        board.config_write(pci::header::bar(bar).into(), u32::MAX);
        assert_eq!(board.config_read(pci::header::bar(bar).into()), 0);
    }
}

/// What only the EP's software programs, and a reset by the RC leaves alone.
fn programmed_by_the_ep(board: &Board) -> (Vec<u32>, serde_json::Value) {
    let registers = [0x00, 0x08].into_iter().chain((0x100..0x114).step_by(4));
    let offered = board.config_read(0x50) & 0x000e_0000;
    let registers = registers.map(|at| board.config_read(at)).chain([offered]);
    (
        registers.collect(),
        board.controller.inspect()["iatu"].clone(),
    )
}

/// DEVICE_RESET, of which QEMU knows: it forgets BARs and MSI as well.
#[test]
fn a_reset_by_the_rc_forgets_the_rc_s_state_and_keeps_the_ep_s() {
    let mut board = Board::running();
    board.config_write16(0x44, 3);
    let programmed = programmed_by_the_ep(&board);
    board.controller.rc_reset();
    assert_eq!(board.config_read(0x04) & 0xffff, 0, "COMMAND");
    assert_eq!(board.config_read(0x44) & 3, 0, "D0");
    for bar in [0x10, 0x18, 0x20] {
        assert_eq!(board.config_read(bar), 0);
        board.config_write(bar, u32::MAX);
        assert_ne!(board.config_read(bar), 0, "the mask is the EP's");
    }
    assert_eq!(board.get_msi(), None);
    assert_eq!(board.msi_message(), (0, 0));
    assert_eq!(board.config_read(0x78) & 0xffff, 0x2810);
    assert_eq!(programmed_by_the_ep(&board), programmed);
    assert!(board.link_up(), "the link stays up");
    assert!(board.take_effects().is_empty());
}

/// FLR, of which QEMU does not know. Linux reads the BARs and MSI out of QEMU's copy, finds them as it had saved
/// them, and writes nothing; COMMAND it finds cleared and restores.
#[test]
fn a_function_level_reset_keeps_what_qemu_keeps_and_forgets_the_rest() {
    let mut board = Board::running();
    board.config_write(0x0c, 0x10);
    let programmed = programmed_by_the_ep(&board);
    let mirrored = |board: &mut Board| {
        let bars = (0x10..0x28).step_by(4).map(|at| board.config_read(at));
        let bars: Vec<_> = bars.collect();
        let power = board.config_read(0x44) & 3;
        (bars, board.get_msi(), board.msi_message(), power)
    };
    let kept = mirrored(&mut board);
    assert_ne!(kept.1, None);
    let routes = board.controller.routes();
    board.config_write16(0x78, 0x8000);
    assert_ne!(board.controller.routes(), routes, "nothing is mastered");
    assert_eq!(board.config_read(0x04) & 0xffff, 0, "COMMAND");
    assert_eq!(board.config_read(0x0c) & 0xff, 0, "cache line size");
    assert_eq!(board.config_read(0x78) & 0xffff, 0x2810, "DEVCTL");
    assert_eq!(mirrored(&mut board), kept);
    assert_eq!(programmed_by_the_ep(&board), programmed);

    // Linux restores COMMAND, and everything leads where it led.
    board.config_write16(0x04, 0x0006);
    let resolved = fabric::from_rc_bar(&board.controller, board.bars(), 0, 0x40, 4);
    let address = silicon_common::bar_target(0) + 0x40;
    assert_eq!(resolved.target, Target::EpRam { address });
    assert!(board.link_up(), "the link stays up");
    assert!(board.take_effects().is_empty());
}

/// `nvmet_pci_epf` asks for one: `dw_pcie_ep_set_bar_resizable` writes the flags to BAR 0 and 0 to BAR 1.
#[test]
fn a_64_bit_bar_takes_the_next_register_for_its_upper_half() {
    let mut board = Board::running();
    board.ro_wr(true);
    board.writel(spider::DBI2, 0x10, 1);
    board.writel(spider::DBI, 0x10, 0xc);
    board.writel(spider::DBI2, 0x14, 0);
    board.writel(spider::DBI, 0x14, 0);
    board.ro_wr(false);
    board.config_write(0x10, u32::MAX);
    board.config_write(0x14, u32::MAX);
    assert_eq!(board.config_read(0x10), 0xfff0_000c);
    assert_eq!(board.config_read(0x14), u32::MAX);
    board.config_write(0x10, 0xc010_0004);
    board.config_write(0x14, 0x0000_0080);
    assert_eq!(
        board.config_read(0x10),
        0xc010_000c,
        "the flags are the EP's"
    );
    assert_eq!(board.readl(spider::DBI, 0x14), 0x80);

    // Sub-ranges match the whole address, above 4 GiB as well.
    board.map(
        silicon_common::Direction::Inbound,
        0,
        0x80_c010_8000,
        0x4800_0000,
        0x1000,
    );
    let resolved = fabric::from_rc_bar(&board.controller, board.bars(), 0, 0x8010, 4);
    let address = 0x4800_0010;
    assert_eq!(resolved.target, Target::EpRam { address });

    let face = RcFace::plug(&board.controller);
    let sizes: Vec<_> = (0..6).map(|bar| face.region_size(bar).unwrap()).collect();
    assert_eq!(sizes, [1 << 20, 0, 1 << 20, 0, 256, 0]);

    // `__dw_pcie_ep_reset_bar`.
    board.ro_wr(true);
    for register in [0x10, 0x14] {
        board.writel(spider::DBI2, register, 0);
        board.writel(spider::DBI, register, 0);
    }
    board.ro_wr(false);
    board.config_write(0x14, u32::MAX);
    assert_eq!((board.config_read(0x10), board.config_read(0x14)), (0, 0));
}

#[test]
fn the_type_of_a_bar_is_the_ep_s_and_no_bar_is_an_odd_or_an_io_one() {
    let mut board = Board::running();
    board.config_write(0x10, 0xf);
    board.writel(spider::DBI, 0x10, 0xf);
    assert_eq!(board.config_read(0x10) & 0xf, 0, "read-only is locked");
    board.ro_wr(true);
    // An upper half that is one has no flags.
    for bar in (0..6).rev() {
        board.writel(spider::DBI, pci::header::bar(bar), 0xf);
    }
    board.ro_wr(false);
    let flags: Vec<_> = (0..6)
        .map(|bar| board.config_read(pci::header::bar(bar).into()) & 0xf)
        .collect();
    assert_eq!(flags, [0xc, 0, 0xc, 0, 0xc, 0]);
}

#[test]
fn the_target_speed_survives_a_reset_of_the_function() {
    let mut board = Board::running();
    board.config_write16(0xa0, 2);
    board.config_write16(0x78, 0x8000);
    assert_eq!(board.config_read(0xa0) & 0xf, 2);
}

#[test]
fn the_flr_bit_reads_as_zero_and_the_ep_cannot_pull_it() {
    let mut board = Board::running();
    board.write(0x78, Width::Word, 0xa810);
    assert_eq!(board.config_read(0x10), bar_address(0));
    assert_eq!(board.readl(spider::DBI, 0x78) & 0x8000, 0);
}

#[test]
fn memory_and_bus_mastering_need_the_rc_s_consent() {
    let mut board = Board::running();
    board.map(
        silicon_common::Direction::Outbound,
        0,
        silicon_common::WINDOW_GPA,
        0x9000_0000,
        0x1000,
    );
    let routes = |board: &Board| {
        let rc = fabric::from_rc_bar(&board.controller, board.bars(), 0, 0, 4).target;
        let ep = fabric::from_ep_window(&board.controller, board.bars(), 0, 4).target;
        (rc, ep)
    };
    let ram = Target::EpRam {
        address: silicon_common::bar_target(0),
    };
    let remote = Target::RcRam {
        address: 0x9000_0000,
    };
    assert_eq!(routes(&board), (ram, remote));
    board.config_write16(0x04, 0x0004);
    assert_eq!(
        routes(&board),
        (Target::Unsupported(Reason::MemoryDisabled), remote)
    );
    board.config_write16(0x04, 0x0002);
    assert_eq!(
        routes(&board),
        (ram, Target::Unsupported(Reason::BusMasterDisabled))
    );
    board.config_write16(0x04, 0x0006);
    board.config_write16(0x44, 0x0003);
    let asleep = Target::Unsupported(Reason::LowPower);
    assert_eq!(routes(&board), (asleep, asleep), "D3hot");
    board.config_write16(0x44, 0x0000);
    assert_eq!(routes(&board), (ram, remote), "back in D0 without a reset");
}

#[test]
fn unsupported_requests_are_counted_and_reported_in_devsta() {
    let mut board = Board::running();
    assert_eq!(board.config_read(0x78) >> 16 & 0xf, 0);
    let lines = (0..100).filter(|_| board.controller.count_unsupported(Reason::NoInboundRegion));
    assert_eq!(lines.count(), 7, "1, 2, 4, …, 64");
    assert_eq!(board.config_read(0x78) >> 16 & 0xf, 8, "UnsupReq+");
    board.config_write16(0x7a, 8);
    assert_eq!(
        board.config_read(0x78) >> 16 & 0xf,
        0,
        "cleared by writing 1"
    );
    board.controller.count_unsupported(Reason::MsiDisabled);
    assert_eq!(
        board.config_read(0x78) >> 16 & 0xf,
        0,
        "an outbound request is not ours to report"
    );
    let counts = &board.controller.inspect()["counters"]["unsupported"];
    assert_eq!(counts["no_inbound_region"], 100);
    assert_eq!(counts["msi_disabled"], 1);
}

#[test]
fn beyond_the_end_there_is_nothing() {
    let mut board = Board::running();
    assert_eq!(board.config_read(4096), u32::MAX);
    assert_eq!(board.config_read(u64::MAX - 1), u32::MAX);
    board.config_write(4096, 0);
    board.config_write(u64::MAX, 0);
    assert_eq!(
        board.config_read(4094),
        0xffff_0000,
        "the last two bytes, then nothing"
    );
}

#[test]
fn accesses_to_no_register_are_typed_errors_and_counted() {
    let mut board = Board::new(Config::default());
    let outside = [0x7400u64, 0x7fff, 0x8000, u64::MAX];
    for offset in outside {
        let error = AccessError::OutsideWindows {
            offset: offset & !3,
        };
        assert_eq!(board.controller.ep_read(offset, Width::Byte), Err(error));
    }
    let unknown = AccessError::UnknownRegister {
        window: "app",
        offset: 0x4,
    };
    assert_eq!(board.controller.ep_read(0x6204, Width::Dword), Err(unknown));
    let function1 = AccessError::UnknownRegister {
        window: "dbi",
        offset: 0x1000,
    };
    assert_eq!(
        board.controller.ep_read(0x1000, Width::Dword),
        Err(function1)
    );
    let counters = &board.controller.inspect()["counters"];
    assert_eq!(counters["outside_windows"], outside.len());
    assert_eq!(counters["unknown_registers"], 2);
    assert_eq!(counters["last_error"], "no register at dbi+0x1000");
}

#[test]
fn narrow_and_misaligned_accesses_see_the_same_bytes() {
    let mut board = Board::running();
    let word = board.readl(spider::DBI, 0x50).to_le_bytes();
    let next = board.readl(spider::DBI, 0x54).to_le_bytes();
    let bytes: Vec<u8> = word.into_iter().chain(next).collect();
    for at in 0..4usize {
        let offset = 0x50 + at as u32;
        assert_eq!(board.read(offset, Width::Byte), u32::from(bytes[at]));
        let half = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        assert_eq!(board.read(offset, Width::Word), u32::from(half));
        let whole = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(board.read(offset, Width::Dword), whole);
    }
}

/// A single byte written to a register that is cleared by writing 1 leaves the others alone.
#[test]
fn write_one_to_clear_respects_byte_enables() {
    let mut board = Board::running();
    board.controller.count_unsupported(Reason::NoInboundRegion);
    board
        .controller
        .rc_config_write(0x78, &[0xff, 0x28], &mut board.effects);
    assert_eq!(
        board.config_read(0x78) >> 16 & 0xf,
        8,
        "DEVSTA was not written"
    );
}
