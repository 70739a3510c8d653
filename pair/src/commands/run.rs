// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `pair run`.

use crate::artefacts::Artefacts;
use crate::cli::RunArgs;
use crate::orphans;
use crate::plan::Plan;
use crate::process::{quote, unblock_signals};
use crate::progress::say;
use crate::prune;
use crate::run::{Run, RUN_VARIABLE};
use crate::service::unwritable;
use crate::session::Pair;
use crate::side::Side;
use crate::signals;
use crate::status::{Exit, Failure};
use crate::watch::State;
use nix::errno::Errno;
use nix::sys::termios::{tcgetattr, tcsetattr, SetArg, Termios};
use nix::sys::wait::{waitid, Id, WaitPidFlag};
use nix::unistd::{access, AccessFlags, Pid};
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How long a host command, and what it has started, may take to end once told to.
const GRACE: Duration = Duration::from_secs(5);

/// A command has no deadline of its own: `--timeout` ends the whole run.
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Boots a pair and runs the command, or attaches a shell.
///
/// # Errors
/// What [`Pair::boot`] reports, or what ended the pair under the command.
pub fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let mut options = args.boot.options()?;
    if args.dry_run {
        return dry_run(args);
    }
    options.show_complaints = true;
    // Found out now, not after the boot or after hours of work.
    if let Some(name) = args.command.first() {
        find_command(name)?;
    }
    if let Some(file) = &args.json {
        let file_options = File::options().create(true).append(true).open(file);
        file_options.map_err(|error| cannot_write(file, error))?;
    }
    prune::old_runs(&options.runs);
    if let Some(time) = args.timeout {
        signals::limit(time);
    }
    let begun = Instant::now();
    let artefacts = Artefacts::prepare(&options)?;
    let prepared = begun.elapsed();
    let seconds = prepared.as_secs_f64();
    say(&format!(
        "pair: {seconds:6.2} s  artefacts ready; the boot begins"
    ));
    let pair = Pair::boot(&options, &artefacts)?;
    let seconds = begun.elapsed().as_secs_f64();
    say(&format!("pair: {seconds:6.2} s  in all"));

    let outcome = match args.command.is_empty() {
        false => attend(&pair, &args.command),
        true => shell(&pair, args.console),
    };
    let outcome = outcome.map_err(|failure| {
        let logs = format!("logs: {}", pair.dir().display());
        match failure.hint.is_none() {
            true => failure.with_hint(logs),
            false => failure,
        }
    });
    let phases = json!(pair.phases());
    let dir = pair.dir().to_owned();
    pair.finish(&outcome);
    let result = dir.join("result.json");
    let outcome = match outcome.is_ok() && !result.exists() {
        true => Err(unwritable(&result)),
        false => outcome,
    };
    if outcome.is_ok() {
        say(&format!("pair: logs: {}", dir.display()));
    }
    if let Some(file) = &args.json {
        let exit = outcome
            .as_ref()
            .map_or_else(|failure| failure.exit, |&exit| exit)
            .code();
        let failure = outcome.as_ref().err().map(Failure::report);
        let value = json!({
            "run": dir, "exit": exit, "failure": failure,
            "artefacts_seconds": prepared.as_secs_f64(), "phases": phases,
        });
        std::fs::write(file, format!("{value:#}\n")).map_err(|error| cannot_write(file, error))?;
    }
    outcome
}

fn cannot_write(file: &Path, error: io::Error) -> Failure {
    Failure::harness(format!("cannot write {}", file.display())).caused_by(error)
}

/// Whether the host has this command, as `execvp` looks for it.
fn find_command(name: &OsStr) -> Result<(), Failure> {
    let is_program = |path: &Path| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
    let path = Path::new(name);
    let on_path = || {
        let dirs = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&dirs).any(|dir| is_program(&dir.join(name)))
    };
    // These are on the run's own PATH.
    let ours = ["ep", "rc", "pair"].iter().any(|own| name == *own);
    match path.components().count() > 1 || path.is_absolute() {
        true if is_program(path) => Ok(()),
        false if ours || on_path() => Ok(()),
        _ => {
            let message = format!("cannot run {}: there is no such command", path.display());
            let hint = "CMD runs on the host; for a command in a guest: `-- rc CMD` or `-- ep CMD`";
            Err(Failure::harness(message).with_hint(hint))
        }
    }
}

/// Attaches a shell. Its own status is of no matter to the pair, and a guest that is switched off is a way to end it.
fn shell(pair: &Pair, console: Side) -> Result<Exit, Failure> {
    let terminal = io::stdin().is_terminal();
    if terminal {
        greet(pair, console);
    }
    let command = [pair.bin_dir().join(console.name()).into()];
    let over = AtomicBool::new(false);
    let outcome = thread::scope(|scope| {
        scope.spawn(|| pair.keep_function(&over));
        let outcome = attend(pair, &command);
        over.store(true, Ordering::SeqCst);
        pair.watch().update(|_| ());
        outcome
    });
    match outcome {
        Err(failure) if pair.powered_off() => {
            say(&format!("pair: {failure}: the pair has ended"));
            Ok(Exit::Pass)
        }
        // `exit` gives what the last command gave, which is no failure of `make run-pair`.
        Ok(Exit::Command(_)) if terminal => Ok(Exit::Pass),
        outcome => outcome,
    }
}

