// SPDX-License-Identifier: Apache-2.0 OR MIT

//! An archive as the kernel takes it for an initramfs: cpio in the "new ASCII" format, not
//! compressed. See the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.

use std::io::{self, Read, Write};

use cpio::newc::{Builder, ModeFileType};

/// What an entry is, apart from its name and its permissions.
#[derive(Debug)]
pub enum Kind<R> {
    /// A directory.
    Directory,
    /// A file of so many bytes, read from there.
    File(u64, R),
    /// A symbolic link to there.
    Symlink(String),
    /// A character device with these numbers.
    CharacterDevice(u32, u32),
}

/// Writes an archive entry by entry. Everything in it belongs to root.
#[derive(Debug)]
pub struct Archive<W> {
    out: W,
    entries: u32,
}

impl<W: Write> Archive<W> {
    /// An archive that goes to `out`; many small writes.
    pub fn new(out: W) -> Self {
        Archive { out, entries: 0 }
    }

    /// Adds one entry. Its directory has to be there already.
    ///
    /// # Errors
    /// `out` or the source fails, the source has not the promised length, or it is too long (4 GiB).
    pub fn add<R: Read>(&mut self, name: &str, permissions: u32, kind: Kind<R>) -> io::Result<()> {
        self.entries += 1;
        let entry = Builder::new(name)
            .ino(self.entries)
            .mode(permissions & 0o7777);
        match kind {
            Kind::Directory => {
                let entry = entry.nlink(2).set_mode_file_type(ModeFileType::Directory);
                entry.write(&mut self.out, 0).finish()?;
            }
            Kind::CharacterDevice(major, minor) => {
                let entry = entry.rdev_major(major).rdev_minor(minor);
                let entry = entry.set_mode_file_type(ModeFileType::Char);
                entry.write(&mut self.out, 0).finish()?;
            }
            Kind::Symlink(target) => {
                let entry = entry.set_mode_file_type(ModeFileType::Symlink);
                let mut writer = entry.write(&mut self.out, target.len() as u32);
                writer.write_all(target.as_bytes())?;
                writer.finish()?;
            }
            Kind::File(length, source) => {
                let size = u32::try_from(length)
                    .map_err(|_| io::Error::other("4 GiB and more do not fit in a cpio archive"))?;
                let entry = entry.set_mode_file_type(ModeFileType::Regular);
                let mut writer = entry.write(&mut self.out, size);
                let copied = io::copy(&mut source.take(length), &mut writer)?;
                if copied != length {
                    return Err(io::Error::other("file became shorter while it was read"));
                }
                writer.finish()?;
            }
        }
        Ok(())
    }

    /// Ends the archive and gives back what it was written to.
    ///
    /// # Errors
    /// `out` fails.
    pub fn finish(self) -> io::Result<W> {
        cpio::newc::trailer(self.out)
    }
}
