// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A command in a session of its own, on three pipes or on a pseudo-terminal.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{fcntl, FcntlArg, OFlag};
use nix::libc;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{signal, SigHandler, SigSet, Signal};
use nix::unistd::{setsid, Pid};

use crate::wire::{Exit, Start, WindowSize};

/// Bytes that the kernel keeps in each pipe: fewer turns between command and agent.
const PIPE_SIZE: i32 = 256 * 1024;
/// How long an orphaned command may take to end by SIGHUP before SIGKILL.
const HANGUP_GRACE: Duration = Duration::from_secs(1);

/// A started command. All of its descriptors here are non-blocking.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Readable when the command has ended.
    pub ended: OwnedFd,
    /// Where its standard input is written; `None` once closed.
    pub stdin: Option<File>,
    /// Its output; both streams of a terminal arrive here.
    pub stdout: Option<File>,
    /// Its standard error; `None` with a terminal.
    pub stderr: Option<File>,
    /// The master side of its terminal, if it has one.
    terminal: Option<OwnedFd>,
}

impl Process {
    /// Starts what `start` asks for. The error says what could not be done.
    pub fn spawn(start: &Start) -> Result<Self, String> {
        let mut command = shell(start);
        let terminal = start.terminal.map(Terminal::open).transpose();
        let terminal = terminal.map_err(|e| format!("no pseudo-terminal: {e}"))?;
        if let Some(terminal) = &terminal {
            let slave = || terminal.slave.try_clone().map(Stdio::from);
            (|| {
                command.stdin(slave()?).stdout(slave()?).stderr(slave()?);
                Ok(())
            })()
            .map_err(|e: io::Error| format!("no pseudo-terminal: {e}"))?;
        } else {
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
        }
        let on_terminal = terminal.is_some();
        // SAFETY: `lead_session` makes async-signal-safe system calls only.
        unsafe { command.pre_exec(move || lead_session(on_terminal)) };
        let mut child = command
            .spawn()
            .map_err(|e| match fs::metadata(&start.directory) {
                Err(e) if !start.directory.is_empty() => format!("{}: {e}", start.directory),
                _ => format!("cannot start the shell: {e}"),
            })?;
        // The command keeps its copies of the slave side for as long as it wants.
        drop(command);
        Self::adopt(&mut child, terminal)
            .map(|(ended, [stdin, stdout, stderr], terminal)| Process {
                ended,
                stdin,
                stdout,
                stderr,
                terminal,
                child,
            })
            .map_err(|e| format!("cannot watch the shell: {e}"))
    }

