// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Artefacts kept under the user's cache directory, each under a key made of its inputs.
//!
//! An artefact is a directory `NAME/KEY`. It is made beside its final place and renamed, under a
//! lock of its own: two runs never build the same thing twice, nor wait for each other when they build
//! different things, and one that is killed leaves nothing that looks finished.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{anyhow, bail, Context, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

use crate::progress::Progress;

/// How long a run waits for another one that builds the same artefact.
const LOCK_DEADLINE: Duration = Duration::from_secs(2 * 60 * 60);

/// An artefact that nobody asked for this long makes room when its successor is made.
const UNUSED: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// The hash of an artefact's inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// The key as it stands in paths: 16 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Collects the inputs of an artefact. Each is framed by its label and length, so that no two lists
/// of inputs run together into the same bytes.
pub struct Inputs(Sha256);

impl Inputs {
    /// Starts with nothing but the artefact's name.
    pub fn new(name: &str) -> Self {
        Inputs(Sha256::new()).bytes("artefact", name.as_bytes())
    }

    fn bytes(mut self, label: &str, value: &[u8]) -> Self {
        for part in [label.as_bytes(), value] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
        self
    }

    /// Adds a value.
    pub fn text(self, label: &str, value: &str) -> Self {
        self.bytes(label, value.as_bytes())
    }

    /// Adds a file's name and contents.
    pub fn file(self, path: &Path) -> Result<Self> {
        let contents = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Ok(self.bytes(&name, &contents))
    }

    /// Adds every file below `dir` by its relative path, in order. Hidden files and `target`
    /// directories are not inputs; a missing directory is an empty one.
    pub fn tree(mut self, dir: &Path) -> Result<Self> {
        for path in files_below(dir)? {
            let contents =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let name = path
                .strip_prefix(dir)
                .unwrap_or(&path)
                .to_string_lossy()
                .into_owned();
            self = self.bytes(&name, &contents);
        }
        Ok(self)
    }

    /// Adds what identifies a large file without reading it: its path, size and time of
    /// modification.
    pub fn stamp(self, path: &Path) -> Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let meta = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
        let stamp = format!("{} {}.{:09}", meta.len(), meta.mtime(), meta.mtime_nsec());
        let name = path.to_string_lossy().into_owned();
        Ok(self.bytes(&name, stamp.as_bytes()))
    }

    /// The key of everything added.
    pub fn key(self) -> Key {
        Key(self
            .0
            .finalize()
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect())
    }
}

/// Every source file below `dir`, sorted: no hidden file, nothing below a `target` directory.
pub fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", dir.display()))
            }
        };
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot read {}", dir.display()))?;
            let name = entry.file_name();
            if name == "target" || name.to_string_lossy().starts_with('.') {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => pending.push(entry.path()),
                _ => found.push(entry.path()),
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The directory that holds all artefacts.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: PathBuf,
    builds: bool,
}

/// Where a build puts things.
pub struct Workshop<'a> {
    /// The directory that becomes the artefact; it exists and is empty.
    pub dir: &'a Path,
    /// The log of the build's steps, kept whatever comes of it.
    pub log: File,
}

