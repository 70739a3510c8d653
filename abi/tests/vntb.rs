// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The layouts of the virtual NTB, byte for byte, as a peer in another language has them.

use abi::vntb::control::{Command, Control, ControlError, MwPlace, Status, Version};
use abi::vntb::ep_dma::{self, State};
use abi::vntb::header::{self, Header, HeaderError, Part};
use abi::vntb::locator::{Locator, LocatorError};
use abi::vntb::routing::Routing;
use abi::vntb::slice::{Registers, Request, Slice, SliceError};
use abi::vntb::window::{BarSizes, Window, WindowError};
use abi::vntb::{control, irq, MAX_DB_COUNT};

/// BARs of an R-Car S4 with the seed's vNTB.
const BARS: BarSizes = [0x10_0000, 0, 0x10_0000, 0, 0x100, 0];
/// BARs of its block, doorbells and windows.
const CTRL_BAR: u32 = 0;
const DB_BAR: u32 = 4;
const MW_BARS: [u32; 1] = [2];

/// The slice of the seed: registers of 0x1200 bytes, four channels of a page each.
fn slice() -> Slice {
    Slice::new(Request {
        bar: 2,
        offset: 0xf9000,
        registers: Registers::InSlice { size: 0x1200 },
        num_chans: 4,
        desc_size: 0x1000,
    })
    .unwrap()
}

/// The header of that slice, its descriptors at an address that needs both halves.
fn seed_header() -> Header {
    slice().header(0x1_4e12_0000)
}

/// The vNTB of the seed.
fn seed_control() -> Control {
    let mut control = Control {
        version: Version::V1,
        num_mws: 1,
        spad_offset: control::V1_SIZE,
        spad_count: 128,
        db_entry_size: 0,
        dma: Some(slice().locator()),
        ..Control::default()
    };
    control.mws[0] = MwPlace {
        offset: 0,
        size: 0xf9000,
    };
    control.db_offset[..16].fill(0xa0);
    control
}

/// The vNTB's own windows.
fn taken() -> [Window; 3] {
    let window = |bar, offset, size| Window { bar, offset, size };
    [
        window(0, 0, 0x568),
        window(2, 0, 0xf9000),
        window(4, 0, 0x100),
    ]
}

/// `control` as bytes, up to its scratchpads.
fn bytes(control: &Control) -> Vec<u8> {
    let mut bytes = vec![0; control.version.block_size() as usize];
    control.store(|offset, value| {
        let offset = offset as usize;
        bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    });
    bytes
}

/// Reads a control block out of bytes.
fn load(bytes: &[u8]) -> Result<Control, ControlError> {
    Control::load(|offset| {
        let offset = offset as usize;
        u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
    })
}

/// Bytes out of hexadecimal digits, with blanks anywhere.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

#[test]
fn the_header_is_this_byte_for_byte() {
    let golden = hex(
        "4550444d 0100e000 00700000 02000000 00a00f00 00120000 04000000 04000000
         02000000 00c00f00 00100000 00000000 0000124e 01000000
         02000000 00d00f00 00100000 00000000 0010124e 01000000
         02000000 00e00f00 00100000 00000000 0020124e 01000000
         02000000 00f00f00 00100000 00000000 0030124e 01000000
         00000000 00000000 00000000 00000000 00000000 00000000
         00000000 00000000 00000000 00000000 00000000 00000000
         00000000 00000000 00000000 00000000 00000000 00000000
         00000000 00000000 00000000 00000000 00000000 00000000",
    );
    assert_eq!(golden.len(), 0xe0);
    assert_eq!(seed_header().encode().as_slice(), golden);
}

#[test]
fn the_control_block_is_this_byte_for_byte() {
    let mut golden = hex(
        "00000000 00000000 0000 0000 01000000 0000000000000000 0000000000000000
         01000000 00000000 68010000 80000000 00000000",
    );
    golden.resize(0xb4, 0);
    golden.extend(hex(&"a0000000".repeat(16)));
    golden.resize(0x134, 0);
    golden.extend(hex("00000000 00000000 00000000 00000000"));
    golden.extend(hex("00900f00 00000000 00000000 00000000"));
    golden.extend(hex("01000000 02000000 00900f00 00700000 04000000"));
    assert_eq!(golden.len(), 0x168);
    assert_eq!(bytes(&seed_control()), golden);
}