    #[allow(clippy::type_complexity)]
    fn adopt(
        child: &mut Child,
        terminal: Option<Terminal>,
    ) -> io::Result<(OwnedFd, [Option<File>; 3], Option<OwnedFd>)> {
        let ended = pidfd(child.id());
        let ended = ended.inspect_err(|_| {
            let _ = child.kill().and_then(|()| child.wait());
        })?;
        let master = terminal.map(|terminal| terminal.master);
        let streams: [Option<OwnedFd>; 3] = match &master {
            Some(master) => [Some(master.try_clone()?), Some(master.try_clone()?), None],
            None => [
                child.stdin.take().map(OwnedFd::from),
                child.stdout.take().map(OwnedFd::from),
                child.stderr.take().map(OwnedFd::from),
            ],
        };
        for stream in streams.iter().flatten() {
            set_nonblocking(stream)?;
            // A terminal has no such size, and a smaller pipe works as well.
            let _ = fcntl(stream, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
        }
        Ok((ended, streams.map(|stream| stream.map(File::from)), master))
    }

    /// Sends a signal to the command's process group; with a terminal, to the foreground one.
    pub fn signal(&self, signal: u8) -> nix::Result<()> {
        let foreground = self
            .terminal
            .as_ref()
            .and_then(|t| nix::unistd::tcgetpgrp(t).ok());
        // SAFETY: kill takes no pointers.
        Errno::result(unsafe {
            libc::killpg(foreground.unwrap_or(self.pid()).as_raw(), i32::from(signal))
        })
        .map(drop)
    }

    /// Tells the terminal's new size; without a terminal nothing happens.
    pub fn resize(&self, size: WindowSize) -> nix::Result<()> {
        self.terminal
            .as_ref()
            .map_or(Ok(()), |terminal| set_window_size(terminal, size))
    }

    /// How the command ended, or `None` while it runs.
    pub fn exit(&mut self) -> io::Result<Option<Exit>> {
        Ok(self
            .child
            .try_wait()?
            .map(|status| match (status.code(), status.signal()) {
                (Some(code), _) => Exit::Code(code as u8),
                (None, Some(signal)) => Exit::Signal(signal as u8),
                (None, None) => Exit::Code(255),
            }))
    }

    /// Ends the command's whole session: SIGHUP, and SIGKILL for whoever is left a second later.
    pub fn kill(mut self) {
        (self.stdin, self.stdout, self.stderr, self.terminal) = (None, None, None, None);
        let deadline = Instant::now() + HANGUP_GRACE;
        let session = self.pid();
        signal_session(session, &[libc::SIGHUP, libc::SIGCONT]);
        while Instant::now() < deadline && signal_session(session, &[]) > 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
        // A process may fork while the list is read; it cannot do so for ever.
        for _ in 0..100 {
            if signal_session(session, &[libc::SIGKILL]) == 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = self.child.wait();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }
}

fn shell(start: &Start) -> Command {
    let bash = Path::new("/bin/bash");
    let mut command = Command::new(if bash.exists() {
        bash
    } else {
        Path::new("/bin/sh")
    });
    match start.command.as_str() {
        "" => command.arg0("-bash"),
        text => command.arg("-c").arg(text),
    };
    if !start.directory.is_empty() {
        command.current_dir(&start.directory);
    }
    command.envs(start.environment.iter().map(|(name, value)| (name, value)));
    command
}

/// Where a process says how willingly the kernel ends it when memory is full (proc_pid_oom_score_adj(5)).
const OOM_SCORE: &std::ffi::CStr = c"/proc/self/oom_score_adj";

/// Makes this process the last one that the kernel ends when memory is full: without it nobody could look why. Its
/// commands are as before ([`lead_session`]).
pub fn outlive_full_memory() -> io::Result<()> {
    set_oom_score(b"-1000")
}

/// Async-signal-safe.
fn set_oom_score(score: &[u8]) -> io::Result<()> {
    // SAFETY: a string with its end, and a buffer that outlives the call.
    let written = unsafe {
        let fd = Errno::result(libc::open(
            OOM_SCORE.as_ptr(),
            libc::O_WRONLY | libc::O_CLOEXEC,
        ))?;
        let written = Errno::result(libc::write(fd, score.as_ptr().cast(), score.len()));
        libc::close(fd);
        written
    };
    written.map(drop).map_err(io::Error::from)
}

/// For the child between fork and exec: a session of its own, descriptor 0 its controlling
/// terminal if it is one, and no signal blocked or ignored (std hands both down, and a shell cannot
/// trap what was ignored before it began). Async-signal-safe.
pub fn lead_session(on_terminal: bool) -> io::Result<()> {
    SigSet::empty().thread_set_mask()?;
    for catchable in Signal::iterator().filter(|s| !matches!(s, Signal::SIGKILL | Signal::SIGSTOP))
    {
        // SAFETY: no handler of ours is there to be lost: exec is next.
        unsafe { signal(catchable, SigHandler::SigDfl) }?;
    }
    setsid()?;
    // Higher than what it inherits may be; a system without the file has nothing to reset.
    let _ = set_oom_score(b"0");
    if on_terminal {
        // SAFETY: the argument is a number. 1 takes the terminal even from another session.
        Errno::result(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 1) })?;
    }
    Ok(())
}

fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes no pointers; it makes a new descriptor, closed on exec.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Makes reads and writes of `fd` return at once.
pub fn set_nonblocking(fd: &impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

struct Terminal {
    master: OwnedFd,
    slave: OwnedFd,
}

impl Terminal {
    fn open(size: WindowSize) -> io::Result<Self> {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NOCTTY);
        let slave = options.open(ptsname_r(&master)?)?.into();
        // SAFETY: into_raw_fd of the posix_openpt wrapper hands over its only descriptor.
        let master = unsafe { OwnedFd::from_raw_fd(std::os::fd::IntoRawFd::into_raw_fd(master)) };
        set_window_size(&master, size)?;
        Ok(Terminal { master, slave })
    }
}

fn set_window_size(terminal: &OwnedFd, size: WindowSize) -> nix::Result<()> {
    let size = libc::winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the pointer is to a whole winsize that outlives the call.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &size) }).map(drop)
}

/// Sends each signal to each living process of a session; returns how many there were.
fn signal_session(session: Pid, signals: &[i32]) -> usize {
    let Ok(processes) = fs::read_dir("/proc") else {
        return 0;
    };
    let pids = processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let members: Vec<i32> = pids
        .filter(|pid| living_session_of(*pid) == Some(session.as_raw()))
        .collect();
    for pid in &members {
        for signal in signals {
            // SAFETY: kill takes no pointers. A process that is gone by now is no error here.
            unsafe { libc::kill(*pid, *signal) };
        }
    }
    members.len()
}

/// The session of a process from /proc/PID/stat, unless it is a zombie. See proc_pid_stat(5).
fn living_session_of(pid: i32) -> Option<i32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let mut fields = std::str::from_utf8(&stat[after_name..])
        .ok()?
        .split_ascii_whitespace();
    let state = fields.next()?;
    let session = fields.nth(2)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(session)
}
