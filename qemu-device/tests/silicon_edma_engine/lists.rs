// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How a list is walked: cycle bits, links, doorbells, chunks as the stock driver makes them.

use abi::edma::control;
use qemu_device::controller::{Direction, Job, Limits};

use crate::world::*;
use Direction::{Read, Write};

const ELEMENT: u64 = abi::edma::element::SIZE as u64;

#[test]
fn a_list_ends_at_the_first_stale_element_and_keeps_its_place() {
    for limits in [STEP, MANY] {
        let mut world = World::new();
        world.limits = limits;
        let end = world.put_list(&[
            Data::out(0, 100),
            Data::out(200, 1),
            Data::out(300, 0x1001).with(LIE),
            Data::out(0x4000, 64).stale(),
        ]);
        world.enable(Write, 1, LIST);
        world.ring(Write, 1);
        assert!(world.ready);
        assert_eq!(world.status(Write, 1), control::CS_RUNNING);
        world.run();
        assert!(world.arrived(0, 100) && world.untouched(100, 100));
        assert!(world.arrived(200, 1) && world.untouched(201, 99));
        assert!(world.arrived(300, 0x1001) && world.untouched(300 + 0x1001, 0x3000));
        assert_eq!(world.status(Write, 1), control::CS_STOPPED);
        assert_eq!(world.llp(Write, 1), end - ELEMENT);
        assert!(control::CCS.is_set(world.control1(Write, 1)));
        assert_eq!((world.read(0x4c), world.edges), (1 << 1, 1));
    }
}

/// `dw_edma_core_start` for lists that need one chunk, just one, and more, with the last one shorter: the
/// page is rewritten with CB turned round and the doorbell rung, and nothing else.
#[test]
fn chunks_of_the_stock_driver_follow_each_other() {
    const MOST: usize = 169;
    for (direction, bit) in [(Write, 0x4c), (Read, 0xa0)] {
        for count in [1, 2, 169, 170, 338, 339, 1000usize] {
            let mut world = World::new();
            world.enable(direction, 0, LIST);
            let (size, mut cb, mut done) = (37u64, true, 0);
            while done < count {
                let chunk = (count - done).min(MOST);
                for index in 0..chunk {
                    let offset = (done + index) as u64 * size;
                    let mut data = Data::out(offset, size as u32);
                    if direction == Read {
                        (data.sar, data.dar) = (data.dar, data.sar);
                    }
                    data.flags = if cb { CB } else { 0 };
                    if index + 1 == chunk {
                        data.flags |= LIE;
                    }
                    world.put_data(LIST + index as u64 * ELEMENT, data);
                }
                let link = if cb { TCB } else { TCB | CB };
                world.put_link(LIST + chunk as u64 * ELEMENT, link, LIST);
                world.ring(direction, 0);
                world.run();
                assert_eq!(world.read(bit), 1, "chunk of {count} at {done}");
                assert_eq!(world.status(direction, 0), control::CS_STOPPED);
                assert_eq!(world.llp(direction, 0), LIST);
                world.write(direction.map().int_clear, 1);
                done += chunk;
                cb = !cb;
            }
            assert!(world.arrived(0, count as u64 * size), "{count}");
            let counted = world.board.controller.inspect();
            let name = if direction == Write { "write" } else { "read" };
            let channel = &counted["edma"][name]["channels"][0];
            assert_eq!(channel["elements"], count);
            assert_eq!(channel["bytes"], count as u64 * size);
        }
    }
}

#[test]
fn a_link_is_followed_whatever_its_cycle_bit_and_toggles_only_on_tcb() {
    for flags in [0, CB, TCB, TCB | CB] {
        let mut world = World::new();
        let after = world.put_list(&[Data::out(0, 8)]);
        world.put_link(after, flags, LIST + 0x1000);
        let mut data = Data::out(8, 8);
        if flags & TCB != 0 {
            data = data.stale();
        }
        world.put_data(LIST + 0x1000, data);
        world.put_data(LIST + 0x1000 + ELEMENT, Data::out(16, 8).with(0).stale());
        // Of no cycle state that could be next.
        let stale = Data {
            flags: data.flags ^ CB,
            ..Data::out(16, 8)
        };
        world.put_data(LIST + 0x1000 + ELEMENT, stale);
        world.enable(Write, 0, LIST);
        world.ring(Write, 0);
        world.run();
        assert!(world.arrived(0, 16) && world.untouched(16, 8), "{flags:#x}");
        assert_eq!(
            control::CCS.is_set(world.control1(Write, 0)),
            flags & TCB == 0
        );
        assert_eq!(world.llp(Write, 0), LIST + 0x1000 + ELEMENT);
    }
}

