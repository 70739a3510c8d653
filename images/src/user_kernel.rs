// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A kernel that the user built: found, checked, and never written to.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

use crate::cache::Inputs;
use crate::config::{self, Config};
use crate::kernel::{self, Kernel, IMAGE};
use crate::step::{self, Deadline};
use crate::{Images, HERE};

/// Which guests a kernel has to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The endpoint.
    Ep,
    /// The root complex.
    Rc,
    /// Either.
    Both,
}

impl Side {
    /// The lists of `kernel/` that name what it needs.
    fn requirements(self) -> &'static [&'static str] {
        match self {
            Side::Ep => &["required.config", "required-ep.config"],
            Side::Rc => &["required.config", "required-rc.config"],
            Side::Both => &[
                "required.config",
                "required-ep.config",
                "required-rc.config",
            ],
        }
    }
}

/// The magic number of an arm64 image, at [`MAGIC_OFFSET`] (Documentation/arch/arm64/booting.rst,
/// section 4).
const MAGIC: &[u8] = b"ARM\x64";
const MAGIC_OFFSET: usize = 0x38;

impl Images {
    /// The kernel at `path` for both guests: see [`Images::user_kernel_for`].
    pub fn user_kernel(&self, path: &Path) -> Result<Kernel> {
        self.user_kernel_for(path, Side::Both)
    }

    /// The kernel at `path`: a source tree with a built image, a build directory (`O=`), or an
    /// image.
    ///
    /// # Errors
    ///
    /// There is no kernel, it is not built or for another architecture, or its configuration lacks
    /// symbols, each of which is named.
    pub fn user_kernel_for(&self, path: &Path, side: Side) -> Result<Kernel> {
        let found = Found::at(path)?;
        let image = fs::read(&found.image)
            .with_context(|| format!("cannot read {}", found.image.display()))?;
        check_image(&found.image, &image)?;

        let config = match &found.build {
            Some(build) => {
                let path = build.join(".config");
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                Some(Config::parse(&text))
            }
            None => Config::of_image(&image),
        };
        match &config {
            Some(config) => check_symbols(config, side, path)?,
            None => self.progress.note(&format!(
                "warning: {} does not carry its configuration (CONFIG_IKCONFIG), \
                 so nobody checked that it has \
                 what the pair needs",
                path.display()
            )),
        }

        let release = match &found.build {
            Some(build) => kernel::release(build)?,
            None => release_of_image(&image)
                .with_context(|| format!("{} names no version", path.display()))?,
        };
        let modules_dir = match &found.build {
            Some(build) => Some(self.user_modules(build, &release)?),
            None => None,
        };
        let vmlinux = found
            .build
            .as_ref()
            .map(|build| build.join("vmlinux"))
            .filter(|path| path.exists());
        Ok(Kernel {
            image: found.image,
            build_dir: found.build,
            release,
            modules_dir,
            vmlinux,
        })
    }

    /// Copies of the modules of a user's build, without debug information, laid out as if
    /// installed.
    fn user_modules(&self, build: &Path, release: &str) -> Result<PathBuf> {
        let order = build.join("modules.order");
        let text = fs::read_to_string(&order).unwrap_or_default();
        let modules: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_suffix(".o"))
            .collect();
        let mut inputs = Inputs::new("user-modules")
            .text("release", release)
            .file(&step::step_path("user-modules.sh"))?;
        for module in &modules {
            inputs = inputs
                .stamp(&build.join(format!("{module}.ko")))
                .with_context(|| {
                    format!("{} is not built completely (make modules)", build.display())
                })?;
        }
        let dir = self
            .cache
            .artefact("user-modules", &inputs.key(), &self.progress, |shop| {
                let toolbox = self.toolbox()?;
                let mut task = self.progress.task("user's modules");
                let mut command = toolbox.script("user-modules.sh");
                command
                    .arg(build)
                    .arg(shop.dir.join("lib/modules").join(release));
                step::carry_out("copying", command, shop, Deadline::BUILD, &mut task)
            })?;
        Ok(dir.join("lib/modules").join(release))
    }
}

/// What stands at a path.
struct Found {
    image: PathBuf,
    build: Option<PathBuf>,
}

