// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Ends other than that of the list: stop, disable, bad addresses, the link, a reset.

use abi::edma::{self, control, READ, WRITE};
use qemu_device::controller::{Direction, Effects, Limits, Outcome, Reason};

use crate::world::*;
use Direction::{Read, Write};

const ELEMENT: u64 = edma::element::SIZE as u64;
const ABORT: u32 = 1 << 16;

/// Slices of 0x1000 bytes.
fn sliced() -> World {
    let mut world = World::new();
    world.limits = Limits {
        elements: 64,
        bytes: 0x1000,
    };
    world
}

#[test]
fn stop_waits_for_what_is_moving_and_a_doorbell_resumes() {
    let mut world = sliced();
    world.put_list(&[Data::out(0, 0x4000).with(LIE), Data::out(0, 0).stale()]);
    world.enable(Write, 0, LIST);
    world.ring(Write, 0);
    let copy = world.run_to_copy();
    world.stop(Write, 0);
    assert_eq!(world.status(Write, 0), control::CS_RUNNING, "bytes move");
    world.perform(&copy);
    assert_eq!(world.status(Write, 0), control::CS_STOPPED);
    assert_eq!(world.read(WRITE.int_status), ABORT);
    assert_eq!(world.read(WRITE.err_status), 0);
    assert_eq!(world.run(), 0);
    assert!(world.arrived(0, 0x1000) && world.untouched(0x1000, 0x3000));
    assert_eq!(world.llp(Write, 0), LIST);

    world.write(WRITE.int_clear, ABORT);
    world.ring(Write, 0);
    world.run();
    assert!(world.arrived(0, 0x4000));
    assert_eq!(world.read(WRITE.int_status), 1);
}

#[test]
fn a_doorbell_after_a_stop_that_is_not_through_yet_is_not_lost() {
    let mut world = sliced();
    world.put_list(&[Data::out(0, 0x2000).with(LIE), Data::out(0, 0).stale()]);
    world.enable(Write, 0, LIST);
    world.ring(Write, 0);
    let copy = world.run_to_copy();
    world.stop(Write, 0);
    world.ring(Write, 0);
    world.perform(&copy);
    world.run();
    assert_eq!(world.read(WRITE.int_status), ABORT | 1);
    assert!(world.arrived(0, 0x2000));
}

#[test]
fn a_stopped_single_element_goes_on_where_it_was() {
    let mut world = sliced();
    world.single(Write, 2, LIE, Data::out(0, 0x3000));
    world.ring(Write, 2);
    let copy = world.run_to_copy();
    world.stop(Write, 2);
    world.perform(&copy);
    assert_eq!(world.read(WRITE.int_status), ABORT << 2);
    world.rc.put(RC, &[0xaa; 0x1000]);
    world.ring(Write, 2);
    world.run();
    assert_eq!(world.rc.get(RC, 0x1000), [0xaa; 0x1000]);
    assert!(world.arrived(0x1000, 0x2000));
    assert_eq!(world.read(WRITE.int_status), ABORT << 2 | 1 << 2);
}

#[test]
fn stopping_what_does_not_run_does_nothing() {
    let mut world = World::new();
    world.enable(Write, 0, LIST);
    world.stop(Write, 0);
    assert_eq!(world.status(Write, 0), 0);
    assert_eq!((world.read(WRITE.int_status), world.edges), (0, 0));
}

/// `dw_edma_v0_core_engine_disable` polls until the bit reads 0.
#[test]
fn a_disabled_engine_reads_enabled_until_nothing_moves() {
    let mut world = sliced();
    world.put_list(&[Data::out(0, 0x4000).with(LIE), Data::out(0, 0).stale()]);
    world.enable(Write, 0, LIST);
    world.ring(Write, 0);
    let copy = world.run_to_copy();
    world.write(WRITE.engine_enable, 0);
    assert_eq!(world.read(WRITE.engine_enable), 1);
    world.perform(&copy);
    assert_eq!(world.read(WRITE.engine_enable), 0);
    assert_eq!(world.status(Write, 0), control::CS_STOPPED);
    assert_eq!((world.read(WRITE.int_status), world.edges), (0, 0));
    assert_eq!(world.run(), 0);
    world.ring(Write, 0);
    assert_eq!(world.run(), 0, "the doorbell of a disabled engine");
}

