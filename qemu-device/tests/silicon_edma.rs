// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The eDMA's registers, its interrupt line and interrupt emulation; what it moves is in
//! `silicon_edma_engine`.

mod silicon_common;

use abi::{app, edma, spider};
use qemu_device::controller::{Config, Effect, Width};
use silicon_common::Board;

fn board() -> Board {
    let mut board = Board::new(Config::default());
    board.probe();
    board.take_effects();
    board
}

#[test]
fn reset_values() {
    let mut board = Board::new(Config::default());
    assert_eq!(board.readl(spider::DMA, edma::CTRL), 0x0004_0004);
    for map in [edma::WRITE, edma::READ] {
        for register in [
            map.engine_enable,
            map.int_status,
            map.int_mask,
            map.channels,
        ] {
            assert_eq!(board.readl(spider::DMA, register), 0, "{register:#x}");
        }
    }
}

/// What the driver writes it can read back, each register on its own.
#[test]
fn registers_retain_what_the_driver_writes() {
    let mut board = board();
    let mut expected = Vec::new();
    for (value, map) in [(0x1000_0001u32, edma::WRITE), (0x2000_0001, edma::READ)] {
        let whole = |offset: u32| (offset, value ^ offset << 8);
        for offset in [
            map.done_imwr,
            map.done_imwr + 4,
            map.abort_imwr,
            map.abort_imwr + 4,
            map.imwr_data,
            map.imwr_data + 4,
            map.imwr_data + 8,
            map.imwr_data + 12,
            map.arbitration_weight,
            map.arbitration_weight + 4,
        ] {
            expected.push(whole(offset));
        }
        expected.push((map.engine_enable, 1));
        expected.push((map.int_mask, 0x000f_000f));
        expected.push((map.linked_list_err_enable, 0x0005_000a));
        for channel in 0..4 {
            let first = map.channels + channel * edma::CHANNEL_STRIDE;
            expected.push((first, 0x0000_0300));
            expected.extend(
                (4..edma::channel::SIZE)
                    .step_by(4)
                    .map(|at| whole(first + at)),
            );
        }
    }
    for (offset, value) in &expected {
        board.writel(spider::DMA, *offset, *value);
    }
    for (offset, value) in expected {
        assert_eq!(board.readl(spider::DMA, offset), value, "dma+{offset:#x}");
    }
}

#[test]
fn registers_take_only_the_bits_that_they_have() {
    let mut board = board();
    for (offset, kept) in [
        (edma::CTRL, None),
        (edma::WRITE.engine_enable, Some(1)),
        (edma::WRITE.int_mask, Some(0x00ff_00ff)),
        (edma::READ.linked_list_err_enable, Some(0x00ff_00ff)),
        (edma::WRITE.err_status, Some(0)),
        (edma::READ.err_status + 4, Some(0)),
        (edma::WRITE.doorbell, Some(0)),
        (edma::WRITE.int_clear, Some(0)),
        (edma::READ.power_enable + 28, Some(1)),
        // The channel's status is the engine's.
        (edma::READ.channels, Some(!(3 << 5))),
    ] {
        let before = board.readl(spider::DMA, offset);
        board.writel(spider::DMA, offset, u32::MAX);
        assert_eq!(
            board.readl(spider::DMA, offset),
            kept.unwrap_or(before),
            "dma+{offset:#x}"
        );
    }
}

#[test]
fn channels_that_are_not_built_in_have_no_registers() {
    let mut board = Board::new(Config {
        edma_channels: Some(2),
    });
    let third = u64::from(spider::DMA.offset + edma::WRITE.channels + 2 * edma::CHANNEL_STRIDE);
    assert!(board.controller.ep_read(third, Width::Dword).is_err());
    assert!(board
        .controller
        .ep_read(third - 0x200, Width::Dword)
        .is_ok());
    let mut none = Board::new(Config {
        edma_channels: None,
    });
    assert_eq!(none.readl(spider::DMA, edma::CTRL), 0);
    let doorbell = u64::from(spider::DMA.offset + edma::DOORBELL_OFFSET);
    let written = none
        .controller
        .ep_write(doorbell, Width::Dword, 0, &mut none.effects);
    assert!(written.is_err() && none.effects.is_empty());
}

#[test]
fn emulation_asserts_the_line_whatever_the_mask_and_any_clear_ends_it() {
    for (map, other) in [(edma::WRITE, edma::READ), (edma::READ, edma::WRITE)] {
        let mut board = board();
        // The probe has masked everything.
        assert_eq!(board.readl(spider::DMA, map.int_mask), 0x00ff_00ff);
        board.writel(spider::DMA, map.int_status, 0);
        assert_eq!(board.take_effects(), [Effect::EpInterrupt]);
        assert_eq!(board.readl(spider::DMA, map.int_status), 0);
        board.writel(spider::DMA, map.int_status, 0);
        assert!(board.take_effects().is_empty(), "the line is high already");
        // Either direction's: the driver writes both, and must not find an edge between them.
        board.writel(spider::DMA, other.int_clear, 0);
        assert!(board.take_effects().is_empty());
        assert!(!board.controller.ep_interrupt_line());
        board.writel(spider::DMA, map.int_status, 0);
        assert_eq!(board.take_effects(), [Effect::EpInterrupt]);
        board.writel(spider::DMA, map.int_clear, 0);
        assert!(board.take_effects().is_empty());
        assert!(!board.controller.ep_interrupt_line());
    }
}

#[test]
fn the_app_window_gates_the_line() {
    let mut board = board();
    board.writel(spider::APP, app::DMA_INTERRUPT_ENABLE, 0);
    board.writel(spider::DMA, edma::DOORBELL_OFFSET, 0);
    assert!(board.take_effects().is_empty());
    board.writel(spider::APP, app::DMA_INTERRUPT_ENABLE, 0xffff);
    assert_eq!(
        board.take_effects(),
        [Effect::EpInterrupt],
        "the line rises at the CPU now"
    );
}

#[test]
fn a_doorbell_is_heard_by_a_channel_of_an_enabled_engine() {
    let mut board = board();
    board.writel(spider::DMA, edma::WRITE.doorbell, 2);
    board.writel(spider::DMA, edma::WRITE.doorbell, 1 << 31 | 2);
    board.writel(spider::DMA, edma::WRITE.engine_enable, 1);
    board.writel(spider::DMA, edma::WRITE.doorbell, 5);
    assert!(board.take_effects().is_empty());
    board.writel(spider::DMA, edma::WRITE.doorbell, 2);
    assert_eq!(board.take_effects(), [Effect::DmaReady]);
    let tree = board.controller.inspect();
    let write = &tree["edma"]["write"];
    assert_eq!(write["doorbells"], 4);
    assert_eq!(write["unheard_doorbells"], 3);
    assert_eq!(write["channels"][2]["status"], "running");
    assert_eq!(tree["edma"]["read"]["doorbells"], 0);
    assert_eq!(write["channels"].as_array().map(Vec::len), Some(4));
}
