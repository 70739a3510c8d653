// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An EP whose link goes up and down as fast as it can: what is said of it neither fills a log nor waits for anyone.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::fcntl::{fcntl, FcntlArg, OFlag};
use nix::unistd::pipe;

use crate::guest::PATIENCE;
use crate::pair::Pair;

/// `times` bounces, each seen by the device before the next.
fn bounce(pair: &mut Pair, times: u32) {
    for _ in 0..times {
        pair.ltssm(true);
        pair.ltssm(false);
        pair.ep.fence();
    }
}

#[test]
fn a_log_that_nobody_reads_keeps_nobody_waiting() {
    let (reader, writer) = pipe().unwrap();
    let mut full = File::from(writer.try_clone().unwrap());
    fcntl(&full, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    fcntl(&full, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while full.write(&[b'\n'; 512]).is_ok() {}
    fcntl(&full, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    drop(full);
    let mut pair = Pair::start_logging_to(Stdio::from(writer));

    let begun = Instant::now();
    bounce(&mut pair, 3);
    let mut rc = pair.link_up();
    rc.fence();
    assert_eq!(pair.inspect("link.up"), true);
    let mut events = pair.events().lines();
    let first = events.next().unwrap().unwrap();
    assert!(first.contains(r#""up":true,"generation":4"#), "{first}");
    assert!(begun.elapsed() < PATIENCE / 2, "somebody waited");

    // Who reads at last finds what there was room for.
    let mut lines = BufReader::new(File::from(reader)).lines();
    assert!(lines.any(|line| line.unwrap().contains("listening in")));
}

#[test]
fn a_bouncing_link_does_not_fill_the_log() {
    const BOUNCES: u32 = 2000;
    let mut log = tempfile::tempfile().unwrap();
    let mut pair = Pair::start_logging_to(Stdio::from(log.try_clone().unwrap()));
    let begun = Instant::now();
    bounce(&mut pair, BOUNCES);
    let seconds = begun.elapsed().as_secs() + 2;
    std::thread::sleep(Duration::from_millis(1200));

    let mut text = String::new();
    log.rewind().unwrap();
    log.read_to_string(&mut text).unwrap();
    let lines = text.lines().count() as u64;
    assert!(lines < 60 * seconds, "{lines} lines in {seconds} s");
    // And yet it tells how it has ended.
    let last = format!("Link {{ up: false, generation: {BOUNCES} }}");
    assert!(text.contains(&last), "{text}");
}

#[test]
fn who_does_not_read_events_is_told_so_at_last() {
    let mut pair = Pair::start();
    let events = pair.events();
    // More than the queue and the socket hold.
    bounce(&mut pair, qemu_device::control::MAX_UNREAD_EVENTS as u32);
    let mut lines = events.lines().map(Result::unwrap);
    let last = lines.by_ref().find(|line| line.contains("overrun"));
    assert!(last.is_some(), "the stream ended without a word");
    assert_eq!(lines.next(), None, "nothing follows");
}
