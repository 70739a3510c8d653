// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a run is going to start: composed before anything runs, and all that `--dry-run` shows.

use crate::artefacts::Artefacts;
use crate::compose;
use crate::options::{Edma, Options};
use crate::process::{quote, shell_line};
use crate::qemu;
use crate::qmp;
use crate::run::Run;
use crate::side::{Side, Sides};
use crate::status::Failure;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

/// The command lines of a run, and the files that they need.
pub struct Plan {
    /// The silicon.
    pub device: Line,
    /// The guests.
    pub qemu: Sides<Line>,
    /// What plugs the function in, once the link is up.
    plug: Value,
    sockets: PathBuf,
}

/// A command that can be built again and again.
pub struct Line(Box<dyn Fn() -> Command + Send + Sync>);

impl Line {
    /// The command.
    pub fn build(&self) -> Command {
        (self.0)()
    }
}

impl Plan {
    /// Composes both initramfs in `dir` and all command lines.
    ///
    /// # Errors
    /// 125 when an initramfs cannot be made.
    pub fn compose(
        options: &Options,
        artefacts: &Artefacts,
        run: &Run,
        dir: &Path,
    ) -> Result<Plan, Failure> {
        let sockets = &run.sockets;
        let initramfs = Sides::from_fn(|side| dir.join(format!("{side}.cpio")));
        thread::scope(|scope| -> Result<(), Failure> {
            let compose = |side: Side| {
                let scratch = dir.join(format!("{side}-modules"));
                compose::initramfs(side, options, artefacts, &scratch, &initramfs[side])
            };
            let ep = scope.spawn(move || compose(Side::Ep));
            compose(Side::Rc)?;
            ep.join()
                .unwrap_or_else(|_| Err(Failure::harness("the EP's initramfs was lost")))
        })?;

        let (program, dir, edma) = (artefacts.device.clone(), sockets.0.clone(), options.edma);
        let device = Line(Box::new(move || {
            let mut command = Command::new(&program);
            command.arg("--dir").arg(&dir);
            match edma {
                Edma::Default => &mut command,
                Edma::Off => command.args(["--edma", "off"]),
                Edma::Channels(n) => command.arg("--edma").arg(n.to_string()),
            };
            command
        }));
        let qemu = Sides::from_fn(|side| {
            let files = qemu::Files {
                kernel: &artefacts.kernel[side].image,
                initramfs: &initramfs[side],
                rootfs: &artefacts.rootfs,
                windows: artefacts.windows.library(),
            };
            let arguments = qemu::arguments(side, options, &files, sockets);
            let tools = artefacts.tools.clone();
            Line(Box::new(move || {
                let mut command = tools.command(qemu::PROGRAM);
                command.args(&arguments);
                command
            }))
        });
        let plug = qemu::plug(sockets, options);
        Ok(Plan {
            device,
            qemu,
            plug,
            sockets: sockets.0.clone(),
        })
    }

    /// The command lines as a script that boots the pair by hand.
    pub fn script(&self) -> String {
        let line = |line: &Line| shell_line(&line.build());
        let mut text = String::from("#!/bin/sh\n# The processes of this run. The consoles' and the device's output went to its logs.\n");
        text += &format!("mkdir -p {}\n", quote(&self.sockets.to_string_lossy()));
        text += &format!("{} &\n", line(&self.device));
        text += "sleep 1\n";
        for side in Side::BOTH {
            text += &format!("{} &\n", line(&self.qemu[side]));
        }
        text += "# When the link is up, on the RC's monitor (rc-mon.sock, QMP):\n";
        text += &format!(
            "# {}\nwait\n",
            qmp::encode(1, "device_add", &self.plug).trim_end()
        );
        text
    }

    /// Writes [`Plan::script`] to a file.
    ///
    /// # Errors
    /// 125 when it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        fs::write(path, self.script()).map_err(|error| {
            Failure::harness(format!("cannot write {}", path.display())).caused_by(error)
        })
    }
}
