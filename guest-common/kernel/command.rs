// SPDX-License-Identifier: GPL-2.0

//! Commands of one line, as a test writes them to a file in debugfs.

use core::str::{self, SplitAsciiWhitespace};

use kernel::{prelude::*, uaccess::UserSliceReader};

/// Most bytes of a command.
pub(crate) const MAX: usize = 512;

/// The words of a command that are still to be looked at.
pub(crate) struct Command<'a>(SplitAsciiWhitespace<'a>);

impl<'a> Command<'a> {
    /// Reads a command; fails with `E2BIG` if it is longer than [`MAX`].
    pub(crate) fn read(reader: &mut UserSliceReader, text: &'a mut [u8; MAX]) -> Result<Self> {
        let text = text.get_mut(..reader.len()).ok_or(E2BIG)?;
        reader.read_slice(text)?;
        let text = str::from_utf8(text).map_err(|_| EINVAL)?;
        Ok(Self(text.split_ascii_whitespace()))
    }

    /// The next word.
    pub(crate) fn word(&mut self) -> Result<&'a str> {
        self.0.next().ok_or(EINVAL)
    }

    /// The next word, a number, decimal or with 0x before it.
    pub(crate) fn number<T: TryFrom<u64>>(&mut self) -> Result<T> {
        self.optional()?.ok_or(EINVAL)
    }

    /// The next word, a number, if there is one.
    pub(crate) fn optional<T: TryFrom<u64>>(&mut self) -> Result<Option<T>> {
        let Some(word) = self.0.next() else {
            return Ok(None);
        };
        let number = match word.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => word.parse(),
        };
        let number = number.map_err(|_| EINVAL)?;
        Ok(Some(T::try_from(number).map_err(|_| ERANGE)?))
    }

    /// There is no more.
    pub(crate) fn end(mut self) -> Result {
        match self.0.next() {
            Some(_) => Err(EINVAL),
            None => Ok(()),
        }
    }
}