#[test]
fn the_legacy_block_ends_where_its_scratchpads_start() {
    let mut legacy = Control {
        num_mws: 1,
        spad_offset: control::LEGACY_SIZE,
        spad_count: 64,
        db_entry_size: 4,
        ..Control::default()
    };
    for (i, data) in legacy.db_data.iter_mut().enumerate().take(4) {
        *data = 1 + i as u32;
    }
    let mut golden = hex(
        "00000000 00000000 0000 0000 00000000 0000000000000000 0000000000000000
         01000000 00000000 34010000 40000000 04000000
         01000000 02000000 03000000 04000000",
    );
    golden.resize(0x134, 0);
    assert_eq!(bytes(&legacy), golden);
    assert_eq!(load(&golden), Ok(legacy));
    assert_eq!(legacy.check(&BARS, CTRL_BAR, DB_BAR, &MW_BARS), Ok(()));
}

#[test]
fn offsets_are_those_that_drivers_know() {
    // ntb_hw_epf.c: NTB_EPF_…
    assert_eq!(
        [
            control::COMMAND,
            control::ARGUMENT,
            control::COMMAND_STATUS,
            control::LINK_STATUS,
            control::ADDR,
            control::SIZE,
            control::MW1_OFFSET,
            control::DB_OFFSET,
        ],
        [0x0, 0x4, 0x8, 0xa, 0x10, 0x18, 0x24, 0xb4]
    );
    // The series: DMA locator.
    assert_eq!(
        [
            control::MW_OFFSET,
            control::MW_SIZE,
            control::DMA_ABI,
            control::DMA_BAR,
            control::DMA_OFFSET,
            control::DMA_SIZE,
            control::DMA_NUM_CHANS,
        ],
        [0x134, 0x144, 0x154, 0x158, 0x15c, 0x160, 0x164]
    );
}

#[test]
fn what_is_stored_is_loaded() {
    assert_eq!(load(&bytes(&seed_control())), Ok(seed_control()));
}

#[test]
fn the_seed_passes_every_check() {
    let control = seed_control();
    assert_eq!(control.check(&BARS, CTRL_BAR, DB_BAR, &MW_BARS), Ok(()));
    let locator = control.dma.unwrap();
    assert_eq!(locator.check(&BARS, &taken()), Ok(()));
    let header = seed_header();
    assert_eq!(
        Header::parse(&header.encode(), &locator, &BARS, 32, &taken()),
        Ok(header)
    );
    assert_eq!(header.irqs(32), Ok(28..32));
}

#[test]
fn the_slice_fills_the_seeds_bar() {
    let slice = slice();
    assert_eq!(slice.window().end(), 0x10_0000);
    assert_eq!(slice.header_window().size, 0x1000);
    assert_eq!(slice.registers_window().unwrap().offset, 0xfa000);
    assert_eq!(slice.desc_window().offset, 0xfc000);
    assert_eq!(slice.desc_window().end(), 0x10_0000);
}

#[test]
fn registers_in_a_bar_of_their_own_take_no_room_in_the_slice() {
    let registers = Window {
        bar: 4,
        offset: 0,
        size: 0x2000,
    };
    let slice = Slice::new(Request {
        bar: 2,
        offset: 0,
        registers: Registers::InBar(registers),
        num_chans: 3,
        desc_size: 0x800,
    })
    .unwrap();
    assert_eq!(slice.window().size, 0x4000);
    assert_eq!(slice.registers_window(), None);
    assert_eq!(slice.header(0).ctrl, registers);
}

