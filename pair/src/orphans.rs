// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a user's command has started: found below this process, wherever it put itself, and ended.
//!
//! A process that detaches itself (`setsid`, a second fork) leaves its group and its parent, but not the tree below
//! the next subreaper (prctl(2), `PR_SET_CHILD_SUBREAPER`), which is this process once it has called [`adopt`].

use crate::process;
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

/// How often it is looked whether all have ended.
const LOOK: Duration = Duration::from_millis(20);

/// How long a killed process may take to be gone.
const DEATH: Duration = Duration::from_secs(2);

/// From now on what loses its parent below this process becomes its child.
pub fn adopt() {
    if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
        log::warn!("what a command leaves behind may outlive the run: {error}");
    }
}

/// Ends every process below this one but the helpers that [`process::spawn`] started: SIGTERM, and after `grace`
/// SIGKILL, also for what is started meanwhile.
pub fn end(grace: Duration) {
    let (begun, mut told) = (Instant::now(), BTreeSet::new());
    while begun.elapsed() < grace {
        let left = below(&process::is_helper);
        if left.is_empty() {
            return;
        }
        for &pid in left.iter().filter(|&&pid| told.insert(pid)) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        std::thread::sleep(LOOK);
    }
    kill_them(&process::is_helper);
}

/// Kills every process below this one, the helpers too, at once.
pub fn kill_all() {
    kill_them(&|_| false);
}

fn kill_them(spared: &dyn Fn(i32) -> bool) {
    let begun = Instant::now();
    while begun.elapsed() < DEATH {
        let left = below(spared);
        if left.is_empty() {
            return;
        }
        for pid in left {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(LOOK);
    }
}

/// The live processes below this one, without its children that are `spared` and what is below those.
fn below(spared: &dyn Fn(i32) -> bool) -> Vec<i32> {
    let own = std::process::id() as i32;
    let mut children: BTreeMap<i32, Vec<(i32, bool)>> = BTreeMap::new();
    for (pid, parent, dead) in processes() {
        children.entry(parent).or_default().push((pid, dead));
    }
    let (mut found, mut parents) = (vec![], vec![own]);
    while let Some(parent) = parents.pop() {
        for &(pid, dead) in children.get(&parent).into_iter().flatten() {
            if parent == own && spared(pid) {
                continue;
            }
            if !dead {
                found.push(pid);
            }
            parents.push(pid);
        }
    }
    found
}

/// Each process with its parent, and whether it has ended (a zombie).
fn processes() -> impl Iterator<Item = (i32, i32, bool)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read(entry.path().join("stat")).ok()?;
        parse_stat(&stat).map(|(parent, dead)| (pid, parent, dead))
    })
}

/// Parent and whether it is a zombie, from /proc/PID/stat: the name before them may hold anything, `)` included.
fn parse_stat(stat: &[u8]) -> Option<(i32, bool)> {
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(&stat[end + 1..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let dead = matches!(fields.next()?, "Z" | "X");
    Some((fields.next()?.parse().ok()?, dead))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        assert_eq!(parse_stat(b"12 (a) R 1 (b)) S 34 12 12"), Some((34, false)));
        assert_eq!(parse_stat(b"12 (sh) Z 1 12 12"), Some((1, true)));
        assert_eq!(parse_stat(b"12 (sh"), None);
        assert_eq!(parse_stat(b""), None);
    }
}
