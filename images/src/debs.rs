// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Debian packages without installing them: the host's apt resolves and downloads with a
//! configuration of its own, and the packages are unpacked without their maintainer scripts. So it
//! works on any Debian host, for any user and for any architecture.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};

use crate::cache::Workshop;
use crate::mirror;
use crate::progress::Task;
use crate::set_id;
use crate::step::{self, Deadline};

/// The Debian release that everything comes from; its backports are taken where a package list says
/// so, or where nothing else has a package.
pub const RELEASE: &str = "trixie";

/// Keys of the archive, as the package debian-archive-keyring lays them out.
const KEYRINGS: &[&str] = &["debian-archive-keyring.gpg", "debian-archive-keyring.pgp"];

/// How the host reaches the network is taken from its apt; hooks and index formats are not.
const HOST_SETTINGS: &[&str] = &[
    "Acquire::http::",
    "Acquire::https::",
    "Acquire::ftp::",
    "Acquire::ForceIPv4",
    "Acquire::ForceIPv6",
    "Acquire::Check-Date",
    "Acquire::Check-Valid-Until",
    "Acquire::Max-FutureTime",
    "Acquire::Proxy",
];

/// The host's architecture in dpkg's words, such as `amd64`.
pub fn host_architecture() -> Result<String> {
    let mut command = Command::new("dpkg");
    command.arg("--print-architecture");
    step::output(command).context("cannot ask dpkg for the architecture (this needs a Debian host)")
}

/// The package names in a list: a `#` starts a comment.
pub fn package_list(text: &str) -> Vec<String> {
    text.lines()
        .flat_map(|line| {
            line.split('#')
                .next()
                .unwrap_or_default()
                .split_whitespace()
        })
        .map(str::to_owned)
        .collect()
}

/// An apt of our own, every file of it below one directory.
pub struct Apt {
    dir: PathBuf,
    mirror: String,
}

impl Apt {
    /// Lays out the configuration in `dir` for packages of `architecture`, and of `foreign` where a
    /// name says so.
    pub fn new(dir: &Path, architecture: &str, foreign: &[&str]) -> Result<Self> {
        for below in [
            "etc/apt/apt.conf.d",
            "etc/apt/preferences.d",
            "etc/apt/trusted.gpg.d",
            "etc/apt/sources.list.d",
            "var/lib/apt/lists/partial",
            "var/cache/apt/archives/partial",
            "var/log/apt",
        ] {
            let path = dir.join(below);
            fs::create_dir_all(&path)
                .with_context(|| format!("cannot create {}", path.display()))?;
        }
        let keyring = keyring()?;
        let mirror = mirror::choose()?;
        let sources: String = ["", "-updates", "-backports"]
            .iter()
            .map(|pocket| format!("deb [signed-by={keyring}] {mirror} {RELEASE}{pocket} main\n"))
            .collect();
        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write("etc/apt/sources.list", &sources)?;
        write("var/lib/dpkg-status", "")?;
        write(
            "apt.conf",
            &configuration(dir, architecture, foreign, &host_settings()?),
        )?;
        Ok(Apt {
            dir: dir.to_owned(),
            mirror,
        })
    }

    /// Where downloaded packages are.
    pub fn debs(&self) -> PathBuf {
        self.dir.join("debs")
    }

    /// Downloads packages, with all that they depend on unless `alone`.
    pub fn download(
        &self,
        packages: &[String],
        alone: bool,
        shop: &mut Workshop,
        task: &mut Task,
    ) -> Result<()> {
        let mut command = step::script("download.sh");
        command
            .arg(&self.dir)
            .args(alone.then_some("--alone"))
            .args(packages);
        self.fetch(command, shop, task).map(drop)
    }

    /// Runs a script of `steps` with this configuration and hands back the lines that it marks as
    /// answers, `= …`.
    pub fn ask(
        &self,
        script: &str,
        arguments: &[&str],
        shop: &mut Workshop,
        task: &mut Task,
    ) -> Result<Vec<String>> {
        let mut command = step::script(script);
        command.arg(&self.dir).args(arguments);
        self.fetch(command, shop, task)
    }

    fn fetch(
        &self,
        mut command: Command,
        shop: &mut Workshop,
        task: &mut Task,
    ) -> Result<Vec<String>> {
        command.env("APT_CONFIG", self.dir.join("apt.conf"));
        let mut answers = Vec::new();
        let mut on_line = |line: &str, task: &mut Task| {
            if let Some(percent) = download_percent(line) {
                task.say(&format!("downloading packages: {percent} %"));
            }
            answers.extend(line.strip_prefix("= ").map(str::to_owned));
        };
        step::run(
            "downloading packages",
            command,
            &mut shop.log,
            Deadline::DOWNLOAD,
            task,
            &mut on_line,
        )
        .with_context(|| {
            format!(
                "from {} ({} names another mirror)",
                self.mirror,
                mirror::VARIABLE
            )
        })?;
        Ok(answers)
    }

