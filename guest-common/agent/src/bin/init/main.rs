// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The guest's PID 1, in one static binary with several names.
//!
//! - as PID 1: [`boot`] makes the root file system, then [`supervise`] keeps the rest alive;
//! - `init serve`: the command server ([`serve`]), a child of PID 1, so that PID 1 stays trivial;
//! - `init hotplug`: the slots' manager ([`hotplug`]), a child of PID 1 where the kernel has none;
//! - `poweroff`, `halt`, `reboot`: ask PID 1, or with `-f` the kernel.

mod boot;
mod console;
mod hotplug;
mod serve;
mod supervise;

use std::process::ExitCode;

use console::say;

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let name = arguments.next().unwrap_or_default();
    let option = arguments.next();
    match name.rsplit('/').next() {
        Some("poweroff" | "halt") => ask(supervise::Request::PowerOff, option),
        Some("reboot") => ask(supervise::Request::Reboot, option),
        _ if option.as_deref() == Some("serve") => serve::run(),
        _ if option.as_deref() == Some("hotplug") => hotplug::run(),
        _ if std::process::id() == 1 => pid1(),
        _ => {
            eprintln!("{name}: runs as PID 1 of a guest, as `poweroff` or as `reboot`");
            ExitCode::FAILURE
        }
    }
}

fn ask(request: supervise::Request, option: Option<String>) -> ExitCode {
    let result = match option.as_deref() {
        Some("-f") => Err(request.carry_out()),
        _ => request.send(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("PID 1 does not answer: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Never returns in a guest: a PID 1 that returns is a kernel panic, so what fails powers off.
fn pid1() -> ExitCode {
    let error = match boot::run().and_then(|settings| supervise::run(&settings)) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    say!("cannot boot: {error}");
    say!("powering off");
    let error = supervise::Request::PowerOff.carry_out();
    say!("cannot power off: {error}");
    ExitCode::FAILURE
}
