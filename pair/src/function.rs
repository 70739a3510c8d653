// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The endpoint functions: what each needs in the guests, and what proves that it is there.

use crate::side::Sides;
use std::fmt;
use std::str::FromStr;

/// `--function`: what the EP sets up before link-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Function {
    /// Nothing: configfs is left to the user.
    None,
    /// The kernel's `pci-epf-test`, as 1912:0031 with 32 MSIs.
    #[default]
    EpfTest,
    /// The kernel's `pci-epf-vntb`, as 1912:0030: an NTB device in each guest; `--net` makes a network of them.
    Vntb,
    /// Our `pci_epf_vntb` and `ntb_hw_epf` in place of the kernel's: the EP exports four DMA channels, and the RC has
    /// them as a DMA engine by our `dw_edma_aux`.
    VntbDma,
}

/// Everything the runner must know of a function.
#[derive(Debug)]
pub struct Recipe {
    /// The name on the command line.
    pub name: &'static str,
    /// Modules that each guest loads when it boots, in order (`modprobe` names).
    pub modules: Sides<&'static [&'static str]>,
    /// Modules of ours that take the place of the kernel's own of the same name.
    pub ours: &'static [&'static str],
    /// The endpoint function's driver, as configfs names it; `None` leaves the link to the user. [`SET_UP`] binds it.
    pub driver: Option<&'static str>,
    /// What `--function-opt` can change, in the order in which the script is to write it.
    pub keys: &'static [Key],
    /// A path in the RC guest that exists once the function's driver has probed.
    pub probed: Option<&'static str>,
    /// A shell script that makes a network of it, run in both guests at once: [`crate::net`].
    pub net: Option<&'static str>,
}

/// A shell script that sets a function up and starts the link, run in the EP guest with the recipe's driver and every
/// [`Key`], `name=value`, as arguments.
pub const SET_UP: &str = include_str!("../functions/set-up.sh");

/// A configfs attribute of a function, and its value unless `--function-opt` says otherwise.
#[derive(Debug)]
pub struct Key {
    /// The attribute's file name.
    pub name: &'static str,
    /// As the kernel takes it.
    pub value: &'static str,
    /// What else it may be.
    pub takes: Takes,
}

/// The values of a [`Key`]: what the kernel refuses is refused before anything boots.
#[derive(Debug)]
pub enum Takes {
    /// A number from the first to the second.
    Number(i64, i64),
    /// Some of these, with commas between them.
    Names(&'static [&'static str]),
}

impl Takes {
    /// Whether it may be this.
    fn allows(&self, value: &str) -> bool {
        match self {
            Takes::Number(from, to) => {
                number(value).is_some_and(|number| (*from..=*to).contains(&number))
            }
            Takes::Names(names) => value.split(',').all(|name| names.contains(&name)),
        }
    }
}

impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Takes::Number(from, to) => write!(f, "a number from {from} to {to}"),
            Takes::Names(names) => write!(f, "of {}, with commas between them", names.join(", ")),
        }
    }
}

/// As kstrtoll reads it with base 0.
fn number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The ranges are those of the attributes' types, and narrower where the drivers' are (`pci-epf-vntb.c`).
const fn key(name: &'static str, value: &'static str) -> Key {
    use abi::vntb::{MAX_CHANNELS, MAX_DB_COUNT, MIN_DB_COUNT};
    let takes = match name.as_bytes() {
        b"db_count" => Takes::Number(MIN_DB_COUNT as i64, MAX_DB_COUNT as i64),
        b"spad_count" => Takes::Number(1, SPADS),
        b"num_mws" => Takes::Number(0, 4),
        b"dma_num_chans" => Takes::Number(0, MAX_CHANNELS as i64),
        b"msi_interrupts" => Takes::Number(0, 32),
        b"vbus_number" => Takes::Number(0, 0xff),
        b"vendorid" | b"deviceid" | b"vntb_vid" | b"vntb_pid" => Takes::Number(0, 0xffff),
        b"ctrl_bar" | b"db_bar" | b"mw1_bar" | b"dma_bar" => Takes::Number(-1, 5),
        b"dma_routing" => Takes::Names(&["remote", "default", "local"]),
        _ => Takes::Number(0, u32::MAX as i64),
    };
    Key { name, value, takes }
}

/// Four bytes each, on both sides, in a BAR of at most 1 MiB.
const SPADS: i64 = (1 << 20) / 4 / 2;

