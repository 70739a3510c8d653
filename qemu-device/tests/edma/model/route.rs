// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the eDMA's addresses on the RC's side lead: through the outbound regions if one matches, as
//! they are if none does; to the RC's RAM or to its MSI word.

use super::memory::Memory;

/// An enabled outbound region of memory type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First address.
    pub base: u64,
    /// Last address.
    pub last: u64,
    /// What the first address becomes.
    pub target: u64,
}

/// The word at which the RC takes MSIs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MsiWord {
    pub address: u64,
    pub data: u32,
    /// Vectors granted, a power of two; 0 while MSIs are off.
    pub vectors: u32,
}

/// A board.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    #[default]
    Ep,
    Rc,
}

/// The way to the RC.
#[derive(Clone, Debug, Default)]
pub struct Remote {
    /// The link is up and the function may master the bus.
    pub open: bool,
    /// By number; the lowest that matches wins.
    pub regions: [Option<Region>; 16],
    pub msi: MsiWord,
    /// MSIs that data has raised, by vector.
    pub raised: Vec<u32>,
    /// Who did not answer when last nobody did.
    pub silent: Side,
}

/// What answers at an address.
enum Place {
    Ram(u64),
    /// A byte of the MSI word, by its offset in it.
    Msi(u64),
    Nothing,
}

impl Remote {
    fn place(&self, address: u64) -> Place {
        if !self.open {
            return Place::Nothing;
        }
        let region = self.regions.iter().flatten();
        let address = region
            .into_iter()
            .find(|region| (region.base..=region.last).contains(&address))
            .map_or(address, |region| {
                region.target.wrapping_add(address - region.base)
            });
        match address.checked_sub(self.msi.address) {
            Some(_) if self.msi.vectors == 0 => {
                // PCI address 0 is where the word lies before the RC has placed it.
                let word = address.wrapping_sub(self.msi.address) < 4;
                if word {
                    Place::Nothing
                } else {
                    Place::Ram(address)
                }
            }
            Some(within @ 0..4) => Place::Msi(within),
            _ => Place::Ram(address),
        }
    }

    /// Moves what comes next of `left` bytes from the EP at `here` to the RC at `there`: a byte, or an
    /// MSI's word. Returns how many bytes that was; 0 if one of the two does not answer.
    pub fn send(
        &mut self,
        ep: &mut Memory,
        rc: &mut Memory,
        here: u64,
        there: u64,
        left: u64,
    ) -> u64 {
        let place = self.place(there);
        let mut data = [0; 4];
        let len = match place {
            Place::Msi(0) if left >= 4 => 4,
            Place::Ram(_) => 1,
            Place::Msi(_) | Place::Nothing => return self.nobody(Side::Rc),
        };
        if ep.read(here, &mut data[..len]).is_err() {
            return self.nobody(Side::Ep);
        }
        if let Place::Ram(address) = place {
            if rc.write(address, &data[..1]).is_err() {
                return self.nobody(Side::Rc);
            }
        } else {
            let differs = u32::from_le_bytes(data) ^ self.msi.data;
            // The low bits of the message's data select the vector; others are nobody's.
            if differs & !(self.msi.vectors - 1) == 0 {
                let vector = u32::from_le_bytes(data) & (self.msi.vectors - 1);
                self.raised.push(vector);
            }
        }
        len as u64
    }

    /// The same from the RC at `there` to the EP at `here`; the MSI word reads as zeroes.
    pub fn receive(
        &mut self,
        ep: &mut Memory,
        rc: &mut Memory,
        here: u64,
        there: u64,
        left: u64,
    ) -> u64 {
        let mut byte = [0];
        match self.place(there) {
            Place::Ram(address) if rc.read(address, &mut byte).is_ok() => {}
            Place::Msi(0) if left >= 4 => {
                let taken = (0..4).take_while(|at| ep.write(here.wrapping_add(*at), &[0]).is_ok());
                return match taken.count() as u64 {
                    0 => self.nobody(Side::Ep),
                    taken => taken,
                };
            }
            _ => return self.nobody(Side::Rc),
        }
        match ep.write(here, &byte) {
            Ok(()) => 1,
            Err(_) => self.nobody(Side::Ep),
        }
    }

    fn nobody(&mut self, side: Side) -> u64 {
        self.silent = side;
        0
    }
}
