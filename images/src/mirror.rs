// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which Debian mirror to use: the host's own, or the one that the user names. No mirror's name is
//! known here.

use std::process::Command;

use anyhow::{bail, Context, Result};

use crate::debs::RELEASE;
use crate::step;

/// The environment variable that names a mirror, as the address of its `debian` directory.
pub const VARIABLE: &str = "SPIDER_PAIR_MIRROR";

/// One line per index that the host's apt would fetch, in fields that hold no tab.
const FORMAT: &str = "$(CREATED_BY)\t$(ORIGIN)\t$(LABEL)\t$(COMPONENT)\t$(RELEASE)\t$(REPO_URI)";

/// The mirror's address.
///
/// # Errors
///
/// The host's apt knows no Debian archive, and none is named.
pub fn choose() -> Result<String> {
    if let Some(named) = std::env::var(VARIABLE)
        .ok()
        .filter(|value| !value.is_empty())
    {
        return checked(&named);
    }
    let found = match select(&ask(&["indextargets", "--format", FORMAT])?) {
        Some(mirror) => Some(mirror),
        None => select_by_address(&ask(&["update", "--print-uris"])?),
    };
    match found {
        Some(mirror) => checked(&mirror),
        None => bail!(
            "the host's apt uses no Debian archive: \
             set {VARIABLE} to the address of one (…/debian)"
        ),
    }
}

fn ask(question: &[&str]) -> Result<String> {
    let mut command = Command::new("apt-get");
    step::clean_environment(command.args(question));
    step::output(command).context("cannot ask the host's apt for its mirrors")
}

/// Debian's main archive among the host's: origin and label tell it apart from security updates and
/// from other vendors. One that serves the wanted release already is preferred.
fn select(targets: &str) -> Option<String> {
    let candidates: Vec<(&str, &str)> = targets
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            match fields.as_slice() {
                ["Packages", "Debian", "Debian", "main", release, uri] => Some((*release, *uri)),
                _ => None,
            }
        })
        .collect();
    let wanted = candidates.iter().find(|(release, _)| *release == RELEASE);
    wanted
        .or(candidates.first())
        .map(|(_, uri)| (*uri).to_owned())
}

/// Before the first `apt-get update` there are no labels: what it would fetch has to do, `'URI'
/// FILE SIZE`, and the archive's customary name.
fn select_by_address(uris: &str) -> Option<String> {
    uris.lines().find_map(|line| {
        let uri = line.strip_prefix('\'')?.split('\'').next()?;
        let (archive, _) = uri.split_once("/dists/")?;
        archive.ends_with("/debian").then(|| archive.to_owned())
    })
}

/// Refuses what would not survive in a sources.list line.
fn checked(uri: &str) -> Result<String> {
    if !uri.contains(":/")
        || uri.contains(|c: char| c.is_whitespace() || c.is_control() || c == '[' || c == ']')
    {
        bail!(
            "{uri:?} is not the address of a mirror \
             ({VARIABLE} takes one such as scheme://host/debian)"
        );
    }
    Ok(uri.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_archive_is_told_from_its_neighbours() {
        let targets = "Packages\tVendor\tVendor\tmain\tbookworm\thttp://vendor.example/apt/\n\
            Components-amd64\tDebian\tDebian\tmain\tbookworm\thttp://other.example/debian/\n\
            Packages\tDebian\tDebian-Security\tmain\ts\thttp://mirror.example/debian-security/\n\
            Packages\tDebian\tDebian\tcontrib\tbookworm\thttp://contrib.example/debian/\n\
            Packages\tDebian\tDebian\tmain\tbookworm\thttp://mirror.example/debian/\n";
        assert_eq!(
            select(targets).as_deref(),
            Some("http://mirror.example/debian/")
        );
    }

    #[test]
    fn the_wanted_release_wins() {
        let targets = "Packages\tDebian\tDebian\tmain\tbookworm\thttp://old.example/debian/\n\
            Packages\tDebian\tDebian\tmain\ttrixie\thttp://new.example/debian/\n";
        assert_eq!(
            select(targets).as_deref(),
            Some("http://new.example/debian/")
        );
    }

    #[test]
    fn before_the_first_update_the_address_has_to_do() {
        let uris =
            "'http://mirror.example/debian-security/dists/bookworm-security/InRelease' x 0 \n\
            'http://mirror.example/debian/dists/bookworm/InRelease' y 0 \n";
        assert_eq!(
            select_by_address(uris).as_deref(),
            Some("http://mirror.example/debian")
        );
        assert_eq!(
            select_by_address("'http://u.example/ubuntu/dists/noble/InRelease' x 0\nE: x"),
            None
        );
    }

    #[test]
    fn no_archive_is_no_mirror() {
        assert_eq!(select(""), None);
        assert_eq!(
            select("Packages\tUbuntu\tUbuntu\tmain\tnoble\thttp://u.example/ubuntu/\n"),
            None
        );
        assert_eq!(select("nonsense\n\t\t\n"), None);
    }

    #[test]
    fn an_address_cannot_smuggle_options() {
        assert!(checked("http://m.example/debian").is_ok());
        for bad in [
            "",
            "mirror",
            "http://m/debian main\ndeb x",
            "[trusted=yes] http://m/debian",
        ] {
            assert!(checked(bad).is_err(), "{bad:?}");
        }
    }
}
