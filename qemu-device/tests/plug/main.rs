// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A hostile or unlucky EP, and a real QEMU that plugs what it makes of its function. QEMU must survive it.
//!
//! `ci/regress/` runs these, with a QEMU from the toolbox.

mod ep_write;
#[allow(dead_code)] // What those tests need of it besides.
#[path = "../windows/guest.rs"]
mod guest;
#[allow(dead_code)] // What those tests need of it besides.
#[path = "../windows/pair.rs"]
mod pair;
mod qemu;

use std::time::{Duration, Instant};

use abi::{dbi, pci, spider};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use ep_write::{ep_write, EpWrite};
use pair::Pair;
use qemu::{Lost, Plug, Qemu};

/// How often to plug.
const ROUNDS: &str = "SPIDER_PAIR_PLUGS";
/// What the sample is drawn by: a number. Printed, so that a failure can be seen again.
const SEED: &str = "SPIDER_PAIR_SEED";

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text}: not a number")),
    )
}

fn rounds() -> u64 {
    number(ROUNDS).unwrap_or(50)
}

/// Draws samples of strategies.
struct Sample(TestRunner);

impl Sample {
    fn new() -> Self {
        let nanoseconds = || {
            std::time::UNIX_EPOCH
                .elapsed()
                .unwrap()
                .subsec_nanos()
                .into()
        };
        let seed = number(SEED).unwrap_or_else(nanoseconds);
        println!("seed {seed}");
        let bytes: Vec<u8> = seed.to_le_bytes().into_iter().cycle().take(32).collect();
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        Self(TestRunner::new_with_rng(Default::default(), rng))
    }

    fn draw<S: Strategy>(&mut self, strategy: S) -> S::Value {
        strategy.new_tree(&mut self.0).unwrap().current()
    }
}

/// A pair whose EP is a client of this test, and a QEMU with an empty slot for the function.
struct Boards {
    pair: Pair,
    qemu: Qemu,
    plugs: u64,
}

/// Every so many plugs the board is reset, which powers the slot: the device does not come out any more.
const PLUGS_PER_RESET: u64 = 16;

impl Boards {
    fn start() -> Self {
        let pair = Pair::start();
        let qemu = Qemu::start(pair.dir.path());
        Self {
            pair,
            qemu,
            plugs: 0,
        }
    }

    /// The function as `pci-epf-test` has it, but for what is written next.
    fn power_cycle(&mut self) {
        self.pair.ltssm(false);
        self.pair.ep.reset();
        self.pair.enumerate_ep();
        for bar in [0, 2, 4] {
            self.pair.register(spider::DBI2, pci::header::bar(bar), 1);
        }
    }

    /// What QEMU does with the function if the EP does that `meanwhile`. Says why if it does not survive.
    fn plug(&mut self, meanwhile: impl FnOnce(&mut Pair) + Send) -> Result<Plug, String> {
        let socket = self.pair.path("rc.sock");
        let Self { pair, qemu, plugs } = self;
        pair.ltssm(true);
        pair.ep.fence();
        let ep = &mut *pair;
        let plugged = std::thread::scope(|scope| {
            scope.spawn(move || {
                meanwhile(ep);
                ep.ep.fence();
            });
            qemu.plug(&socket)
        });
        let plugged = plugged.map_err(|lost| lost.0)?;
        if plugged == Plug::Done {
            *plugs += 1;
            if *plugs % PLUGS_PER_RESET == 0 {
                // With the function there or gone.
                let lost = |lost: Lost| format!("at a reset: {}", lost.0);
                qemu.reset().map_err(lost)?;
                qemu.reset().map_err(lost)?;
                *qemu = Qemu::start(pair.dir.path());
            } else {
                let lost = |lost: Lost| format!("unplugging: {}", lost.0);
                qemu.unplug().map_err(lost)?;
            }
        }
        Ok(plugged)
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.pair.path("qemu.log")).unwrap_or_default()
    }
}

/// `dw_pcie_dbi_ro_wr_en`, then the writes.
fn write_all(pair: &mut Pair, writes: &[EpWrite]) {
    for EpWrite(at, width, value) in writes {
        pair.register(spider::DBI, dbi::MISC_CONTROL_1, 1);
        let bytes = &value.to_le_bytes()[..width.bytes()];
        pair.ep
            .post(spider::REGISTERS_BAR.into(), (*at).into(), bytes);
    }
}