impl Found {
    fn at(path: &Path) -> Result<Self> {
        let shown = path.display();
        let path = path
            .canonicalize()
            .with_context(|| format!("no kernel at {shown}"))?;
        if path.is_file() {
            let build = path
                .ancestors()
                .nth(4)
                .filter(|dir| dir.join(IMAGE) == path && is_build(dir));
            return Ok(Found {
                build: build.map(Path::to_owned),
                image: path,
            });
        }
        let image = path.join(IMAGE);
        let source = path.join("Kbuild").exists() && path.join("Kconfig").exists();
        if image.is_file() && is_build(&path) {
            return Ok(Found {
                image,
                build: Some(path),
            });
        }
        if source || path.join(".config").exists() {
            bail!(
                "{shown} has no {IMAGE}: build it first (make ARCH=arm64 LLVM=1 Image modules), \
                 or name the \
                 directory that it was built in (O=)"
            );
        }
        bail!("{shown} is not a kernel: neither a source tree, nor a build directory, nor an Image")
    }
}

/// An image that came without its build directory: no module can be built against it, and none of its own is there.
pub struct Alone(Option<Config>);

impl Alone {
    /// Whether it has this symbol built in, if it carries its configuration.
    pub fn has(&self, symbol: &str) -> Option<bool> {
        Some(self.0.as_ref()?.get(symbol) == "y")
    }
}

/// Looks whether the kernel at `path` is an image alone, before anything is built for it.
///
/// # Errors
///
/// There is no kernel, or it is for another architecture.
pub fn alone(path: &Path) -> Result<Option<Alone>> {
    let found = Found::at(path)?;
    if found.build.is_some() {
        return Ok(None);
    }
    let image =
        fs::read(&found.image).with_context(|| format!("cannot read {}", found.image.display()))?;
    check_image(&found.image, &image)?;
    Ok(Some(Alone(Config::of_image(&image))))
}

fn is_build(dir: &Path) -> bool {
    dir.join(".config").exists() && dir.join("include/config/kernel.release").exists()
}

fn check_image(path: &Path, image: &[u8]) -> Result<()> {
    let shown = path.display();
    if image.get(MAGIC_OFFSET..MAGIC_OFFSET + MAGIC.len()) == Some(MAGIC) {
        return Ok(());
    }
    if image.starts_with(&[0x1f, 0x8b]) {
        bail!("{shown} is compressed: name the Image that it was made from");
    }
    if image.starts_with(b"\x7fELF") {
        bail!(
            "{shown} is an ELF file, perhaps vmlinux: \
             name the Image (arch/arm64/boot/Image) or its build directory"
        );
    }
    bail!("{shown} is not an arm64 kernel Image")
}

fn check_symbols(config: &Config, side: Side, path: &Path) -> Result<()> {
    let mut missing = Vec::new();
    for name in side.requirements() {
        let list = Path::new(HERE).join("kernel").join(name);
        let text =
            fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
        missing.extend(config.missing(&Config::parse(&text)));
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "the kernel {} lacks what the pair needs; set and build again:\n  {}",
        path.display(),
        missing.join("\n  ")
    )
}

