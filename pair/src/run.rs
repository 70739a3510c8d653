// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `runs/<id>/`: the evidence of a run, and how other commands find a live one.

use crate::modules::Placement;
use crate::options::Iommu;
use crate::side::Sides;
use crate::status::Failure;
use crate::trust;
use crate::windows::Serving;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::env;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// The environment variable that names the run which `ep`, `rc`, `inspect` and `gdb` talk to.
pub const RUN_VARIABLE: &str = "SPIDER_PAIR_RUN";

/// The file in a socket directory that a live run holds locked.
const LOCK: &str = "lock";

/// `run.json`: what other commands must know of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The run's name: its directory's.
    pub id: String,
    /// The runner's process.
    pub pid: u32,
    /// The function on the command line.
    pub function: String,
    /// The directory of the sockets, which lives as long as the run.
    pub sockets: PathBuf,
    /// Each kernel with symbols, where there is one.
    pub vmlinux: Sides<Option<PathBuf>>,
    /// Each kernel's build directory, with gdb's scripts, where there is one.
    pub build_dir: Sides<Option<PathBuf>>,
    /// The device's program.
    pub device: PathBuf,
    /// The device's process, once it runs.
    pub device_pid: Option<i32>,
    /// Whose modules each guest has.
    #[serde(default)]
    pub modules: Sides<Placement>,
    /// How windows are served.
    pub windows: Serving,
    /// Whose DMA goes through an IOMMU.
    pub iommu: Iommu,
}

/// Paths of the sockets below a run's socket directory. Names are short: a Unix path has 108 bytes.
#[derive(Clone, Debug)]
pub struct Sockets(pub PathBuf);

impl Sockets {
    /// The device's control socket.
    pub fn control(&self) -> PathBuf {
        self.0.join("control.sock")
    }

    /// The device's face towards this side.
    pub fn face(&self, side: crate::Side) -> PathBuf {
        self.0.join(format!("{side}.sock"))
    }

    /// Where the library in each QEMU hears of windows.
    pub fn windows(&self) -> PathBuf {
        self.0.join(abi::windows::SOCKET)
    }

    /// The runner's own monitor of this side's QEMU.
    pub fn qmp(&self, side: crate::Side) -> PathBuf {
        self.0.join(format!("{side}-qmp.sock"))
    }

    /// A second monitor (QMP) of this side's QEMU, for `pair gdb` and for people.
    pub fn monitor(&self, side: crate::Side) -> PathBuf {
        self.0.join(format!("{side}-mon.sock"))
    }

    /// The gdb stub of this side's QEMU.
    pub fn gdb(&self, side: crate::Side) -> PathBuf {
        self.0.join(format!("{side}-gdb.sock"))
    }

    /// QEMU's end of the port to this side's agent.
    pub fn port(&self, side: crate::Side) -> PathBuf {
        self.0.join(format!("{side}-port.sock"))
    }

    /// Where the runner takes commands for this side's agent.
    pub fn agent(&self, side: crate::Side) -> PathBuf {
        self.0.join(format!("{side}-agent.sock"))
    }

    /// The directory of the commands `ep`, `rc` and `pair`.
    pub fn bin(&self) -> PathBuf {
        self.0.join("bin")
    }
}

/// A run of this process: its directory, and its sockets' directory, which is removed when this is dropped.
pub struct Run {
    /// `runs/<id>/`.
    pub dir: PathBuf,
    /// The sockets.
    pub sockets: Sockets,
    // Held as long as the run lives: whoever can take it may sweep the directory away.
    _lock: Flock<File>,
}

impl Run {
    /// Makes the run's directories below `runs`, and points `runs/latest` at it.
    ///
    /// # Errors
    /// 125 when a directory cannot be made.
    pub fn create(runs: &Path) -> Result<Run, Failure> {
        let run = Self::aside(runs)?;
        point_latest(run.dir.parent().unwrap_or(runs), &run.dir);
        Ok(run)
    }