/// The link goes down so long after QEMU was told to plug the function.
fn down_after(pair: &mut Pair, after: Duration) {
    let end = Instant::now() + after;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
    pair.ltssm(false);
}

#[test]
#[ignore = "needs a QEMU: ci/regress/plug-config.sh"]
fn whatever_configuration_space_the_ep_writes() {
    let (mut sample, mut boards) = (Sample::new(), Boards::start());
    for round in 0..rounds() {
        let writes = sample.draw(proptest::collection::vec(ep_write(), 1..24));
        boards.power_cycle();
        write_all(&mut boards.pair, &writes);
        let plugged = boards.plug(|_| ());
        assert_eq!(
            plugged,
            Ok(Plug::Done),
            "round {round}: {writes:x?}\n{}",
            boards.said()
        );
    }
}

/// Each field alone, so that one that QEMU does not survive has a name.
#[test]
#[ignore = "needs a QEMU: ci/regress/plug-config.sh"]
fn each_field_that_it_reads() {
    let vmds = [0x201du32, 0x467f, 0x4c3d, 0x9a0b].map(|device| (0x00, device << 16 | 0x8086));
    let pins = [2, 4, 5, 200, 255].map(|pin| (0x3c, pin << 8));
    let msis = (0..8).map(|capable| (0x50, capable << 17));
    let ids = [0, 0xffff_ffff, 0x0001_0de0, 0x8168_10ec, 0x1521_1002].map(|id| (0x00, id));
    let classes = [0x0300_0000, 0x0604_0000, 0xffff_ff00].map(|class| (0x08, class));
    let sizes = (0..32).map(|bit| (0x104, 1 << bit));
    let types = (0..16).flat_map(|flags| [0x10, 0x18, 0x20].map(|bar| (bar, flags)));
    let fields = vmds
        .into_iter()
        .chain(pins)
        .chain(msis)
        .chain(ids)
        .chain(classes);
    let mut boards = Boards::start();
    for (register, value) in fields.chain(sizes).chain(types) {
        boards.power_cycle();
        write_all(
            &mut boards.pair,
            &[EpWrite(
                register,
                qemu_device::controller::Width::Dword,
                value,
            )],
        );
        let plugged = boards.plug(|_| ());
        assert_eq!(
            plugged,
            Ok(Plug::Done),
            "{register:#x} = {value:#x}\n{}",
            boards.said()
        );
    }
}

#[test]
#[ignore = "needs a QEMU: ci/regress/plug-link-down.sh"]
fn the_link_goes_down_meanwhile() {
    let (mut sample, mut boards) = (Sample::new(), Boards::start());
    let (mut done, mut refused) = (0, 0);
    for round in 0..rounds() {
        let down =
            Duration::from_micros(sample.draw(prop_oneof![4 => 0..6_000u64, 1 => 0..20_000u64]));
        boards.power_cycle();
        match boards.plug(|pair| down_after(pair, down)) {
            Ok(Plug::Done) => done += 1,
            // The socket is gone: nothing has begun.
            Ok(Plug::Refused(reason)) if reason.contains("ailed to connect") => refused += 1,
            other => panic!(
                "round {round}, down after {down:?}: {other:?}\n{}",
                boards.said()
            ),
        }
    }
    println!("{done} plugged, {refused} too late");
    assert!(done > 0);
}

#[test]
#[ignore = "needs a QEMU: ci/regress/plug-config.sh"]
fn whatever_the_ep_writes_meanwhile() {
    let (mut sample, mut boards) = (Sample::new(), Boards::start());
    for round in 0..rounds() {
        let writes = proptest::collection::vec(ep_write(), 1..12);
        let (writes, down) = sample.draw((writes, 0..8_000u64));
        boards.power_cycle();
        let plugged = boards.plug(|pair| {
            // QEMU must find the same at each read. At last the link goes down.
            let end = Instant::now() + Duration::from_micros(down);
            while Instant::now() < end {
                write_all(pair, &writes);
                pair.ep.fence();
            }
            down_after(pair, Duration::ZERO);
        });
        match plugged {
            Ok(Plug::Done) => {}
            Ok(Plug::Refused(reason)) if reason.contains("ailed to connect") => {}
            other => panic!("round {round}: {writes:x?}: {other:?}\n{}", boards.said()),
        }
    }
}
