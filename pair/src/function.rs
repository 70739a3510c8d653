// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The endpoint functions: what each needs in the guests, and what proves that it is there.

use crate::side::Sides;

/// `--function`: what the EP sets up before link-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Function {
    /// Nothing: configfs is left to the user.
    None,
    /// The kernel's `pci-epf-test`, as 1912:0031 with 32 MSIs.
    #[default]
    EpfTest,
}

/// Everything the runner must know of a function.
#[derive(Debug)]
pub struct Recipe {
    /// The name on the command line.
    pub name: &'static str,
    /// Modules that each guest loads when it boots, in order (`modprobe` names).
    pub modules: Sides<&'static [&'static str]>,
    /// A shell script that sets the function up and starts the link, run in the EP guest.
    pub setup: Option<&'static str>,
    /// A path in the RC guest that exists once the function's driver has probed.
    pub probed: Option<&'static str>,
}

impl Function {
    /// What the runner must know of this function.
    pub fn recipe(self) -> &'static Recipe {
        match self {
            Function::None => &Recipe {
                name: "none",
                modules: Sides {
                    ep: &["spider_bridge"],
                    rc: &[],
                },
                setup: None,
                probed: None,
            },
            Function::EpfTest => &Recipe {
                name: "epf-test",
                modules: Sides {
                    ep: &["spider_bridge", "pci-epf-test"],
                    rc: &["pci_endpoint_test"],
                },
                setup: Some(include_str!("../functions/epf-test.sh")),
                probed: Some("/dev/pci-endpoint-test.0"),
            },
        }
    }
}
