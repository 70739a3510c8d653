// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Prints the Spider's layout as C preprocessor definitions for a device-tree overlay:
//! `cargo run -q -p abi --example dt_header > spider.h`.

use abi::spider;

fn main() {
    print!("{}", header());
}

/// The header's text. Values are hexadecimal, which both cpp and dtc accept.
pub fn header() -> String {
    let mut text = String::from("/* Generated from abi/src/spider.rs; do not edit. */\n");
    text += &format!("#define SPIDER_COMPATIBLE \"{}\"\n", spider::COMPATIBLE);
    for (name, value) in spider::dt_defines() {
        text += &format!("#define {name} {value:#x}\n");
    }
    text
}
