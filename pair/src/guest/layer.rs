// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The run's initramfs: the guest's PID 1, and below `/layer` the files that this run lays over
//! the shared root image.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Cursor, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use super::cpio::{Archive, Kind};

/// Directories of the image that are links into /usr. A real directory above would hide the link.
const MERGED: [&str; 3] = ["bin", "lib", "sbin"];
/// What depmod makes anew.
const MADE_BY_DEPMOD: [&str; 6] = [
    "modules.alias",
    "modules.dep",
    "modules.symbols",
    "modules.softdep",
    "modules.devname",
    "modules.weakdep",
];

/// Why the files of a run cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// A file of the host cannot be read or written.
    #[error("{}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file has no place in a guest.
    #[error("{}: {why}", .path.display())]
    Unfit {
        /// Which.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// depmod could not be run, or has failed.
    #[error("depmod for {release}: {why}")]
    Depmod {
        /// The kernel's release.
        release: String,
        /// What it said.
        why: String,
    },
}

fn at(path: &Path) -> impl Fn(io::Error) -> LayerError + '_ {
    move |source| LayerError::Io {
        path: path.to_owned(),
        source,
    }
}

fn unfit(path: &Path, why: &'static str) -> LayerError {
    LayerError::Unfit {
        path: path.to_owned(),
        why,
    }
}

/// Where the content of an entry comes from.
#[derive(Debug)]
enum Source {
    Directory,
    Host(PathBuf),
    Bytes(Vec<u8>),
    Symlink(String),
}

#[derive(Debug)]
struct Entry {
    permissions: u32,
    source: Source,
}

/// An initramfs in the making. What is added later replaces what has the same path.
#[derive(Debug)]
pub struct Initramfs {
    init: PathBuf,
    /// By the path in the guest, without the first slash, so that a directory precedes its files.
    layer: BTreeMap<String, Entry>,
}

impl Initramfs {
    /// With this PID 1 and nothing above the image yet.
    pub fn new(init: impl Into<PathBuf>) -> Self {
        Initramfs {
            init: init.into(),
            layer: BTreeMap::new(),
        }
    }

    /// Lays a directory of the host over the guest's root. Permissions are kept, all belongs to
    /// root; symbolic links stay links.
    ///
    /// # Errors
    /// A file cannot be read, has a name that is not UTF-8, or is neither file, directory nor link.
    pub fn overlay(&mut self, directory: &Path) -> Result<(), LayerError> {
        self.tree(Path::new("/"), directory)
    }

    /// Lays a directory of the host over one of the guest.
    ///
    /// # Errors
    /// As [`Initramfs::overlay`].
    pub fn tree(&mut self, guest: &Path, directory: &Path) -> Result<(), LayerError> {
        for entry in fs::read_dir(directory).map_err(at(directory))? {
            let host = entry.map_err(at(directory))?.path();
            let guest = guest.join(host.file_name().unwrap_or_default());
            let metadata = fs::symlink_metadata(&host).map_err(at(&host))?;
            let (kind, permissions) = (metadata.file_type(), metadata.permissions().mode());
            let source = if kind.is_dir() {
                Source::Directory
            } else if kind.is_file() {
                Source::Host(host.clone())
            } else if kind.is_symlink() {
                let target = fs::read_link(&host).map_err(at(&host))?;
                if is_merged_link(&guest, &target) {
                    continue;
                }
                Source::Symlink(utf8(&target)?.to_owned())
            } else if kind.is_socket() {
                return Err(unfit(&host, "a socket cannot be copied into a guest"));
            } else {
                return Err(unfit(
                    &host,
                    "a device or pipe cannot be copied into a guest",
                ));
            };
            self.insert(&guest, permissions, source)?;
            if kind.is_dir() {
                self.tree(&guest, &host)?;
            }
        }
        Ok(())
    }

    /// Puts one file into the guest, with these permissions (0o755).
    ///
    /// # Errors
    /// The path is relative, or not UTF-8.
    pub fn file(
        &mut self,
        guest: impl AsRef<Path>,
        content: impl Into<Vec<u8>>,
        permissions: u32,
    ) -> Result<(), LayerError> {
        self.insert(guest.as_ref(), permissions, Source::Bytes(content.into()))
    }

