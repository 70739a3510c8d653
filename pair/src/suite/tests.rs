// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The suite against a pair that is only a directory.

use super::*;
use std::cell::Cell;
use std::rc::Rc;

/// Boots directories; a pair is dead once it holds a file `dead`.
struct Fake {
    root: PathBuf,
    boots: Vec<String>,
    alive: Rc<Cell<i32>>,
    broken: bool,
    rounds_left: Option<Cell<u32>>,
}

struct FakePair {
    directory: PathBuf,
    alive: Rc<Cell<i32>>,
    slowness: u32,
}

impl Drop for FakePair {
    fn drop(&mut self) {
        self.alive.set(self.alive.get() - 1);
    }
}

impl Booted for FakePair {
    fn env(&self) -> Vec<(OsString, OsString)> {
        vec![("PAIR_DIR".into(), self.directory.clone().into())]
    }
    fn slowness(&self) -> u32 {
        self.slowness
    }
    fn dir(&self) -> &Path {
        &self.directory
    }
    fn health(&self) -> Result<(), Failure> {
        if self.directory.join("dead").exists() {
            return Err(Failure::new(Exit::Panic, "the EP guest panicked"));
        }
        Ok(())
    }
}

impl Booter for Fake {
    type Pair = FakePair;
    fn boot(&mut self, key: &BootKey) -> Result<FakePair, Failure> {
        assert_eq!(self.alive.get(), 0, "one pair at a time");
        self.boots.push(key.options.join(" "));
        if self.broken {
            return Err(Failure::new(
                Exit::Timeout,
                "waited 60.0 s for the EP guest's agent",
            ));
        }
        let directory = self.root.join(format!("boot-{}", self.boots.len()));
        std::fs::create_dir(&directory).unwrap();
        self.alive.set(1);
        Ok(FakePair {
            directory,
            alive: self.alive.clone(),
            slowness: if key.options == ["slow"] { 3 } else { 1 },
        })
    }
    fn go_on(&self) -> Result<(), Failure> {
        match &self.rounds_left {
            Some(left) if self.root.join("stop").exists() || left.get() == 0 => {
                Err(Failure::new(Exit::Signal(libc::SIGINT), "ended by SIGINT"))
            }
            _ => Ok(()),
        }
    }
}

struct Outcome {
    ktap: String,
    report: Report,
    result: Result<(), Failure>,
    boots: Vec<String>,
    _keep: tempfile::TempDir,
}

fn outcome(scripts: &[(&str, &str)], repeat: Repeat, change: impl FnOnce(&mut Fake)) -> Outcome {
    let keep = tempfile::tempdir().unwrap();
    let cases = scripts.iter().map(|(name, text)| {
        let path = keep.path().join(format!("{name}.sh"));
        std::fs::write(&path, text).unwrap();
        Case::parse((*name).into(), &path, text).unwrap()
    });
    let plan = Plan {
        cases: schedule::schedule(cases.collect()),
        repeat,
        directory: keep.path().join("run"),
        environment: vec![("ROOT".into(), keep.path().into())],
        hidden: vec![],
        slowness: 1,
    };
    let mut fake = Fake {
        root: keep.path().into(),
        boots: vec![],
        alive: Rc::default(),
        broken: false,
        rounds_left: None,
    };
    change(&mut fake);
    let (mut out, mut report) = (vec![], Report::default());
    let result = run(&plan, &mut fake, &mut out, &|_| (), &mut report);
    assert_eq!(fake.alive.get(), 0, "a pair outlived the suite");
    let ktap = String::from_utf8(out)
        .unwrap()
        .replace(&*keep.path().to_string_lossy(), "ROOT");
    Outcome {
        ktap,
        report,
        result,
        boots: fake.boots,
        _keep: keep,
    }
}

fn once(scripts: &[(&str, &str)]) -> Outcome {
    outcome(scripts, Repeat::Times(1), |_| ())
}

#[test]
fn a_round_is_ktap_with_evidence_for_failures_only() {
    let done = once(&[
        ("epf.a", "# A\necho noise"),
        ("epf.b", "# B\necho one; echo byte 3 is wrong; exit 1"),
        (
            "epf.c",
            "# C\n# xfail: no INTx\n# xfail-match: ^ret -22$\necho ret -22; exit 1",
        ),
        ("epf.d", "# D\necho no DMA; exit 4"),
    ]);
    let ktap = "KTAP version 1\n1..4\nok 1 epf.a\n# epf.b: byte 3 is wrong\n# one\n# byte 3 is wrong\n\
                # see ROOT/run/cases/epf.b.log\n# see ROOT/boot-1\nnot ok 2 epf.b\nok 3 epf.c # XFAIL no INTx\nok 4 epf.d # SKIP no DMA\n";
    assert_eq!(done.ktap, ktap);
    assert_eq!(done.report.closing_line(), "2 passed, 1 failed, 1 skipped");
    assert!(done.result.is_ok());
}

#[test]
fn cases_share_a_pair_until_its_options_differ() {
    let done = once(&[
        ("a.none", "# N\n# boot: none\ntest -z \"$PAIR_DIR\""),
        (
            "a.own",
            "# O\n# boot: own\n# options: own\ntest ! -e $PAIR_DIR/used && touch $PAIR_DIR/used",
        ),
        ("b.one", "# O\ntouch $PAIR_DIR/used"),
        ("b.other", "# O\n# options: other\ntest ! -e $PAIR_DIR/used"),
        ("b.two", "# T\ntest -e $PAIR_DIR/used"),
    ]);
    assert_eq!(
        done.report.closing_line(),
        "5 passed, 0 failed",
        "{}",
        done.ktap
    );
    assert_eq!(done.boots, ["", "other", "own"]);
}

