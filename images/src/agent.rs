// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The guests' first process, a program in Rust built in the toolbox for arm64.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cache::{files_below, Inputs, Workshop};
use crate::progress::Task;
use crate::step::{self, Deadline};
use crate::{Images, HERE};

impl Images {
    /// The guests' first process, a static arm64 program; the programs that measure and test in the
    /// guests lie in `bin` beside it.
    /// The host's cargo fetches what they depend on.
    pub fn agent(&self) -> Result<PathBuf> {
        let toolbox = self.toolbox()?;
        let source = Path::new(HERE).join("../guest-common/agent");
        let source = source
            .canonicalize()
            .with_context(|| format!("cannot find {}", source.display()))?;
        let abi = source.join("../../abi/src");
        let abi = abi
            .canonicalize()
            .with_context(|| format!("cannot find {}", abi.display()))?;
        let key = Inputs::new("agent")
            .text("compilers", toolbox.compilers())
            .tree(&source)?
            .tree(&abi)?
            .file(&step::step_path("agent.sh"))?
            .key();
        let dir = self.cache.artefact("agent", &key, &self.progress, |shop| {
            let vendor = self.vendor(&source)?;
            let mut task = self.progress.task("agent");
            // As far from each other as in the repository: programs include layouts by relative paths.
            let copy = shop.dir.join("source");
            let agent = copy.join("guest-common/agent");
            copy_tree(&source, &agent)?;
            copy_tree(&abi, &copy.join("abi/src"))?;
            let mut command = toolbox.script("agent.sh");
            command.arg(&agent).arg(&vendor).arg(shop.dir);
            compile(command, shop, &mut task)?;
            fs::remove_dir_all(&copy)
                .with_context(|| format!("cannot remove {}", copy.display()))?;
            task.done("ready");
            Ok(())
        })?;
        Ok(dir.join("init"))
    }

    /// What the agent depends on, fetched once for each of its lock files.
    fn vendor(&self, source: &Path) -> Result<PathBuf> {
        let key = Inputs::new("vendor")
            .file(&source.join("Cargo.toml"))?
            .file(&source.join("Cargo.lock"))?
            .key();
        let dir = self
            .cache
            .artefact("vendor", &key, &self.progress, |shop| {
                let mut task = self.progress.task("agent");
                let mut command = step::contained("cargo");
                command.args([
                    "vendor",
                    "--locked",
                    "--versioned-dirs",
                    "--respect-source-config",
                    "--manifest-path",
                ]);
                command
                    .arg(source.join("Cargo.toml"))
                    .arg(shop.dir.join("crates"));
                step::carry_out(
                    "fetching crates",
                    command,
                    shop,
                    Deadline::DOWNLOAD,
                    &mut task,
                )?;
                // Without dependencies cargo creates nothing.
                fs::create_dir_all(shop.dir.join("crates"))
                    .context("cannot create the directory of crates")
            })?;
        Ok(dir.join("crates"))
    }
}

/// Copies every source file below `from`.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    for path in files_below(from)? {
        let to = to.join(path.strip_prefix(from).unwrap_or(&path));
        let parent = to.parent().context("a source file has no parent")?;
        fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
        fs::copy(&path, &to).with_context(|| format!("cannot copy {}", path.display()))?;
    }
    Ok(())
}

/// Runs a command of cargo's and counts the crates that it compiles.
fn compile(command: std::process::Command, shop: &mut Workshop, task: &mut Task) -> Result<()> {
    let mut count = 0;
    step::run(
        "compiling",
        command,
        &mut shop.log,
        Deadline::BUILD,
        task,
        &mut |line, task| {
            if let Some(name) = line.trim_start().strip_prefix("Compiling ") {
                count += 1;
                task.say(&format!(
                    "compiling crate {count}, {}",
                    name.split(' ').next().unwrap_or_default()
                ));
            }
        },
    )
}
