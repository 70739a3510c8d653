// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The toolbox: a root file system with QEMU, compilers and whatever else a build or a run needs,
//! so that the host's distribution does not matter.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};

use crate::cache::{Inputs, Workshop};
use crate::debs::{self, Apt};
use crate::progress::Task;
use crate::set_id;
use crate::step::{self, Deadline};
use crate::{Images, HERE};

/// What a user reads when the kernel refuses namespaces.
const NO_NAMESPACES: &str = "this host does not let you create user and mount namespaces. \
    Run as root, or allow them: \
    kernel.unprivileged_userns_clone=1 (older Debian), user.max_user_namespaces > 0, and on Ubuntu \
    kernel.apparmor_restrict_unprivileged_userns=0; \
    a container needs --privileged or an equivalent security profile";

/// A toolbox that is there.
#[derive(Clone, Debug)]
pub struct Toolbox {
    dir: PathBuf,
    compilers: String,
}

impl Toolbox {
    fn at(dir: PathBuf) -> Result<Self> {
        let path = dir.join("compilers");
        let compilers =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Toolbox { dir, compilers })
    }

    /// The root file system.
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// The versions of all compilers, an input of everything that they build.
    pub fn compilers(&self) -> &str {
        &self.compilers
    }

    /// A command inside: the toolbox's `/usr` and `/etc`, the host's everything else at the same
    /// paths. It is killed when the thread that spawned it ends, so spawn it from one that stays.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .arg(Path::new(HERE).join("enter"))
            .arg(self.root())
            .arg("--")
            .arg(program);
        command
    }

    /// A build's command inside: a clean environment, and a process namespace that ends with the
    /// caller.
    pub(crate) fn build_command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.command("unshare");
        command
            .args(["--pid", "--fork", "--kill-child=KILL", "--"])
            .arg(program);
        step::clean_environment(&mut command);
        command
    }

    /// A script of this crate's `steps`, run inside.
    pub(crate) fn script(&self, name: &str) -> Command {
        let mut command = self.build_command("sh");
        command.arg(step::step_path(name));
        command
    }
}

impl Images {
    /// The toolbox, made if it is not there.
    ///
    /// # Errors
    ///
    /// No mirror, no keys, a failed download, a host that allows no namespaces, a full disk.
    pub fn toolbox(&self) -> Result<Toolbox> {
        let here = Path::new(HERE);
        let key = Inputs::new("toolbox")
            .text("release", debs::RELEASE)
            .file(&here.join("toolbox/packages"))?
            .file(&here.join("toolbox/packages-alone"))?
            .file(&step::step_path("download.sh"))?
            .file(&step::step_path("unpack.sh"))?
            .file(&step::step_path("finish.sh"))?
            .file(&step::step_path("finish-toolbox.sh"))?
            .key();
        let dir = self
            .cache
            .artefact("toolbox", &key, &self.progress, |shop| {
                let mut task = self.progress.task("toolbox");
                self.build_toolbox(shop, &mut task)?;
                task.done("ready");
                Ok(())
            })?;
        // One that was made before its unpacking saw to this.
        let marker = dir.join("no-set-id");
        if !marker.exists() && set_id::drop_below(&dir.join("root")).is_ok() {
            let _ = fs::write(marker, "");
        }
        let toolbox = Toolbox::at(dir)?;
        if !self.entered.replace(true) {
            self.check_entry(&toolbox)?;
        }
        Ok(toolbox)
    }

    /// Enters the toolbox once, in every process: what stands in the way is said before anything else, whether the
    /// cache is warm or cold.
    fn check_entry(&self, toolbox: &Toolbox) -> Result<()> {
        use std::os::unix::fs::MetadataExt;
        check_namespaces()?;
        step::output(toolbox.command("true"))
            .with_context(|| {
                let dir = self.cache.dir();
                let owner = fs::metadata(dir).map_or(0, |meta| meta.uid());
                let whose = match owner == nix::unistd::geteuid().as_raw() {
                    true => String::new(),
                    false => format!(", which belongs to user {owner}"),
                };
                format!(
                    "cannot enter the toolbox in the cache {}{whose}; SPIDER_PAIR_CACHE chooses another",
                    dir.display()
                )
            })
            .map(drop)
    }

    fn build_toolbox(&self, shop: &mut Workshop, task: &mut Task) -> Result<()> {
        check_namespaces()?;
        let list = |name: &str| {
            let path = Path::new(HERE).join("toolbox").join(name);
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            anyhow::Ok(debs::package_list(&text))
        };
        let apt = Apt::new(
            &shop.dir.join("apt"),
            &debs::host_architecture()?,
            &["arm64"],
        )?;
        apt.download(&list("packages")?, false, shop, task)?;
        apt.download(&list("packages-alone")?, true, shop, task)?;
        let root = shop.dir.join("root");
        apt.unpack(&root, shop, task)?;

        let mut command = step::script("finish-toolbox.sh");
        command.arg(&root);
        step::carry_out("configuring", command, shop, Deadline::BUILD, task)?;

        let toolbox = Toolbox {
            dir: shop.dir.to_owned(),
            compilers: String::new(),
        };
        task.stage("checking what it can do");
        let mut compilers = String::new();
        for [program, option] in [
            ["clang", "--version"],
            ["ld.lld", "--version"],
            ["rustc", "-vV"],
            ["bindgen", "--version"],
            ["aarch64-linux-gnu-gcc", "--version"],
        ] {
            let mut command = toolbox.build_command(program);
            command.arg(option);
            compilers.push_str(&step::output(command)?);
            compilers.push('\n');
        }
        let mut command = toolbox.build_command("qemu-system-aarch64");
        command.args(["-M", "none", "-device", "help"]);
        if !step::output(command)?.contains("vfio-user-pci") {
            bail!(
                "the toolbox's QEMU has no vfio-user-pci: \
                 the mirror's backports are older than QEMU 10.1"
            );
        }
        fs::write(shop.dir.join("compilers"), compilers)
            .context("cannot write the compilers' versions")
    }
}

/// Tries once what everything else stands on, so that its failure has a message of its own.
fn check_namespaces() -> Result<()> {
    let mut command = step::contained("unshare");
    command.args(["--mount", "true"]);
    step::output(command).context(NO_NAMESPACES).map(drop)
}
