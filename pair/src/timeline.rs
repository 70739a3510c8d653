// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `timeline.log`: what every part said and what the runner did, on one clock.
//!
//! Each line is `[seconds.micros] source | text`, seconds since the run began (CLOCK_MONOTONIC). Lines are written
//! as they come; the device stamps its own events, so some come late, and [`Timeline::finish`] puts them in order.

use crate::status::printable;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, OnceLock};

/// CLOCK_MONOTONIC in nanoseconds: the clock of the runner and of the device process.
pub fn now() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .expect("CLOCK_MONOTONIC exists on every Linux");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// One run's merged log.
pub struct Timeline {
    start: u64,
    file: Mutex<Log>,
    lost: OnceLock<Box<dyn Fn(io::Error) + Send + Sync>>,
}

/// A file that takes so many bytes and no more, and says once that it cannot be written.
pub struct Log {
    file: File,
    room: u64,
    failed: bool,
}

/// What became of a piece of a log.
#[derive(Debug)]
pub enum Written {
    /// It stands in the file.
    Whole,
    /// The file is full, from this piece on or already; a line in it says so.
    Full,
    /// The file cannot be written. Told once; later pieces are [`Written::Full`].
    Failed(io::Error),
}

impl Log {
    /// As much of each process's output is kept, in bytes. A kernel that says more repeats itself.
    pub const LIMIT: u64 = 64 << 20;

    /// A log in a file that is new.
    pub fn new(file: File, limit: u64) -> Self {
        Log {
            file,
            room: limit,
            failed: false,
        }
    }

    /// Adds a piece to it.
    pub fn write(&mut self, bytes: &[u8]) -> Written {
        if self.failed || self.room == 0 {
            return Written::Full;
        }
        let (fits, left) = (bytes.len() as u64 <= self.room, self.room);
        self.room = if fits { left - bytes.len() as u64 } else { 0 };
        let written = match fits {
            true => self.file.write_all(bytes),
            false => self.append("\n[this log is full and ends here]\n"),
        };
        match written {
            Ok(()) if fits => Written::Whole,
            Ok(()) => Written::Full,
            Err(error) => {
                self.failed = true;
                Written::Failed(error)
            }
        }
    }

    /// What is to stand below a log that was full: its last lines.
    pub fn close(&mut self, last: impl IntoIterator<Item = String>) {
        if self.room == 0 && !self.failed {
            for line in last {
                if self.append(&(line + "\n")).is_err() {
                    break;
                }
            }
        }
    }

    fn append(&mut self, text: &str) -> io::Result<()> {
        self.file.write_all(text.as_bytes())
    }
}

impl Timeline {
    /// Begins the timeline of a run that starts now.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create_new(true)
            .read(true)
            .append(true)
            .open(path)?;
        Ok(Timeline {
            start: now(),
            file: Mutex::new(Log::new(file, 4 * Log::LIMIT)),
            lost: OnceLock::new(),
        })
    }

    /// `tell` hears of it, once, when the file cannot be written.
    pub fn on_loss(&self, tell: impl Fn(io::Error) + Send + Sync + 'static) {
        let _ = self.lost.set(Box::new(tell));
    }

    /// Seconds since the run began.
    pub fn elapsed(&self) -> f64 {
        (now() - self.start) as f64 / 1e9
    }

    /// Writes what `source` said just now.
    pub fn line(&self, source: &str, text: &str) {
        self.line_at(now(), source, text);
    }

    /// Writes what `source` said at `time` (CLOCK_MONOTONIC, ns).
    pub fn line_at(&self, time: u64, source: &str, text: &str) {
        let line = format_line(time.saturating_sub(self.start), source, text);
        let mut file = self
            .file
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let written = file.write(line.as_bytes());
        drop(file);
        if let Written::Failed(error) = written {
            match self.lost.get() {
                Some(tell) => tell(error),
                None => log::error!("timeline: {error}"),
            }
        }
    }

    /// Puts the lines in the order of their stamps.
    ///
    /// # Errors
    /// When the file cannot be read or written; it is then as it was.
    pub fn finish(&self) -> io::Result<()> {
        let mut file = self
            .file
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let file = &mut file.file;
        let mut text = String::new();
        file.seek(SeekFrom::Start(0))?;
        file.read_to_string(&mut text)?;
        if let Some(sorted) = sort(&text) {
            file.set_len(0)?;
            file.write_all(sorted.as_bytes())?;
        }
        file.flush()
    }
}

