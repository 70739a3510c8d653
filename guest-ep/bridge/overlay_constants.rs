// SPDX-License-Identifier: GPL-2.0

//! Host program of the build: writes the C header from which the overlay takes its numbers, so
//! that the crate `abi` stays the only place where they are typed.

#[allow(dead_code, unreachable_pub)]
#[path = "../../abi/src/spider.rs"]
mod spider;

fn main() {
    println!("/* Generated from the crate abi. */");
    for (name, value) in spider::dt_defines() {
        println!("#define {name} {value:#x}");
    }
}
