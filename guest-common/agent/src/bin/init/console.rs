// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Lines on the console, each with the guest's uptime.

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

/// One line, in one write, so that it stays whole beside the kernel's. Without a console: nothing.
pub fn print(message: Arguments) {
    let line = format!("spider: {message} at {:.2} s\r\n", uptime().as_secs_f64());
    if let Ok(mut console) = OpenOptions::new().write(true).open("/dev/console") {
        let _ = console.write_all(line.as_bytes());
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
