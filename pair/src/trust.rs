// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whose files these are: a directory in /tmp, a `runs/` in the current directory or a script beside a kernel may be
//! another user's, who must not choose what this one removes, connects to or runs.

use nix::sys::stat::{fchmod, fstat, Mode};
use nix::unistd::geteuid;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Opens a directory that is for this user alone, made if it is not there.
///
/// # Errors
/// It is a link or no directory, another user's, or others could write to it; or it cannot be made.
pub fn private_dir(path: &Path) -> io::Result<File> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let dir = open_dir(path)?;
    check(&dir, 0o022)?;
    // Earlier versions left it readable to all.
    fchmod(&dir, Mode::S_IRWXU)?;
    Ok(dir)
}

/// As [`private_dir`], but nothing is made or changed.
///
/// # Errors
/// As [`private_dir`]'s, or it is open to others.
pub fn private_dir_there(path: &Path) -> io::Result<File> {
    let dir = open_dir(path)?;
    check(&dir, 0o077)?;
    Ok(dir)
}

/// Opens a directory that nobody but this user can have put things into.
///
/// # Errors
/// It is a link or no directory, another user's, or others can write to it.
pub fn own_dir(path: &Path) -> io::Result<File> {
    let dir = open_dir(path)?;
    check(&dir, 0o022)?;
    Ok(dir)
}

/// Opens a file for reading that nobody but this user can have written.
///
/// # Errors
/// It is a link, another user's, or others can write to it.
pub fn own_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(told)?;
    check(&file, 0o022)?;
    Ok(file)
}

/// Whether only root or this user can have written the file, links followed: whether this user may run it unasked.
pub fn may_run(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let ours = |uid: u32| uid == 0 || uid == geteuid().as_raw();
    path.canonicalize()
        .and_then(fs::metadata)
        .is_ok_and(|meta| ours(meta.uid()) && meta.mode() & 0o022 == 0)
}

/// A path to this very file, whatever its name has come to mean since it was opened.
pub fn by_descriptor(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Opens a directory, unless a link stands in its place.
pub fn open_dir(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
        .open(path)
        .map_err(told)
}

/// What the kernel says of a link that it was told not to follow, in words.
fn told(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ELOOP | libc::ENOTDIR) => {
            io::Error::other("a link, or something else, stands in its place")
        }
        _ => error,
    }
}

fn check(file: impl AsFd, forbidden: u32) -> io::Result<()> {
    let meta = fstat(file)?;
    let (owner, own) = (meta.st_uid, geteuid().as_raw());
    if owner != own {
        return Err(io::Error::other(format!(
            "it belongs to user {owner}, and this is user {own}"
        )));
    }
    let mode = Mode::from_bits_truncate(meta.st_mode).bits();
    if mode & forbidden != 0 {
        return Err(io::Error::other(format!(
            "it is open to other users (mode {mode:03o})"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{symlink, PermissionsExt};

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_private_directory_is_made_so_and_nothing_else_is_taken_for_one() {
        let place = tempfile::tempdir().unwrap();
        let made = place.path().join("made");
        private_dir(&made).unwrap();
        assert_eq!(made.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        private_dir(&made).unwrap();

        let link = place.path().join("link");
        symlink(&made, &link).unwrap();
        assert!(private_dir(&link).unwrap_err().to_string().contains("link"));
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(private_dir(&file).is_err());
        set_mode(&made, 0o755);
        assert!(private_dir_there(&made).is_err());
        private_dir(&made).unwrap();
        private_dir_there(&made).unwrap();
        set_mode(&made, 0o777);
        let refused = private_dir(&made).unwrap_err().to_string();
        assert!(refused.contains("777"), "{refused}");
    }

    #[test]
    fn what_another_user_has_or_writes_to_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        set_mode(&file, 0o644);
        assert!(own_file(&file).is_ok() && may_run(&file));
        for mode in [0o664, 0o646] {
            set_mode(&file, mode);
            assert!(own_file(&file).is_err() && !may_run(&file), "{mode:o}");
        }
        // What belongs to somebody else: root's, or as root a stranger's.
        let others = match geteuid().is_root() {
            true => {
                nix::unistd::chown(place.path(), Some(12345.into()), None).unwrap();
                place.path().to_owned()
            }
            false => PathBuf::from("/usr"),
        };
        let refused = own_dir(&others).unwrap_err().to_string();
        assert!(refused.contains("belongs to user"), "{refused}");
        assert!(private_dir(&others).is_err());
    }
}
