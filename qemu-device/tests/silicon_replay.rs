// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The stock drivers' accesses in their order, from probe to a running function and back.

mod silicon_common;

use abi::{app, dbi, pci, spider};
use qemu_device::controller::{Config, Effect, Reason, Width};
use qemu_device::fabric::{self, Target};
use qemu_device::rc_face::RcFace;
use silicon_common::{bar_address, bar_target, Board, Direction, Probe, WINDOW_GPA};

#[test]
fn the_probe_finds_an_s4() {
    let mut board = Board::new(Config::default());
    assert_eq!(
        board.probe(),
        Probe {
            version: 0x3532_302a,
            outbound: 16,
            inbound: 16,
            align: 0x1000,
            limit: (1 << 40) - 1,
            edma_channels: Some((4, 4)),
            msi: 0x50,
            msix: 0,
            rebar: 0x100,
            count: 2,
        }
    );
    assert!(
        board.take_effects().is_empty(),
        "nothing happens before the link is started"
    );
    assert!(!board.link_up());
    let counters = &board.controller.inspect()["counters"];
    assert_eq!(
        counters["unknown_registers"], 0,
        "every register of the driver is known"
    );
}

#[test]
fn without_an_edma_the_probe_finds_none_and_everything_else() {
    let mut board = Board::new(Config {
        edma_channels: None,
    });
    let probe = board.probe();
    assert_eq!(probe.edma_channels, None);
    assert_eq!((probe.outbound, probe.inbound), (16, 16));
}

#[test]
fn the_number_of_edma_channels_is_what_was_asked_for() {
    for channels in 1..=8u8 {
        let mut board = Board::new(Config {
            edma_channels: Some(channels),
        });
        assert_eq!(
            board.probe().edma_channels,
            Some((channels.into(), channels.into()))
        );
    }
}

#[test]
fn start_brings_the_link_up_once_and_to_full_speed() {
    let mut board = Board::new(Config::default());
    board.probe();
    board.bind_epf_test();
    assert!(board.take_effects().is_empty());
    assert_eq!(
        board.start(),
        3,
        "each speed change ends before the driver gives up"
    );
    assert_eq!(board.take_effects(), [Effect::LinkUp]);
    assert!(board.link_up());
    // LNKSTA: 16 GT/s, two lanes.
    assert_eq!(board.config_read(0x80) >> 16, 0x0024);
    let link = &board.controller.inspect()["link"];
    assert_eq!(
        (&link["speed"], &link["lanes"]),
        (&"16 GT/s".into(), &2.into())
    );
    assert_eq!(link["generation"], 1);
}

#[test]
fn the_function_is_plugged_as_the_ep_has_shaped_it() {
    let mut board = Board::new(Config::default());
    board.probe();
    board.write_header(0x1912, 0x0030);
    board.set_bar_resizable(0, 0x10_0000);
    board.set_bar_resizable(2, 0x40_0000);
    board.set_msi(4);
    board.start();
    let face = RcFace::plug(&board.controller);
    let sizes: Vec<_> = (0..9)
        .map(|index| face.region_size(index).unwrap())
        .collect();
    assert_eq!(
        sizes,
        [0x10_0000, 0, 0x40_0000, 0, 0, 0, 0, 4096, 0],
        "BAR4 was not enabled"
    );
    assert_eq!(face.region_size(9), None);
    let irqs: Vec<_> = (0..5).map(|index| face.irq_count(index).unwrap()).collect();
    assert_eq!(irqs, [1, 16, 0, 0, 0]);
    assert_eq!(board.config_read(0), 0x0030_1912);
}

