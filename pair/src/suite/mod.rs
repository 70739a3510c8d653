// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The suite: scripts that run against a booted pair, judged and reported as KTAP.
//!
//! A case is `<root>/<suite>/<case>.sh` ([`case`]). It runs on the host with `ep` and `rc` on its PATH; exit status 0 is a pass,
//! 4 a skip, everything else a failure, and the last line of its output is the reason. Cases that ask for the same pair
//! share one; a case that left it dead makes the next one boot afresh.

pub mod case;
pub mod command;
pub mod ktap;
pub mod report;
pub mod schedule;
pub mod script;
pub mod select;
pub mod splat;
pub mod verdict;

use crate::status::{Exit, Failure};
use case::{Boot, BootKey, Case};
use ktap::Ktap;
use report::{Record, Report};
use script::{read_end, Script};
use splat::Consoles;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};
use verdict::{End, Verdict};

/// How many lines of a failed case's output are printed.
const TAIL_LINES: usize = 25;
/// After so many failed boots in a row the other cases of that pair fail without another try.
const BOOT_TRIES: u32 = 2;

/// Who boots pairs for the suite.
pub trait Booter {
    /// A booted pair; dropping it ends it.
    type Pair: Booted;

    /// Boots a pair, up to the function's driver on the RC.
    ///
    /// # Errors
    /// What [`crate::Pair::boot`] reports.
    fn boot(&mut self, key: &BootKey) -> Result<Self::Pair, Failure>;

    /// Whether the run may go on.
    ///
    /// # Errors
    /// The failure of a run that the user ended.
    fn go_on(&self) -> Result<(), Failure>;
}

/// What the suite needs of a booted pair.
pub trait Booted {
    /// The environment in which `ep` and `rc` reach it.
    fn env(&self) -> Vec<(OsString, OsString)>;
    /// How many times as long as it says a case may take on it ([`images::KernelVariant::slowness`]).
    fn slowness(&self) -> u32;
    /// Where its logs are.
    fn dir(&self) -> &Path;
    /// The first thing that went wrong with it.
    ///
    /// # Errors
    /// That failure.
    fn health(&self) -> Result<(), Failure>;
}

/// `--repeat`: how often a selection runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// So many rounds.
    Times(u32),
    /// Rounds begin until this time has passed; the first always does.
    For(Duration),
}

impl FromStr for Repeat {
    type Err = String;
    fn from_str(text: &str) -> Result<Repeat, String> {
        match (text.parse(), humantime::parse_duration(text)) {
            (Ok(times @ 1..), _) => Ok(Repeat::Times(times)),
            (Err(_), Ok(time)) if !time.is_zero() => Ok(Repeat::For(time)),
            _ => Err("either a number of rounds from 1, or a time like 90s, 30m or 1h".into()),
        }
    }
}

/// What is to run.
pub struct Plan {
    /// The cases in their order ([`schedule::schedule`]).
    pub cases: Vec<Case>,
    /// How often.
    pub repeat: Repeat,
    /// Takes `cases/<name>.log` and what cases leave.
    pub directory: PathBuf,
    /// What every case finds in its environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Variables of the runner that no case finds.
    pub hidden: Vec<OsString>,
    /// How many times as long as it says a case without a pair may take ([`images::KernelVariant::slowness`]).
    pub slowness: u32,
}

