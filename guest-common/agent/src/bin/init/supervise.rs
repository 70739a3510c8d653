// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What PID 1 does after the boot: keeps the command server and the console's shell alive, reaps
//! orphans, and ends the guest when asked.

use std::convert::Infallible;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use agent::process::lead_session;
use nix::errno::Errno;
use nix::libc;
use nix::sys::reboot::{reboot, RebootMode};
use nix::sys::signal::{kill, SigSet, Signal};
use nix::sys::wait::{waitpid, WaitPidFlag, WaitStatus};
use nix::unistd::{sync, Pid};

use crate::boot::{Settings, SELF};
use crate::console::say;

const HOME: &str = "/root";
const CONSOLE: &str = "/dev/ttyAMA0";
/// A child that lived shorter than this is started again only after [`RESPAWN_PAUSE`].
const SHORT_LIFE: Duration = Duration::from_secs(1);
const RESPAWN_PAUSE: Duration = Duration::from_secs(1);
/// For the answer to `ep poweroff` to leave the guest.
const ANSWER_TIME: Duration = Duration::from_millis(200);
/// How long processes may take to end by SIGTERM.
const TERM_GRACE: Duration = Duration::from_secs(2);

/// How a guest ends. Every other signal is ignored: the kernel shields PID 1 from those it does
/// not handle.
#[derive(Debug, Clone, Copy)]
pub enum Request {
    /// SIGUSR2, as busybox has it.
    PowerOff,
    /// SIGINT, as the kernel sends it for Ctrl-Alt-Del.
    Reboot,
}

impl Request {
    fn signal(self) -> Signal {
        match self {
            Request::PowerOff => Signal::SIGUSR2,
            Request::Reboot => Signal::SIGINT,
        }
    }

    /// Asks PID 1.
    pub fn send(self) -> Result<(), Errno> {
        kill(Pid::from_raw(1), self.signal())
    }

    /// Ends the guest at once; returns only with an error.
    pub fn carry_out(self) -> Errno {
        sync();
        let mode = match self {
            Request::PowerOff => RebootMode::RB_POWER_OFF,
            Request::Reboot => RebootMode::RB_AUTOBOOT,
        };
        match reboot(mode) {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }
}

/// A child that is started again whenever it ends.
struct Service {
    name: &'static str,
    start: fn() -> io::Result<Pid>,
    pid: Option<Pid>,
    started: Instant,
}

impl Service {
    fn new(name: &'static str, start: fn() -> io::Result<Pid>) -> Self {
        let mut service = Service {
            name,
            start,
            pid: None,
            started: Instant::now(),
        };
        service.spawn();
        service
    }

    fn spawn(&mut self) {
        self.started = Instant::now();
        self.pid = (self.start)()
            .inspect_err(|e| say!("cannot start {}: {e}", self.name))
            .ok();
    }

    fn ended(&mut self, how: WaitStatus) {
        self.pid = None;
        if self.started.elapsed() < SHORT_LIFE {
            say!("{} ended early ({how:?})", self.name);
        }
    }

