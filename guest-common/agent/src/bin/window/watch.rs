// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reads a window again and again, whatever befalls it meanwhile.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use agent::bar::Bar;

use crate::pattern::{judge, Seen};

/// Changes that are told one by one.
const TOLD: u32 = 40;

/// How long one watches whose input does not end.
const LONGEST: Duration = Duration::from_secs(180);

/// When to stop.
pub enum Until {
    /// So long after the beginning.
    Time(Duration),
    /// When the input ends.
    InputEnds(Arc<AtomicBool>),
}

impl Until {
    /// Stops when this process's input ends, which is read from now on.
    pub fn input_ends() -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let mine = ended.clone();
        thread::spawn(move || {
            // An input that is lost has ended as well.
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            mine.store(true, Ordering::Relaxed);
        });
        Until::InputEnds(ended)
    }

    fn reached(&self, begun: Instant) -> bool {
        match self {
            Until::Time(time) => begun.elapsed() >= *time,
            Until::InputEnds(ended) => ended.load(Ordering::Relaxed) || begun.elapsed() >= LONGEST,
        }
    }
}

/// Reads `len` bytes from `offset` on `until` then; tells when what is read changes (buffer `tags`, or all
/// ones), and how often it was what.
///
/// # Errors
/// The first word that was neither.
pub fn run(bar: &Bar, offset: usize, len: usize, tags: &[u8], until: &Until) -> Result<(), String> {
    let begun = Instant::now();
    let (mut data, mut nobody, mut both, mut changes) = (0u64, 0u64, 0u64, 0);
    let mut last = None;
    while !until.reached(begun) {
        let words = (offset..offset + len).step_by(8).map(|at| bar.read64(at));
        let seen = judge(tags, 0, words);
        *match seen {
            Seen::Data => &mut data,
            Seen::Nobody => &mut nobody,
            Seen::Both => &mut both,
            Seen::Wrong { .. } => {
                return Err(format!(
                    "after {:.3} s: {seen}",
                    begun.elapsed().as_secs_f64()
                ))
            }
        } += 1;
        if last != Some(seen) && changes < TOLD {
            changes += 1;
            println!("window: {:.3} s: {seen}", begun.elapsed().as_secs_f64());
        }
        last = Some(seen);
    }
    println!("window: data {data} ones {nobody} both {both} wrong 0");
    Ok(())
}
