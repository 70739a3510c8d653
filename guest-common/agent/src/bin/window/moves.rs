// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A window of the endpoint that moves and vanishes while it is read and written.
//!
//! Register writes are posted, so the driver polls the enable bit; from then on each access must reach the new target.
//! One thread moves the window and looks for itself at once; another copies out of it all the time, and knows by a
//! stamp before and after whether the window stood still meanwhile.

use std::sync::atomic::{fence, AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use agent::bar::Bar;

use crate::hold::Buffer;
use crate::iatu::Region;
use crate::pattern::{self, judge, Seen, NOBODY};

/// Words at the end of each buffer that take stamps.
const STAMPS: usize = 512;
/// Looks at the window after each move.
const LOOKS: u64 = 3;
/// Every so many rounds the mover waits until something was copied while the window stood still.
const REST: u64 = 64;
/// For how long it waits: in trap mode a copy of a page takes 50 ms.
const RESTING: Duration = Duration::from_secs(2);
/// How long a disabled window may still hold what was written to it.
const SETTLE: Duration = Duration::from_secs(1);

/// The word of a buffer that takes the stamp of `round`, counted from the first that takes any.
const fn slot(round: u64) -> usize {
    (round % STAMPS as u64) as usize
}

const fn stamp(round: u64) -> u64 {
    0xa5 << 56 | round
}

/// As good as random, and the same in both guests (splitmix64).
const fn mix(round: u64) -> u64 {
    let mut z = round.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Which of `count` targets the window has in `round`.
const fn target(round: u64, count: usize) -> usize {
    (mix(round) % count as u64) as usize
}

/// What is to be moved.
pub struct Window<'a> {
    /// The BAR.
    pub bar: &'a Bar,
    /// Where in it.
    pub offset: usize,
    /// Its size in bytes.
    pub size: usize,
    /// Its address in this guest.
    pub base: u64,
    /// The region that is programmed.
    pub region: Region<'a>,
}

impl Window<'_> {
    fn words(&self) -> usize {
        self.size / 8
    }

    fn get(&self, index: usize) -> u64 {
        self.bar.read64(self.offset + 8 * index)
    }

    fn set(&self, index: usize, value: u64) {
        self.bar.write64(self.offset + 8 * index, value);
    }

    fn open(&self, target: u64) -> Result<(), String> {
        self.region.open(self.base, self.size as u64, target)
    }
}

/// What the copying thread has found.
#[derive(Default)]
struct Copies {
    all: u64,
    steady: u64,
    words: u64,
    nobody: u64,
}

/// Moves the window `rounds` times between `targets`, whose buffers are tagged 0, 1, 2…
///
/// # Errors
/// The first wrong word.
pub fn run(window: &Window, rounds: u64, targets: &[u64]) -> Result<String, String> {
    if window.words() <= STAMPS || targets.is_empty() {
        return Err(format!("a window of more than {STAMPS} words, and targets"));
    }
    // The round and the target, both from 1; 0 while the window moves.
    let standing = AtomicU64::new(0);
    let steady = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let begun = Instant::now();
    let (moved, copied) = thread::scope(|scope| {
        let copier = scope.spawn(|| copy(window, targets.len(), &standing, &steady, &over));
        let mover = (|| -> Result<(), String> {
            for round in 0..rounds {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                standing.store(0, Ordering::SeqCst);
                fence(Ordering::SeqCst);
                let tag = target(round, targets.len());
                step(window, round, tag as u8, targets[tag])?;
                standing.store((round + 1) << 8 | (tag as u64 + 1), Ordering::SeqCst);
                if round % REST == 0 {
                    rest(&steady, &over);
                }
            }
            Ok(())
        })();
        over.store(true, Ordering::Relaxed);
        let copied = copier.join();
        (
            mover,
            copied.unwrap_or_else(|_| Err("the copying thread died".into())),
        )
    });
    window.region.close();
    moved?;
    let Copies {
        all,
        steady,
        words,
        nobody,
    } = copied?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(format!(
        "moves {rounds} copies {all} steady {steady} words {words} ones {nobody} seconds {seconds:.2}"
    ))
}

/// One move, and what it looks like at once.
fn step(window: &Window, round: u64, tag: u8, target: u64) -> Result<(), String> {
    window.region.close();
    window.open(target)?;
    let data = window.words() - STAMPS;
    for look in 0..LOOKS {
        let index = (mix(round * LOOKS + look) % data as u64) as usize;
        let (wanted, got) = (pattern::word(tag, index), window.get(index));
        if got != wanted {
            return Err(format!(
                "round {round}: word {index:#x} of buffer {tag} is {got:#018x}, not {wanted:#018x}"
            ));
        }
    }
    window.set(data + slot(round), stamp(round));
    match window.get(data + slot(round)) {
        got if got == stamp(round) => Ok(()),
        got => Err(format!(
            "round {round}: the stamp written to buffer {tag} reads {got:#018x}"
        )),
    }
}

