// SPDX-License-Identifier: Apache-2.0 OR MIT

//! From the initramfs to the guest's root: what the kernel does not mount by itself.
//!
//! The root is an overlay: above a tmpfs for all that is written, then the run's own files (the
//! initramfs' `/layer`), below them the erofs image that all guests share.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::mount::{mount, MsFlags};

use crate::console::say;

/// The virtio block device with the erofs image.
const DISK: &str = "/dev/vda";
/// How long the kernel may take to find [`DISK`].
const DISK_TIMEOUT: Duration = Duration::from_secs(20);
/// Modules to load, one a line, each with its parameters; `#` starts a comment.
const MODULE_LIST: &str = "/etc/spider-pair/modules";
/// This binary's own name in the finished root.
pub const SELF: &str = "/run/spider/init";

/// What the kernel's command line asks of us.
#[derive(Debug)]
pub struct Settings {
    /// The guest's host name, `ep` or `rc`, from `spider.side=`.
    pub side: String,
    /// A shell on the serial console, from `spider.console=shell`.
    pub console_shell: bool,
    /// The kernel drives no PCIe ports, from its own `pcie_ports=compat`: hot-plug is ours.
    pub hotplug: bool,
}

impl Settings {
    fn parse(command_line: &str) -> Self {
        let value = |key| {
            let words = command_line.split_ascii_whitespace();
            words.filter_map(|word| word.strip_prefix(key)).next_back()
        };
        Settings {
            side: value("spider.side=").unwrap_or("spider").to_owned(),
            console_shell: value("spider.console=") == Some("shell"),
            hotplug: value("pcie_ports=") == Some("compat"),
        }
    }
}

/// Makes everything up to the loaded modules. The error names the step that failed.
pub fn run() -> Result<Settings, String> {
    mount_at("devtmpfs", "/dev", "")?;
    mount_at("proc", "/proc", "")?;
    // Our lines are few, and none of them shall be dropped.
    let _ = fs::write("/proc/sys/kernel/printk_devkmsg", "on");
    say!("userspace");
    let command_line = fs::read_to_string("/proc/cmdline");
    let settings = Settings::parse(&command_line.map_err(|e| format!("/proc/cmdline: {e}"))?);
    switch_root()?;
    finish_mounts()?;
    identity(&settings);
    say!("root");
    load_modules();
    Ok(settings)
}

fn make_dir(path: &str) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|e| format!("mkdir {path}: {e}"))
}

/// Mounts a file system that has no device, with its name as the source.
fn mount_at(kind: &str, target: &str, options: &str) -> Result<(), String> {
    make_dir(target)?;
    match mount(
        Some(kind),
        target,
        Some(kind),
        MsFlags::empty(),
        Some(options),
    ) {
        // devtmpfs may be there already (CONFIG_DEVTMPFS_MOUNT).
        Ok(()) | Err(Errno::EBUSY) => Ok(()),
        Err(Errno::ENODEV) => Err(format!("mount {target}: this kernel has no {kind}")),
        Err(e) => Err(format!("mount {target} ({kind}): {e}")),
    }
}

fn switch_root() -> Result<(), String> {
    mount_at("tmpfs", "/spider", "mode=755")?;
    for directory in [
        "/spider/image",
        "/spider/upper",
        "/spider/work",
        "/spider/root",
        "/layer",
    ] {
        make_dir(directory)?;
    }
    wait_for_disk()?;
    mount(
        Some(DISK),
        "/spider/image",
        Some("erofs"),
        MsFlags::MS_RDONLY,
        None::<&str>,
    )
    .map_err(|e| match e {
        Errno::ENODEV => "mount the root image: this kernel has no erofs".to_owned(),
        e => format!("mount the root image {DISK} as erofs: {e}"),
    })?;
    let options =
        "lowerdir=/layer:/spider/image,upperdir=/spider/upper,workdir=/spider/work,xino=off";
    mount(
        Some("overlay"),
        "/spider/root",
        Some("overlay"),
        MsFlags::empty(),
        Some(options),
    )
    .map_err(|e| format!("mount the root overlay: {e}"))?;
    for directory in ["/dev", "/proc"] {
        let target = format!("/spider/root{directory}");
        make_dir(&target)?;
        mount(
            Some(directory),
            target.as_str(),
            None::<&str>,
            MsFlags::MS_MOVE,
            None::<&str>,
        )
        .map_err(|e| format!("move {directory}: {e}"))?;
    }
    let moved = (|| {
        nix::unistd::chdir("/spider/root")?;
        mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)?;
        nix::unistd::chroot(".")?;
        nix::unistd::chdir("/")
    })();
    moved.map_err(|e| format!("switch to the root overlay: {e}"))
}

