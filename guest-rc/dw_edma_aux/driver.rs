// SPDX-License-Identifier: GPL-2.0

//! The endpoint's DMA on the RC: a DMA engine whose channels are those that an endpoint with a
//! DesignWare eDMA exports through a BAR (DMA header version 1, `abi::vntb::header`).
//!
//! `ntb_hw_epf` finds such an export and makes an auxiliary device of it. Its channels are the
//! endpoint's read channels: they read this side's memory and write the endpoint's, so that to a client
//! here they move memory to a device, whose address is one of the endpoint's.
//!
//! A completion is taken from what nobody but the channel itself changes, its linked-list pointer and
//! the status in its control word, never from the interrupt status, which the endpoint's driver clears
//! too. So the message that a channel sends is only a hint to look, and a watchdog looks as well while
//! something is out. When the device does not answer any more, everything that is out fails.
//!
//! * [`hardware`]: the registers.
//! * [`descriptors`]: descriptor memory.
//! * [`transfer`]: what is kept of a transfer.
//! * [`lane`]: a channel's list and what is on it.
//! * [`engine`]: what clients and interrupts want of a channel.
//! * [`watch`], [`due`]: interrupts and the watchdog.
//! * here: probe and removal.

use core::ptr;

use kernel::{
    auxiliary, debugfs,
    device::{self, Bound, Core},
    driver, fmt, pci,
    prelude::*,
    sync::Arc,
    ModuleMetadata, ThisModule,
};

#[path = "../../guest-common/kernel/auxiliary_pci.rs"]
mod auxiliary_pci;
#[path = "../../guest-common/kernel/bindings.rs"]
mod bindings;
mod descriptors;
#[path = "../../guest-common/kernel/display.rs"]
mod display;
#[path = "../../guest-common/kernel/dma_offer.rs"]
mod dma_offer;
mod due;
#[allow(dead_code, unreachable_pub)] // the crate `abi` serves others as well
#[path = "../../abi/src/edma.rs"]
mod edma;
#[allow(dead_code, unreachable_pub)] // as above
#[path = "../../abi/src/edma_ring.rs"]
mod edma_ring;
mod engine;
#[allow(dead_code, unreachable_pub)] // as above
#[path = "../../abi/src/field.rs"]
mod field;
mod hardware;
mod lane;
#[path = "../../guest-common/kernel/pci_vector.rs"]
mod pci_vector;
#[path = "../../guest-common/kernel/dmaengine/provider.rs"]
mod provider;
mod transfer;
#[allow(dead_code, unreachable_pub)] // as above
#[path = "../../abi/src/vntb.rs"]
mod vntb;
mod watch;
#[allow(dead_code)] // others need more of it
#[path = "../../guest-common/kernel/work.rs"]
mod work;

use auxiliary_pci::Mapping;
use descriptors::Descriptors;
use dma_offer::Offer;
use edma_ring::Ring;
use engine::Edma;
use hardware::{Hardware, Registers};
use lane::Lane;
use pci_vector::Vector;
use provider::{Registration, Releases};
use vntb::{child, header::Header, window::Window};
use watch::Watch;

/// Requests the channels' vectors. A channel without one has to be polled.
fn vectors(
    pdev: &pci::Device<Bound>,
    offer: &Offer,
    header: &Header,
    watch: &Arc<Watch>,
) -> Result<KVec<Option<Vector<Watch>>>> {
    let polls = *module_parameters::poll.value_ref();
    let mut address = None;
    let mut vectors = KVec::new();
    for (number, index) in (0..header.num_chans).zip(offer.irq_base..) {
        let mut vector = match polls || number >= offer.irq_count {
            true => None,
            // SAFETY: Dropped with `Provider`, or here if something below fails. The function's driver, which
            // has the vectors, lets go of the device that this is for before.
            false => unsafe { Vector::request(pdev, index, watch.clone(), number, c"dw_edma_aux") }
                .inspect_err(|e| dev_warn!(pdev, "no vector for DMA channel {}: {:?}\n", number, e))
                .ok(),
        };
        // There is one address for the messages of all channels.
        let message = vector
            .as_ref()
            .and_then(|vector| auxiliary_pci::message(vector.irq()));
        let fits = message.is_some_and(|message| {
            *address.get_or_insert(message.address) == message.address
                && message.data <= edma::IMWR_DATA_EVEN.max()
        });
        if vector.is_some() && !fits {
            dev_warn!(
                pdev,
                "the vector of DMA channel {} cannot be told to the DMA controller\n",
                number
            );
            vector = None;
        }
        vectors.push(vector, GFP_KERNEL)?;
    }
    Ok(vectors)
}

