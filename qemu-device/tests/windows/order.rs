// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Windows follow what the guests do, and no guest gets ahead of them.

use std::io::BufRead;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use abi::windows::{MAX_WINDOWS, SIDE_EP, SIDE_RC};
use abi::{dbi, edma, pci, spider};
use serde_json::{json, Value};

use crate::guest::{eventually, memory, Guest};
use crate::library::Library;
use crate::pair::{Pair, RAM, RAM_SIZE};

const WINDOW_BAR: u32 = spider::WINDOW_BAR as u32;
const SIZE: u64 = spider::WINDOW_SIZE as u64;
const MSI_PAGE: u64 = crate::pair::MSI as u64 - RAM;
const SLOW: Duration = Duration::from_millis(150);

/// The EP's windows when all of the outbound window leads to the start of the RC's RAM.
fn all() -> Vec<(u32, u64, u64, u64)> {
    let after = MSI_PAGE + 0x1000;
    vec![
        (WINDOW_BAR, 0, MSI_PAGE, 0),
        (WINDOW_BAR, after, SIZE - after, after),
    ]
}

fn start() -> (Pair, Guest, Library, Library) {
    let (pair, rc) = Pair::running();
    let (ep_library, rc_library) = (Library::join(&pair, SIDE_EP), Library::join(&pair, SIDE_RC));
    (pair, rc, ep_library, rc_library)
}

#[test]
fn a_window_and_the_trap_reach_the_same_byte() {
    let (mut pair, mut rc, ep_library, rc_library) = start();
    assert_eq!(ep_library.windows(), all());
    assert_eq!(rc_library.windows(), [(0, 0, 0x10_0000, 0)]);
    // The EP writes by message, then natively; then it reads both the other way round.
    pair.ep.post(WINDOW_BAR, 0x1234, b"message");
    pair.ep.fence();
    let native = ep_library.state().read(WINDOW_BAR, 0x1234);
    assert_eq!(native.as_ref(), Some(b"message"));
    ep_library
        .state()
        .write(WINDOW_BAR, 0x2_0000, b"native")
        .unwrap();
    assert_eq!(pair.ep.read(WINDOW_BAR, 0x2_0000, 6), b"native");
    rc.post(0, 0xf_fff0, b"message");
    rc.fence();
    assert_eq!(
        rc_library.state().read(0, 0xf_fff0).as_ref(),
        Some(b"message")
    );
    rc_library.state().write(0, 0, b"native").unwrap();
    assert_eq!(rc.read(0, 0, 6), b"native");
    // Each in the peer's RAM, not in its own.
    let mut byte = [0; 6];
    nix::sys::uio::pread(&pair.ep_ram, &mut byte, 0).unwrap();
    assert_eq!(&byte, b"native");
    nix::sys::uio::pread(&pair.rc_ram, &mut byte, 0x2_0000).unwrap();
    assert_eq!(&byte, b"native");
    assert_eq!(
        ep_library.state().read::<4>(WINDOW_BAR, MSI_PAGE),
        None,
        "the MSI traps"
    );
}

#[test]
fn the_drivers_poll_is_the_fence() {
    let (mut pair, _rc, ep_library, _rc_library) = start();
    ep_library.state().delay = SLOW;
    for page in 1..4 {
        let (target, before) = (RAM + page * 0x1000, ep_library.state().sets);
        pair.outbound(0, 0, target, 0x2000);
        assert_eq!(pair.poll(0), 1 << 31);
        // Not a moment later: the answer to the poll comes after the library has followed.
        assert!(ep_library.state().acked.is_some());
        assert_eq!(
            ep_library.windows(),
            [(WINDOW_BAR, 0, 0x2000, page * 0x1000)]
        );
        let sets = ep_library.state().sets - before;
        assert!(
            sets <= 3,
            "{sets} sets: base or limit, and target of an enabled region"
        );
    }
    pair.close(0);
    assert_eq!(pair.poll(0), 0);
    assert_eq!(ep_library.windows(), []);
}

