// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `pair`, and `ep` and `rc` by its other names.

use clap::Parser;
use pair::cli::{Cli, Command, GuestArgs, GuestCli};
use pair::{commands, signals, suite, Exit, Failure, Side};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::new().filter_or("SPIDER_PAIR_LOG", "warn"))
        .format_target(false)
        .init();
    match dispatch() {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("pair: {}", failure.report());
            failure.exit.into()
        }
    }
}

fn dispatch() -> Result<Exit, Failure> {
    if let Some(side) = called_as() {
        return in_guest(side, &parse::<GuestCli>()?.args);
    }
    match parse::<Cli>()?.command {
        Command::Ep(args) => in_guest(Side::Ep, &args),
        Command::Rc(args) => in_guest(Side::Rc, &args),
        Command::Inspect { path, json, place } => commands::inspect(&place.runs(), &path, json),
        Command::Gdb {
            target,
            arguments,
            place,
        } => commands::gdb(&place.runs(), target, &arguments),
        Command::List => suite::command::list(),
        Command::SetUp { place } => commands::set_up(&place.runs()),
        Command::Run(args) => {
            signals::install();
            commands::run(&args)
        }
        Command::Test(args) => {
            signals::install();
            if let Some(time) = args.timeout {
                signals::limit(time);
            }
            suite::command::test(&args.suite, &pair::cli::options_of_case)
        }
    }
}

fn in_guest(side: Side, args: &GuestArgs) -> Result<Exit, Failure> {
    commands::in_guest(&args.place.runs(), side, &args.words)
}

/// The guest whose name this program was called by.
fn called_as() -> Option<Side> {
    let name = std::env::args_os().next()?;
    let name = Path::new(&name).file_name()?.to_owned();
    Side::BOTH.into_iter().find(|side| name == side.name())
}

/// Reads the command line. Clap's own status for bad usage, 2, is no status of ours.
fn parse<T: Parser>() -> Result<T, Failure> {
    T::try_parse().map_err(|error| {
        let _ = error.print();
        std::process::exit(
            if error.use_stderr() {
                Exit::Harness
            } else {
                Exit::Pass
            }
            .code()
            .into(),
        )
    })
}
