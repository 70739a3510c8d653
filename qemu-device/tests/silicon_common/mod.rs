// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The silicon with the stock drivers' accesses to it: each method is one driver function of Linux
//! 7.3, register for register in its order, and fails where the driver would.

#![allow(dead_code)] // each test binary uses a part of it

use abi::{app, dbi, edma, iatu, pci, spider};
use qemu_device::controller::{Config, Controller, Effect, Effects, Width};
use qemu_device::ep_face::{EpBars, EpFace};

/// Where the EP guest has put the SoC mirror.
pub const REGISTERS_GPA: u64 = 0x1000_0000;
/// Where the EP guest has put the outbound window.
pub const WINDOW_GPA: u64 = 0x1040_0000;

/// `readl_poll` style loops of the drivers give up after so many reads.
const RETRIES: usize = 10;

/// Direction of an iATU region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Outbound,
    Inbound,
}

/// A board: the controller, the EP face with its BARs assigned, and what has come out so far.
pub struct Board {
    pub controller: Controller,
    pub ep_face: EpFace,
    pub effects: Effects,
}

impl Board {
    /// Powered on; the EP guest has enumerated its PCI bus.
    pub fn new(config: Config) -> Self {
        let mut ep_face = EpFace::new();
        ep_face.config_write(0x10, &(REGISTERS_GPA as u32).to_le_bytes());
        ep_face.config_write(0x18, &(WINDOW_GPA as u32).to_le_bytes());
        ep_face.config_write(0x04, &[0x06, 0]);
        Self {
            controller: Controller::new(config),
            ep_face,
            effects: Effects::new(),
        }
    }

    /// Powered on, probed, epf-test bound, started, and enumerated by the RC with BARs at
    /// `bar_address(n)` and MSIs at 0x8090000, data 0x40, 32 vectors.
    pub fn running() -> Self {
        let mut board = Self::new(Config::default());
        board.probe();
        board.bind_epf_test();
        board.start();
        board.rc_enumerates();
        board.effects = Effects::new();
        board
    }

    pub fn bars(&self) -> EpBars {
        self.ep_face.bars()
    }

