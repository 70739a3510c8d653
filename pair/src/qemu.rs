// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The QEMU command line of each guest, and the function's place on the RC's bus.

use crate::options::{Debug, Options};
use crate::run::Sockets;
use crate::side::Side;
use serde_json::{json, Value};
use std::ffi::OsString;
use std::path::Path;

/// The program.
pub const PROGRAM: &str = "qemu-system-aarch64";
/// QEMU's name of the function on the RC's root port.
pub const FUNCTION_ID: &str = abi::windows::RC_DEVICE;
/// QEMU's name of the endpoint's registers and window in the EP guest.
pub const CONTROLLER_ID: &str = abi::windows::EP_DEVICE;
/// QEMU's name of that root port. It is the first bridge, so its secondary bus is 01.
pub const ROOT_PORT_ID: &str = "root-port";
/// The function's address in the RC guest.
pub const FUNCTION_ADDRESS: &str = "0000:01:00.0";
/// What a shell in the RC guest runs to switch the function's slot off, which unplugs it at once.
pub const POWER_OFF: &str = "for slot in /sys/bus/pci/slots/*; do \
    [ \"$(cat $slot/address 2>/dev/null)\" = 0000:01:00 ] && echo 0 >$slot/power; done";

/// Where this guest's parts are.
pub struct Files<'a> {
    /// The kernel.
    pub kernel: &'a Path,
    /// The run's initramfs.
    pub initramfs: &'a Path,
    /// The read-only root file system.
    pub rootfs: &'a Path,
    /// The library that serves windows at memory speed, if one is to.
    pub windows: Option<&'a Path>,
}

/// How long QEMU waits for one reply of the device, in ms (`x-msg-timeout`; QEMU's own default is 5000).
///
/// A late reply loses the stream for good, and a dead device is noticed by its closed socket: so the figure is
/// generous, and as good as endless while the device is debugged.
fn message_timeout(options: &Options) -> u32 {
    match options.gdb {
        Some(Debug::Device) => 24 * 3600 * 1000,
        _ => 60 * 1000,
    }
}

/// A vfio-user device at `socket`, as `-device` and `device_add` take it.
fn vfio_user(id: &str, bus: &str, socket: &Path, options: &Options) -> Value {
    json!({
        "driver": "vfio-user-pci",
        "id": id,
        "bus": bus,
        "socket": { "type": "unix", "path": socket },
        "x-msg-timeout": message_timeout(options),
    })
}

/// An IOMMU, in a slot of its own so that no other device moves. It comes before all whose DMA it translates.
///
/// MSIs go past it: the virt machine reserves the ITS's page (`virt_machine_device_pre_plug_cb`). On the EP nothing else
/// would do: the PCI device, whose MSIs these are, and the platform device on it are one requester to QEMU and two to
/// the guest's kernel, which gives each a domain, of which the platform device's, the later one, holds.
const IOMMU: &str = "virtio-iommu-pci,addr=1e";

/// The arguments of `device_add` that plug the function into the RC's slot.
pub fn plug(sockets: &Sockets, options: &Options) -> Value {
    vfio_user(FUNCTION_ID, ROOT_PORT_ID, &sockets.face(Side::Rc), options)
}

/// The kernel's command line.
fn command_line(side: Side, options: &Options) -> String {
    let mut words = vec!["console=ttyAMA0".to_owned(), "rdinit=/init".into()];
    words.push(format!("spider.side={side}"));
    if side == Side::Rc {
        // Room behind the hot-plug slot for BARs of 1 MiB; the default window has 2 MiB in all.
        words.push("pci=hpmmiosize=16M".into());
        // An empty slot's port would go to sleep, its hot-plug interrupt off; QEMU's sends no PME to wake it.
        words.push("pcie_port_pm=off".into());
        // pciehp would end lockdep at the first plug: the guest's agent takes its place (`init/hotplug.rs`).
        if options.kernel_variant == images::KernelVariant::Debug {
            words.push("pcie_ports=compat".into());
        }
    }
    // A busy host keeps a virtual CPU for longer than the kernel's own 21 s; what takes this long is a stall.
    words.push("rcupdate.rcu_cpu_stall_timeout=60".into());
    words.extend(options.append[side].iter().cloned());
    words.join(" ")
}

