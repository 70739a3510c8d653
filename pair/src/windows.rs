// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `--windows`: whether a library inside QEMU lays the peer's memory over what the iATU opens, or why not.
//!
//! The library reaches into QEMU, whose internals are no interface: so it goes into the one QEMU that it was tested
//! with. Without it everything is as right, and slow: each access to a window is a message to the device.

use crate::artefacts::Tools;
use crate::options::{Debug, Options, Windows};
use crate::qemu;
use crate::watch::Watch;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

/// The library's file, which cargo puts beside this program.
pub const LIBRARY: &str = "libspider_windows.so";
/// The series of QEMU whose insides the library was tested with; it looks again for itself.
pub const TESTED: &str = "11.1";

/// How windows are served, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "kebab-case")]
pub enum Serving {
    /// At memory speed.
    Fast {
        /// What QEMU loads.
        library: PathBuf,
    },
    /// Each access is a message.
    Trap {
        /// What stands in the way of the other; none if the user asked for this.
        reason: Option<String>,
    },
}

impl Serving {
    /// What `options` ask for, as far as it can be had. `library` finds or builds it.
    pub fn choose(
        options: &Options,
        tools: &Tools,
        library: impl FnOnce() -> anyhow::Result<PathBuf>,
    ) -> Serving {
        if options.windows == Windows::Trap {
            return Serving::Trap { reason: None };
        }
        let tried = if options.gdb == Some(Debug::Device) {
            Err("with --gdb device each access goes to the device".to_owned())
        } else {
            library()
                .map_err(|error| format!("{error:#}"))
                .and_then(|library| loads(tools, &library).map(|()| library))
        };
        match tried {
            Ok(library) => Serving::Fast { library },
            Err(reason) => Serving::Trap {
                reason: Some(reason),
            },
        }
    }

    /// What QEMU loads, if anything.
    pub fn library(&self) -> Option<&Path> {
        match self {
            Serving::Fast { library } => Some(library),
            Serving::Trap { .. } => None,
        }
    }

    /// The line for a user who asked for more than can be had.
    pub fn line(&self) -> Option<String> {
        match self {
            Serving::Trap {
                reason: Some(reason),
            } => Some(trapping(reason)),
            _ => None,
        }
    }
}

/// What is said when windows are slow for `reason`.
pub fn trapping(reason: &str) -> String {
    format!("windows: trap, each access is a message (right, and slow): {reason}")
}

/// Tells the user when a library gives up while the pair runs, by what it or the device says on stderr.
pub fn watch_for_loss(watch: &Arc<Watch>) -> Box<dyn FnMut(&str) + Send> {
    let watch = watch.clone();
    Box::new(move |line| {
        if let Some(reason) = lost(line).filter(|_| !watch.over()) {
            eprintln!("pair: {}", trapping(reason));
        }
    })
}

/// Why windows are slow from now on, if this line of QEMU's or the device's stderr says so.
fn lost(line: &str) -> Option<&str> {
    // Said by the library; that the device hung up is said better by the device.
    let library = line
        .strip_prefix("spider-windows: ")
        .and_then(|rest| rest.strip_suffix(": accesses trap"))
        .filter(|_| !line.contains("closed the connection"));
    // Said by the device: "[time WARN module] windows: the library in the ep's QEMU is dropped: WHY; accesses trap …".
    let device = || {
        let (_, rest) = line.split_once("windows: the library in the ")?;
        let (told, _) = rest.split_once("; accesses trap")?;
        told.contains(" is dropped: ").then_some(told)
    };
    library.or_else(device)
}

/// Whether these tools' QEMU is the one, and can load the library: asked of the dynamic linker before any guest boots,
/// since a QEMU whose `-plugin` does not load ends at once.
fn loads(tools: &Tools, library: &Path) -> Result<(), String> {
    let (dir, preload) = preload(library)?;
    let output = tools
        .command("env")
        .current_dir(dir)
        .arg(preload)
        .args([qemu::PROGRAM, "--version"])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run {}: {error}", qemu::PROGRAM))?;
    judge(
        &String::from_utf8_lossy(&output.stdout),
        &String::from_utf8_lossy(&output.stderr),
    )
}

/// Where to be, and what to say to the dynamic linker: it splits LD_PRELOAD at spaces and colons (ld.so(8)), which the
/// library's directory may have in its name and its file has not.
fn preload(library: &Path) -> Result<(&Path, OsString), String> {
    let odd = || format!("{} is no library", library.display());
    let dir = library.parent().ok_or_else(odd)?;
    let mut word = OsString::from("LD_PRELOAD=./");
    word.push(library.file_name().ok_or_else(odd)?);
    Ok((dir, word))
}

