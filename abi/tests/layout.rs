// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the layouts promise: no overlaps, alignments that the drivers rely on, and definitions for
//! the device tree that say the same.

use abi::field::Field;
use abi::{dbi, edma, iatu, pci, spider};

#[test]
fn a_field_gets_and_sets_its_own_bits_only() {
    let field = Field::bits(10, 8);
    assert_eq!(field.mask(), 0x700);
    assert_eq!(field.get(0xffff_fbff), 3);
    assert_eq!(field.set(0xffff_ffff, 2), 0xffff_faff);
    assert_eq!(field.place(0xff), 0x700, "a value too large is cut");
    assert_eq!(Field::bits(31, 0).mask(), u32::MAX);
    assert_eq!(Field::bit(31).place(1), 0x8000_0000);
}

#[test]
fn windows_lie_in_the_bar_in_order_without_overlap() {
    let mut end = 0;
    for window in spider::WINDOWS {
        assert!(
            window.offset >= end,
            "{} overlaps its neighbour",
            window.name
        );
        assert_eq!(window.offset % 0x100, 0, "{}", window.name);
        end = window.offset + window.size;
    }
    assert!(end <= spider::REGISTERS_SIZE);
    assert!(spider::REGISTERS_SIZE.is_power_of_two() && spider::WINDOW_SIZE.is_power_of_two());
}

#[test]
fn the_dma_window_is_page_aligned_and_its_doorbell_fits_a_256_byte_bar() {
    assert_eq!(spider::DMA.offset % 0x1000, 0);
    const { assert!(edma::DOORBELL_OFFSET + 4 <= dbi::FIXED_BAR_SIZE) };
}

#[test]
fn the_dma_window_holds_all_channels() {
    let last = edma::MAX_CHANNELS as u32 - 1;
    let end = edma::READ.channels + last * edma::CHANNEL_STRIDE + edma::channel::SIZE;
    assert!(end <= spider::DMA.size);
}

#[test]
fn the_atu_window_holds_all_regions() {
    assert_eq!(iatu::REGIONS as u32 * iatu::REGION_STRIDE, spider::ATU.size);
}

#[test]
fn a_window_locates_only_its_own_bytes() {
    assert_eq!(spider::APP.locate(spider::APP.offset), Some(0));
    assert_eq!(spider::APP.locate(spider::APP.offset - 1), None);
    assert_eq!(
        spider::APP.locate(spider::APP.offset + spider::APP.size),
        None
    );
    assert_eq!(spider::APP.locate(u32::MAX), None);
}

#[test]
fn capabilities_stay_clear_of_the_header_and_of_each_other() {
    let sizes = [8, 0x10, pci::express::SIZE];
    let mut end = 0x40;
    for ((_, offset), size) in dbi::CAPABILITIES.into_iter().zip(sizes) {
        assert!(offset >= end && offset % 4 == 0);
        end = offset + size;
    }
    assert!(end <= pci::extended::FIRST);
}

#[test]
fn the_core_version_spells_what_the_driver_compares_with() {
    assert_eq!(dbi::VERSION_520A, 0x3532_302a);
}

#[test]
fn the_device_tree_gets_each_name_once() {
    let defines = spider::dt_defines();
    assert!(defines.contains(&("SPIDER_DMA_OFFSET", 0x5000)));
    let mut names = defines.map(|(name, _)| name).to_vec();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), defines.len());
}
