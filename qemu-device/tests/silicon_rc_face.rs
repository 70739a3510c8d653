// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whatever the EP writes, the RC's QEMU finds a configuration space that PCI allows, and goes on finding it.

#[path = "plug/ep_write.rs"]
mod ep_write;
mod silicon_common;

use abi::{dbi, pci, spider};
use ep_write::{ep_write, EpWrite};
use proptest::prelude::*;
use qemu_device::controller::{Config, Controller, Effects, Width};
use qemu_device::rc_face::{RcFace, Source};
use silicon_common::Board;

/// The function as a client of the RC sees it.
struct View<'a>(&'a RcFace, Source<'a>);

impl View<'_> {
    fn read(&self, offset: u64) -> u32 {
        let mut bytes = [0; 4];
        self.0.config_read(&self.1, offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn all(&self) -> Vec<u32> {
        (0..u64::from(pci::CONFIG_SIZE))
            .step_by(4)
            .map(|at| self.read(at))
            .collect()
    }

    fn irqs(&self, index: u32) -> u32 {
        self.0.irq_count(index).unwrap()
    }
}

/// A list of capabilities: offset and header of each. `next` takes the pointer out of a header.
fn list(
    view: &View,
    first: u32,
    lowest: u32,
    end: u32,
    next: fn(u32) -> u32,
) -> Result<Vec<(u32, u32)>, String> {
    let (mut at, mut found) = (first, Vec::new());
    while at != 0 {
        if at < lowest || at & 3 != 0 || at >= end {
            return Err(format!("a capability at {at:#x}"));
        }
        if found.iter().any(|(other, _)| *other == at) {
            return Err(format!("the list comes back to {at:#x}"));
        }
        let header = view.read(at.into());
        found.push((at, header));
        at = next(header);
    }
    Ok(found)
}

/// What PCI and PCI Express demand of configuration space; told from the specifications, not from the device.
fn well_formed(view: &View) -> Result<(), String> {
    let check = |what: &str, holds: bool, value: u32| {
        if holds {
            Ok(())
        } else {
            Err(format!("{what}: {value:#x}"))
        }
    };
    let id = view.read(0);
    let vmd = [0x201d, 0x467f, 0x4c3d, 0x9a0b].contains(&(id >> 16)) && id & 0xffff == 0x8086;
    check("an id that QEMU dies of", !vmd, id)?;
    let header = view.read(0x0c);
    check("header type, latency, BIST", header >> 8 == 0, header)?;
    check("STATUS.CAP_LIST", view.read(4) & 1 << 20 != 0, view.read(4))?;
    check("expansion ROM", view.read(0x30) == 0, view.read(0x30))?;
    let pin = view.read(0x3c) >> 8 & 0xff;
    check("interrupt pin", pin <= 4, pin)?;
    check(
        "INTx count",
        view.irqs(0) == u32::from(pin != 0),
        view.irqs(0),
    )?;

    let capabilities = list(view, view.read(0x34) & 0xff, 0x40, 0x100, |header| {
        header >> 8 & 0xff
    })?;
    let mut ids: Vec<_> = capabilities
        .iter()
        .map(|(_, header)| header & 0xff)
        .collect();
    ids.sort_unstable();
    check("capabilities", ids == [0x01, 0x05, 0x10], ids.len() as u32)?;
    let sizes = |id| match id {
        0x01 => 8,
        0x05 => 14,
        _ => 0x3c,
    };
    let spans: Vec<_> = capabilities
        .iter()
        .map(|&(at, header)| (at, at + sizes(header & 0xff)))
        .collect();
    for (index, a) in spans.iter().enumerate() {
        for b in &spans[index + 1..] {
            check("capabilities overlap", a.1 <= b.0 || b.1 <= a.0, a.0)?;
        }
    }
    for &(at, header) in &capabilities {
        match header & 0xff {
            0x05 => {
                let capable = header >> 17 & 7;
                check("MSI multiple message capable", capable <= 5, capable)?;
                check("MSI count", view.irqs(1) == 1 << capable, view.irqs(1))?;
            }
            0x10 => {
                check("PCIe version", matches!(header >> 16 & 0xf, 1 | 2), header)?;
                check("PCIe type", header >> 20 & 0xf == 0, header)?;
                let read = |offset: u32| view.read((at + offset).into());
                check("payload", read(4) & 7 <= 5, read(4))?;
                check(
                    "link speed",
                    (1..=6).contains(&(read(0xc) & 0xf)),
                    read(0xc),
                )?;
                let width = read(0xc) >> 4 & 0x3f;
                check(
                    "link width",
                    [1, 2, 4, 8, 12, 16, 32].contains(&width),
                    width,
                )?;
                let timeout = read(0x24) & 0xf;
                check(
                    "timeout ranges",
                    [0, 1, 2, 3, 6, 7, 14, 15].contains(&timeout),
                    timeout,
                )?;
            }
            _ => {}
        }
    }

    let mut upper = false;
    for bar in 0..6 {
        let size = view.0.region_size(bar).unwrap();
        let register = view.read(0x10 + 4 * u64::from(bar));
        let (is_64, flags) = (register & 4 != 0, register & 0xf);
        if upper || size == 0 {
            check("size of what is no BAR", size == 0, size as u32)?;
            check("type of no BAR", upper || flags == 0, register)?;
            upper = false;
            continue;
        }
        check(
            "BAR size",
            size.is_power_of_two() && (128..=1 << 31).contains(&size),
            size as u32,
        )?;
        check("BAR type", flags & 3 == 0, register)?;
        check(
            "the last BAR has no upper half",
            !is_64 || bar < 5,
            register,
        )?;
        upper = is_64;
    }

    let extended = list(view, 0x100, 0x100, 0x1000, |header| header >> 20)?;
    for &(at, header) in extended
        .iter()
        .filter(|(_, header)| header & 0xffff == 0x15)
    {
        check("version", header >> 16 & 0xf == 1, header)?;
        let count = view.read((at + 8).into()) >> 5 & 7;
        check("resizable BARs", (1..=6).contains(&count), count)?;
        for entry in 0..count {
            let offered = view.read((at + 4 + 8 * entry).into()) >> 4;
            let control = view.read((at + 8 + 8 * entry).into());
            let (index, log2) = (control & 7, control >> 8 & 0x3f);
            check("resizable BAR's number", index < 6, control)?;
            check(
                "size in use",
                offered.checked_shr(log2).is_some_and(|bits| bits & 1 == 1),
                control,
            )?;
            let size = view.0.region_size(index).unwrap();
            check("size", size == 0 || size == 1 << (20 + log2), control)?;
        }
    }
    Ok(())
}

/// The writes, with what is read-only unlocked.
fn write_all(controller: &mut Controller, writes: &[EpWrite]) {
    for EpWrite(at, width, value) in writes {
        let mut effects = Effects::new();
        let unlock = u64::from(spider::DBI.offset + dbi::MISC_CONTROL_1);
        controller
            .ep_write(unlock, Width::Dword, 1, &mut effects)
            .unwrap();
        let _ = controller.ep_write((*at).into(), *width, *value, &mut effects);
    }
}

fn linked(writes: &[EpWrite]) -> Board {
    let mut board = Board::new(Config::default());
    write_all(&mut board.controller, writes);
    board.start();
    board
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_rc_finds_what_pci_allows(
        before in proptest::collection::vec(ep_write(), 0..40),
        after in proptest::collection::vec(ep_write(), 0..20),
    ) {
        let mut board = linked(&before);
        let face = RcFace::plug(&board.controller);
        let view = View(&face, Source::Linked(&board.controller));
        let plugged = view.all();
        prop_assert_eq!(well_formed(&view), Ok(()));

        // What the EP writes now is seen at the next plug. Below port logic, that is, and where only the EP may
        // write; an address is the RC's.
        write_all(&mut board.controller, &after);
        let view = View(&face, Source::Linked(&board.controller));
        prop_assert_eq!(well_formed(&view), Ok(()));
        for (index, (now, then)) in view.all().into_iter().zip(&plugged).enumerate().take(0x700 / 4) {
            let live = board.controller.live_config_bits(4 * index as u32);
            let live = match index {
                5 | 7 | 9 if plugged[index - 1] & 4 != 0 => u32::MAX,
                4..10 => !0xf,
                _ => live,
            };
            prop_assert_eq!(now & !live, then & !live, "{:#x}", 4 * index);
        }

        // The link goes down while QEMU reads.
        let view = View(&face, Source::Plugging);
        prop_assert_eq!(well_formed(&view), Ok(()));
        prop_assert_eq!(&view.all(), &plugged);
    }
}

#[test]
fn dbi_shows_what_the_ep_wrote_and_the_rc_what_it_can_bear() {
    let cases = [
        (0x00, 0x201d_8086, 0x0000_8086),
        (0x3c, 200 << 8, 0),
        (0x50, 6 << 17 | 0x0080_7005, 5 << 17 | 0x0080_7005),
        (0x50, 7 << 17 | 0x0080_7005, 5 << 17 | 0x0080_7005),
        (0x50, 3 << 17 | 0x0080_7005, 3 << 17 | 0x0080_7005),
    ];
    for (register, written, shown) in cases {
        let board = linked(&[EpWrite(register, Width::Dword, written)]);
        let face = RcFace::plug(&board.controller);
        assert_eq!(
            board.controller.config_register(register),
            written,
            "DBI {register:#x}"
        );
        let view = View(&face, Source::Linked(&board.controller));
        assert_eq!(view.read(register.into()), shown, "the RC {register:#x}");
        assert_eq!(face.corrections().len(), usize::from(written != shown));
    }
}

#[test]
fn a_function_that_is_gone_shows_nothing_but_its_interrupt_pin() {
    let board = linked(&[]);
    let face = RcFace::plug(&board.controller);
    let view = View(&face, Source::Gone);
    for (index, value) in view.all().into_iter().enumerate() {
        let wanted = if index == 0x3c / 4 {
            0xffff_01ff
        } else {
            u32::MAX
        };
        assert_eq!(value, wanted, "{:#x}", 4 * index);
    }
}

#[test]
fn the_rc_does_not_resize_what_qemu_has_fixed() {
    let mut board = linked(&[EpWrite(0x104, Width::Dword, 1 << 4 | 1 << 9)]);
    let face = RcFace::plug(&board.controller);
    face.config_write(
        &mut board.controller,
        0x108,
        &(5u32 << 8).to_le_bytes(),
        &mut board.effects,
    );
    assert_eq!(board.config_read(0x108) >> 8 & 0x3f, 0, "1 MiB still");
    let view = View(&face, Source::Linked(&board.controller));
    assert_eq!(view.read(0x104), 1 << 4, "the size in use, alone");
    // A write across the capability reaches what lies before it.
    face.config_write(&mut board.controller, 0x04, &[6; 0x140], &mut board.effects);
    assert_eq!(board.config_read(0x04) & 0xffff, 0x0406);
    assert_eq!(board.config_read(0x108) >> 8 & 0x3f, 0);
}
