// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `mmio read|write FILE OFFSET COUNT`: what an access to a mapped PCI resource costs, for the benchmarks.
//!
//! FILE is a BAR in sysfs (`/sys/bus/pci/devices/…/resourceN`). All accesses are 32 bits wide.
//! - `read` times each of COUNT reads and prints `read_ns MEDIAN`.
//! - `write` times COUNT posted writes, then waits for one read behind them, and prints `issued_ns` and
//!   `drained_ns`, each per write.

use std::env;
use std::fs::OpenOptions;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::ptr::NonNull;
use std::time::Instant;

use nix::sys::mman::{mmap, MapFlags, ProtFlags};

const PAGE: usize = 4096;

/// One 32-bit register in a mapped page. The mapping lives as long as the process.
struct Register(NonNull<u32>);

impl Register {
    fn map(path: &str, offset: usize) -> Result<Self, String> {
        if offset % 4 != 0 {
            return Err(format!("offset {offset:#x} is not a multiple of 4"));
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|error| format!("cannot open {path}: {error}"))?;
        let length = NonZeroUsize::new(PAGE).expect("a page is not empty");
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let page = (offset / PAGE * PAGE) as i64;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let base = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, &file, page) }
            .map_err(|error| format!("cannot map {path} at {page:#x}: {error}"))?;
        // SAFETY: the offset within the page is below PAGE, so the result is inside the mapping.
        Ok(Register(unsafe {
            base.cast::<u8>().add(offset % PAGE).cast()
        }))
    }

    fn read(&self) -> u32 {
        // SAFETY: the register is inside a live mapping, and aligned.
        unsafe { self.0.read_volatile() }
    }

    fn write(&self, value: u32) {
        // SAFETY: as in `read`, and the mapping is writable.
        unsafe { self.0.write_volatile(value) }
    }
}

fn run() -> Result<(), String> {
    let usage = "usage: mmio read|write FILE OFFSET COUNT";
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [operation, path, offset, count] = &arguments[..] else {
        return Err(usage.into());
    };
    let number = |text: &str| {
        let digits = text.strip_prefix("0x");
        digits.map_or_else(|| text.parse(), |digits| usize::from_str_radix(digits, 16))
    };
    let offset = number(offset).map_err(|_| usage)?;
    let count = number(count).ok().filter(|&count| count > 0).ok_or(usage)?;
    let register = Register::map(path, offset)?;
    match operation.as_str() {
        "read" => {
            let mut times: Vec<u128> = (0..count)
                .map(|_| {
                    let start = Instant::now();
                    register.read();
                    start.elapsed().as_nanos()
                })
                .collect();
            times.sort_unstable();
            println!("read_ns {}", times[count / 2]);
        }
        "write" => {
            let value = register.read();
            let start = Instant::now();
            for _ in 0..count {
                register.write(value);
            }
            let issued = start.elapsed().as_nanos();
            register.read();
            let drained = start.elapsed().as_nanos();
            println!(
                "issued_ns {}\ndrained_ns {}",
                issued / count as u128,
                drained / count as u128
            );
        }
        _ => return Err(usage.into()),
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mmio: {error}");
            ExitCode::FAILURE
        }
    }
}
