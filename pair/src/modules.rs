// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whose modules a guest gets, where its kernel and this project have one of the same name.
//!
//! A user's tree brings its own: its author wants to know of those. Our own kernels take what the function asks for.

use crate::function::Recipe;
use crate::options::Options;
use crate::side::{Side, Sides};
use crate::status::Failure;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// `--modules`: whose modules are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Modules {
    /// The kernel's own, as built from its tree.
    Stock,
    /// The project's.
    Ours,
}

/// Whose module each name stands for in one guest, as far as both have one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Ours take the place of the kernel's.
    pub ours: Vec<String>,
    /// The kernel's are taken, and ours stay aside.
    pub stock: Vec<String>,
}

/// What every EP loads: the carrier of the endpoint's registers.
const BRIDGE: &str = "spider_bridge";

/// The kernel's symbols for the modules that a function may want of an RC.
const SYMBOLS: &[(&str, &str)] = &[
    ("pci_endpoint_test", "CONFIG_PCI_ENDPOINT_TEST"),
    ("ntb_hw_epf", "CONFIG_NTB_EPF"),
    ("ntb_transport", "CONFIG_NTB_TRANSPORT"),
    ("ntb_netdev", "CONFIG_NTB_NETDEV"),
];

/// What a network over an NTB takes besides.
const NETWORK: &[&str] = &["ntb_transport", "ntb_netdev"];

/// Keys of the endpoint core's, which every function has.
const COMMON_KEYS: &[&str] = &["vendorid", "deviceid", "msi_interrupts"];

/// Looks, before anything is built, whether kernels that came as an Image alone can do what is asked.
///
/// # Errors
/// 125, naming what is missing.
pub fn check_images(options: &Options) -> Result<(), Failure> {
    let recipe = options.function.recipe();
    for side in Side::BOTH {
        let Some(path) = &options.kernel[side] else {
            continue;
        };
        let Some(alone) = images::alone(path)? else {
            continue;
        };
        let missing = match side {
            Side::Ep => vec![format!("{BRIDGE}, a module of this project's")],
            Side::Rc => wanted_of_rc(recipe, options.net)
                .filter_map(|name| lacking(recipe, name, &alone))
                .collect(),
        };
        if !missing.is_empty() {
            let message = format!(
                "{}'s kernel {} is an Image alone, without modules, and --function {} needs there: {}",
                side.title(),
                path.display(),
                recipe.name,
                missing.join("; ")
            );
            return Err(Failure::harness(message).with_hint(
                "name the directory that it was built in, for --kernel or for this side alone (--ep-kernel, --rc-kernel)",
            ));
        }
    }
    Ok(())
}

fn wanted_of_rc(recipe: &Recipe, net: bool) -> impl Iterator<Item = &'static str> {
    let network: &[&str] = if net { NETWORK } else { &[] };
    recipe.modules.rc.iter().chain(network).copied()
}

/// Why an image alone has no such driver, if so.
fn lacking(recipe: &Recipe, name: &str, alone: &images::Alone) -> Option<String> {
    if recipe.ours.contains(&name) {
        return Some(format!("{name}, a module of this project's"));
    }
    let (_, symbol) = SYMBOLS.iter().find(|(module, _)| *module == name)?;
    // One that does not carry its configuration may have it; the boot will tell.
    (alone.has(symbol) == Some(false)).then(|| format!("{name} built in ({symbol}=y)"))
}

impl Placement {
    /// What `options` ask for on this side, whose kernel has its modules in `stock`.
    ///
    /// # Errors
    /// A directory of modules cannot be read; 125 when the kernel's driver lacks settings of the function.
    pub fn choose(
        options: &Options,
        side: Side,
        stock: Option<&Path>,
        ours: &[PathBuf],
    ) -> Result<Placement, Failure> {
        let recipe = options.function.recipe();
        let mut theirs = BTreeMap::new();
        if let Some(stock) = stock {
            modules_below(stock, &mut theirs)?;
        }
        let mut both: Vec<String> = ours.iter().filter_map(|path| module_name(path)).collect();
        both.retain(|name| theirs.contains_key(name));
        both.sort();
        let take_ours = match options.modules {
            Some(chosen) => chosen == Modules::Ours,
            None => options.kernel[side].is_none() && !recipe.ours.is_empty(),
        };
        if take_ours {
            return Ok(Placement {
                ours: both,
                stock: vec![],
            });
        }
        if let (Side::Ep, Some(driver)) = (side, recipe.driver) {
            if let (true, Some(path)) = (!recipe.ours.is_empty(), theirs.get(driver)) {
                check_settings(recipe, driver, path)?;
            }
        }
        Ok(Placement {
            ours: vec![],
            stock: both,
        })
    }
}

/// The line for the user, when it may matter to him: ours are in the kernel's place, or the kernel is his own.
pub fn line(options: &Options, placement: &Sides<Placement>) -> Option<String> {
    let phrase = |side: Side| {
        let Placement { ours, stock } = &placement[side];
        match (ours.is_empty(), stock.is_empty()) {
            (false, _) => format!("ours take the kernel's place: {}", ours.join(", ")),
            (_, false) => format!("the kernel's own, ours stay aside: {}", stock.join(", ")),
            _ => "no name is the kernel's and ours".to_owned(),
        }
    };
    let matters = options.modules.is_some()
        || Side::BOTH
            .into_iter()
            .any(|side| options.kernel[side].is_some() || !placement[side].ours.is_empty());
    let text = match phrase(Side::Ep) == phrase(Side::Rc) {
        true => phrase(Side::Ep),
        false => format!(
            "on the EP {}; on the RC {}",
            phrase(Side::Ep),
            phrase(Side::Rc)
        ),
    };
    matters.then(|| format!("modules: {text}"))
}