    fn insert(&mut self, guest: &Path, permissions: u32, source: Source) -> Result<(), LayerError> {
        let key = key(guest)?;
        for (slash, _) in key.match_indices('/') {
            let parent = Entry {
                permissions: 0o755,
                source: Source::Directory,
            };
            let parent = self.layer.entry(key[..slash].to_owned()).or_insert(parent);
            if !matches!(parent.source, Source::Directory) {
                return Err(unfit(
                    guest,
                    "lies below what is a file elsewhere in this run",
                ));
            }
        }
        let is_directory = matches!(source, Source::Directory);
        let below = format!("{key}/");
        let has_children = self
            .layer
            .range(below.clone()..)
            .next()
            .is_some_and(|(k, _)| k.starts_with(&below));
        if has_children && !is_directory {
            return Err(unfit(guest, "is a directory elsewhere in this run"));
        }
        self.layer.insert(
            key,
            Entry {
                permissions,
                source,
            },
        );
        Ok(())
    }

    /// Writes the archive to a file; its size in bytes.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn write(&self, path: &Path) -> Result<u64, LayerError> {
        let file = File::create(path).map_err(at(path))?;
        let out = self.write_to(BufWriter::with_capacity(1 << 20, file), path)?;
        let file = out.into_inner().map_err(|e| at(path)(e.into_error()))?;
        Ok(file.metadata().map_err(at(path))?.len())
    }

    fn write_to<W: Write>(&self, out: W, path: &Path) -> Result<W, LayerError> {
        let mut archive = Archive::new(out);
        let directory = || Kind::<io::Empty>::Directory;
        for name in ["dev", "proc", "layer"] {
            archive.add(name, 0o755, directory()).map_err(at(path))?;
        }
        // The kernel opens it for PID 1 before anything is mounted.
        let console = Kind::<io::Empty>::CharacterDevice(5, 1);
        archive
            .add("dev/console", 0o600, console)
            .map_err(at(path))?;
        add_host_file(&mut archive, "init", 0o755, &self.init)?;
        for (name, entry) in &self.layer {
            let name = format!("layer/{name}");
            let permissions = entry.permissions;
            match &entry.source {
                Source::Directory => archive
                    .add(&name, permissions, directory())
                    .map_err(at(path)),
                Source::Symlink(target) => archive
                    .add(&name, 0o777, Kind::<io::Empty>::Symlink(target.clone()))
                    .map_err(at(path)),
                Source::Bytes(bytes) => archive
                    .add(
                        &name,
                        permissions,
                        Kind::File(bytes.len() as u64, Cursor::new(bytes)),
                    )
                    .map_err(at(path)),
                Source::Host(host) => add_host_file(&mut archive, &name, permissions, host),
            }?;
        }
        archive.finish().map_err(at(path))
    }
}

fn add_host_file<W: Write>(
    archive: &mut Archive<W>,
    name: &str,
    permissions: u32,
    host: &Path,
) -> Result<(), LayerError> {
    let file = File::open(host).map_err(at(host))?;
    let length = file.metadata().map_err(at(host))?.len();
    let source: Box<dyn Read> = Box::new(file);
    archive
        .add(name, permissions, Kind::File(length, source))
        .map_err(at(host))
}

fn utf8(path: &Path) -> Result<&str, LayerError> {
    path.to_str()
        .ok_or_else(|| unfit(path, "name is not UTF-8"))
}

/// A guest's path without its first slash, and with the links of a merged /usr resolved.
fn key(guest: &Path) -> Result<String, LayerError> {
    let mut parts = Vec::new();
    for component in guest.strip_prefix("/").unwrap_or(guest).components() {
        match component {
            Component::Normal(part) => parts.push(utf8(Path::new(part))?),
            _ => return Err(unfit(guest, "is no plain path in a guest")),
        }
    }
    match parts.first() {
        None => Err(unfit(guest, "is no plain path in a guest")),
        Some(first) if MERGED.contains(first) => Ok(format!("usr/{}", parts.join("/"))),
        Some(_) => Ok(parts.join("/")),
    }
}

/// A copy of a whole root brings the links of its merged /usr along; the image has them.
fn is_merged_link(guest: &Path, target: &Path) -> bool {
    MERGED.iter().any(|name| {
        guest == Path::new("/").join(name)
            && target.strip_prefix("/").unwrap_or(target) == Path::new("usr").join(name)
    })
}

/// Where a guest has the modules that another one of their name was preferred to.
pub const OTHERS: &str = "lib/spider-pair/others";

