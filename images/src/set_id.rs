// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Debian's packages bring set-id programs (su, mount, …). Below a cache they serve nobody, and others could run them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

/// The set-user-id and set-group-id bits (chmod(2)).
const SET_ID: u32 = 0o6000;

/// Takes the set-id bits from every file below `dir`.
///
/// # Errors
///
/// A directory cannot be read, or a file is another user's.
pub fn drop_below(dir: &Path) -> Result<()> {
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        let cannot = || format!("cannot look for set-id programs in {}", dir.display());
        for entry in fs::read_dir(&dir).with_context(cannot)? {
            let entry = entry.with_context(cannot)?;
            let meta = entry.metadata().with_context(cannot)?; // of a link itself
            let mode = meta.permissions().mode();
            if meta.is_dir() {
                pending.push(entry.path());
            } else if meta.is_file() && mode & SET_ID != 0 {
                let path = entry.path();
                fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o777))
                    .with_context(|| format!("cannot change the mode of {}", path.display()))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_program_keeps_a_set_id_bit() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("usr/bin");
        fs::create_dir_all(&below).unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o4755)).unwrap();
        std::os::unix::fs::symlink(outside.path(), below.join("link")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        for (name, before, after) in [
            ("su", 0o4755, 0o755),
            ("wall", 0o2711, 0o711),
            ("ls", 0o755, 0o755),
        ] {
            let path = below.join(name);
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(before)).unwrap();
            drop_below(dir.path()).unwrap();
            assert_eq!(mode(&path), after, "{name}");
        }
        assert_eq!(mode(outside.path()), 0o4755);
    }
}