/// Everything after the program's name.
pub fn arguments(side: Side, options: &Options, files: &Files, sockets: &Sockets) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    let mut push = |option: &str, value: &dyn AsRef<std::ffi::OsStr>| {
        arguments.push(option.into());
        arguments.push(value.as_ref().into());
    };
    let memory = options.memory[side];
    push("-name", &format!("{side},debug-threads=on"));
    push("-machine", &"virt,gic-version=3,its=on,memory-backend=ram");
    // The core of the S4's application cluster.
    push("-cpu", &"cortex-a55");
    push("-accel", &"tcg,thread=multi");
    push("-smp", &options.cpus.to_string());
    push("-m", &format!("{memory}M"));
    // The device maps guest RAM from this descriptor; sealed, it cannot shrink below the mapping.
    push(
        "-object",
        &format!("memory-backend-memfd,id=ram,size={memory}M,share=on,seal=on"),
    );
    push("-display", &"none");
    push("-kernel", &files.kernel);
    push("-initrd", &files.initramfs);
    push("-append", &command_line(side, options));
    let rootfs = escape(&files.rootfs.to_string_lossy());
    push(
        "-drive",
        &format!("if=none,id=root,format=raw,readonly=on,file={rootfs}"),
    );
    if options.iommu.of(side) {
        push("-device", &IOMMU);
    }
    push("-device", &"virtio-blk-pci,drive=root");
    push("-device", &"virtio-rng-pci");
    let port = escape(&sockets.port(side).to_string_lossy());
    push(
        "-chardev",
        &format!("socket,id=agent,path={port},server=on,wait=off"),
    );
    push("-device", &"virtio-serial-pci");
    push(
        "-device",
        &format!(
            "virtserialport,chardev=agent,name={}",
            agent::mux::PORT_NAME
        ),
    );
    match side {
        Side::Ep => {
            let face = vfio_user(CONTROLLER_ID, "pcie.0", &sockets.face(side), options);
            push("-device", &face.to_string());
        }
        Side::Rc => push(
            "-device",
            &format!("pcie-root-port,id={ROOT_PORT_ID},chassis=1,slot=1"),
        ),
    }
    if let Some(library) = files.windows {
        let device = match side {
            Side::Ep => CONTROLLER_ID,
            Side::Rc => FUNCTION_ID,
        };
        let library = escape(&library.to_string_lossy());
        let socket = escape(&sockets.windows().to_string_lossy());
        push(
            "-plugin",
            &format!("{library},socket={socket},side={side},device={device}"),
        );
    }
    // The runner reads stdout all the time, so the guest never waits for its console.
    push("-chardev", &"stdio,id=serial,signal=off");
    push("-serial", &"chardev:serial");
    for path in [sockets.qmp(side), sockets.monitor(side)] {
        push("-qmp", &server(&path));
    }
    if options.stopped(side) {
        push("-gdb", &server(&sockets.gdb(side)));
        arguments.push("-S".into());
    }
    arguments.extend(["-nodefaults".into(), "-no-user-config".into()]);
    arguments.extend(options.qemu_opts[side].iter().map(OsString::from));
    arguments
}

/// A socket on which QEMU listens: for a monitor, or as `-gdb` and the monitor's `gdbserver` take it.
pub fn server(socket: &Path) -> String {
    format!(
        "unix:{},server=on,wait=off",
        escape(&socket.to_string_lossy())
    )
}

/// A value within QEMU's `key=value,…`: a comma is doubled.
fn escape(value: &str) -> String {
    value.replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Iommu;
    use std::path::PathBuf;

    fn line(side: Side, options: &Options) -> String {
        let files = Files {
            kernel: Path::new("/k/Image"),
            initramfs: Path::new("/r/i,1.cpio"),
            rootfs: Path::new("/r/root,1.erofs"),
            windows: Some(Path::new("/t/w,1.so")),
        };
        let sockets = Sockets(PathBuf::from("/s"));
        let words = arguments(side, options, &files, &sockets);
        words
            .iter()
            .map(|word| word.to_string_lossy().into_owned() + "\n")
            .collect()
    }

    #[test]
    fn the_endpoint_has_its_controller_from_the_start_and_the_root_complex_a_slot() {
        let ep = line(Side::Ep, &Options::default());
        assert!(
            ep.contains("vfio-user-pci") && ep.contains("/s/ep.sock"),
            "{ep}"
        );
        assert!(!ep.contains("pcie-root-port") && !ep.contains("hpmmiosize"));
        let rc = line(Side::Rc, &Options::default());
        assert!(
            !rc.contains("vfio-user-pci") && rc.contains("pcie-root-port"),
            "{rc}"
        );
        assert!(rc.contains("pci=hpmmiosize=16M pcie_port_pm=off"));
        for text in [ep, rc] {
            assert!(text.contains("share=on,seal=on"));
            assert!(text.contains("-plugin\n/t/w,,1.so,socket=/s/windows.sock,side="));
            assert!(text.contains("file=/r/root,,1.erofs\n"));
            assert!(text.contains("-initrd\n/r/i,1.cpio\n"));
        }
    }

    #[test]
    fn an_iommu_comes_before_whatever_it_translates_for() {
        for (iommu, ep, rc) in [
            (Iommu::None, false, false),
            (Iommu::Ep, true, false),
            (Iommu::Rc, false, true),
            (Iommu::Both, true, true),
        ] {
            let options = Options {
                iommu,
                ..Options::default()
            };
            for (side, wanted) in [(Side::Ep, ep), (Side::Rc, rc)] {
                let text = line(side, &options);
                let at = text.find("virtio-iommu-pci");
                assert_eq!(at.is_some(), wanted, "{text}");
                let others = ["virtio-blk-pci", "vfio-user-pci", "pcie-root-port"];
                let others = others.iter().filter_map(|device| text.find(device));
                assert!(others.min() > at, "{text}");
            }
        }
    }

    #[test]
    fn a_users_words_come_last() {
        let mut options = Options::default();
        options.append.ep = vec!["loglevel=8".into(), "quiet".into()];
        options.qemu_opts.ep = vec!["-cpu".into(), "max".into()];
        let ep = line(Side::Ep, &options);
        assert!(ep.contains("loglevel=8 quiet\n"));
        assert!(ep.ends_with("-cpu\nmax\n"));
        assert!(!line(Side::Rc, &options).contains("loglevel"));
    }

    #[test]
    fn only_the_side_to_be_debugged_waits() {
        let options = Options {
            gdb: Some(Debug::Ep),
            ..Options::default()
        };
        assert!(line(Side::Ep, &options).contains("\n-S\n"));
        assert!(!line(Side::Rc, &options).contains("\n-S\n"));
    }

    #[test]
    fn a_debugged_device_may_take_its_time() {
        let sockets = Sockets(PathBuf::from("/s"));
        let timeout = |gdb| {
            let options = Options {
                gdb,
                ..Options::default()
            };
            plug(&sockets, &options)["x-msg-timeout"].as_u64().unwrap()
        };
        assert!(timeout(None) > 5_000);
        assert!(timeout(Some(Debug::Device)) > timeout(None));
    }
}
