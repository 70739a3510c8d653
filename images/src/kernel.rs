// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The guests' kernel: Debian's source, unpatched, with the configuration of `kernel/`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

use crate::cache::{Inputs, Workshop};
use crate::config::Config;
use crate::progress::Task;
use crate::source::Source;
use crate::step::{self, Deadline};
use crate::{Images, Toolbox, HERE};

/// How many files the plain kernel's build names on its output, to show how far it is. Counted
/// once.
const ROUGH_STEPS: usize = 1790;

/// Which of our kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelVariant {
    /// As small and fast as it gets.
    Plain,
    /// With debug information and the kernel's scripts for gdb.
    Gdb,
    /// With the kernel's own checkers: KASAN, lockdep, kmemleak, DMA-API debug and their kin. Slow.
    Debug,
}

impl KernelVariant {
    /// All of them.
    pub const ALL: [KernelVariant; 3] = [Self::Plain, Self::Gdb, Self::Debug];

    /// How many times as long as with a plain kernel one waits before something is called a failure.
    pub fn slowness(self) -> u32 {
        match self {
            Self::Plain | Self::Gdb => 1,
            Self::Debug => 8,
        }
    }

    /// The variant of that name: `plain`, `gdb` or `debug`.
    pub fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|variant| variant.name() == name)
    }

    /// The variant that the environment variable `KERNEL_VARIANT` names; plain if it is not set.
    pub fn from_env() -> Result<Self> {
        let name = match std::env::var("KERNEL_VARIANT") {
            Err(std::env::VarError::NotPresent) => return Ok(Self::Plain),
            name => name.context("KERNEL_VARIANT")?,
        };
        if name.is_empty() {
            return Ok(Self::Plain);
        }
        let variant = Self::named(&name);
        variant.with_context(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("KERNEL_VARIANT is {name:?}; it can be one of {names}")
        })
    }

    /// The fragments of `kernel/` that make it up.
    fn fragments(self) -> &'static [&'static str] {
        match self {
            KernelVariant::Plain => &["base.config", "soc.config"],
            KernelVariant::Gdb => &["base.config", "soc.config", "gdb.config"],
            KernelVariant::Debug => &["base.config", "soc.config", "debug.config"],
        }
    }

    /// What it is called where one is chosen.
    pub fn name(self) -> &'static str {
        match self {
            KernelVariant::Plain => "plain",
            KernelVariant::Gdb => "gdb",
            KernelVariant::Debug => "debug",
        }
    }

    /// What it is called in the cache.
    fn artefact(self) -> &'static str {
        match self {
            KernelVariant::Plain => "kernel",
            KernelVariant::Gdb => "kernel-gdb",
            KernelVariant::Debug => "kernel-debug",
        }
    }
}

/// A kernel that can boot.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The arm64 `Image`.
    pub image: PathBuf,
    /// Its build directory, in which modules can be built against it.
    pub build_dir: Option<PathBuf>,
    /// What `uname -r` says in the guest.
    pub release: String,
    /// `…/lib/modules/<release>` with its own modules, without debug information.
    pub modules_dir: Option<PathBuf>,
    /// The kernel with symbols, for gdb.
    pub vmlinux: Option<PathBuf>,
}

impl Images {
    /// One of our kernels, built if it is not there: some ten minutes on two cores.
    pub fn kernel(&self, variant: KernelVariant) -> Result<Kernel> {
        let toolbox = self.toolbox()?;
        let source = self.source()?;
        let fragments: Vec<PathBuf> = variant
            .fragments()
            .iter()
            .map(|name| Path::new(HERE).join("kernel").join(name))
            .collect();
        let mut inputs = Inputs::new(variant.artefact())
            .text("source", &source.version)
            .text("compilers", toolbox.compilers())
            .file(&step::step_path("kernel-config.sh"))?
            .file(&step::step_path("kernel-build.sh"))?;
        for fragment in &fragments {
            inputs = inputs.file(fragment)?;
        }
        let dir =
            self.cache
                .artefact(variant.artefact(), &inputs.key(), &self.progress, |shop| {
                    let mut task = self.progress.task(variant.artefact());
                    build(&toolbox, &source, &fragments, shop, &mut task)?;
                    task.done("ready");
                    Ok(())
                })?;
        let build = dir.join("build");
        let release = release(&build)?;
        Ok(Kernel {
            image: build.join(IMAGE),
            modules_dir: Some(dir.join("lib/modules").join(&release)),
            vmlinux: Some(build.join("vmlinux")),
            build_dir: Some(build),
            release,
        })
    }
}