    /// As [`Run::create`], but `runs/latest` stays where it is.
    ///
    /// # Errors
    /// As [`Run::create`]'s.
    pub fn aside(runs: &Path) -> Result<Run, Failure> {
        let cannot = |what: &Path| {
            let what = what.display().to_string();
            move |error: io::Error| Failure::harness(format!("cannot make {what}")).caused_by(error)
        };
        fs::create_dir_all(runs).map_err(cannot(runs))?;
        let runs = runs.canonicalize().map_err(cannot(runs))?;
        let dir = new_dir(&runs, &stamp()).map_err(cannot(&runs))?;
        let parent = sockets_parent();
        let sweepable = trust::private_dir(&parent).map_err(|error| {
            let message = format!("{} cannot hold this run's sockets", parent.display());
            Failure::harness(message)
                .caused_by(error)
                .with_hint("remove it, or let XDG_RUNTIME_DIR name a directory of your own")
        })?;
        sweep(&sweepable);
        let sockets = tempfile::Builder::new()
            .prefix("r")
            .rand_bytes(6)
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(&parent)
            .map_err(cannot(&parent))?
            .keep();
        let lock = File::create(sockets.join(LOCK))
            .and_then(|_| lock(&trust::open_dir(&sockets)?, FlockArg::LockExclusiveNonblock))
            .and_then(|lock| lock.ok_or_else(|| io::Error::other("another run has taken it")))
            .map_err(cannot(&sockets))?;
        let sockets = Sockets(sockets);
        LIVE.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sockets.0.clone());
        commands(&sockets.bin()).map_err(cannot(&sockets.bin()))?;
        Ok(Run {
            dir,
            sockets,
            _lock: lock,
        })
    }

    /// The run's name.
    pub fn id(&self) -> String {
        self.dir
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// Writes `run.json`, all of it or nothing.
    ///
    /// # Errors
    /// 125 when it cannot be written.
    pub fn record(&self, record: &Record) -> Result<(), Failure> {
        self.write_json("run.json", record)
    }

    /// Writes a JSON file of the run, all of it or nothing.
    ///
    /// # Errors
    /// 125 when it cannot be written.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), Failure> {
        let path = self.dir.join(name);
        let write = || -> io::Result<()> {
            let file = tempfile::NamedTempFile::new_in(&self.dir)?;
            serde_json::to_writer_pretty(&file, value)?;
            fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644))?;
            file.persist(&path)?;
            Ok(())
        };
        write().map_err(|error| {
            Failure::harness(format!("cannot write {}", path.display())).caused_by(error)
        })
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
        live.retain(|dir| *dir != self.sockets.0);
        if let Err(error) = fs::remove_dir_all(&self.sockets.0) {
            log::warn!("{} is left behind: {error}", self.sockets.0.display());
        }
    }
}

/// The sockets' directories of this process's runs.
static LIVE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes the sockets of every run, when this process is about to end without dropping them.
pub fn abandon_all() {
    let live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    for dir in live.iter() {
        let _ = fs::remove_dir_all(dir);
    }
}

/// Where runs are kept: in the checkout that the current directory is in, else below the current directory.
pub fn default_runs() -> PathBuf {
    let here = env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let checkout = here
        .ancestors()
        .find(|dir| dir.join("pair/functions").is_dir());
    checkout.unwrap_or(&here).join("runs")
}

/// Finds the run that a command means: the one named, else the one that is live.
///
/// # Errors
/// 125 when there is none, when it has ended, or when several are live.
pub fn find(runs: &Path) -> Result<(PathBuf, Record), Failure> {
    if let Some(named) = env::var_os(RUN_VARIABLE).filter(|named| !named.is_empty()) {
        let dir = PathBuf::from(named);
        let record = load(&dir)?;
        if !is_live(&record) {
            let message = format!("the run {} has ended", dir.display());
            return Err(Failure::harness(message).with_hint(format!(
                "{RUN_VARIABLE} names it; start another with `pair run`"
            )));
        }
        return Ok((dir, record));
    }
    let mut live: Vec<(PathBuf, Record)> = fs::read_dir(runs)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| !path.is_symlink())
        .filter_map(|dir| Some((dir.clone(), load(&dir).ok()?)))
        .filter(|(_, record)| is_live(record))
        .collect();
    match live.len() {
        0 => Err(
            Failure::harness(format!("no pair is running (looked in {})", runs.display()))
                .with_hint("start one with `pair run`"),
        ),
        1 => Ok(live.remove(0)),
        _ => {
            let list: Vec<_> = live
                .iter()
                .map(|(dir, _)| dir.display().to_string())
                .collect();
            Err(Failure::harness("several pairs are running")
                .with_tail(list)
                .with_hint(format!(
                    "say which: {RUN_VARIABLE}={} …",
                    live[0].0.display()
                )))
        }
    }
}