const EPF_TEST_KEYS: &[Key] = &[
    key("vendorid", "0x1912"),
    key("deviceid", "0x0031"),
    key("msi_interrupts", "32"),
];

const VNTB_KEYS: &[Key] = &[
    key("vendorid", "0x1912"),
    key("deviceid", "0x0030"),
    key("msi_interrupts", "32"),
    // 16 doorbells less two reserved slots; the driver offers 16 MSIs, whatever is written here.
    key("db_count", "16"),
    key("spad_count", "128"),
    // Before the windows: how many of them there are limits which can be written.
    key("num_mws", "1"),
    key("mw1", "0x100000"),
    // The NTB device that the EP sees, on a bus of its own.
    key("vntb_vid", "0x1912"),
    key("vntb_pid", "0x0030"),
    key("vbus_number", "0x10"),
    // `ntb_hw_epf` expects just these of a 1912:0030.
    key("ctrl_bar", "0"),
    key("mw1_bar", "2"),
    key("db_bar", "4"),
];

/// What the cover letter of the series sets, in the order in which it does; and whom the channels' transfers are told.
const VNTB_DMA_KEYS: &[Key] = &[
    key("vendorid", "0x1912"),
    key("deviceid", "0x0030"),
    key("msi_interrupts", "32"),
    key("db_count", "16"),
    key("spad_count", "128"),
    key("num_mws", "1"),
    key("mw1", "0xF9000"),
    key("dma_offset", "0xF9000"),
    key("dma_num_chans", "4"),
    key("vntb_vid", "0x1912"),
    key("vntb_pid", "0x0030"),
    key("vbus_number", "0x10"),
    key("ctrl_bar", "0"),
    key("mw1_bar", "2"),
    key("dma_bar", "2"),
    key("db_bar", "4"),
    key("dma_routing", "remote"),
];

/// The NTB by the kernel's own drivers.
const VNTB: Recipe = Recipe {
    name: "vntb",
    modules: Sides {
        ep: &["spider_bridge", "pci_epf_vntb"],
        rc: &["ntb_hw_epf"],
    },
    ours: &[],
    driver: Some("pci_epf_vntb"),
    keys: VNTB_KEYS,
    probed: Some("/sys/bus/ntb/devices/0000:01:00.0"),
    net: Some(include_str!("../functions/vntb-net.sh")),
};

/// Our drivers that carry a stock driver's name.
const OURS: &[&str] = &["pci_epf_vntb", "ntb_hw_epf"];

impl Function {
    /// What the runner must know of this function.
    pub fn recipe(self) -> &'static Recipe {
        match self {
            Function::None => &Recipe {
                name: "none",
                modules: Sides {
                    ep: &["spider_bridge"],
                    rc: &[],
                },
                ours: OURS,
                driver: None,
                keys: &[],
                probed: None,
                net: None,
            },
            Function::EpfTest => &Recipe {
                name: "epf-test",
                modules: Sides {
                    ep: &["spider_bridge", "pci-epf-test"],
                    rc: &["pci_endpoint_test"],
                },
                ours: &[],
                driver: Some("pci_epf_test"),
                keys: EPF_TEST_KEYS,
                probed: Some("/dev/pci-endpoint-test.0"),
                net: None,
            },
            Function::Vntb => &VNTB,
            Function::VntbDma => &Recipe {
                name: "vntb-dma",
                ours: OURS,
                keys: VNTB_DMA_KEYS,
                ..VNTB
            },
        }
    }
}

impl Recipe {
    /// The script's arguments: each key with its value.
    ///
    /// # Errors
    /// A setting of a key that the function has not.
    pub fn arguments(&self, settings: &[Setting]) -> Result<Vec<String>, String> {
        for setting in settings {
            if !self.keys.iter().any(|key| key.name == setting.name) {
                let keys: Vec<String> = self.keys.iter().map(Key::to_string).collect();
                let knows = match keys.is_empty() {
                    true => "has no settings".into(),
                    false => format!("has {}", keys.join(", ")),
                };
                return Err(format!(
                    "{} has no setting `{}`; it {knows}",
                    self.name, setting.name
                ));
            }
            let key = self.keys.iter().find(|key| key.name == setting.name);
            if let Some(key) = key.filter(|key| !key.takes.allows(&setting.value)) {
                return Err(format!(
                    "{} cannot be `{}`; it is {}",
                    key.name, setting.value, key.takes
                ));
            }
        }
        let value = |key: &Key| {
            // The last one counts, as with any option.
            let set = settings.iter().rfind(|setting| setting.name == key.name);
            set.map_or(key.value, |setting| setting.value.as_str())
                .to_owned()
        };
        let argument = |key: &Key| format!("{}={}", key.name, value(key));
        Ok(self.keys.iter().map(argument).collect())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

/// `--function-opt NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Of a [`Key`].
    pub name: String,
    /// A number, or names with commas between them, as the kernel takes it.
    pub value: String,
}

impl FromStr for Setting {
    type Err = String;
    fn from_str(text: &str) -> Result<Setting, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok(Setting {
                name: name.into(),
                value: value.into(),
            }),
            _ => Err(format!("`{text}` is not NAME=VALUE, such as db_count=8")),
        }
    }
}

