// SPDX-License-Identifier: Apache-2.0 OR MIT
//! In which order cases run, so that as few pairs as possible are booted.

use super::case::{Boot, Case};

/// Orders cases: those of one shared pair follow each other, then come those with a pair of their own, then those that run `pair` themselves.
///
/// Otherwise the order stays as it was; pairs come in the order of their first cases.
pub fn schedule(cases: Vec<Case>) -> Vec<Case> {
    let mut keys = vec![];
    for case in &cases {
        if let Boot::Shared(key) = &case.boot {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
    }
    let mut cases = cases;
    cases.sort_by_key(|case| match &case.boot {
        Boot::Shared(key) => keys
            .iter()
            .position(|known| known == key)
            .unwrap_or(keys.len()),
        Boot::Own(_) => keys.len() + 1,
        Boot::None => keys.len() + 2,
    });
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn one_pair_serves_all_that_share_it() {
        let heads = [
            ("a.none", "# boot: none"),
            ("b.own", "# boot: own"),
            ("c.plain", "#"),
            ("d.off", "# options: --edma off"),
            ("e.plain", "# boot: shared"),
            ("f.off", "# options: --edma  off"),
            ("g.none", "# boot: none"),
        ];
        let cases = heads.map(|(name, head)| {
            Case::parse(name.into(), Path::new(name), &format!("# P\n{head}\n")).unwrap()
        });
        let order: Vec<_> = schedule(cases.to_vec())
            .into_iter()
            .map(|case| case.name)
            .collect();
        assert_eq!(
            order,
            ["c.plain", "e.plain", "d.off", "f.off", "b.own", "a.none", "g.none"]
        );
    }
}
