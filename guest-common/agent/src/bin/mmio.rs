// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Accesses to a mapped PCI resource, for tests, and what they cost, for the benchmarks.
//!
//! `mmio peek FILE OFFSET` prints a register of 32 bits, `mmio poke FILE OFFSET VALUE` writes one, and `mmio cycle FILE
//! OFFSET COUNT MICROSECONDS VALUE…` writes each value in turn, COUNT times all of them, with that much time (which the
//! program does not sleep) after each; prints how many of these rounds there were in a second.
//!
//! `mmio read|write FILE OFFSET COUNT`: single accesses of 32 bits to the BAR in sysfs that is FILE
//! (`/sys/bus/pci/devices/…/resourceN`).
//! - `read` times each of COUNT reads and prints `read_ns MEDIAN`.
//! - `write` times COUNT posted writes, then waits for one read behind them, and prints `issued_ns` and
//!   `drained_ns`, each per write; `write64` does so with 64 bits.
//!
//! `mmio copy FILE OFFSET SIZE SECONDS`: memcpy of SIZE bytes from RAM to the BAR and back, again and again, and
//! between two places in RAM. Prints `to_mbs`, `from_mbs` and `ram_mbs`, in MB (10^6 bytes) a second: medians.
//!
//! `mmio send FILE OFFSET SIZE COUNT`: COUNT times a memcpy of SIZE bytes from RAM to the BAR, and a read of its last word,
//! behind which all of them have arrived. Prints `send_ns`, the median of one. What was there before is lost.

use std::env;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use agent::bar::Bar;

/// Copies to the BAR, from it, and in RAM, in turns: what else the machine does meanwhile hits all three alike.
fn copy(bar: &Bar, offset: usize, size: usize, time: Duration) {
    let window = bar.bytes(offset, size).as_ptr();
    let (source, mut target) = (vec![0x5au8; size], vec![0u8; size]);
    let mut rates: [Vec<f64>; 3] = Default::default();
    let rate = |turn: &mut dyn FnMut()| {
        let start = Instant::now();
        turn();
        size as f64 / start.elapsed().as_secs_f64() / 1e6
    };
    let mut kept = vec![0u8; size];
    // SAFETY: `window` has `size` bytes of a live mapping of a device, which no memory of ours overlaps.
    unsafe { window.copy_to_nonoverlapping(kept.as_mut_ptr(), size) };
    let begun = Instant::now();
    while rates[0].is_empty() || begun.elapsed() < time {
        // SAFETY: as above, and `source` has as many bytes.
        rates[0].push(rate(&mut || unsafe {
            window.copy_from_nonoverlapping(source.as_ptr(), size);
        }));
        // SAFETY: as above, and `target` has as many bytes.
        rates[1].push(rate(&mut || unsafe {
            window.copy_to_nonoverlapping(target.as_mut_ptr(), size);
        }));
        rates[2].push(rate(&mut || {
            target.copy_from_slice(std::hint::black_box(&source));
        }));
        std::hint::black_box(&target);
    }
    // The window may be in a driver's use.
    // SAFETY: as above, and `kept` has as many bytes.
    unsafe { window.copy_from_nonoverlapping(kept.as_ptr(), size) };
    for (name, mut rates) in ["to_mbs", "from_mbs", "ram_mbs"].into_iter().zip(rates) {
        rates.sort_unstable_by(f64::total_cmp);
        println!("{name} {:.2}", rates[rates.len() / 2]);
    }
}

/// Writes the values in turn, as fast as a driver could.
fn cycle(bar: &Bar, offset: usize, count: usize, pause: Duration, values: &[u32]) {
    let begun = Instant::now();
    for _ in 0..count {
        for &value in values {
            bar.write32(offset, value);
            let written = Instant::now();
            while written.elapsed() < pause {
                std::hint::spin_loop();
            }
        }
    }
    bar.read32(offset);
    println!(
        "rounds_per_s {:.0}",
        count as f64 / begun.elapsed().as_secs_f64()
    );
}