/// Reads a run's record. It names sockets, programs and scripts: nobody else may have written it.
fn load(dir: &Path) -> Result<Record, Failure> {
    let read = || -> io::Result<Record> {
        let dir = trust::own_dir(&dir.canonicalize()?)?;
        let file = trust::own_file(&trust::by_descriptor(&dir).join("run.json"))?;
        Ok(serde_json::from_reader(io::BufReader::new(file))?)
    };
    read().map_err(|error| {
        Failure::harness(format!("{} is no run of yours", dir.display())).caused_by(error)
    })
}

fn is_live(record: &Record) -> bool {
    // Free to be locked, or gone: the runner has ended, however it did.
    // Shared, so that two who look do not take each other for the runner.
    let dir = trust::private_dir_there(&record.sockets);
    dir.is_ok_and(|dir| matches!(lock(&dir, FlockArg::LockSharedNonblock), Ok(None)))
}

/// Locks a socket directory by its file `lock`, which is there; None when a live run has it.
fn lock(dir: &File, how: FlockArg) -> io::Result<Option<Flock<File>>> {
    let file = File::options()
        .write(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(trust::by_descriptor(dir).join(LOCK))?;
    match Flock::lock(file, how) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error.into()),
    }
}

/// Below XDG_RUNTIME_DIR where there is one, else below /tmp, in a directory of the user's own.
fn sockets_parent() -> PathBuf {
    // `r` and 6 letters, `/control.sock`: 30 bytes of the 107 are enough for what comes below.
    match env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        // Not what `su` or `sudo -E` leave of another user's environment.
        Some(dir) if dir.as_os_str().len() < 60 && trust::own_dir(&dir).is_ok() => {
            dir.join("spider-pair")
        }
        _ => PathBuf::from(format!("/tmp/spider-pair-{}", nix::unistd::getuid())),
    }
}

