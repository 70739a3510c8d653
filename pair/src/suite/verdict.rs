// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a script's end means.

use super::case::ExpectedFailure;
use crate::status::Exit;
use std::time::Duration;

/// The status with which a script skips itself (kselftest's `KSFT_SKIP`).
const SKIP: u8 = 4;

/// How a script ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Exited(u8),
    /// By this signal.
    Signalled(i32),
    /// It was killed after this time, its deadline.
    TimedOut(Duration),
    /// It did not start, or the pair below it died: the status that this would give a run, and what happened.
    Broken(Exit, String),
}

/// What a case came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passed.
    Pass,
    /// It failed as the hardware does, for this reason.
    ExpectedFailure(String),
    /// It did not apply, for this reason.
    Skip(String),
    /// It failed: the kind as an exit status (1, 124, 125, 255), and the reason.
    Fail(Exit, String),
}

impl Verdict {
    /// Judges a script by its end and its output.
    pub fn of(end: End, output: &str, xfail: Option<&ExpectedFailure>) -> Verdict {
        let last_line = || {
            output
                .lines()
                .map(str::trim)
                .rfind(|line| !line.is_empty())
                .unwrap_or("no output")
                .to_owned()
        };
        match (end, xfail) {
            (End::Exited(0), None) => Verdict::Pass,
            (End::Exited(0), Some(xfail)) => Verdict::Fail(
                Exit::Fail,
                format!(
                    "passed, although it fails on the hardware: {}",
                    xfail.reason
                ),
            ),
            (End::Exited(SKIP), _) => Verdict::Skip(last_line()),
            (End::Exited(status), None) if output.trim().is_empty() => {
                Verdict::Fail(Exit::Fail, format!("exit status {status} and no output"))
            }
            (End::Exited(_), None) => Verdict::Fail(Exit::Fail, last_line()),
            (End::Exited(_), Some(xfail)) if xfail.pattern.is_match(output) => {
                Verdict::ExpectedFailure(xfail.reason.clone())
            }
            (End::Exited(_), Some(xfail)) => {
                let pattern = xfail.pattern.as_str().trim_start_matches("(?m)");
                Verdict::Fail(
                    Exit::Fail,
                    format!(
                        "failed, but not as expected (nothing matches `{pattern}`): {}",
                        last_line()
                    ),
                )
            }
            (End::Signalled(signal), _) => {
                Verdict::Fail(Exit::Fail, format!("ended by signal {signal}"))
            }
            (End::TimedOut(after), _) => Verdict::Fail(
                Exit::Timeout,
                format!(
                    "no end within {} s; last line: {}",
                    after.as_secs(),
                    last_line()
                ),
            ),
            (End::Broken(exit, what), _) => Verdict::Fail(exit, what),
        }
    }

    /// Whether this is a `not ok`.
    pub fn is_failure(&self) -> bool {
        matches!(self, Verdict::Fail(..))
    }

    /// The word for it in reports.
    pub fn word(&self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::ExpectedFailure(_) => "xfail",
            Verdict::Skip(_) => "skip",
            Verdict::Fail(..) => "fail",
        }
    }

    /// Why, where that needs saying.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Verdict::Pass => None,
            Verdict::ExpectedFailure(reason) | Verdict::Skip(reason) | Verdict::Fail(_, reason) => {
                Some(reason)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    fn judge(end: End, output: &str, xfail: bool) -> Verdict {
        let expected = ExpectedFailure {
            reason: "no INTx".into(),
            pattern: Regex::new("(?m)^# .*ret \\(-22\\)").unwrap(),
        };
        Verdict::of(end, output, xfail.then_some(&expected))
    }

    #[test]
    fn the_status_decides_and_the_last_line_says_why() {
        assert_eq!(judge(End::Exited(0), "all good\n", false), Verdict::Pass);
        assert_eq!(
            judge(End::Exited(4), "no DMA here\n\n", false),
            Verdict::Skip("no DMA here".into())
        );
        assert_eq!(
            judge(End::Exited(1), "x\nbyte 3 is wrong  \n\n", false),
            Verdict::Fail(Exit::Fail, "byte 3 is wrong".into())
        );
        assert_eq!(
            judge(End::Exited(3), "", false),
            Verdict::Fail(Exit::Fail, "exit status 3 and no output".into())
        );
        assert_eq!(
            judge(End::Signalled(6), "", false),
            Verdict::Fail(Exit::Fail, "ended by signal 6".into())
        );
    }

    #[test]
    fn an_expected_failure_must_be_the_expected_one() {
        let expected = Verdict::ExpectedFailure("no INTx".into());
        assert_eq!(
            judge(End::Exited(1), "a\n# expected 0 == ret (-22)\nb\n", true),
            expected
        );
        let other = judge(End::Exited(1), "# expected 0 == ret (-110)\n", true);
        assert!(
            matches!(&other, Verdict::Fail(Exit::Fail, why) if why.contains("not as expected")),
            "{other:?}"
        );
        let passed = judge(End::Exited(0), "# expected 0 == ret (-22)", true);
        assert!(
            matches!(&passed, Verdict::Fail(Exit::Fail, why) if why.contains("no INTx")),
            "{passed:?}"
        );
        assert_eq!(
            judge(End::Exited(4), "why", true),
            Verdict::Skip("why".into())
        );
    }

    #[test]
    fn a_deadline_or_a_dead_pair_is_never_expected() {
        let output = "# ret (-22)";
        assert!(
            matches!(judge(End::TimedOut(Duration::from_secs(9)), output, true), Verdict::Fail(Exit::Timeout, why) if why.contains("9 s"))
        );
        let end = End::Broken(Exit::Panic, "the EP guest panicked".into());
        assert_eq!(
            judge(end, output, true),
            Verdict::Fail(Exit::Panic, "the EP guest panicked".into())
        );
    }
}
