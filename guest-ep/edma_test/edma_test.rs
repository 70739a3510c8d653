// SPDX-License-Identifier: GPL-2.0

//! Moves scatter lists between memory of the endpoint and an address on the PCI bus, with every
//! free channel of the endpoint controller's eDMA, as a test says ([`dma_test`]) in
//! `spider_edma_test/control` in debugfs.
//!
//! It has to go before an endpoint controller is unbound: its eDMA's driver does not wait for clients.

use kernel::{device::Device, prelude::*};

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
#[path = "../../guest-common/kernel/dmaengine.rs"]
#[allow(dead_code)] // serves others as well
mod dmaengine;
#[path = "../../guest-common/kernel/pattern.rs"]
mod pattern;

/// Whether a DMA engine is an endpoint controller's: devices are called after their node.
fn is_endpoint(engine: &Device) -> bool {
    engine.name().to_bytes().ends_with(b".pcie-ep")
}

struct EdmaTest {
    _test: dma_test::Test,
}

impl kernel::Module for EdmaTest {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let suits = |candidate: &dmaengine::Candidate<'_>| is_endpoint(candidate.engine());
        // SAFETY: Who loads this module keeps the endpoint controllers bound meanwhile, see above.
        let test = unsafe { dma_test::Test::new(c"spider_edma_test", suits) }
            .inspect_err(|e| pr_err!("no channel of an endpoint's eDMA is free: {:?}\n", e))?;
        Ok(Self { _test: test })
    }
}

module! {
    type: EdmaTest,
    name: "spider_edma_test",
    authors: ["spider-pair contributors"],
    description: "Scatter lists through the eDMA of an R-Car S4 PCIe endpoint",
    license: "GPL",
}
