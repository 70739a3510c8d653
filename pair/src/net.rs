// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `--net`: a network between the guests, over the function.

use crate::compose::script_path;
use crate::function::Recipe;
use crate::guest::Output;
use crate::process::quote;
use crate::session::Pair;
use crate::side::{Side, Sides};
use crate::status::{Exit, Failure};
use std::thread;
use std::time::Duration;

/// The guests' addresses, in one network of 24 bits; each finds the other by its name, `ep` or `rc`, too.
pub const ADDRESSES: Sides<&str> = Sides {
    ep: "10.0.0.10",
    rc: "10.0.0.11",
};

/// What is in the guest where the functions' scripts are ([`crate::compose`]).
pub const SCRIPT: &str = "net.sh";

/// Whether this function can carry a network.
///
/// # Errors
/// 125 when it cannot.
pub fn check(recipe: &Recipe) -> Result<(), Failure> {
    match recipe.net {
        Some(_) => Ok(()),
        None => {
            let message = format!("--net: {} carries no network", recipe.name);
            Err(Failure::harness(message).with_hint("--function vntb does"))
        }
    }
}

/// Sets both ends up at once, each waiting for the other, and says what they are: `eth0 10.0.0.10`.
///
/// # Errors
/// 125 when a script failed, with what it said; 124 past `limit`; the failure of [`Pair::health`].
pub fn bring_up(pair: &Pair, limit: Duration) -> Result<Sides<String>, Failure> {
    let script = script_path(SCRIPT);
    let end = |side| outcome(side, &pair.exec(side, &command(side, &script), limit)?);
    let (ep, rc) = thread::scope(|scope| {
        let ep = scope.spawn(|| end(Side::Ep));
        let rc = end(Side::Rc);
        let lost = || Err(Failure::harness("the EP's end of the network was lost"));
        (ep.join().unwrap_or_else(|_| lost()), rc)
    });
    match (ep, rc) {
        (Ok(ep), Ok(rc)) => Ok(Sides { ep, rc }),
        // One that failed at once explains the other's timeout.
        (Err(ep), Err(rc)) if ep.exit == Exit::Timeout => Err(rc),
        (Err(failure), _) | (_, Err(failure)) => Err(failure),
    }
}

/// The shell command that sets this side's end up, given its script's path. The other end has to be set up meanwhile.
fn command(side: Side, script: &str) -> String {
    let peer = match side {
        Side::Ep => Side::Rc,
        Side::Rc => Side::Ep,
    };
    format!(
        "{} {side} {} {peer} {}",
        quote(script),
        ADDRESSES[side],
        ADDRESSES[peer]
    )
}

/// What the script found, or why it failed.
fn outcome(side: Side, output: &Output) -> Result<String, Failure> {
    let status = output.exit.status();
    if status == 0 {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let message = format!(
        "the network cannot be brought up on {} (status {status})",
        side.title()
    );
    Err(Failure::harness(message)
        .with_tail(said.lines().map(str::to_owned).collect())
        .with_hint(format!("{side}.log has the kernel's side of it")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Function;

    #[test]
    fn each_side_is_told_its_own_address_first() {
        assert_eq!(command(Side::Ep, "/x"), "/x ep 10.0.0.10 rc 10.0.0.11");
        assert_eq!(command(Side::Rc, "/x"), "/x rc 10.0.0.11 ep 10.0.0.10");
    }

    #[test]
    fn only_an_ntb_carries_a_network() {
        check(Function::Vntb.recipe()).unwrap();
        let refused = check(Function::EpfTest.recipe()).unwrap_err().report();
        assert!(refused.contains("epf-test carries no network"), "{refused}");
    }
}
