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
}

const fn key(name: &'static str, value: &'static str) -> Key {
    Key { name, value }
}

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
        let (name, value) = text.split_once('=').ok_or("NAME=VALUE")?;
        // -1 stands for no BAR.
        let number = match value.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).is_ok(),
            None => value.parse::<i64>().is_ok(),
        };
        let is_name =
            |name: &str| !name.is_empty() && name.bytes().all(|letter| letter.is_ascii_lowercase());
        match number || value.split(',').all(is_name) {
            true => Ok(Setting {
                name: name.into(),
                value: value.into(),
            }),
            false => Err(format!(
                "`{value}` is no number, such as 16 or 0x100000, and no name"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(function: Function, settings: &[&str]) -> Result<Vec<String>, String> {
        let settings: Result<Vec<Setting>, _> = settings.iter().map(|text| text.parse()).collect();
        function.recipe().arguments(&settings?)
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
        for bad in ["mw1", "mw1=", "mw1=1M", "mw1=$(reboot)", "mw1=0x", "mw1=a,"] {
            assert!(arguments(Function::Vntb, &[bad]).is_err(), "{bad}");
        }
        let routing = "dma_routing=local,remote";
        let arguments = arguments(Function::VntbDma, &[routing]).unwrap();
        assert!(arguments.iter().any(|argument| argument == routing));
    }
}