#[test]
fn a_region_is_told_of_when_it_is_enabled() {
    let (mut pair, _rc, ep_library, rc_library) = start();
    pair.close(0);
    pair.ep.fence();
    let before = (ep_library.state().sets, rc_library.state().sets);
    pair.outbound(5, 0x4000, RAM + 0x8000, 0x1000);
    pair.ep.fence();
    assert_eq!(ep_library.windows(), [(WINDOW_BAR, 0x4000, 0x1000, 0x8000)]);
    assert_eq!(
        ep_library.state().sets,
        before.0 + 1,
        "one set for five writes"
    );
    assert_eq!(
        rc_library.state().sets,
        before.1,
        "the other side's is as it was"
    );
    // Nor does what has nothing to do with addresses bring any.
    for _ in 0..100 {
        pair.register(spider::DMA, edma::WRITE.doorbell, 0);
        pair.register(spider::DBI, dbi::MISC_CONTROL_1, 1);
        pair.outbound(5, 0x4000, RAM + 0x8000, 0x1000);
    }
    pair.ep.fence();
    assert_eq!(ep_library.state().sets, before.0 + 1);
}

#[test]
fn memory_is_void_before_an_unmap_is_answered() {
    let (pair, mut rc, ep_library, rc_library) = start();
    ep_library.state().delay = SLOW;
    let begin = Instant::now();
    rc.unmap(RAM, RAM_SIZE);
    assert_eq!(ep_library.windows(), []);
    assert!(begin.elapsed() >= SLOW, "the answer waits for the library");
    eventually("the file is given back", || ep_library.state().maps() == 0);
    assert_eq!(
        rc_library.windows().len(),
        1,
        "the EP's memory is still there"
    );
    // Two backends, the second of them in the middle of its file; and a hole.
    let other = memory(0x10_0000);
    rc.map(RAM, 0x4000, Some((&pair.rc_ram, 0x1000)));
    rc.map(RAM + 0x6000, 0x2000, Some((&other, 0x8000)));
    let expected = [
        (WINDOW_BAR, 0, 0x4000, 0x1000),
        (WINDOW_BAR, 0x6000, 0x2000, 0x8000),
    ];
    assert_eq!(ep_library.windows(), expected);
    // What QEMU makes known without a file, such as the windows that a library has added, is none.
    let sets = ep_library.state().sets;
    rc.map(RAM + 0x10_0000, 0x1000, None);
    rc.unmap(RAM + 0x10_0000, 0x1000);
    assert_eq!(ep_library.state().sets, sets);
}

/// Memory as an IOMMU maps it: page by page, and each at another place than in the file.
#[test]
fn memory_in_pieces_is_windows_as_far_as_there_can_be_so_many() {
    let (mut pair, mut rc, ep_library, _rc_library) = start();
    rc.unmap(RAM, RAM_SIZE);
    let page = |n: u64| (RAM + n * 0x1000, (n * 7 % 128) * 0x1000);
    let pages = MAX_WINDOWS as u64 + 20;
    for n in 0..pages {
        let (address, offset) = page(n);
        rc.map(address, 0x1000, Some((&pair.rc_ram, offset)));
    }
    let windows = ep_library.windows();
    assert_eq!(windows.len(), MAX_WINDOWS);
    for n in 0..pages {
        let (_, offset) = page(n);
        let wanted = n.to_le_bytes();
        nix::sys::uio::pwrite(&pair.rc_ram, &wanted, offset as i64 + 8).unwrap();
        let at = n * 0x1000 + 8;
        assert_eq!(pair.ep.read(WINDOW_BAR, at, 8), wanted, "by message");
        if n < MAX_WINDOWS as u64 {
            assert_eq!(ep_library.state().read(WINDOW_BAR, at), Some(wanted));
        }
    }
    let full = pair.inspect("windows.ep.full_sets");
    assert!(full.as_u64().unwrap() > 0, "{full}");
    // A page is gone for both before the unmap is answered; then there is room for one more.
    rc.unmap(page(3).0, 0x1000);
    assert_eq!(ep_library.state().read::<8>(WINDOW_BAR, 0x3008), None);
    assert_eq!(pair.ep.read(WINDOW_BAR, 0x3008, 8), [0xff; 8]);
    assert_eq!(ep_library.windows().len(), MAX_WINDOWS);
    rc.unmap(0, 1 << 63);
    assert_eq!(ep_library.windows(), []);
    assert_eq!(pair.inspect("windows.ep.drops"), 0);
}