impl Cache {
    /// The user's: `$SPIDER_PAIR_CACHE`, else `$XDG_CACHE_HOME/spider-pair`, else
    /// `~/.cache/spider-pair`.
    pub fn open() -> Result<Self> {
        let variable = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let dir = variable("SPIDER_PAIR_CACHE")
            .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("spider-pair")))
            .or_else(|| Some(variable("HOME")?.join(".cache/spider-pair")))
            .context("no place for a cache: set HOME or SPIDER_PAIR_CACHE")?;
        Self::at(&dir)
    }

    /// A cache in `dir`, which is created.
    pub fn at(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| {
            format!(
                "cannot create the cache {} (SPIDER_PAIR_CACHE chooses another)",
                dir.display()
            )
        })?;
        let dir = dir
            .canonicalize()
            .with_context(|| format!("cannot find the cache {}", dir.display()))?;
        Ok(Cache { dir, builds: true })
    }

    /// From now on what is not there is an error.
    pub fn forbid_builds(&mut self) {
        self.builds = false;
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The finished artefact, if it is there. Its time of modification tells when it was last asked
    /// for.
    pub fn find(&self, name: &str, key: &Key) -> Option<PathBuf> {
        let path = self.dir.join(name).join(key.as_str());
        let dir = File::open(&path).ok()?;
        let _ = dir.set_modified(SystemTime::now());
        Some(path)
    }

    /// The artefact `name` with these inputs: at once if it is there, else made by `build`.
    ///
    /// # Errors
    ///
    /// Whatever `build` reports, with the path and the end of its log.
    pub fn artefact(
        &self,
        name: &str,
        key: &Key,
        progress: &Progress,
        build: impl FnOnce(&mut Workshop) -> Result<()>,
    ) -> Result<PathBuf> {
        if let Some(path) = self.find(name, key) {
            return Ok(path);
        }
        if !self.builds {
            bail!("the {name} is not built yet");
        }
        let shelf = self.dir.join(name);
        fs::create_dir_all(&shelf).with_context(|| format!("cannot create {}", shelf.display()))?;
        let _lock = lock(
            &shelf.join(format!("{}.lock", key.as_str())),
            name,
            progress,
        )?;
        if let Some(path) = self.find(name, key) {
            return Ok(path);
        }
        remove_abandoned(&shelf)?;

        let partial = shelf.join(format!("{}.partial", key.as_str()));
        remove_if_there(&partial)?;
        let log_path = shelf.join(format!("{}.log", key.as_str()));
        fs::create_dir(&partial).with_context(|| format!("cannot create {}", partial.display()))?;
        let log = File::create(&log_path)
            .with_context(|| format!("cannot create {}", log_path.display()))?;
        let finished = shelf.join(key.as_str());
        let result = build(&mut Workshop { dir: &partial, log }).and_then(|()| {
            fs::rename(&partial, &finished)
                .with_context(|| format!("cannot move {} into place", finished.display()))
        });
        match result {
            Ok(()) => {
                remove_unused(&shelf);
                Ok(finished)
            }
            Err(error) => {
                let _ = fs::remove_dir_all(&partial);
                Err(anyhow!(
                    "cannot make the {name}: {error:#}{}",
                    end_of(&log_path)
                ))
            }
        }
    }
}

/// Where a failed step's log is and how it ends, for the user to read below the reason.
fn end_of(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("dlstatus:"))
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    let tail = &lines[lines.len().saturating_sub(20)..];
    let tail: String = tail.iter().map(|line| format!("\n  | {line}")).collect();
    format!("\nIts log, {}, ends so:{tail}", log.display())
}