/// Makes a tree `base/lib/modules/RELEASE` of a kernel's own modules and of `ours`, and has it
/// depmod'ed. Where both have a module of one name, the stock one is taken, unless `instead` names
/// it; the other one is in [`OTHERS`], for `insmod`. `depmod` is the program, to which the arguments
/// are added.
///
/// # Errors
/// A file cannot be read or linked, or depmod fails.
pub fn module_tree(
    base: &Path,
    release: &str,
    stock: Option<&Path>,
    ours: &[PathBuf],
    instead: &[&str],
    mut depmod: Command,
) -> Result<(), LayerError> {
    let tree = base.join("lib/modules").join(release);
    let updates = tree.join("updates");
    fs::create_dir_all(&updates).map_err(at(&updates))?;
    let instead: Vec<String> = instead.iter().map(|name| name.replace('-', "_")).collect();
    let mut linked = BTreeSet::new();
    let others = base.join(OTHERS);
    fs::create_dir_all(&others).map_err(at(&others))?;
    if let Some(stock) = stock {
        link_tree(stock, &tree, &instead, &others, &mut linked)?;
    }
    for module in ours {
        let name = module_name(module).ok_or_else(|| unfit(module, "is no module"))?;
        let place = match linked.contains(&name) {
            true => &others,
            false => &updates,
        };
        link(module, &place.join(format!("{name}.ko")))?;
    }
    let fail = |why| LayerError::Depmod {
        release: release.to_owned(),
        why,
    };
    let output = depmod.arg("-b").arg(base).arg(release).output();
    let output = output.map_err(|error| fail(format!("cannot be run: {error}")))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(fail(format!("{} ({})", text.trim(), output.status)));
    }
    Ok(())
}

/// The name under which the kernel knows a module's file, compressed or not.
fn module_name(path: &Path) -> Option<String> {
    let (stem, _) = path.file_name()?.to_str()?.split_once(".ko")?;
    Some(stem.replace('-', "_"))
}

/// Links a kernel's tree, and notes the names of its modules; those `left_out` go to `others`.
fn link_tree(
    from: &Path,
    to: &Path,
    left_out: &[String],
    others: &Path,
    linked: &mut BTreeSet<String>,
) -> Result<(), LayerError> {
    fs::create_dir_all(to).map_err(at(to))?;
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let (path, name) = (entry.path(), entry.file_name());
        let kind = entry.file_type().map_err(at(&path))?;
        let generated = name.to_str().is_some_and(|name| {
            MADE_BY_DEPMOD.iter().any(|made| {
                name.strip_prefix(made)
                    .is_some_and(|rest| matches!(rest, "" | ".bin"))
            })
        });
        let module = module_name(&path);
        let replaced = module.as_ref().is_some_and(|name| left_out.contains(name));
        if kind.is_dir() {
            link_tree(&path, &to.join(name), left_out, others, linked)?;
        } else if replaced {
            let name = name.to_string_lossy().replace('-', "_");
            link(&path, &others.join(name))?;
        } else if kind.is_file() && !generated {
            link(&path, &to.join(name))?;
            linked.extend(module);
        }
        // Links (`build`, `source`) point to where the kernel was built: no use in a guest.
    }
    Ok(())
}

