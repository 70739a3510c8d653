// SPDX-License-Identifier: GPL-2.0

//! Exports channels of an endpoint's DMA controller: reserves them, and has ready what stands behind
//! the slice of a BAR through which the RC drives them (DMA header version 1, `abi::vntb::header`).
//!
//! A function driver lays a slice out ([`plan`]), makes it an [`Export`], puts
//! [`Export::sub_ranges`] behind a BAR, tells the RC by the slice's locator where that is, and drops
//! the export only when the BAR is cleared.
//!
//! Whoever can write to the slice can make the controller read any memory of the RC and write any
//! memory of the EP, as is the nature of such an export. The register window is rounded up to what
//! the controller can map, and what lies behind the registers can be seen as well.

use kernel::{
    bindings as kbindings,
    device::{self, Bound},
    dma::{Coherent, DataDirection, DmaAddress},
    prelude::*,
    sync::aref::ARef,
};

use crate::{
    bindings,
    display::Core,
    dw_edma::{Channels, Delegated, Listener},
    pci_epc::DmaRegisters,
    pci_epf::Attached,
    pci_epf_bar::{BarNumber, SubRange},
    vntb::{
        header,
        routing::Routing,
        slice::{Registers, Request, Slice},
        window::Window,
        MAX_CHANNELS,
    },
};

/// Descriptor memory of a channel: 169 elements and a link, as the endpoint's own driver has.
const DESC_SIZE: u32 = 0x1000;

/// Lays a slice of `num_chans` channels out, at `offset` in `bar`; says why that cannot be.
pub(crate) fn plan(
    function: &Attached,
    bar: BarNumber,
    offset: u32,
    num_chans: u32,
) -> Result<Slice> {
    let registers = function
        .dma_registers()
        .inspect_err(|_| dev_err!(function, "the controller exports no DMA registers\n"))?;
    let registers = match registers.exposed {
        Some((bar, offset)) => Registers::InBar(Window {
            bar: bar.into(),
            offset: u32::try_from(offset)?,
            size: u32::try_from(registers.size)?,
        }),
        None => Registers::InSlice {
            size: u32::try_from(registers.size)?,
        },
    };
    Slice::new(Request {
        bar: bar.into(),
        offset,
        registers,
        num_chans,
        desc_size: DESC_SIZE,
    })
    .map_err(|error| {
        dev_err!(function, "{}\n", Core(error));
        EINVAL
    })
}

/// Registers of the controller, mapped for what its inbound translation leads to.
///
/// # Invariants
///
/// `address` is a mapping of `size` bytes for `device`.
struct MappedRegisters {
    device: ARef<device::Device>,
    address: DmaAddress,
    size: usize,
}

impl MappedRegisters {
    fn new(device: &device::Device<Bound>, registers: &DmaRegisters, size: usize) -> Result<Self> {
        let device: ARef<device::Device> = device.into();
        // CAST: `device::Device` is a `#[repr(transparent)]` wrapper of `struct device`.
        let raw = core::ptr::from_ref(&*device).cast_mut().cast();
        // SAFETY: The device is valid, and what is mapped are registers, not memory.
        let address = unsafe {
            let direction = DataDirection::Bidirectional.into();
            let address = kbindings::dma_map_resource(raw, registers.phys, size, direction, 0);
            kernel::error::to_result(bindings::rust_helper_dma_mapping_error(raw, address))?;
            address
        };
        // INVARIANT: Just mapped.
        Ok(Self {
            device,
            address,
            size,
        })
    }
}

impl Drop for MappedRegisters {
    fn drop(&mut self) {
        // CAST: As above.
        let raw = core::ptr::from_ref(&*self.device).cast_mut().cast();
        // SAFETY: By the type invariant.
        unsafe {
            let direction = DataDirection::Bidirectional.into();
            kbindings::dma_unmap_resource(raw, self.address, self.size, direction, 0);
        }
    }
}

/// Reserved channels and what the RC needs to drive them. Fields drop in this order: channels come
/// to rest before their descriptors go.
pub(crate) struct Export<L: Listener> {
    _channels: Channels<L>,
    header: Coherent<[u8]>,
    registers: Option<MappedRegisters>,
    descs: Coherent<[u8]>,
    slice: Slice,
    // Keeps the controller bound.
    _function: Attached,
}

impl<L: Listener> Export<L> {
    /// Reserves the channels of a slice, the first ones of the hardware, and fills the slice. `routing`
    /// says for each channel whom its transfers are told, and `listener` is told of those that are
    /// routed to the endpoint alone.
    ///
    /// Fails with `EBUSY` if somebody uses one of them.
    pub(crate) fn new(
        function: &Attached,
        slice: Slice,
        routing: &[Routing; MAX_CHANNELS],
        listener: L,
    ) -> Result<Self> {
        let device = function.dma_device();
        let mut channels = KVec::with_capacity(slice.num_chans() as usize, GFP_KERNEL)?;
        for (id, &routing) in (0..slice.num_chans()).zip(routing) {
            // SAFETY: A controller that exports DMA registers is a DesignWare one with an eDMA,
            // and `plan` has found these. It is bound as long as `function` is attached.
            let channel = unsafe { Delegated::request(device, id, routing) }.map_err(|_| {
                dev_err!(function, "DMA read channel {} is not there or in use\n", id);
                EBUSY
            })?;
            channels.push(channel, GFP_KERNEL)?;
        }
        let channels = Channels::new(channels, listener, c"pci_ep_dma")
            .inspect_err(|_| dev_err!(function, "no interrupt for channels that notify\n"))?;

        // The RC sees all of it. Not a `CoherentHandle`: memory without a kernel mapping is not zeroed,
        // whatever the flags say.
        let size = slice.desc_window().size as usize;
        let descs = Coherent::zeroed_slice(device, size, GFP_KERNEL)?;
        let registers = match slice.registers_window() {
            Some(window) => {
                let found = function.dma_registers()?;
                Some(MappedRegisters::new(device, &found, window.size as usize)?)
            }
            None => None,
        };
        let mut page = KVec::from_elem(0u8, slice.header_window().size as usize, GFP_KERNEL)?;
        let mut header = slice.header(descs.dma_address());
        for (channel, &routing) in header.chans.iter_mut().zip(routing) {
            channel.routing = routing;
        }
        let bytes = header.encode();
        page.get_mut(..header::SIZE as usize)
            .ok_or(EINVAL)?
            .copy_from_slice(&bytes);
        Ok(Self {
            _channels: channels,
            header: Coherent::from_slice(device, &page, GFP_KERNEL)?,
            registers,
            descs,
            slice,
            _function: function.clone(),
        })
    }

    /// What the slice's windows lead to, without gaps.
    pub(crate) fn sub_ranges(&self) -> impl Iterator<Item = SubRange> + '_ {
        let header = SubRange {
            address: self.header.dma_address(),
            size: self.slice.header_window().size as usize,
        };
        let registers = self.registers.as_ref().map(|registers| SubRange {
            address: registers.address,
            size: registers.size,
        });
        let descs = SubRange {
            address: self.descs.dma_address(),
            size: self.descs.size(),
        };
        [Some(header), registers, Some(descs)].into_iter().flatten()
    }
}