#[test]
fn bar_accesses_reach_the_ep_memory_behind_each_bar_and_no_other() {
    let board = Board::running();
    for (bar, size) in [(0u8, 0x10_0000u64), (2, 0x10_0000), (4, 0x100)] {
        for offset in [0, 4, size - 4] {
            let resolved =
                fabric::from_rc_bar(&board.controller, board.bars(), bar, offset, u64::MAX);
            let address = bar_target(bar.into()) + offset;
            assert_eq!(resolved.target, Target::EpRam { address });
            assert_eq!(
                resolved.len,
                size - offset,
                "to the end of the BAR, not beyond"
            );
        }
        let beyond = fabric::from_rc_bar(&board.controller, board.bars(), bar, size, 4);
        assert_eq!(beyond.target, Target::Unsupported(Reason::OutsideBar));
    }
    for bar in [1, 3, 5, 6, 255] {
        let resolved = fabric::from_rc_bar(&board.controller, board.bars(), bar, 0, 4);
        assert_eq!(resolved.target, Target::Unsupported(Reason::BarDisabled));
    }
}

/// `dw_pcie_ep_raise_msi_irq` for each of 32 vectors.
#[test]
fn each_msi_of_the_driver_arrives_as_its_vector() {
    let mut board = Board::running();
    assert_eq!(board.get_msi(), Some(32));
    let (address, data) = board.msi_message();
    assert_eq!((address, data), (0x0809_0000, 0x40));
    board.map(Direction::Outbound, 0, WINDOW_GPA, address & !0xfff, 0x1000);
    for number in 1..=32u32 {
        let resolved = fabric::from_ep_window(&board.controller, board.bars(), address & 0xfff, 4);
        assert_eq!((resolved.target, resolved.len), (Target::RcMsi, 4));
        let word = (data | (number - 1)).to_le_bytes();
        assert_eq!(
            fabric::msi_vector(&board.controller, &word),
            Ok((number - 1) as u16)
        );
    }
}

/// epf-test's BAR_SUBRANGE: address match mode with absolute PCI addresses, after a first whole-BAR
/// mapping, without touching the BAR register.
#[test]
fn a_bar_can_be_cut_into_sub_ranges() {
    let mut board = Board::running();
    board.unmap(Direction::Inbound, 1);
    let base = u64::from(board.readl(spider::DBI, pci::header::bar(2)) & !0xf);
    assert_eq!(
        base,
        u64::from(bar_address(2)),
        "the driver reads the address that the RC assigned"
    );
    board.map(Direction::Inbound, 1, base, 0x7000_0000, 0x8_0000);
    board.map(
        Direction::Inbound,
        3,
        base + 0x8_0000,
        0x6000_0000,
        0x8_0000,
    );
    let resolve = |offset, len| {
        let resolved = fabric::from_rc_bar(&board.controller, board.bars(), 2, offset, len);
        (resolved.target, resolved.len)
    };
    assert_eq!(
        resolve(0x7_fffc, 8),
        (
            Target::EpRam {
                address: 0x7007_fffc
            },
            4
        )
    );
    assert_eq!(
        resolve(0x8_0000, 4),
        (
            Target::EpRam {
                address: 0x6000_0000
            },
            4
        )
    );
    assert_eq!(
        resolve(0xf_fffc, 16),
        (
            Target::EpRam {
                address: 0x6007_fffc
            },
            4
        )
    );
    let bar0 = fabric::from_rc_bar(&board.controller, board.bars(), 0, 0x8_0000, 4);
    assert_eq!(
        bar0.target,
        Target::EpRam {
            address: bar_target(0) + 0x8_0000
        }
    );
}

/// DOORBELL_TEST: epf-test maps the page of the dma window into BAR2, the RC writes 0 to the doorbell,
/// and the EP's shared interrupt fires without a status bit.
#[test]
fn the_embedded_doorbell_rings_through_a_bar() {
    let mut board = Board::running();
    let dma = silicon_common::REGISTERS_GPA + u64::from(spider::DMA.offset);
    let target = dma & !0xf_ffff;
    board.map_bar(1, 2, target);
    let offset = dma - target + u64::from(abi::edma::DOORBELL_OFFSET);
    let resolved = fabric::from_rc_bar(&board.controller, board.bars(), 2, offset, 4);
    let Target::EpRegister { offset: register } = resolved.target else {
        panic!("{resolved:?} is no register")
    };
    assert_eq!(register, u64::from(spider::DMA.offset + 0xa0));
    board.take_effects();
    board.write(register as u32, Width::Dword, 0);
    assert_eq!(board.take_effects(), [Effect::EpInterrupt]);
    assert_eq!(board.readl(spider::DMA, 0xa0), 0, "no status bit");
    // `dw_edma_v0_core_ack_emulated_irq`
    board.writel(spider::DMA, 0x58, 0);
    board.writel(spider::DMA, 0xac, 0);
    assert!(
        board.take_effects().is_empty(),
        "one doorbell, one interrupt"
    );
    assert!(!board.controller.ep_interrupt_line());
}

