// SPDX-License-Identifier: GPL-2.0-or-later
use super::*;
use crate::test_support::{memory, message, set, window};
use nix::sys::memfd::{memfd_create, MFdFlags};
use proptest::prelude::*;
use std::fs::File;

const PAGE: u64 = PAGE_SIZE;

fn map(id: u32, size: u64, fd_offset: u64) -> Vec<u8> {
    let map = Map {
        id,
        size,
        fd_offset,
    };
    map.to_bytes().to_vec()
}

fn unmap(id: u32) -> Vec<u8> {
    Unmap { id }.to_bytes().to_vec()
}

/// A connection that knows map 7: eight pages, of which the first is the file's second.
fn state() -> State {
    let mut state = State::default();
    assert_eq!(
        state.receive(&map(7, 8 * PAGE, PAGE), vec![memory(9)]),
        Ok(None)
    );
    state
}

fn range(bar: u32, page: u64, pages: u64) -> Range {
    Range::new(bar, page * PAGE, pages * PAGE).unwrap()
}

#[test]
fn a_set_says_what_to_map_and_what_to_void() {
    let mut state = state();
    let first = [window(0, 0, 2, 7, 0), window(2, 4, 2, 7, 4)];
    let change = state.receive(&set(1, &first), vec![]).unwrap().unwrap();
    assert_eq!(change.seq, 1);
    assert_eq!(change.void, []);
    assert_eq!(change.wanted, [range(0, 0, 2), range(2, 4, 2)]);
    assert_eq!(change.map.len(), 2);
    let (_, start) = state.memory(&change.map[1]).unwrap();
    assert_eq!(start, 5 * PAGE, "the map starts at the file's second page");

    // The first one shrinks to where it was, the second is retargeted and grows.
    let second = [window(0, 0, 1, 7, 0), window(2, 4, 3, 7, 1)];
    let change = state.receive(&set(2, &second), vec![]).unwrap().unwrap();
    assert_eq!(change.void, [range(0, 1, 1)]);
    assert_eq!(change.wanted, [range(0, 0, 1), range(2, 4, 3)]);

    // Nothing differs.
    let change = state.receive(&set(3, &second), vec![]).unwrap().unwrap();
    assert_eq!((change.void.len(), change.map.len()), (0, 0));

    let change = state.receive(&set(4, &[]), vec![]).unwrap().unwrap();
    assert_eq!(change.void, [range(0, 0, 1), range(2, 4, 3)]);
    assert_eq!(change.wanted, []);
    assert_eq!(state.receive(&unmap(7), vec![]), Ok(None));
}

#[test]
fn what_is_split_differently_stays_in_place() {
    let mut state = state();
    state
        .receive(&set(1, &[window(0, 0, 4, 7, 0)]), vec![])
        .unwrap();
    let split = [window(0, 0, 1, 7, 0), window(0, 1, 3, 7, 1)];
    let change = state.receive(&set(2, &split), vec![]).unwrap().unwrap();
    assert_eq!(change.void, []);
    assert_eq!(change.wanted, [range(0, 0, 4)]);
}

#[test]
fn memory_that_may_only_be_read_keeps_trapping() {
    let mut state = state();
    let mut read_only = window(0, 0, 1, 7, 0);
    read_only.flags = 0;
    let change = state
        .receive(&set(1, &[read_only]), vec![])
        .unwrap()
        .unwrap();
    assert_eq!((change.map, change.wanted), (vec![], vec![]));
}

#[test]
fn windows_outside_their_map_or_bar_are_refused() {
    let far = |mut window: Window, change: fn(&mut Window)| {
        change(&mut window);
        window
    };
    let good = window(0, 0, 1, 7, 0);
    for bad in [
        window(0, 0, 1, 8, 0),
        window(6, 0, 1, 7, 0),
        window(0, 0, 0, 7, 0),
        window(0, 0, 9, 7, 0),
        window(0, 0, 1, 7, 8),
        far(good, |window| window.offset = 1),
        far(good, |window| window.len = PAGE - 1),
        far(good, |window| window.map_offset = 1),
        far(good, |window| window.map_offset = u64::MAX - PAGE + 1),
        far(good, |window| window.offset = u64::MAX - PAGE + 1),
    ] {
        assert!(state().receive(&set(1, &[bad]), vec![]).is_err(), "{bad:?}");
    }
    assert!(state().receive(&set(1, &[good]), vec![]).is_ok());
}