/// One line of the timeline, `age` nanoseconds after its beginning.
fn format_line(age: u64, source: &str, text: &str) -> String {
    let printable = printable(text.trim_end_matches(['\r', '\n'])).replace('\n', "\u{fffd}");
    let micros = age / 1000;
    format!(
        "[{:5}.{:06}] {source:<6} | {printable}\n",
        micros / 1_000_000,
        micros % 1_000_000
    )
}

/// The lines in the order of their stamps, those of one moment as they came; None when they are so already.
fn sort(text: &str) -> Option<String> {
    let stamp = |line: &str| -> Option<u64> {
        let (seconds, micros) = line.strip_prefix('[')?.split_once(']')?.0.split_once('.')?;
        Some(seconds.trim().parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?)
    };
    let mut lines: Vec<(u64, &str)> = Vec::new();
    for line in text.split_inclusive('\n') {
        let before = lines.last().map_or(0, |last| last.0);
        lines.push((stamp(line).unwrap_or(before), line));
    }
    if lines.is_sorted_by_key(|line| line.0) {
        return None;
    }
    lines.sort_by_key(|line| line.0);
    Some(lines.into_iter().map(|line| line.1).collect())
}

/// Cuts a byte stream into lines, however it arrives.
#[derive(Default)]
pub struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// A line that never ends is cut here, so that a stream of junk costs no memory.
    const LONGEST: usize = 4096;

    /// Takes the next bytes and hands every line that they end to `each`.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&str)) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            self.partial.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.end(&mut each);
        }
        self.partial.extend_from_slice(bytes);
        while self.partial.len() > Self::LONGEST {
            let rest = self.partial.split_off(Self::LONGEST);
            self.end(&mut each);
            self.partial = rest;
        }
    }

    /// Hands over what no newline ended.
    pub fn finish(&mut self, mut each: impl FnMut(&str)) {
        if !self.partial.is_empty() {
            self.end(&mut each);
        }
    }

    fn end(&mut self, each: &mut impl FnMut(&str)) {
        let line = std::mem::take(&mut self.partial);
        each(String::from_utf8_lossy(&line).trim_end_matches('\r'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_however_they_arrive() {
        let (mut lines, mut seen) = (Lines::default(), vec![]);
        for piece in ["one\r\ntw", "o\n", "\nlast"] {
            lines.push(piece.as_bytes(), |line| seen.push(line.to_owned()));
        }
        lines.finish(|line| seen.push(line.to_owned()));
        assert_eq!(seen, ["one", "two", "", "last"]);
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let (mut lines, mut seen) = (Lines::default(), 0);
        lines.push(&[b'x'; 3 * Lines::LONGEST + 1], |_| seen += 1);
        assert_eq!(seen, 3);
        assert_eq!(lines.partial.len(), 1);
    }

    #[test]
    fn late_events_go_where_their_stamp_says() {
        let text = format_line(1_000_000, "ep", "a")
            + &format_line(3_000_000, "rc", "c")
            + &format_line(2_000_000, "device", "b")
            + &format_line(2_000_000, "device", "b2");
        let sorted = sort(&text).unwrap();
        let texts: Vec<_> = sorted
            .lines()
            .map(|line| line.split_once("| ").unwrap().1)
            .collect();
        assert_eq!(texts, ["a", "b", "b2", "c"]);
        assert!(sort(&sorted).is_none());
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(
            format_line(1_500_000_000, "ep", "a\x1b[31m\tb\r\n"),
            "[    1.500000] ep     | a\u{fffd}[31m\tb\n"
        );
    }

    #[test]
    fn a_log_takes_so_much_and_ends_with_the_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Log::new(File::create(&path).unwrap(), 10);
        assert!(matches!(log.write(b"12345678\n"), Written::Whole));
        for _ in 0..1000 {
            assert!(matches!(log.write(b"flood\n"), Written::Full));
        }
        log.close(["last words".to_owned()]);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("12345678\n") && text.ends_with("last words\n"),
            "{text}"
        );
        assert!(text.contains("full") && text.len() < 100, "{text}");
    }

    #[test]
    fn a_full_disk_is_told_once() {
        let full = OpenOptions::new().append(true).open("/dev/full").unwrap();
        let mut log = Log::new(full, Log::LIMIT);
        assert!(matches!(log.write(b"x"), Written::Failed(_)));
        assert!(matches!(log.write(b"x"), Written::Full));
    }

    #[test]
    fn the_file_ends_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("timeline.log");
        let timeline = Timeline::create(&path).unwrap();
        let t = now();
        timeline.line_at(t + 2_000_000, "rc", "second");
        timeline.line_at(t + 1_000_000, "device", "first");
        timeline.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.find("first") < text.find("second"), "{text}");
        assert_eq!(text.lines().count(), 2);
    }
}
