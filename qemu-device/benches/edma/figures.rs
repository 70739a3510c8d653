// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The measurements, taken in turns so that whatever else the machine does meets all of them.

use std::fmt;
use std::time::{Duration, Instant};

use abi::edma;

use crate::board::Board;
use crate::list::{self, Channel, Elements, Way};

/// Bytes that a transfer moves where bandwidth is asked.
const TOTAL: usize = 64 << 20;
const MIB: usize = 1 << 20;
/// A page, the commonest element.
const PAGE: usize = 4 << 10;
/// [`TOTAL`] in elements of 1 MiB, and of a page.
const LARGE: Elements = in_a_row(MIB, TOTAL / MIB);
const PAGES: Elements = in_a_row(PAGE, TOTAL / PAGE);
/// The size of an element where elements are counted.
pub const SMALL: usize = 64;
/// How many of those.
const SMALL_COUNT: usize = 100_000;
/// How often all is measured in turn.
const ROUNDS: usize = 15;
/// Register reads per round while nothing is moved.
const IDLE_READS: usize = 200;

/// A goal of the figures: at least, or at most, so much.
#[derive(Clone, Copy)]
enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// Times of each round.
#[derive(Default)]
pub struct Figures {
    /// memcpy of [`TOTAL`] bytes, from the EP's RAM to the RC's and back, in pieces of 1 MiB.
    memcpy: [Vec<Duration>; 2],
    large: [Vec<Duration>; 2],
    pages: [Vec<Duration>; 2],
    small: [Vec<Duration>; 2],
    eight: Vec<Duration>,
    idle_read: Vec<Duration>,
    busy_read: Vec<Duration>,
}

/// Both ways, as they are counted.
const WAYS: [Way; 2] = [Way::Write, Way::Read];

impl Figures {
    /// Takes all measurements.
    pub fn measure(board: &mut Board) -> Self {
        verify(board);
        let mut figures = Self::default();
        for _ in 0..ROUNDS {
            for (index, way) in WAYS.into_iter().enumerate() {
                let channel = Channel { way, number: 0 };
                let small = in_a_row(SMALL, SMALL_COUNT);
                figures.memcpy[index].push(copy(board, way));
                figures.large[index].push(alone(board, channel, LARGE));
                figures.pages[index].push(alone(board, channel, PAGES));
                figures.small[index].push(alone(board, channel, small));
            }
            let share = in_a_row(MIB, TOTAL / MIB / 8);
            figures.eight.push(side_by_side(board, 8, share));
            let idle = (0..IDLE_READS).map(|_| read_register(board)).collect();
            figures.idle_read.push(median(idle));
            let busy = reads_beside_a_transfer(board);
            figures.busy_read.push(median(busy));
        }
        figures
    }

    /// Each figure: its name, what was measured, and its ratio with the goal for it.
    fn rows(&self) -> Vec<(String, String, f64, Goal)> {
        let seconds = |times: &[Duration]| median(times.to_vec()).as_secs_f64();
        let speed = |times: &[Duration]| format!("{:.2} GB/s", TOTAL as f64 / seconds(times) / 1e9);
        let micros = |times: &[Duration]| format!("{:.2} us", seconds(times) * 1e6);
        let mut rows = Vec::new();
        for (index, name) in ["EP to RC", "RC to EP"].into_iter().enumerate() {
            let memcpy = &self.memcpy[index];
            let name = |what: &str| format!("{name}, {what}");
            rows.push((name("memcpy"), speed(memcpy), 1.0, Goal::AtLeast(1.0)));
            for (what, times, goal) in [
                ("1 MiB elements", &self.large[index], 0.9),
                ("4 KiB elements", &self.pages[index], 0.75),
            ] {
                let ratio = ratio(memcpy, times);
                rows.push((name(what), speed(times), ratio, Goal::AtLeast(goal)));
            }
            let small = SMALL_COUNT as f64 / seconds(&self.small[index]) / 1e6;
            let name = name(&format!("{SMALL} byte elements"));
            rows.push((name, format!("{small:.2} M/s"), small, Goal::AtLeast(5.0)));
        }
        // One channel's total: half of it each way.
        let both = self.large[0].iter().zip(&self.large[1]);
        let one: Vec<Duration> = both.map(|(there, back)| (*there + *back) / 2).collect();
        let name = "eight channels, of one".to_string();
        let eight = ratio(&one, &self.eight);
        rows.push((name, speed(&self.eight), eight, Goal::AtLeast(0.9)));
        let idle = micros(&self.idle_read);
        rows.push(("register read, idle".into(), idle, 1.0, Goal::AtMost(1.0)));
        let busy = ratio(&self.busy_read, &self.idle_read);
        let name = "register read, busy".into();
        rows.push((name, micros(&self.busy_read), busy, Goal::AtMost(2.0)));
        rows
    }

