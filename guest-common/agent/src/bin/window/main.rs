// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `window`: what the tests of windows onto the peer's memory do inside the guests. Numbers may be hexadecimal (0x…).
//!
//! On the endpoint, which it finds by its ids:
//! - `open REGION OFFSET SIZE TARGET`: outbound iATU region REGION leads SIZE bytes of the window from OFFSET on to the
//!   root complex's address TARGET; `close REGION` disables it.
//! - `lead REGION TARGET`: inbound region REGION leads to TARGET from now on; prints where it led.
//! - `swing ROUNDS REGION TARGET…`: leads it to the targets in turn, and at last back to where it led.
//! - `move ROUNDS OFFSET SIZE TARGET…`: moves the window between the targets while it copies; see [`moves`].
//! - `toggle ROUNDS OFFSET SIZE TARGET`: opens and closes it.
//!
//! In either guest; FILE is a BAR in sysfs (`/sys/bus/pci/devices/…/resourceN`):
//! - `hold COUNT SIZE [ALIGN]`: memory for windows to lead to; see [`hold`].
//! - `check FILE OFFSET SIZE TAGS`: is it a buffer of one of these tags (`0,1`)? `fill FILE OFFSET SIZE TAG` makes it one.
//! - `watch FILE OFFSET SIZE TAGS [SECONDS]`: checks all the time, else until its input ends.
//! - `peek FILE OFFSET`, `poke FILE OFFSET VALUE`: a 64-bit word.

mod abi;
mod hold;
mod iatu;
mod moves;
mod pattern;
mod watch;

use std::env;
use std::fs;
use std::num::ParseIntError;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use abi::spider;
use agent::bar::{Bar, PAGE};
use iatu::Region;
use watch::Until;

/// The region that `move` and `toggle` program: the last, which the driver takes last.
const REGION: usize = abi::iatu::REGIONS - 1;

const USAGE: &str = "\
usage: window open REGION OFFSET SIZE TARGET | close REGION | lead REGION TARGET
       window swing ROUNDS REGION TARGET...
       window move ROUNDS OFFSET SIZE TARGET... | toggle ROUNDS OFFSET SIZE TARGET
       window hold COUNT SIZE [ALIGN]
       window check FILE OFFSET SIZE TAGS | fill FILE OFFSET SIZE TAG | watch FILE OFFSET SIZE TAGS [SECONDS]
       window peek FILE OFFSET | poke FILE OFFSET VALUE";

/// A number in decimal or, with 0x, in hexadecimal.
fn number(text: &str) -> Result<u64, ParseIntError> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
}

fn arguments(words: &[&str]) -> Result<Vec<u64>, String> {
    let number = |word: &&str| number(word).map_err(|_| format!("`{word}` is no number"));
    words.iter().map(number).collect()
}

fn tags(text: &str) -> Result<Vec<u8>, String> {
    let tag = |tag: &str| tag.parse().map_err(|_| format!("`{tag}` is no tag"));
    text.split(',').map(tag).collect()
}

/// The endpoint's own PCI device: its registers, its window, and where in the guest that lies.
struct Endpoint {
    registers: Bar,
    window: Bar,
    base: u64,
}

impl Endpoint {
    fn find() -> Result<Self, String> {
        let devices = fs::read_dir("/sys/bus/pci/devices").map_err(|error| error.to_string())?;
        let ours = |dir: &Path| {
            let id = |name: &str| number(fs::read_to_string(dir.join(name)).ok()?.trim()).ok();
            id("vendor") == Some(spider::ep_face::VENDOR_ID.into())
                && id("device") == Some(spider::ep_face::DEVICE_ID.into())
        };
        let dir = devices
            .flatten()
            .map(|entry| entry.path())
            .find(|dir| ours(dir))
            .ok_or("this guest has no endpoint")?;
        let bar = |bar: u8| Bar::map(&dir.join(format!("resource{bar}")).to_string_lossy());
        Ok(Self {
            registers: bar(spider::REGISTERS_BAR)?,
            window: bar(spider::WINDOW_BAR)?,
            base: address(&dir.join("resource"), spider::WINDOW_BAR)?,
        })
    }

    /// Part of the window, to be led by outbound region `region`.
    fn window(&self, region: usize, offset: u64, size: u64) -> Result<moves::Window<'_>, String> {
        let (offset, size) = (offset as usize, size as usize);
        self.window.check(offset, size)?;
        if offset % PAGE != 0 || size % PAGE != 0 {
            return Err(format!(
                "windows have whole pages, not {size:#x} bytes at {offset:#x}"
            ));
        }
        Ok(moves::Window {
            bar: &self.window,
            offset,
            size,
            base: self.base + offset as u64,
            region: Region::outbound(&self.registers, region)?,
        })
    }
}

