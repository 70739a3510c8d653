// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Copies from one guest's RAM into the other's, with nothing in between.

use std::sync::RwLockReadGuard;

use super::{lookup, shared, DmaTable, Map, MemoryError};

/// Whose memory a copy could not access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that is read.
    Source,
    /// The one that is written.
    Target,
}

/// Where a copy ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyError {
    /// Bytes that were copied before.
    pub moved: u64,
    /// Whose memory ended it.
    pub side: Side,
    /// Why.
    pub error: MemoryError,
}

/// Two tables held still, for as many copies as belong together. It keeps maps from being taken away, so
/// it should live for some 100 us at most.
pub struct Copier<'a> {
    source: RwLockReadGuard<'a, Vec<Map>>,
    /// `None` if it is the source's.
    target: Option<RwLockReadGuard<'a, Vec<Map>>>,
    /// Where the last copy found its maps: the next one probably does, too.
    source_hint: usize,
    target_hint: usize,
}

impl<'a> Copier<'a> {
    /// Copies from the RAM of `source` to that of `target`.
    pub fn new(source: &'a DmaTable, target: &'a DmaTable) -> Self {
        Self {
            source: source.read_maps(),
            // A lock that a writer waits for cannot be taken twice.
            target: (!std::ptr::eq(source, target)).then(|| target.read_maps()),
            source_hint: 0,
            target_hint: 0,
        }
    }

    /// Copies `len` bytes, in ascending order of maps. Ranges may span maps that adjoin, and lie at any
    /// offset to each other. Naturally aligned words of up to 8 bytes do not tear.
    ///
    /// # Errors
    /// Part of either range cannot be accessed; what lies before it has been copied.
    pub fn copy(&mut self, from: u64, to: u64, len: u64) -> Result<(), CopyError> {
        let mut moved = 0;
        while moved < len {
            let failed = |side| move |error| CopyError { moved, side, error };
            let (from, to) = (from.wrapping_add(moved), to.wrapping_add(moved));
            let source = &self.source;
            let (source, source_offset) =
                find(source, &mut self.source_hint, from).map_err(failed(Side::Source))?;
            let target = self.target.as_ref().unwrap_or(&self.source);
            let (target, target_offset) =
                find(target, &mut self.target_hint, to).map_err(failed(Side::Target))?;
            let step = (len - moved)
                .min(source.size - source_offset)
                .min(target.size - target_offset);
            let from = shared(source, source.readable, from).map_err(failed(Side::Source))?;
            let to = shared(target, target.writable, to).map_err(failed(Side::Target))?;
            from.copy(
                source_offset as usize,
                to,
                target_offset as usize,
                step as usize,
            );
            moved += step;
        }
        Ok(())
    }
}

/// Like [`lookup`], but looks at the map of the last time first.
fn find<'a>(
    maps: &'a [Map],
    hint: &mut usize,
    address: u64,
) -> Result<(&'a Map, u64), MemoryError> {
    if let Some(map) = maps.get(*hint) {
        if let Some(offset) = address.checked_sub(map.address) {
            if offset < map.size {
                return Ok((map, offset));
            }
        }
    }
    *hint = maps.partition_point(|map| map.end() <= address);
    lookup(maps, address)
}

#[cfg(test)]
mod tests {
    use super::super::tests::table;
    use super::*;

    fn filled(maps: &[(u64, u64)]) -> DmaTable {
        let table = table(maps);
        for &(address, size) in maps {
            let bytes: Vec<u8> = (0..size).map(|at| ((address + at) % 251) as u8).collect();
            table.write(address, &bytes).unwrap();
        }
        table
    }

    #[test]
    fn any_range_copies_just_that_across_maps_that_adjoin() {
        let source = filled(&[(0x1000, 0x1000), (0x2000, 0x2000)]);
        for (from, to, len) in [
            (0x1000, 0x8000, 0x3000),
            (0x1fff, 0x8003, 0x1801),
            (0x2ffc, 0x9ffd, 7),
            (0x1000, 0x8000, 0),
            (0x3fff, 0xafff, 1),
        ] {
            let target = table(&[(0x8000, 0x2000), (0xa000, 0x1000)]);
            Copier::new(&source, &target).copy(from, to, len).unwrap();
            let mut all = vec![0; 0x3000];
            target.read(0x8000, &mut all).unwrap();
            for (at, byte) in (0x8000..).zip(all) {
                let wanted = match (at as u64).checked_sub(to) {
                    Some(offset) if offset < len => ((from + offset) % 251) as u8,
                    _ => 0,
                };
                assert_eq!(byte, wanted, "{from:#x} to {to:#x}, {len:#x}: at {at:#x}");
            }
        }
    }

    #[test]
    fn the_first_byte_that_cannot_be_accessed_ends_it() {
        let source = filled(&[(0x1000, 0x1000)]);
        let target = table(&[(0x8000, 0x3000)]);
        let mut copier = Copier::new(&source, &target);
        assert_eq!(
            copier.copy(0x1f00, 0x8000, 0x200),
            Err(CopyError {
                moved: 0x100,
                side: Side::Source,
                error: MemoryError::Unmapped { address: 0x2000 },
            })
        );
        assert_eq!(
            copier.copy(0x1000, 0xaff0, 0x100),
            Err(CopyError {
                moved: 0x10,
                side: Side::Target,
                error: MemoryError::Unmapped { address: 0xb000 },
            })
        );
        assert_eq!(
            copier.copy(u64::MAX, 0x8000, 1).unwrap_err().side,
            Side::Source
        );
    }

    #[test]
    fn a_table_can_be_copied_within_even_where_ranges_overlap() {
        let table = filled(&[(0x1000, 0x1000)]);
        Copier::new(&table, &table)
            .copy(0x1000, 0x1001, 0x800)
            .unwrap();
        let mut moved = [0; 0x800];
        table.read(0x1001, &mut moved).unwrap();
        let wanted: Vec<u8> = (0x1000..0x1800u64).map(|at| (at % 251) as u8).collect();
        assert_eq!(moved[..], wanted);
    }
}
