// SPDX-License-Identifier: GPL-2.0

//! Moves scatter lists from memory of the RC to an address on the endpoint, with every free channel
//! that the endpoint exports, as a test says ([`dma_test`]) in `spider_dma_test/control` in debugfs.
//!
//! It is a client of the bridge, and brings its link up, since the channels come and go with that. Who
//! looks at what arrives is `spider_edma_test` on the endpoint, whose channels' memory is the target.

use core::ptr;

use kernel::{
    new_mutex,
    prelude::*,
    sync::{aref::ARef, Mutex},
};

#[path = "../../guest-common/kernel/bindings.rs"]
mod bindings;
#[path = "../../guest-common/kernel/command.rs"]
mod command;
#[path = "../../guest-common/kernel/completion.rs"]
mod completion;
#[path = "../../guest-common/kernel/content.rs"]
mod content;
#[path = "../../guest-common/kernel/dma_test.rs"]
mod dma_test;
#[allow(dead_code)] // serves others as well
#[path = "../../guest-common/kernel/dmaengine.rs"]
mod dmaengine;
#[path = "../../guest-common/kernel/ntb_client.rs"]
mod ntb_client;
#[path = "../../guest-common/kernel/pattern.rs"]
mod pattern;

use dma_test::Test;
use dmaengine::Candidate;
use ntb_client::{Adapter, Bridge};

/// What the client keeps for a bridge.
#[pin_data]
struct Client {
    bridge: ARef<Bridge>,
    #[pin]
    test: Mutex<Option<Test>>,
}

impl ntb_client::Client for Client {
    fn probe(bridge: &ARef<Bridge>) -> impl PinInit<Self, Error> {
        let bridge = bridge.clone();
        try_pin_init!(Self {
            bridge,
            test <- new_mutex!(None),
        })
    }

    fn start(&self) -> Result {
        let bridge = &self.bridge;
        bridge.link_enable()?;
        let device = bridge.dma_device();
        let suits = |candidate: &Candidate<'_>| ptr::eq(candidate.engine(), &**device);
        // SAFETY: The device is bound as long as the bridge has us for a client, and `stop` drops the test.
        // The engine of `dw_edma_aux` outlives it; who loads `spider_edma_naive` unloads us first, as that says.
        let test = unsafe { Test::new(c"spider_dma_test", suits) };
        let test = test.inspect_err(|e| {
            dev_err!(
                (**bridge).as_ref(),
                "no DMA channel of the bridge is free: {:?}\n",
                e
            );
            let _ = bridge.link_disable();
        })?;
        *self.test.lock() = Some(test);
        Ok(())
    }

    fn stop(&self) {
        let test = self.test.lock().take();
        drop(test);
        let _ = self.bridge.link_disable();
    }
}

kernel::module_driver! {
    <T>, Adapter<T>, {
        type: Client,
        name: "spider_dma_test",
        authors: ["spider-pair contributors"],
        description: "Scatter lists through DMA channels that a PCIe endpoint exports",
        license: "GPL",
    }
}
