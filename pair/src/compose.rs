// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What each guest boots from: its initramfs, with the modules, scripts and overlays of this run.

use crate::artefacts::Artefacts;
use crate::function;
use crate::guest::layer::{module_tree, Initramfs, LayerError};
use crate::net;
use crate::options::Options;
use crate::side::Side;
use crate::status::Failure;
use std::fs;
use std::path::Path;

/// Where the guest finds the list of modules that its PID 1 loads.
const MODULES: &str = "/etc/spider-pair/modules";
/// Where the guest finds the scripts of the functions.
const FUNCTIONS: &str = "/usr/local/share/spider-pair/functions";

/// What sets a function up, among these scripts.
pub const SET_UP: &str = "set-up.sh";

/// Where the guest finds the programs that measure and test.
const PROGRAMS: &str = "/usr/local/bin";

/// Where the guest has a script of its function.
pub fn script_path(name: &str) -> String {
    format!("{FUNCTIONS}/{name}")
}

/// Writes this side's initramfs to `path`; `scratch` takes its module tree meanwhile.
///
/// # Errors
/// 125 when a file cannot be read or written, or when depmod fails.
pub fn initramfs(
    side: Side,
    options: &Options,
    artefacts: &Artefacts,
    scratch: &Path,
    path: &Path,
) -> Result<(), Failure> {
    let write = || -> Result<(), LayerError> {
        let recipe = options.function.recipe();
        let kernel = &artefacts.kernel[side];
        let ours = artefacts.placement[side].ours.iter();
        let ours: Vec<&str> = ours.map(String::as_str).collect();
        let mut initramfs = Initramfs::new(&artefacts.agent);
        module_tree(
            scratch,
            &kernel.release,
            kernel.modules_dir.as_deref(),
            &artefacts.modules[side],
            &ours,
            artefacts.tools.command("depmod"),
        )?;
        initramfs.overlay(scratch)?;
        let list: String = recipe.modules[side]
            .iter()
            .map(|name| format!("{name}\n"))
            .collect();
        initramfs.file(MODULES, list, 0o644)?;
        let programs = artefacts.agent.with_file_name("bin");
        initramfs.tree(Path::new(PROGRAMS), &programs)?;
        if side == Side::Ep && recipe.driver.is_some() {
            initramfs.file(script_path(SET_UP), function::SET_UP, 0o755)?;
        }
        if let Some(script) = recipe.net {
            initramfs.file(script_path(net::SCRIPT), script, 0o755)?;
        }
        for directory in &options.overlay[side] {
            initramfs.overlay(directory)?;
        }
        initramfs.write(path)?;
        Ok(())
    };
    let outcome = write();
    // Links into the cache: nothing is lost with them.
    let _ = fs::remove_dir_all(scratch);
    outcome.map_err(|error| {
        Failure::harness(format!("{}'s initramfs cannot be composed", side.title()))
            .caused_by(error)
    })
}
