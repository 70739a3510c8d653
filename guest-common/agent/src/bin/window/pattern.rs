// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a buffer holds, so that each word says whose it is and where it belongs.

/// What a read returns that nobody answers.
pub const NOBODY: u64 = u64::MAX;

/// The word number `index` of the buffer called `tag`.
pub const fn word(tag: u8, index: usize) -> u64 {
    // Never NOBODY, and never 0: what fresh memory holds.
    0x5a << 56 | (tag as u64) << 48 | (!index as u64 & 0xff_ffff) << 24 | index as u64 & 0xff_ffff
}

/// What a range read from a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The buffer, every word of it.
    Data,
    /// All ones.
    Nobody,
    /// Some words of the buffer, some all ones.
    Both,
    /// Something else: the first such word.
    Wrong {
        /// Its index.
        index: usize,
        /// What it was.
        value: u64,
    },
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Seen::Data => write!(f, "data"),
            Seen::Nobody => write!(f, "ones"),
            Seen::Both => write!(f, "both"),
            Seen::Wrong { index, value } => write!(f, "wrong: {value:#018x} at word {index:#x}"),
        }
    }
}

/// Judges words that should be those of one of the buffers `tags`, from its word `first` on.
pub fn judge(tags: &[u8], first: usize, words: impl Iterator<Item = u64>) -> Seen {
    let (mut data, mut nobody) = (false, false);
    for (index, value) in (first..).zip(words) {
        match value {
            NOBODY => nobody = true,
            value if tags.iter().any(|&tag| value == word(tag, index)) => data = true,
            value => return Seen::Wrong { index, value },
        }
    }
    match (data, nobody) {
        (true, true) => Seen::Both,
        (false, true) => Seen::Nobody,
        _ => Seen::Data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_judged_by_its_words() {
        let read = |holes: &[usize], wrong: Option<usize>| {
            judge(
                &[3],
                8,
                (8..16).map(|index| match index {
                    _ if Some(index) == wrong => word(4, index),
                    _ if holes.contains(&index) => NOBODY,
                    _ => word(3, index),
                }),
            )
        };
        assert_eq!(read(&[], None), Seen::Data);
        assert_eq!(read(&[9], None), Seen::Both);
        assert_eq!(read(&[8, 9, 10, 11, 12, 13, 14, 15], None), Seen::Nobody);
        let value = word(4, 12);
        assert_eq!(read(&[9], Some(12)), Seen::Wrong { index: 12, value });
    }
}
