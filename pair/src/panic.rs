// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A guest's console, read for the one thing that only the console tells: that its kernel panicked.

use crate::service::Tail;
use crate::side::Side;
use crate::status::{Exit, Failure};
use crate::watch::Watch;
use regex::Regex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

/// A panicking kernel is given this long to finish its report.
const LAST_WORDS: Duration = Duration::from_millis(700);

/// What a panic begins with; before it stands at most what the kernel puts before every line (printk.time, printk.caller).
static HEADING: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(\[[^\]]*\]\s*)*Kernel panic - not syncing: (.*)").expect("a regular expression")
});

/// Fails the run when the kernel's console tells of a panic, and `answers` (which may take a while) says that the guest
/// is dead indeed: a log that is printed on the console may tell of the panic of another boot.
pub fn watch_for_panic(
    side: Side,
    tail: Tail,
    watch: &Arc<Watch>,
    answers: impl Fn() -> bool + Send + Sync + 'static,
) -> Box<dyn FnMut(&str) + Send> {
    let (watch, answers) = (watch.clone(), Arc::new(answers));
    // One look at a time: a console full of quotes makes no crowd of threads.
    let looking = Arc::new(AtomicBool::new(false));
    Box::new(move |line| {
        let Some(what) = HEADING.captures(line).map(|found| found[2].to_owned()) else {
            return;
        };
        if looking.swap(true, Ordering::SeqCst) {
            return;
        }
        let (tail, watch, answers) = (tail.clone(), watch.clone(), answers.clone());
        let over = looking.clone();
        let report = move || {
            thread::sleep(LAST_WORDS);
            let (lines, dead) = (tail.lines(), !answers());
            over.store(false, Ordering::SeqCst);
            if dead {
                let message = format!(
                    "{} panicked: Kernel panic - not syncing: {what}",
                    side.title()
                );
                watch.fail(Failure::new(Exit::Panic, message).with_tail(lines));
            }
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
        let mut read = watch_for_panic(Side::Rc, Tail::default(), &watch, || false);
        for line in [
            "[    1.0] WARNING: at kernel/x.c:1",
            "[    1.0] spider: the last boot said: Kernel panic - not syncing: x",
            "# grep 'Kernel panic - not syncing: ' log",
        ] {
            read(line);
        }
        thread::sleep(LAST_WORDS * 2);
        assert!(watch.health().is_ok());
        read("[    1.1][  T231] Kernel panic - not syncing: sysrq triggered crash");
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

    #[test]
    fn a_guest_that_answers_has_only_quoted_a_panic() {
        let watch = Watch::new();
        let mut read = watch_for_panic(Side::Rc, Tail::default(), &watch, || true);
        read("[    1.1] Kernel panic - not syncing: sysrq triggered crash");
        thread::sleep(LAST_WORDS * 2);
        assert!(watch.health().is_ok());
    }
}