#[test]
fn a_slice_that_cannot_be_is_refused() {
    let good = Request {
        bar: 2,
        offset: 0,
        registers: Registers::InSlice { size: 0x1200 },
        num_chans: 4,
        desc_size: 0x1000,
    };
    let refused = |request| Slice::new(request).unwrap_err();
    for num_chans in [0, 9, u32::MAX] {
        assert_eq!(
            refused(Request { num_chans, ..good }),
            SliceError::ChannelCount(num_chans)
        );
    }
    assert_eq!(
        refused(Request {
            offset: 0x800,
            ..good
        }),
        SliceError::Misaligned(0x800)
    );
    assert_eq!(
        refused(Request {
            desc_size: 8,
            ..good
        }),
        SliceError::TooSmall(8)
    );
    let registers = Registers::InSlice { size: 0 };
    assert_eq!(
        refused(Request { registers, ..good }),
        SliceError::TooSmall(0)
    );
    for size in [0xffff_e001, 0xffff_f000, u32::MAX] {
        let registers = Registers::InSlice { size };
        assert_eq!(refused(Request { registers, ..good }), SliceError::TooLarge);
    }
    for desc_size in [0x4000_0000, u32::MAX] {
        assert_eq!(refused(Request { desc_size, ..good }), SliceError::TooLarge);
    }
    let offset = 0xffff_f000;
    assert_eq!(refused(Request { offset, ..good }), SliceError::TooLarge);
}

#[test]
fn a_bad_locator_is_refused_with_its_reason() {
    let good = slice().locator();
    let refused = |locator: Locator| locator.check(&BARS, &taken()).unwrap_err();
    let at = |window| Locator { window, ..good };
    let window = good.window;

    assert_eq!(refused(Locator { abi: 2, ..good }), LocatorError::Abi(2));
    for num_chans in [0, 9, u32::MAX] {
        assert_eq!(
            refused(Locator { num_chans, ..good }),
            LocatorError::ChannelCount(num_chans)
        );
    }
    for bar in [1, 6, u32::MAX] {
        assert_eq!(
            refused(at(Window { bar, ..window })),
            LocatorError::Window(WindowError::NoSuchBar)
        );
    }
    assert_eq!(
        refused(at(Window { size: 0, ..window })),
        LocatorError::Window(WindowError::Empty)
    );
    let offset = window.offset + 4;
    assert_eq!(
        refused(at(Window { offset, ..window })),
        LocatorError::Window(WindowError::Misaligned { align: 0x1000 })
    );
    for size in [0x7001, u32::MAX] {
        assert_eq!(
            refused(at(Window { size, ..window })),
            LocatorError::Window(WindowError::OutOfBar {
                bar_size: 0x10_0000
            })
        );
    }
    assert_eq!(
        refused(at(Window {
            size: 0xdf,
            ..window
        })),
        LocatorError::Size(0xdf)
    );
    assert_eq!(
        refused(at(Window {
            offset: 0xf8000,
            ..window
        })),
        LocatorError::Overlap(taken()[1])
    );
    let in_control_bar = Window {
        bar: 0,
        offset: 0,
        size: 0x7000,
    };
    assert_eq!(
        refused(at(in_control_bar)),
        LocatorError::Overlap(taken()[0])
    );
}

/// The reason for which the seed's header is refused after `spoil`.
fn spoilt(spoil: impl FnOnce(&mut Header)) -> HeaderError {
    let mut header = seed_header();
    spoil(&mut header);
    refused(&header.encode())
}

/// The reason for which these bytes are refused as the seed's header.
fn refused(bytes: &[u8]) -> HeaderError {
    Header::parse(bytes, &slice().locator(), &BARS, 32, &taken()).unwrap_err()
}

#[test]
fn a_bad_header_is_refused_with_its_reason() {
    let good = seed_header().encode();
    let with = |offset: u32, value: &[u8]| {
        let mut bytes = good;
        bytes[offset as usize..][..value.len()].copy_from_slice(value);
        bytes
    };
    assert_eq!(refused(&good[..0xdf]), HeaderError::Truncated(0xdf));
    assert_eq!(refused(&[]), HeaderError::Truncated(0));
    assert_eq!(refused(&[0xff; 0xe0]), HeaderError::Magic(u32::MAX));
    assert_eq!(
        refused(&with(header::at::VERSION, &[2, 0])),
        HeaderError::Version(2)
    );
    for size in [0u16, 0xdf, 0x7001] {
        assert_eq!(
            refused(&with(header::at::HDR_SIZE, &size.to_le_bytes())),
            HeaderError::HeaderSize(size)
        );
    }
    // A size whose low 16 bits alone are right.
    assert_eq!(
        spoilt(|h| h.total_size = 0x1_7000),
        HeaderError::TotalSize {
            header: 0x1_7000,
            locator: 0x7000
        }
    );
    for count in [0, 3, 5, 9, u32::MAX] {
        assert_eq!(
            refused(&with(header::at::NUM_CHANS, &count.to_le_bytes())),
            HeaderError::ChannelCount(count)
        );
    }
    assert_eq!(
        spoilt(|h| h.irq_count = u32::MAX),
        HeaderError::IrqCount {
            irqs: u32::MAX,
            chans: 4
        }
    );
}

