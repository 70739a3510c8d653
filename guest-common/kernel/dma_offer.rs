// SPDX-License-Identifier: GPL-2.0

//! What the auxiliary device that stands for exported DMA channels says of them (`abi::vntb::child`),
//! and the header that it leads to.
//!
//! A module mounts this file as `mod dma_offer`, and what it stands on: `auxiliary_pci.rs`,
//! `display.rs` and `abi::vntb`.

use kernel::{
    auxiliary,
    device::{self, Bound, Core},
    pci,
    prelude::*,
};

use crate::{
    auxiliary_pci::Mapping,
    display,
    vntb::{
        child::property,
        header::{self, Header},
        locator::Locator,
        window::Window,
        BARS,
    },
};

/// What the device's maker says of it.
pub(crate) struct Offer {
    /// Where the slice is.
    pub(crate) locator: Locator,
    /// First vector of the function that is the channels'.
    pub(crate) irq_base: u32,
    /// How many vectors are.
    pub(crate) irq_count: u32,
}

impl Offer {
    /// Reads the device's properties.
    pub(crate) fn of(device: &auxiliary::Device<Core<'_>>) -> Result<Self> {
        let device: &device::Device<Core<'_>> = device.as_ref();
        let node = device.fwnode().ok_or(ENXIO)?;
        let property = |name| node.property_read::<u32>(name).required_by(device);
        Ok(Self {
            locator: Locator {
                abi: property(property::ABI)?,
                window: Window {
                    bar: property(property::BAR)?,
                    offset: property(property::OFFSET)?,
                    size: property(property::SIZE)?,
                },
                num_chans: property(property::NUM_CHANS)?,
            },
            irq_base: property(property::IRQ_BASE)?,
            irq_count: property(property::IRQ_COUNT)?,
        })
    }

    /// Reads and checks the header: since somebody else did, the peer may have changed it.
    pub(crate) fn header(&self, pdev: &pci::Device<Bound>) -> Result<Header> {
        let refused = |why: &dyn core::fmt::Display| {
            dev_err!(pdev, "DMA export refused: {}\n", display::Core(why));
            EINVAL
        };
        let mut bars = [0; BARS];
        for (number, size) in (0..).zip(&mut bars) {
            *size = pdev.resource_len(number)?;
        }
        // What the rest of the function is made of, only its own driver knows, which has looked.
        self.locator
            .check(&bars, &[])
            .map_err(|error| refused(&error))?;
        let Window { bar, offset, .. } = self.locator.window;
        let window = Mapping::new(pdev, bar, offset, header::SIZE)?;
        let mut bytes: header::Bytes = [0; header::SIZE as usize];
        for (word, at) in bytes.chunks_exact_mut(4).zip((0..).step_by(4)) {
            word.copy_from_slice(&window.read32(at).to_le_bytes());
        }
        let vectors = self.irq_base.checked_add(self.irq_count).ok_or(EINVAL)?;
        Header::parse(&bytes, &self.locator, &bars, vectors, &[]).map_err(|error| refused(&error))
    }
}