#[test]
fn a_dead_pair_fails_its_case_and_the_next_one_boots_afresh() {
    let done = once(&[
        ("a.kill", "# K\ntouch $PAIR_DIR/dead; exit 0"),
        ("b.next", "# N\ntest ! -e $PAIR_DIR/dead"),
    ]);
    assert_eq!(done.boots.len(), 2);
    assert!(
        done.ktap.contains("# a.kill: the EP guest panicked\n"),
        "{}",
        done.ktap
    );
    assert!(
        done.ktap.contains("not ok 1 a.kill\nok 2 b.next\n"),
        "{}",
        done.ktap
    );
    assert_eq!(done.report.exit(), Exit::Panic);
}

#[test]
fn a_kernels_complaint_fails_the_case_that_provoked_it() {
    let cut = "echo '[ 1.0] ------------[ cut here ]------------' >>$PAIR_DIR/ep.log; true";
    let done = once(&[("a.warn", &format!("# W\n{cut}")), ("b.next", "# N\ntrue")]);
    assert!(
        done.ktap.contains("# a.warn: ep.log has a complaint"),
        "{}",
        done.ktap
    );
    assert!(
        done.ktap.ends_with("not ok 1 a.warn\nok 2 b.next\n"),
        "{}",
        done.ktap
    );
}

#[test]
fn a_timed_out_case_does_not_hand_its_pair_on() {
    let done = once(&[
        ("a.slow", "# S\n# timeout: 1\nsleep 30"),
        ("b.next", "# N\ntrue"),
    ]);
    assert_eq!(done.boots.len(), 2);
    assert_eq!(done.report.exit(), Exit::Timeout);
}

#[test]
fn a_slow_pair_gives_a_case_more_time() {
    let done = once(&[("a.slow", "# S\n# options: slow\n# timeout: 1\nsleep 1.5")]);
    assert_eq!(done.report.exit(), Exit::Pass, "{}", done.ktap);
}

#[test]
fn a_pair_that_never_boots_is_tried_twice() {
    let scripts = ["a.a", "a.b", "a.c"].map(|name| (name, "# P\ntrue"));
    let done = outcome(&scripts, Repeat::Times(1), |fake| fake.broken = true);
    assert_eq!(done.boots.len(), 2);
    assert_eq!(done.report.exit(), Exit::Timeout);
    assert!(
        done.ktap
            .contains("# a.c: waited 60.0 s for the EP guest's agent\n#   not tried again"),
        "{}",
        done.ktap
    );
}

#[test]
fn rounds_are_subtests() {
    let done = outcome(
        &[("a.a", "# A\ntest ! -e $ROOT/n$((n)); touch $ROOT/n0")],
        Repeat::Times(2),
        |_| (),
    );
    let heads: Vec<_> = done
        .ktap
        .lines()
        .filter(|line| !line.contains('#'))
        .collect();
    let expected = [
        "KTAP version 1",
        "1..2",
        "  KTAP version 1",
        "  1..1",
        "  ok 1 a.a",
        "ok 1 round-1",
    ];
    assert_eq!(heads[..6], expected);
    assert_eq!(heads.last(), Some(&"ok 2 round-2"));
    assert_eq!(
        done.report
            .records
            .iter()
            .map(|record| record.round)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(
        done.boots.len(),
        1,
        "a healthy pair serves the next round too"
    );
    assert!(done.report.records[1].log.ends_with("a.a.2.log"));
}

#[test]
fn a_time_runs_at_least_one_round_and_has_its_plan_at_the_end() {
    let done = outcome(
        &[("a.a", "# A\ntrue")],
        Repeat::For(Duration::from_nanos(1)),
        |_| (),
    );
    assert_eq!(
        done.ktap,
        "KTAP version 1\n  KTAP version 1\n  1..1\n  ok 1 a.a\nok 1 round-1\n1..1\n"
    );
}

#[test]
fn an_interrupted_case_has_no_result() {
    let scripts = [
        ("a.a", "# A\ntrue"),
        ("a.b", "# B\ntouch $ROOT/stop; sleep 30"),
        ("a.c", "# C\ntrue"),
    ];
    let begun = Instant::now();
    let done = outcome(&scripts, Repeat::Times(1), |fake| {
        fake.rounds_left = Some(Cell::new(1))
    });
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(done.result.unwrap_err().exit, Exit::Signal(libc::SIGINT));
    assert_eq!(done.ktap, "KTAP version 1\n1..3\nok 1 a.a\n");
}

#[test]
fn repeat_is_rounds_or_a_time() {
    assert_eq!("5".parse(), Ok(Repeat::Times(5)));
    assert_eq!("1h".parse(), Ok(Repeat::For(Duration::from_secs(3600))));
    assert_eq!("90s".parse(), Ok(Repeat::For(Duration::from_secs(90))));
    for bad in ["0", "0s", "-1", "soon", ""] {
        assert!(bad.parse::<Repeat>().is_err(), "{bad}");
    }
}
