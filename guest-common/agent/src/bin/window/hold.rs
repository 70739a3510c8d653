// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory of this guest whose physical addresses are known, for the other guest's windows to lead to.
//!
//! Pages of a process, locked, looked up in `/proc/self/pagemap`: the kernels of the pair migrate none.

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;

use agent::bar::PAGE;
use nix::sys::mman::{mlock, mmap_anonymous, MapFlags, ProtFlags};

use crate::moves;
use crate::pattern::{self, judge};

/// A bit of a pagemap entry: the page is in memory.
const PRESENT: u64 = 1 << 63;
/// The bits of a pagemap entry that are the page's number.
const FRAME: u64 = (1 << 55) - 1;
/// How many times the memory asked for is searched, so that there are ranges that lie together.
const CHOICE: usize = 4;
/// Never less than this is searched: the page allocator's free lists begin with odd ends.
const LEAST: usize = 64 << 20;

/// Physically contiguous memory.
pub struct Buffer {
    /// Where it starts, as the bus sees it.
    pub address: u64,
    /// Its pages in order. They need not lie together in this process.
    pages: Vec<NonNull<u64>>,
}

impl Buffer {
    /// How many 64-bit words it has.
    pub fn words(&self) -> usize {
        self.pages.len() * PAGE / 8
    }

    fn at(&self, index: usize) -> *mut u64 {
        let page = self.pages[index / (PAGE / 8)];
        // SAFETY: the index within the page is below its number of words.
        unsafe { page.as_ptr().add(index % (PAGE / 8)) }
    }

    /// A word of it, as it is at this moment: the other guest writes, too.
    pub fn get(&self, index: usize) -> u64 {
        // SAFETY: `at` gives aligned addresses in pages that are never unmapped.
        unsafe { self.at(index).read_volatile() }
    }

    /// Changes a word of it.
    pub fn set(&self, index: usize, value: u64) {
        // SAFETY: as in `get`, and the pages are writable.
        unsafe { self.at(index).write_volatile(value) }
    }

    fn fill(&self, tag: u8) {
        for index in 0..self.words() {
            self.set(index, pattern::word(tag, index));
        }
    }
}

/// `count` buffers of `size` bytes each, at multiples of `align` in physical memory.
///
/// # Errors
/// What to tell the user when there are not that many.
pub fn buffers(count: usize, size: usize, align: usize) -> Result<Vec<Buffer>, String> {
    if count == 0 || size == 0 || size % PAGE != 0 || !align.is_power_of_two() || align < PAGE {
        return Err("buffers have whole pages, and lie at powers of two".into());
    }
    let span = count.saturating_mul(size.max(align)).saturating_mul(CHOICE);
    let span = NonZeroUsize::new(span.max(LEAST)).ok_or("no memory was asked for")?;
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_POPULATE;
    // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
    let base = unsafe { mmap_anonymous(None, span, protection, flags) }
        .map_err(|error| format!("no {span} bytes of memory: {error}"))?;
    // SAFETY: the range was just mapped, and stays so as long as the process lives.
    unsafe { mlock(base, span.get()) }.map_err(|error| format!("mlock: {error}"))?;

    let mut frames = frames(base.as_ptr() as usize, span.get() / PAGE)
        .map_err(|error| format!("/proc/self/pagemap: {error}"))?;
    frames.sort_unstable();
    let (pages, step) = (size / PAGE, (align / PAGE) as u64);
    let mut found: Vec<Buffer> = vec![];
    let mut at = 0;
    while found.len() < count {
        let run = frames.get(at..at + pages).ok_or_else(|| {
            format!(
                "only {} of {count} times {size:#x} bytes lie together",
                found.len()
            )
        })?;
        let (first, last) = (run[0].0, run[pages - 1].0);
        if first % step != 0 || last - first != pages as u64 - 1 {
            at += 1;
            continue;
        }
        let page = |&(_, index): &(u64, usize)| {
            // SAFETY: the index is below the number of pages that were mapped.
            unsafe { base.cast::<u8>().add(index * PAGE) }.cast()
        };
        found.push(Buffer {
            address: first * PAGE as u64,
            pages: run.iter().map(page).collect(),
        });
        at += pages;
    }
    Ok(found)
}

/// The physical page number of each of `count` pages from `address` on, with its index.
fn frames(address: usize, count: usize) -> io::Result<Vec<(u64, usize)>> {
    let mut entries = vec![0; count * 8];
    File::open("/proc/self/pagemap")?.read_exact_at(&mut entries, (address / PAGE * 8) as u64)?;
    let mut frames = vec![];
    for (index, entry) in entries.chunks_exact(8).enumerate() {
        let entry = entry.try_into().map_or(0, u64::from_le_bytes);
        if entry & PRESENT == 0 || entry & FRAME == 0 {
            let what = "a page is not there, or this is not root";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        }
        frames.push((entry & FRAME, index));
    }
    Ok(frames)
}

/// Holds buffers, tagged 0, 1, 2… and filled accordingly, until stdin ends; prints their addresses on a line, and
/// answers requests, a line each.
///
/// # Errors
/// When there is no such memory, or when stdin or stdout is lost.
pub fn serve(count: usize, size: usize, align: usize) -> Result<(), String> {
    let buffers = buffers(count, size, align)?;
    for (tag, buffer) in (0..).zip(&buffers) {
        buffer.fill(tag);
    }
    let addresses: Vec<_> = buffers
        .iter()
        .map(|buffer| format!("{:#x}", buffer.address))
        .collect();
    let lost = |error: io::Error| format!("stdin or stdout: {error}");
    say(&addresses.join(" ")).map_err(lost)?;
    for line in io::stdin().lock().lines() {
        let line = line.map_err(lost)?;
        let words: Vec<_> = line.split_whitespace().collect();
        say(&answer(&buffers, &words).unwrap_or_else(|| format!("what is `{line}`?")))
            .map_err(lost)?;
    }
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// - `check BUFFER [FIRST COUNT]`: `data` if these words are as filled (all of them by default), else what they are;
/// - `fill BUFFER TAG`: fills it anew;
/// - `get BUFFER WORD`: that word;
/// - `stamps ROUNDS`: whether the stamps are where so many rounds of `window move` must have left them.
fn answer(buffers: &[Buffer], words: &[&str]) -> Option<String> {
    let number = |text: &str| crate::number(text).ok().map(|number| number as usize);
    let buffer = |text: &str| buffers.get(number(text)?);
    match *words {
        ["check", of] => {
            let all = buffer(of)?.words().to_string();
            answer(buffers, &["check", of, "0", &all])
        }
        ["check", of, first, count] => {
            let (of, first) = (number(of)?, number(first)?);
            let buffer = buffers.get(of)?;
            let last = first.checked_add(number(count)?)?.min(buffer.words());
            let seen = judge(&[of as u8], first, (first..last).map(|at| buffer.get(at)));
            Some(seen.to_string())
        }
        ["fill", of, tag] => {
            buffer(of)?.fill(number(tag)? as u8);
            Some("filled".into())
        }
        ["get", of, word] => {
            let (buffer, word) = (buffer(of)?, number(word)?);
            (word < buffer.words()).then(|| format!("{:#x}", buffer.get(word)))
        }
        ["stamps", rounds] => Some(moves::verify(buffers, number(rounds)?)),
        _ => None,
    }
}
