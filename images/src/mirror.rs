// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which Debian mirror to use: the host's own, or the one that the user names. No mirror's name is known here.

use std::process::Command;

use anyhow::{bail, Context, Result};

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
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", FORMAT]);
    step::clean_environment(&mut command);
    let targets = step::output(command).context("cannot ask the host's apt for its mirrors")?;
    match select(&targets) {
        Some(mirror) => checked(mirror),
        None => bail!("the host's apt uses no Debian archive: set {VARIABLE} to the address of one (…/debian)"),
    }
}

/// Debian's main archive among the host's. Origin and label tell it apart from security updates and from other
/// vendors; they are known only after an `apt-get update`, so the shape of the address has to do before.
fn select(targets: &str) -> Option<&str> {
    let candidates = || {
        targets.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let &[created_by, origin, label, component, release, uri] = fields.as_slice() else {
                return None;
            };
            (created_by == "Packages" && component == "main")
                .then_some((origin, label, release, uri))
        })
    };
    let by_label = |wanted_release: Option<&str>| {
        candidates()
            .find(|&(origin, label, release, _)| {
                origin == "Debian"
                    && label == "Debian"
                    && wanted_release.is_none_or(|wanted| release == wanted)
            })
            .map(|(.., uri)| uri)
    };
    by_label(Some(crate::debs::RELEASE))
        .or_else(|| by_label(None))
        .or_else(|| {
            candidates()
                .find(|(origin, _, _, uri)| {
                    origin.is_empty() && uri.trim_end_matches('/').ends_with("/debian")
                })
                .map(|(.., uri)| uri)
        })
}

/// Refuses what would not survive in a sources.list line.
fn checked(uri: &str) -> Result<String> {
    if !uri.contains(":/")
        || uri.contains(|c: char| c.is_whitespace() || c.is_control() || c == '[' || c == ']')
    {
        bail!("{uri:?} is not the address of a mirror ({VARIABLE} takes one such as scheme://host/debian)");
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
            Packages\tDebian\tDebian-Security\tmain\tbookworm-security\thttp://mirror.example/debian-security/\n\
            Packages\tDebian\tDebian\tcontrib\tbookworm\thttp://contrib.example/debian/\n\
            Packages\tDebian\tDebian\tmain\tbookworm\thttp://mirror.example/debian/\n";
        assert_eq!(select(targets), Some("http://mirror.example/debian/"));
    }

    #[test]
    fn the_wanted_release_wins() {
        let targets = "Packages\tDebian\tDebian\tmain\tbookworm\thttp://old.example/debian/\n\
            Packages\tDebian\tDebian\tmain\ttrixie\thttp://new.example/debian/\n";
        assert_eq!(select(targets), Some("http://new.example/debian/"));
    }

    #[test]
    fn before_the_first_update_the_address_has_to_do() {
        let targets =
            "Packages\t\t\tmain\tbookworm-security\thttp://mirror.example/debian-security/\n\
            Packages\t\t\tmain\tbookworm\thttp://mirror.example/debian/\n";
        assert_eq!(select(targets), Some("http://mirror.example/debian/"));
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