/// Copies to the BAR until all has arrived, so many times.
fn send(bar: &Bar, offset: usize, size: usize, count: usize) {
    let window = bar.bytes(offset, size).as_ptr();
    let source = vec![0x5au8; size];
    let mut times: Vec<u128> = (0..count)
        .map(|_| {
            let start = Instant::now();
            // SAFETY: `window` has `size` bytes of a live mapping of a device, which no memory of ours overlaps.
            unsafe { window.copy_from_nonoverlapping(source.as_ptr(), size) };
            bar.read32((offset + size - 1) & !3);
            start.elapsed().as_nanos()
        })
        .collect();
    times.sort_unstable();
    println!("send_ns {}", times[count / 2]);
}

fn run() -> Result<(), String> {
    let usage =
        "usage: mmio read|write|write64 FILE OFFSET COUNT, mmio copy FILE OFFSET SIZE SECONDS, \
                 mmio send FILE OFFSET SIZE COUNT, mmio peek FILE OFFSET, mmio poke FILE OFFSET VALUE, or \
                 mmio cycle FILE OFFSET COUNT MICROSECONDS VALUE...";
    let arguments: Vec<String> = env::args().skip(1).collect();
    let one = String::from("1");
    let mut values: &[String] = &[];
    let (operation, path, offset, count, last) = match &arguments[..] {
        [operation, path, offset, count, last, rest @ ..] if operation == "cycle" => {
            values = rest;
            (operation, path, offset, count, Some(last))
        }
        [operation, path, offset] if operation == "peek" => (operation, path, offset, &one, None),
        [operation, path, offset, count] => (operation, path, offset, count, None),
        [operation, path, offset, count, last]
            if ["copy", "send"].contains(&operation.as_str()) =>
        {
            (operation, path, offset, count, Some(last))
        }
        _ => return Err(usage.into()),
    };
    let number = |text: &str| {
        let digits = text.strip_prefix("0x");
        digits.map_or_else(|| text.parse(), |digits| usize::from_str_radix(digits, 16))
    };
    let offset = number(offset).map_err(|_| usage)?;
    let count = number(count).map_err(|_| usage)?;
    if count == 0 && operation != "poke" {
        return Err(usage.into());
    }
    let bar = Bar::map(path)?;
    if offset % 4 != 0 || offset >= bar.len() {
        return Err(format!("{offset:#x} is no register of this BAR"));
    }
    match operation.as_str() {
        "peek" => println!("{:#x}", bar.read32(offset)),
        "poke" => bar.write32(offset, u32::try_from(count).map_err(|_| usage)?),
        "cycle" => {
            let pause = last.and_then(|text| text.parse().ok()).ok_or(usage)?;
            let values: Option<Vec<u32>> = values
                .iter()
                .map(|text| number(text).ok()?.try_into().ok())
                .collect();
            let values = values.filter(|values| !values.is_empty()).ok_or(usage)?;
            cycle(&bar, offset, count, Duration::from_micros(pause), &values);
        }
        "read" => {
            let mut times: Vec<u128> = (0..count)
                .map(|_| {
                    let start = Instant::now();
                    bar.read32(offset);
                    start.elapsed().as_nanos()
                })
                .collect();
            times.sort_unstable();
            println!("read_ns {}", times[count / 2]);
        }
        "write" | "write64" => {
            let wide = operation == "write64";
            // The 64 bits that these 32 are half of: a BAR has a multiple of 16 bytes.
            let place = offset & !7;
            let (value, both) = (bar.read32(offset), bar.read64(place));
            let start = Instant::now();
            for _ in 0..count {
                if wide {
                    bar.write64(place, both);
                } else {
                    bar.write32(offset, value);
                }
            }
            let issued = start.elapsed().as_nanos();
            bar.read32(offset);
            let drained = start.elapsed().as_nanos();
            println!(
                "issued_ns {}\ndrained_ns {}",
                issued / count as u128,
                drained / count as u128
            );
        }
        "copy" => {
            let seconds = last.and_then(|text| text.parse().ok()).ok_or(usage)?;
            bar.check(offset, count)?;
            copy(&bar, offset, count, Duration::from_secs(seconds));
        }
        "send" => {
            let times = last.and_then(|text| text.parse().ok()).ok_or(usage)?;
            bar.check(offset, count)?;
            if times == 0 {
                return Err(usage.into());
            }
            send(&bar, offset, count, times);
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