#[test]
fn vectors_past_the_functions_own_are_refused() {
    let parse = |vectors| {
        let bytes = seed_header().encode();
        Header::parse(&bytes, &slice().locator(), &BARS, vectors, &taken())
    };
    let least = irq::MIN_VECTORS + 4;
    assert!(parse(least).is_ok());
    for vectors in [0, 1, 4, least - 1] {
        assert_eq!(
            parse(vectors),
            Err(HeaderError::Vectors { irqs: 4, vectors })
        );
    }
}

#[test]
fn windows_that_lie_wrongly_are_refused() {
    let descs = Part::Descriptors;
    let bad = |part, error| HeaderError::Window { part, error };
    assert_eq!(
        spoilt(|h| h.ctrl.bar = 7),
        bad(Part::Registers, WindowError::NoSuchBar)
    );
    assert_eq!(
        spoilt(|h| h.ctrl.size = 0),
        bad(Part::Registers, WindowError::Empty)
    );
    assert_eq!(
        spoilt(|h| h.chans[3].desc.size = u32::MAX),
        bad(
            descs(3),
            WindowError::OutOfBar {
                bar_size: 0x10_0000
            }
        )
    );
    assert_eq!(
        spoilt(|h| h.chans[1].desc.offset += 8),
        bad(descs(1), WindowError::Misaligned { align: 0x1000 })
    );
    assert_eq!(
        spoilt(|h| h.chans[0].desc.offset = 0),
        HeaderError::OutOfSlice(descs(0))
    );
    assert_eq!(
        spoilt(|h| h.ctrl.offset -= 0x1000),
        HeaderError::OverlapsHeader(Part::Registers)
    );
    assert_eq!(
        spoilt(|h| h.chans[2].desc.offset = h.chans[0].desc.offset),
        HeaderError::Overlap(descs(0), descs(2))
    );
    assert_eq!(
        spoilt(|h| h.chans[0].desc.offset = h.ctrl.offset),
        HeaderError::Overlap(Part::Registers, descs(0))
    );
    assert_eq!(
        spoilt(|h| h.ctrl = Window {
            bar: 0,
            offset: 0,
            size: 0x2000
        }),
        HeaderError::OverlapsNtb {
            part: Part::Registers,
            other: taken()[0]
        }
    );
    assert_eq!(
        spoilt(|h| h.chans[1].desc_phys_addr = u64::MAX - 7),
        HeaderError::DescAddress {
            index: 1,
            address: u64::MAX - 7
        }
    );
    assert_eq!(
        spoilt(|h| h.chans[1].desc_phys_addr += 4),
        HeaderError::DescAddress {
            index: 1,
            address: 0x1_4e12_1004
        }
    );
    assert_eq!(
        spoilt(|h| h.chans[3].desc.size = 24),
        HeaderError::DescSize { index: 3, size: 24 }
    );
}

#[test]
fn a_channels_routing_stands_where_the_published_layout_has_padding() {
    let parse = |bytes: &[u8]| Header::parse(bytes, &slice().locator(), &BARS, 32, &taken());
    let mut header = seed_header();
    for routing in [Routing::Default, Routing::Local, Routing::Remote] {
        header.chans[2].routing = routing;
        assert_eq!(parse(&header.encode()), Ok(header));
        assert_eq!(
            Routing::from_name(routing.to_string().as_bytes()),
            Some(routing)
        );
    }
    let place = 0x20 + 2 * 0x18 + 0x0c;
    let mut bytes = seed_header().encode();
    assert_eq!(bytes[place..place + 4], [0; 4]);
    bytes[place] = 3;
    let (index, routing) = (2, 3);
    assert_eq!(parse(&bytes), Err(HeaderError::Routing { index, routing }));
    assert_eq!(Routing::from_name(b"Remote"), None);
}