/// Says that a segment may have any length, as an element's is a word of 32 bits. Otherwise clients hear of
/// 64 KiB (`dma_get_max_seg_size`).
fn allow_any_segment(pdev: &pci::Device<Bound>) {
    let device: &device::Device<Bound> = pdev.as_ref();
    // CAST: `device::Device` is a `#[repr(transparent)]` wrapper of `struct device`.
    let device = ptr::from_ref(device).cast_mut().cast();
    // SAFETY: The device is valid. It is a word, which those who map memory read once.
    unsafe { kernel::bindings::dma_set_max_seg_size(device, u32::MAX) };
}

/// What debugfs shows.
struct Channels(Arc<provider::Engine<Edma>>);

impl Channels {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for channel in self.0.channels() {
            write!(f, "{} ", channel.number())?;
            channel.lock().state().show(f)?;
            writeln!(f)?;
        }
        Ok(())
    }
}

/// What a probed device holds. Fields drop in this order: clients' transfers end first.
#[pin_data]
struct Provider<'bound> {
    _engine: Registration<'bound, Edma>,
    #[pin]
    _channels: debugfs::File<Channels>,
    _dir: debugfs::Dir,
    _vectors: KVec<Option<Vector<Watch>>>,
}

struct Driver;

kernel::auxiliary_device_table!(
    TABLE,
    <Driver as auxiliary::Driver>::IdInfo,
    [(auxiliary::DeviceId::new(child::MAKER, child::NAME), ())]
);

impl auxiliary::Driver for Driver {
    type IdInfo = ();
    type Data<'bound> = Provider<'bound>;

    const ID_TABLE: auxiliary::IdTable<Self::IdInfo> = &TABLE;

    fn probe<'bound>(
        device: &'bound auxiliary::Device<Core<'_>>,
        _info: &'bound Self::IdInfo,
    ) -> impl PinInit<Provider<'bound>, Error> + 'bound {
        pin_init::pin_init_scope(move || {
            let parent = device.parent();
            let pdev: &pci::Device<Bound> = parent.try_into()?;
            let offer = Offer::of(device)?;
            let header = offer.header(pdev)?;

            let Window { bar, offset, size } = header.ctrl;
            let registers = Mapping::new(pdev, bar, offset, size)?;
            let registers = Arc::pin_init(Registers::new(registers), GFP_KERNEL)?;
            if registers.channels() < header.num_chans {
                dev_err!(
                    pdev,
                    "DMA export refused: {} channels of {}\n",
                    header.num_chans,
                    registers.channels()
                );
                return Err(EINVAL);
            }

            allow_any_segment(pdev);
            let watch = Watch::new()?;
            let vectors = vectors(pdev, &offer, &header, &watch)?;
            let lanes =
                (0..)
                    .zip(header.channels())
                    .zip(&vectors)
                    .map(|((number, channel), vector)| {
                        let Window { bar, offset, size } = channel.desc;
                        let ring = Ring::new(channel.desc_phys_addr, size).ok_or(EINVAL)?;
                        let window = Mapping::new(pdev, bar, offset, size)?;
                        let descriptors = Descriptors::new(window, ring.slots())?;
                        let hardware = Hardware::new(registers.clone(), descriptors, number);
                        let irq = vector.as_ref().map(Vector::irq);
                        Ok(Lane::new(hardware, channel.routing, irq, ring, size))
                    });
            let module = kernel::module::this_module::<Module>();
            let edma = Edma::new(watch.clone());
            // SAFETY: It is dropped with `Provider`, or here if something below fails.
            let engine = unsafe { Registration::new(parent, module, edma, lanes) }?;
            Watch::attach(&watch, engine.engine().clone());

            let dir = debugfs::Dir::new(parent.name());
            let shown = Channels(engine.engine().clone());
            Ok(try_pin_init!(Provider {
                _engine: engine,
                _channels <- dir.read_callback_file(c"dw_edma_aux", shown, &Channels::show),
                _dir: dir,
                _vectors: vectors,
            }))
        })
    }
}

/// Fields drop in this order.
#[pin_data]
struct Module {
    #[pin]
    _driver: driver::Registration<auxiliary::Adapter<Driver>>,
    _releases: Releases,
}

impl kernel::InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _releases: Releases::new()?,
            _driver <- driver::Registration::new(Self::NAME, module),
        })
    }
}

module! {
    type: Module,
    name: "dw_edma_aux",
    authors: ["spider-pair contributors"],
    description: "DMA engine of an endpoint's exported DesignWare eDMA channels",
    license: "GPL",
    params: {
        poll: bool {
            default: false,
            description: "Look for completions instead of taking interrupts",
        },
    },
}
