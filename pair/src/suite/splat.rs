// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a healthy kernel never prints: a case that provokes it has failed, whatever its script says.

use regex::Regex;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// How Linux 7.3 begins what it has to complain about, by the part of the kernel that does. The texts are those of its
/// source; `every_heading_of_the_kernel_is_known` has one line of each.
///
/// Not here is what says that a machine is slow and nothing else: `workqueue: … hogged CPU`, `sched: RT throttling`.
const HEADINGS: &[&str] = &[
    // WARN and BUG (include/asm-generic/bug.h, kernel/panic.c, lib/bug.c). A WARN alone has a file and a line.
    r"\[ cut here \]",
    r"WARNING: (\S+:\d+ )?at ",
    "kernel BUG at ",
    // Each checker whose reports are called BUG: KASAN, KFENCE, KCSAN, KMSAN, scheduler, workqueue, soft lockup, spinlocks,
    // page tables and page state, preemption, mempools, lockdep's own limits.
    "BUG: ",
    // mm/slub.c names the cache first.
    r"BUG \S+ \(",
    // arch/arm64: oopses, and exceptions that have no other report.
    "Internal error: ",
    "Unable to handle kernel ",
    "SError Interrupt on CPU",
    "Insufficient stack space to handle exception",
    "Kernel panic - not syncing",
    // kernel/locking/lockdep.c and RCU, which it looks at too.
    "WARNING: possible (circular|recursive|irq lock inversion) ",
    r"WARNING: \S+-safe -> \S+-unsafe lock order detected",
    "WARNING: inconsistent lock state",
    "WARNING: bad (unlock balance|contention) detected",
    "WARNING: held lock freed",
    "WARNING: .* still has locks held",
    "WARNING: lock held when returning to user space",
    "WARNING: Nested lock was not taken",
    "WARNING: chain_key collision",
    "WARNING: suspicious RCU usage",
    "INFO: trying to register non-static key",
    // As kernels before 7 head them; a user's own tree may be one.
    "INFO: possible ",
    // kernel/rcu/tree_stall.h, tree_exp.h, tasks.h. The guests' limit is long enough for a busy host (qemu.rs).
    r"INFO: \S+ (self-)?detected (expedited )?stalls? on ",
    "INFO: rcu_tasks detected stalls on tasks",
    // kernel/hung_task.c, kernel/watchdog.c
    "INFO: task ",
    "Watchdog detected hard LOCKUP",
    // kernel/irq/spurious.c, kernel/softirq.c, kernel/sched/idle.c
    r"irq (event )?\d+: (nobody cared|bogus return value)",
    r"Disabling IRQ #\d",
    "huh, entered softirq",
    "bad: scheduling from the idle thread",
    // Hardening: lib/refcount.c, lib/list_debug.c, mm/usercopy.c, lib/ubsan.c, arch/arm64's CFI.
    "refcount_t: ",
    "list_(add|del) corruption",
    "Kernel memory (exposure|overwrite) attempt detected",
    "UBSAN: ",
    "CFI failure at ",
    // lib/debugobjects.c, mm/kmemleak.c, kernel/dma/debug.c; what a checker says that gives up counts as well.
    "ODEBUG: ",
    r"kmemleak: \d+ new",
    "kmemleak: (Memory pool empty|Cannot allocate|Kernel memory leak detector disabled)",
    "DMA-API: .*(error|leak|warn|device driver|mapping sg segment|cacheline tracking|out of memory)",
    // Page tables (arch/arm64/include/asm/pgtable.h) and pages (mm/debug.c, mm/page_alloc.c).
    r"bad (p[gmu4]d|pte) [0-9a-f]{16}",
    "page dumped because: ",
    "page allocation failure: ",
    "invoked oom-killer: ",
    // lib/kobject.c, fs/sysfs, fs/debugfs: a name that is taken, an object that is none.
    "something is seriously wrong",
    "with -EEXIST, don't try to register things with the same name",
    "cannot create duplicate filename",
    // A backtrace (arch/arm64/kernel/stacktrace.c): whatever made the kernel print one, it was no good news.
    "Call trace:$",
];

