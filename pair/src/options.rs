// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a pair is booted with.

use crate::function::{Function, Setting};
use crate::modules::Modules;
use crate::side::{Side, Sides};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// What `gdb` is to be attached to: kept in the run from its start (`--gdb`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Debug {
    /// The EP guest's kernel, stopped before its first instruction.
    Ep,
    /// The RC guest's kernel, stopped before its first instruction.
    Rc,
    /// The device process: QEMU waits for its replies as long as it stands at a breakpoint.
    Device,
}

/// How the endpoint's eDMA is presented (`--edma`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Edma {
    /// The device's own default number of channels.
    #[default]
    Default,
    /// No eDMA registers.
    Off,
    /// This many write and as many read channels, 1 to 8.
    Channels(u8),
}

impl std::str::FromStr for Edma {
    type Err = String;
    fn from_str(text: &str) -> Result<Edma, String> {
        match (text, text.parse()) {
            ("off", _) => Ok(Edma::Off),
            (_, Ok(n @ 1..=8)) => Ok(Edma::Channels(n)),
            _ => Err("either `off` or a number of channels from 1 to 8".into()),
        }
    }
}

/// How windows onto the peer's memory are to be served (`--windows`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Windows {
    /// At memory speed where that can be had: a library in QEMU lays the peer's memory over them.
    #[default]
    Fast,
    /// Every access is a message to the device, which sees and counts it.
    Trap,
}

/// Whose DMA goes through an IOMMU (`--iommu`).
///
/// It is QEMU's `virtio-iommu-pci`: the one that tells a vfio-user device of each mapping. The virt machine's own,
/// `iommu=smmuv3`, has no such notifier (`smmuv3_notify_flag_changed` in QEMU), and QEMU refuses the device behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Iommu {
    /// Nobody's: DMA addresses are physical ones.
    #[default]
    None,
    /// The endpoint controller's, on the EP.
    Ep,
    /// The function's, on the RC.
    Rc,
    /// Each side's.
    Both,
}

impl Iommu {
    /// Whether this side has one.
    pub fn of(self, side: Side) -> bool {
        matches!(
            (self, side),
            (Iommu::Both, _) | (Iommu::Ep, Side::Ep) | (Iommu::Rc, Side::Rc)
        )
    }
}

/// Everything that makes one pair differ from another.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the EP sets up before link-up.
    pub function: Function,
    /// What the function is set up with, where it is not the function's own default.
    pub settings: Vec<Setting>,
    /// Whether a network is brought up over the function.
    pub net: bool,
    /// A user's kernels, in place of the project's own: a source tree, a build directory or an Image.
    pub kernel: Sides<Option<PathBuf>>,
    /// Which build of the project's own kernel.
    pub kernel_variant: images::KernelVariant,
    /// Whose modules are taken where the kernel and the project have one of the same name, if that was said.
    pub modules: Option<Modules>,
    /// Directories copied over each guest's root, later ones over earlier ones.
    pub overlay: Sides<Vec<PathBuf>>,
    /// More kernel command line.
    pub append: Sides<Vec<String>>,
    /// More QEMU arguments, already split.
    pub qemu_opts: Sides<Vec<String>>,
    /// Guest RAM in MiB (at most 3072 on the EP: its DMA mask is 32 bits wide).
    pub memory: Sides<u32>,
    /// Virtual CPUs of each guest.
    pub cpus: u32,
    /// The endpoint's eDMA.
    pub edma: Edma,
    /// How windows are served.
    pub windows: Windows,
    /// Which side's DMA goes through an IOMMU.
    pub iommu: Iommu,
    /// What will be debugged from the start.
    pub gdb: Option<Debug>,
    /// How long one step of the boot may take (a guest to its agent, the link, the function).
    pub step_timeout: Duration,
    /// Whether complaints of the guests' kernels are said on stderr as they come.
    pub show_complaints: bool,
    /// Where `runs/<id>/` is made.
    pub runs: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            function: Function::EpfTest,
            settings: vec![],
            net: false,
            kernel: Sides::default(),
            kernel_variant: images::KernelVariant::Plain,
            modules: None,
            overlay: Sides::default(),
            append: Sides::default(),
            qemu_opts: Sides::default(),
            memory: Sides { ep: 512, rc: 512 },
            cpus: 2,
            edma: Edma::Default,
            windows: Windows::default(),
            iommu: Iommu::default(),
            gdb: None,
            step_timeout: Duration::from_secs(60),
            show_complaints: false,
            runs: PathBuf::from("runs"),
        }
    }
}

impl Options {
    /// Whether this side's guest waits for gdb before it starts.
    pub fn stopped(&self, side: Side) -> bool {
        matches!(
            (self.gdb, side),
            (Some(Debug::Ep), Side::Ep) | (Some(Debug::Rc), Side::Rc)
        )
    }
}