#[test]
fn registers_of_a_running_channel_are_the_engines() {
    let mut world = World::new();
    world.put_list(&[Data::out(0, 8), Data::out(0, 0).stale()]);
    world.enable(Write, 0, LIST);
    world.ring(Write, 0);
    let copy = world.run_to_copy();
    for register in (0..edma::channel::SIZE).step_by(4) {
        let register = World::register(Write, 0, register);
        let before = world.read(register);
        world.write(register, !before);
        assert_eq!(world.read(register), before);
    }
    world.perform(&copy);
    world.run();
    assert_eq!(world.status(Write, 0), control::CS_STOPPED);
}

/// What is wrong, and what the error registers then say: low, high, and the reason that is counted.
#[test]
fn bad_addresses_abort_where_they_are() {
    let outside = 0x1_0000_0000;
    let local = |direction| match direction {
        Write => Data {
            sar: outside,
            ..Data::out(0, 8)
        },
        Read => Data {
            sar: RC,
            dar: outside,
            ..Data::out(0, 8)
        },
    };
    let remote = |direction| match direction {
        Write => Data {
            dar: outside,
            ..Data::out(0, 8)
        },
        Read => Data {
            sar: outside,
            dar: EP,
            ..Data::out(0, 8)
        },
    };
    // The RC's RAM ends in the middle of it.
    let half = |direction| match direction {
        Write => Data {
            dar: RC + SIZE - 4,
            ..Data::out(0, 8)
        },
        Read => Data {
            sar: RC + SIZE - 4,
            dar: EP,
            ..Data::out(0, 8)
        },
    };
    for (direction, data, low, high, reason) in [
        (Write, local(Write), 1 << 2, 0, Reason::NoEpMemory),
        (Write, remote(Write), 1 << 2, 0, Reason::NoRcMemory),
        (Write, half(Write), 1 << 2, 0, Reason::NoRcMemory),
        (Read, local(Read), 1 << 2, 0, Reason::NoEpMemory),
        (Read, remote(Read), 0, 1 << 2, Reason::NoRcMemory),
        (Read, half(Read), 0, 1 << 2, Reason::NoRcMemory),
    ] {
        let map = direction.map();
        for limits in [STEP, MANY] {
            let mut world = World::new();
            world.limits = limits;
            let mut good = Data::out(0x100, 8);
            if direction == Read {
                (good.sar, good.dar) = (good.dar, good.sar);
            }
            world.put_list(&[good, good, data.with(LIE), good, good.stale()]);
            world.enable(direction, 2, LIST);
            world.ring(direction, 2);
            world.run();
            assert_eq!(world.status(direction, 2), control::CS_HALTED);
            assert_eq!(world.read(map.int_status), ABORT << 2);
            assert_eq!(world.edges, 1);
            assert_eq!(world.read(map.err_status), low);
            if direction == Read {
                assert_eq!(world.read(map.err_status + 4), high);
            }
            assert_eq!(world.llp(direction, 2), LIST + 2 * ELEMENT);
            let size = World::register(direction, 2, edma::channel::TRANSFER_SIZE);
            let left = world.read(size);
            assert_eq!(
                left,
                if data.size == 8 && low | high != 0 {
                    left
                } else {
                    8
                }
            );
            let counted = world.board.controller.inspect();
            assert_eq!(counted["counters"]["unsupported"][reason.name()], 1);
            // Clearing the abort clears the error.
            world.write(map.int_clear, ABORT << 2);
            assert_eq!(world.read(map.err_status), 0);
            // The driver repairs the list and starts again.
            world.put_data(LIST + 2 * ELEMENT, good.with(LIE));
            world.ring(direction, 2);
            world.run();
            assert_eq!(world.status(direction, 2), control::CS_STOPPED);
            assert_eq!(world.read(map.int_status), 1 << 2);
        }
    }
}

#[test]
fn a_list_that_is_not_in_ram_aborts() {
    for list in [0, EP + SIZE, EP - 8, EP + SIZE - 8, u64::MAX - 7] {
        let mut world = World::new();
        world.enable(Read, 1, list);
        world.ring(Read, 1);
        world.run();
        assert_eq!(world.status(Read, 1), control::CS_HALTED);
        assert_eq!(world.read(READ.int_status), ABORT << 1);
        assert_eq!(world.read(READ.err_status), ABORT << 1);
        assert_eq!(world.llp(Read, 1), list);
    }
}

