// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How a run ends: the exit statuses, and the failure that carries one.

use std::fmt;
use std::process::ExitCode;

/// The exit status of every `pair` command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: everything asked for was done.
    Pass,
    /// 1: a test failed.
    Fail,
    /// 4: nothing failed and nothing ran (kselftest's skip).
    Skip,
    /// 124: a deadline passed; the message names what was waited for (as `timeout(1)`).
    Timeout,
    /// 125: the harness itself: bad usage, something missing, a helper process that died.
    Harness,
    /// 255: a guest's kernel panicked.
    Panic,
    /// 128 + n: the runner was ended by signal n (130 for Ctrl-C, 143 for SIGTERM).
    Signal(i32),
    /// The status of the command that `pair run -- CMD`, `ep CMD` or `rc CMD` ran.
    Command(u8),
}

impl Exit {
    /// The status as the shell sees it.
    pub fn code(self) -> u8 {
        match self {
            Exit::Pass => 0,
            Exit::Fail => 1,
            Exit::Skip => 4,
            Exit::Timeout => 124,
            Exit::Harness => 125,
            Exit::Panic => 255,
            Exit::Signal(n) => 128 + (n & 0x7f) as u8,
            Exit::Command(code) => code,
        }
    }

    /// The status of a child: its own, or 128 + n when signal n ended it.
    pub fn of_child(status: std::process::ExitStatus) -> Exit {
        use std::os::unix::process::ExitStatusExt;
        match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Command(code as u8),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::Harness,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// Why something could not be done: a status, what happened and where, and the evidence.
///
/// `Display` is the short outer message; [`Failure::report`] is what a user is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The status that the command ends with.
    pub exit: Exit,
    /// One sentence: what happened, where.
    pub message: String,
    /// The causes below it, outermost first.
    pub causes: Vec<String>,
    /// The last lines of the log that shows it.
    pub tail: Vec<String>,
    /// What to do next, if that is known.
    pub hint: Option<String>,
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Failure {
    /// A failure with this status and message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure {
            exit,
            message: message.into(),
            causes: vec![],
            tail: vec![],
            hint: None,
        }
    }

    /// The harness itself could not go on (125).
    pub fn harness(message: impl Into<String>) -> Self {
        Self::new(Exit::Harness, message)
    }

    /// A deadline passed (124) while waiting for `what`.
    pub fn timeout(what: impl fmt::Display, waited: std::time::Duration) -> Self {
        Self::new(
            Exit::Timeout,
            format!("waited {:.1} s for {what}", waited.as_secs_f64()),
        )
    }

    /// The same failure with an error's whole chain below it.
    pub fn caused_by(mut self, error: impl Into<anyhow::Error>) -> Self {
        self.causes
            .extend(error.into().chain().map(|cause| cause.to_string()));
        self
    }

    /// The same failure with the last lines of a log.
    pub fn with_tail(mut self, tail: Vec<String>) -> Self {
        self.tail = tail;
        self
    }

    /// The same failure with advice.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What a user is shown: message, causes, the log's tail, advice.
    pub fn report(&self) -> String {
        let mut text = self.message.clone();
        for cause in &self.causes {
            text += &format!("\n  because: {cause}");
        }
        for line in &self.tail {
            text += &format!("\n  | {}", line.trim_end_matches(['\r', '\n']));
        }
        if let Some(hint) = &self.hint {
            text += &format!("\n  {hint}");
        }
        printable(&text)
    }
}

/// The text without what a terminal would obey: a guest's console, a tool's output or a file's name may say anything.
/// Lines and tabs stay; other control characters, and those that turn the direction of text round, are replaced.
pub fn printable(text: &str) -> String {
    let obeyed = |c: char| {
        (c.is_control() && c != '\t' && c != '\n')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| {
            if obeyed(c) {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

/// An error of a library below becomes the harness's own (125), unless it holds a failure.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        match error.downcast::<Failure>() {
            Ok(failure) => failure,
            Err(error) => {
                let mut chain = error.chain().map(|cause| cause.to_string());
                let mut failure = Failure::harness(chain.next().unwrap_or_default());
                failure.causes = chain.collect();
                failure
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn statuses_are_the_documented_ones() {
        let table = [
            (Exit::Pass, 0),
            (Exit::Fail, 1),
            (Exit::Skip, 4),
            (Exit::Timeout, 124),
            (Exit::Harness, 125),
            (Exit::Panic, 255),
            (Exit::Signal(libc::SIGINT), 130),
            (Exit::Signal(libc::SIGTERM), 143),
            (Exit::Command(7), 7),
        ];
        for (exit, code) in table {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }

    #[test]
    fn a_childs_end_is_its_status_or_128_and_its_signal() {
        use std::os::unix::process::ExitStatusExt;
        use std::process::ExitStatus;
        assert_eq!(
            Exit::of_child(ExitStatus::from_raw(3 << 8)),
            Exit::Command(3)
        );
        assert_eq!(Exit::of_child(ExitStatus::from_raw(9)).code(), 137);
    }

    #[test]
    fn what_a_guest_said_does_not_reach_the_terminal_raw() {
        let said = "\x1b]0;title\x07\x1b[2J\u{9b}31m\u{202e}txt\r";
        let failure = Failure::harness(format!("panicked: {said}"))
            .caused_by(anyhow::anyhow!("{said}"))
            .with_tail(vec![said.into()])
            .with_hint(said);
        let report = failure.report();
        assert!(
            !report.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'),
            "{report:?}"
        );
        assert_eq!(report.lines().count(), 4, "{report:?}");
        assert_eq!(printable("a\tb\nc\u{e4}"), "a\tb\nc\u{e4}");
    }

    #[test]
    fn a_failure_survives_the_way_through_anyhow() {
        let error = anyhow::Error::new(Failure::new(Exit::Panic, "panicked"));
        assert_eq!(Failure::from(error).exit, Exit::Panic);
        let error = Err::<(), _>(std::io::Error::other("no"))
            .context("reading x")
            .unwrap_err();
        let failure = Failure::from(error);
        assert_eq!(
            (failure.exit, failure.message.as_str()),
            (Exit::Harness, "reading x")
        );
        assert_eq!(failure.causes, ["no"]);
    }
}
