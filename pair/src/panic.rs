// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A guest's console, read for the one thing that only the console tells: that its kernel panicked.

use crate::service::Tail;
use crate::side::Side;
use crate::status::{Exit, Failure};
use crate::watch::Watch;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// A panicking kernel is given this long to finish its report.
const LAST_WORDS: Duration = Duration::from_millis(700);

/// Fails the run when the kernel's console tells of a panic.
pub fn watch_for_panic(side: Side, tail: Tail, watch: &Arc<Watch>) -> Box<dyn FnMut(&str) + Send> {
    let (watch, mut seen) = (watch.clone(), false);
    Box::new(move |line| {
        if seen || !line.contains("Kernel panic - not syncing") {
            return;
        }
        seen = true;
        let (what, tail, watch) = (line.to_owned(), tail.clone(), watch.clone());
        let report = move || {
            thread::sleep(LAST_WORDS);
            let what = what.split_once("Kernel panic").map_or("", |split| split.1);
            let message = format!("{} panicked: Kernel panic{what}", side.title());
            watch.fail(Failure::new(Exit::Panic, message).with_tail(tail.lines()));
        };
        if thread::Builder::new()
            .name("last words".into())
            .spawn(report)
            .is_err()
        {
            log::error!("{side}: the guest's kernel panicked");
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_fails_the_run_and_other_words_do_not() {
        let watch = Watch::new();
        let mut read = watch_for_panic(Side::Rc, Tail::default(), &watch);
        read("[    1.0] WARNING: at kernel/x.c:1");
        assert!(watch.health().is_ok());
        read("[    1.1] Kernel panic - not syncing: sysrq triggered crash");
        let failure = watch
            .wait("the end", Duration::from_secs(10), |_| None::<()>)
            .unwrap_err();
        assert_eq!(failure.exit, Exit::Panic);
        assert!(
            failure
                .message
                .ends_with("not syncing: sysrq triggered crash"),
            "{failure}"
        );
        assert!(failure.message.contains("RC"), "{failure}");
    }
}