/// The last 16 bytes of RAM are room enough for a link.
#[test]
fn a_link_at_the_end_of_ram_is_whole() {
    let mut world = World::new();
    world.put_list(&[Data::out(0, 8).with(LIE), Data::out(0, 0).stale()]);
    world.put_link(EP + SIZE - 16, 0, LIST);
    world.enable(Write, 0, EP + SIZE - 16);
    world.ring(Write, 0);
    world.run();
    assert!(world.arrived(0, 8));
}

#[test]
fn aborts_are_told_as_they_are_enabled() {
    let enables = [
        (0, false, false),
        (1, true, true),
        (ABORT, true, false),
        (ABORT | 1, true, true),
    ];
    for (enable, local, message) in enables {
        let mut world = World::new();
        world.enable(Write, 0, 0);
        world.write(WRITE.linked_list_err_enable, enable);
        world.write(WRITE.abort_imwr, 0x0809_0000);
        world.write(WRITE.imwr_data, 0x43);
        world.ring(Write, 0);
        world.run();
        assert_eq!(world.status(Write, 0), control::CS_HALTED);
        assert_eq!(world.read(WRITE.int_status), if local { ABORT } else { 0 });
        assert_eq!(world.msis, if message { vec![3] } else { vec![] });
    }
    for flags in [0, LIE, RIE, LIE | RIE] {
        let mut world = World::new();
        world.write(WRITE.abort_imwr, 0x0809_0000);
        world.write(WRITE.imwr_data, 0x43);
        let nowhere = Data {
            sar: 0,
            ..Data::out(0, 8)
        };
        world.single(Write, 0, flags, nowhere);
        world.ring(Write, 0);
        world.run();
        assert_eq!(world.status(Write, 0), control::CS_HALTED);
        assert_eq!(
            world.read(WRITE.int_status),
            if flags & LIE != 0 { ABORT } else { 0 }
        );
        assert_eq!(world.msis, if flags & RIE != 0 { vec![3] } else { vec![] });
    }
}

#[test]
fn without_bus_mastering_nothing_moves() {
    let mut world = World::new();
    world.board.config_write16(0x04, 0x0402);
    world.put_list(&[Data::out(0, 8), Data::out(0, 0).stale()]);
    world.enable(Write, 0, LIST);
    world.ring(Write, 0);
    world.run();
    assert_eq!(world.status(Write, 0), control::CS_HALTED);
    assert!(world.untouched(0, 8));
}

#[test]
fn a_lost_link_aborts_what_runs() {
    let mut world = sliced();
    world.put_list(&[Data::out(0, 0x4000), Data::out(0, 0).stale()]);
    world.enable(Write, 0, LIST);
    world.put_link(LIST + 0x1000, 0, LIST + 0x1000);
    world.enable(Read, 1, LIST + 0x1000);
    world.ring(Write, 0);
    world.ring(Read, 1);
    let copy = world.run_to_copy();
    world.board.stop();
    world.perform(&copy);
    assert_eq!(world.run(), 0);
    for (direction, channel) in [(Write, 0), (Read, 1)] {
        assert_eq!(world.status(direction, channel), control::CS_HALTED);
        assert_eq!(
            world.read(direction.map().int_status),
            ABORT << channel,
            "{direction:?}"
        );
    }
    assert!(world.untouched(0x1000, 0x3000));
}

#[test]
fn a_job_of_before_a_power_cycle_is_void() {
    let mut world = World::new();
    world.put_list(&[Data::out(0, 8).with(LIE), Data::out(0, 0).stale()]);
    world.enable(Write, 0, LIST);
    world.ring(Write, 0);
    let old = world.run_to_copy().ticket();
    let effects = &mut Effects::new();
    world.board.controller.power_on_reset(effects);
    assert_eq!(world.status(Write, 0), 0);
    // The next board starts the same channel, and the old outcome comes in while its own job is out.
    world.enable(Write, 0, LIST);
    world.ring(Write, 0);
    let new = world.next().expect("a fetch");
    for outcome in [
        Outcome::Copied,
        Outcome::Fetched(&[]),
        Outcome::Failed {
            moved: 8,
            reason: Reason::NoRcMemory,
        },
    ] {
        world.finish(old, outcome);
        assert_eq!(world.status(Write, 0), control::CS_RUNNING);
        assert_eq!(world.llp(Write, 0), LIST);
        assert_eq!(world.read(WRITE.int_status), 0);
        assert_eq!(world.next(), None, "the new job is out still");
    }
    world.perform(&new);
    world.run();
    // Its list was read; the link is down.
    assert_eq!(world.read(WRITE.int_status), ABORT);
    assert_eq!(world.read(WRITE.err_status), 1);
}