/// The release in the banner that every kernel carries.
fn release_of_image(image: &[u8]) -> Option<String> {
    const BANNER: &[u8] = b"Linux version ";
    let mut rest = image;
    while let Some(at) = config::find(rest, BANNER) {
        rest = &rest[at + BANNER.len()..];
        let word = rest.split(|&byte| byte == b' ').next()?;
        let word = std::str::from_utf8(word).unwrap_or_default();
        if kernel::is_release(word) {
            return Some(word.to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Vec<u8> {
        let mut image = vec![0; MAGIC_OFFSET];
        image.extend(MAGIC);
        image.extend(b"Linux version %s (x)\0Linux version 7.3.4-mine (me@host) #1");
        image
    }

    fn built(dir: &Path, config: &str) {
        for below in ["arch/arm64/boot", "include/config"] {
            fs::create_dir_all(dir.join(below)).unwrap();
        }
        fs::write(dir.join(IMAGE), image()).unwrap();
        fs::write(dir.join("include/config/kernel.release"), "7.3.4-mine\n").unwrap();
        fs::write(dir.join(".config"), config).unwrap();
    }

    #[test]
    fn what_is_not_a_kernel_is_refused_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let message = |path: &Path| match Found::at(path) {
            Ok(found) => check_image(path, &fs::read(found.image).unwrap())
                .unwrap_err()
                .to_string(),
            Err(error) => format!("{error:#}"),
        };
        assert!(message(&dir.path().join("absent")).contains("no kernel at"));
        assert!(message(dir.path()).contains("is not a kernel"));
        for (contents, word) in [
            (&b"hello"[..], "not an arm64"),
            (b"\x7fELF", "vmlinux"),
            (b"\x1f\x8b", "compressed"),
            (b"", "not an arm64"),
        ] {
            let file = dir.path().join("file");
            fs::write(&file, contents).unwrap();
            assert!(message(&file).contains(word), "{word}");
        }
        fs::write(dir.path().join("Kbuild"), "").unwrap();
        fs::write(dir.path().join("Kconfig"), "").unwrap();
        assert!(message(dir.path()).contains("build it first"));
    }

    #[test]
    fn an_image_inside_a_build_directory_brings_it_along() {
        let dir = tempfile::tempdir().unwrap();
        built(dir.path(), "");
        let real = dir.path().canonicalize().unwrap();
        assert_eq!(
            Found::at(&dir.path().join(IMAGE)).unwrap().build,
            Some(real.clone())
        );
        assert_eq!(Found::at(dir.path()).unwrap().build, Some(real));
        let alone = dir.path().join("Image");
        fs::write(&alone, image()).unwrap();
        assert_eq!(Found::at(&alone).unwrap().build, None);
    }

    #[test]
    fn the_release_is_read_from_the_banner() {
        assert_eq!(release_of_image(&image()).as_deref(), Some("7.3.4-mine"));
        assert_eq!(release_of_image(b"nothing"), None);
        let hostile = b"Linux version 7/../../../../tmp/x (a) Linux version 7.3.1 (b)";
        assert_eq!(release_of_image(hostile).as_deref(), Some("7.3.1"));
    }

    #[test]
    fn a_build_directory_names_no_path_as_its_release() {
        let dir = tempfile::tempdir().unwrap();
        built(dir.path(), "");
        fs::write(
            dir.path().join("include/config/kernel.release"),
            "7.3/../..\n",
        )
        .unwrap();
        let error = kernel::release(dir.path()).unwrap_err().to_string();
        assert!(error.contains("no release"), "{error}");
    }

    #[test]
    fn an_image_alone_says_what_it_has_built_in() {
        use std::io::Write;
        let dir = tempfile::tempdir().unwrap();
        built(dir.path(), "");
        assert!(alone(dir.path()).unwrap().is_none());
        let path = dir.path().join("Image");
        fs::write(&path, image()).unwrap();
        assert_eq!(alone(&path).unwrap().unwrap().has("CONFIG_A"), None);
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"CONFIG_A=y\nCONFIG_B=m\n").unwrap();
        let config = [&b"IKCFG_ST"[..], &packed.finish().unwrap(), b"IKCFG_ED"].concat();
        fs::write(&path, [image(), config].concat()).unwrap();
        let alone = alone(&path).unwrap().unwrap();
        assert_eq!(
            ["CONFIG_A", "CONFIG_B", "CONFIG_C"].map(|symbol| alone.has(symbol)),
            [Some(true), Some(false), Some(false)]
        );
    }

    #[test]
    fn a_lacking_kernel_is_told_what_it_lacks() {
        let text = check_symbols(
            &Config::parse("CONFIG_DW_EDMA=m\n"),
            Side::Ep,
            Path::new("/k"),
        )
        .unwrap_err()
        .to_string();
        assert!(
            text.contains("CONFIG_DW_EDMA=y") && text.contains("CONFIG_PCIE_RCAR_GEN4_EP=y"),
            "{text}"
        );
        assert!(!text.contains("CONFIG_PCI_ENDPOINT_TEST"), "{text}");
    }

    #[test]
    fn our_own_configuration_meets_the_requirements() {
        let base = fs::read_to_string(Path::new(HERE).join("kernel/base.config")).unwrap();
        check_symbols(&Config::parse(&base), Side::Both, Path::new("base.config")).unwrap();
    }
}
