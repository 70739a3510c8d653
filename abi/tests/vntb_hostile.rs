// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whatever a peer writes, the parsers do not panic, and what they accept is safe to use.

use abi::vntb::control::{Control, V1_SIZE};
use abi::vntb::header::{self, Header};
use abi::vntb::locator::Locator;
use abi::vntb::slice::{Registers, Request, Slice};
use abi::vntb::window::{BarSizes, Window};
use abi::vntb::{irq, MAX_CHANNELS};
use proptest::prelude::*;

fn bars() -> impl Strategy<Value = BarSizes> {
    let size = prop_oneof![
        Just(0u64),
        (8u32..32).prop_map(|shift| 1u64 << shift),
        any::<u64>()
    ];
    proptest::array::uniform6(size)
}

/// A window that is more often usable than chance would have it.
fn window() -> impl Strategy<Value = Window> {
    let number = prop_oneof![(0u32..0x200).prop_map(|page| page << 12), any::<u32>()];
    let bar = prop_oneof![9 => 0u32..6, 1 => any::<u32>()];
    (bar, number.clone(), number).prop_map(|(bar, offset, size)| Window { bar, offset, size })
}

/// Every word of what was accepted lies in its BAR, and no two windows share one.
fn assert_safe(header: &Header, locator: &Locator, bars: &BarSizes, taken: &[Window]) {
    let own = Window {
        size: header::SIZE,
        ..locator.window
    };
    let mut windows = vec![own, header.ctrl];
    windows.extend(header.channels().iter().map(|chan| chan.desc));
    for (i, window) in windows.iter().enumerate() {
        assert!(window.size > 0 && window.offset % 0x1000 == 0);
        assert!(
            u128::from(window.offset) + u128::from(window.size)
                <= u128::from(bars[window.bar as usize])
        );
        let others = windows[..i].iter().chain(taken);
        for other in others {
            let apart = window.bar != other.bar
                || other.size == 0
                || u64::from(window.offset) >= u64::from(other.offset) + u64::from(other.size)
                || u64::from(other.offset) >= u64::from(window.offset) + u64::from(window.size);
            assert!(apart, "{window:?} and {other:?}");
        }
    }
    assert!((1..=MAX_CHANNELS).contains(&header.channels().len()));
    for chan in header.channels() {
        assert!(chan
            .desc_phys_addr
            .checked_add(u64::from(chan.desc.size))
            .is_some());
    }
}

/// A slice as an honest EP makes it, and BARs that it fits into.
fn honest() -> impl Strategy<Value = (Slice, BarSizes, u64)> {
    let counts = (1u32..=8, 0u32..6, 0u32..0x100, 1u32..0x4000, 48u32..0x8000);
    (counts, any::<u32>()).prop_map(|((num_chans, bar, page, registers, desc_size), high)| {
        let slice = Slice::new(Request {
            bar,
            offset: page << 12,
            registers: Registers::InSlice { size: registers },
            num_chans,
            desc_size,
        })
        .unwrap();
        let mut bars = BarSizes::default();
        bars[bar as usize] = slice.window().end().next_power_of_two();
        (slice, bars, u64::from(high) << 12)
    })
}

proptest! {
    #[test]
    fn any_bytes_are_a_header_or_an_error(
        bytes in proptest::collection::vec(any::<u8>(), 0..0x200),
        window in window(), abi in 0u32..3, num_chans in 0u32..10,
        bars in bars(), vectors: u32, taken in proptest::collection::vec(window(), 0..4),
    ) {
        let locator = Locator { abi, window, num_chans };
        if locator.check(&bars, &taken).is_ok() {
            if let Ok(header) = Header::parse(&bytes, &locator, &bars, vectors, &taken) {
                assert_safe(&header, &locator, &bars, &taken);
            }
        }
        // Nothing relies on the locator's own check either.
        let _ = Header::parse(&bytes, &locator, &bars, vectors, &taken);
    }

    #[test]
    fn a_header_with_hostile_fields_is_safe_or_refused(
        (slice, bars, phys) in honest(), vectors in 0u32..40,
        words in proptest::collection::vec((2usize..56, any::<u32>(), any::<bool>()), 0..4),
        taken in proptest::collection::vec(window(), 0..2),
    ) {
        let locator = slice.locator();
        let mut bytes = slice.header(phys).encode();
        for (index, value, page) in words {
            let value = if page { value & 0x1f_f000 } else { value };
            bytes[index * 4..][..4].copy_from_slice(&value.to_le_bytes());
        }
        prop_assume!(locator.check(&bars, &taken).is_ok());
        if let Ok(header) = Header::parse(&bytes, &locator, &bars, vectors, &taken) {
            assert_safe(&header, &locator, &bars, &taken);
            prop_assert!(header.irqs(vectors).unwrap().start >= irq::MIN_VECTORS);
        }
    }

    #[test]
    fn what_an_ep_builds_an_rc_reads((slice, bars, phys) in honest()) {
        let locator = slice.locator();
        prop_assert_eq!(locator.check(&bars, &[]), Ok(()));
        let header = slice.header(phys);
        prop_assert_eq!(Header::parse(&header.encode(), &locator, &bars, 32, &[]), Ok(header));
    }

    #[test]
    fn any_bytes_are_a_control_block_or_an_error(
        mut words in proptest::collection::vec(any::<u32>(), V1_SIZE as usize / 4),
        version in 0u32..3, bars in bars(), ctrl_bar in 0u32..8, db_bar in 0u32..8,
        mw_bars in proptest::collection::vec(0u32..8, 0..6),
    ) {
        words[3] = version;
        if let Ok(control) = Control::load(|offset| words[offset as usize / 4]) {
            let usable = control.check(&bars, ctrl_bar, db_bar, &mw_bars).is_ok();
            if usable && control.spad_count != 0 {
                let end = u128::from(control.spad_offset) + 8 * u128::from(control.spad_count);
                prop_assert!(end <= u128::from(bars[ctrl_bar as usize]));
            }
            for slot in 0..64 {
                let _ = control.doorbell(slot);
            }
            let mut again = words.clone();
            control.store(|offset, value| again[offset as usize / 4] = value);
            prop_assert_eq!(Control::load(|offset| again[offset as usize / 4]), Ok(control));
        }
    }
}
