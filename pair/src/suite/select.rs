// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which cases run: those below the suite's root whose names match, in one tier.

use super::case::{Case, Tier};
use crate::status::Failure;
use globset::{Glob, GlobSet, GlobSetBuilder};
use std::path::Path;

/// Scripts below the suite's root that are no cases: they measure, and have nothing to pass or fail.
const BENCHMARKS: &str = "bench";

/// Every case below `root`, by name: `root/<suite>/<case>.sh` is `<suite>.<case>`.
///
/// # Errors
/// A directory or script that cannot be read, and every bad head, each with its file and line.
pub fn discover(root: &Path) -> Result<Vec<Case>, Failure> {
    let unreadable = |path: &Path, error| {
        Failure::harness(format!("cannot read {}", path.display())).caused_by(error)
    };
    let list = |directory: &Path| -> Result<Vec<_>, Failure> {
        let entries = std::fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut paths: Vec<_> = entries
            .map_err(|error| unreadable(directory, error))?
            .iter()
            .map(std::fs::DirEntry::path)
            .collect();
        paths.sort();
        Ok(paths)
    };
    let (mut cases, mut errors) = (vec![], vec![]);
    for suite in list(root)?
        .iter()
        .filter(|path| path.is_dir() && !path.ends_with(BENCHMARKS))
    {
        for script in list(suite)?
            .iter()
            .filter(|path| path.extension().is_some_and(|end| end == "sh"))
        {
            let (Some(suite), Some(stem)) = (suite.file_name(), script.file_stem()) else {
                continue;
            };
            let name = format!("{}.{}", suite.to_string_lossy(), stem.to_string_lossy());
            let text =
                std::fs::read_to_string(script).map_err(|error| unreadable(script, error))?;
            match Case::parse(name, script, &text) {
                Ok(case) => cases.push(case),
                Err(error) => errors.push(error.to_string()),
            }
        }
    }
    if errors.is_empty() {
        Ok(cases)
    } else {
        let mut failure = Failure::harness("the suite has scripts with a bad head");
        failure.causes = errors;
        Err(failure)
    }
}

/// The cases of `tier` whose names match one of `patterns` (all of them, if there is none), in their old order.
///
/// # Errors
/// A pattern that is no glob, or one that selects nothing: it is misspelt, or means the other tier.
pub fn select(cases: Vec<Case>, patterns: &[String], tier: Tier) -> Result<Vec<Case>, Failure> {
    let globs = patterns
        .iter()
        .map(|pattern| Ok((pattern, glob(pattern)?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    for (pattern, glob) in &globs {
        let mut matching = cases
            .iter()
            .filter(|case| glob.is_match(&case.name))
            .peekable();
        if matching.peek().is_none() {
            return Err(Failure::harness(format!("no case is called `{pattern}`"))
                .with_hint("`pair list` prints them all"));
        }
        if matching.all(|case| case.tier != tier) {
            let hint = match tier {
                Tier::Ci => "add --soak",
                Tier::Soak => "leave --soak away",
            };
            return Err(
                Failure::harness(format!("`{pattern}` is in the other tier")).with_hint(hint),
            );
        }
    }
    let wanted =
        |case: &Case| globs.is_empty() || globs.iter().any(|(_, glob)| glob.is_match(&case.name));
    Ok(cases
        .into_iter()
        .filter(|case| case.tier == tier && wanted(case))
        .collect())
}

fn glob(pattern: &str) -> Result<GlobSet, Failure> {
    Glob::new(pattern)
        .and_then(|glob| GlobSetBuilder::new().add(glob).build())
        .map_err(|error| Failure::harness(format!("`{pattern}` is no glob")).caused_by(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let scripts = [
            ("epf/bar0.sh", "# B\n"),
            ("epf/bar2.sh", "# B\n"),
            ("epf/long.sh", "# L\n# tier: soak\n"),
            ("vntb/ntb-test.perf.sh", "# N\n"),
            ("vntb/README.md", "not a case"),
            ("lib.sh", "not a case"),
            ("bench/pair.sh", "not a case"),
        ];
        for (path, text) in scripts {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    fn names(patterns: &[&str], tier: Tier) -> Result<Vec<String>, String> {
        let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.into()).collect();
        let cases = select(discover(suite().path()).unwrap(), &patterns, tier)
            .map_err(|failure| failure.report())?;
        Ok(cases.into_iter().map(|case| case.name).collect())
    }

    #[test]
    fn names_come_from_places() {
        assert_eq!(
            names(&[], Tier::Ci).unwrap(),
            ["epf.bar0", "epf.bar2", "vntb.ntb-test.perf"]
        );
        assert_eq!(names(&[], Tier::Soak).unwrap(), ["epf.long"]);
    }

    #[test]
    fn patterns_are_globs_over_whole_names() {
        assert_eq!(
            names(&["epf.*"], Tier::Ci).unwrap(),
            ["epf.bar0", "epf.bar2"]
        );
        assert_eq!(
            names(&["vntb.*", "epf.bar{0,1}"], Tier::Ci).unwrap(),
            ["epf.bar0", "vntb.ntb-test.perf"]
        );
        assert_eq!(
            names(&["epf.bar"], Tier::Ci).unwrap_err(),
            "no case is called `epf.bar`\n  `pair list` prints them all"
        );
        assert!(names(&["epf.{"], Tier::Ci)
            .unwrap_err()
            .starts_with("`epf.{` is no glob"));
    }

    #[test]
    fn a_pattern_for_the_other_tier_is_told_so() {
        assert_eq!(
            names(&["epf.long"], Tier::Ci).unwrap_err(),
            "`epf.long` is in the other tier\n  add --soak"
        );
        assert!(names(&["epf.bar*"], Tier::Soak)
            .unwrap_err()
            .contains("leave --soak away"));
    }

    #[test]
    fn all_bad_heads_are_reported_at_once() {
        let root = suite();
        std::fs::write(root.path().join("epf/a.sh"), "# A\n# boot: x\n").unwrap();
        std::fs::write(root.path().join("epf/b.sh"), "true\n").unwrap();
        let failure = discover(root.path()).unwrap_err();
        assert_eq!(failure.exit, crate::Exit::Harness);
        assert_eq!(failure.causes.len(), 2);
        assert!(failure.causes[0].contains("a.sh:2: boot is"), "{failure:?}");
    }
}
