// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a test run came to: totals, exit status, JSON and JUnit files.

use super::case::Tier;
use super::verdict::Verdict;
use crate::status::{Exit, Failure};
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// One case that ran.
#[derive(Clone, Debug)]
pub struct Record {
    /// `<suite>.<case>`.
    pub name: String,
    /// Its tier.
    pub tier: Tier,
    /// The round, from 1.
    pub round: u32,
    /// What it came to.
    pub verdict: Verdict,
    /// From its start to its end, without the boot.
    pub time: Duration,
    /// Where its output is.
    pub log: PathBuf,
    /// The end of that output, if it failed.
    pub tail: String,
}

/// All that ran.
#[derive(Debug, Default)]
pub struct Report {
    /// One for each case and round, in order.
    pub records: Vec<Record>,
    /// The time that boots took.
    pub booting: Duration,
    /// The time before the first of them: what was built or checked.
    pub preparing: Duration,
    /// When the run began.
    pub date: Option<SystemTime>,
    /// What of this project was tested, where that is known.
    pub commit: Option<String>,
    /// The kernels of EP and RC, for each kind of pair that was made before the first case.
    pub kernels: Vec<[String; 2]>,
}

/// How many cases of each kind; an expected failure has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// `ok` without SKIP.
    pub passed: usize,
    /// `not ok`.
    pub failed: usize,
    /// `ok` with SKIP.
    pub skipped: usize,
}

impl Report {
    /// Counts the records.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for record in &self.records {
            match record.verdict {
                Verdict::Pass | Verdict::ExpectedFailure(_) => totals.passed += 1,
                Verdict::Skip(_) => totals.skipped += 1,
                Verdict::Fail(..) => totals.failed += 1,
            }
        }
        totals
    }

    /// `N passed, N failed`, with `, N skipped` where there are any.
    pub fn closing_line(&self) -> String {
        let Totals {
            passed,
            failed,
            skipped,
        } = self.totals();
        let skipped = if skipped > 0 {
            format!(", {skipped} skipped")
        } else {
            String::new()
        };
        format!("{passed} passed, {failed} failed{skipped}")
    }

    /// `budget: …`: where the time went, against the tier's limits.
    pub fn budget_line(&self, tier: Tier) -> String {
        let running: Duration = self.records.iter().map(|record| record.time).sum();
        let total = self.preparing + self.booting + running;
        let (name, limits) = match tier {
            Tier::Ci => ("ci", "limits 40 min warm, 75 min cold"),
            Tier::Soak => ("soak", "no limit"),
        };
        let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
        format!(
            "budget: {name} tier used {} (preparing {}, booting {}, cases {}); {limits}",
            seconds(total),
            seconds(self.preparing),
            seconds(self.booting),
            seconds(running)
        )
    }

    /// The run's status: that of its failures where they are all of one kind, 1 where they are not, 4 if all was skipped.
    pub fn exit(&self) -> Exit {
        let kinds = self
            .records
            .iter()
            .filter_map(|record| match record.verdict {
                Verdict::Fail(exit, _) => Some(exit),
                _ => None,
            });
        let failure = kinds.reduce(|one, other| if one == other { one } else { Exit::Fail });
        match (failure, self.totals()) {
            (Some(exit), _) => exit,
            (None, Totals { passed: 0, .. }) => Exit::Skip,
            (None, _) => Exit::Pass,
        }
    }

    /// The beginning, in UTC, without a zone: as both files have it.
    fn date(&self) -> Option<String> {
        let date = humantime::format_rfc3339_seconds(self.date?).to_string();
        Some(date.trim_end_matches('Z').to_owned())
    }

    /// Writes the report as JSON.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_json(&self, path: &Path) -> Result<(), Failure> {
        let Totals {
            passed,
            failed,
            skipped,
        } = self.totals();
        let cases: Vec<_> = self
            .records
            .iter()
            .map(|record| {
                serde_json::json!({
                    "name": record.name,
                    "round": record.round,
                    "verdict": record.verdict.word(),
                    "reason": record.verdict.reason(),
                    "seconds": record.time.as_secs_f64(),
                    "log": record.log,
                })
            })
            .collect();
        let report = serde_json::json!({
            "date": self.date(),
            "commit": self.commit,
            "kernels": self.kernels,
            "passed": passed,
            "failed": failed,
            "skipped": skipped,
            "preparing_seconds": self.preparing.as_secs_f64(),
            "booting_seconds": self.booting.as_secs_f64(),
            "cases": cases,
        });
        write(path, &format!("{report:#}\n"))
    }

    /// Writes the report as JUnit XML, a test suite for each suite.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_junit(&self, path: &Path) -> Result<(), Failure> {
        let mut junit = quick_junit::Report::new("spider-pair");
        junit.set_time(self.records.iter().map(|record| record.time).sum());
        let mut suites: Vec<TestSuite> = vec![];
        for record in &self.records {
            let (suite, case) = record.name.split_once('.').unwrap_or(("", &record.name));
            let at = suites
                .iter()
                .position(|known| known.name.as_str() == suite)
                .unwrap_or_else(|| {
                    let mut new = TestSuite::new(suite);
                    if let Some(date) = self.date() {
                        new.extra.insert("timestamp".into(), date.into());
                    }
                    suites.push(new);
                    suites.len() - 1
                });
            suites[at].add_test_case(junit_case(suite, case, record));
        }
        junit.add_test_suites(suites);
        let text = junit
            .to_string()
            .map_err(|error| Failure::harness("cannot write JUnit XML").caused_by(error))?;
        write(path, &without_skipped(&text))
    }
}

