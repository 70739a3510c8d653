// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One case of the suite: a script, and what the comments at its head say of it.
//!
//! ```text
//! #!/usr/bin/env bash
//! # SPDX-License-Identifier: Apache-2.0 OR MIT
//! # BAR 4 refuses a sub-range map: it is 256 bytes, below the iATU's granule.
//! #
//! # function: epf-test
//! # timeout: 60
//! # xfail: BAR 4 is fixed at 256 bytes
//! # xfail-match: BAR_SUBRANGE_TEST:Expected 0 \(0\) == ret
//! ```

use crate::function::Function;
use clap::ValueEnum;
use regex::Regex;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a case may take when its head does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

/// The keys that a head may hold.
const KEYS: &str = "function, options, tier, timeout, boot, complaint, xfail, xfail-match";

/// One case of the suite.
#[derive(Clone, Debug)]
pub struct Case {
    /// `<suite>.<case>`, from the script's place below the suite's root.
    pub name: String,
    /// The script.
    pub path: PathBuf,
    /// What it shows: the head's first paragraph, as one line.
    pub purpose: String,
    /// The tier in which it runs.
    pub tier: Tier,
    /// When it is killed.
    pub timeout: Duration,
    /// The pair that it runs on.
    pub boot: Boot,
    /// What a kernel's complaint must match for the case to be the one that provokes it: it then does not fail for it.
    pub complaint: Option<Regex>,
    /// Set if the hardware itself fails it.
    pub xfail: Option<ExpectedFailure>,
}

/// When a case runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Always: the tier with a budget of minutes.
    Ci,
    /// With `--soak` only.
    Soak,
}

/// The pair that a case runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Boot {
    /// One booted with these, which other cases may use before and after.
    Shared(BootKey),
    /// One booted with these for this case alone.
    Own(BootKey),
    /// None: the case runs `pair` itself.
    None,
}

/// What makes two cases' pairs the same pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootKey {
    /// What the EP sets up.
    pub function: Function,
    /// More options of `pair run`, a word each.
    pub options: Vec<String>,
}

/// A failure that the real hardware has too.
#[derive(Clone, Debug)]
pub struct ExpectedFailure {
    /// Why it fails.
    pub reason: String,
    /// What the output must match for the failure to be that one.
    pub pattern: Regex,
}

/// A head that does not say what it should.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{}:{line}: {what}", path.display())]
pub struct HeadError {
    /// The script.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl Case {
    /// Reads the head of the script at `path`, whose text is `text`.
    ///
    /// # Errors
    /// No purpose, an unknown or repeated key, a value that the key does not take, or keys that contradict each other.
    pub fn parse(name: String, path: &Path, text: &str) -> Result<Case, HeadError> {
        let error = |line: usize, what: String| HeadError {
            path: path.to_owned(),
            line,
            what,
        };
        let head = Head::read(text).map_err(|(line, what)| error(line, what))?;

        let tier = match head.get("tier") {
            None | Some((_, "ci")) => Tier::Ci,
            Some((_, "soak")) => Tier::Soak,
            Some((line, other)) => {
                return Err(error(line, format!("tier is ci or soak, not `{other}`")))
            }
        };
        let timeout = match head.get("timeout") {
            None => DEFAULT_TIMEOUT,
            Some((line, value)) => match value.parse() {
                Ok(seconds) if seconds > 0 => Duration::from_secs(seconds),
                _ => {
                    return Err(error(
                        line,
                        format!("timeout is a number of seconds from 1, not `{value}`"),
                    ))
                }
            },
        };
        let xfail = match (head.get("xfail"), head.get("xfail-match")) {
            (None, None) => None,
            (Some((_, reason)), Some((line, pattern))) => Some(ExpectedFailure {
                reason: reason.to_owned(),
                pattern: Regex::new(&format!("(?m){pattern}")).map_err(|bad| {
                    error(line, format!("xfail-match is no regular expression: {bad}"))
                })?,
            }),
            (Some((line, _)), None) => {
                return Err(error(
                    line,
                    "xfail needs xfail-match, or any failure would count as the expected one"
                        .into(),
                ))
            }
            (None, Some((line, _))) => {
                return Err(error(line, "xfail-match needs xfail, the reason".into()))
            }
        };
        let complaint = match head.get("complaint") {
            None => None,
            Some((line, pattern)) => Some(Regex::new(pattern).map_err(|bad| {
                error(line, format!("complaint is no regular expression: {bad}"))
            })?),
        };
        let function = match head.get("function") {
            None => Function::default(),
            Some((line, value)) => Function::from_str(value, false)
                .map_err(|_| error(line, format!("no function is called `{value}`")))?,
        };
        let options = match head.get("options") {
            None => vec![],
            Some((line, value)) => shell_words::split(value)
                .map_err(|_| error(line, "options has a quotation mark without its pair".into()))?,
        };
        let key = BootKey { function, options };
        let boot = match head.get("boot") {
            None | Some((_, "shared")) => Boot::Shared(key),
            Some((_, "own")) => Boot::Own(key),
            Some((_, "none")) => match head.get("function").or(head.get("options")) {
                None => Boot::None,
                Some((line, _)) => {
                    return Err(error(
                        line,
                        "nothing is booted for a case with `boot: none`".into(),
                    ))
                }
            },
            Some((line, other)) => {
                return Err(error(
                    line,
                    format!("boot is shared, own or none, not `{other}`"),
                ))
            }
        };
        Ok(Case {
            name,
            path: path.to_owned(),
            purpose: head.purpose,
            tier,
            timeout,
            boot,
            complaint,
            xfail,
        })
    }
}

/// The comments before a script's first command.
struct Head<'a> {
    purpose: String,
    /// Line from 1, key, value.
    fields: Vec<(usize, &'a str, &'a str)>,
}

