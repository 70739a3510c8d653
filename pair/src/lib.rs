// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The runner: boots two guests, plugs the function at link-up, executes, tests, collects.
//!
//! ```no_run
//! # fn main() -> Result<(), pair::Failure> {
//! let options = pair::Options::default();
//! let artefacts = pair::Artefacts::prepare(&options)?;
//! let pair = pair::Pair::boot(&options, &artefacts)?;
//! let status = std::process::Command::new("rc").args(["lspci", "-nn"]).envs(pair.env()).status();
//! pair.health()?; // the panic or dead process behind a strange status, if there is one
//! pair.shutdown()
//! # }
//! ```

pub mod artefacts;
pub mod cli;
pub mod commands;
pub mod compose;
pub mod control;
pub mod function;
pub mod guest;
pub mod link;
pub mod modules;
pub mod net;
pub mod options;
pub mod orphans;
pub mod panic;
pub mod plan;
pub mod plug;
pub mod process;
pub mod progress;
pub mod prune;
pub mod qemu;
pub mod qmp;
pub mod run;
pub mod service;
pub mod session;
pub mod side;
pub mod signals;
pub mod status;
pub mod suite;
pub mod timeline;
pub mod trust;
pub mod watch;
pub mod windows;

pub use artefacts::Artefacts;
pub use function::Function;
pub use guest::Output;
pub use options::Options;
pub use session::Pair;
pub use side::{Side, Sides};
pub use status::{Exit, Failure};