/// The element `testsuites` has no attribute `skipped` in JUnit's schema; each `testsuite` has.
fn without_skipped(text: &str) -> String {
    let Some(begin) = text.find("<testsuites ") else {
        return text.to_owned();
    };
    let (before, rest) = text.split_at(begin);
    let (tag, after) = rest.split_at(rest.find('>').unwrap_or(0));
    let words = tag.split(' ').filter(|word| !word.starts_with("skipped="));
    format!("{before}{}{after}", words.collect::<Vec<_>>().join(" "))
}

fn junit_case(suite: &str, case: &str, record: &Record) -> TestCase {
    let status = match &record.verdict {
        Verdict::Pass | Verdict::ExpectedFailure(_) => TestCaseStatus::success(),
        Verdict::Skip(reason) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(reason.as_str());
            status
        }
        Verdict::Fail(exit, reason) => {
            let kind = if *exit == Exit::Fail {
                NonSuccessKind::Failure
            } else {
                NonSuccessKind::Error
            };
            let mut status = TestCaseStatus::non_success(kind);
            status.set_message(reason.as_str());
            // The text is what GitLab shows.
            status.set_description(format!(
                "{reason}\n\n{}\n{}",
                record.tail,
                record.log.display()
            ));
            status
        }
    };
    let name = if record.round > 1 {
        format!("{case} (round {})", record.round)
    } else {
        case.to_owned()
    };
    let mut test = TestCase::new(name, status);
    test.set_classname(suite).set_time(record.time);
    if let Verdict::ExpectedFailure(reason) = &record.verdict {
        test.set_system_out(format!("expected failure: {reason}"));
    } else if !record.tail.is_empty() {
        test.set_system_out(record.tail.as_str());
    }
    test
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| {
        Failure::harness(format!("cannot write {}", path.display())).caused_by(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdicts: &[Verdict]) -> Report {
        let record = |(index, verdict): (usize, &Verdict)| Record {
            name: format!("epf.c{index}"),
            tier: Tier::Ci,
            round: 1,
            verdict: verdict.clone(),
            time: Duration::from_millis(1500),
            log: "x.log".into(),
            tail: "a < b & \u{1}".into(),
        };
        Report {
            records: verdicts.iter().enumerate().map(record).collect(),
            ..Report::default()
        }
    }

    fn fail(exit: Exit) -> Verdict {
        Verdict::Fail(exit, "why".into())
    }

    #[test]
    fn an_expected_failure_counts_as_passed() {
        let all = report(&[
            Verdict::Pass,
            Verdict::ExpectedFailure("x".into()),
            fail(Exit::Fail),
        ]);
        assert_eq!(all.closing_line(), "2 passed, 1 failed");
        assert_eq!(
            report(&[Verdict::Skip("x".into())]).closing_line(),
            "0 passed, 0 failed, 1 skipped"
        );
    }

    #[test]
    fn the_status_is_the_failures_kind() {
        let table: [(&[Verdict], Exit); 7] = [
            (&[Verdict::Pass, Verdict::Skip("x".into())], Exit::Pass),
            (&[Verdict::ExpectedFailure("x".into())], Exit::Pass),
            (&[Verdict::Skip("x".into())], Exit::Skip),
            (&[Verdict::Pass, fail(Exit::Fail)], Exit::Fail),
            (&[fail(Exit::Panic), fail(Exit::Panic)], Exit::Panic),
            (&[fail(Exit::Harness)], Exit::Harness),
            (&[fail(Exit::Timeout), fail(Exit::Panic)], Exit::Fail),
        ];
        for (verdicts, exit) in table {
            assert_eq!(report(verdicts).exit(), exit, "{verdicts:?}");
        }
    }

    #[test]
    fn the_budget_says_where_the_time_went() {
        let mut report = report(&[Verdict::Pass, Verdict::Pass]);
        report.booting = Duration::from_secs(6);
        let line = "budget: ci tier used 9.0 s (preparing 0.0 s, booting 6.0 s, cases 3.0 s); limits 40 min warm, 75 min cold";
        assert_eq!(report.budget_line(Tier::Ci), line);
    }

    #[test]
    fn files_hold_every_case() {
        let directory = tempfile::tempdir().unwrap();
        let (json, junit) = (
            directory.path().join("r.json"),
            directory.path().join("r.xml"),
        );
        let report = report(&[
            Verdict::Pass,
            fail(Exit::Fail),
            Verdict::Skip("no <DMA>".into()),
            fail(Exit::Harness),
        ]);
        let report = Report {
            date: Some(SystemTime::UNIX_EPOCH),
            commit: Some("abc+".into()),
            kernels: vec![["/k/ep".into(), "/k/rc".into()]],
            ..report
        };
        report.write_json(&json).unwrap();
        report.write_junit(&junit).unwrap();

        let json: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
        assert_eq!(json["failed"], 2);
        assert_eq!(json["date"], "1970-01-01T00:00:00");
        assert_eq!(json["commit"], "abc+");
        assert_eq!(json["kernels"][0][1], "/k/rc");
        assert_eq!(json["cases"][1]["verdict"], "fail");
        assert_eq!(json["cases"][2]["reason"], "no <DMA>");

        let junit = std::fs::read_to_string(junit).unwrap();
        for part in [
            r#"tests="4""#,
            r#"failures="1""#,
            r#"errors="1""#,
            "no &lt;DMA&gt;",
            r#"classname="epf""#,
            "a &lt; b",
            r#"timestamp="1970-01-01T00:00:00""#,
            // The failure's own text, which GitLab shows.
            ">why\n\na &lt; b",
        ] {
            assert!(junit.contains(part), "{part} is missing:\n{junit}");
        }
        let all = junit.split("<testsuites ").nth(1).unwrap();
        assert!(!all.split('>').next().unwrap().contains("skipped"), "{all}");
        let failure = report
            .write_json(Path::new("/no/such/place.json"))
            .unwrap_err();
        assert!(failure.message.contains("/no/such/place.json"));
    }
}