fn wait_for_disk() -> Result<(), String> {
    let deadline = Instant::now() + DISK_TIMEOUT;
    while !Path::new(DISK).exists() {
        if Instant::now() > deadline {
            return Err(format!(
                "no {DISK} after {} s: the kernel needs CONFIG_VIRTIO_BLK and CONFIG_VIRTIO_PCI, \
                 QEMU a virtio-blk device",
                DISK_TIMEOUT.as_secs()
            ));
        }
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn finish_mounts() -> Result<(), String> {
    for (kind, target, options) in [
        ("sysfs", "/sys", ""),
        ("devpts", "/dev/pts", "mode=620,gid=5,ptmxmode=666"),
        ("tmpfs", "/dev/shm", "mode=1777"),
        ("tmpfs", "/run", "mode=755"),
        ("tmpfs", "/tmp", "mode=1777"),
    ] {
        mount_at(kind, target, options)?;
    }
    // What a user's own kernel may lack. sysfs makes the directories of those it has.
    for (kind, target) in [
        ("configfs", "/sys/kernel/config"),
        ("debugfs", "/sys/kernel/debug"),
        ("tracefs", "/sys/kernel/tracing"),
    ] {
        if Path::new(target).is_dir() {
            mount_at(kind, target, "").unwrap_or_else(|e| say!("{e}"));
        }
    }
    Ok(())
}

/// Names, links and the loopback interface. None of these is worth a failed boot.
fn identity(settings: &Settings) {
    let warn = |what: &str, result: io::Result<()>| match result {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => say!("{what}: {e}"),
        _ => {}
    };
    warn(
        "host name",
        nix::unistd::sethostname(&settings.side).map_err(io::Error::from),
    );
    warn("loopback interface", loopback_up());
    for (target, link) in [
        ("/proc/self/fd", "/dev/fd"),
        ("/proc/self/fd/0", "/dev/stdin"),
        ("/proc/self/fd/1", "/dev/stdout"),
        ("/proc/self/fd/2", "/dev/stderr"),
    ] {
        warn(link, symlink(target, link));
    }
    let applets = "/usr/local/sbin";
    warn(SELF, fs::create_dir_all("/run/spider"));
    warn(SELF, fs::copy("/proc/self/exe", SELF).map(drop));
    warn(applets, fs::create_dir_all(applets));
    for name in ["poweroff", "halt", "reboot"] {
        warn(name, symlink(SELF, format!("{applets}/{name}")));
    }
}

fn loopback_up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind(("0.0.0.0", 0))?;
    // SAFETY: ifreq is plain data; zeros are a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
    // SAFETY: SIOCSIFFLAGS reads a whole ifreq, which outlives the call.
    Errno::result(unsafe { libc::ioctl(fd, libc::SIOCSIFFLAGS as _, &request) })?;
    Ok(())
}

fn load_modules() {
    let list = match fs::read_to_string(MODULE_LIST) {
        Ok(list) => list,
        Err(e) if e.kind() == ErrorKind::NotFound => return,
        Err(e) => return say!("{MODULE_LIST}: {e}"),
    };
    for module in modules(&list) {
        let output = Command::new("/sbin/modprobe").args(&module).output();
        match output {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stderr);
                say!(
                    "modprobe {}: {} ({})",
                    module.join(" "),
                    text.trim(),
                    output.status
                )
            }
            Err(e) => say!("modprobe {}: {e}", module.join(" ")),
        }
    }
    say!("modules");
}

fn modules(list: &str) -> Vec<Vec<&str>> {
    let lines = list
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    lines
        .map(|line| line.split_whitespace().collect())
        .filter(|m: &Vec<_>| !m.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_the_command_line_counts() {
        let settings = Settings::parse("console=ttyAMA0 spider.side=ep spider.side=rc quiet\n");
        assert_eq!(settings.side, "rc");
        assert!(!settings.console_shell && !settings.hotplug);
        assert!(Settings::parse("quiet pcie_ports=compat").hotplug);
        assert!(Settings::parse("spider.console=shell").console_shell);
    }

    #[test]
    fn module_list_has_comments_and_parameters() {
        let list = "# none\nbridge\n\n  pci_endpoint_test no_msi=1 # why\n";
        assert_eq!(
            modules(list),
            [vec!["bridge"], vec!["pci_endpoint_test", "no_msi=1"]]
        );
    }
}
