// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What ends a transfer from outside while it is under way. The device lives on, each time.

use abi::edma::control;

use crate::channel::*;
use crate::pair::{Pair, RAM, RAM_SIZE};

const ABORT: u32 = 0x1_0000;

/// Half of them one way, half the other, moving without end.
fn moving(pair: &mut Pair) -> [Channel; 4] {
    let channels = [
        Channel::write(0),
        Channel::read(0),
        Channel::write(3),
        Channel::read(3),
    ];
    for (index, channel) in channels.into_iter().enumerate() {
        channel.go_in_circles(pair, 64 << (5 * index));
    }
    channels
}

fn all_abort(pair: &mut Pair, channels: &[Channel], reason: &str) {
    for channel in channels {
        assert_eq!(channel.wait(pair), ABORT);
        assert_eq!(channel.status(pair), control::CS_HALTED);
        let channel = channel.inspect(pair);
        assert_eq!(channel["last_error"], reason);
        assert_eq!(channel["errors"], 1);
    }
}

/// A transfer that works.
fn moves(pair: &mut Pair) {
    let channel = Channel::write(2);
    let data = Data {
        flags: CB | LIE,
        size: 5000,
        sar: RAM + 0x20_0000,
        dar: RAM + 0x20_0000,
    };
    put(&pair.ep_ram, data.sar, &pattern(1, 5000));
    channel.put_list(pair, &[data], None);
    channel.start(pair);
    assert_eq!(channel.wait(pair), 1);
    let moved = get(&pair.rc_ram, RAM + 0x20_0000, 5000);
    assert!(moved == pattern(1, 5000));
}

#[test]
fn the_rcs_ram_goes_away_and_comes_back() {
    let (mut pair, mut rc) = Pair::running();
    let channels = moving(&mut pair);
    rc.unmap(RAM, RAM_SIZE);
    all_abort(&mut pair, &channels, "no_rc_memory");
    rc.map(RAM, RAM_SIZE, Some((&pair.rc_ram, 0)));
    moves(&mut pair);
}

#[test]
fn the_eps_ram_goes_away_and_comes_back() {
    let (mut pair, _rc) = Pair::running();
    let channels = moving(&mut pair);
    pair.ep.unmap(RAM, RAM_SIZE);
    all_abort(&mut pair, &channels, "no_ep_memory");
    let file = pair.ep_ram.try_clone().unwrap();
    pair.ep.map(RAM, RAM_SIZE, Some((&file, 0)));
    moves(&mut pair);
}

#[test]
fn the_rcs_qemu_is_killed() {
    let (mut pair, rc) = Pair::running();
    let channels = moving(&mut pair);
    rc.hang_up();
    all_abort(&mut pair, &channels, "no_rc_memory");
    // The same link, another QEMU.
    let _rc = pair.plug();
    moves(&mut pair);
}

#[test]
fn the_rc_takes_bus_mastering_away() {
    let (mut pair, mut rc) = Pair::running();
    let channels = moving(&mut pair);
    rc.config(0x04, 0x2);
    all_abort(&mut pair, &channels, "bus_master_disabled");
    rc.config(0x04, 0x6);
    rc.fence();
    moves(&mut pair);
}

#[test]
fn the_link_goes_down_and_up() {
    let (mut pair, rc) = Pair::running();
    let channels = moving(&mut pair);
    pair.ltssm(false);
    all_abort(&mut pair, &channels, "link_down");
    drop(rc);
    pair.ltssm(true);
    let _rc = pair.plug();
    moves(&mut pair);
}

#[test]
fn the_ep_is_reset() {
    let (mut pair, _rc) = Pair::running();
    let channels = moving(&mut pair);
    pair.ep.reset();
    for channel in channels {
        assert_eq!(channel.interrupts(&mut pair), 0);
        assert_eq!(channel.status(&mut pair), 0);
        assert_eq!(channel.inspect(&pair)["bytes"], 0);
    }
    pair.enumerate_ep();
    let _rc = pair.link_up();
    moves(&mut pair);
}

#[test]
fn the_eps_qemu_is_killed() {
    let (mut pair, _rc) = Pair::running();
    moving(&mut pair);
    pair.ep.hang_up();
    pair.ep = crate::guest::Guest::connect(&pair.path("ep.sock"));
    let file = pair.ep_ram.try_clone().unwrap();
    pair.ep.map(RAM, RAM_SIZE, Some((&file, 0)));
    pair.enumerate_ep();
    let _rc = pair.link_up();
    moves(&mut pair);
}

/// Again and again, so that each of them meets every moment of a job.
#[test]
fn stops_and_disables_in_any_moment() {
    let (mut pair, _rc) = Pair::running();
    let channel = Channel::write(0);
    for round in 0..50 {
        channel.go_in_circles(&mut pair, 1 << (round % 20));
        if round % 2 == 0 {
            channel.stop(&mut pair);
            assert_eq!(channel.wait(&mut pair), ABORT);
        } else {
            pair.register(abi::spider::DMA, abi::edma::WRITE.engine_enable, 0);
            crate::guest::eventually("the engine to be off", || {
                pair.read_register(abi::spider::DMA, abi::edma::WRITE.engine_enable) == 0
            });
            assert_eq!(channel.interrupts(&mut pair), 0);
        }
        assert_eq!(channel.status(&mut pair), control::CS_STOPPED);
    }
    moves(&mut pair);
}

/// Once a change is answered, nothing arrives by the way that it has closed.
#[test]
fn nothing_arrives_after_the_way_is_closed() {
    let (mut pair, mut rc) = Pair::running();
    let channel = Channel::write(1);
    put(&pair.ep_ram, DATA, &[0xee; 0x10_0000]);
    let ours = [0x11; 0x10_0000];
    for round in 0..60 {
        channel.go_in_circles(&mut pair, 0x10_0000);
        if round % 2 == 0 {
            rc.config(0x04, 0x2);
            rc.fence();
        } else {
            pair.ltssm(false);
            pair.ep.fence();
        }
        put(&pair.rc_ram, DATA, &ours);
        assert_eq!(channel.wait(&mut pair), ABORT);
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(get(&pair.rc_ram, DATA, ours.len()) == ours, "{round}");
        if round % 2 == 0 {
            rc.config(0x04, 0x6);
            rc.fence();
        } else {
            pair.ltssm(true);
            rc = pair.plug();
        }
    }
}