/// What becomes valid while the data before it is moved belongs to the run, although it was fetched as
/// stale.
#[test]
fn the_end_is_looked_at_again_once_it_is_reached() {
    let mut world = World::new();
    world.put_list(&[Data::out(0, 8), Data::out(8, 8).stale()]);
    world.put_data(LIST + 2 * ELEMENT, Data::out(16, 8).stale());
    world.enable(Write, 0, LIST);
    world.ring(Write, 0);
    let copy = world.run_to_copy();
    world.put_data(LIST + ELEMENT, Data::out(8, 8));
    world.perform(&copy);
    world.run();
    assert!(world.arrived(0, 16) && world.untouched(16, 8));
}

/// The list is looked at when its end is reached, once more for a doorbell rung meanwhile, and then
/// never again unasked.
#[test]
fn a_doorbell_while_running_is_kept_and_nothing_is_polled() {
    let mut world = World::new();
    world.put_list(&[Data::out(0, 8), Data::out(8, 8).stale()]);
    world.enable(Write, 0, LIST);
    world.ring(Write, 0);
    let copy = world.run_to_copy();
    world.ready = false;
    world.ring(Write, 0);
    assert!(!world.ready, "nothing new to do");
    world.perform(&copy);
    // The end, and the end again.
    assert_eq!(world.run(), 2);
    assert_eq!(world.status(Write, 0), control::CS_STOPPED);
    world.put_data(LIST + ELEMENT, Data::out(8, 8));
    assert_eq!(world.run(), 0);
    assert!(world.untouched(8, 8));
    world.put_data(LIST + 2 * ELEMENT, Data::out(16, 8).stale());
    world.ring(Write, 0);
    world.run();
    assert!(world.arrived(8, 8));
}

#[test]
fn an_element_larger_than_a_job_is_moved_by_several() {
    let mut world = World::new();
    world.limits = Limits {
        elements: 64,
        bytes: 0x1000,
    };
    world.put_list(&[
        Data::out(0, 0x2800),
        Data::out(0x3000, 0x400),
        Data::out(0x3400, 0x2000).with(LIE),
        Data::out(0, 1).stale(),
    ]);
    world.enable(Write, 0, LIST);
    world.ring(Write, 0);
    let mut sizes = Vec::new();
    while let Some(job) = world.next() {
        if let Job::Copy { transfers, .. } = &job {
            sizes.push(transfers.iter().map(|t| t.len).sum::<u32>());
        }
        world.perform(&job);
    }
    assert!(sizes.iter().all(|size| *size <= 0x1000));
    assert_eq!(sizes.iter().sum::<u32>(), 0x2800 + 0x400 + 0x2000);
    assert!(world.arrived(0, 0x2800) && world.arrived(0x3000, 0x2400));
    assert!(world.untouched(0x2800, 0x800));
}

#[test]
fn a_single_element_is_moved_from_the_registers() {
    for (direction, bit) in [(Write, 0x4c), (Read, 0xa0)] {
        let mut world = World::new();
        world.limits.bytes = 0x300;
        let mut data = Data::out(0x10, 0x1003);
        if direction == Read {
            (data.sar, data.dar) = (data.dar, data.sar);
        }
        world.single(direction, 3, LIE, data);
        world.ring(direction, 3);
        world.run();
        assert!(world.arrived(0x10, 0x1003) && world.untouched(0x1013, 16));
        assert_eq!(world.status(direction, 3), control::CS_STOPPED);
        assert_eq!(world.read(bit), 1 << 3);
        let size = abi::edma::channel::TRANSFER_SIZE;
        assert_eq!(world.read(World::register(direction, 3, size)), 0);
        let sar = abi::edma::channel::SAR_LOW;
        assert_eq!(
            u64::from(world.read(World::register(direction, 3, sar))),
            data.sar + 0x1003
        );
        // Nothing is left to be done again.
        world.ring(direction, 3);
        world.run();
        assert!(world.untouched(0x1013, 16));
    }
}

