// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a pair is made of, found or built before anything boots.

use crate::modules::{self, Placement};
use crate::options::Options;
use crate::qemu;
use crate::side::{Side, Sides};
use crate::signals::Pause;
use crate::status::Failure;
use crate::windows::{self, Serving};
use anyhow::{bail, Context};
use images::{Images, Kernel, Progress, Toolbox};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

/// Set to `1` for the host's own QEMU and gdb in place of the toolbox's.
const HOST_TOOLS: &str = "SPIDER_PAIR_HOST_TOOLS";

/// Every file that the boot needs; cheap to keep and to boot from again and again.
pub struct Artefacts {
    /// Where QEMU, depmod and gdb come from.
    pub tools: Tools,
    /// Each guest's kernel.
    pub kernel: Sides<Kernel>,
    /// The read-only root file system of both.
    pub rootfs: PathBuf,
    /// PID 1 of both.
    pub agent: PathBuf,
    /// The project's own modules, built for each guest's kernel.
    pub modules: Sides<Vec<PathBuf>>,
    /// Whose modules each guest gets.
    pub placement: Sides<Placement>,
    /// The silicon.
    pub device: PathBuf,
    /// What becomes of `--windows`.
    pub windows: Serving,
}

impl Artefacts {
    /// Finds or builds what `options` ask for, with progress on stderr.
    ///
    /// # Errors
    /// 125 with the reason of whatever could not be had.
    pub fn prepare(options: &Options) -> Result<Artefacts, Failure> {
        // Building takes what it takes: `--timeout` is for the run.
        let _pause = Pause::new();
        Self::gather(options, &Images::open(Progress::auto())?, Build::Missing)
    }

    /// Finds what `options` ask for, and builds nothing.
    ///
    /// # Errors
    /// 125, naming the first thing that is not there.
    pub fn find(options: &Options) -> Result<Artefacts, Failure> {
        Self::gather(options, &Images::open_built()?, Build::Nothing).map_err(|failure| {
            match failure.hint {
                None => failure.with_hint(
                    "nothing is built for --dry-run: `pair run -- true` builds what is missing",
                ),
                Some(_) => failure,
            }
        })
    }

    fn gather(options: &Options, images: &Images, build: Build) -> Result<Artefacts, Failure> {
        for side in Side::BOTH {
            // Found out now, not after ten minutes of building.
            if let Some(path) = options.kernel[side]
                .as_deref()
                .filter(|path| !path.exists())
            {
                let message = format!("there is no kernel at {}", path.display());
                return Err(Failure::harness(message));
            }
        }
        modules::check_images(options)?;
        let tools = Tools::find(images)?;
        let kernel = Sides::try_from_fn(|side| match &options.kernel[side] {
            Some(path) => images.user_kernel_for(path, images_side(side)),
            None => images.kernel(options.kernel_variant),
        })?;
        let modules = Sides::try_from_fn(|side| match (side, &kernel[side].build_dir) {
            // Nothing of ours has to run on an RC whose kernel came as an Image alone.
            (Side::Rc, None) => Ok(vec![]),
            _ => images.modules(&kernel[side]),
        })?;
        let placement = Sides::try_from_fn(|side| {
            let stock = kernel[side].modules_dir.as_deref();
            Placement::choose(options, side, stock, &modules[side])
        })?;
        if let Some(line) = modules::line(options, &placement) {
            eprintln!("pair: {line}");
        }
        let windows = Serving::choose(options, &tools, || WINDOWS.find(build));
        if let Some(line) = windows.line() {
            eprintln!("pair: {line}");
        }
        Ok(Artefacts {
            tools,
            modules,
            placement,
            windows,
            kernel,
            rootfs: images.rootfs()?,
            agent: images.agent()?,
            device: DEVICE.find(build)?,
        })
    }
}

fn images_side(side: Side) -> images::Side {
    match side {
        Side::Ep => images::Side::Ep,
        Side::Rc => images::Side::Rc,
    }
}

/// Where programs for the run come from.
#[derive(Clone)]
pub enum Tools {
    /// The project's own Debian.
    Toolbox(Toolbox),
    /// The host.
    Host,
}

