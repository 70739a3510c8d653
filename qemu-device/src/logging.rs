// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The process's log, on stderr: nobody waits for who reads it, and nobody can fill it.
//!
//! A line goes to a queue, and a thread writes it. Whoever logs may therefore hold a lock that the other guest needs:
//! if stderr is not read, lines are lost and counted. Guests cause most lines, so each kind of line is written at most
//! [`BURST`] times in a [`PERIOD`], then counted, and the last of them is written when the period is over.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Lines that wait to be written, at most.
const QUEUE: usize = 1024;
/// Lines of one kind that are written in a [`PERIOD`].
const BURST: u32 = 20;
/// When counting begins again.
const PERIOD: Duration = Duration::from_secs(1);
/// Kinds of line that are told apart in a period; all others are one kind.
const MAX_KINDS: usize = 64;
/// How long the end of the process waits for the last lines to be written.
const LAST_LINES: Duration = Duration::from_millis(200);

enum Message {
    Line(Box<[u8]>),
    /// Everything before it has been written.
    Flush(SyncSender<()>),
}

/// Takes lines from env_logger.
struct Queue {
    lines: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl Write for Queue {
    /// One record, whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(Message::Line(line.into())) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log; dropping it writes what was logged last, if stderr is read.
pub struct Log(SyncSender<Message>);

impl Log {
    /// Begins to log, as `RUST_LOG` has it, or what is worth knowing of a run.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn start() -> io::Result<Self> {
        let (lines, queue) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = lost.clone();
        thread::Builder::new()
            .name("log".into())
            .spawn(move || write_all(&queue, &counted, io::stderr()))?;
        let pipe = Queue {
            lines: lines.clone(),
            lost,
        };
        env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
            .format_timestamp_micros()
            .target(env_logger::Target::Pipe(Box::new(pipe)))
            .init();
        Ok(Self(lines))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let deadline = Instant::now() + LAST_LINES;
        let (done, wait) = sync_channel(1);
        let mut flush = Message::Flush(done);
        while let Err(TrySendError::Full(again)) = self.0.try_send(flush) {
            if Instant::now() >= deadline {
                return;
            }
            flush = again;
            thread::sleep(LAST_LINES / 20);
        }
        let _ = wait.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

/// Writes what is in the queue until there is nobody left who logs.
fn write_all(queue: &Receiver<Message>, lost: &AtomicU64, mut out: impl Write) {
    let mut damper = Damper::new(Instant::now());
    // That nobody reads it is no reason to end.
    let mut put = |line: &[u8]| drop(out.write_all(line));
    loop {
        let message = match damper.until() {
            None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(end) => queue.recv_timeout(end.saturating_duration_since(Instant::now())),
        };
        let now = Instant::now();
        damper.turn(now, &mut put);
        match message {
            Ok(Message::Line(line)) => {
                if damper.takes(&line) {
                    put(&line);
                }
            }
            Ok(Message::Flush(done)) => {
                damper.end(&mut put);
                let _ = done.send(());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return damper.end(&mut put),
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            put(
                format!("({lost} lines are lost: they came faster than they were read)\n")
                    .as_bytes(),
            );
        }
    }
}

/// Decides which lines are written.
struct Damper {
    begun: Instant,
    kinds: HashMap<Box<str>, Kind>,
    /// Whether a line was held back in this period.
    holding: bool,
}

#[derive(Default)]
struct Kind {
    written: u32,
    held: u64,
    last: Box<[u8]>,
}

impl Damper {
    fn new(now: Instant) -> Self {
        Self {
            begun: now,
            kinds: HashMap::new(),
            holding: false,
        }
    }

    /// When to look again although nothing is logged.
    fn until(&self) -> Option<Instant> {
        self.holding.then(|| self.begun + PERIOD)
    }

    /// Whether to write this line.
    fn takes(&mut self, line: &[u8]) -> bool {
        let mut kind = kind(line);
        if self.kinds.len() >= MAX_KINDS && !self.kinds.contains_key(&kind) {
            kind = Box::default();
        }
        let kind = self.kinds.entry(kind).or_default();
        if kind.written < BURST {
            kind.written += 1;
            return true;
        }
        kind.held += 1;
        kind.last = line.into();
        self.holding = true;
        false
    }

    /// Begins another period if this one is over.
    fn turn(&mut self, now: Instant, put: &mut impl FnMut(&[u8])) {
        if now.saturating_duration_since(self.begun) >= PERIOD {
            self.end(put);
            self.begun = now;
        }
    }

    /// Says what was held back: how many of each kind, and the last, which is what holds now.
    fn end(&mut self, put: &mut impl FnMut(&[u8])) {
        for (_, kind) in self.kinds.drain() {
            if kind.held > 1 {
                let others = kind.held - 1;
                put(
                    format!("({others} more such lines were left out before the next)\n")
                        .as_bytes(),
                );
            }
            if kind.held > 0 {
                put(&kind.last);
            }
        }
        self.holding = false;
    }
}

/// What lines have in common that differ in numbers only: the text without any hexadecimal digit, and without what
/// stands in front of it in brackets, which is the time, the level and the module.
fn kind(line: &[u8]) -> Box<str> {
    let line = String::from_utf8_lossy(line);
    let text = line.split_once("] ").map_or(&*line, |(_, text)| text);
    let kind: String = text.chars().filter(|c| !c.is_ascii_hexdigit()).collect();
    kind.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    /// Text, once a line.
    fn log(lines: impl IntoIterator<Item = String>) -> String {
        let mut written = Vec::new();
        let (sender, queue) = sync_channel(100_000);
        for line in lines {
            sender
                .send(Message::Line(line.into_bytes().into()))
                .unwrap();
        }
        drop(sender);
        write_all(&queue, &AtomicU64::new(0), &mut written);
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn one_kind_of_line_does_not_fill_the_log_nor_hide_another() {
        let line = |n: u64| format!("[2026-01-01T00:00:{n:02}Z INFO  x] link {n} up\n");
        let other = "[2026-01-01T00:00:00Z WARN  x] something else\n".to_owned();
        let text = log((0..5000).map(line).chain([other.clone()]));
        assert!(text.contains(&other));
        assert!(
            text.contains(&line(0)) && text.contains(&line(4999)),
            "{text}"
        );
        assert!(text.contains(" more such lines were left out"));
        // Even a slow machine does not take ten periods for it.
        assert!(text.lines().count() < 10 * (BURST as usize + 3), "{text}");
    }

    #[test]
    fn what_differs_in_numbers_only_is_of_one_kind() {
        let like = |a: &str, b: &str| kind(a.as_bytes()) == kind(b.as_bytes());
        assert!(like("[1 a] at 0x1f of 12", "[2 b] at 0x2 of 3"));
        assert!(!like("[1 a] link up", "[1 a] link down"));
    }

    #[test]
    fn kinds_are_bounded() {
        let mut damper = Damper::new(Instant::now());
        let word = |n: usize| "xyz".repeat(n);
        let taken = (0..1000)
            .filter(|n| damper.takes(word(*n).as_bytes()))
            .count();
        assert!(taken < MAX_KINDS + BURST as usize + 1);
        assert!(damper.kinds.len() <= MAX_KINDS + 1);
    }

    #[test]
    fn the_last_word_comes_when_the_period_is_over() {
        struct Out(std::sync::mpsc::Sender<String>);
        impl Write for Out {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.send(String::from_utf8_lossy(bytes).into()).unwrap();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (sender, queue) = sync_channel(QUEUE);
        let (out, written) = channel();
        thread::spawn(move || write_all(&queue, &AtomicU64::new(0), Out(out)));
        for n in 0..100 {
            let line = format!("link {n}\n").into_bytes();
            sender.send(Message::Line(line.into())).unwrap();
        }
        let next = || written.recv_timeout(10 * PERIOD).unwrap();
        while next() != "link 99\n" {}
    }

    #[test]
    fn who_logs_does_not_wait_for_who_reads() {
        struct Stuck(Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (lines, queue) = sync_channel(QUEUE);
        let (stay, stuck) = channel();
        let lost = Arc::new(AtomicU64::new(0));
        let counted = lost.clone();
        thread::spawn(move || write_all(&queue, &counted, Stuck(stuck)));
        let mut log = Queue {
            lines: lines.clone(),
            lost: lost.clone(),
        };
        for _ in 0..2 * QUEUE {
            log.write_all(b"a line\n").unwrap();
        }
        assert!(lost.load(Ordering::Relaxed) >= QUEUE as u64 - 1);
        let begun = Instant::now();
        drop(Log(lines));
        assert!(begun.elapsed() < 10 * LAST_LINES);
        drop(stay);
    }
}
