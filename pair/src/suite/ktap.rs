// SPDX-License-Identifier: Apache-2.0 OR MIT
//! KTAP, version 1 (Documentation/dev-tools/ktap.rst).

use super::verdict::Verdict;
use std::io::{self, Write};

/// Writes one level of KTAP; every line is out before the call returns.
pub struct Ktap<'a> {
    out: &'a mut dyn Write,
    indent: &'static str,
    number: usize,
}

impl<'a> Ktap<'a> {
    /// The outermost level.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Ktap {
            out,
            indent: "",
            number: 0,
        }
    }

    /// A level of subtests; its result is a line of this level, after it.
    pub fn subtests(&mut self) -> Ktap<'_> {
        Ktap {
            out: self.out,
            indent: "  ",
            number: 0,
        }
    }

    /// The version line, and the plan unless it is unknown.
    pub fn header(&mut self, count: Option<usize>) -> io::Result<()> {
        self.line("KTAP version 1")?;
        match count {
            Some(count) => self.plan(count),
            None => Ok(()),
        }
    }

    /// The plan, after the results: for a header without it.
    pub fn plan(&mut self, count: usize) -> io::Result<()> {
        self.line(&format!("1..{count}"))
    }

    /// Diagnostics, a `# ` line for each line of `text`.
    pub fn diagnostic(&mut self, text: &str) -> io::Result<()> {
        text.lines()
            .try_for_each(|line| self.line(format!("# {}", clean(line)).trim_end()))
    }

    /// One result.
    pub fn result(&mut self, name: &str, verdict: &Verdict) -> io::Result<()> {
        self.number += 1;
        let number = self.number;
        let line = match verdict {
            Verdict::Pass => format!("ok {number} {name}"),
            Verdict::ExpectedFailure(reason) => {
                format!("ok {number} {name} # XFAIL {}", clean(reason))
            }
            Verdict::Skip(reason) => format!("ok {number} {name} # SKIP {}", clean(reason)),
            Verdict::Fail(..) => format!("not ok {number} {name}"),
        };
        self.line(&line)
    }

    /// A line as it is.
    pub fn line(&mut self, line: &str) -> io::Result<()> {
        // One write: what comes from elsewhere into the same file does not tear it.
        let line = format!("{}{line}\n", self.indent);
        self.out.write_all(line.as_bytes())?;
        self.out.flush()
    }
}

/// Control characters would break a line or a terminal.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\t' { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Exit;

    #[test]
    fn every_verdict_has_its_line() {
        let mut out = vec![];
        let mut ktap = Ktap::new(&mut out);
        ktap.header(Some(4)).unwrap();
        ktap.result("epf.bar0", &Verdict::Pass).unwrap();
        ktap.result("epf.msix", &Verdict::ExpectedFailure("no MSI-X".into()))
            .unwrap();
        ktap.result("epf.dma", &Verdict::Skip("two\nlines".into()))
            .unwrap();
        ktap.diagnostic("why\n\n\u{1b}[31mred").unwrap();
        ktap.result("epf.read", &Verdict::Fail(Exit::Fail, "why".into()))
            .unwrap();
        let text = "KTAP version 1\n1..4\nok 1 epf.bar0\nok 2 epf.msix # XFAIL no MSI-X\nok 3 epf.dma # SKIP two?lines\n\
                    # why\n#\n# ?[31mred\nnot ok 4 epf.read\n";
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    #[test]
    fn subtests_are_indented_and_numbered_anew() {
        let mut out = vec![];
        let mut ktap = Ktap::new(&mut out);
        ktap.header(None).unwrap();
        for round in ["round-1", "round-2"] {
            let mut inner = ktap.subtests();
            inner.header(Some(1)).unwrap();
            inner.result("epf.bar0", &Verdict::Pass).unwrap();
            ktap.result(round, &Verdict::Pass).unwrap();
        }
        let text = "KTAP version 1\n  KTAP version 1\n  1..1\n  ok 1 epf.bar0\nok 1 round-1\n  KTAP version 1\n  1..1\n  ok 1 epf.bar0\nok 2 round-2\n";
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }
}
