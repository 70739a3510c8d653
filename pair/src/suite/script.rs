// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Running one script, with a deadline and its output in a file.

use super::verdict::End;
use crate::process;
use crate::status::{Exit, Failure};
use nix::errno::Errno;
use nix::sys::signal::{killpg, Signal};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often the script's end is looked for.
const TICK: Duration = Duration::from_millis(10);
/// How long the pair below a script may be dead before the script is: it may have something to say.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long a script's processes have between SIGTERM and SIGKILL: a `pair` among them ends its guests meanwhile.
const GRACE: Duration = Duration::from_secs(10);
/// The same when the pair below is dead: its commands wait for a guest that will not answer.
const GRACE_OF_DEAD: Duration = Duration::from_millis(500);
/// As much of an output's end is read back.
const OUTPUT_LIMIT: u64 = 1 << 20;

/// A script about to run.
pub struct Script {
    /// What bash runs.
    pub path: PathBuf,
    /// Added to the runner's own environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Taken from the runner's own environment.
    pub hidden: Vec<OsString>,
    /// Where it runs.
    pub directory: PathBuf,
    /// Takes stdout and stderr.
    pub log: PathBuf,
    /// When it is killed.
    pub timeout: Duration,
}

impl Script {
    /// Runs it to its end, the deadline, or the first failure of `health`; none of its processes outlives the call.
    pub fn run(&self, mut health: impl FnMut() -> Result<(), Failure>) -> End {
        let mut child = match self.start() {
            Ok(child) => child,
            Err(error) => {
                return End::Broken(
                    Exit::Harness,
                    format!("cannot run {}: {error}", self.path.display()),
                )
            }
        };
        let begun = Instant::now();
        let mut dead: Option<(Failure, Instant)> = None;
        let end = loop {
            match child.try_wait() {
                Ok(Some(status)) => break end_of(status),
                Ok(None) => {}
                Err(error) => {
                    break End::Broken(Exit::Harness, format!("lost sight of the script: {error}"))
                }
            }
            if begun.elapsed() >= self.timeout {
                break End::TimedOut(self.timeout);
            }
            match &dead {
                Some((_, since)) if since.elapsed() >= LAST_WORDS => break End::Exited(1),
                Some((failure, _)) if matches!(failure.exit, Exit::Signal(_)) => {
                    break End::Exited(1)
                }
                Some(_) => {}
                None => dead = health().err().map(|failure| (failure, Instant::now())),
            }
            std::thread::sleep(TICK);
        };
        let lost = dead
            .as_ref()
            .is_some_and(|(failure, _)| !matches!(failure.exit, Exit::Signal(_)));
        end_group(&mut child, if lost { GRACE_OF_DEAD } else { GRACE });
        match dead.map(|(failure, _)| failure).or_else(|| health().err()) {
            Some(failure) => End::Broken(failure.exit, failure.report()),
            None => end,
        }
    }

    fn start(&self) -> io::Result<Child> {
        std::fs::create_dir_all(&self.directory)?;
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new("bash");
        for name in &self.hidden {
            command.env_remove(name);
        }
        command
            .arg(&self.path)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        process::spawn(command)
    }
}

/// The end of what a log holds (all of it, unless it is huge), whatever bytes it holds.
pub fn read_end(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(OUTPUT_LIMIT)))?;
    let mut bytes = vec![];
    file.take(OUTPUT_LIMIT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code as u8),
        (None, signal) => End::Signalled(signal.unwrap_or_default()),
    }
}

