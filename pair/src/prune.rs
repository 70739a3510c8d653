// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Old runs go: `runs/` would fill the disk in weeks of daily use.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The newest runs stay, however old they are.
const KEPT: usize = 30;
/// And so do runs younger than this.
const AGE: Duration = Duration::from_secs(14 * 24 * 3600);

/// Removes what is neither among the newest runs nor young, by name and time of `runs/<stamp>`, `<stamp>-test`. Anything
/// else in the directory is not ours: a run that is to stay is renamed.
pub fn old_runs(runs: &Path) {
    remove_before(runs, SystemTime::now() - AGE);
}

fn remove_before(runs: &Path, limit: SystemTime) {
    let entries = fs::read_dir(runs).into_iter().flatten().flatten();
    let mut dirs: Vec<_> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter(|entry| is_stamp(&entry.file_name().to_string_lossy()))
        .collect();
    dirs.sort_by_key(|entry| std::cmp::Reverse(entry.file_name()));
    for entry in dirs.into_iter().skip(KEPT) {
        // A run changes its directory as long as it lives.
        let changed = entry.metadata().and_then(|about| about.modified());
        if changed.is_ok_and(|changed| changed < limit) {
            log::debug!("removing {}", entry.path().display());
            if let Err(error) = fs::remove_dir_all(entry.path()) {
                log::warn!("{}: {error}", entry.path().display());
            }
        }
    }
}

/// `20261121-124317`, with `-test` and a number perhaps.
fn is_stamp(name: &str) -> bool {
    let (stamp, rest) = name.split_at_checked(15).unwrap_or(("", ""));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let rest = rest.strip_prefix("-test").unwrap_or(rest);
    let number = rest.is_empty() || rest.strip_prefix('-').is_some_and(digits);
    stamp
        .split_once('-')
        .is_some_and(|(day, time)| day.len() == 8 && time.len() == 6 && digits(day) && digits(time))
        && number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_and_the_young_stay_and_so_does_what_is_no_run() {
        let runs = tempfile::tempdir().unwrap();
        let make = |name: &str| fs::create_dir(runs.path().join(name)).unwrap();
        for second in 0..KEPT + 3 {
            make(&format!("20261121-1243{second:02}"));
        }
        for name in ["20261121-1243", "kept", "20261121-124300-good"] {
            make(name);
        }
        make("20261121-124300-test-2");
        let count = || fs::read_dir(runs.path()).unwrap().count();
        let before = count();
        old_runs(runs.path());
        assert_eq!(count(), before, "all are young");
        remove_before(runs.path(), SystemTime::now() + Duration::from_secs(60));
        assert_eq!(count(), KEPT + 3);
        for name in ["kept", "20261121-124332", "20261121-124300-good"] {
            assert!(runs.path().join(name).exists(), "{name}");
        }
        assert!(!runs.path().join("20261121-124300").exists());
    }
}
