// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `pair gdb`.

use crate::options::Debug;
use crate::qemu;
use crate::qmp;
use crate::run::{self, Record, Sockets};
use crate::side::Side;
use crate::status::{Exit, Failure};
use crate::trust;
use images::{Images, Progress};
use std::env;
use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Becomes gdb, attached to a running guest's kernel or to the device.
///
/// A guest's stub is opened at this moment, so any running pair can be debugged; `pair run --gdb` is for the moments before.
///
/// # Errors
/// 125 when no pair is running, or when gdb or symbols are missing. On success it does not return.
pub fn gdb(runs: &Path, target: Debug, arguments: &[String]) -> Result<Exit, Failure> {
    let (_, record) = run::find(runs)?;
    let side = match target {
        Debug::Ep => Side::Ep,
        Debug::Rc => Side::Rc,
        Debug::Device => return device(&record, arguments),
    };
    let sockets = Sockets(record.sockets.clone());
    let socket = sockets.gdb(side);
    if !socket.exists() {
        open_stub(&sockets, side)?;
    }
    let mut command = debugger("gdb-multiarch")?;
    match &record.vmlinux[side] {
        Some(vmlinux) => {
            if let Some(scripts) = record.build_dir[side].as_ref().map(|dir| dir.join("vmlinux-gdb.py")) {
                // gdb loads the kernel's own scripts (lx-symbols, lx-dmesg) only from where it is told.
                match scripts.parent().filter(|_| scripts.exists()) {
                    Some(dir) if trust::may_run(&scripts) => {
                        command.arg("-iex").arg(format!("add-auto-load-safe-path {}", dir.display()));
                    }
                    Some(_) => eprintln!(
                        "pair: {} is another user's, so gdb does not run it",
                        scripts.display()
                    ),
                    None => {}
                }
            }
            command.arg(vmlinux);
        }
        None => eprintln!(
            "pair: this kernel has no vmlinux, so there are no symbols; boot with KERNEL_VARIANT=gdb"
        ),
    }
    command.args([
        "-iex",
        "set architecture aarch64",
        "-iex",
        "set pagination off",
    ]);
    command
        .arg("-ex")
        .arg(format!("target remote {}", socket.display()));
    become_it(command.args(arguments))
}

fn open_stub(sockets: &Sockets, side: Side) -> Result<(), Failure> {
    let cannot = |error: qmp::Error| {
        Failure::harness(format!("{}'s QEMU opens no gdb stub", side.title())).caused_by(error)
    };
    let stream =
        UnixStream::connect(sockets.monitor(side)).map_err(|error| cannot(error.into()))?;
    let monitor = qmp::Client::new(stream, |_| ()).map_err(cannot)?;
    let server = qemu::server(&sockets.gdb(side));
    let said = monitor
        .human(&format!("gdbserver {server}"))
        .map_err(cannot)?;
    if sockets.gdb(side).exists() {
        return Ok(());
    }
    let message = format!("{}'s QEMU opens no gdb stub", side.title());
    Err(Failure::harness(message).with_tail(said.lines().map(str::to_owned).collect()))
}

fn device(record: &Record, arguments: &[String]) -> Result<Exit, Failure> {
    let pid = record
        .device_pid
        .ok_or_else(|| Failure::harness("the run's device process is not known"))?;
    eprintln!(
        "pair: QEMU gives up on a device that stands still for a minute, unless the run began with --gdb device"
    );
    let mut command = debugger("gdb")?;
    command.arg("-p").arg(pid.to_string()).arg(&record.device);
    become_it(command.args(arguments))
}

/// The host's `program`, else the toolbox's gdb, which knows every architecture.
fn debugger(program: &str) -> Result<Command, Failure> {
    let path = env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin"));
    if env::split_paths(&path).any(|dir| dir.join(program).exists()) {
        return Ok(Command::new(program));
    }
    let toolbox = Images::open(Progress::auto())?.toolbox()?;
    if toolbox.root().join("usr/bin/gdb-multiarch").exists() {
        return Ok(toolbox.command("gdb-multiarch"));
    }
    Err(
        Failure::harness(format!("there is no {program}, nor one in the toolbox"))
            .with_hint("install gdb-multiarch"),
    )
}

fn become_it(command: &mut Command) -> Result<Exit, Failure> {
    let error = command.exec();
    let name = command.get_program().to_string_lossy().into_owned();
    Err(Failure::harness(format!("cannot run {name}")).caused_by(error))
}
