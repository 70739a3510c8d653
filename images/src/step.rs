// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs one step of a build: its output goes to a log and moves the progress line, it has
//! deadlines, and nothing of it outlives the run.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use nix::fcntl::OFlag;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};

use crate::cache::Workshop;
use crate::progress::Task;

/// Host variables that a step sees. All others would make builds differ between users, or are meant
/// for the build of this program itself (cargo's and make's).
const ENVIRONMENT: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TERM",
    "TMPDIR",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "ftp_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// Prefixes of further variables: how cargo reaches its registry is the host's business.
const ENVIRONMENT_PREFIXES: &[&str] = &[
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_NET_",
    "CARGO_HTTP_",
    "CARGO_SOURCE_",
];

/// Gives `command` the environment of a step.
pub fn clean_environment(command: &mut Command) -> &mut Command {
    command.env_clear();
    command.envs(std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        ENVIRONMENT.contains(&name.as_ref())
            || ENVIRONMENT_PREFIXES
                .iter()
                .any(|prefix| name.starts_with(prefix))
    }));
    // An ordinary user's path may lack what only root's has, such as chroot.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from));
    command.env(
        "PATH",
        std::env::join_paths(path).unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".into()),
    );
    command.env("LC_ALL", "C.UTF-8")
}

/// A command on the host in a process namespace of its own: when the caller ends, in whatever way,
/// so does everything that the command started. An ordinary user becomes root in a user namespace,
/// which unpacking needs besides.
pub fn contained(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", "unshare"]);
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["--pid", "--fork", "--kill-child=KILL", "--"])
        .arg(program);
    clean_environment(&mut command);
    command
}

/// How long a step may take.
#[derive(Clone, Copy)]
pub struct Deadline {
    /// In all.
    pub total: Duration,
    /// Without a line of output.
    pub silence: Duration,
}

impl Deadline {
    /// For a download: generous in all, since links differ, strict about silence.
    pub const DOWNLOAD: Deadline = Deadline {
        total: minutes(60),
        silence: minutes(3),
    };
    /// For a build on a slow machine.
    pub const BUILD: Deadline = Deadline {
        total: minutes(150),
        silence: minutes(20),
    };
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

/// As [`run`], for a step of a build whose lines only its log is for.
///
/// # Errors
///
/// As [`run`]'s.
pub fn carry_out(
    what: &str,
    command: Command,
    shop: &mut Workshop,
    deadline: Deadline,
    task: &mut Task,
) -> Result<()> {
    run(what, command, &mut shop.log, deadline, task, &mut |_, _| {})
}

/// Runs `command` to its end. Every line of its output goes to `log` and to `on_line`, with the
/// task to show it by.
///
/// # Errors
///
/// The command does not start, fails, or passes a deadline (it is killed then). Each names `what`.
pub fn run(
    what: &str,
    mut command: Command,
    log: &mut File,
    deadline: Deadline,
    task: &mut Task,
    on_line: &mut dyn FnMut(&str, &mut Task),
) -> Result<()> {
    task.stage(what);
    writeln!(log, "+ {}", words(&command)).context("cannot write the log")?;
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("cannot create a pipe")?;
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer.try_clone().context("cannot duplicate a pipe")?)
        .stderr(writer)
        .spawn()
        .with_context(|| format!("{what}: cannot start {program} (is it installed?)"))?;
    drop(command); // and with it our copies of the pipe's end

    let mut reader = File::from(reader);
    let start = Instant::now();
    let mut heard = start;
    let mut lines = Lines::default();
    let mut buffer = [0; 16 * 1024];
    let late = loop {
        let mut ready = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(Duration::from_millis(500)).unwrap_or(PollTimeout::MAX);
        let polled = poll(&mut ready, timeout);
        if matches!(polled, Ok(count) if count > 0) {
            let count = reader
                .read(&mut buffer)
                .context("cannot read a step's output")?;
            if count == 0 {
                break None;
            }
            log.write_all(&buffer[..count])
                .context("cannot write the log")?;
            heard = Instant::now();
            lines.feed(&buffer[..count], &mut |line| on_line(line, task));
        }
        task.tick();
        if start.elapsed() > deadline.total {
            break Some(format!(
                "took longer than {} minutes",
                deadline.total.as_secs() / 60
            ));
        }
        if heard.elapsed() > deadline.silence {
            break Some(format!(
                "said nothing for {} minutes",
                deadline.silence.as_secs() / 60
            ));
        }
    };
    if let Some(late) = late {
        let _ = child.kill();
        let _ = child.wait();
        bail!("{what}: it {late}; last shown: {}", lines.last);
    }
    let status = child
        .wait()
        .with_context(|| format!("{what}: cannot wait for {program}"))?;
    if !status.success() {
        bail!("{what}: {status}");
    }
    Ok(())
}

/// A command as one would type it; its environment may hold secrets.
fn words(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .collect();
    words.join(OsStr::new(" ")).to_string_lossy().into_owned()
}

/// What a command prints on stdout, without the newline at its end.
pub fn output(mut command: Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        bail!(
            "{}: {}: {}",
            words(&command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned())
}

/// A script of this crate's `steps` directory, contained.
pub fn script(name: &str) -> Command {
    let mut command = contained("sh");
    command.arg(step_path(name));
    command
}

/// Where a script of this crate is.
pub fn step_path(name: &str) -> PathBuf {
    Path::new(crate::HERE).join("steps").join(name)
}

/// Cuts a stream into lines of bounded length.
#[derive(Default)]
struct Lines {
    pending: Vec<u8>,
    last: String,
}

impl Lines {
    const LONGEST: usize = 4096;

    fn feed(&mut self, bytes: &[u8], on_line: &mut dyn FnMut(&str)) {
        for &byte in bytes {
            if byte == b'\n' || byte == b'\r' {
                if !self.pending.is_empty() {
                    self.last = String::from_utf8_lossy(&self.pending).into_owned();
                    self.pending.clear();
                    on_line(&self.last);
                }
            } else if self.pending.len() < Self::LONGEST {
                self.pending.push(byte);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Progress;

    fn sh(script: &str, deadline: Deadline) -> (Result<()>, Vec<String>) {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut seen = Vec::new();
        let mut task = Progress::hidden().task("test");
        let mut log = tempfile::tempfile().unwrap();
        let result = run(
            "testing",
            command,
            &mut log,
            deadline,
            &mut task,
            &mut |line, _| seen.push(line.to_owned()),
        );
        (result, seen)
    }

    #[test]
    fn lines_of_both_streams_are_seen() {
        let (result, mut seen) = sh("echo a; printf 'b\\rc\\n' >&2", Deadline::BUILD);
        result.unwrap();
        seen.sort();
        assert_eq!(seen, ["a", "b", "c"]);
    }

    #[test]
    fn failure_names_the_step_and_status() {
        let error = sh("exit 3", Deadline::BUILD).0.unwrap_err().to_string();
        assert!(error.contains("testing") && error.contains('3'), "{error}");
    }

    #[test]
    fn silence_ends_a_step() {
        let deadline = Deadline {
            silence: Duration::from_millis(100),
            ..Deadline::BUILD
        };
        let start = Instant::now();
        let error = sh("echo on it; exec sleep 60", deadline)
            .0
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("said nothing") && error.contains("on it"),
            "{error}"
        );
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
