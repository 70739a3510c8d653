// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A file of registers described by a table: what each is called, what it holds after reset, and
//! who may change which of its bits.

use super::access::Write;

/// One 32-bit register. Bits that no mask names are read-only.
#[derive(Clone, Copy, Debug)]
pub struct Register {
    /// Its name in the specification or the driver.
    pub name: &'static str,
    /// Its offset, a multiple of 4.
    pub offset: u32,
    /// Its value after a power-on reset.
    pub reset: u32,
    /// Bits that both sides can write.
    pub writable: u32,
    /// Bits that either side clears by writing 1.
    pub clear_by_one: u32,
    /// Bits that only the endpoint's own software can write, under DBI_RO_WR_EN.
    pub programmable: u32,
    /// Bits that only the endpoint's own software can write, at any time.
    pub local: u32,
    /// Survives every reset of the function.
    pub sticky: bool,
    /// Survives the reset that the RC asks for in configuration space (FLR).
    pub mirrored: bool,
}

impl Register {
    /// A register that reads as `reset` and that nobody can write.
    pub const fn read_only(name: &'static str, offset: u32, reset: u32) -> Self {
        let (writable, clear_by_one, programmable, local) = (0, 0, 0, 0);
        Self {
            name,
            offset,
            reset,
            writable,
            clear_by_one,
            programmable,
            local,
            sticky: false,
            mirrored: false,
        }
    }

    /// Also: both sides can write the bits of `mask`.
    pub const fn writable(self, mask: u32) -> Self {
        Self {
            writable: mask,
            ..self
        }
    }

    /// Also: either side clears the bits of `mask` by writing 1.
    pub const fn clear_by_one(self, mask: u32) -> Self {
        Self {
            clear_by_one: mask,
            ..self
        }
    }

    /// Also: the endpoint's software can write the bits of `mask` under DBI_RO_WR_EN.
    pub const fn programmable(self, mask: u32) -> Self {
        Self {
            programmable: mask,
            ..self
        }
    }

    /// Also: the endpoint's software can write the bits of `mask`.
    pub const fn local(self, mask: u32) -> Self {
        Self {
            local: mask,
            ..self
        }
    }

    /// Also: survives every reset of the function.
    pub const fn sticky(self) -> Self {
        Self {
            sticky: true,
            ..self
        }
    }

    /// Also: the RC's QEMU has a copy of its own, by which it acts or answers, so it survives a reset
    /// that QEMU does not know of.
    pub const fn mirrored(self) -> Self {
        Self {
            mirrored: true,
            ..self
        }
    }

    /// The bits that configuration requests can change.
    pub const fn bus_bits(&self) -> u32 {
        self.writable | self.clear_by_one
    }
}

/// On whose behalf a register is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// The bus: configuration writes of the RC.
    Bus,
    /// The endpoint's software, through DBI.
    Local {
        /// DBI_RO_WR_EN is set.
        unlocked: bool,
    },
}

/// The values of a table of registers.
#[derive(Clone, Debug)]
pub struct RegisterFile {
    table: &'static [Register],
    /// One per entry of `table`.
    values: Vec<u32>,
    /// Index into `table` of the register at each multiple of 4.
    places: Vec<Option<u16>>,
}

impl RegisterFile {
    /// The registers of `table`, all of which lie below `size` bytes, after a power-on reset.
    ///
    /// # Panics
    ///
    /// If the table is wrong: an offset beyond `size`, misaligned, or taken twice.
    pub fn new(table: &'static [Register], size: u32) -> Self {
        let mut places = vec![None; size as usize / 4];
        for (index, register) in table.iter().enumerate() {
            assert_eq!(register.offset % 4, 0, "{} is misaligned", register.name);
            let place = &mut places[register.offset as usize / 4];
            assert!(
                place.is_none(),
                "{} takes a place that is taken",
                register.name
            );
            *place = u16::try_from(index).ok();
        }
        Self {
            table,
            values: table.iter().map(|register| register.reset).collect(),
            places,
        }
    }

    fn index(&self, offset: u32) -> Option<usize> {
        let place = self.places.get(offset as usize / 4)?;
        place.filter(|_| offset & 3 == 0).map(usize::from)
    }

    /// The register at `offset`, if there is one.
    pub fn read(&self, offset: u32) -> Option<u32> {
        self.index(offset).map(|index| self.values[index])
    }

    /// The register at `offset`, 0 where there is none. For offsets that the table names.
    pub fn get(&self, offset: u32) -> u32 {
        self.read(offset).unwrap_or(0)
    }

    /// Writes the register at `offset` as far as `writer` may. Returns whether there is one.
    pub fn write(&mut self, offset: u32, write: Write, writer: Writer) -> bool {
        let Some(index) = self.index(offset) else {
            return false;
        };
        let register = &self.table[index];
        let writable = register.writable
            | match writer {
                Writer::Bus => 0,
                Writer::Local { unlocked: false } => register.local,
                Writer::Local { unlocked: true } => register.local | register.programmable,
            };
        let cleared = write.value & write.mask & register.clear_by_one;
        self.values[index] = write.onto(self.values[index], writable) & !cleared;
        true
    }

    /// Sets bits that the silicon itself sets, whoever may write them.
    pub fn raise(&mut self, offset: u32, bits: u32) {
        if let Some(index) = self.index(offset) {
            self.values[index] |= bits;
        }
    }

    /// Power-on reset: every register as the table says.
    pub fn reset(&mut self) {
        for (value, register) in self.values.iter_mut().zip(self.table) {
            *value = register.reset;
        }
    }

    /// Reset of the function: forgets what the bus has written, keeps what the endpoint's own
    /// software has programmed, and each register that `survives`.
    pub fn reset_bus_state(&mut self, survives: impl Fn(&Register) -> bool) {
        for (value, register) in self.values.iter_mut().zip(self.table) {
            if !register.sticky && !survives(register) {
                let bus = register.bus_bits();
                *value = (*value & !bus) | (register.reset & bus);
            }
        }
    }

    /// The bits of the register at `offset` that configuration requests can change.
    pub fn bus_bits(&self, offset: u32) -> u32 {
        let register = self.index(offset).map(|index| &self.table[index]);
        register.map_or(0, Register::bus_bits)
    }

    /// The table that describes this file.
    pub fn table(&self) -> &'static [Register] {
        self.table
    }
}
