// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `pair test` and `pair list`.

use super::case::{Boot, BootKey, Case, Tier};
use super::report::Report;
use super::schedule::schedule;
use super::select::{discover, select};
use super::{run, Booted, Booter, Plan, Repeat};
use crate::artefacts::Artefacts;
use crate::function::Function;
use crate::options::Options;
use crate::progress;
use crate::prune;
use crate::session::Pair;
use crate::side::Side;
use crate::signals::{self, Hold};
use crate::status::{Exit, Failure};
use clap::CommandFactory;
use images::KernelVariant;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime};

/// What `pair test` takes besides the options of the boot.
#[derive(Clone, Debug, clap::Args)]
pub struct Selection {
    /// Globs on test names (`pair list` prints them); all tests of the tier if there is none
    #[arg(value_name = "PATTERN")]
    pub patterns: Vec<String>,
    /// The long tier instead of the one with a budget of minutes
    #[arg(long, env = "SPIDER_PAIR_SOAK", value_parser = clap::builder::FalseyValueParser::new())]
    pub soak: bool,
    /// Run the selection again and again: a number of rounds, or a time such as 90s, 30m or 1h
    #[arg(
        long,
        value_name = "N|DURATION",
        default_value = "1",
        env = "SPIDER_PAIR_REPEAT"
    )]
    pub repeat: Repeat,
    /// Also write the results as JUnit XML
    #[arg(long, value_name = "FILE", env = "SPIDER_PAIR_JUNIT")]
    pub junit: Option<PathBuf>,
    /// Also write the results as JSON
    #[arg(long, value_name = "FILE", env = "SPIDER_PAIR_JSON")]
    pub json: Option<PathBuf>,
}

/// Gives the options for a case's pair: the user's own, with the case's function and options laid over them.
pub type OptionsFor<'a> = &'a dyn Fn(Function, &[String]) -> Result<Options, Failure>;

/// Where the suite is: `SPIDER_PAIR_SUITE`, else `ci/` of the checkout that the program was built from.
pub fn root() -> PathBuf {
    match std::env::var_os("SPIDER_PAIR_SUITE").filter(|path| !path.is_empty()) {
        Some(path) => path.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("ci"),
    }
}

/// `pair list`: a line for each case, its name, tier and purpose.
///
/// # Errors
/// A suite that cannot be read.
pub fn list() -> Result<Exit, Failure> {
    let cases = discover(&root())?;
    let width = cases.iter().map(|case| case.name.len()).max().unwrap_or(0);
    let mut out = io::stdout().lock();
    for case in cases {
        let tier = match case.tier {
            Tier::Ci => "ci",
            Tier::Soak => "soak",
        };
        // A reader that has seen enough (`| head`) is no failure.
        if writeln!(out, "{:width$}  {tier:4}  {}", case.name, case.purpose).is_err() {
            break;
        }
    }
    Ok(Exit::Pass)
}

/// `pair test`: runs the suite, or what `args` select of it.
///
/// # Errors
/// A suite or a pattern that is wrong; artefacts that cannot be had; an interruption, after the files are written.
pub fn test(args: &Selection, options_for: OptionsFor) -> Result<Exit, Failure> {
    let tier = if args.soak { Tier::Soak } else { Tier::Ci };
    let cases = schedule(select(discover(&root())?, &args.patterns, tier)?);
    for path in [&args.junit, &args.json].into_iter().flatten() {
        // Found out now, not after an hour.
        std::fs::write(path, "").map_err(|error| unwritable(path, error))?;
    }

    let (begun, date) = (Instant::now(), SystemTime::now());
    let default = options_for(Function::default(), &[])?;
    let artefacts = prepare(options_for, &cases)?;
    prune::old_runs(&default.runs);
    let directory = new_directory(&default.runs)?;
    let kernels = artefacts.iter().map(|(_, made)| about_artefacts(made));
    let kernels = kernels.collect();
    let environment = environment(&directory, &default)?;
    let plan = Plan {
        cases,
        repeat: args.repeat,
        directory,
        environment,
        hidden: option_variables(),
        slowness: default.kernel_variant.slowness(),
    };
    let runs = plan.directory.clone();
    let mut booter = RealBooter {
        options_for,
        runs,
        artefacts,
    };
    let mut report = Report {
        preparing: begun.elapsed(),
        date: Some(date),
        commit: commit(),
        kernels,
        ..Report::default()
    };

    // From here on a signal ends the run in order, with the results of what ran.
    let _hold = Hold::new();
    progress::say(&format!("pair: logs go to {}", plan.directory.display()));
    let result = run(
        &plan,
        &mut booter,
        &mut progress::Output::default(),
        &progress::show,
        &mut report,
    );
    report.write_json(&plan.directory.join("results.json"))?;
    if let Some(path) = &args.json {
        report.write_json(path)?;
    }
    if let Some(path) = &args.junit {
        report.write_junit(path)?;
    }
    let mut closing = String::new();
    if let Err(failure) = &result {
        closing += &format!("# {failure}\n");
    }
    closing += &format!(
        "# {}\n{}\n",
        report.budget_line(tier),
        report.closing_line()
    );
    let written = progress::Output::default().write_all(closing.as_bytes());
    result?;
    written.map_err(|error| unwritable(Path::new("stdout"), error))?;
    Ok(report.exit())
}