/// A stock driver without the settings of the function would fail in the guest, with an error of a shell's.
fn check_settings(recipe: &Recipe, driver: &str, path: &Path) -> Result<(), Failure> {
    let module = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let has = |name: &str| module.windows(name.len()).any(|at| at == name.as_bytes());
    let lacks: Vec<&str> = recipe
        .keys
        .iter()
        .map(|key| key.name)
        .filter(|name| !COMMON_KEYS.contains(name) && !has(name))
        .collect();
    if lacks.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the kernel's own {driver} has no setting {}, so it cannot be set up as {}",
        lacks.join(", "),
        recipe.name
    );
    Err(Failure::harness(message)
        .with_hint("build the tree with the series, or take the project's modules: --modules ours"))
}

/// Every module below a kernel's directory, by its name, with its file.
fn modules_below(dir: &Path, found: &mut BTreeMap<String, PathBuf>) -> anyhow::Result<()> {
    let cannot = || format!("cannot read {}", dir.display());
    for entry in fs::read_dir(dir).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let path = entry.path();
        if entry.file_type().with_context(cannot)?.is_dir() {
            modules_below(&path, found)?;
        } else if let Some(name) = module_name(&path) {
            found.insert(name, path);
        }
    }
    Ok(())
}

/// The name under which the kernel knows a module's file, compressed or not.
fn module_name(path: &Path) -> Option<String> {
    let (stem, _) = path.file_name()?.to_str()?.split_once(".ko")?;
    Some(stem.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::Function;

    fn tree(modules: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in modules {
            let path = dir.path().join("kernel").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        dir
    }

    const SERIES: &str =
        "db_count spad_count num_mws mw1 dma_offset dma_num_chans vntb_vid vntb_pid vbus_number \
        ctrl_bar mw1_bar dma_bar db_bar dma_routing";

    fn choose(
        function: Function,
        user: bool,
        modules: Option<Modules>,
        driver: &str,
    ) -> Result<Placement, Failure> {
        let stock = tree(&[
            ("pci-epf-vntb.ko", driver),
            ("a/ntb_hw_epf.ko", ""),
            ("other.ko", ""),
        ]);
        let ours = ["pci_epf_vntb.ko", "ntb_hw_epf.ko", "dw_edma_aux.ko"].map(PathBuf::from);
        let mut options = Options {
            function,
            modules,
            ..Options::default()
        };
        options.kernel.ep = user.then(|| "/k".into());
        Placement::choose(&options, Side::Ep, Some(stock.path()), &ours)
    }

    #[test]
    fn a_users_tree_brings_its_own_unless_asked_otherwise() {
        let both = vec!["ntb_hw_epf".to_owned(), "pci_epf_vntb".to_owned()];
        let ours = Placement {
            ours: both.clone(),
            stock: vec![],
        };
        let stock = Placement {
            ours: vec![],
            stock: both,
        };
        for function in [Function::None, Function::VntbDma] {
            assert_eq!(choose(function, false, None, SERIES).unwrap(), ours);
            assert_eq!(choose(function, true, None, SERIES).unwrap(), stock);
            assert_eq!(
                choose(function, true, Some(Modules::Ours), SERIES).unwrap(),
                ours
            );
            assert_eq!(
                choose(function, false, Some(Modules::Stock), SERIES).unwrap(),
                stock
            );
        }
        assert_eq!(choose(Function::Vntb, false, None, SERIES).unwrap(), stock);
    }

    #[test]
    fn a_driver_without_the_settings_is_refused_before_the_boot() {
        let plain = SERIES.replace("dma_", "");
        let refused = choose(Function::VntbDma, true, None, &plain)
            .unwrap_err()
            .report();
        assert!(
            refused.contains("dma_num_chans") && refused.contains("--modules ours"),
            "{refused}"
        );
        assert!(!refused.contains("db_count"), "{refused}");
        choose(Function::None, true, None, &plain).unwrap();
        choose(Function::VntbDma, true, Some(Modules::Ours), &plain).unwrap();
    }

    #[test]
    fn one_line_says_whose_when_it_may_matter() {
        let of = |ours: &[&str], stock: &[&str]| Placement {
            ours: ours.iter().map(|&name| name.into()).collect(),
            stock: stock.iter().map(|&name| name.into()).collect(),
        };
        let mut options = Options::default();
        let same = |placement: Placement| Sides {
            ep: placement.clone(),
            rc: placement,
        };
        assert_eq!(line(&options, &same(of(&[], &["a"]))), None);
        assert_eq!(
            line(&options, &same(of(&["a", "b"], &[]))).unwrap(),
            "modules: ours take the kernel's place: a, b"
        );
        options.kernel.rc = Some("/k".into());
        let mixed = Sides {
            ep: of(&["a"], &[]),
            rc: of(&[], &["a"]),
        };
        assert_eq!(
            line(&options, &mixed).unwrap(),
            "modules: on the EP ours take the kernel's place: a; on the RC the kernel's own, ours stay aside: a"
        );
    }
}
