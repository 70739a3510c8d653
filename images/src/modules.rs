// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The project's own kernel modules, built against a kernel in a copy of their sources.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

use crate::cache::{files_below, Inputs};
use crate::config::Config;
use crate::kernel::Kernel;
use crate::step::{self, Deadline};
use crate::{Images, Toolbox, HERE};

/// Directories of the repository that modules are made from, in the order in which they are built:
/// a later one may use symbols that an earlier one exports.
const SOURCES: &[&str] = &["abi", "guest-common", "guest-ep", "guest-rc"];

impl Images {
    /// Every module of the project (each directory below `guest-*` with a `Kbuild` file), built
    /// against `kernel`.
    ///
    /// # Errors
    ///
    /// The kernel came without its build directory, or a module does not compile.
    pub fn modules(&self, kernel: &Kernel) -> Result<Vec<PathBuf>> {
        let build = kernel.build_dir.as_deref().with_context(|| {
            format!(
                "our modules need the directory in which {} was built, not the image alone",
                kernel.image.display()
            )
        })?;
        let toolbox = self.toolbox()?;
        let repository = Path::new(HERE)
            .parent()
            .context("images/ has no parent directory")?;
        let config_path = build.join(".config");
        let config = fs::read_to_string(&config_path)
            .with_context(|| format!("cannot read {}", config_path.display()))?;

        check_rustc(&config, &toolbox, build)?;

        let mut inputs = Inputs::new("modules")
            .text("release", &kernel.release)
            .text("config", &config)
            .text("compilers", toolbox.compilers())
            .stamp(&build.join("Module.symvers"))?
            .file(&step::step_path("modules.sh"))?;
        for path in sources(repository)? {
            inputs = inputs
                .text("path", &path.to_string_lossy())
                .file(&repository.join(&path))?;
        }
        let dir = self
            .cache
            .artefact("modules", &inputs.key(), &self.progress, |shop| {
                let mut task = self.progress.task("modules");
                let work = shop.dir.join("work");
                let mut directories = Vec::new();
                for path in sources(repository)? {
                    let copy = work.join(&path);
                    let parent = copy.parent().context("a source file has no parent")?;
                    fs::create_dir_all(parent)
                        .with_context(|| format!("cannot create {}", parent.display()))?;
                    fs::copy(repository.join(&path), &copy)
                        .with_context(|| format!("cannot copy {}", path.display()))?;
                    if path.file_name().is_some_and(|name| name == "Kbuild") {
                        directories.extend(path.parent().map(Path::to_owned));
                    }
                }
                let gcc = Config::parse(&config).get("CONFIG_CC_IS_GCC") == "y";
                let mut command = toolbox.script("modules.sh");
                command.arg(build).arg(if gcc {
                    "CROSS_COMPILE=aarch64-linux-gnu-"
                } else {
                    "LLVM=1"
                });
                command
                    .arg(&work)
                    .arg(shop.dir.join("ko"))
                    .args(&directories);
                step::run(
                    "compiling",
                    command,
                    &mut shop.log,
                    Deadline::BUILD,
                    &mut task,
                    &mut |line, task| task.say(line),
                )?;
                fs::remove_dir_all(&work)
                    .with_context(|| format!("cannot remove {}", work.display()))?;
                task.done("ready");
                Ok(())
            })?;
        let mut found = files_below(&dir.join("ko"))?;
        found.retain(|path| path.extension().is_some_and(|extension| extension == "ko"));
        Ok(found)
    }
}

/// Every file that modules are made from, relative to the repository. The agent is a program of its
/// own.
fn sources(repository: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for dir in SOURCES {
        for path in files_below(&repository.join(dir))? {
            let path = path.strip_prefix(repository).unwrap_or(&path).to_owned();
            if !path.starts_with("guest-common/agent") {
                all.push(path);
            }
        }
    }
    Ok(all)
}

/// A Rust module and its kernel have to come from the same compiler, or nothing of the kernel's
/// crates can be read.
fn check_rustc(config: &str, toolbox: &Toolbox, build: &Path) -> Result<()> {
    let config = Config::parse(config);
    let theirs = config.get("CONFIG_RUSTC_VERSION_TEXT").trim_matches('"');
    if config.get("CONFIG_RUST") != "y" || toolbox.compilers().contains(theirs) {
        return Ok(());
    }
    bail!(
        "the kernel in {} was built with {theirs}, not with the toolbox's compiler, \
         so our modules in Rust cannot be \
         built against it. Build it with {}/enter {} -- make ARCH=arm64 LLVM=1 Image modules",
        build.display(),
        HERE,
        toolbox.root().display()
    )
}
