// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is moved, and when it is told.

use std::time::Duration;

use abi::edma::control;

use crate::channel::*;
use crate::pair::{Pair, RAM};

const DONE: u32 = 1;

/// Elements of odd sizes and offsets, each way, on every channel at once.
#[test]
fn all_channels_move_their_lists_side_by_side() {
    let (mut pair, _rc) = Pair::running();
    let channels: Vec<_> = (0..4)
        .flat_map(|number| [Channel::write(number), Channel::read(number)])
        .collect();
    let sizes = [1usize, 3, 64, 4095, 4096, 4097, 300_001];
    let each = 0x8_0000;
    for (index, channel) in channels.iter().enumerate() {
        let base = DATA + index as u64 * each;
        let outward = channel.map == &abi::edma::WRITE;
        let (mut at, mut list) = (base + index as u64, Vec::new());
        for (element, size) in sizes.into_iter().enumerate() {
            let bytes = pattern(at, size);
            let from = if outward { &pair.ep_ram } else { &pair.rc_ram };
            put(from, at, &bytes);
            // The target lies at another alignment than the source.
            let (sar, dar) = (at, at + 5);
            list.push(Data {
                flags: CB | if element + 1 == sizes.len() { LIE } else { 0 },
                size: size as u32,
                sar,
                dar,
            });
            at += size as u64 + 16;
        }
        channel.put_list(&pair, &list, None);
    }
    for channel in &channels {
        channel.start(&mut pair);
    }
    for (index, channel) in channels.iter().enumerate() {
        assert_eq!(channel.wait(&mut pair), DONE);
        assert_eq!(channel.status(&mut pair), control::CS_STOPPED);
        let outward = channel.map == &abi::edma::WRITE;
        let to = if outward { &pair.rc_ram } else { &pair.ep_ram };
        let mut at = DATA + index as u64 * each + index as u64;
        for size in sizes {
            assert!(get(to, at + 5, size) == pattern(at, size), "{size} bytes");
            at += size as u64 + 16;
        }
        let channel = channel.inspect(&pair);
        assert_eq!(channel["bytes"], sizes.iter().sum::<usize>());
        assert_eq!(channel["elements"], sizes.len());
        assert_eq!(channel["last_interrupt"], "done");
    }
}

/// Whoever sees the status sees the data.
#[test]
fn data_is_there_before_the_status() {
    let (mut pair, _rc) = Pair::running();
    let channel = Channel::write(0);
    for round in 0..200u64 {
        let size = 1 + (round as usize * 7919) % 70_000;
        let bytes = pattern(round, size);
        put(&pair.ep_ram, RAM, &bytes);
        let data = Data {
            flags: CB | LIE,
            size: size as u32,
            sar: RAM,
            dar: DATA,
        };
        channel.put_list(&pair, &[data], None);
        channel.start(&mut pair);
        assert_eq!(channel.wait(&mut pair), DONE);
        assert!(get(&pair.rc_ram, DATA, size) == bytes, "{round}");
    }
}

/// A thousand links, an element of 15 MiB, and beside them a list that never ends.
#[test]
fn an_endless_list_starves_nobody_and_stops_when_told() {
    let (mut pair, _rc) = Pair::running();
    let endless = [Channel::write(1), Channel::read(1)];
    for channel in endless {
        channel.go_in_circles(&mut pair, 0x10_0000);
    }
    let channel = Channel::write(0);
    for round in 0..20 {
        let bytes = pattern(round, 10_000);
        put(&pair.ep_ram, RAM + 0x80_0000, &bytes);
        let data = Data {
            flags: CB | LIE,
            size: 10_000,
            sar: RAM + 0x80_0000,
            dar: RAM + 0x80_0000,
        };
        channel.put_list(&pair, &[data], None);
        channel.start(&mut pair);
        assert_eq!(channel.wait(&mut pair), DONE);
        assert!(get(&pair.rc_ram, RAM + 0x80_0000, 10_000) == bytes);
    }
    for channel in endless {
        channel.stop(&mut pair);
        assert_eq!(channel.wait(&mut pair), 0x1_0000);
        assert_eq!(channel.status(&mut pair), control::CS_STOPPED);
        let before = channel.inspect(&pair)["bytes"].clone();
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(channel.inspect(&pair)["bytes"], before);
    }
}

#[test]
fn links_alone_do_not_get_a_cpu_and_idleness_costs_nothing() {
    let (mut pair, _rc) = Pair::running();
    let channel = Channel::write(0);
    channel.put_list(&pair, &[], Some(channel.list()));
    channel.start(&mut pair);
    std::thread::sleep(Duration::from_millis(200));
    let second = Duration::from_secs(1);
    assert!(cpu_time(&pair, second) < Duration::from_millis(250));
    assert_eq!(channel.status(&mut pair), control::CS_RUNNING);
    channel.stop(&mut pair);
    assert_eq!(channel.wait(&mut pair), 0x1_0000);
    let rest = Duration::from_millis(500);
    assert!(cpu_time(&pair, rest) <= Duration::from_millis(10));
}