/// What one `--function-opt` says: settings with commas between them, and commas may be in a value as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings(pub Vec<Setting>);

impl FromStr for Settings {
    type Err = String;
    fn from_str(text: &str) -> Result<Settings, String> {
        let mut settings: Vec<String> = vec![];
        for part in text.split(',') {
            match settings.last_mut() {
                // A name follows each comma that separates settings.
                Some(last) if !part.contains('=') => *last = format!("{last},{part}"),
                _ => settings.push(part.to_owned()),
            }
        }
        let settings: Result<_, _> = settings.iter().map(|text| text.parse()).collect();
        Ok(Settings(settings?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(function: Function, settings: &[&str]) -> Result<Vec<String>, String> {
        let settings: Result<Vec<Settings>, _> = settings.iter().map(|text| text.parse()).collect();
        let settings: Vec<Setting> = settings?.into_iter().flat_map(|some| some.0).collect();
        function.recipe().arguments(&settings)
    }

    #[test]
    fn every_key_reaches_the_script_and_the_last_setting_counts() {
        let vntb = arguments(Function::Vntb, &["db_count=8", "db_count=4", "db_bar=-1"]).unwrap();
        assert_eq!(vntb.len(), Function::Vntb.recipe().keys.len());
        for wanted in ["db_count=4", "db_bar=-1", "mw1=0x100000"] {
            assert!(vntb.iter().any(|argument| argument == wanted), "{vntb:?}");
        }
        let place = |name| vntb.iter().position(|word| word.starts_with(name)).unwrap();
        assert!(place("num_mws=") < place("mw1="));
    }

    #[test]
    fn what_a_function_does_not_have_is_refused_with_what_it_has() {
        assert_eq!(
            arguments(Function::EpfTest, &["db_count=8"]).unwrap_err(),
            "epf-test has no setting `db_count`; it has vendorid=0x1912, deviceid=0x0031, msi_interrupts=32"
        );
        assert_eq!(
            arguments(Function::None, &["vendorid=1"]).unwrap_err(),
            "none has no setting `vendorid`; it has no settings"
        );
        for bad in [
            "mw1",
            "mw1=",
            "mw1=1M",
            "mw1=$(reboot)",
            "mw1=0x",
            "mw1=a,",
            "=1",
            "db_count=0",
            "db_count=999",
            "db_count=abc",
            "db_count=-1",
            "num_mws=5",
            "db_bar=6",
            "vendorid=0x10000",
            "spad_count=0",
        ] {
            assert!(arguments(Function::Vntb, &[bad]).is_err(), "{bad}");
        }
        assert_eq!(
            arguments(Function::Vntb, &["db_count=999"]).unwrap_err(),
            "db_count cannot be `999`; it is a number from 3 to 32"
        );
    }

    #[test]
    fn a_value_may_have_commas_and_so_may_a_list_of_settings() {
        let routing = "dma_routing=local,remote";
        let both = format!("spad_count=64,{routing},db_count=8");
        let found = arguments(Function::VntbDma, &[&both]).unwrap();
        for wanted in ["spad_count=64", routing, "db_count=8"] {
            assert!(found.iter().any(|argument| argument == wanted), "{found:?}");
        }
        assert!(arguments(Function::VntbDma, &["dma_routing=nobody"]).is_err());
    }

    #[test]
    fn every_default_is_a_value_that_the_key_takes() {
        for function in [Function::EpfTest, Function::Vntb, Function::VntbDma] {
            for key in function.recipe().keys {
                assert!(key.takes.allows(key.value), "{key}");
            }
        }
    }
}