impl Tools {
    /// The host's tools if the user asked for them, else the toolbox.
    ///
    /// # Errors
    /// 125 when the host's QEMU will not do, or when there is no toolbox to be had.
    pub fn find(images: &Images) -> Result<Tools, Failure> {
        if env::var_os(HOST_TOOLS).is_some_and(|value| value == "1") {
            check_qemu(&Tools::Host).map_err(|error| {
                Failure::from(error).with_hint(format!(
                    "QEMU 10.1 or newer has it; without {HOST_TOOLS}=1 the toolbox's own is used"
                ))
            })?;
            return Ok(Tools::Host);
        }
        Ok(Tools::Toolbox(images.toolbox()?))
    }

    /// A command of these tools.
    pub fn command(&self, program: &str) -> Command {
        match self {
            Tools::Toolbox(toolbox) => toolbox.command(program),
            Tools::Host => Command::new(program),
        }
    }
}

/// The client side of vfio-user came with QEMU 10.1.
fn check_qemu(tools: &Tools) -> anyhow::Result<()> {
    let output = tools
        .command(qemu::PROGRAM)
        .args(["-machine", "none", "-device", "help"])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", qemu::PROGRAM))?;
    if !String::from_utf8_lossy(&output.stdout).contains("\"vfio-user-pci\"") {
        bail!("this {} has no vfio-user-pci", qemu::PROGRAM);
    }
    Ok(())
}

/// A product of the workspace that lies beside this program, and what it is made from.
struct Product {
    package: &'static str,
    file: &'static str,
    sources: [&'static str; 3],
}

/// What is done about a thing that is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Build {
    /// It is built.
    Missing,
    /// That is an error.
    Nothing,
}

/// The device's program.
const DEVICE: Product = Product {
    package: "qemu-device",
    file: "qemu-device",
    sources: ["qemu-device/src", "qemu-device/Cargo.toml", "abi/src"],
};

/// What QEMU loads for windows at memory speed.
const WINDOWS: Product = Product {
    package: "qemu-plugin",
    file: windows::LIBRARY,
    sources: ["qemu-plugin/src", "qemu-plugin/Cargo.toml", "abi/src"],
};

impl Product {
    /// The file, built again when its sources are newer.
    fn find(&self, build: Build) -> anyhow::Result<PathBuf> {
        let own = env::current_exe().context("cannot find this program's own file")?;
        let dir = own.parent().context("this program has no directory")?;
        let dir = if dir.ends_with("deps") {
            dir.parent().unwrap_or(dir)
        } else {
            dir
        };
        let beside = dir.join(self.file);
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("no workspace")?;
        let newest = self
            .sources
            .iter()
            .filter_map(|path| newest(&workspace.join(path)))
            .max();
        let built = fs::metadata(&beside).and_then(|meta| meta.modified()).ok();
        if built.is_some() && newest <= built {
            return Ok(beside);
        }
        if build == Build::Nothing {
            bail!(
                "{} is not built, or older than its sources",
                beside.display()
            );
        }
        let profile = dir.file_name().unwrap_or_default();
        let (Some(target), true) = (dir.parent(), profile == "release" || profile == "debug")
        else {
            bail!("there is no {}", beside.display());
        };
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--locked", "-p", self.package, "--manifest-path"]);
        cargo
            .arg(workspace.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(target);
        if profile == "release" {
            cargo.arg("--release");
        }
        eprintln!("pair: building {}", self.package);
        let status = cargo
            .stdin(Stdio::null())
            .status()
            .context("cannot run cargo")?;
        if !status.success() {
            bail!("{} does not build ({status})", self.package);
        }
        // Cargo leaves a product alone that it finds up to date by its own account; so is it by ours now.
        fs::File::open(&beside)
            .and_then(|file| file.set_modified(SystemTime::now()))
            .with_context(|| format!("cargo made no {}", beside.display()))?;
        Ok(beside)
    }
}

/// When the youngest file in or below `path` was written.
fn newest(path: &Path) -> Option<SystemTime> {
    let meta = fs::metadata(path).ok()?;
    if !meta.is_dir() {
        return meta.modified().ok();
    }
    fs::read_dir(path)
        .ok()?
        .filter_map(|entry| newest(&entry.ok()?.path()))
        .max()
}
