// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Lines on the console and in `dmesg`, each with the guest's uptime.

use std::fmt::Arguments;
use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use nix::libc;

/// Prints `spider: MESSAGE at SECONDS s` on the console.
macro_rules! say {
    ($($message:tt)*) => { $crate::console::print(format_args!($($message)*)) };
}
pub(crate) use say;

/// One line by way of the kernel's log, so that it stays whole beside the kernel's own. A kernel
/// without one: straight to the console. Without a console: nothing.
pub fn print(message: Arguments) {
    let line = format!("spider: {message} at {:.2} s", uptime().as_secs_f64());
    let write = |file, line: String| {
        OpenOptions::new()
            .write(true)
            .open(file)
            .and_then(|mut f| f.write_all(line.as_bytes()))
    };
    // 3, error: the least that is shown with `quiet`, and the runner reads these lines.
    if write("/dev/kmsg", format!("<3>{line}\n")).is_err() {
        let _ = write("/dev/console", format!("{line}\r\n"));
    }
}

/// Time since the kernel started its clock, as `dmesg` shows it.
pub fn uptime() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a whole timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