/// Removes the socket directories of runs that were killed, below this directory and nowhere else.
fn sweep(parent: &File) {
    let parent = trust::by_descriptor(parent);
    for entry in fs::read_dir(&parent).into_iter().flatten().flatten() {
        // One without a lock file may be a run that is just beginning.
        let path = parent.join(entry.file_name());
        let free = trust::open_dir(&path)
            .and_then(|dir| lock(&dir, FlockArg::LockExclusiveNonblock))
            .is_ok_and(|lock| lock.is_some());
        if free {
            log::debug!(
                "removing {:?}, left by a run that was killed",
                entry.file_name()
            );
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// `<stamp>`, or `<stamp>-2` and so on when runs begin in the same second.
pub(crate) fn new_dir(runs: &Path, stamp: &str) -> io::Result<PathBuf> {
    for n in 1..1000 {
        let name = if n == 1 {
            stamp.to_owned()
        } else {
            format!("{stamp}-{n}")
        };
        match fs::DirBuilder::new().mode(0o755).create(runs.join(&name)) {
            Ok(()) => return Ok(runs.join(name)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many runs in one second"))
}

/// Today and now (UTC) as `20261121-124317`.
pub(crate) fn stamp() -> String {
    let text = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    text.chars()
        .filter(|c| !"-:Z".contains(*c))
        .map(|c| if c == 'T' { '-' } else { c })
        .collect()
}

/// Makes the commands that are put on a host command's PATH: this program by the names it knows itself by.
fn commands(bin: &Path) -> io::Result<()> {
    fs::create_dir(bin)?;
    let program = env::current_exe()?;
    for name in ["ep", "rc", "pair"] {
        std::os::unix::fs::symlink(&program, bin.join(name))?;
    }
    Ok(())
}

fn point_latest(runs: &Path, dir: &Path) {
    let point = || -> io::Result<()> {
        let name = dir.file_name().unwrap_or_default();
        let new = runs.join(format!(".latest-{}", std::process::id()));
        let _ = fs::remove_file(&new);
        std::os::unix::fs::symlink(name, &new)?;
        fs::rename(&new, runs.join("latest"))
    };
    if let Err(error) = point() {
        log::warn!("{}: {error}", runs.join("latest").display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;

    fn record(run: &Run) -> Record {
        Record {
            id: run.id(),
            pid: std::process::id(),
            function: "none".into(),
            sockets: run.sockets.0.clone(),
            vmlinux: Sides::default(),
            build_dir: Sides::default(),
            device: PathBuf::new(),
            device_pid: None,
            modules: Sides::default(),
            windows: Serving::Trap { reason: None },
            iommu: Iommu::None,
        }
    }

    #[test]
    fn a_run_is_live_until_it_ends_and_leaves_its_evidence() {
        let runs = tempfile::tempdir().unwrap();
        assert_eq!(find(runs.path()).unwrap_err().exit.code(), 125);
        let run = Run::create(runs.path()).unwrap();
        run.record(&record(&run)).unwrap();
        let (dir, found) = find(runs.path()).unwrap();
        assert_eq!((&dir, &found.id), (&run.dir, &run.id()));
        assert!(runs.path().join("latest/run.json").exists());
        let second = Run::create(runs.path()).unwrap();
        second.record(&record(&second)).unwrap();
        assert!(find(runs.path()).unwrap_err().message.contains("several"));
        let sockets = run.sockets.0.clone();
        drop(run);
        assert!(!sockets.exists());
        assert!(dir.join("run.json").exists());
        assert_eq!(find(runs.path()).unwrap().1.id, second.id());
    }

    #[test]
    fn a_killed_runs_sockets_are_swept() {
        let parent = tempfile::tempdir().unwrap();
        let [dead, live, beginning] =
            ["rdead", "rlive", "rbeginning"].map(|name| parent.path().join(name));
        for dir in [&dead, &live, &beginning] {
            fs::create_dir(dir).unwrap();
        }
        for dir in [&dead, &live] {
            File::create(dir.join(LOCK)).unwrap();
        }
        let held = lock(&File::open(&live).unwrap(), FlockArg::LockExclusiveNonblock).unwrap();
        sweep(&File::open(parent.path()).unwrap());
        assert!(!dead.exists() && live.exists() && beginning.exists());
        drop(held);
    }

    /// A stranger's link in the directory, or in its place, leads to what a run was never asked to remove.
    #[test]
    fn nothing_is_swept_through_a_link() {
        let place = tempfile::tempdir().unwrap();
        let [precious, parent, link] =
            ["precious", "parent", "link"].map(|name| place.path().join(name));
        for dir in [&precious, &parent] {
            fs::create_dir(dir).unwrap();
        }
        fs::write(precious.join(LOCK), "").unwrap();
        std::os::unix::fs::symlink(&precious, parent.join("r")).unwrap();
        sweep(&File::open(&parent).unwrap());
        assert!(precious.join(LOCK).exists());
        std::os::unix::fs::symlink(place.path(), &link).unwrap();
        assert!(trust::private_dir(&link).is_err());
    }

    /// `run.json` names sockets, programs and gdb's scripts: another user's is not followed.
    #[test]
    fn another_users_run_is_not_taken_for_ones_own() {
        let runs = tempfile::tempdir().unwrap();
        let run = Run::create(runs.path()).unwrap();
        run.record(&record(&run)).unwrap();
        let json = run.dir.join("run.json");
        for (path, mode, as_it_was) in [(&json, 0o666, 0o644), (&run.dir, 0o777, 0o755)] {
            let set = |mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            set(mode);
            assert!(find(runs.path()).is_err());
            let refused = load(&run.dir).unwrap_err().report();
            assert!(refused.contains("open to other users"), "{refused}");
            set(as_it_was);
            assert!(find(runs.path()).is_ok());
        }
        let kept = run.dir.join("kept.json");
        fs::rename(&json, &kept).unwrap();
        std::os::unix::fs::symlink(&kept, &json).unwrap();
        assert!(find(runs.path()).is_err());
    }

    #[test]
    fn every_socket_fits_a_unix_address() {
        let sockets = Sockets(PathBuf::from("x".repeat(60)).join("spider-pair/r123456"));
        for side in Side::BOTH {
            for path in [
                sockets.qmp(side),
                sockets.monitor(side),
                sockets.gdb(side),
                sockets.port(side),
                sockets.agent(side),
                sockets.face(side),
            ] {
                assert!(path.as_os_str().len() <= 107, "{}", path.display());
            }
        }
    }

    #[test]
    fn stamps_sort_as_they_come() {
        let stamp = stamp();
        assert_eq!((stamp.len(), stamp.as_bytes()[8]), (15, b'-'), "{stamp}");
    }
}
