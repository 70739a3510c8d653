// SPDX-License-Identifier: GPL-2.0

//! Moves a buffer to the other side of a bridge with a DMA engine that drives the bridge's own link,
//! such as the endpoint's channels that the RC was given: first consumer of these, and a smoke test.
//!
//! The same module runs on both sides. Each lends the other a buffer; on the side that has an engine
//! `ntb_ep_dma/<bridge>/run` in debugfs, written any number but 0, fills the other's buffer, and the
//! other says whether what arrived is right. One side runs at a time. Beside `run`:
//! - `ready`: 1 if the link is up and the other side lends a buffer; written, waits for that;
//! - `result`: of the last run, then what this side lends and what the other side says.
//!
//! * [`side`]: a side at work.
//! * [`words`]: what the sides tell each other (`abi::vntb::ep_dma`).
//! * here: the client of the NTB bus, and its files.

use kernel::{
    debugfs::{Dir, File},
    driver, fmt,
    prelude::*,
    sync::{aref::ARef, Arc},
    uaccess::UserSliceReader,
    ThisModule,
};

#[path = "../kernel/bindings.rs"]
mod bindings;
#[allow(dead_code)] // a test that says more needs more of it
#[path = "../kernel/command.rs"]
mod command;
#[path = "../kernel/completion.rs"]
mod completion;
#[allow(dead_code)] // serves others as well
#[path = "../kernel/dmaengine.rs"]
mod dmaengine;
#[path = "../kernel/ntb_client.rs"]
mod ntb_client;
#[allow(dead_code)] // as above
#[path = "../kernel/pattern.rs"]
mod pattern;
mod side;
#[allow(dead_code, unreachable_pub)] // the crate `abi` serves others as well
#[path = "../../abi/src/vntb.rs"]
mod vntb;
mod words;
#[allow(dead_code)] // as above
#[path = "../kernel/work.rs"]
mod work;

use command::Command;
use ntb_client::{Adapter, Bridge};
use side::Side;

kernel::sync::global_lock! {
    // SAFETY: The module is initialised, and with it the lock, before it registers what uses it.
    unsafe(uninit) static ROOT: Mutex<Option<Dir>> = None;
}

/// What the client keeps for a bridge. Fields drop in this order.
#[pin_data]
struct Client {
    #[pin]
    _ready: File<Arc<Side>>,
    #[pin]
    _run: File<Arc<Side>>,
    #[pin]
    _result: File<Arc<Side>>,
    _dir: Dir,
    side: Arc<Side>,
}

fn ready(side: &Arc<Side>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "{}", u8::from(side.is_ready()))
}

fn result(side: &Arc<Side>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    side.show(f)
}

fn wait_ready(side: &Arc<Side>, _reader: &mut UserSliceReader) -> Result {
    side.wait_ready()
}

fn run(side: &Arc<Side>, reader: &mut UserSliceReader) -> Result {
    let mut text = [0; command::MAX];
    let mut command = Command::read(reader, &mut text)?;
    if command.number::<u64>()? == 0 {
        return Err(EINVAL);
    }
    command.end()?;
    side.run()
}

impl ntb_client::Client for Client {
    fn probe(bridge: &ARef<Bridge>) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let side = Side::new(bridge.clone())?;
            let dir = match &*ROOT.lock() {
                Some(root) => root.subdir((**bridge).as_ref().name()),
                None => return Err(ENODEV),
            };
            Ok(try_pin_init!(Client {
                _ready <- dir.read_write_callback_file(c"ready", side.clone(), &ready, &wait_ready),
                _run <- dir.write_callback_file(c"run", side.clone(), &run),
                _result <- dir.read_callback_file(c"result", side.clone(), &result),
                _dir: dir,
                side,
            }))
        })
    }

    fn start(&self) -> Result {
        self.side.start()
    }

    fn stop(&self) {
        self.side.stop();
    }

    fn link_event(&self) {
        self.side.look_soon();
    }

    fn db_event(&self, _vector: u32) {
        self.side.look_soon();
    }
}

/// The directory of all bridges. Dropped, it goes.
struct Root;

impl Root {
    fn new(name: &CStr) -> Self {
        *ROOT.lock() = Some(Dir::new(name));
        Self
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        *ROOT.lock() = None;
    }
}

/// Fields drop in this order.
#[pin_data]
struct Module {
    #[pin]
    _client: driver::Registration<Adapter<Client>>,
    _root: Root,
}

impl kernel::InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        // SAFETY: A module is initialised once.
        unsafe { ROOT.init() };
        try_pin_init!(Self {
            _root: Root::new(c"ntb_ep_dma"),
            _client <- driver::Registration::new(c"ntb_ep_dma", module),
        })
    }
}

module! {
    type: Module,
    name: "ntb_ep_dma",
    authors: ["spider-pair contributors"],
    description: "NTB client: a buffer to the other side, by DMA through the bridge's link",
    license: "GPL",
}
