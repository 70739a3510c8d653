// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Toolbox, kernels and root file systems for a pair of guests, built once and cached by their
//! inputs.
//!
//! [`Images`] is the way in: each of its functions hands back an artefact, made if it is not in the
//! cache. What is run to make one stands in the shell scripts of `steps/`; what is decided, in
//! these modules.

mod agent;
mod cache;
mod config;
mod debs;
mod kernel;
mod mirror;
mod modules;
mod progress;
mod rootfs;
mod set_id;
mod source;
mod step;
mod toolbox;
mod user_kernel;

pub use kernel::{Kernel, KernelVariant};
pub use progress::{Progress, Task};
pub use toolbox::Toolbox;
pub use user_kernel::{alone, Alone, Side};

use anyhow::Result;

/// This crate's directory: its scripts, package lists and configurations are read where they were
/// built.
const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// All artefacts of one user.
pub struct Images {
    cache: cache::Cache,
    progress: Progress,
    /// The toolbox was entered once.
    entered: std::cell::Cell<bool>,
}

impl Images {
    /// Opens the user's cache; nothing is built yet.
    pub fn open(progress: Progress) -> Result<Self> {
        Ok(Images {
            cache: cache::Cache::open()?,
            progress,
            entered: std::cell::Cell::new(false),
        })
    }

    /// As [`Images::open`], for who wants what is there and nothing built: what is not, is an error.
    pub fn open_built() -> Result<Self> {
        let mut images = Self::open(Progress::hidden())?;
        images.cache.forbid_builds();
        Ok(images)
    }
}
