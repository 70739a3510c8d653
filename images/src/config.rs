// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Kernel configurations: what one demands and another lacks.

use std::collections::BTreeMap;
use std::io::Read;

/// The symbols that a `.config` or a fragment sets; `n` for one that is not set.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Config(BTreeMap<String, String>);

impl Config {
    /// Reads `CONFIG_A=value` and `# CONFIG_A is not set`; any other line is a comment.
    pub fn parse(text: &str) -> Self {
        let symbol = |line: &str| {
            let line = line.trim();
            if let Some(name) = line
                .strip_prefix("# ")
                .and_then(|rest| rest.strip_suffix(" is not set"))
            {
                return name
                    .starts_with("CONFIG_")
                    .then(|| (name.to_owned(), "n".to_owned()));
            }
            let (name, value) = line.split_once('=')?;
            name.starts_with("CONFIG_")
                .then(|| (name.to_owned(), value.to_owned()))
        };
        Config(text.lines().filter_map(symbol).collect())
    }

    /// The configuration that an image carries (`CONFIG_IKCONFIG`).
    pub fn of_image(image: &[u8]) -> Option<Self> {
        const LARGEST: u64 = 16 << 20;
        let start = find(image, b"IKCFG_ST")? + 8;
        let end = start + find(&image[start..], b"IKCFG_ED")?;
        let mut text = String::new();
        flate2::read::GzDecoder::new(&image[start..end])
            .take(LARGEST)
            .read_to_string(&mut text)
            .ok()?;
        Some(Self::parse(&text))
    }

    /// A symbol's value; `n` if it is not named at all.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("n", String::as_str)
    }

    /// Each line of `fragment` that is not so here.
    pub fn differing(&self, fragment: &Config) -> Vec<String> {
        fragment
            .0
            .iter()
            .filter(|(name, value)| self.get(name) != value.as_str())
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    /// Each line of `required` that is not met: a module (`m`) may be built in as well.
    pub fn missing(&self, required: &Config) -> Vec<String> {
        required
            .0
            .iter()
            .filter(|(name, value)| match value.as_str() {
                "m" => !matches!(self.get(name), "m" | "y"),
                value => self.get(name) != value,
            })
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }
}

/// Where `needle` first stands in `haystack`.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn every_missing_symbol_is_named() {
        let have = Config::parse("CONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_S=\"x\"\n");
        let want =
            Config::parse("# why\nCONFIG_A=y\nCONFIG_B=y\nCONFIG_C=m\nCONFIG_D=y\nCONFIG_E=n\n");
        assert_eq!(
            have.missing(&want),
            ["CONFIG_B=y", "CONFIG_C=m", "CONFIG_D=y"]
        );
    }

    #[test]
    fn a_module_may_be_built_in_but_not_in_our_own_fragment() {
        let have = Config::parse("CONFIG_A=y\n");
        let want = Config::parse("CONFIG_A=m\n");
        assert!(have.missing(&want).is_empty());
        assert_eq!(have.differing(&want), ["CONFIG_A=m"]);
    }

    #[test]
    fn an_image_may_carry_its_configuration() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"CONFIG_A=y\n").unwrap();
        let image = [
            &b"junk IKCFG_ST"[..],
            &packed.finish().unwrap(),
            b"IKCFG_ED junk",
        ]
        .concat();
        assert_eq!(Config::of_image(&image), Some(Config::parse("CONFIG_A=y")));
        assert_eq!(Config::of_image(b"IKCFG_ST no gzip IKCFG_ED"), None);
        assert_eq!(Config::of_image(b"IKCFG_ST"), None);
    }
}