#[test]
fn empty_elements_move_nothing_and_count() {
    let mut world = World::new();
    world.put_list(&[
        Data::out(0, 0),
        Data::out(0, 0).with(LIE),
        Data::out(0, 4),
        Data::out(0, 0).stale(),
    ]);
    world.enable(Write, 0, LIST);
    world.ring(Write, 0);
    world.run();
    assert!(world.arrived(0, 4) && world.untouched(4, 4));
    assert_eq!(world.read(0x4c), 1);
    assert_eq!(world.llp(Write, 0), LIST + 3 * ELEMENT);
}

#[test]
fn the_outbound_iatu_translates_and_what_it_misses_passes() {
    use crate::silicon_common::Direction::Outbound;
    let mut world = World::new();
    // The first page leads elsewhere, in the middle of an element.
    world.board.map(Outbound, 0, RC, RC + 0x3_0000, 0x1000);
    world.put_list(&[Data::out(0x800, 0x1000), Data::out(0, 0).stale()]);
    world.enable(Write, 0, LIST);
    world.ring(Write, 0);
    world.run();
    let sent = world.ep.get(EP + 0x800, 0x1000).to_vec();
    assert_eq!(world.rc.get(RC + 0x3_0800, 0x800), &sent[..0x800]);
    assert_eq!(world.rc.get(RC + 0x1000, 0x800), &sent[0x800..]);
    assert!(world.untouched(0x800, 0x800));
}

#[test]
fn a_write_to_the_rcs_msi_address_is_an_interrupt() {
    let mut world = World::new();
    world.ep.put(EP + 0x100, &0x45u32.to_le_bytes());
    let word = Data {
        dar: 0x0809_0000,
        ..Data::out(0x100, 4)
    };
    world.put_list(&[Data::out(0, 8), word, Data::out(8, 8), word.stale()]);
    world.enable(Write, 0, LIST);
    world.ring(Write, 0);
    world.run();
    assert_eq!(world.msis, [5]);
    assert!(world.arrived(0, 16));
    assert_eq!(world.status(Write, 0), control::CS_STOPPED);
}

/// Channels take turns, however long their lists are and however they end.
#[test]
fn channels_take_turns() {
    let mut world = World::new();
    // Four that go in circles: a link to itself, links in a circle, data in a circle, empty data.
    let place = |channel: u64| LIST + channel * 0x1000;
    world.put_link(place(0), TCB, place(0));
    world.put_link(place(1), 0, place(1) + 0x800);
    world.put_link(place(1) + 0x800, 0, place(1));
    world.put_data(place(2), Data::out(0, 16));
    world.put_link(place(2) + ELEMENT, 0, place(2));
    world.put_data(place(3), Data::out(0, 0));
    world.put_link(place(3) + ELEMENT, 0, place(3));
    for channel in 0..4 {
        world.enable(Write, channel, place(channel.into()));
        world.ring(Write, channel);
    }
    // And one with an end.
    let ends = place(4);
    for index in 0..100 {
        let mut data = Data::out(0x1000 + index * 8, 8);
        (data.sar, data.dar) = (data.dar, data.sar);
        world.put_data(ends + index * ELEMENT, data);
    }
    world.put_data(ends + 100 * ELEMENT, Data::out(0, 0).stale());
    world.limits = STEP;
    world.enable(Read, 2, ends);
    world.ring(Read, 2);
    let mut jobs = 0;
    while world.status(Read, 2) == control::CS_RUNNING {
        let job = world.next().expect("five channels run");
        world.perform(&job);
        jobs += 1;
        assert!(jobs <= 5 * 202, "it is starved");
    }
    assert!(world.arrived(0x1000, 800));
    for channel in 0..4 {
        assert_eq!(world.status(Write, channel), control::CS_RUNNING);
        world.stop(Write, channel);
        assert_eq!(world.status(Write, channel), control::CS_STOPPED);
    }
    assert_eq!(world.run(), 0);
}
