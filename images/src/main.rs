// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Makes one artefact and prints its path: `cargo run -p images -- toolbox|rootfs|…`.

use std::process::ExitCode;

use anyhow::{bail, Result};
use images::{Images, Progress};

const USAGE: &str = "usage: images toolbox | source | rootfs";

fn main() -> ExitCode {
    match make(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("images: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn make(arguments: &[String]) -> Result<()> {
    let images = Images::open(Progress::auto())?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let path = match arguments.as_slice() {
        ["toolbox"] => images.toolbox()?.root(),
        ["rootfs"] => images.rootfs()?,
        _ => bail!(USAGE),
    };
    println!("{}", path.display());
    Ok(())
}
