// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The guests' root file system: one read-only image for both.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cache::Inputs;
use crate::debs::{self, Apt};
use crate::step::{self, Deadline};
use crate::{Images, HERE};

impl Images {
    /// An erofs image with Debian's arm64 userland, the kernel's `pci_endpoint_test` selftest and
    /// `ntb_test.sh`.
    pub fn rootfs(&self) -> Result<PathBuf> {
        let toolbox = self.toolbox()?;
        let source = self.source()?;
        let here = Path::new(HERE).join("rootfs");
        let key = Inputs::new("rootfs")
            .text("release", debs::RELEASE)
            .text("source", &source.version)
            .tree(&here)?
            .file(&step::step_path("download.sh"))?
            .file(&step::step_path("unpack.sh"))?
            .file(&step::step_path("finish.sh"))?
            .file(&step::step_path("selftests.sh"))?
            .file(&step::step_path("rootfs.sh"))?
            .key();
        let dir = self
            .cache
            .artefact("rootfs", &key, &self.progress, |shop| {
                let mut task = self.progress.task("rootfs");
                let path = here.join("packages");
                let list = fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                let root = shop.dir.join("root");
                let apt = Apt::new(&shop.dir.join("apt"), "arm64", &[])?;
                apt.download(&debs::package_list(&list), false, shop, &mut task)?;
                apt.unpack(&root, shop, &mut task)?;

                let mut command = toolbox.script("selftests.sh");
                command
                    .arg(&source.tree)
                    .arg(shop.dir.join("selftests"))
                    .arg(&root);
                step::carry_out(
                    "compiling selftests",
                    command,
                    shop,
                    Deadline::BUILD,
                    &mut task,
                )?;

                let mut command = toolbox.script("rootfs.sh");
                command
                    .arg(&root)
                    .arg(here.join("overlay"))
                    .arg(shop.dir.join("rootfs.erofs"));
                step::carry_out("packing", command, shop, Deadline::BUILD, &mut task)?;
                for leftover in [root, shop.dir.join("selftests")] {
                    fs::remove_dir_all(&leftover)
                        .with_context(|| format!("cannot remove {}", leftover.display()))?;
                }
                task.done("ready");
                Ok(())
            })?;
        Ok(dir.join("rootfs.erofs"))
    }
}