/// Runs the plan, KTAP on `out`; `progress` is told what begins.
///
/// # Errors
/// The user's interruption, with what ran until then in `report`; an `out` or a directory that cannot be written.
pub fn run<B: Booter>(
    plan: &Plan,
    booter: &mut B,
    out: &mut dyn Write,
    progress: &dyn Fn(&str),
    report: &mut Report,
) -> Result<(), Failure> {
    std::fs::create_dir_all(plan.directory.join("cases")).map_err(|error| {
        Failure::harness(format!("cannot make {}", plan.directory.display())).caused_by(error)
    })?;
    let mut bench = Bench {
        plan,
        booter,
        progress,
        report,
        slot: None,
        boot_failures: vec![],
    };
    let mut ktap = Ktap::new(out);
    let begun = Instant::now();
    match plan.repeat {
        Repeat::Times(1) => bench.round(1, &mut ktap).map(drop),
        Repeat::Times(rounds) => {
            ktap.header(Some(rounds as usize)).map_err(lost_output)?;
            (1..=rounds).try_for_each(|round| bench.subtest(round, &mut ktap))
        }
        Repeat::For(time) => {
            ktap.header(None).map_err(lost_output)?;
            let mut rounds = 0;
            while rounds == 0 || begun.elapsed() < time {
                rounds += 1;
                bench.subtest(rounds, &mut ktap)?;
            }
            // TAP has the plan at the end where it is not known before; without one `prove` fails.
            ktap.plan(rounds as usize).map_err(lost_output)
        }
    }
}

fn lost_output(error: io::Error) -> Failure {
    Failure::harness("cannot write results to stdout").caused_by(error)
}

/// A run in progress.
struct Bench<'a, B: Booter> {
    plan: &'a Plan,
    booter: &'a mut B,
    progress: &'a dyn Fn(&str),
    report: &'a mut Report,
    /// The pair that is up.
    slot: Option<Slot<B::Pair>>,
    /// Pairs that did not boot: how often in a row, and why at last.
    boot_failures: Vec<(BootKey, u32, Failure)>,
}

/// A pair that is up.
struct Slot<P> {
    key: BootKey,
    pair: P,
    consoles: Consoles,
}