impl<'a> Head<'a> {
    fn read(text: &'a str) -> Result<Head<'a>, (usize, String)> {
        let mut purpose = String::new();
        // Its lines follow each other.
        let mut purpose_over = false;
        let mut fields: Vec<(usize, &str, &str)> = vec![];
        let comments = text
            .lines()
            .enumerate()
            .map_while(|(index, line)| Some((index + 1, line.strip_prefix('#')?)));
        for (line, comment) in comments {
            let comment = comment.trim();
            purpose_over |= !purpose.is_empty() && comment.is_empty();
            if comment.is_empty() || comment.starts_with('!') || comment.starts_with("SPDX-") {
                continue;
            }
            match comment.split_once(':') {
                Some((key, value)) if is_key(key) => {
                    if !KEYS.split(", ").any(|known| known == key) {
                        return Err((line, format!("unknown key `{key}`; there are {KEYS}")));
                    }
                    if fields.iter().any(|(_, earlier, _)| *earlier == key) {
                        return Err((line, format!("`{key}` is here twice")));
                    }
                    if value.trim().is_empty() {
                        return Err((line, format!("`{key}` has no value")));
                    }
                    purpose_over |= !purpose.is_empty();
                    fields.push((line, key, value.trim()));
                }
                _ if purpose_over => {}
                _ => {
                    if !purpose.is_empty() {
                        purpose.push(' ');
                    }
                    purpose += comment;
                }
            }
        }
        match purpose.is_empty() {
            false => Ok(Head { purpose, fields }),
            true => Err((
                1,
                "the head says nothing: add a comment line with what the case shows".into(),
            )),
        }
    }

    fn get(&self, key: &str) -> Option<(usize, &'a str)> {
        self.fields
            .iter()
            .find(|(_, known, _)| *known == key)
            .map(|&(line, _, value)| (line, value))
    }
}

/// Whether this could be meant as a key: one word of small letters.
fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Case, String> {
        Case::parse("epf.x".into(), Path::new("ci/epf/x.sh"), text)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_purpose_alone_is_a_shared_ci_case() {
        let case = parse("#!/bin/sh\n# SPDX-License-Identifier: MIT\n# Shows x: it works.\n\necho # tier: soak\n").unwrap();
        assert_eq!(case.purpose, "Shows x: it works.");
        assert_eq!((case.tier, case.timeout), (Tier::Ci, DEFAULT_TIMEOUT));
        assert_eq!(
            case.boot,
            Boot::Shared(BootKey {
                function: Function::EpfTest,
                options: vec![]
            })
        );
        assert!(case.xfail.is_none());
    }

    #[test]
    fn a_purpose_of_several_lines_is_told_whole() {
        let case = parse("# Shows x,\n# and y.\n#\n# How: z.\n# tier: ci\n# More.\n").unwrap();
        assert_eq!(case.purpose, "Shows x, and y.");
    }

    #[test]
    fn every_key_is_read() {
        let case = parse(
            "# Shows x\n#\n# function: none\n# options: --append 'a b' --edma off\n# tier: soak\n# timeout: 7\n# boot: own\n\
             # complaint: ^WARN\n# xfail: no INTx\n# xfail-match: ^not ok\n",
        )
        .unwrap();
        assert_eq!(
            (case.tier, case.timeout),
            (Tier::Soak, Duration::from_secs(7))
        );
        let options = ["--append", "a b", "--edma", "off"]
            .map(String::from)
            .to_vec();
        assert_eq!(
            case.boot,
            Boot::Own(BootKey {
                function: Function::None,
                options
            })
        );
        assert!(case.complaint.unwrap().is_match("WARNING: at x.c"));
        let xfail = case.xfail.unwrap();
        assert_eq!(xfail.reason, "no INTx");
        assert!(
            xfail.pattern.is_match("first\nnot ok 1"),
            "^ is the start of any line"
        );
    }

    #[test]
    fn a_bad_head_is_named_with_its_line() {
        let table = [
            ("\n# Too late\n", "1: the head says nothing: add a comment line with what the case shows"),
            ("# P\n# teir: ci\n", "2: unknown key `teir`; there are function, options, tier, timeout, boot, complaint, xfail, xfail-match"),
            ("# P\n# tier: ci\n# tier: soak\n", "3: `tier` is here twice"),
            ("# P\n# tier:\n", "2: `tier` has no value"),
            ("# P\n# tier: fast\n", "2: tier is ci or soak, not `fast`"),
            ("# P\n# timeout: 0\n", "2: timeout is a number of seconds from 1, not `0`"),
            ("# P\n# boot: twice\n", "2: boot is shared, own or none, not `twice`"),
            ("# P\n# boot: none\n# function: none\n", "3: nothing is booted for a case with `boot: none`"),
            ("# P\n# function: epf-tset\n", "2: no function is called `epf-tset`"),
            ("# P\n# options: --append 'x\n", "2: options has a quotation mark without its pair"),
            ("# P\n# complaint: (\n", "2: complaint is no regular expression: regex parse error:\n    (\n    ^\nerror: unclosed group"),
            ("# P\n# xfail: y\n", "2: xfail needs xfail-match, or any failure would count as the expected one"),
            ("# P\n# xfail-match: y\n", "2: xfail-match needs xfail, the reason"),
        ];
        for (text, error) in table {
            assert_eq!(parse(text).unwrap_err(), format!("ci/epf/x.sh:{error}"));
        }
        let error = parse("# P\n# xfail: y\n# xfail-match: (\n").unwrap_err();
        assert!(
            error.starts_with("ci/epf/x.sh:3: xfail-match is no regular expression"),
            "{error}"
        );
    }
}
