// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `ep` and `rc`.

use crate::guest::exec::front_end;
use crate::guest::{Guest, GuestError};
use crate::run::{self, Sockets};
use crate::side::Side;
use crate::status::{Exit, Failure};
use std::path::Path;

/// Runs a shell command in a guest with this process's own streams; without words, a shell.
///
/// # Errors
/// 125 when no pair is running or the guest goes away, 124 when it does not answer.
pub fn in_guest(runs: &Path, side: Side, words: &[String]) -> Result<Exit, Failure> {
    let (_, record) = run::find(runs)?;
    let guest = Guest::new(side.name(), Sockets(record.sockets).agent(side));
    let status = front_end(&guest, &words.join(" ")).map_err(|error| {
        let exit = match error {
            GuestError::NotReady { .. } => Exit::Timeout,
            _ => Exit::Harness,
        };
        let mut failure = Failure::from(anyhow::Error::new(error));
        failure.exit = exit;
        failure
    })?;
    Ok(Exit::Command(status))
}
