// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Libraries that do not do what they should cost a second at most, and nobody else anything.

use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use abi::spider;
use abi::windows::{kind, kind_of, Ack, Hello, SetHeader, Unmap, MAGIC, SIDE_EP, SIDE_RC, VERSION};

use crate::guest::{eventually, memory};
use crate::library::{Library, Line};
use crate::pair::{Pair, RAM};

const WINDOW_BAR: u32 = spider::WINDOW_BAR as u32;

fn line(pair: &Pair) -> Line {
    Line::connect(&pair.path("windows.sock"))
}

fn descriptors(pair: &Pair) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", pair.process.id()))
        .unwrap()
        .count()
}

#[test]
fn one_that_does_not_answer_is_dropped_after_a_second() {
    let (mut pair, mut rc) = Pair::running();
    let (ep, other) = (Library::join(&pair, SIDE_EP), Library::join(&pair, SIDE_RC));
    ep.state().mute = true;
    let begin = Instant::now();
    pair.close(0);
    assert_eq!(pair.poll(0), 0);
    let took = begin.elapsed();
    assert!((900..2500).contains(&took.as_millis()), "{took:?}");
    eventually("the connection ends", || ep.state().closed);
    assert!(
        ep.state().goodbye,
        "the library must tell this from a death"
    );
    let tree = pair.inspect("windows");
    assert_eq!(tree["ep"]["attached"], false);
    assert_eq!(tree["ep"]["drops"], 1);
    assert_eq!(
        tree["ep"]["last_drop"],
        "it did not answer a set within 1000 ms"
    );
    assert_eq!(tree["rc"]["attached"], true, "the other side's stays");

    // From now on everything traps, at once.
    let begin = Instant::now();
    pair.outbound(0, 0, RAM, 0x1000);
    pair.ep.post(WINDOW_BAR, 0, b"trap");
    assert_eq!(pair.ep.read(WINDOW_BAR, 0, 4), b"trap");
    rc.config(0x04, 0x4);
    rc.fence();
    assert!(begin.elapsed() < Duration::from_millis(900));
    assert_eq!(other.windows(), []);
    // And another one is welcome.
    let next = Library::join(&pair, SIDE_EP);
    rc.config(0x04, 0x6);
    rc.fence();
    assert_eq!(next.windows(), [(WINDOW_BAR, 0, 0x1000, 0)]);
}

#[test]
fn one_that_never_reads_is_dropped_likewise() {
    let (mut pair, _rc) = Pair::running();
    let silent = line(&pair);
    silent.send(&Hello::new(SIDE_EP).to_bytes(), &[]).unwrap();
    // The first set is not answered, and nobody waits for its guest.
    eventually("it is dropped", || pair.inspect("windows.ep.drops") == 1);
    pair.ep.fence();
    while !silent.ends() {}
    let quick = Library::join(&pair, SIDE_EP);
    assert_eq!(quick.windows().len(), 2);
}

#[test]
fn one_that_sends_its_own_end_and_goes_keeps_no_seat() {
    let (pair, _rc) = Pair::running();
    let line = line(&pair);
    line.send(&Hello::new(SIDE_EP).to_bytes(), &[]).unwrap();
    let set = |message: &[u8]| {
        (kind_of(message) == Some(kind::WINDOWS)).then(|| SetHeader::from_bytes(message).unwrap())
    };
    let seq = std::iter::repeat_with(|| set(&line.receive().0))
        .find_map(|set| set.map(|set| set.seq))
        .unwrap();
    line.send(&Ack { seq }.to_bytes(), &[]).unwrap();
    eventually("it sits", || pair.inspect("windows.ep.attached") == true);
    line.send_itself(&[0]);
    drop(line);
    let next = Library::join(&pair, SIDE_EP);
    assert_eq!(next.windows().len(), 2);
    assert_eq!(pair.inspect("windows.ep.drops"), 1);
}

#[test]
fn what_is_no_hello_is_refused() {
    let (pair, _rc) = Pair::running();
    let hello = |magic, version, side| {
        Hello {
            magic,
            version,
            side,
        }
        .to_bytes()
        .to_vec()
    };
    let refused = [
        vec![0],
        vec![0xff; 100],
        vec![1; 70_000],
        Ack { seq: 1 }.to_bytes().to_vec(),
        hello(0, VERSION, 0),
        hello(MAGIC, VERSION + 1, 0),
        hello(MAGIC, 0, 0),
        hello(MAGIC, VERSION, 2),
        hello(MAGIC, VERSION, u32::MAX),
        [hello(MAGIC, VERSION, 0), vec![0]].concat(),
    ];
    for message in refused {
        let line = line(&pair);
        line.send(&message, &[]).unwrap();
        assert!(line.ends(), "{:x?}", &message[..message.len().min(20)]);
    }
    let line = line(&pair);
    drop(line);
    assert_eq!(Library::join(&pair, SIDE_EP).windows().len(), 2);
}

