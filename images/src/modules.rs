// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The project's own kernel modules, built against a kernel in a copy of their sources.

use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{bail, Context, Result};

use crate::cache::{files_below, Inputs};
use crate::config::Config;
use crate::kernel::Kernel;
use crate::step::{self, Deadline};
use crate::{Images, Toolbox, HERE};

/// Directories of the repository that modules are made from.
const SOURCES: &[&str] = &["abi", "guest-common", "guest-ep", "guest-rc"];

/// What any module may use: layouts, and wrappers with their bindings.
const SHARED: &[&str] = &["abi", "guest-common/kernel"];

impl Images {
    /// Every module of the project (each directory below `guest-*` with a `Kbuild` file), built
    /// against `kernel`. Each is an artefact of its own, made again only when something changes that
    /// it is made from.
    ///
    /// # Errors
    ///
    /// The kernel came without its build directory, or a module does not compile.
    pub fn modules(&self, kernel: &Kernel) -> Result<Vec<PathBuf>> {
        let build = kernel.build_dir.as_deref().with_context(|| {
            format!(
                "our modules need the directory in which {} was built, not the image alone",
                kernel.image.display()
            )
        })?;
        let toolbox = self.toolbox()?;
        let repository = Path::new(HERE)
            .parent()
            .context("images/ has no parent directory")?;
        let config_path = build.join(".config");
        let config = fs::read_to_string(&config_path)
            .with_context(|| format!("cannot read {}", config_path.display()))?;

        check_rustc(&config, &toolbox, build)?;

        let gcc = Config::parse(&config).get("CONFIG_CC_IS_GCC") == "y";
        let mut found = Vec::new();
        for module in module_directories(repository)? {
            let sources = sources(repository, &module)?;
            let mut inputs = Inputs::new("modules")
                .text("release", &kernel.release)
                .text("config", &config)
                .text("compilers", toolbox.compilers())
                .text("module", &module.to_string_lossy())
                .stamp(&build.join("Module.symvers"))?
                .file(&step::step_path("module.sh"))?;
            for path in &sources {
                inputs = inputs
                    .text("path", &path.to_string_lossy())
                    .file(&repository.join(path))?;
            }
            let dir = self
                .cache
                .artefact("modules", &inputs.key(), &self.progress, |shop| {
                    let mut task = self.progress.task(&module.to_string_lossy());
                    let work = shop.dir.join("work");
                    copy(repository, &sources, &work)?;
                    let mut command = toolbox.script("module.sh");
                    command.arg(build).arg(match gcc {
                        true => "CROSS_COMPILE=aarch64-linux-gnu-",
                        false => "LLVM=1",
                    });
                    command.arg(work.join(&module)).arg(shop.dir.join("ko"));
                    step::run(
                        "compiling",
                        command,
                        &mut shop.log,
                        Deadline::BUILD,
                        &mut task,
                        &mut |line, task| task.say(line),
                    )?;
                    fs::remove_dir_all(&work)
                        .with_context(|| format!("cannot remove {}", work.display()))?;
                    task.done("ready");
                    Ok(())
                })?;
            found.extend(files_below(&dir.join("ko"))?);
        }
        Ok(found)
    }
}

/// The directories that modules are built in, relative to the repository.
fn module_directories(repository: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for place in SOURCES {
        for path in files_below(&repository.join(place))? {
            if path.file_name().is_some_and(|name| name == "Kbuild") {
                let directory = path.parent().unwrap_or(&path);
                all.push(directory.strip_prefix(repository)?.to_owned());
            }
        }
    }
    Ok(all)
}

/// Every file that a module may be made from, relative to the repository: its own directory, what is
/// shared, and the directories of which it names a file. Nothing else is there when it is built.
fn sources(repository: &Path, module: &Path) -> Result<Vec<PathBuf>> {
    let mut directories: Vec<PathBuf> = vec![module.to_owned()];
    directories.extend(SHARED.iter().map(PathBuf::from));
    let mut files = Vec::new();
    let mut next = 0;
    while let Some(directory) = directories.get(next) {
        next += 1;
        for path in files_below(&repository.join(directory))? {
            let path = path.strip_prefix(repository)?.to_owned();
            for other in named_in(repository, &path)? {
                if !directories.iter().any(|known| other.starts_with(known)) {
                    directories.push(other);
                }
            }
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Directories of which a file mentions another file, as in `#[path = "../other/file.rs"]`.
fn named_in(repository: &Path, file: &Path) -> Result<Vec<PathBuf>> {
    let path = repository.join(file);
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let here = file.parent().unwrap_or(file);
    let mut found = Vec::new();
    for quoted in text.split('"').filter(|part| part.starts_with("../")) {
        let mut place = here.to_owned();
        for part in Path::new(quoted).components() {
            match part {
                Component::ParentDir => drop(place.pop()),
                part => place.push(part),
            }
        }
        if repository.join(&place).is_file() && SOURCES.iter().any(|one| place.starts_with(one)) {
            found.extend(place.parent().map(Path::to_owned));
        }
    }
    Ok(found)
}

/// Lays files of the repository out in `work`.
fn copy(repository: &Path, files: &[PathBuf], work: &Path) -> Result<()> {
    for path in files {
        let copy = work.join(path);
        let parent = copy.parent().context("a source file has no parent")?;
        fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
        fs::copy(repository.join(path), &copy)
            .with_context(|| format!("cannot copy {}", path.display()))?;
    }
    Ok(())
}

/// A Rust module and its kernel have to come from the same compiler, or nothing of the kernel's
/// crates can be read.
fn check_rustc(config: &str, toolbox: &Toolbox, build: &Path) -> Result<()> {
    let config = Config::parse(config);
    let theirs = config.get("CONFIG_RUSTC_VERSION_TEXT").trim_matches('"');
    if config.get("CONFIG_RUST") != "y" || toolbox.compilers().contains(theirs) {
        return Ok(());
    }
    bail!(
        "the kernel in {} was built with {theirs}, not with the toolbox's compiler, \
         so our modules in Rust cannot be \
         built against it. Build it with {}/enter {} -- make ARCH=arm64 LLVM=1 Image modules",
        build.display(),
        HERE,
        toolbox.root().display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_made_from_its_own_files_what_is_shared_and_what_it_names() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let names = |paths: &[&str]| -> String {
            let mounts = paths
                .iter()
                .map(|path| format!("#[path = \"{path}\"]\nmod x;\n"));
            mounts.collect()
        };
        write("abi/src/a.rs", "");
        write("guest-common/kernel/k.rs", "");
        write("guest-common/agent/src/main.rs", "");
        write("guest-ep/one/Kbuild", "");
        write(
            "guest-ep/one/one.rs",
            &names(&["../two/t.rs", "../../abi/src/a.rs"]),
        );
        write(
            "guest-ep/two/t.rs",
            &names(&["../three/u.rs", "../none/v.rs"]),
        );
        write("guest-ep/three/u.rs", "");
        write("guest-ep/four/Kbuild", "");
        assert_eq!(
            module_directories(dir.path()).unwrap(),
            ["guest-ep/four", "guest-ep/one"].map(PathBuf::from)
        );
        assert_eq!(
            sources(dir.path(), Path::new("guest-ep/one")).unwrap(),
            [
                "abi/src/a.rs",
                "guest-common/kernel/k.rs",
                "guest-ep/one/Kbuild",
                "guest-ep/one/one.rs",
                "guest-ep/three/u.rs",
                "guest-ep/two/t.rs",
            ]
            .map(PathBuf::from)
        );
    }
}
