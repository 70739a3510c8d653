// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a healthy kernel never prints: a case that provokes it has failed, whatever its script says.

use regex::Regex;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// WARN and BUG, oopses, the checkers of a debug kernel, lockdep, hung tasks. No RCU stalls: a busy host causes those.
static COMPLAINT: LazyLock<Regex> = LazyLock::new(|| {
    let text = r"\[ cut here \]|BUG: |Internal error: |Unable to handle kernel |UBSAN: |refcount_t: |INFO: possible |INFO: task |kmemleak: \d+ new|DMA-API: .*(error|leak|warn)|ODEBUG: ";
    Regex::new(text).expect("a regular expression")
});

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
            let first = lines.find(|line| COMPLAINT.is_match(line));
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
