// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `ep` and `rc`: a command in a guest that behaves like one on the host.
//!
//! Streams are the caller's own, byte for byte. The status is the command's, 128 + n if signal n
//! ended it. SIGINT, SIGTERM, SIGHUP and SIGQUIT are passed on. Without a command there is a login
//! shell, on a pseudo-terminal if the caller has a terminal; there `~.` at the beginning of a line hangs up.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Instant;

use agent::wire::{Exit, Start, ToGuest, WindowSize};
use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{cfmakeraw, tcgetattr, tcsetattr, SetArg, Termios};
use nix::unistd::{getpgrp, tcgetpgrp};

use super::client::{Client, Error, Sender, Stream};
use super::escape::Escape;
use super::{Guest, GuestError, CONNECT_TIMEOUT};

/// So many ending signals in one command give up on a guest that does not react.
const PATIENCE: u8 = 3;
/// What a program dies of that writes to nobody.
const BROKEN_PIPE: u8 = 128 + Signal::SIGPIPE as u8;

/// Runs `command` (empty: a login shell) with this process's standard streams; its exit status.
///
/// Takes SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGWINCH over for the rest of the process's life:
/// call it from the main thread before others exist, and exit with what it returns.
///
/// # Errors
/// The guest is not there or goes away, or one of the streams fails.
pub fn front_end(guest: &Guest, command: &str) -> Result<u8, GuestError> {
    let local = |what| move |source| GuestError::Local { what, source };
    let link = Arc::new(Link::default());
    pass_signals(link.clone()).map_err(local("signals cannot be taken over"))?;

    let (stdin, stdout) = (io::stdin(), io::stdout());
    let interactive = command.is_empty() && stdin.is_terminal() && stdout.is_terminal();
    let mut start = Start {
        command: command.into(),
        ..Start::default()
    };
    if interactive {
        start.terminal = Some(window_size(stdout.as_fd()));
        let value = std::env::var("TERM").unwrap_or_else(|_| "dumb".into());
        start.environment.push(("TERM".into(), value));
    }
    let mut client = Client::start(guest, start, Instant::now() + CONNECT_TIMEOUT)?;
    let sender = client.sender();
    let _ = link.sender.set(sender.clone());
    let input = Own::of(stdin.as_fd()).map_err(local("standard input"))?;
    let mut output = Own::of(stdout.as_fd()).map_err(local("standard output"))?;
    let mut errors = Own::of(io::stderr().as_fd()).map_err(local("standard error"))?;
    let raw = interactive.then(|| Raw::enter(&input.0)).flatten();
    // It may wait for input for ever; the process ends without it.
    let gone = link.clone();
    thread::spawn(move || match (is_in_background(&input.0), interactive) {
        (true, _) => sender.pump(io::empty()),
        (false, false) => sender.pump(input),
        (false, true) => sender.pump(Escape::new(input, || {
            gone.given_up.store(Signal::SIGHUP as u8, Ordering::SeqCst);
            sender.close();
        })),
    });

    let result = client.receive(None, |stream, data| match stream {
        Stream::Stdout => output.write_all(data).map_err(local("standard output")),
        Stream::Stderr => errors.write_all(data).map_err(local("standard error")),
    });
    drop(raw);
    link.over.store(true, Ordering::SeqCst);
    let told = link.told.load(Ordering::SeqCst);
    match result {
        Ok(exit) => Ok(exit.status()),
        Err(Error::Guest(GuestError::Local { source, .. }))
            if source.kind() == ErrorKind::BrokenPipe =>
        {
            Ok(BROKEN_PIPE)
        }
        // Who was told to end has no need to know why the guest did not answer.
        Err(Error::Guest(GuestError::Lost { .. })) if command.is_empty() && told != 0 => {
            Ok(Exit::Signal(told).status())
        }
        Err(Error::Guest(GuestError::Lost { .. })) if link.given_up.load(Ordering::SeqCst) != 0 => {
            Ok(Exit::Signal(link.given_up.load(Ordering::SeqCst)).status())
        }
        Err(Error::Guest(error)) => Err(error),
        Err(Error::Deadline) => unreachable!("no deadline was given"),
    }
}