#[test]
fn wrong_answers_end_the_connection() {
    let (mut pair, _rc) = Pair::running();
    let answers: [(&[u8], &str); 5] = [
        (&Ack { seq: 2 }.to_bytes(), "another set's"),
        (&Ack { seq: u64::MAX }.to_bytes(), "no set's"),
        (&Hello::new(SIDE_EP).to_bytes(), "hello again"),
        (&Unmap { id: 1 }.to_bytes(), "something else"),
        (&[0; 3000], "nothing at all"),
    ];
    for (count, (answer, what)) in (1..).zip(answers) {
        let line = line(&pair);
        line.send(&Hello::new(SIDE_EP).to_bytes(), &[]).unwrap();
        line.send(answer, &[]).unwrap();
        while !line.ends() {}
        assert_eq!(pair.inspect("windows.ep.drops"), count, "{what}");
        pair.ep.fence();
    }
    let reason = pair.inspect("windows.ep.last_drop");
    assert!(reason.as_str().unwrap().contains("expected"), "{reason}");
}

#[test]
fn an_answer_that_nobody_asked_for_is_no_answer_to_the_next_set() {
    let (mut pair, _rc) = Pair::running();
    let eager = line(&pair);
    eager.send(&Hello::new(SIDE_EP).to_bytes(), &[]).unwrap();
    eager.send(&Ack { seq: 1 }.to_bytes(), &[]).unwrap();
    eventually("accepted", || pair.inspect("windows.ep.attached") == true);
    eager.send(&Ack { seq: 1 }.to_bytes(), &[]).unwrap();
    pair.close(0);
    pair.ep.fence();
    assert_eq!(pair.inspect("windows.ep.attached"), false);
}

#[test]
fn a_side_has_one_library() {
    let (mut pair, _rc) = Pair::running();
    let first = Library::join(&pair, SIDE_EP);
    for _ in 0..3 {
        let second = line(&pair);
        second.send(&Hello::new(SIDE_EP).to_bytes(), &[]).unwrap();
        assert!(second.ends());
    }
    pair.close(0);
    pair.ep.fence();
    assert_eq!(first.windows(), [], "the first is none the worse for it");
    drop(first);
    // Its QEMU is started again before the device has noticed that the last one is gone.
    let next = Library::join(&pair, SIDE_EP);
    assert_eq!(next.windows(), []);
}

#[test]
fn descriptors_are_neither_taken_nor_kept() {
    let (pair, _rc) = Pair::running();
    let file = memory(0x1000);
    let fds = [file.as_raw_fd(); 200];
    let before = descriptors(&pair);
    for _ in 0..20 {
        let line = line(&pair);
        line.send(&Hello::new(SIDE_EP).to_bytes(), &fds).unwrap();
        assert!(line.ends());
    }
    for _ in 0..5 {
        let line = line(&pair);
        line.send(&Hello::new(SIDE_EP).to_bytes(), &[]).unwrap();
        line.send(&Ack { seq: 1 }.to_bytes(), &fds).unwrap();
        while !line.ends() {}
    }
    eventually("all are closed", || descriptors(&pair) <= before);
    assert_eq!(
        pair.inspect("windows.ep.last_drop"),
        "it sent file descriptors"
    );
}

#[test]
fn those_that_say_nothing_keep_nobody_out_for_long() {
    let (pair, _rc) = Pair::running();
    let silent: Vec<_> = (0..30).map(|_| line(&pair)).collect();
    let threads = || {
        std::fs::read_dir(format!("/proc/{}/task", pair.process.id()))
            .unwrap()
            .count()
    };
    assert!(threads() < 30);
    for line in &silent {
        assert!(line.ends(), "each is shown out");
    }
    let library = Library::join(&pair, SIDE_RC);
    assert_eq!(library.windows().len(), 1);
}

/// A guest maps and unmaps memory without end.
#[test]
fn maps_that_come_and_go_leave_nothing_behind() {
    let (pair, mut rc) = Pair::running();
    let library = Library::join(&pair, SIDE_EP);
    rc.unmap(RAM, crate::pair::RAM_SIZE);
    let before = descriptors(&pair);
    for round in 0..300u64 {
        let file = memory(0x4000);
        rc.map(RAM + (round % 7) * 0x1000, 0x1000, Some((&file, 0x1000)));
        assert_eq!(library.windows().len(), 1);
        rc.unmap(RAM + (round % 7) * 0x1000, 0x1000);
        assert_eq!(library.windows().len(), 0);
    }
    eventually("they are given back", || library.state().maps() == 0);
    assert_eq!(descriptors(&pair), before);
    // One file in many pieces is one descriptor.
    for page in 0..300 {
        rc.map(
            RAM + page * 0x2000,
            0x1000,
            Some((&pair.rc_ram, page * 0x1000)),
        );
    }
    assert!(descriptors(&pair) <= before + 1);
    assert_eq!(library.windows().len(), 64, "the rest traps");
    // More than may be announced at a time, a few at a time.
    for page in 0..290u64 {
        rc.unmap(RAM + page * 0x2000, 0x1000);
    }
    assert_eq!(library.windows().len(), 10);
    eventually("the others are given back", || library.state().maps() == 10);
}
