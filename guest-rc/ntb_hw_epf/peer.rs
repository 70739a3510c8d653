// SPDX-License-Identifier: GPL-2.0

//! What an endpoint says of itself, and whether that can be.

use kernel::{
    device::{self, Bound},
    devres::Devres,
    pci,
    prelude::*,
    sync::atomic::{Atomic, Relaxed},
};

use crate::{
    auxiliary_child::Child,
    display::Core,
    map::Map,
    registers::Registers,
    vntb::{
        child::{self, property},
        control::{self, Control},
        locator::Locator,
        window::{BarSizes, Window},
        MAX_MWS,
    },
};

/// What an endpoint exports, as far as its control block tells.
pub(crate) struct Export {
    /// Where the slice is, checked.
    pub(crate) locator: Locator,
    /// The slice's BAR.
    pub(crate) registers: Registers,
}

/// Reads and checks the control block.
pub(crate) fn load(
    pdev: &pci::Device<Bound>,
    registers: &Registers,
    bars: &BarSizes,
    map: &Map,
) -> Result<Control> {
    let control = Control::load(|offset| registers.read32(offset)).or_else(|error| {
        dev_err!(pdev, "{}: read as version 0\n", Core(error));
        Control::load(|offset| match offset {
            control::VERSION => 0,
            _ => registers.read32(offset),
        })
    });
    let mut mws = [0; MAX_MWS];
    let count = mws
        .iter_mut()
        .zip(map.mws())
        .map(|(to, bar)| *to = bar)
        .count();
    control
        .and_then(|control| {
            let mws = mws.get(..count).unwrap_or_default();
            control.check(bars, map.control, map.doorbells, mws)?;
            Ok(control)
        })
        .map_err(|error| {
            dev_err!(pdev, "control block refused: {}\n", Core(error));
            EINVAL
        })
}

/// The windows of the bridge itself: control block and scratchpads, doorbells, memory windows.
pub(crate) fn taken(map: &Map, control: &Control, bars: &BarSizes) -> [Window; 2 + MAX_MWS] {
    let mut all = [Window::default(); 2 + MAX_MWS];
    let spads = control.spads(map.control).map_or(0, |spads| spads.end());
    all[0] = Window {
        bar: map.control,
        offset: 0,
        size: u32::try_from(spads).unwrap_or(u32::MAX),
    };
    let doorbells = bars.get(map.doorbells as usize).copied().unwrap_or(0);
    all[1] = Window {
        bar: map.doorbells,
        offset: 0,
        size: u32::try_from(doorbells).unwrap_or(u32::MAX),
    };
    let mws = map.mws().zip(&control.mws).take(control.num_mws as usize);
    for (window, (bar, place)) in all.iter_mut().skip(2).zip(mws) {
        *window = Window {
            bar,
            offset: place.offset,
            size: place.size,
        };
    }
    all
}

/// Checks a locator and maps what it names; refused with one line if it is not right.
pub(crate) fn export(
    pdev: &pci::Device<Bound>,
    locator: &Locator,
    bars: &BarSizes,
    taken: &[Window],
) -> Option<Export> {
    locator
        .check(bars, taken)
        .inspect_err(|error| dev_err!(pdev, "DMA export refused: {}\n", Core(error)))
        .ok()?;
    let registers = Registers::map(pdev, locator.window.bar).ok()?;
    Some(Export {
        locator: *locator,
        registers,
    })
}

/// Makes the device that stands for an export: a child of `carrier`, which has a vector for each
/// channel from `irq_base` on. Locator and header were checked.
pub(crate) fn offer(
    carrier: &device::Device<Bound>,
    locator: &Locator,
    irq_base: u32,
) -> Result<Devres<Child>> {
    /// Names of devices have to differ; there is no other use of their number.
    static NEXT: Atomic<u32> = Atomic::new(0);
    let Locator {
        abi,
        window,
        num_chans,
    } = *locator;
    let properties = [
        (property::ABI, abi),
        (property::BAR, window.bar),
        (property::OFFSET, window.offset),
        (property::SIZE, window.size),
        (property::NUM_CHANS, num_chans),
        (property::IRQ_BASE, irq_base),
        // The header was refused if these were not as many.
        (property::IRQ_COUNT, num_chans),
    ];
    let id = NEXT.fetch_add(1, Relaxed);
    Child::new(carrier, child::MAKER, child::NAME, id, &properties)
}