#[test]
fn stop_takes_the_function_away_and_start_brings_it_back_as_it_was() {
    let mut board = Board::running();
    for _ in 0..10 {
        board.stop();
        assert_eq!(board.take_effects(), [Effect::LinkDown]);
        assert!(!board.link_up());
        assert_eq!(board.config_read(0), u32::MAX, "nobody is there");
        let gone = fabric::from_rc_bar(&board.controller, board.bars(), 0, 0, 4);
        assert_eq!(gone.target, Target::Unsupported(Reason::LinkDown));

        assert_eq!(board.start(), 3);
        assert_eq!(board.take_effects(), [Effect::LinkUp]);
        assert_eq!(
            board.config_read(0),
            0x0031_1912,
            "the EP's header is still there"
        );
        assert_eq!(
            board.config_read(0x10),
            0,
            "the RC has not assigned anything yet"
        );
        assert_eq!(board.get_msi(), None);
        let face = RcFace::plug(&board.controller);
        assert_eq!(face.region_size(4), Some(256));
        board.rc_enumerates();
        let there = fabric::from_rc_bar(&board.controller, board.bars(), 2, 0, 4);
        assert_eq!(
            there.target,
            Target::EpRam {
                address: bar_target(2)
            }
        );
    }
}

#[test]
fn a_start_repeated_or_a_stop_repeated_says_nothing_new() {
    let mut board = Board::running();
    board.start();
    assert!(board.take_effects().is_empty());
    board.stop();
    board.stop();
    assert_eq!(board.take_effects(), [Effect::LinkDown]);
}

#[test]
fn power_on_reset_forgets_everything_and_drops_the_link() {
    let mut board = Board::running();
    let mut effects = qemu_device::controller::Effects::new();
    board.controller.power_on_reset(&mut effects);
    assert_eq!(effects.as_slice(), [Effect::LinkDown]);
    board.controller.power_on_reset(&mut effects);
    assert_eq!(effects.as_slice(), [Effect::LinkDown], "once");
    let fresh = Board::new(Config::default());
    let (mut now, mut then) = (board.controller.inspect(), fresh.controller.inspect());
    for tree in [&mut now, &mut then] {
        tree["counters"] = serde_json::Value::Null;
        tree["link"]["generation"] = serde_json::Value::Null;
    }
    assert_eq!(now, then);
    for window in spider::WINDOWS {
        for offset in (window.offset..window.offset + window.size).step_by(4) {
            let read = |board: &Board| {
                board
                    .controller
                    .clone()
                    .ep_read(offset.into(), Width::Dword)
            };
            assert_eq!(
                read(&board),
                read(&fresh),
                "{}+{:#x}",
                window.name,
                offset - window.offset
            );
        }
    }
}

#[test]
fn the_phy_held_in_reset_keeps_the_link_down() {
    let mut board = Board::new(Config::default());
    board.writel(spider::APP, app::RESET_CONTROL_1, 1 << 16 | 1);
    assert!(!board.link_up());
    board.writel(spider::APP, app::RESET_CONTROL_1, 1);
    assert!(board.link_up());
    assert_eq!(board.take_effects(), [Effect::LinkUp]);
    assert_eq!(
        board.readl(spider::DBI, dbi::PORT_DEBUG0) & 0x3f,
        dbi::LTSSM_L0
    );
}