/// What the signals' thread knows of the command.
#[derive(Default)]
struct Link {
    /// Set once the command runs.
    sender: OnceLock<Arc<Sender>>,
    /// The signal with which the user gave up on the guest, or 0.
    given_up: AtomicU8,
    /// The last signal that was passed on, or 0.
    told: AtomicU8,
    /// The command has ended: there is nobody to pass signals on to.
    over: AtomicBool,
}

fn pass_signals(link: Arc<Link>) -> io::Result<()> {
    let mut set = SigSet::empty();
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGWINCH,
    ] {
        set.add(signal);
    }
    set.thread_block()?;
    let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let mut endings = 0;
            loop {
                let Ok(Some(signal)) = signals.read_signal() else {
                    continue;
                };
                let signal = signal.ssi_signo as u8;
                let sender = link.sender.get();
                let message = match (signal, sender) {
                    (winch, _) if winch == Signal::SIGWINCH as u8 => {
                        ToGuest::Resize(window_size(io::stdout().as_fd()))
                    }
                    (signal, None) => std::process::exit(Exit::Signal(signal).status().into()),
                    (signal, Some(_)) if link.over.load(Ordering::SeqCst) => {
                        std::process::exit(Exit::Signal(signal).status().into())
                    }
                    (signal, Some(sender)) => {
                        link.told.store(signal, Ordering::SeqCst);
                        endings += 1;
                        if endings >= PATIENCE {
                            link.given_up.store(signal, Ordering::SeqCst);
                            sender.close();
                        }
                        ToGuest::Signal(signal)
                    }
                };
                // A lost connection is the receiver's matter.
                sender.map(|sender| sender.send(&message));
            }
        })?;
    Ok(())
}

/// One of the process's own standard streams, without a buffer in between, and blocking even if
/// whoever shares it made it non-blocking.
struct Own(File);

impl Own {
    fn of(stream: BorrowedFd) -> io::Result<Self> {
        Ok(Own(stream.try_clone_to_owned()?.into()))
    }

    fn wait(&self, flags: PollFlags) -> io::Result<()> {
        match poll(&mut [PollFd::new(self.0.as_fd(), flags)], PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Read for Own {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.wait(PollFlags::POLLIN)?,
                result => return result,
            }
        }
    }
}

impl Write for Own {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(data) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.wait(PollFlags::POLLOUT)?,
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A job in the background that reads its terminal is stopped; rather it has no input.
fn is_in_background(input: &File) -> bool {
    tcgetpgrp(input).is_ok_and(|foreground| foreground != getpgrp())
}

/// The terminal in raw mode; as it was when dropped.
struct Raw {
    terminal: File,
    before: Termios,
}

impl Raw {
    fn enter(terminal: &File) -> Option<Self> {
        let terminal = terminal.try_clone().ok()?;
        let before = tcgetattr(&terminal).ok()?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&terminal, SetArg::TCSADRAIN, &raw).ok()?;
        Some(Raw { terminal, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, SetArg::TCSADRAIN, &self.before);
    }
}

nix::ioctl_read_bad!(
    /// The size of a terminal; see ioctl_tty(2).
    get_window_size,
    libc::TIOCGWINSZ,
    libc::winsize
);

fn window_size(terminal: BorrowedFd) -> WindowSize {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let fd = std::os::fd::AsRawFd::as_raw_fd(&terminal);
    // SAFETY: the pointer is to a whole winsize that outlives the call.
    match unsafe { get_window_size(fd, &mut size) } {
        Ok(_) => WindowSize {
            rows: size.ws_row,
            columns: size.ws_col,
        },
        Err(_) => WindowSize {
            rows: 24,
            columns: 80,
        },
    }
}
