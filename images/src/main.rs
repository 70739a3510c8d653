// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Makes one artefact and prints its path: `cargo run -p images -- toolbox|kernel|rootfs|…`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{bail, Result};
use images::{Images, KernelVariant, Progress};

const USAGE: &str = "usage: images toolbox | rootfs | agent | \
    kernel [plain|gdb|debug|PATH] | modules [plain|gdb|debug|PATH]";

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
    let kernel = |which: &[&str]| match which {
        [] => images.kernel(KernelVariant::from_env()?),
        [which] => match KernelVariant::named(which) {
            Some(variant) => images.kernel(variant),
            None => images.user_kernel(Path::new(which)),
        },
        _ => bail!(USAGE),
    };
    let paths = match arguments.as_slice() {
        ["toolbox"] => vec![images.toolbox()?.root()],
        ["kernel", which @ ..] => vec![kernel(which)?.image],
        ["rootfs"] => vec![images.rootfs()?],
        ["agent"] => vec![images.agent()?],
        ["modules", which @ ..] => images.modules(&kernel(which)?)?,
        _ => bail!(USAGE),
    };
    for path in paths {
        println!("{}", path.display());
    }
    Ok(())
}
