// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How fast the eDMA moves data, against memcpy between the same two mappings.
//!
//! `cargo bench -p qemu-device --bench edma` starts the device's program with a client in each guest's
//! place, and prints, all from one run:
//!
//! - *1 MiB*, *4 KiB elements*: 64 MiB by one channel, as a ratio to memcpy(3) of as much by this
//!   program;
//! - *64 byte elements*: millions a second by one channel;
//! - *eight channels*: 64 MiB by four write and four read channels at a time, as a ratio to one
//!   channel alone;
//! - *register read*: while nothing happens, and while a channel moves 64 MiB;
//! - a table of what an element costs, which is plotted as well: `target/tmp/edma-cost.svg`.
//!
//! Times are medians of rounds, ratios the median of the rounds' own, and both go from the doorbell's
//! write to the interrupt's last clear. With `-- --json` they come as one JSON object.

mod board;
mod cost;
mod figures;
mod list;
mod ram;

use std::env;
use std::path::Path;

use board::Board;
use cost::Costs;
use figures::Figures;

fn main() {
    let json = env::args().any(|argument| argument == "--json");
    let mut board = Board::new();
    let figures = Figures::measure(&mut board);
    let costs = Costs::measure(&mut board);
    let plot = Path::new(env!("CARGO_TARGET_TMPDIR")).join("edma-cost.svg");
    costs.plot(&plot).expect("a plot");
    if json {
        let all = serde_json::json!({ "figures": figures.json(), "costs": costs.json() });
        println!("{all}");
    } else {
        print!("{figures}\n{costs}");
        println!("# plotted in {}", plot.display());
    }
}
