// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `ep` and `rc`.

use crate::guest::connect::ConnectError;
use crate::guest::exec::front_end;
use crate::guest::{Guest, GuestError};
use crate::progress::say;
use crate::run::{self, Sockets};
use crate::session::SET_UP;
use crate::side::Side;
use crate::status::{Exit, Failure};
use std::env;
use std::io::{self, IsTerminal};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Between two looks whether the pair is still there while its guest boots.
const LOOK: Duration = Duration::from_secs(1);

/// Runs a shell command in a guest with this process's own streams; without words, a shell, which comes back when the
/// guest reboots.
///
/// # Errors
/// 125 when no pair is running or the guest goes away, 124 when it does not answer.
pub fn in_guest(runs: &Path, side: Side, words: &[String]) -> Result<Exit, Failure> {
    let (_, record) = run::find(runs)?;
    let guest = Guest::new(side.name(), Sockets(record.sockets).agent(side));
    match front_end(&guest, &words.join(" ")) {
        Ok(status) => Ok(Exit::Command(status)),
        Err(GuestError::Lost { .. }) if words.is_empty() => come_back(&guest, side),
        Err(error) => Err(failure(error)),
    }
}

/// `pair set-up`: the run's function once more, as its boot set it up.
///
/// # Errors
/// As [`in_guest`]; 125 when the run has no function of its own.
pub fn set_up(runs: &Path) -> Result<Exit, Failure> {
    let (dir, record) = run::find(runs)?;
    let path = dir.join(SET_UP);
    let command = std::fs::read_to_string(&path).map_err(|error| {
        let message = format!("{} has set no function up", dir.display());
        Failure::harness(message).caused_by(error)
    })?;
    let guest = Guest::new(Side::Ep.name(), Sockets(record.sockets).agent(Side::Ep));
    front_end(&guest, command.trim_end())
        .map(Exit::Command)
        .map_err(failure)
}

fn failure(error: GuestError) -> Failure {
    let exit = match error {
        GuestError::NotReady { .. } => Exit::Timeout,
        _ => Exit::Harness,
    };
    let mut failure = Failure::from(anyhow::Error::new(error));
    failure.exit = exit;
    failure
}

/// The shell's guest went away. Waits for it, and begins anew as the same process: a thread of this one still reads the
/// terminal.
fn come_back(guest: &Guest, side: Side) -> Result<Exit, Failure> {
    loop {
        match guest.wait_ready(LOOK) {
            Ok(()) => break,
            Err(GuestError::NotReady {
                last: ConnectError::NoRelay(_),
                ..
            }) => return Err(Failure::harness("the pair has ended")),
            Err(_) => {}
        }
    }
    let what = format!("{} rebooted", side.title());
    if !io::stdin().is_terminal() {
        let hint = "what was left of the shell's input is lost";
        return Err(Failure::harness(what).with_hint(hint));
    }
    say(&format!("pair: {what}; this is a new shell"));
    let mut words = env::args_os();
    let program = env::current_exe().map_err(|error| {
        Failure::harness("cannot find this program's own file").caused_by(error)
    })?;
    let mut again = Command::new(program);
    again.arg0(words.next().unwrap_or_default()).args(words);
    Err(Failure::harness("cannot start a new shell").caused_by(again.exec()))
}