/// A hard link if both are in one file system, else a copy.
fn link(from: &Path, to: &Path) -> Result<(), LayerError> {
    fs::hard_link(from, to)
        .or_else(|_| fs::copy(from, to).map(drop))
        .map_err(at(from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::cpio::newc;
    use std::os::unix::fs::symlink;

    type Listing = Vec<(String, u32, Vec<u8>)>;

    fn unpack(initramfs: &Initramfs) -> Listing {
        let bytes = initramfs.write_to(Vec::new(), Path::new("memory")).unwrap();
        let (mut rest, mut listing) = (Cursor::new(bytes), Vec::new());
        loop {
            let mut reader = newc::Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                return listing;
            }
            let (name, mode) = (reader.entry().name().to_owned(), reader.entry().mode());
            let mut content = Vec::new();
            reader.read_to_end(&mut content).unwrap();
            listing.push((name, mode, content));
            rest = reader.finish().unwrap();
        }
    }

    fn host() -> (tempfile::TempDir, Initramfs) {
        let host = tempfile::tempdir().unwrap();
        fs::write(host.path().join("agent"), "PID 1").unwrap();
        let initramfs = Initramfs::new(host.path().join("agent"));
        (host, initramfs)
    }

    #[test]
    fn an_archive_has_what_the_kernel_needs() {
        let (_host, initramfs) = host();
        let listing = unpack(&initramfs);
        assert!(listing.contains(&("init".into(), 0o100755, b"PID 1".to_vec())));
        assert!(listing.contains(&("dev/console".into(), 0o020600, vec![])));
        assert!(listing.contains(&("layer".into(), 0o040755, vec![])));
    }

    #[test]
    fn an_overlay_keeps_modes_and_links_and_spares_the_merged_usr() {
        let (host, mut initramfs) = host();
        let root = host.path().join("root");
        fs::create_dir_all(root.join("lib/firmware")).unwrap();
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("lib/firmware/blob"), [0, 1, 2]).unwrap();
        fs::set_permissions(
            root.join("lib/firmware/blob"),
            fs::Permissions::from_mode(0o640),
        )
        .unwrap();
        symlink("usr/bin", root.join("bin")).unwrap();
        symlink("../proc/mounts", root.join("etc/mtab")).unwrap();
        initramfs.overlay(&root).unwrap();
        initramfs
            .file("/etc/spider-pair/modules", "bridge\n", 0o644)
            .unwrap();
        let listing = unpack(&initramfs);
        let names: Vec<_> = listing.iter().map(|(name, ..)| &**name).skip(5).collect();
        assert_eq!(
            names,
            [
                "layer/etc",
                "layer/etc/mtab",
                "layer/etc/spider-pair",
                "layer/etc/spider-pair/modules",
                "layer/usr",
                "layer/usr/lib",
                "layer/usr/lib/firmware",
                "layer/usr/lib/firmware/blob",
            ]
        );
        assert_eq!(
            listing[6],
            (
                "layer/etc/mtab".into(),
                0o120777,
                b"../proc/mounts".to_vec()
            )
        );
        assert_eq!(listing[12].1, 0o100640);
        assert_eq!(listing[12].2, [0, 1, 2]);
    }

    #[test]
    fn later_files_win_and_conflicts_are_named() {
        let (_host, mut initramfs) = host();
        initramfs.file("/etc/a", "1", 0o644).unwrap();
        initramfs.file("/etc/a", "2", 0o600).unwrap();
        assert!(unpack(&initramfs).contains(&("layer/etc/a".into(), 0o100600, b"2".to_vec())));
        for (path, word) in [
            ("/etc", "directory"),
            ("/etc/a/b", "below"),
            ("/../x", "plain"),
        ] {
            let error = initramfs.file(path, "", 0o644).unwrap_err().to_string();
            assert!(error.contains(path) && error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_missing_or_odd_file_is_named() {
        let (host, mut initramfs) = host();
        let error = initramfs
            .overlay(&host.path().join("nowhere"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("nowhere"), "{error}");
        let _socket = std::os::unix::net::UnixListener::bind(host.path().join("s")).unwrap();
        let error = initramfs.overlay(host.path()).unwrap_err().to_string();
        assert!(error.contains("socket"), "{error}");
    }

    #[test]
    fn a_module_tree_is_one_tree() {
        let (host, _) = host();
        let stock = host.path().join("stock");
        fs::create_dir_all(stock.join("kernel/drivers")).unwrap();
        for name in ["pci-epf-vntb.ko", "ntb.ko.xz", "ntb_hw_epf.ko"] {
            fs::write(stock.join("kernel/drivers").join(name), "stock").unwrap();
        }
        for name in [
            "modules.builtin",
            "modules.order",
            "modules.dep",
            "modules.alias.bin",
        ] {
            fs::write(stock.join(name), "").unwrap();
        }
        symlink("/usr/src/linux", stock.join("build")).unwrap();
        let ours = ["pci_epf_vntb.ko", "ntb_hw_epf.ko", "spider_bridge.ko"].map(|name| {
            let path = host.path().join(name);
            fs::write(&path, "ours").unwrap();
            path
        });
        let base = host.path().join("base");
        let mut depmod = Command::new("sh");
        depmod.args([
            "-c",
            r#"test "$1" = -b && touch "$2/lib/modules/$3/modules.dep""#,
            "depmod",
        ]);
        module_tree(
            &base,
            "7.3.4",
            Some(&stock),
            &ours,
            &["pci-epf-vntb"],
            depmod,
        )
        .unwrap();
        let tree = base.join("lib/modules/7.3.4");
        assert_eq!(
            fs::read(tree.join("updates/pci_epf_vntb.ko")).unwrap(),
            b"ours"
        );
        let has = |name: &str| tree.join(name).symlink_metadata().is_ok();
        for name in [
            "kernel/drivers/ntb.ko.xz",
            "kernel/drivers/ntb_hw_epf.ko",
            "updates/spider_bridge.ko",
            "../../spider-pair/others/pci_epf_vntb.ko",
            "../../spider-pair/others/ntb_hw_epf.ko",
            "modules.builtin",
            "modules.order",
            "modules.dep",
        ] {
            assert!(has(name), "{name}");
        }
        for name in [
            "kernel/drivers/pci-epf-vntb.ko",
            "updates/ntb_hw_epf.ko",
            "modules.alias.bin",
            "build",
        ] {
            assert!(!has(name), "{name}");
        }
    }

    #[test]
    fn a_depmod_that_fails_is_quoted() {
        let (host, _) = host();
        let mut depmod = Command::new("sh");
        depmod.args(["-c", "echo no such kernel >&2; exit 3"]);
        let error = module_tree(host.path(), "7.3.4", None, &[], &[], depmod).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("7.3.4") && error.contains("no such kernel"),
            "{error}"
        );
    }
}