    /// The figures for programs.
    pub fn json(&self) -> serde_json::Value {
        let rows = self.rows().into_iter();
        rows.map(|(name, measured, ratio, goal)| {
            let goal = match goal {
                Goal::AtLeast(goal) => serde_json::json!({ "at_least": goal }),
                Goal::AtMost(goal) => serde_json::json!({ "at_most": goal }),
            };
            serde_json::json!({ "name": name, "measured": measured, "ratio": ratio, "goal": goal })
        })
        .collect()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, measured, ratio, goal) in self.rows() {
            let (goal, met) = match goal {
                Goal::AtLeast(goal) => (format!("at least {goal}"), ratio >= goal),
                Goal::AtMost(goal) => (format!("at most {goal}"), ratio <= goal),
            };
            let missed = if met { "" } else { ", missed" };
            writeln!(
                f,
                "{name:<28} {measured:>12}  {ratio:7.3}  ({goal}{missed})"
            )?;
        }
        Ok(())
    }
}

/// The time that `act` takes.
pub fn time(act: impl FnOnce()) -> Duration {
    let began = Instant::now();
    act();
    began.elapsed()
}

/// How many times `times` go into `references`, of the same rounds: the median round's.
fn ratio(references: &[Duration], times: &[Duration]) -> f64 {
    let pairs = references.iter().zip(times);
    let mut ratios: Vec<f64> = pairs
        .map(|(reference, time)| reference.as_secs_f64() / time.as_secs_f64())
        .collect();
    ratios.sort_unstable_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// The median of measurements.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// What the engine has moved must be there: a figure for something else would be worth nothing.
fn verify(board: &mut Board) {
    for (way, seed) in [(Way::Write, 1u32), (Way::Read, 2)] {
        let pattern: Vec<u8> = (0..TOTAL as u32 / 4)
            .flat_map(|word| (word.wrapping_mul(0x9e37_79b9) ^ seed).to_le_bytes())
            .collect();
        let source = if way == Way::Write {
            &board.ep
        } else {
            &board.rc
        };
        source.write(list::DATA, &pattern);
        alone(board, Channel { way, number: 0 }, LARGE);
        let target = if way == Way::Write {
            &board.rc
        } else {
            &board.ep
        };
        assert!(
            target.read(list::DATA, TOTAL) == pattern,
            "{way:?}: not what was sent"
        );
    }
}

/// memcpy of as much, between the same two files.
fn copy(board: &Board, way: Way) -> Duration {
    let (from, to) = match way {
        Way::Write => (&board.ep, &board.rc),
        Way::Read => (&board.rc, &board.ep),
    };
    time(|| {
        (0..TOTAL)
            .step_by(MIB)
            .for_each(|at| from.copy_to(to, list::DATA + at, MIB))
    })
}

/// `count` elements of `size` bytes, one behind the other.
const fn in_a_row(size: usize, count: usize) -> Elements {
    Elements {
        count,
        size,
        window: usize::MAX,
    }
}

/// One channel moves `elements`: from its doorbell to the handled interrupt.
fn alone(board: &mut Board, channel: Channel, elements: Elements) -> Duration {
    list::write(channel, &board.ep, &board.rc, list::DATA, elements);
    transfer(board, &[channel])
}

/// The first channels move `elements` each, all at a time.
pub fn side_by_side(board: &mut Board, channels: usize, elements: Elements) -> Duration {
    let channels = Channel::first(channels);
    for (index, channel) in channels.iter().enumerate() {
        let room = (elements.size * elements.count).min(elements.window);
        let offset = list::DATA + index * room;
        list::write(*channel, &board.ep, &board.rc, offset, elements);
    }
    transfer(board, &channels)
}

fn transfer(board: &mut Board, channels: &[Channel]) -> Duration {
    board.enable(channels);
    board.settle();
    time(|| {
        board.ring(channels);
        board.wait(channels);
    })
}

fn read_register(board: &mut Board) -> Duration {
    time(|| {
        board.read(edma::CTRL);
    })
}

/// Register reads while one channel moves [`TOTAL`] bytes.
fn reads_beside_a_transfer(board: &mut Board) -> Vec<Duration> {
    let channel = Channel {
        way: Way::Write,
        number: 0,
    };
    list::write(channel, &board.ep, &board.rc, list::DATA, LARGE);
    board.enable(&[channel]);
    board.settle();
    board.ring(&[channel]);
    let mut times = Vec::new();
    loop {
        let mut status = 0;
        let taken = time(|| status = board.read(edma::WRITE.int_status));
        if status != 0 {
            break;
        }
        times.push(taken);
    }
    board.wait(&[channel]);
    times
}