/// Where BAR `bar` starts: the first number of its line in sysfs's `resource`.
fn address(file: &PathBuf, bar: u8) -> Result<u64, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    text.lines()
        .nth(bar.into())
        .and_then(|line| number(line.split_whitespace().next()?).ok())
        .ok_or_else(|| format!("{} has no line for BAR {bar}", file.display()))
}

/// A range of a BAR in sysfs.
fn range(file: &str, offset: &str, len: &str) -> Result<(Bar, usize, usize), String> {
    let bar = Bar::map(file)?;
    let range = arguments(&[offset, len])?;
    let (offset, len) = (range[0] as usize, range[1] as usize);
    bar.check(offset, len)?;
    Ok((bar, offset, len))
}

fn run(words: &[&str]) -> Result<(), String> {
    match *words {
        ["open", ref rest @ ..] if rest.len() == 4 => {
            let numbers = arguments(rest)?;
            let endpoint = Endpoint::find()?;
            let window = endpoint.window(numbers[0] as usize, numbers[1], numbers[2])?;
            window.region.open(window.base, numbers[2], numbers[3])?;
        }
        ["close", region] => {
            let endpoint = Endpoint::find()?;
            let region = arguments(&[region])?[0];
            Region::outbound(&endpoint.registers, region as usize)?.close();
        }
        ["lead", region, target] => {
            let endpoint = Endpoint::find()?;
            let numbers = arguments(&[region, target])?;
            let region = Region::inbound(&endpoint.registers, numbers[0] as usize)?;
            println!("{:#x}", region.present_target());
            region.target(numbers[1]);
            region.wait()?;
        }
        ["swing", rounds, region, ref targets @ ..] if !targets.is_empty() => {
            let numbers = arguments(&[rounds, region])?;
            let endpoint = Endpoint::find()?;
            let region = Region::inbound(&endpoint.registers, numbers[1] as usize)?;
            let before = region.present_target();
            let targets = arguments(targets)?;
            for &target in targets.iter().cycle().take(numbers[0] as usize) {
                region.target(target);
                region.wait()?;
            }
            region.target(before);
            region.wait()?;
        }
        ["move", rounds, offset, size, ref targets @ ..] if !targets.is_empty() => {
            let numbers = arguments(&[rounds, offset, size])?;
            let endpoint = Endpoint::find()?;
            let window = endpoint.window(REGION, numbers[1], numbers[2])?;
            println!("{}", moves::run(&window, numbers[0], &arguments(targets)?)?);
        }
        ["toggle", ref rest @ ..] if rest.len() == 4 => {
            let numbers = arguments(rest)?;
            let endpoint = Endpoint::find()?;
            let window = endpoint.window(REGION, numbers[1], numbers[2])?;
            println!("{}", moves::toggle(&window, numbers[0], numbers[3])?);
        }
        ["hold", count, size, ref align @ ..] if align.len() < 2 => {
            let numbers = arguments(&[count, size, align.first().unwrap_or(&"0x1000")])?;
            hold::serve(
                numbers[0] as usize,
                numbers[1] as usize,
                numbers[2] as usize,
            )?;
        }
        ["check", file, offset, size, of] => {
            let (bar, offset, len) = range(file, offset, size)?;
            let words = (offset..offset + len).step_by(8).map(|at| bar.read64(at));
            println!("{}", pattern::judge(&tags(of)?, 0, words));
        }
        ["fill", file, offset, size, tag] => {
            let (bar, offset, len) = range(file, offset, size)?;
            let tag = arguments(&[tag])?[0] as u8;
            for index in 0..len / 8 {
                bar.write64(offset + 8 * index, pattern::word(tag, index));
            }
        }
        ["watch", file, offset, size, of, ref seconds @ ..] => {
            let (bar, offset, len) = range(file, offset, size)?;
            let until = match arguments(seconds)?[..] {
                [] => Until::input_ends(),
                [seconds] => Until::Time(Duration::from_secs(seconds)),
                _ => return Err(USAGE.into()),
            };
            watch::run(&bar, offset, len, &tags(of)?, &until)?;
        }
        ["peek", file, offset] => {
            let (bar, offset, _) = range(file, offset, "8")?;
            println!("{:#018x}", bar.read64(offset));
        }
        ["poke", file, offset, value] => {
            let (bar, offset, _) = range(file, offset, "8")?;
            bar.write64(offset, arguments(&[value])?[0]);
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("window: {error}");
            ExitCode::FAILURE
        }
    }
}
