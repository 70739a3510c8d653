// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A live pair.

use crate::artefacts::Artefacts;
use crate::options::Options;
use crate::side::Side;
use crate::status::Failure;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// Two booted guests and the silicon between them. Dropping it ends them all, in order.
pub struct Pair {}

impl Pair {
    /// Boots both guests, sets the function up and waits until its driver has probed on the RC.
    ///
    /// # Errors
    /// 124 when a step passed its deadline, 255 when a guest panicked, 125 for all else; nothing is left running.
    pub fn boot(_options: &Options, _artefacts: &Artefacts) -> Result<Pair, Failure> {
        Err(Failure::harness("not yet"))
    }

    /// The run's directory: logs, command lines, results.
    pub fn dir(&self) -> &Path {
        Path::new("")
    }

    /// A directory with the commands `ep`, `rc` and `pair`, to be put first on a PATH.
    pub fn bin_dir(&self) -> &Path {
        Path::new("")
    }

    /// The environment of a host command that uses the pair: `PATH` and `SPIDER_PAIR_RUN`.
    pub fn env(&self) -> Vec<(OsString, OsString)> {
        vec![]
    }

    /// Whether all of it is alive; the first thing that went wrong otherwise.
    pub fn health(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// Runs a shell command in a guest and collects its output.
    ///
    /// # Errors
    /// 124 when it did not end in time; the failure of [`Pair::health`] when the guest went away.
    pub fn exec(&self, _side: Side, _command: &str, _timeout: Duration) -> Result<Output, Failure> {
        Err(Failure::harness("not yet"))
    }

    /// Waits until the function's driver has probed on the RC (after a new start of the link, or a reboot).
    pub fn wait_function(&self, _timeout: Duration) -> Result<(), Failure> {
        Ok(())
    }

    /// Writes a line into the run's timeline.
    pub fn note(&self, _text: &str) {}

    /// Ends the pair in order: the function is unplugged, then guests, device and daemons end.
    pub fn shutdown(self) -> Result<(), Failure> {
        Ok(())
    }
}

/// What a guest's command left.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Its exit status; 128 + n when signal n ended it.
    pub status: i32,
    /// Everything it wrote to stdout.
    pub stdout: Vec<u8>,
    /// Everything it wrote to stderr.
    pub stderr: Vec<u8>,
}
