// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Lines on the terminal: whole ones, and one that passes.
//!
//! What runs is shown on a line of the terminal that is written over again and again. Whoever prints something that
//! stays, on either stream, takes that line away first, so that the two do not mix; and each line is one write, so that
//! lines of both streams do not either where both go to one file.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Whether the passing line is there.
static SHOWN: Mutex<bool> = Mutex::new(false);

const CLEAR: &str = "\r\x1b[K";

/// Takes the passing line away, and keeps it away as long as the guard lives.
fn clear() -> MutexGuard<'static, bool> {
    let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if std::mem::take(&mut *shown) {
        let _ = io::stderr().write_all(CLEAR.as_bytes());
    }
    shown
}

/// Says what runs: on a terminal that shows both streams a line that passes, since results follow there; else a line.
pub fn show(what: &str) {
    if !(io::stdout().is_terminal() && io::stderr().is_terminal()) {
        return say(&format!("pair: {what}"));
    }
    let mut shown = clear();
    *shown = true;
    let _ = io::stderr().write_all(format!("{CLEAR}\x1b[2m{what}\x1b[0m").as_bytes());
}

/// A line on stderr that stays. A terminal that a guest's shell has made raw needs the carriage return.
pub fn say(line: &str) {
    let _shown = clear();
    let end = if io::stderr().is_terminal() {
        "\r\n"
    } else {
        "\n"
    };
    let _ = io::stderr().write_all(format!("{line}{end}").as_bytes());
}

/// Standard output, line by line: each is one write, with the passing line out of its way.
#[derive(Default)]
pub struct Output(Vec<u8>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        if let Some(end) = self.0.iter().rposition(|&byte| byte == b'\n') {
            let rest = self.0.split_off(end + 1);
            let lines = std::mem::replace(&mut self.0, rest);
            let _shown = clear();
            let mut out = io::stdout().lock();
            out.write_all(&lines)?;
            out.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _shown = clear();
        let mut out = io::stdout().lock();
        out.write_all(&std::mem::take(&mut self.0))?;
        out.flush()
    }
}