/// Until the copying thread has seen the window stand still once more.
fn rest(steady: &AtomicU64, over: &AtomicBool) {
    let (begun, before) = (Instant::now(), steady.load(Ordering::Relaxed));
    while steady.load(Ordering::Relaxed) == before
        && !over.load(Ordering::Relaxed)
        && begun.elapsed() < RESTING
    {
        thread::yield_now();
    }
}

/// Copies pieces of the window until it is `over`.
fn copy(
    window: &Window,
    targets: usize,
    standing: &AtomicU64,
    steady: &AtomicU64,
    over: &AtomicBool,
) -> Result<Copies, String> {
    let mut copies = Copies::default();
    let everyone: Vec<u8> = (0..targets as u8).collect();
    let data = (window.words() - STAMPS) as u64;
    let mut scratch = vec![];
    let mut ticket = 0;
    let result = loop {
        if over.load(Ordering::Relaxed) {
            break Ok(());
        }
        ticket += 1;
        // From one word to all of it.
        let random = mix(!ticket);
        let length = 1 + (random >> 32) % (data >> ((random >> 8) % 12)).max(1);
        let first = (random & 0xffff_ffff) % (data - length + 1);
        let before = standing.load(Ordering::SeqCst);
        fence(Ordering::SeqCst);
        scratch.clear();
        scratch.extend((first..first + length).map(|index| window.get(index as usize)));
        fence(Ordering::SeqCst);
        let after = standing.load(Ordering::SeqCst);

        let stood = before == after && before != 0;
        let tag = [(before as u8).wrapping_sub(1)];
        let tags = if stood { &tag[..] } else { &everyone };
        copies.all += 1;
        copies.words += length;
        copies.nobody += scratch.iter().filter(|&&word| word == NOBODY).count() as u64;
        match judge(tags, first as usize, scratch.iter().copied()) {
            Seen::Wrong { index, value } => {
                let during = if stood {
                    "while the window stood at"
                } else {
                    "while the window moved to"
                };
                let round = before >> 8;
                break Err(format!(
                    "{value:#018x} was word {index:#x} {during} {tags:?} (round {round})"
                ));
            }
            Seen::Data => {}
            _ if !stood => {}
            seen => {
                break Err(format!(
                    "{seen} in a window that stood at {tags:?} all the time"
                ))
            }
        }
        if stood {
            copies.steady += 1;
            steady.fetch_add(1, Ordering::Relaxed);
        }
    };
    over.store(true, Ordering::Relaxed);
    result.map(|()| copies)
}

/// Whether each buffer is as so many rounds of [`run`] must leave it: `stamps right`, or the first word that is not.
pub fn verify(buffers: &[Buffer], rounds: usize) -> String {
    for (tag, buffer) in buffers.iter().enumerate() {
        let Some(data) = buffer.words().checked_sub(STAMPS) else {
            return "the buffers are too small".into();
        };
        let mut stamps: Vec<u64> = (data..buffer.words())
            .map(|index| pattern::word(tag as u8, index))
            .collect();
        for round in (0..rounds as u64).filter(|&round| target(round, buffers.len()) == tag) {
            stamps[slot(round)] = stamp(round);
        }
        for index in 0..buffer.words() {
            let wanted = match index.checked_sub(data) {
                None => pattern::word(tag as u8, index),
                Some(slot) => stamps[slot],
            };
            let got = buffer.get(index);
            if got != wanted {
                return format!(
                    "word {index:#x} of buffer {tag} is {got:#018x}, not {wanted:#018x}"
                );
            }
        }
    }
    "stamps right".into()
}

/// Opens and closes the window `rounds` times over `target`, whose buffer is tagged 0: whatever is read at once after
/// each is the buffer, or all ones, and what is written while it is closed vanishes.
///
/// # Errors
/// The first wrong word.
pub fn toggle(window: &Window, rounds: u64, target: u64) -> Result<String, String> {
    let begun = Instant::now();
    let words = window.words() as u64;
    let mut lingered = 0;
    for round in 0..rounds {
        let places = (0..LOOKS).map(|look| (mix(round * LOOKS + look) % words) as usize);
        let look = |what: &str, wanted: fn(usize) -> u64| -> Result<(), String> {
            for index in places.clone() {
                let (wanted, got) = (wanted(index), window.get(index));
                if got != wanted {
                    return Err(format!(
                        "round {round}, {what}: word {index:#x} is {got:#018x}, not {wanted:#018x}"
                    ));
                }
            }
            Ok(())
        };
        window.open(target)?;
        look("opened", |index| pattern::word(0, index))?;
        window.region.close();
        look("closed", |_| NOBODY)?;
        if round % 8 == 0 {
            let index = (mix(round) % words) as usize;
            window.set(index, stamp(round));
            let written = Instant::now();
            while window.get(index) != NOBODY {
                lingered += 1;
                if written.elapsed() > SETTLE {
                    return Err(format!(
                        "round {round}: a closed window keeps what is written to it"
                    ));
                }
                thread::sleep(Duration::from_micros(200));
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok(format!(
        "toggles {rounds} lingered {lingered} seconds {seconds:.2}"
    ))
}