    /// Unpacks everything downloaded into `root` and does what maintainer scripts would have done.
    pub fn unpack(self, root: &Path, shop: &mut Workshop, task: &mut Task) -> Result<()> {
        let total = fs::read_dir(self.debs())
            .map(Iterator::count)
            .unwrap_or_default();
        let mut count = 0;
        let mut command = step::script("unpack.sh");
        command.arg(self.debs()).arg(root);
        step::run(
            "unpacking packages",
            command,
            &mut shop.log,
            Deadline::BUILD,
            task,
            &mut |line, task| {
                count += usize::from(line.starts_with("unpacked "));
                task.say(&format!("unpacking packages: {count} of {total}"));
            },
        )?;
        set_id::drop_below(root)?;
        let mut command = step::script("finish.sh");
        command.arg(root);
        step::carry_out("configuring", command, shop, Deadline::BUILD, task)?;
        fs::remove_dir_all(&self.dir)
            .with_context(|| format!("cannot remove {}", self.dir.display()))
    }
}

/// The archive's keys on this host.
fn keyring() -> Result<String> {
    let found = KEYRINGS
        .iter()
        .map(|name| format!("/usr/share/keyrings/{name}"))
        .find(|path| Path::new(path).exists());
    match found {
        Some(path) => Ok(path),
        None => bail!("no keys to check Debian's packages with: install debian-archive-keyring"),
    }
}

/// The host's settings for reaching the network, as lines of apt's configuration.
fn host_settings() -> Result<String> {
    let mut command = Command::new("apt-config");
    command.arg("dump");
    let all = step::output(command).context("cannot read the host's apt configuration")?;
    Ok(select_settings(&all))
}

fn select_settings(dump: &str) -> String {
    dump.lines()
        .filter(|line| {
            HOST_SETTINGS.iter().any(|prefix| line.starts_with(prefix)) && !line.ends_with("\"\";")
        })
        .map(|line| format!("{line}\n"))
        .collect()
}

fn configuration(dir: &Path, architecture: &str, foreign: &[&str], host: &str) -> String {
    let dir = dir.display();
    let architectures: String = std::iter::once(architecture)
        .chain(foreign.iter().copied())
        .map(|name| format!("\"{name}\"; "))
        .collect();
    format!(
        "{host}\
         Dir \"{dir}/\";\n\
         Dir::State::status \"{dir}/var/lib/dpkg-status\";\n\
         Dir::Etc::netrc \"/etc/apt/auth.conf\";\n\
         Dir::Etc::netrcparts \"/etc/apt/auth.conf.d\";\n\
         APT::Architecture \"{architecture}\";\n\
         #clear APT::Architectures;\n\
         APT::Architectures {{ {architectures}}};\n\
         APT::Install-Recommends \"false\";\n\
         APT::Sandbox::User \"root\";\n\
         APT::Update::Error-Mode \"any\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::Retries \"3\";\n\
         Acquire::http::Timeout \"30\";\n\
         Acquire::https::Timeout \"30\";\n"
    )
}

/// The share done, from a line of apt's status output: `dlstatus:ITEM:PERCENT:TEXT`.
fn download_percent(line: &str) -> Option<u32> {
    let percent: f64 = line
        .strip_prefix("dlstatus:")?
        .split(':')
        .nth(1)?
        .parse()
        .ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_comments() {
        assert_eq!(
            package_list("# none\na b # c\n\n  d/trixie\n"),
            ["a", "b", "d/trixie"]
        );
    }

    #[test]
    fn the_hosts_proxy_is_kept_and_its_hooks_are_not() {
        let dump = "Acquire \"\";\nAcquire::http::Proxy \"http://p:1\";\nAcquire::http \"\";\n\
            DPkg::Post-Invoke:: \"rm -rf x\";\n\
             Acquire::IndexTargets::deb \"\";\nAcquire::Check-Date \"false\";\n";
        assert_eq!(
            select_settings(dump),
            "Acquire::http::Proxy \"http://p:1\";\nAcquire::Check-Date \"false\";\n"
        );
    }

    #[test]
    fn download_progress_is_read_from_apts_status() {
        assert_eq!(
            download_percent("dlstatus:12:34.5678:Retrieving file 3 of 9"),
            Some(34)
        );
        assert_eq!(download_percent("pmstatus:12:34.5678:x"), None);
        assert_eq!(download_percent("dlstatus:12:NaN:x"), None);
        assert_eq!(download_percent("dlstatus:"), None);
    }
}
