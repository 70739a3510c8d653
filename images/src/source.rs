// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernel's source, as Debian packages it.

use std::fs;
use std::path::PathBuf;

use anyhow::{bail, Context, Result};

use crate::cache::{Inputs, Workshop};
use crate::debs::Apt;
use crate::progress::Task;
use crate::step::{self, Deadline};
use crate::Images;

/// The kernel that everything is made for.
const WANTED: &str = "linux-source-7.3";

/// An unpacked kernel source.
pub(crate) struct Source {
    /// The tree.
    pub tree: PathBuf,
    /// Package and version, an input of everything built from it.
    pub version: String,
}

impl Images {
    /// The source of the guests' kernel, downloaded if it is not there.
    pub(crate) fn source(&self) -> Result<Source> {
        let toolbox = self.toolbox()?;
        let key = Inputs::new("source")
            .text("wanted", WANTED)
            .file(&step::step_path("source.sh"))?
            .file(&step::step_path("unpack-source.sh"))?
            .key();
        let dir = self
            .cache
            .artefact("source", &key, &self.progress, |shop| {
                let mut task = self.progress.task("kernel source");
                let version = download(shop, &mut task)?;
                let mut command = toolbox.script("unpack-source.sh");
                command.arg(shop.dir);
                step::carry_out("unpacking", command, shop, Deadline::BUILD, &mut task)?;
                fs::write(shop.dir.join("version"), &version)
                    .context("cannot write the source's version")?;
                task.done(&version);
                Ok(())
            })?;
        let path = dir.join("version");
        let version =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if version.split(' ').next() != Some(WANTED) {
            self.progress.note(&format!(
                "warning: the mirror no longer serves {WANTED}: using {version}, \
                 with which nothing here was tried"
            ));
        }
        Ok(Source {
            tree: dir.join("linux"),
            version,
        })
    }
}

/// Downloads the package and unpacks its tarball into the workshop. Hands back `PACKAGE VERSION`.
fn download(shop: &mut Workshop, task: &mut Task) -> Result<String> {
    let apt = Apt::new(
        &shop.dir.join("apt"),
        &crate::debs::host_architecture()?,
        &[],
    )?;
    let answers = apt.ask("source.sh", &[WANTED], shop, task)?;
    match answers.as_slice() {
        [version] => Ok(version.clone()),
        _ => bail!("the mirror serves no package linux-source-*"),
    }
}