impl<B: Booter> Bench<'_, B> {
    /// One round as a level of subtests.
    fn subtest(&mut self, round: u32, ktap: &mut Ktap) -> Result<(), Failure> {
        let verdict = self.round(round, &mut ktap.subtests())?;
        ktap.result(&format!("round-{round}"), &verdict)
            .map_err(lost_output)
    }

    /// One round: a plan, and a line for each case.
    fn round(&mut self, round: u32, ktap: &mut Ktap) -> Result<Verdict, Failure> {
        ktap.header(Some(self.plan.cases.len()))
            .map_err(lost_output)?;
        let mut failed = 0;
        for (index, case) in self.plan.cases.iter().enumerate() {
            self.booter.go_on()?;
            (self.progress)(&format!(
                "{} ({} of {})",
                case.name,
                index + 1,
                self.plan.cases.len()
            ));
            let (record, evidence) = self.case(case, round);
            // An interrupted case has come to nothing.
            self.booter.go_on()?;
            failed += usize::from(record.verdict.is_failure());
            print(ktap, &record, &evidence).map_err(lost_output)?;
            self.report.records.push(record);
        }
        Ok(match failed {
            0 => Verdict::Pass,
            _ => Verdict::Fail(Exit::Fail, format!("{failed} failed")),
        })
    }

    /// Runs one case; also says where evidence of it is.
    fn case(&mut self, case: &Case, round: u32) -> (Record, Vec<PathBuf>) {
        let again = if round > 1 {
            format!(".{round}")
        } else {
            String::new()
        };
        let cases = self.plan.directory.join("cases");
        let log = cases.join(format!("{}{again}.log", case.name));
        let directory = cases.join(format!("{}{again}", case.name));
        let mut evidence = vec![];
        let ready = self.pair_for(&case.boot);
        let begun = Instant::now();
        let end = match ready {
            Err(failure) => End::Broken(failure.exit, failure.report()),
            Ok(()) => {
                let mut environment = self.plan.environment.clone();
                environment.push(("CASE".into(), case.name.clone().into()));
                environment.push(("SPIDER_PAIR_RUNS".into(), directory.join("runs").into()));
                let pair = self.slot.as_ref().map(|slot| &slot.pair);
                if let Some(pair) = pair {
                    environment.extend(pair.env());
                    evidence.push(pair.dir().to_owned());
                }
                let slowness = pair.map_or(self.plan.slowness, Booted::slowness);
                let script = Script {
                    path: case.path.clone(),
                    environment,
                    hidden: self.plan.hidden.clone(),
                    directory: directory.clone(),
                    log: log.clone(),
                    timeout: case.timeout * slowness,
                };
                script.run(|| {
                    self.booter
                        .go_on()
                        .and_then(|()| pair.map_or(Ok(()), Booted::health))
                })
            }
        };
        let time = begun.elapsed();
        let complaint = self
            .slot
            .as_mut()
            .and_then(|slot| slot.consoles.complaint(case.complaint.as_ref()));
        let end = match (end, complaint) {
            (End::Exited(_), Some(complaint)) => End::Broken(Exit::Fail, complaint),
            (end, _) => end,
        };
        // Removed only if the case left nothing in it.
        let _ = std::fs::remove_dir(&directory);
        let output = read_end(&log).unwrap_or_default();
        let verdict = Verdict::of(end, &output, case.xfail.as_ref());
        // A case that failed may have left anything in its pair.
        if verdict.is_failure() || matches!(case.boot, Boot::Own(_)) {
            self.slot = None;
        }
        if log.exists() {
            evidence.insert(0, log.clone());
        }
        let tail = if verdict.is_failure() {
            last_lines(&output)
        } else {
            String::new()
        };
        (
            Record {
                name: case.name.clone(),
                tier: case.tier,
                round,
                verdict,
                time,
                log,
                tail,
            },
            evidence,
        )
    }

    /// Sees to it that the pair which a case needs is up, and no other.
    fn pair_for(&mut self, boot: &Boot) -> Result<(), Failure> {
        let key = match boot {
            Boot::None => {
                self.slot = None;
                return Ok(());
            }
            Boot::Own(key) => {
                self.slot = None;
                key
            }
            Boot::Shared(key) => {
                let usable = |slot: &Slot<B::Pair>| slot.key == *key && slot.pair.health().is_ok();
                if self.slot.as_ref().is_some_and(usable) {
                    return Ok(());
                }
                self.slot = None;
                key
            }
        };
        let known = self
            .boot_failures
            .iter()
            .position(|(failed, ..)| failed == key);
        if let Some((_, tries, failure)) = known.map(|at| &self.boot_failures[at]) {
            if *tries >= BOOT_TRIES {
                return Err(failure
                    .clone()
                    .with_hint(format!("not tried again after {tries} boots that failed")));
            }
        }
        let begun = Instant::now();
        let booted = self.booter.boot(key);
        self.report.booting += begun.elapsed();
        match (booted, known) {
            (Ok(pair), known) => {
                if let Some(at) = known {
                    self.boot_failures.remove(at);
                }
                let consoles = Consoles::new(pair.dir());
                self.slot = Some(Slot {
                    key: key.clone(),
                    pair,
                    consoles,
                });
                Ok(())
            }
            (Err(failure), Some(at)) => {
                self.boot_failures[at].1 += 1;
                self.boot_failures[at].2 = failure.clone();
                Err(failure)
            }
            (Err(failure), None) => {
                self.boot_failures.push((key.clone(), 1, failure.clone()));
                Err(failure)
            }
        }
    }
}

/// A case's line, with what a failure leaves to look at before it.
fn print(ktap: &mut Ktap, record: &Record, evidence: &[PathBuf]) -> io::Result<()> {
    if let Verdict::Fail(_, reason) = &record.verdict {
        ktap.diagnostic(&format!("{}: {reason}", record.name))?;
        ktap.diagnostic(&record.tail)?;
        evidence
            .iter()
            .try_for_each(|path| ktap.diagnostic(&format!("see {}", path.display())))?;
    }
    ktap.result(&record.name, &record.verdict)
}

/// The end of an output, as much as belongs in a report.
fn last_lines(output: &str) -> String {
    let lines: Vec<_> = output.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests;