#[test]
fn sets_are_sorted_and_disjoint_and_in_order() {
    for bad in [
        [window(0, 0, 2, 7, 0), window(0, 1, 2, 7, 0)],
        [window(0, 2, 1, 7, 0), window(0, 0, 1, 7, 0)],
        [window(1, 0, 1, 7, 0), window(0, 4, 1, 7, 0)],
        [window(0, 0, 1, 7, 0), window(0, 0, 1, 7, 0)],
    ] {
        assert!(state().receive(&set(1, &bad), vec![]).is_err(), "{bad:?}");
    }
    for seq in [0, 2, u64::MAX] {
        assert!(state().receive(&set(seq, &[]), vec![]).is_err());
    }
    // A read-only window takes its place in the order all the same.
    let mut read_only = window(0, 0, 2, 7, 0);
    read_only.flags = 0;
    let bad = [read_only, window(0, 1, 1, 7, 0)];
    assert!(state().receive(&set(1, &bad), vec![]).is_err());
}

#[test]
fn maps_come_once_and_leave_when_no_window_needs_them() {
    let mut state = state();
    assert!(state.receive(&map(7, PAGE, 0), vec![memory(1)]).is_err());
    let mut state = self::state();
    state
        .receive(&set(1, &[window(0, 0, 1, 7, 0)]), vec![])
        .unwrap();
    assert!(state.receive(&unmap(7), vec![]).is_err());
    assert!(self::state().receive(&unmap(8), vec![]).is_err());
}

#[test]
fn a_map_has_one_file_and_nothing_else_has_any() {
    let mut state = state();
    assert!(state.receive(&map(8, PAGE, 0), vec![]).is_err());
    assert!(self::state()
        .receive(&map(8, PAGE, 0), vec![memory(1), memory(1)])
        .is_err());
    assert!(self::state()
        .receive(&set(1, &[]), vec![memory(1)])
        .is_err());
    assert!(self::state().receive(&unmap(7), vec![memory(1)]).is_err());
}

#[test]
fn files_whose_pages_could_go_away_are_refused() {
    let receive = |size, offset, file| State::default().receive(&map(1, size, offset), vec![file]);
    assert!(receive(PAGE, 0, memory(1)).is_ok());
    assert!(receive(2 * PAGE, 0, memory(1)).is_err(), "too short");
    assert!(receive(PAGE, PAGE, memory(1)).is_err(), "too short");
    assert!(receive(0, 0, memory(1)).is_err());
    assert!(receive(PAGE + 1, 0, memory(2)).is_err());
    assert!(receive(PAGE, 1, memory(2)).is_err());
    assert!(receive(PAGE, u64::MAX - PAGE + 1, memory(1)).is_err());

    let unsealed = memfd_create(c"unsealed", MFdFlags::MFD_ALLOW_SEALING).unwrap();
    let unsealed = File::from(unsealed);
    unsealed.set_len(PAGE).unwrap();
    assert!(receive(PAGE, 0, unsealed.into())
        .unwrap_err()
        .contains("shrink"));
    let disk = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    disk.set_len(PAGE).unwrap();
    assert!(receive(PAGE, 0, disk.into()).is_err());
    let (pipe, _other_end) = nix::unistd::pipe().unwrap();
    assert!(receive(PAGE, 0, pipe).is_err());
}

#[test]
fn there_is_an_end_to_maps() {
    let mut state = State::default();
    for id in 0..MAX_MAPS as u32 {
        assert_eq!(state.receive(&map(id, PAGE, 0), vec![memory(1)]), Ok(None));
    }
    let more = map(MAX_MAPS as u32, PAGE, 0);
    assert!(state.receive(&more, vec![memory(1)]).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_an_answer_and_no_panic(
        kind in prop_oneof![Just(0x11u32), Just(0x12), Just(0x13), any::<u32>()],
        rest in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let _ = state().receive(&message(kind, &rest), vec![]);
        let _ = state().receive(&rest, vec![memory(1)]);
    }

    /// Whatever order sets come in: applied one after the other, each leaves exactly its own windows.
    #[test]
    fn changes_add_up(sets in prop::collection::vec(prop::collection::vec((0u64..3, 1u64..3, 0u64..6), 0..5), 1..6)) {
        let mut state = state();
        let mut shown = std::collections::BTreeMap::new();
        for (index, steps) in sets.iter().enumerate() {
            let (mut at, mut windows) = (0, Vec::new());
            for &(gap, len, target) in steps {
                windows.push(window(0, at + gap, len, 7, target));
                at += gap + len;
            }
            let change = state.receive(&set(index as u64 + 1, &windows), vec![]).unwrap().unwrap();
            for void in &change.void {
                for page in void.start() / PAGE..void.end() / PAGE {
                    shown.remove(&page);
                }
            }
            for placed in &change.map {
                let (_, start) = state.memory(placed).unwrap();
                for page in 0..placed.range.len() / PAGE {
                    shown.insert(placed.range.start() / PAGE + page, start / PAGE + page);
                }
            }
            let mut expected = std::collections::BTreeMap::new();
            for window in &windows {
                for page in 0..window.len / PAGE {
                    let file_page = 1 + window.map_offset / PAGE + page;
                    expected.insert(window.offset / PAGE + page, file_page);
                }
            }
            prop_assert_eq!(&shown, &expected);
        }
    }
}