#[test]
fn command_and_bars_open_and_close() {
    let (mut pair, mut rc, ep_library, rc_library) = start();
    rc.config(0x04, 0x4);
    rc.fence();
    assert_eq!(
        (ep_library.windows(), rc_library.windows()),
        (all(), vec![])
    );
    rc.config(0x04, 0x2);
    rc.fence();
    assert_eq!(ep_library.windows(), []);
    assert_eq!(rc_library.windows().len(), 1);
    rc.config(0x04, 0x6);
    // An MSI address moves the page that traps.
    rc.config((dbi::MSI + pci::msi::ADDRESS_LOW).into(), RAM as u32);
    rc.fence();
    assert_eq!(
        ep_library.windows(),
        [(WINDOW_BAR, 0x1000, SIZE - 0x1000, 0x1000)]
    );
    rc.reset();
    assert_eq!(
        (ep_library.windows(), rc_library.windows()),
        (vec![], vec![])
    );
    rc.config(0x04, 0x6);
    rc.fence();
    assert_eq!(ep_library.windows().len(), 1);
    // The EP's own face decides, too.
    pair.ep.config(0x04, 0x4);
    pair.ep.fence();
    assert_eq!(ep_library.windows(), []);
    pair.ep.config(0x04, 0x6);
    pair.ep.fence();
    assert_eq!(ep_library.windows().len(), 1);
    pair.ep.reset();
    assert_eq!(
        (ep_library.windows(), rc_library.windows()),
        (vec![], vec![])
    );
}

#[test]
fn windows_are_gone_before_anyone_hears_that_the_link_is() {
    let (mut pair, mut rc, ep_library, rc_library) = start();
    ep_library.state().delay = SLOW;
    rc_library.state().delay = SLOW;
    let mut events = pair.events();
    let mut next = || {
        let mut line = String::new();
        events.read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap()
    };
    while next()["event"] != "rc-attached" {}
    pair.ltssm(false);
    while next()["up"] != false {}
    assert!(ep_library.state().acked.unwrap() <= Instant::now());
    assert_eq!(
        (ep_library.windows(), rc_library.windows()),
        (vec![], vec![])
    );

    // The link is back, and the RC's QEMU still holds what it had of the last one.
    pair.ltssm(true);
    while next()["up"] != true {}
    rc.config(0x04, 0x6);
    rc.fence();
    // What it may not do itself, the EP can.
    pair.register(spider::DBI, 0x04, 0x6);
    pair.ep.fence();
    rc.map(RAM + RAM_SIZE, 0x1000, Some((&pair.rc_ram, 0)));
    assert_eq!(
        (ep_library.windows(), rc_library.windows()),
        (vec![], vec![])
    );
    let rc2 = pair.plug();
    assert_eq!(ep_library.windows(), all());
    assert_eq!(rc_library.windows().len(), 1);
    drop(rc);
    pair.ep.fence();
    assert_eq!(
        ep_library.windows(),
        all(),
        "the old connection takes nothing along"
    );
    drop(rc2);
    eventually("the RC is gone", || {
        ep_library.windows().is_empty() && rc_library.windows().is_empty()
    });
}

#[test]
fn an_ep_that_is_gone_takes_all_windows_along() {
    let (mut pair, _rc, ep_library, rc_library) = start();
    pair.ep.hang_up();
    pair.ep = Guest::connect(&pair.path("ep.sock"));
    assert_eq!(
        (ep_library.windows(), rc_library.windows()),
        (vec![], vec![])
    );
    // A map goes after the windows that led to it have gone, and nobody waits for its library.
    eventually("the EP's RAM is given back", || {
        (ep_library.state().maps(), rc_library.state().maps()) == (1, 0)
    });
}

