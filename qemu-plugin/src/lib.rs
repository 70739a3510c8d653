// SPDX-License-Identifier: GPL-2.0-or-later
//! What runs inside each stock QEMU: windows onto the peer's RAM at memory speed.
//!
//! Without it, each access through a window that the iATU opens is a message to the device and back. The
//! device knows which windows are plain RAM of the peer guest and says so ([`abi::windows`]); this library
//! lays that RAM over them, so that a vCPU reads and writes it as it does its own. What is not laid over
//! traps as ever, so that everything is right without this library, and while it lags behind.
//!
//! QEMU loads it by `-plugin LIBRARY,socket=PATH,side=ep|rc,device=ID` ([`arguments`]). From QEMU's plugin
//! interface it needs two names only, [`qemu_plugin_version`] and [`qemu_plugin_install`]: no translation
//! hook, so translated code is as fast as without it. The rest is QEMU's internals ([`qemu`]).
//!
//! A thread of its own ([`connection`]) follows the device: it checks what it says ([`protocol`]) and
//! changes what the places of an address range show ([`arena`]). The main loop adds places to the guest's
//! memory and takes them away ([`regions`]).
//!
//! It must not harm QEMU: it touches no memory but its own mappings, nothing unwinds into QEMU, and when
//! something is not as it must be it says so in one line, and accesses trap.

mod arena;
mod arguments;
mod budget;
mod connection;
mod fence;
mod protocol;
mod qemu;
mod range;
mod regions;
mod report;
#[cfg(test)]
mod test_support;

use arena::Arena;
use arguments::Arguments;
use connection::End;
use nix::sys::signal::{SigSet, SigmaskHow};
use qemu::Qemu;
use range::Range;
use regions::Regions;
use report::report;
use std::ffi::{c_char, c_int, c_void, CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::Duration;

/// The version of QEMU's plugin interface that this library is for (`QEMU_PLUGIN_VERSION` in
/// `include/plugins/qemu-plugin.h`). QEMU 11.1 takes 7 only, and ends if it does not like what it finds.
#[no_mangle]
#[allow(non_upper_case_globals)]
pub static qemu_plugin_version: c_int = 7;

/// What the device has for its first steps: to listen, and to accept this library.
const PATIENCE: Duration = Duration::from_secs(10);

/// QEMU calls this when it has loaded the library, on its main thread (`qemu-plugin.h`). It always returns
/// 0: with anything else QEMU would end, and it can do without windows.
///
/// # Safety
/// `argv` has `argc` strings.
#[no_mangle]
pub unsafe extern "C" fn qemu_plugin_install(
    _id: u64,
    _info: *const c_void,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    let count = usize::try_from(argc).unwrap_or(0);
    // SAFETY: as the caller vouches.
    let words = (0..count).map(|index| unsafe { CStr::from_ptr(*argv.add(index)) });
    let words = words.map(|word| OsStr::from_bytes(word.to_bytes()));
    let installed = catch_unwind(AssertUnwindSafe(|| install(words)));
    if let Err(reason) = installed.unwrap_or_else(|_| Err("a fault of this library".into())) {
        report(format_args!("{reason}: accesses trap"));
    }
    0
}

/// Starts the thread, if everything is as it must be.
fn install<'a>(words: impl Iterator<Item = &'a OsStr>) -> Result<(), String> {
    let arguments = Arguments::parse(words)?;
    let (qemu, version) = Qemu::find()?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    if page != Ok(Some(abi::windows::PAGE_SIZE as i64)) {
        return Err("the host's pages are not of 4 KiB".into());
    }
    let arena = Arena::reserve().map_err(|error| format!("no room for windows: {error}"))?;
    let arena: &'static Arena = Box::leak(Box::new(arena));
    let device = arguments.device.clone();
    let regions = Regions::new(qemu, device, arena).ok_or("no room for windows")?;

    // The thread inherits the mask: QEMU's signals are for QEMU's threads.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let mask = mask.map_err(|error| format!("cannot block signals: {error}"))?;
    let thread = std::thread::Builder::new().name("spider-windows".into());
    let thread = thread.spawn(move || {
        let run = AssertUnwindSafe(|| run(&arguments, &version, arena, regions));
        if catch_unwind(run).is_err() {
            report("a fault of this library: windows stay as they are");
        }
    });
    let _ = mask.thread_set_mask();
    thread.map_err(|error| format!("cannot start a thread: {error}"))?;
    Ok(())
}

/// The thread: one connection, from beginning to end.
fn run(arguments: &Arguments, version: &str, arena: &Arena, regions: &'static Regions) {
    if let Err(error) = regions.serve_later() {
        report(format_args!(
            "no thread for a clock, {error}: vCPUs may stand for windows at any time"
        ));
    }
    let socket = &arguments.socket;
    let stream = match connection::open(socket, PATIENCE) {
        Ok(stream) => stream,
        Err(error) => {
            return report(format_args!("{}: {error}: accesses trap", socket.display()));
        }
    };
    let mut accepted = false;
    let publish = |wanted: Vec<Range>| {
        if !accepted {
            accepted = true;
            report(format_args!("windows at memory speed (QEMU {version})"));
        }
        regions.want(wanted);
    };
    let end = connection::serve(&stream, arguments.side, PATIENCE, arena, publish);
    drop(stream);
    // A device that lives serves what traps. For one that is no more every access that traps is an error
    // that QEMU logs, if it survives it: there the void is the better answer.
    match end {
        End::Gone => report("the device is gone: its windows read as all ones"),
        End::Dropped => {
            regions.want(Vec::new());
            report("the device closed the connection: accesses trap");
        }
        End::Broken(reason) => {
            regions.want(Vec::new());
            report(format_args!("{reason}: accesses trap"));
        }
    }
}