/// Has everything built that takes long, before the first case: what the user's own options ask for, and every other
/// variant of the kernel that a case does. With each goes the key of the first pair that is made of it.
fn prepare(options_for: OptionsFor, cases: &[Case]) -> Result<Vec<(BootKey, Artefacts)>, Failure> {
    let users = BootKey {
        function: Function::default(),
        options: vec![],
    };
    let keys = cases.iter().filter_map(|case| match &case.boot {
        Boot::Shared(key) | Boot::Own(key) => Some(key),
        Boot::None => None,
    });
    let (mut variants, mut artefacts) = (vec![], vec![]);
    for key in [&users].into_iter().chain(keys) {
        let options = options_for(key.function, &key.options)?;
        if !variants.contains(&options.kernel_variant) {
            variants.push(options.kernel_variant);
            artefacts.push((key.clone(), Artefacts::prepare(&options)?));
        }
    }
    Ok(artefacts)
}

/// `runs/<time>-test/`, in which each pair's own run is a directory.
fn new_directory(runs: &Path) -> Result<PathBuf, Failure> {
    let cannot = |error: io::Error| {
        Failure::harness(format!("cannot make a directory in {}", runs.display())).caused_by(error)
    };
    std::fs::create_dir_all(runs).map_err(cannot)?;
    let runs = runs.canonicalize().map_err(cannot)?;
    crate::run::new_dir(&runs, &format!("{}-test", crate::run::stamp())).map_err(cannot)
}

/// The kernels that pairs are made of, EP and RC.
fn about_artefacts(artefacts: &Artefacts) -> [String; 2] {
    Side::BOTH.map(|side| {
        let kernel = &artefacts.kernel[side];
        format!("{} ({})", kernel.release, kernel.image.display())
    })
}

/// The commit of the checkout with the suite, with `+` behind it if anything has changed since.
fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.arg("-C")
            .arg(root())
            .args(arguments)
            .stderr(Stdio::null());
        let output = git.output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    let sign = if changed.is_empty() { "" } else { "+" };
    Some(git(&["rev-parse", "HEAD"])? + sign)
}

fn unwritable(path: &Path, error: io::Error) -> Failure {
    Failure::harness(format!("cannot write {}", path.display())).caused_by(error)
}

/// What every case finds: `PAIR` (the program, also on the PATH), `SUITE` (the scripts), `RUN_DIR` (the logs), which
/// kernels are tested, for a `pair` that it runs itself, and how slow they are (`SLOWNESS`).
fn environment(directory: &Path, options: &Options) -> Result<Vec<(OsString, OsString)>, Failure> {
    let program = std::env::current_exe().map_err(|error| {
        Failure::harness("cannot find this program's own file").caused_by(error)
    })?;
    let mut path = OsString::from(program.parent().unwrap_or(Path::new("/")));
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut environment = vec![
        ("PATH".into(), path),
        ("PAIR".into(), program.into()),
        ("SUITE".into(), root().into()),
        ("RUN_DIR".into(), directory.into()),
        (crate::run::RUN_VARIABLE.into(), OsString::new()),
    ];
    environment.extend(about_kernel(options.kernel_variant));
    for (variable, side) in [
        ("SPIDER_PAIR_EP_KERNEL", Side::Ep),
        ("SPIDER_PAIR_RC_KERNEL", Side::Rc),
    ] {
        let kernel = options.kernel[side].as_deref();
        // A case runs in a directory of its own.
        if let Some(kernel) = kernel.and_then(|path| path.canonicalize().ok()) {
            environment.push((variable.into(), kernel.into()));
        }
    }
    Ok(environment)
}

/// What a case finds of the kernels: which they are, and how slow.
fn about_kernel(variant: KernelVariant) -> [(OsString, OsString); 2] {
    [
        ("KERNEL_VARIANT".into(), variant.name().into()),
        ("SLOWNESS".into(), variant.slowness().to_string().into()),
    ]
}

/// The variables that stand for options: meant for this command, not for a `pair` that a case runs.
fn option_variables() -> Vec<OsString> {
    let cli = crate::cli::Cli::command();
    let options = cli.get_subcommands().flat_map(clap::Command::get_arguments);
    let mut variables: Vec<_> = options
        .filter_map(|arg| arg.get_env())
        .map(ToOwned::to_owned)
        .collect();
    variables.sort();
    variables.dedup();
    variables
}

/// Boots real pairs, and keeps what they are made of.
struct RealBooter<'a> {
    options_for: OptionsFor<'a>,
    runs: PathBuf,
    artefacts: Vec<(BootKey, Artefacts)>,
}

impl Booter for RealBooter<'_> {
    type Pair = Pair;

    fn boot(&mut self, key: &BootKey) -> Result<Pair, Failure> {
        let mut options = (self.options_for)(key.function, &key.options)?;
        options.runs.clone_from(&self.runs);
        let at = match self.artefacts.iter().position(|(known, _)| known == key) {
            Some(at) => at,
            None => {
                self.artefacts
                    .push((key.clone(), Artefacts::prepare(&options)?));
                self.artefacts.len() - 1
            }
        };
        Pair::boot(&options, &self.artefacts[at].1)
    }

    fn go_on(&self) -> Result<(), Failure> {
        signals::check()
    }
}

impl Booted for Pair {
    fn env(&self) -> Vec<(OsString, OsString)> {
        let mut environment = Pair::env(self);
        environment.extend(about_kernel(self.kernel_variant()));
        environment
    }

    fn slowness(&self) -> u32 {
        self.kernel_variant().slowness()
    }

    fn dir(&self) -> &Path {
        Pair::dir(self)
    }

    fn health(&self) -> Result<(), Failure> {
        Pair::health(self)
    }
}