/// Where a build directory has its image.
pub(crate) const IMAGE: &str = "arch/arm64/boot/Image";

/// The release that a build directory was built as.
pub(crate) fn release(build: &Path) -> Result<String> {
    let path = build.join("include/config/kernel.release");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let release = text.trim();
    if !is_release(release) {
        bail!("{} names no release: {release:?}", path.display());
    }
    Ok(release.to_owned())
}

/// Whether a word is a kernel's release. It becomes a part of paths, and an image may be anybody's.
pub(crate) fn is_release(word: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-+_~".contains(&byte);
    // As long as utsname has room.
    word.len() < 65
        && word.starts_with(|first: char| first.is_ascii_digit())
        && word.bytes().all(plain)
}

fn build(
    toolbox: &Toolbox,
    source: &Source,
    fragments: &[PathBuf],
    shop: &mut Workshop,
    task: &mut Task,
) -> Result<()> {
    let build = shop.dir.join("build");
    // The kernel's script splits their names at spaces, and the checkout's path may have some.
    let copies = shop.dir.join("fragments");
    fs::create_dir(&copies).context("cannot create a directory for fragments")?;
    let mut command = toolbox.script("kernel-config.sh");
    command.arg(&source.tree).arg(&build);
    for fragment in fragments {
        let copy = copies.join(fragment.file_name().unwrap_or_default());
        fs::copy(fragment, &copy).with_context(|| format!("cannot copy {}", fragment.display()))?;
        command.arg(copy);
    }
    step::carry_out("configuring", command, shop, Deadline::BUILD, task)?;
    fs::remove_dir_all(&copies).context("cannot remove the copies of fragments")?;
    check_config(&build, fragments)?;

    let mut count = 0;
    let mut command = toolbox.script("kernel-build.sh");
    command.arg(&source.tree).arg(&build).arg(shop.dir);
    step::run(
        "compiling",
        command,
        &mut shop.log,
        Deadline::BUILD,
        task,
        &mut |line, task| {
            if let Some(verb) = verb(line) {
                count += 1;
                task.say(&format!("{verb} {count} of ~{}", ROUGH_STEPS.max(count)));
            }
        },
    )?;
    make_movable(&build)
}

/// The build directory's Makefile names its own place, which is about to change.
fn make_movable(build: &Path) -> Result<()> {
    let path = build.join("Makefile");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = text.replace(&build.to_string_lossy().into_owned(), "$(CURDIR)");
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Every symbol of the fragments has to survive the resolution of dependencies, which drops in
/// silence.
fn check_config(build: &Path, fragments: &[PathBuf]) -> Result<()> {
    let read = |path: &Path| {
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let config = Config::parse(&read(&build.join(".config"))?);
    let mut wanted = String::new();
    for fragment in fragments {
        wanted.push_str(&read(fragment)?);
        wanted.push('\n');
    }
    let lost = config.differing(&Config::parse(&wanted));
    if !lost.is_empty() {
        bail!(
            "the kernel's configuration lost symbols (dependencies missing in images/kernel?): {}",
            lost.join(", ")
        );
    }
    Ok(())
}

/// What a line of make's output does to a file, such as `CC` or `RUSTC`.
fn verb(line: &str) -> Option<&str> {
    let verb = line.strip_prefix("  ")?.split_whitespace().next()?;
    verb.chars()
        .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        .then_some(verb)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_a_word_that_may_stand_in_a_path() {
        for good in ["7.3.0", "7.3.4-mine", "7.3.0-rc1+", "6.12.9_x~1"] {
            assert!(is_release(good), "{good}");
        }
        let long = "7".repeat(65);
        for bad in [
            "",
            "x",
            "../../etc",
            "7/../../etc",
            "7.3\n",
            "7 3",
            "7\x1b[2J",
            "7.3\u{e4}",
            &long,
        ] {
            assert!(!is_release(bad), "{bad}");
        }
    }

    #[test]
    fn makes_output_is_counted() {
        assert_eq!(verb("  CC      init/main.o"), Some("CC"));
        assert_eq!(verb("  RUSTC L rust/core.o"), Some("RUSTC"));
        assert_eq!(verb("make[1]: Entering"), None);
        assert_eq!(verb("  warning: x"), None);
    }
}