#[test]
fn windows_can_be_switched_off_and_on() {
    let (mut pair, mut rc, ep_library, rc_library) = start();
    let switch = |pair: &Pair, fast: bool| {
        let answer = pair.ask(&json!({ "op": "windows", "fast": fast }));
        assert_eq!(answer, json!({ "ok": true }));
    };
    switch(&pair, false);
    assert_eq!(
        (ep_library.windows(), rc_library.windows()),
        (vec![], vec![])
    );
    assert_eq!(pair.inspect("windows.fast"), false);
    pair.outbound(0, 0, RAM + 0x1000, 0x1000);
    rc.config(0x04, 0x6);
    rc.fence();
    pair.ep.fence();
    assert_eq!(
        (ep_library.windows(), rc_library.windows()),
        (vec![], vec![])
    );
    switch(&pair, true);
    assert_eq!(ep_library.windows(), [(WINDOW_BAR, 0, 0x1000, 0x1000)]);
    assert_eq!(rc_library.windows().len(), 1);
    let tree = pair.inspect("windows.ep");
    assert_eq!(tree["attached"], true);
    assert_eq!(tree["windows"][0]["offset"], "0x0");
    assert_eq!(tree["drops"], 0);
}

/// Both guests change what they can at once, with no order between them.
#[test]
fn both_sides_at_once_get_along() {
    let (mut pair, mut rc, ep_library, rc_library) = start();
    let done = AtomicBool::new(false);
    let rounds = std::thread::scope(|scope| {
        let rc = scope.spawn(|| {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) {
                rc.config(0x04, 0x4);
                rc.fence();
                assert_eq!(rc_library.windows(), []);
                rc.config(0x04, 0x6);
                rc.fence();
                assert_eq!(rc_library.windows().len(), 1);
                rc.map(RAM + RAM_SIZE, 0x1000, Some((&pair.rc_ram, 0)));
                rc.unmap(RAM + RAM_SIZE, 0x1000);
                rounds += 1;
            }
            rounds
        });
        let end = Instant::now() + Duration::from_secs(1);
        let mut page = 0;
        while Instant::now() < end {
            page = (page + 1) % 64;
            let at = iatu_target(page);
            pair.ep
                .post(spider::REGISTERS_BAR.into(), at.0, &at.1.to_le_bytes());
            pair.ep.read32(spider::REGISTERS_BAR.into(), at.0);
            // Whether bus mastering is on just now or not: no window leads where it led before.
            let windows = ep_library.windows();
            assert!(
                windows
                    .first()
                    .is_none_or(|window| window.3 == page * 0x1000),
                "{windows:x?}"
            );
        }
        done.store(true, Ordering::Relaxed);
        rc.join().unwrap()
    });
    assert!(rounds > 10, "{rounds} rounds");
    let publications = pair.inspect("windows.publications");
    assert!(
        publications["longest_us"].as_u64().unwrap() < 900_000,
        "{publications}"
    );
    assert_eq!(pair.inspect("windows.ep.drops"), 0);
    pair.close(0);
    pair.ep.fence();
    assert_eq!(ep_library.windows(), []);
}

/// Register and value that let outbound region 0 lead to page `page` of the RC's RAM.
fn iatu_target(page: u64) -> (u64, u32) {
    let register = spider::ATU.offset + abi::iatu::LOWER_TARGET;
    (register.into(), (RAM + page * 0x1000) as u32)
}

#[test]
fn idle_costs_nothing() {
    let (mut pair, _rc, _ep_library, _rc_library) = start();
    pair.ep.fence();
    std::thread::sleep(Duration::from_millis(50));
    let switches = || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", pair.process.id())).unwrap();
        let status = |task: std::io::Result<std::fs::DirEntry>| {
            let text = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let line = text.lines().find(|line| line.starts_with("voluntary_ctxt"));
            line.unwrap()
                .split_whitespace()
                .last()
                .unwrap()
                .parse::<u64>()
                .unwrap()
        };
        tasks.map(status).sum::<u64>()
    };
    let before = switches();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(switches(), before, "nobody wakes up for nothing");
}