/// Ends whatever still runs in the script's process group, the script included; SIGKILL follows SIGTERM after `grace`.
fn end_group(child: &mut Child, grace: Duration) {
    let group = Pid::from_raw(child.id() as i32);
    for (signal, patience) in [(Signal::SIGTERM, grace), (Signal::SIGKILL, GRACE)] {
        let begun = Instant::now();
        if killpg(group, signal) == Err(Errno::ESRCH) {
            break;
        }
        while begun.elapsed() < patience {
            // An error means that it was reaped before.
            let _ = child.try_wait();
            if killpg(group, None) == Err(Errno::ESRCH) {
                return;
            }
            std::thread::sleep(TICK);
        }
    }
    let _ = child.try_wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str, timeout: Duration) -> (tempfile::TempDir, Script) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("case.sh");
        std::fs::write(&path, text).unwrap();
        let script = Script {
            path,
            environment: vec![("GREETING".into(), "hello".into())],
            hidden: vec!["CARGO_PKG_NAME".into()],
            directory: directory.path().join("scratch"),
            log: directory.path().join("log"),
            timeout,
        };
        (directory, script)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn output_and_status_are_the_scripts_own() {
        let (_keep, script) = script("echo $GREETING$CARGO_PKG_NAME; pwd >&2; exit 3", LONG);
        assert_eq!(script.run(|| Ok(())), End::Exited(3));
        let output = read_end(&script.log).unwrap();
        assert!(
            output.starts_with("hello\n/") && output.ends_with("scratch\n"),
            "{output}"
        );
    }

    #[test]
    fn a_signal_is_told_from_a_status() {
        let (_keep, script) = script("kill -ABRT $$", LONG);
        assert_eq!(script.run(|| Ok(())), End::Signalled(libc::SIGABRT));
    }

    #[test]
    fn at_the_deadline_all_its_processes_end() {
        let (_keep, script) = script("sleep 100 & echo $!; wait", Duration::from_millis(300));
        assert_eq!(
            script.run(|| Ok(())),
            End::TimedOut(Duration::from_millis(300))
        );
        let sleeper: i32 = read_end(&script.log).unwrap().trim().parse().unwrap();
        // It may be a zombie of some other reaper, but it no longer runs.
        let state = std::fs::read_to_string(format!("/proc/{sleeper}/stat")).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z "), "{state}");
    }

    #[test]
    fn what_a_script_leaves_behind_ends_with_it() {
        let (_keep, script) = script("sleep 100 & echo $!", LONG);
        assert_eq!(script.run(|| Ok(())), End::Exited(0));
        let sleeper: i32 = read_end(&script.log).unwrap().trim().parse().unwrap();
        let state = std::fs::read_to_string(format!("/proc/{sleeper}/stat")).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z "), "{state}");
    }

    #[test]
    fn a_dead_pair_is_the_reason_whatever_the_script_says() {
        let (_keep, script) = script("exit 0", LONG);
        let end = script.run(|| Err(Failure::new(Exit::Panic, "the EP guest panicked")));
        assert_eq!(
            end,
            End::Broken(Exit::Panic, "the EP guest panicked".into())
        );
    }

    #[test]
    fn a_dead_pair_ends_its_script_promptly() {
        // As `ep CMD` does in a guest that panicked: it passes SIGTERM on and waits.
        let (_keep, script) = script("trap '' TERM; sleep 100 & wait; sleep 100", LONG);
        let begun = Instant::now();
        script.run(|| Err(Failure::new(Exit::Panic, "the EP guest panicked")));
        assert!(
            begun.elapsed() < Duration::from_secs(4),
            "{:?}",
            begun.elapsed()
        );
    }

    #[test]
    fn a_missing_directory_is_the_harness_own_failure() {
        let (keep, mut script) = script("exit 0", LONG);
        script.log = keep.path().join("no/log");
        assert!(
            matches!(script.run(|| Ok(())), End::Broken(Exit::Harness, why) if why.contains("case.sh"))
        );
    }

    #[test]
    fn output_need_not_be_text() {
        let (_keep, script) = script(r"printf 'a\377b\n'", LONG);
        script.run(|| Ok(()));
        assert_eq!(read_end(&script.log).unwrap(), "a\u{fffd}b\n");
    }
}