/// Judges what `qemu --version` said with the library preloaded.
fn judge(stdout: &str, stderr: &str) -> Result<(), String> {
    let version = stdout
        .strip_prefix("QEMU emulator version ")
        .and_then(|rest| rest.split_whitespace().next());
    let series = |version: &str| {
        version
            .strip_prefix(TESTED)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    match version {
        Some(version) if series(version) => {}
        Some(other) => {
            return Err(format!(
                "this QEMU is {other}, and the library was tested with {TESTED} alone"
            ))
        }
        None => return Err(format!("{} does not tell its version", qemu::PROGRAM)),
    }
    // "ERROR: ld.so: object '…' from LD_PRELOAD cannot be preloaded (REASON): ignored."
    match stderr
        .lines()
        .find(|line| line.contains("cannot be preloaded"))
    {
        None => Ok(()),
        Some(line) => {
            let reason = line
                .split_once("preloaded (")
                .and_then(|(_, rest)| rest.rsplit_once("):"));
            let reason = reason.map_or(line, |(reason, _)| reason);
            Err(format!("QEMU cannot load {LIBRARY}: {reason}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str =
        "QEMU emulator version 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1)\nCopyright (c) 2003";

    fn choose(options: &Options, library: anyhow::Result<PathBuf>) -> Serving {
        Serving::choose(options, &Tools::Host, || library)
    }

    #[test]
    fn the_tested_qemu_alone_will_do() {
        assert_eq!(judge(DEBIAN, ""), Ok(()));
        for other in ["11.2.0", "11.10.1", "12"] {
            let reason = judge(&DEBIAN.replace("11.1.3", other), "").unwrap_err();
            assert!(
                reason.contains(other) && reason.contains(TESTED),
                "{reason}"
            );
        }
        assert!(judge("", "").unwrap_err().contains("version"));
    }

    #[test]
    fn a_library_that_does_not_load_is_named_with_the_linkers_reason() {
        let stderr = "ERROR: ld.so: object '/t/libspider_windows.so' from LD_PRELOAD cannot be preloaded (file too short): ignored.\n";
        let reason = judge(DEBIAN, stderr).unwrap_err();
        assert_eq!(
            reason,
            "QEMU cannot load libspider_windows.so: file too short"
        );
    }

    #[test]
    fn a_librarys_path_may_have_what_the_linker_splits_at() {
        let (dir, word) = preload(Path::new("/my checkouts/a:b/libspider_windows.so")).unwrap();
        assert_eq!(dir, Path::new("/my checkouts/a:b"));
        assert_eq!(word, "LD_PRELOAD=./libspider_windows.so");
        assert!(preload(Path::new("/")).is_err());
    }

    #[test]
    fn what_is_lost_while_it_runs_is_told_once() {
        let dropped = "[2026-11-21T16:00:00Z WARN  qemu_device::machine::windows] windows: the library in the ep's QEMU is dropped: no answer within 1000 ms; accesses trap from now on";
        assert_eq!(
            lost(dropped),
            Some("ep's QEMU is dropped: no answer within 1000 ms")
        );
        let refused = "spider-windows: this QEMU has no object_new: accesses trap";
        assert_eq!(lost(refused), Some("this QEMU has no object_new"));
        for silent in [
            "spider-windows: the device closed the connection: accesses trap",
            "spider-windows: windows at memory speed (QEMU 11.1.3)",
            "[… INFO qemu_device::machine::windows] windows: the library in the ep's QEMU is gone",
        ] {
            assert_eq!(lost(silent), None, "{silent}");
        }
    }

    #[test]
    fn who_asks_for_trap_hears_nothing_and_who_cannot_have_fast_hears_why() {
        let mut options = Options {
            windows: Windows::Trap,
            ..Options::default()
        };
        let asked = choose(&options, Err(anyhow::anyhow!("not looked for")));
        assert_eq!((asked.line(), asked.library()), (None, None));

        options.windows = Windows::Fast;
        let missing = choose(&options, Err(anyhow::anyhow!("there is no library")));
        assert!(missing.line().unwrap().ends_with(": there is no library"));

        options.gdb = Some(Debug::Device);
        let debugged = choose(&options, Ok(PathBuf::new()));
        assert!(debugged.line().unwrap().contains("--gdb device"));
    }
}
