// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Named bit fields of 32-bit registers.

/// A run of bits in a 32-bit register: `Field::bits(10, 8)` is `[10:8]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    shift: u32,
    width: u32,
}

impl Field {
    /// The field `[high:low]`, both ends included; `31 >= high >= low`, checked when it is built.
    pub const fn bits(high: u32, low: u32) -> Self {
        assert!(high >= low && high < 32);
        Self {
            shift: low,
            width: high - low + 1,
        }
    }

    /// A field of one bit.
    pub const fn bit(number: u32) -> Self {
        Self::bits(number, number)
    }

    /// The register bits that belong to this field.
    pub const fn mask(self) -> u32 {
        (u32::MAX >> (32 - self.width)) << self.shift
    }

    /// The largest value that the field can hold.
    pub const fn max(self) -> u32 {
        u32::MAX >> (32 - self.width)
    }

    /// The field's value in `register`, shifted down.
    pub const fn get(self, register: u32) -> u32 {
        (register & self.mask()) >> self.shift
    }

    /// Whether any bit of the field is set in `register`.
    pub const fn is_set(self, register: u32) -> bool {
        register & self.mask() != 0
    }

    /// `value` moved to the field's place, cut to its width; all other bits are zero.
    pub const fn place(self, value: u32) -> u32 {
        (value << self.shift) & self.mask()
    }

    /// `register` with the field replaced by `value`, cut to its width.
    pub const fn set(self, register: u32, value: u32) -> u32 {
        (register & !self.mask()) | self.place(value)
    }
}