#[test]
fn channels_that_are_not_in_use_do_not_count() {
    let mut bytes = seed_header().encode();
    bytes[0x20 + 4 * 0x18..].fill(0xff);
    let parsed = Header::parse(&bytes, &slice().locator(), &BARS, 32, &taken());
    assert_eq!(parsed, Ok(seed_header()));
}

#[test]
fn a_bad_control_block_is_refused_with_its_reason() {
    let check = |control: Control| {
        control
            .check(&BARS, CTRL_BAR, DB_BAR, &MW_BARS)
            .unwrap_err()
    };
    let good = seed_control();
    let mut block = bytes(&good);
    block[0xc] = 2;
    assert_eq!(load(&block), Err(ControlError::Version(2)));

    for num_mws in [2, 5, u32::MAX] {
        assert_eq!(
            check(Control { num_mws, ..good }),
            ControlError::MwCount(num_mws)
        );
    }
    assert_eq!(
        check(Control {
            spad_offset: 0x134,
            ..good
        }),
        ControlError::SpadsInBlock(0x134)
    );
    assert_eq!(
        check(Control {
            spad_count: u32::MAX,
            ..good
        }),
        ControlError::SpadCount(u32::MAX)
    );
    assert_eq!(
        check(Control {
            spad_offset: 0xf_fffc,
            ..good
        }),
        ControlError::Spads(WindowError::OutOfBar {
            bar_size: 0x10_0000
        })
    );
    let mut control = good;
    control.db_offset[5] = 0xfd;
    assert_eq!(check(control), ControlError::Doorbell(5));
    assert_eq!(
        check(Control {
            db_entry_size: u32::MAX,
            ..good
        }),
        ControlError::Doorbell(2)
    );
    let mut control = good;
    control.mws[0].size = 0x10_0001;
    let error = WindowError::OutOfBar {
        bar_size: 0x10_0000,
    };
    assert_eq!(check(control), ControlError::Mw { index: 0, error });
}

#[test]
fn doorbell_slots_are_those_that_the_block_names() {
    // The seed's: 16 at the eDMA's doorbell, each with data 0.
    assert_eq!(seed_control().slots(), 16);
    // Polled: a word each, data that is not 0.
    let mut polled = Control {
        db_entry_size: 4,
        ..Control::default()
    };
    for (number, data) in (1..=5).zip(&mut polled.db_data) {
        *data = number;
    }
    assert_eq!(polled.slots(), 5);
    assert_eq!(Control::default().slots(), 0);
    let full = Control {
        db_offset: [0x40; MAX_DB_COUNT as usize],
        ..Control::default()
    };
    assert_eq!(full.slots(), MAX_DB_COUNT);
}

#[test]
fn commands_statuses_and_states_are_what_they_say() {
    for raw in 1..=6 {
        assert_eq!(Command::from_raw(raw).unwrap() as u32, raw);
    }
    let left =
        [1, 2, 3, 4, 5, 6].map(|raw| Command::from_raw(raw).unwrap().when_unanswered() as u32);
    assert_eq!(left, [2, 2, 4, 4, 6, 6]);
    assert_eq!(Command::from_raw(0), None);
    assert_eq!(Command::from_raw(7), None);
    assert_eq!(Status::from_raw(1), Some(Status::Ok));
    assert_eq!(Status::from_raw(2), Some(Status::Error));
    assert_eq!(Status::from_raw(0), None);
    for raw in 0..5 {
        assert_eq!(State::from_raw(raw).unwrap() as u32, raw);
    }
    assert_eq!(State::from_raw(5), None);
    // As the published client prints them.
    let names = [0, 1, 2, 3, 4].map(|raw| State::from_raw(raw).unwrap().name());
    assert_eq!(names, ["init", "ready", "xfer-done", "pass", "fail"]);
    assert_eq!(ep_dma::pattern(0x1ff), 0xff);
    assert_eq!(ep_dma::doorbell(1), Some(2));
    assert_eq!(ep_dma::doorbell(64), None);
}
