// SPDX-License-Identifier: Apache-2.0 OR MIT
//! When and how the end of an element is told: LIE, RIE, masks, the line, messages.

use abi::edma::{control, READ, WRITE};
use qemu_device::controller::{Direction, Limits};

use crate::world::*;
use Direction::Write;

const ELEMENT: u64 = abi::edma::element::SIZE as u64;

/// A list of one element with `flags`, then run. The message of channel 0 goes to the RC's RAM.
fn one(flags: u32, mask: u32) -> World {
    let mut world = World::new();
    world.put_list(&[Data::out(0, 8).with(flags), Data::out(0, 0).stale()]);
    world.enable(Write, 0, LIST);
    world.write(WRITE.int_mask, mask);
    world.write(WRITE.done_imwr, RC as u32 + 0x100);
    world.write(WRITE.imwr_data, 0xbeef_1234);
    world.ring(Write, 0);
    world.run();
    world
}

/// LIE sets the status, RIE sends the message, and the mask gates the line alone.
#[test]
fn lie_rie_and_mask() {
    let untouched = World::new().rc.get(RC + 0x100, 4).to_vec();
    for lie in [0, LIE] {
        for rie in [0, RIE] {
            for mask in [0, 0x00ff_00ff] {
                let mut world = one(lie | rie, mask);
                let told = u32::from(lie != 0);
                assert_eq!(world.read(WRITE.int_status), told);
                assert_eq!(world.edges, usize::from(lie != 0 && mask == 0));
                let message = world.rc.get(RC + 0x100, 4);
                if rie != 0 {
                    assert_eq!(message, 0x1234u32.to_le_bytes());
                } else {
                    assert_eq!(message, untouched);
                }
                assert!(world.arrived(0, 8));
                // What was masked is on the line once it is not.
                let edges = world.edges;
                world.write(WRITE.int_mask, 0);
                assert_eq!(world.edges - edges, told as usize);
            }
        }
    }
}

#[test]
fn a_message_may_be_an_msi_and_odd_channels_have_the_high_half() {
    let mut world = World::new();
    world.put_list(&[Data::out(0, 8).with(RIE), Data::out(0, 0).stale()]);
    world.enable(Write, 3, LIST);
    world.write(WRITE.done_imwr, 0x0809_0000);
    world.write(WRITE.imwr_data + 4, 0x0047_0041);
    world.ring(Write, 3);
    world.run();
    assert_eq!(world.msis, [7]);
}

/// The handler looks once; what comes after that needs another edge.
#[test]
fn the_line_gets_another_edge_after_a_clear_that_leaves_it_high() {
    let mut world = one(LIE, 0);
    assert_eq!(world.edges, 1);
    world.put_data(LIST + 0x1000, Data::out(0, 8).with(LIE));
    world.put_data(LIST + 0x1000 + ELEMENT, Data::out(0, 0).stale());
    world.enable(Write, 1, LIST + 0x1000);
    world.ring(Write, 1);
    world.run();
    // One of them when the other channel was unmasked, none when its status came.
    assert_eq!((world.read(WRITE.int_status), world.edges), (3, 2));
    world.write(WRITE.int_clear, 1);
    assert_eq!((world.read(WRITE.int_status), world.edges), (2, 3));
    // The handler's zeroes clear nothing (`dw_edma_v0_core_ack_emulated_irq`).
    world.write(WRITE.int_clear, 0);
    world.write(READ.int_clear, 0);
    assert_eq!((world.read(WRITE.int_status), world.edges), (2, 5));
    world.write(WRITE.int_clear, 0x00ff_00ff);
    assert_eq!((world.read(WRITE.int_status), world.edges), (0, 5));
}

/// The link after the last element is behind the channel when DONE is told, so the driver may rewrite
/// the list at once.
#[test]
fn done_comes_after_the_link() {
    for limits in [STEP, MANY] {
        let mut world = World::new();
        world.limits = limits;
        let after = world.put_list(&[Data::out(0, 8).with(LIE)]);
        world.put_link(after, TCB, LIST);
        world.enable(Write, 0, LIST);
        world.ring(Write, 0);
        let mut before = 0;
        while world.read(WRITE.int_status) == 0 {
            assert_eq!(world.status(Write, 0), control::CS_RUNNING);
            match world.next() {
                Some(job) => world.perform(&job),
                None => break,
            }
            before += 1;
            assert!(before < 10);
        }
        assert_eq!(world.read(WRITE.int_status), 1);
        assert_eq!(world.status(Write, 0), control::CS_STOPPED);
        assert_eq!(world.llp(Write, 0), LIST);
        assert!(!control::CCS.is_set(world.control1(Write, 0)));
        assert!(world.arrived(0, 8));
    }
}

/// A watermark: an element in the middle tells, with its data there and before the next begins.
#[test]
fn a_watermark_is_told_before_the_next_element_begins() {
    let mut world = World::new();
    world.put_list(&[
        Data::out(0, 8),
        Data::out(8, 8).with(LIE),
        Data::out(16, 8),
        Data::out(0, 0).stale(),
    ]);
    world.enable(Write, 0, LIST);
    world.ring(Write, 0);
    let first = world.run_to_copy();
    world.perform(&first);
    assert!(world.arrived(0, 16) && world.untouched(16, 8));
    let second = world.run_to_copy();
    assert_eq!((world.read(WRITE.int_status), world.edges), (1, 1));
    assert_eq!(world.status(Write, 0), control::CS_RUNNING);
    world.perform(&second);
    world.run();
    assert!(world.arrived(16, 8));
    assert_eq!(world.edges, 1);
}

/// However the elements fall into jobs, each RIE is a message of its own.
#[test]
fn every_rie_is_a_message() {
    for elements in [1, 3, 64] {
        let mut world = World::new();
        world.limits = Limits {
            elements,
            bytes: 1 << 20,
        };
        let mut list = [Data::out(0, 8).with(RIE); 20];
        list[7] = Data::out(8, 8);
        world.put_list(&list);
        world.put_data(LIST + 20 * ELEMENT, Data::out(0, 0).stale());
        world.enable(Write, 0, LIST);
        world.write(WRITE.done_imwr, 0x0809_0000);
        world.write(WRITE.imwr_data, 0x42);
        world.ring(Write, 0);
        world.run();
        assert_eq!(world.msis, [2; 19]);
    }
}

/// A list of links alone after an element does not hold its interrupt back for ever.
#[test]
fn endless_links_do_not_hold_done_back() {
    let mut world = World::new();
    let after = world.put_list(&[Data::out(0, 8).with(LIE)]);
    world.put_link(after, 0, after);
    world.enable(Write, 0, LIST);
    world.ring(Write, 0);
    for _ in 0..40 {
        let job = world.next().expect("it goes on for ever");
        world.perform(&job);
    }
    assert_eq!(world.read(WRITE.int_status), 1);
    assert_eq!(world.status(Write, 0), control::CS_RUNNING);
    world.write(WRITE.engine_enable, 0);
    assert_eq!(world.run(), 0);
}