    /// Takes the effects that have come about.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects).into_iter().collect()
    }

    pub fn read(&mut self, offset: u32, width: Width) -> u32 {
        self.controller
            .ep_read(offset.into(), width)
            .unwrap_or_else(|error| panic!("read of {offset:#x}: {error}"))
    }

    pub fn write(&mut self, offset: u32, width: Width, value: u32) {
        self.controller
            .ep_write(offset.into(), width, value, &mut self.effects)
            .unwrap_or_else(|error| panic!("write of {value:#x} to {offset:#x}: {error}"));
    }

    pub fn readl(&mut self, window: spider::Window, offset: u32) -> u32 {
        self.read(window.offset + offset, Width::Dword)
    }

    pub fn writel(&mut self, window: spider::Window, offset: u32, value: u32) {
        self.write(window.offset + offset, Width::Dword, value);
    }

    pub fn readw_dbi(&mut self, offset: u32) -> u32 {
        self.read(spider::DBI.offset + offset, Width::Word)
    }

    pub fn readb_dbi(&mut self, offset: u32) -> u32 {
        self.read(spider::DBI.offset + offset, Width::Byte)
    }

    fn modify(&mut self, window: spider::Window, offset: u32, clear: u32, set: u32) {
        let value = self.readl(window, offset);
        self.writel(window, offset, (value & !clear) | set);
    }

    /// `dw_pcie_dbi_ro_wr_en` and `_dis`.
    pub fn ro_wr(&mut self, enable: bool) {
        let enable = u32::from(enable);
        self.modify(spider::DBI, dbi::MISC_CONTROL_1, 1, enable);
    }

    /// `PCI_FIND_NEXT_CAP`; 0 if there is none.
    pub fn find_capability(&mut self, id: u32) -> u32 {
        let mut position = self.readb_dbi(pci::header::CAPABILITIES);
        for _ in 0..48 {
            if position < 0x40 {
                break;
            }
            let entry = self.readw_dbi(position & !3);
            if entry & 0xff == id {
                return position;
            }
            position = entry >> 8;
        }
        0
    }

    /// `PCI_FIND_NEXT_EXT_CAP`; 0 if there is none.
    pub fn find_extended(&mut self, id: u32) -> u32 {
        let mut position = pci::extended::FIRST;
        for _ in 0..480 {
            let header = self.readl(spider::DBI, position);
            if header == 0 {
                break;
            }
            if header & 0xffff == id {
                return position;
            }
            position = header >> 20 & 0xffc;
            if position < pci::extended::FIRST {
                break;
            }
        }
        0
    }

    /// `rcar_gen4_pcie_common_init`, `rcar_gen4_pcie_ep_pre_init`, `dw_pcie_ep_init_registers`.
    pub fn probe(&mut self) -> Probe {
        self.modify(spider::APP, app::MODE_SETTING_0, 0, 1);
        assert_eq!(
            self.readl(spider::APP, app::MODE_SETTING_0) & 0x10,
            0,
            "endpoint mode"
        );
        self.writel(spider::APP, app::DMA_INTERRUPT_ENABLE, 0xffff);

        assert_eq!(self.readb_dbi(0x0e) & 0x7f, 0, "PCI_HEADER_TYPE_NORMAL");
        let version = self.readl(spider::DBI, dbi::VERSION_NUMBER);
        let _type = self.readl(spider::DBI, dbi::VERSION_TYPE);
        let (outbound, inbound, align, limit) = self.iatu_detect();
        let edma_channels = self.edma_detect();

        let msi = self.find_capability(pci::capability::MSI);
        let msix = self.find_capability(0x11);
        for bar in 0..6 {
            self.reset_bar(bar);
        }
        assert_eq!(self.find_extended(0x1f), 0, "no PTM");

        self.ro_wr(true);
        let rebar = self.find_extended(pci::extended::RESIZABLE_BAR);
        let count = self.readl(spider::DBI, rebar + 8) >> 5 & 7;
        for index in 0..count {
            let _ = self.readl(spider::DBI, rebar + 8 + 8 * index);
            self.writel(spider::DBI, rebar + 4 + 8 * index, 1 << 4);
        }
        self.dw_pcie_setup(4, 2);
        self.ro_wr(false);
        Probe {
            version,
            outbound,
            inbound,
            align,
            limit,
            edma_channels,
            msi,
            msix,
            rebar,
            count,
        }
    }

    /// `dw_pcie_iatu_detect`: regions out and in, alignment, region limit.
    fn iatu_detect(&mut self) -> (u32, u32, u32, u64) {
        assert_eq!(
            self.readl(spider::DBI, dbi::ATU_VIEWPORT),
            u32::MAX,
            "unrolled"
        );
        let max = spider::ATU.size / 512;
        let count = |board: &mut Self, direction| {
            (0..max)
                .take_while(|index| {
                    let register = region(direction, *index) + iatu::LOWER_TARGET;
                    board.writel(spider::ATU, register, 0x1111_0000);
                    board.readl(spider::ATU, register) == 0x1111_0000
                })
                .count() as u32
        };
        let outbound = count(self, Direction::Outbound);
        let inbound = count(self, Direction::Inbound);
        self.writel(spider::ATU, iatu::LIMIT, 0);
        let min = self.readl(spider::ATU, iatu::LIMIT);
        self.writel(spider::ATU, iatu::UPPER_LIMIT, u32::MAX);
        let max = self.readl(spider::ATU, iatu::UPPER_LIMIT);
        let align = 1 << (32 - min.leading_zeros());
        (outbound, inbound, align, u64::from(max) << 32 | 0xffff_ffff)
    }

    /// `dw_pcie_edma_find_channels`, `dw_edma_v0_core_off` and the channels' `ch_config`.
    fn edma_detect(&mut self) -> Option<(u32, u32)> {
        let ctrl = self.readl(spider::DMA, edma::CTRL);
        let (write, read) = (ctrl & 0xf, ctrl >> 16 & 0xf);
        if !(1..=8).contains(&write) || !(1..=8).contains(&read) {
            return None;
        }
        for map in [edma::WRITE, edma::READ] {
            self.writel(spider::DMA, map.int_mask, 0x00ff_00ff);
            self.writel(spider::DMA, map.int_clear, 0x00ff_00ff);
            self.writel(spider::DMA, map.engine_enable, 0);
            assert_eq!(
                self.readl(spider::DMA, map.engine_enable),
                0,
                "engine stops at once"
            );
        }
        for (map, channels) in [(edma::WRITE, write), (edma::READ, read)] {
            for channel in 0..channels {
                for register in [map.done_imwr, map.abort_imwr] {
                    self.writel(spider::DMA, register, 0xfee0_0000);
                    self.writel(spider::DMA, register + 4, 0);
                }
                let data = map.imwr_data + 4 * (channel / 2);
                let shift = 16 * (channel % 2);
                self.modify(spider::DMA, data, 0xffff << shift, channel << shift);
            }
        }
        Some((write, read))
    }

    /// `__dw_pcie_ep_reset_bar`.
    fn reset_bar(&mut self, bar: usize) {
        self.ro_wr(true);
        self.writel(spider::DBI2, pci::header::bar(bar), 0);
        self.writel(spider::DBI, pci::header::bar(bar), 0);
        self.ro_wr(false);
    }

    /// `dw_pcie_setup` with `max-link-speed` and `num-lanes` from the device tree.
    fn dw_pcie_setup(&mut self, speed: u32, lanes: u32) {
        let express = self.find_capability(pci::capability::PCI_EXPRESS);
        let lnkcap = self.readl(spider::DBI, express + 0x0c);
        self.modify(spider::DBI, express + 0x30, 0xf, speed);
        self.writel(spider::DBI, express + 0x0c, lnkcap & !0xf | speed);
        self.modify(spider::DBI, dbi::PORT_LINK_CONTROL, 1 << 7, 1 << 5);
        self.modify(spider::DBI, dbi::PORT_LINK_CONTROL, 0x3f << 16, 0x3 << 16);
        self.modify(spider::DBI, dbi::LINK_WIDTH_SPEED, 0x1f << 8, 1 << 8);
        self.modify(spider::DBI, express + 0x0c, 0x3f << 4, lanes << 4);
    }

    /// `dw_pcie_ep_write_header` with the values that configfs has for the selftest.
    pub fn write_header(&mut self, vendor: u32, device: u32) {
        self.ro_wr(true);
        for (offset, width, value) in [
            (0x00, Width::Word, vendor),
            (0x02, Width::Word, device),
            (0x08, Width::Byte, 0),
            (0x09, Width::Byte, 0),
            (0x0a, Width::Word, 0xff00),
            (0x0c, Width::Byte, 0),
            (0x2c, Width::Word, 0),
            (0x2e, Width::Word, 0),
            (0x3d, Width::Byte, 1),
        ] {
            self.write(spider::DBI.offset + offset, width, value);
        }
        self.ro_wr(false);
    }

    /// `dw_pcie_ep_set_bar_resizable`.
    pub fn set_bar_resizable(&mut self, bar: usize, size: u32) {
        let rebar = self.rebar_offset(bar);
        self.ro_wr(true);
        self.writel(spider::DBI2, pci::header::bar(bar), 1);
        self.writel(spider::DBI, pci::header::bar(bar), 0);
        self.modify(spider::DBI, rebar + 8, 0xffff_0000, 0);
        self.writel(spider::DBI, rebar + 4, 1 << (size.ilog2() - 20 + 4));
        self.ro_wr(false);
    }

    /// `dw_pcie_ep_get_rebar_offset`.
    fn rebar_offset(&mut self, bar: usize) -> u32 {
        let mut offset = self.find_extended(pci::extended::RESIZABLE_BAR);
        assert_ne!(offset, 0);
        let count = self.readl(spider::DBI, offset + 8) >> 5 & 7;
        for _ in 0..count {
            if self.readl(spider::DBI, offset + 8) & 7 == bar as u32 {
                return offset;
            }
            offset += 8;
        }
        panic!("BAR{bar} is not resizable");
    }

    /// `dw_pcie_ep_set_bar_programmable`, which also serves the fixed BAR.
    pub fn set_bar_fixed(&mut self, bar: usize, size: u32) {
        self.ro_wr(true);
        self.writel(spider::DBI2, pci::header::bar(bar), size - 1);
        self.writel(spider::DBI, pci::header::bar(bar), 0);
        self.ro_wr(false);
    }

    /// `dw_pcie_prog_ep_inbound_atu`.
    pub fn map_bar(&mut self, index: u32, bar: u32, target: u64) {
        let at = region(Direction::Inbound, index);
        self.writel(spider::ATU, at + iatu::LOWER_TARGET, target as u32);
        self.writel(spider::ATU, at + iatu::UPPER_TARGET, (target >> 32) as u32);
        self.writel(spider::ATU, at + iatu::CTRL1, 0);
        self.writel(spider::ATU, at + iatu::CTRL2, 0xc008_0000 | bar << 8);
        self.wait_for_region(at);
    }

    /// `dw_pcie_prog_inbound_atu` (`Inbound`) and `dw_pcie_prog_outbound_atu` (`Outbound`).
    pub fn map(&mut self, direction: Direction, index: u32, base: u64, target: u64, size: u64) {
        let limit = base + (size - 1);
        let at = region(direction, index);
        self.writel(spider::ATU, at + iatu::LOWER_BASE, base as u32);
        self.writel(spider::ATU, at + iatu::UPPER_BASE, (base >> 32) as u32);
        self.writel(spider::ATU, at + iatu::LIMIT, limit as u32);
        self.writel(spider::ATU, at + iatu::UPPER_LIMIT, (limit >> 32) as u32);
        self.writel(spider::ATU, at + iatu::LOWER_TARGET, target as u32);
        self.writel(spider::ATU, at + iatu::UPPER_TARGET, (target >> 32) as u32);
        let increase = u32::from(limit >> 32 > base >> 32) << 13;
        self.writel(spider::ATU, at + iatu::CTRL1, increase);
        self.writel(spider::ATU, at + iatu::CTRL2, 1 << 31);
        self.wait_for_region(at);
    }

    fn wait_for_region(&mut self, at: u32) {
        let enabled = self.readl(spider::ATU, at + iatu::CTRL2) & 1 << 31 != 0;
        assert!(enabled, "iATU is not being enabled");
    }

    /// `dw_pcie_disable_atu`.
    pub fn unmap(&mut self, direction: Direction, index: u32) {
        self.writel(spider::ATU, region(direction, index) + iatu::CTRL2, 0);
    }

    /// `dw_pcie_ep_set_msi`.
    pub fn set_msi(&mut self, log2: u32) {
        let flags = self.readw_dbi(dbi::MSI + 2);
        self.ro_wr(true);
        self.write(dbi::MSI + 2, Width::Word, flags & !0xe | log2 << 1);
        self.ro_wr(false);
    }

    /// `dw_pcie_ep_get_msi`: vectors granted, if MSIs are on.
    pub fn get_msi(&mut self) -> Option<u32> {
        let flags = self.readw_dbi(dbi::MSI + 2);
        (flags & 1 != 0).then_some(1 << (flags >> 4 & 7))
    }

    /// What `dw_pcie_ep_raise_msi_irq` reads: address and data.
    pub fn msi_message(&mut self) -> (u64, u32) {
        let flags = self.readw_dbi(dbi::MSI + 2);
        assert_ne!(flags & 0x80, 0, "64-bit");
        let low = self.readl(spider::DBI, dbi::MSI + 4);
        let high = self.readl(spider::DBI, dbi::MSI + 8);
        (
            u64::from(high) << 32 | u64::from(low),
            self.readw_dbi(dbi::MSI + 0xc),
        )
    }

    /// epf-test bound in configfs before `start`, BARs of 1 MiB, 1 MiB and 256 bytes at
    /// `bar_target(n)`.
    pub fn bind_epf_test(&mut self) {
        self.write_header(0x1912, 0x0031);
        for (index, bar) in [(0, 0), (1, 2)] {
            self.set_bar_resizable(bar as usize, 0x10_0000);
            self.map_bar(index, bar, bar_target(bar));
        }
        self.set_bar_fixed(4, 256);
        self.map_bar(2, 4, bar_target(4));
        self.set_msi(5);
    }

    /// `rcar_gen4_pcie_start_link`. Returns how many speed changes came to an end.
    pub fn start(&mut self) -> u32 {
        self.modify(spider::APP, app::RESET_CONTROL_1, 1 << 16, 1);
        (0..3).take_while(|_| self.speed_change()).count() as u32
    }

    /// `rcar_gen4_pcie_speed_change`.
    fn speed_change(&mut self) -> bool {
        self.modify(spider::DBI, dbi::LINK_WIDTH_SPEED, 1 << 17, 0);
        self.modify(spider::DBI, dbi::LINK_WIDTH_SPEED, 0, 1 << 17);
        (0..RETRIES).any(|_| self.readl(spider::DBI, dbi::LINK_WIDTH_SPEED) & 1 << 17 == 0)
    }

    /// `r8a779f0_pcie_ltssm_control(false)`.
    pub fn stop(&mut self) {
        self.modify(spider::APP, app::RESET_CONTROL_1, 1, 0);
    }

    /// `rcar_gen4_pcie_link_up`.
    pub fn link_up(&mut self) -> bool {
        self.readl(spider::APP, app::INTERRUPT_STATUS_0) & 0xc0 == 0xc0
    }

    pub fn config_read(&self, offset: u64) -> u32 {
        let mut bytes = [0; 4];
        self.controller.rc_config_read(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    pub fn config_write(&mut self, offset: u64, value: u32) {
        self.controller
            .rc_config_write(offset, &value.to_le_bytes(), &mut self.effects);
    }

    pub fn config_write16(&mut self, offset: u64, value: u16) {
        self.controller
            .rc_config_write(offset, &value.to_le_bytes(), &mut self.effects);
    }

    /// The RC sizes and assigns BARs, enables memory and bus mastering, and turns on 32 MSIs.
    pub fn rc_enumerates(&mut self) {
        for bar in [0, 2, 4u32] {
            let register = pci::header::bar(bar as usize).into();
            self.config_write(register, u32::MAX);
            assert_ne!(self.config_read(register), 0);
            self.config_write(register, bar_address(bar));
        }
        self.config_write16(0x04, 0x0406);
        self.config_write(0x54, 0x0809_0000);
        self.config_write(0x58, 0);
        self.config_write16(0x5c, 0x40);
        self.config_write16(0x52, 0x00d1 | 0x80);
    }
}

/// What the probe found out.
#[derive(Debug, PartialEq, Eq)]
pub struct Probe {
    pub version: u32,
    pub outbound: u32,
    pub inbound: u32,
    pub align: u32,
    pub limit: u64,
    pub edma_channels: Option<(u32, u32)>,
    pub msi: u32,
    pub msix: u32,
    pub rebar: u32,
    pub count: u32,
}

/// EP RAM behind a BAR of `Board::bind_epf_test`.
pub fn bar_target(bar: u32) -> u64 {
    0x5000_0000 + u64::from(bar) * 0x100_0000
}

/// PCI address of a BAR of `Board::rc_enumerates`.
pub fn bar_address(bar: u32) -> u32 {
    0x1080_0000 + bar * 0x10_0000
}

/// `PCIE_ATU_UNROLL_BASE`.
fn region(direction: Direction, index: u32) -> u32 {
    index << 9
        | if direction == Direction::Inbound {
            1 << 8
        } else {
            0
        }
}