    /// When to start it again, or `None` while it runs.
    fn due(&self) -> Option<Instant> {
        let soon = self.started + SHORT_LIFE + RESPAWN_PAUSE;
        self.pid.is_none().then_some(soon)
    }
}

/// Runs until the guest ends.
pub fn run(settings: &Settings) -> Result<Infallible, String> {
    let mut mask = SigSet::empty();
    for signal in [
        Signal::SIGCHLD,
        Request::PowerOff.signal(),
        Request::Reboot.signal(),
    ] {
        mask.add(signal);
    }
    mask.thread_block()
        .map_err(|e| format!("block signals: {e}"))?;
    // Ctrl-Alt-Del (`system_powerdown` has no such key on this machine) asks us, not the kernel.
    let _ = nix::sys::reboot::set_cad_enabled(false);

    let mut services = vec![Service::new("the command server", start_server)];
    if settings.hotplug {
        services.push(Service::new("the slots' manager", start_hotplug));
    }
    if settings.console_shell {
        services.push(Service::new("the console's shell", start_shell));
    }
    loop {
        let next = services.iter().filter_map(Service::due).min();
        let request = match wait_for_signal(&mask, next) {
            Some(signal) if signal == Request::PowerOff.signal() => Some(Request::PowerOff),
            Some(signal) if signal == Request::Reboot.signal() => Some(Request::Reboot),
            _ => None,
        };
        if let Some(request) = request {
            return Err(end(request));
        }
        while let Some((pid, how)) = reap() {
            if let Some(service) = services.iter_mut().find(|s| s.pid == Some(pid)) {
                service.ended(how);
            }
        }
        for service in &mut services {
            if service.due().is_some_and(|due| due <= Instant::now()) {
                service.spawn();
            }
        }
    }
}

/// One of `mask`, or `None` at `deadline`.
fn wait_for_signal(mask: &SigSet, deadline: Option<Instant>) -> Option<Signal> {
    let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
    let time = left.map(|left| libc::timespec {
        tv_sec: left.as_secs() as libc::time_t,
        tv_nsec: left.subsec_nanos().into(),
    });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the set and the time (or null, for ever) outlive the call; no siginfo is asked for.
    let signal = unsafe { libc::sigtimedwait(mask.as_ref(), std::ptr::null_mut(), time) };
    Signal::try_from(signal).ok()
}

fn reap() -> Option<(Pid, WaitStatus)> {
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return None,
            Ok(status) => return status.pid().map(|pid| (pid, status)),
            Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}

fn start_server() -> io::Result<Pid> {
    start_self("spider-agent", "serve")
}

fn start_hotplug() -> io::Result<Pid> {
    start_self("spider-hotplug", "hotplug")
}

/// This binary as one of its other selves.
fn start_self(name: &str, role: &str) -> io::Result<Pid> {
    let mut command = base_command(SELF);
    start(command.arg0(name).arg(role).stdin(Stdio::null()), false)
}

fn start_shell() -> io::Result<Pid> {
    let terminal = OpenOptions::new().read(true).write(true).open(CONSOLE)?;
    let mut command = base_command("/bin/bash");
    command.arg0("-bash").env("TERM", "vt220");
    command
        .stdin(terminal.try_clone()?)
        .stdout(terminal.try_clone()?)
        .stderr(terminal);
    start(&mut command, true)
}

fn start(command: &mut Command, on_terminal: bool) -> io::Result<Pid> {
    // SAFETY: `lead_session` makes async-signal-safe system calls only.
    unsafe { command.pre_exec(move || lead_session(on_terminal)) };
    Ok(Pid::from_raw(command.spawn()?.id() as i32))
}

/// A command with the environment of the guest's every process.
fn base_command(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(if Path::new(HOME).is_dir() { HOME } else { "/" })
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("HOME", HOME)
        .env("USER", "root")
        .env("LOGNAME", "root")
        .env("SHELL", "/bin/bash")
        .env("LANG", "C.UTF-8");
    command
}

/// Ends all processes, then the guest. Returns why it could not.
fn end(request: Request) -> String {
    say!(
        "{}",
        if matches!(request, Request::Reboot) {
            "rebooting"
        } else {
            "powering off"
        }
    );
    sleep(ANSWER_TIME);
    let everybody = Pid::from_raw(-1);
    let deadline = Instant::now() + TERM_GRACE;
    let _ = kill(everybody, Signal::SIGTERM);
    let _ = kill(everybody, Signal::SIGCONT);
    // The server alone blocks SIGTERM, and it is our child.
    while Instant::now() < deadline && processes() > 2 {
        while reap().is_some() {}
        sleep(Duration::from_millis(20));
    }
    sleep(ANSWER_TIME);
    let _ = kill(everybody, Signal::SIGKILL);
    while reap().is_some() {}
    format!("the kernel refuses to end: {}", request.carry_out())
}

/// How many processes with a program there are (kernel threads have none), PID 1 included.
fn processes() -> usize {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            entry
                .file_name()
                .to_str()
                .is_some_and(|n| n.parse::<u32>().is_ok())
        })
        .filter(|entry| std::fs::read_link(entry.path().join("exe")).is_ok())
        .count()
}