/// Waits for the lock on an artefact and says so if it has to.
fn lock(path: &Path, name: &str, progress: &Progress) -> Result<Flock<File>> {
    let open = || File::create(path).with_context(|| format!("cannot create {}", path.display()));
    let start = Instant::now();
    let mut task = None;
    let mut file = open()?;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((returned, Errno::EWOULDBLOCK)) => file = returned,
            Err((_, error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
        if start.elapsed() > LOCK_DEADLINE {
            bail!(
                "waited {} minutes for another run that builds the {name} (lock {})",
                LOCK_DEADLINE.as_secs() / 60,
                path.display()
            );
        }
        task.get_or_insert_with(|| progress.task(name))
            .say("waiting for another run that builds it");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn remove_if_there(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// Removes what killed builds left: nobody holds the lock of such a one.
fn remove_abandoned(shelf: &Path) -> Result<()> {
    for entry in fs::read_dir(shelf).with_context(|| format!("cannot read {}", shelf.display()))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "partial")
        {
            let lock = path.with_extension("lock");
            let file =
                File::create(&lock).with_context(|| format!("cannot create {}", lock.display()))?;
            if let Ok(_lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                remove_if_there(&path)?;
            }
        }
    }
    Ok(())
}

/// Makes room. What cannot be removed stays: the artefact just made is what matters.
fn remove_unused(shelf: &Path) {
    for entry in fs::read_dir(shelf).into_iter().flatten().flatten() {
        let age = entry.metadata().and_then(|meta| meta.modified());
        let age = age
            .ok()
            .and_then(|then| then.elapsed().ok())
            .unwrap_or_default();
        if age > UNUSED {
            let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn key(text: &str) -> Key {
        Inputs::new("test").text("input", text).key()
    }

    #[test]
    fn keys_tell_inputs_apart() {
        assert_eq!(key("a"), key("a"));
        assert_ne!(key("a"), key("b"));
        let split =
            |first: &str, second: &str| Inputs::new("t").text("", first).text("", second).key();
        assert_ne!(split("ab", "c"), split("a", "bc"));
        assert_eq!(key("a").as_str().len(), 16);
    }

    #[test]
    fn a_tree_is_keyed_by_names_and_contents() {
        let dir = tempfile::tempdir().unwrap();
        let tree = || Inputs::new("t").tree(dir.path()).unwrap().key();
        let empty = tree();
        fs::create_dir_all(dir.path().join("target")).unwrap();
        fs::write(dir.path().join("target/junk"), "x").unwrap();
        fs::write(dir.path().join(".hidden"), "x").unwrap();
        assert_eq!(tree(), empty);
        fs::write(dir.path().join("a"), "x").unwrap();
        let named_a = tree();
        assert_ne!(named_a, empty);
        fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
        assert_ne!(tree(), named_a);
    }

    #[test]
    fn a_failed_build_leaves_its_log_and_nothing_else() {
        use std::io::Write;
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let error = cache
            .artefact("thing", &key("a"), &Progress::hidden(), |shop| {
                fs::write(shop.dir.join("half"), "x")?;
                writeln!(shop.log, "the reason")?;
                bail!("step failed")
            })
            .unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("the reason") && text.contains(".log") && text.contains("step failed"),
            "{text}"
        );
        assert!(cache.find("thing", &key("a")).is_none());
        assert!(!dir
            .path()
            .join("thing")
            .join(format!("{}.partial", key("a").as_str()))
            .exists());
    }

    #[test]
    fn what_a_killed_build_left_is_not_taken_for_finished() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let partial = dir
            .path()
            .join("thing")
            .join(format!("{}.partial", key("a").as_str()));
        fs::create_dir_all(&partial).unwrap();
        fs::write(partial.join("half"), "x").unwrap();
        let path = cache
            .artefact("thing", &key("a"), &Progress::hidden(), |shop| {
                Ok(fs::write(shop.dir.join("whole"), "x")?)
            })
            .unwrap();
        assert!(path.join("whole").exists() && !path.join("half").exists() && !partial.exists());
    }

    #[test]
    fn what_nobody_asks_for_makes_room() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let make = |text| {
            cache
                .artefact("thing", &key(text), &Progress::hidden(), |_| Ok(()))
                .unwrap()
        };
        let age = |path: &Path| {
            File::open(path)
                .unwrap()
                .set_modified(SystemTime::now() - 2 * UNUSED)
                .unwrap();
        };
        let [old, asked_for] = ["old", "asked for"].map(make);
        age(&old);
        age(&asked_for);
        make("asked for");
        let new = make("new");
        assert!(!old.exists() && asked_for.exists() && new.exists());
    }

    #[test]
    fn who_forbids_builds_gets_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut cache = Cache::at(dir.path()).unwrap();
        let get = |cache: &Cache, text| {
            cache.artefact("thing", &key(text), &Progress::hidden(), |_| Ok(()))
        };
        get(&cache, "a").unwrap();
        cache.forbid_builds();
        get(&cache, "a").unwrap();
        let error = get(&cache, "b").unwrap_err().to_string();
        assert_eq!(error, "the thing is not built yet");
        assert_eq!(fs::read_dir(dir.path().join("thing")).unwrap().count(), 3);
    }

    #[test]
    fn two_runs_beside_each_other_build_once() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let builds = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let path = cache
                        .artefact("thing", &key("a"), &Progress::hidden(), |shop| {
                            builds.fetch_add(1, Ordering::SeqCst);
                            std::thread::sleep(Duration::from_millis(50));
                            Ok(fs::write(shop.dir.join("whole"), "x")?)
                        })
                        .unwrap();
                    assert!(path.join("whole").exists());
                });
            }
        });
        assert_eq!(builds.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn nobody_waits_for_another_artefact_or_takes_it_for_abandoned() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let make = |text: &str, build: &dyn Fn(&Path)| {
            cache.artefact("thing", &key(text), &Progress::hidden(), |shop| {
                build(shop.dir);
                Ok(fs::write(shop.dir.join("whole"), "x")?)
            })
        };
        let path = make("a", &|half| {
            make("b", &|_| {}).unwrap();
            assert!(half.exists());
        });
        assert!(path.unwrap().join("whole").exists());
    }
}
