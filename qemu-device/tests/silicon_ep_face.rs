// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The PCI device in the EP guest: identity, sizing, and the addresses that it reports.

use abi::spider;
use qemu_device::ep_face::{EpBars, EpFace};

fn read(face: &EpFace, offset: u64) -> u32 {
    let mut bytes = [0; 4];
    face.config_read(offset, &mut bytes);
    u32::from_le_bytes(bytes)
}

fn write(face: &mut EpFace, offset: u64, value: u32) {
    face.config_write(offset, &value.to_le_bytes());
}

#[test]
fn identity_and_capabilities() {
    let face = EpFace::new();
    assert_eq!(read(&face, 0x00), 0x779f_1234);
    assert_eq!(read(&face, 0x08), 0x0880_0001);
    assert_eq!(read(&face, 0x2c), 0x779f_1234);
    assert_eq!(
        read(&face, 0x0c) >> 16 & 0xff,
        0,
        "header type 0, one function"
    );
    assert_eq!(read(&face, 0x3c), 0x0100, "INTA");
    assert_ne!(read(&face, 0x04) & 1 << 20, 0);
    assert_eq!(read(&face, 0x34), 0x40);
    assert_eq!(
        read(&face, 0x40),
        0x0080_0005,
        "MSI, the last one; 64-bit, one vector"
    );
}

#[test]
fn bars_size_themselves() {
    let mut face = EpFace::new();
    for (bar, expected) in [
        (0, !(spider::REGISTERS_SIZE - 1)),
        (1, 0),
        // Prefetchable: sysfs maps it write-combining as well.
        (2, !(spider::WINDOW_SIZE - 1) | 8),
        (3, 0),
        (4, 0),
        (5, 0),
        (8, 0),
    ] {
        write(&mut face, 0x10 + 4 * bar, u32::MAX);
        assert_eq!(read(&face, 0x10 + 4 * bar), expected, "{bar}");
    }
}

#[test]
fn addresses_are_reported_while_memory_is_enabled() {
    let mut face = EpFace::new();
    write(&mut face, 0x10, 0x1000_8000);
    write(&mut face, 0x18, 0x1040_0000);
    assert_eq!(read(&face, 0x18), 0x1040_0008);
    assert_eq!(face.bars(), EpBars::default());
    face.config_write(0x04, &[0x02]);
    let bars = EpBars {
        registers: Some(0x1000_8000),
        window: Some(0x1040_0000),
    };
    assert_eq!(face.bars(), bars);
    assert_eq!(face.inspect()["registers"], "0x10008000");
    face.reset();
    assert_eq!(face.bars(), EpBars::default());
    assert_eq!(read(&face, 0x10), 0);
}

#[test]
fn regions_and_interrupts() {
    let sizes: Vec<_> = (0..10).map(EpFace::region_size).collect();
    let expected = [0x8000, 0, 0x40_0000, 0, 0, 0, 0, 256, 0].map(Some);
    assert_eq!(sizes[..9], expected);
    assert_eq!(sizes[9], None);
    let irqs: Vec<_> = (0..6).map(EpFace::irq_count).collect();
    assert_eq!(irqs, [Some(1), Some(1), Some(0), Some(0), Some(0), None]);
}

#[test]
fn the_msi_grant_is_the_guests_but_the_offer_is_not() {
    let mut face = EpFace::new();
    write(&mut face, 0x40, u32::MAX);
    assert_eq!(read(&face, 0x40), 0x00f1_0005);
    write(&mut face, 0x100, 0);
    assert_eq!(
        read(&face, 0x100),
        u32::MAX,
        "there is no extended configuration space"
    );
}