/// What a person at the terminal has to know.
fn greet(pair: &Pair, console: Side) {
    let other = match console {
        Side::Ep => Side::Rc,
        Side::Rc => Side::Ep,
    };
    eprintln!();
    eprintln!(
        "  This is a shell on {}; `exit` or Ctrl-D ends the pair.",
        console.title()
    );
    eprintln!("  In another terminal:");
    let bin = quote(&pair.bin_dir().to_string_lossy());
    let run = quote(&pair.dir().to_string_lossy());
    eprintln!("    export {RUN_VARIABLE}={run} PATH={bin}:$PATH");
    eprintln!("    {other}                a shell on {}", other.title());
    eprintln!("    {other} CMD, {console} CMD   one command there");
    eprintln!("    pair inspect      the device's state;  pair gdb ep|rc  a debugger");
    eprintln!(
        "    pair set-up       the function again; the runner does it after a reboot of the EP"
    );
    let dir = pair.dir().display();
    eprintln!("  Consoles: {dir}/{{ep,rc}}.log; what a kernel complains of is shown here as well.");
    eprintln!("  If the guest hangs: Enter, then `~.`, ends the pair from here.");
    eprintln!();
}

/// Runs a host command as long as the pair lives.
fn attend(pair: &Pair, words: &[OsString]) -> Result<Exit, Failure> {
    let terminal = Terminal::save();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).envs(pair.env());
    unblock_signals(&mut command);
    orphans::adopt();
    // In the runner's own process group: it has the terminal, and its Ctrl-C.
    let mut child = command.spawn().map_err(|error| {
        let name = Path::new(&words[0]).display();
        Failure::harness(format!("cannot run {name}")).caused_by(error)
    })?;
    let status = wait(pair, &mut child);
    drop(terminal);
    match status {
        // Ended by what ended the pair, or by its loss: the pair's own end says more.
        Ok(status) if !status.success() => {
            pair.watch().pause(Duration::from_millis(100));
            pair.health()?;
            Ok(Exit::of_child(status))
        }
        Ok(status) => Ok(Exit::of_child(status)),
        Err(failure) => Err(failure),
    }
}

/// Waits for the command's end, or for the pair's, which is then also the command's.
fn wait(pair: &Pair, child: &mut Child) -> Result<ExitStatus, Failure> {
    let lost = |error: io::Error| Failure::harness("the command was lost").caused_by(error);
    let (watch, ended) = (pair.watch().clone(), Arc::new(AtomicBool::new(false)));
    let (pid, told) = (Pid::from_raw(child.id() as i32), ended.clone());
    let tell = move || {
        // Left to be reaped, so that nobody else gets its number before it was signalled for the last time.
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        while waitid(Id::Pid(pid), flags) == Err(Errno::EINTR) {}
        told.store(true, Ordering::SeqCst);
        watch.update(|_| ());
    };
    thread::Builder::new()
        .name("wait command".into())
        .spawn(tell)
        .map_err(lost)?;
    let ready = |_: &State| ended.load(Ordering::SeqCst).then_some(());
    match pair.watch().wait("the command", FOREVER, ready) {
        Ok(()) => child.wait().map_err(lost),
        Err(failure) => {
            // The group is the runner's own, and perhaps its caller's: so all that came of the command is looked for.
            orphans::end(GRACE);
            let _ = child.wait();
            Err(failure)
        }
    }
}

/// The terminal's settings, restored when dropped: a shell that is killed leaves it raw.
struct Terminal(Option<Termios>);

impl Terminal {
    fn save() -> Self {
        Terminal(tcgetattr(io::stdin()).ok())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(settings) = &self.0 {
            let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, settings);
        }
    }
}

/// Prints the command lines; the initramfs that they need stay in the run's directory.
fn dry_run(args: &RunArgs) -> Result<Exit, Failure> {
    let options = args.boot.options()?;
    let artefacts = Artefacts::find(&options)?;
    let run = Run::aside(&options.runs)?;
    let plan = Plan::compose(&options, &artefacts, &run, &run.dir)?;
    print!("{}", plan.script());
    Ok(Exit::Pass)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_is_not_there_is_found_out_before_the_boot() {
        for good in ["sh", "/bin/sh", "ep", "pair"] {
            find_command(OsStr::new(good)).unwrap();
        }
        for bad in ["no-such-command-here", "/no/such", "./no-such", "/tmp", ""] {
            let failure = find_command(OsStr::new(bad)).unwrap_err();
            assert_eq!(failure.exit, Exit::Harness, "{bad}");
        }
    }
}