static COMPLAINT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(&HEADINGS.join("|")).expect("a regular expression"));

/// Whether this line of a console begins a complaint of the kernel.
pub fn is_complaint(line: &str) -> bool {
    COMPLAINT.is_match(line)
}

/// A pair's consoles, each read as far as it was looked at.
pub struct Consoles(Vec<(PathBuf, u64)>);

impl Consoles {
    /// The consoles of the run in `dir`, from their beginning.
    pub fn new(dir: &Path) -> Self {
        Consoles(
            ["ep.log", "rc.log"]
                .map(|name| (dir.join(name), 0))
                .to_vec(),
        )
    }

    /// The first complaint since the last look, with the line after it, which says what it is about. One that
    /// `expected` matches is none, and what follows on the same console is its consequence.
    pub fn complaint(&mut self, expected: Option<&Regex>) -> Option<String> {
        let mut found = None;
        for (path, offset) in &mut self.0 {
            // A console that is not there has nothing to say.
            let text = read_on(path, offset).unwrap_or_default();
            let mut lines = text.lines();
            let first = lines.find(|line| is_complaint(line.trim_end()));
            if let (None, Some(line)) = (&found, first) {
                let console = path.file_name().unwrap_or_default().to_string_lossy();
                let next = lines.next().unwrap_or_default();
                if expected.is_some_and(|it| it.is_match(line) || it.is_match(next)) {
                    continue;
                }
                found = Some(format!(
                    "{console} has a complaint of the kernel: {}\n{}",
                    line.trim(),
                    next.trim()
                ));
            }
        }
        found
    }
}

fn read_on(path: &Path, offset: &mut u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(*offset))?;
    let mut bytes = vec![];
    *offset += file.read_to_end(&mut bytes)? as u64;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// Lines as Linux 7.3 prints them, by the formats in its source.
    #[test]
    fn every_heading_of_the_kernel_is_known() {
        let lines = include_str!("splat/complaints.txt");
        let lines: Vec<_> = lines
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        assert!(lines.len() > 60);
        for line in &lines {
            assert!(is_complaint(line), "{line}");
        }
        for heading in HEADINGS {
            let heading = Regex::new(heading).unwrap();
            assert!(
                lines.iter().any(|line| heading.is_match(line)),
                "{heading}: no line"
            );
        }
    }

    #[test]
    fn what_a_healthy_kernel_prints_is_no_complaint() {
        for line in include_str!("splat/healthy.txt").lines() {
            assert!(!is_complaint(line), "{line}");
        }
    }

    #[test]
    fn a_complaint_is_found_once_and_only_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut consoles = Consoles::new(dir.path());
        assert_eq!(consoles.complaint(None), None, "no log yet");
        let mut log = File::create(dir.path().join("rc.log")).unwrap();
        writeln!(
            log,
            "[    0.1] Booting\n[    0.2] DMA-API: preallocated 65536 debug entries"
        )
        .unwrap();
        assert_eq!(consoles.complaint(None), None);
        writeln!(log, "[    1.0] ------------[ cut here ]------------\n[    1.0] WARNING: at x.c:3\n[ 2] BUG: y").unwrap();
        let expected = |text| Regex::new(text).unwrap();
        let mut again = Consoles::new(dir.path());
        assert_eq!(again.complaint(Some(&expected("WARNING: at x"))), None);
        let mut again = Consoles::new(dir.path());
        assert!(again.complaint(Some(&expected("WARNING: at y"))).is_some());
        let text = consoles.complaint(None).unwrap();
        assert!(
            text.contains("rc.log") && text.ends_with("WARNING: at x.c:3"),
            "{text}"
        );
        assert_eq!(consoles.complaint(None), None);
    }
}
