// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line.

use crate::function::{Function, Settings};
use crate::modules::Modules;
use crate::net;
use crate::options::{Debug, Edma, Iommu, Options, Windows};
use crate::run;
use crate::side::{Side, Sides};
use crate::status::Failure;
use crate::suite;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use images::KernelVariant;
use std::path::PathBuf;
use std::time::Duration;

const STATUSES: &str = "\
Exit status:
  0    everything passed          124  a deadline passed; the message says what was waited for
  1    a test failed              125  the harness itself: usage, something missing, a helper died
  4    everything was skipped     255  a guest's kernel panicked
  128+n  ended by signal n (130: Ctrl-C). `pair run -- CMD`, `ep CMD` and `rc CMD` give CMD's own.

Every option of `run` and `test` can be given as an environment variable, shown in its [env: …]: `pair run --help`.";

/// Two emulated R-Car S4 boards, PCIe endpoint and root complex, linked.
#[derive(Debug, Parser)]
#[command(name = "pair", version, after_help = STATUSES, subcommand_required = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `pair` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Boot both guests, set the function up; run CMD on the host, or attach a shell on the RC.
    Run(RunArgs),
    /// Run the suite; KTAP on stdout.
    Test(TestArgs),
    /// List the tests, a line each.
    List,
    /// Show the device's state: link, BARs, iATU regions, eDMA channels, counters.
    Inspect {
        /// Steps into the tree, such as `link` or `iatu.inbound.0`.
        #[arg(default_value = "")]
        path: String,
        /// JSON on one line.
        #[arg(long)]
        json: bool,
        /// Where to look for it.
        #[command(flatten)]
        place: Place,
    },
    /// Set the run's function up again on the EP, as its boot did: after the EP has rebooted.
    SetUp {
        /// Where runs are.
        #[command(flatten)]
        place: Place,
    },
    /// Attach gdb to a running guest's kernel or to the device, with symbols.
    Gdb {
        /// What to debug.
        target: Debug,
        /// More arguments of gdb, such as `-batch -ex 'info threads'`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
        /// Where to look for it.
        #[command(flatten)]
        place: Place,
    },
    /// Run a shell command in the EP guest, or a shell (also as `ep` on a run's PATH).
    Ep(GuestArgs),
    /// Run a shell command in the RC guest, or a shell (also as `rc` on a run's PATH).
    Rc(GuestArgs),
}

/// Where runs are.
#[derive(Debug, Args)]
pub struct Place {
    /// Where `runs/<id>/` are [default: `runs` in the checkout around the current directory, or in it].
    #[arg(long, value_name = "DIR", env = "SPIDER_PAIR_RUNS")]
    pub runs: Option<PathBuf>,
}

impl Place {
    /// The directory.
    pub fn runs(&self) -> PathBuf {
        self.runs.clone().unwrap_or_else(run::default_runs)
    }
}

/// `ep` and `rc`.
#[derive(Debug, Args)]
pub struct GuestArgs {
    /// The words of a shell command, joined by spaces as ssh does; none for a shell.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    pub words: Vec<String>,
    /// Where runs are.
    #[command(flatten)]
    pub place: Place,
}

/// `ep` or `rc` by the program's own name.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "The run is the one in SPIDER_PAIR_RUN, else the only live one."
)]
pub struct GuestCli {
    /// What to run.
    #[command(flatten)]
    pub args: GuestArgs,
}

/// What `run` and `test` boot.
#[derive(Debug, Args)]
pub struct BootArgs {
    /// What the EP sets up before link-up; `none` leaves configfs to you.
    #[arg(long, value_enum, default_value_t, env = "SPIDER_PAIR_FUNCTION")]
    pub function: Function,
    /// What the function is set up with, such as db_count=8 (may be repeated; an unknown NAME prints those that there are).
    #[arg(
        long = "function-opt",
        value_name = "NAME=VALUE",
        env = "SPIDER_PAIR_FUNCTION_OPT"
    )]
    pub settings: Vec<Settings>,
    /// Bring a network up between the guests, over the function (vntb).
    #[arg(long, env = "SPIDER_PAIR_NET", value_parser = clap::builder::FalseyValueParser::new())]
    pub net: bool,
    /// Both guests' kernel: a source tree, a build directory or an Image.
    #[arg(long, value_name = "PATH", env = "SPIDER_PAIR_KERNEL")]
    pub kernel: Option<PathBuf>,
    /// The EP guest's kernel.
    #[arg(long, value_name = "PATH", env = "SPIDER_PAIR_EP_KERNEL")]
    pub ep_kernel: Option<PathBuf>,
    /// The RC guest's kernel.
    #[arg(long, value_name = "PATH", env = "SPIDER_PAIR_RC_KERNEL")]
    pub rc_kernel: Option<PathBuf>,
    /// Which build of the project's own kernel.
    #[arg(long, value_parser = kernel_variant(), default_value = "plain", env = "KERNEL_VARIANT")]
    pub kernel_variant: KernelVariant,
    /// Whose modules, where the kernel and this project have one of the same name [default: a user's kernel's own;
    /// with the project's kernel, what the function needs].
    #[arg(
        long,
        value_enum,
        value_name = "stock|ours",
        env = "SPIDER_PAIR_MODULES"
    )]
    pub modules: Option<Modules>,
    /// A directory copied over a guest's root (may be repeated).
    #[arg(long, value_name = "ep:DIR|rc:DIR", value_parser = overlay, env = "SPIDER_PAIR_OVERLAY",
          value_delimiter = ',')]
    pub overlay: Vec<(Side, PathBuf)>,
    /// More kernel command line for both guests (may be repeated).
    #[arg(
        long,
        value_name = "WORDS",
        allow_hyphen_values = true,
        env = "SPIDER_PAIR_APPEND"
    )]
    pub append: Vec<String>,
    /// More kernel command line for the EP guest (may be repeated).
    #[arg(
        long,
        value_name = "WORDS",
        allow_hyphen_values = true,
        env = "SPIDER_PAIR_APPEND_EP"
    )]
    pub append_ep: Vec<String>,
    /// More kernel command line for the RC guest (may be repeated).
    #[arg(
        long,
        value_name = "WORDS",
        allow_hyphen_values = true,
        env = "SPIDER_PAIR_APPEND_RC"
    )]
    pub append_rc: Vec<String>,
    /// More arguments for both QEMUs, quoted as for a shell.
    #[arg(
        long,
        value_name = "WORDS",
        allow_hyphen_values = true,
        env = "SPIDER_PAIR_QEMU_OPTS"
    )]
    pub qemu_opts: Option<String>,
    /// More arguments for the EP's QEMU.
    #[arg(
        long,
        value_name = "WORDS",
        allow_hyphen_values = true,
        env = "SPIDER_PAIR_QEMU_OPTS_EP"
    )]
    pub qemu_opts_ep: Option<String>,
    /// More arguments for the RC's QEMU.
    #[arg(
        long,
        value_name = "WORDS",
        allow_hyphen_values = true,
        env = "SPIDER_PAIR_QEMU_OPTS_RC"
    )]
    pub qemu_opts_rc: Option<String>,
    /// Each guest's RAM in MiB (at most 3072: the EP's DMA mask has 32 bits).
    #[arg(long, value_name = "MIB", default_value_t = 512, env = "SPIDER_PAIR_MEMORY",
          value_parser = clap::value_parser!(u32).range(128..=3072))]
    pub memory: u32,
    /// Virtual CPUs of each guest.
    #[arg(long, value_name = "N", default_value_t = 2, env = "SPIDER_PAIR_CPUS",
          value_parser = clap::value_parser!(u32).range(1..=8))]
    pub cpus: u32,
    /// The endpoint's eDMA: `off`, or its channels in each direction (1 to 8).
    #[arg(long, value_name = "off|N", env = "SPIDER_PAIR_EDMA")]
    pub edma: Option<Edma>,
    /// Windows onto the peer's memory: `fast` (memory speed, by a library in QEMU) where it can run, or `trap`.
    #[arg(long, value_enum, default_value_t, env = "SPIDER_PAIR_WINDOWS")]
    pub windows: Windows,
    /// Whose DMA goes through an IOMMU, QEMU's virtio-iommu: `none`, `ep`, `rc` or `both`.
    #[arg(long, value_enum, default_value_t, env = "SPIDER_PAIR_IOMMU")]
    pub iommu: Iommu,
    /// Prepare for gdb: a guest waits for `pair gdb` before its first instruction; QEMU has patience with the device.
    #[arg(long, value_name = "WHAT", env = "SPIDER_PAIR_GDB")]
    pub gdb: Option<Debug>,
    /// Limit of one step: a guest's boot, the link, the function (90, 90s, 2m); eight times that on a debug kernel.
    #[arg(long, value_name = "TIME", default_value = "60", value_parser = time,
          env = "SPIDER_PAIR_STEP_TIMEOUT")]
    pub step_timeout: Duration,
    /// Where runs are.
    #[command(flatten)]
    pub place: Place,
}

/// `pair run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// What is booted.
    #[command(flatten)]
    pub boot: BootArgs,
    /// Limit of the whole run; 124 when it passes (90, 90s, 2m) [default: none].
    #[arg(long, value_name = "TIME", value_parser = time, env = "SPIDER_PAIR_TIMEOUT")]
    pub timeout: Option<Duration>,
    /// Print the command lines and boot nothing.
    #[arg(long, env = "SPIDER_PAIR_DRY_RUN", value_parser = clap::builder::FalseyValueParser::new())]
    pub dry_run: bool,
    /// Which guest the terminal is attached to when there is no CMD.
    #[arg(long, value_enum, default_value = "rc", env = "SPIDER_PAIR_CONSOLE")]
    pub console: Side,
    /// Write the run's result as JSON.
    #[arg(long, value_name = "FILE", env = "SPIDER_PAIR_JSON")]
    pub json: Option<PathBuf>,
    /// A command on the host, with `ep`, `rc` and `pair` on its PATH.
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<std::ffi::OsString>,
}

/// `pair test`.
#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct TestArgs {
    /// What is booted.
    #[command(flatten)]
    pub boot: BootArgs,
    /// Limit of the whole command; 124 when it passes (90, 90s, 2m) [default: none].
    #[arg(long, value_name = "TIME", value_parser = time, env = "SPIDER_PAIR_TIMEOUT")]
    pub timeout: Option<Duration>,
    /// What is run.
    #[command(flatten)]
    pub suite: suite::command::Selection,
}

/// The options of a pair that a test case asks for: those of this command, with the case's laid over them.
///
/// # Errors
/// 125 when the case's options are none.
pub fn options_of_case(function: Function, more: &[String]) -> Result<Options, Failure> {
    lay_over(std::env::args().collect(), function, more)
}

fn lay_over(
    mut words: Vec<String>,
    function: Function,
    more: &[String],
) -> Result<Options, Failure> {
    let end = words
        .iter()
        .position(|word| word == "--")
        .unwrap_or(words.len());
    let own = ["--function".to_owned(), function.recipe().name.to_owned()];
    words.splice(end..end, own.into_iter().chain(more.iter().cloned()));
    match Cli::try_parse_from(words) {
        Ok(Cli {
            command: Command::Test(args),
        }) => args.boot.options(),
        Ok(_) => Err(Failure::harness("cases are run by `pair test` alone")),
        Err(error) => Err(
            Failure::harness("the case asks for what `pair test` does not know").caused_by(error),
        ),
    }
}

impl BootArgs {
    /// What a pair is booted with.
    ///
    /// # Errors
    /// 125 for words that cannot be split.
    pub fn options(&self) -> Result<Options, Failure> {
        let split = |option: &str, text: &Option<String>| match text {
            None => Ok(vec![]),
            Some(text) => shell_words::split(text)
                .map_err(|error| Failure::harness(format!("--{option}: {error} in {text:?}"))),
        };
        let both = |option: &str, both, ep, rc| -> Result<Sides<Vec<String>>, Failure> {
            let of = |side: &str, own| {
                Ok::<_, Failure>(
                    [
                        split(option, both)?,
                        split(&format!("{option}-{side}"), own)?,
                    ]
                    .concat(),
                )
            };
            Ok(Sides {
                ep: of("ep", ep)?,
                rc: of("rc", rc)?,
            })
        };
        // Kernel words keep their quotes: the kernel reads them itself.
        let words = |texts: &[String]| -> Vec<String> {
            texts
                .iter()
                .flat_map(|text| text.split_ascii_whitespace())
                .map(str::to_owned)
                .collect()
        };
        let own = |side: Side| match side {
            Side::Ep => (&self.ep_kernel, &self.append_ep),
            Side::Rc => (&self.rc_kernel, &self.append_rc),
        };
        let recipe = self.function.recipe();
        let settings: Vec<_> = self
            .settings
            .iter()
            .flat_map(|some| some.0.clone())
            .collect();
        recipe
            .arguments(&settings)
            .map_err(|error| Failure::harness(format!("--function-opt: {error}")))?;
        if self.net {
            net::check(recipe)?;
        }
        Ok(Options {
            function: self.function,
            settings,
            net: self.net,
            kernel: Sides::from_fn(|side| own(side).0.clone().or(self.kernel.clone())),
            kernel_variant: self.kernel_variant,
            modules: self.modules,
            overlay: Sides::from_fn(|side| {
                let of_side = self.overlay.iter().filter(|(of, _)| *of == side);
                of_side.map(|(_, dir)| dir.clone()).collect()
            }),
            append: Sides::from_fn(|side| [words(&self.append), words(own(side).1)].concat()),
            qemu_opts: both(
                "qemu-opts",
                &self.qemu_opts,
                &self.qemu_opts_ep,
                &self.qemu_opts_rc,
            )?,
            memory: Sides {
                ep: self.memory,
                rc: self.memory,
            },
            cpus: self.cpus,
            edma: self.edma.unwrap_or_default(),
            windows: self.windows,
            iommu: self.iommu,
            gdb: self.gdb,
            step_timeout: self.step_timeout,
            show_complaints: false,
            runs: self.place.runs(),
        })
    }
}

/// The kernels that there are, each with what it is.
fn kernel_variant() -> impl TypedValueParser<Value = KernelVariant> {
    let values = KernelVariant::ALL.map(|variant| {
        PossibleValue::new(variant.name()).help(match variant {
            KernelVariant::Plain => "Without debug information",
            KernelVariant::Gdb => "With debug information and gdb's scripts",
            KernelVariant::Debug => {
                "With the kernel's own checkers: KASAN, lockdep, kmemleak, DMA-API debug. Slow"
            }
        })
    });
    PossibleValuesParser::new(values)
        .try_map(|name| KernelVariant::named(&name).ok_or("no such kernel"))
}

/// Seconds, as `timeout(1)` takes them, or a time with units.
fn time(text: &str) -> Result<Duration, String> {
    let time = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text)
            .map_err(|_| "seconds, or a time such as 90s or 2m".to_owned())?,
    };
    match time.is_zero() {
        true => Err("nothing is done in no time; without the option there is the default".into()),
        false => Ok(time),
    }
}

/// `ep:DIR` or `rc:DIR`.
fn overlay(text: &str) -> Result<(Side, PathBuf), String> {
    let (side, dir) = text.split_once(':').ok_or("ep:DIR or rc:DIR")?;
    let side = Side::from_str(side, false).map_err(|_| "ep:DIR or rc:DIR")?;
    let dir = PathBuf::from(dir);
    if !dir.is_dir() {
        return Err(format!("{} is no directory", dir.display()));
    }
    Ok((side, dir))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn run(line: &str) -> RunArgs {
        match Cli::try_parse_from(line.split(' ')).unwrap().command {
            Command::Run(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        GuestCli::command().debug_assert();
    }

    #[test]
    fn every_option_has_an_environment_variable() {
        for name in ["run", "test"] {
            let cli = Cli::command();
            let sub = cli.find_subcommand(name).unwrap();
            for arg in sub.get_arguments().filter(|arg| arg.get_long().is_some()) {
                let exempt = arg.get_id() == "help";
                assert!(
                    exempt || arg.get_env().is_some(),
                    "{name} --{}",
                    arg.get_id()
                );
            }
        }
    }

    #[test]
    fn a_command_after_the_dashes_is_taken_as_it_is() {
        let args = run("pair run --function none -- sh -c --help");
        assert_eq!(args.command, ["sh", "-c", "--help"]);
        assert_eq!(args.boot.function, Function::None);
    }

    #[test]
    fn what_is_said_for_one_side_reaches_that_side_alone() {
        let options = run("pair run --kernel /a --rc-kernel /b --append=x=1 --append-ep=y --overlay ep:/tmp --qemu-opts-rc=-d\tint")
            .boot
            .options()
            .unwrap();
        assert_eq!(
            options.kernel,
            Sides {
                ep: Some("/a".into()),
                rc: Some("/b".into())
            }
        );
        assert_eq!(options.append.ep, ["x=1", "y"]);
        assert_eq!(options.append.rc, ["x=1"]);
        assert_eq!(
            options.overlay,
            Sides {
                ep: vec!["/tmp".into()],
                rc: vec![]
            }
        );
        assert_eq!(
            options.qemu_opts,
            Sides {
                ep: vec![],
                rc: vec!["-d".into(), "int".into()]
            }
        );
    }

    #[test]
    fn bad_values_are_refused_with_what_is_good() {
        for bad in [
            "run --overlay /tmp",
            "run --overlay ep:/no/such/dir",
            "run --edma 9",
            "run --edma none",
            "run --function nothing",
            "run --memory 4096",
            "run --timeout soon",
            "run --timeout 0",
            "run --step-timeout 0",
            "run --step-timeout 0s",
            "test --repeat 0",
            "run --gdb both",
            "frobnicate",
            "",
        ] {
            let line = ["pair"]
                .into_iter()
                .chain(bad.split(' '))
                .filter(|word| !word.is_empty());
            assert!(Cli::try_parse_from(line).is_err(), "{bad}");
        }
        let options = run("pair run --qemu-opts='").boot.options().unwrap_err();
        assert_eq!(options.exit.code(), 125);
    }

    #[test]
    fn what_may_be_repeated_adds_up() {
        let line = "pair run --function vntb-dma --append a=1 --append b=2 \
                    --function-opt dma_routing=remote,local --function-opt db_count=8,spad_count=64";
        let options = run(line).boot.options().unwrap();
        assert_eq!(options.append.rc, ["a=1", "b=2"]);
        let settings: Vec<_> = options
            .settings
            .iter()
            .map(|set| set.value.as_str())
            .collect();
        assert_eq!(settings, ["remote,local", "8", "64"]);
    }

    #[test]
    fn a_cases_options_win_over_the_commands() {
        let words = "pair test --function none --memory 256 --cpus 1 epf.*";
        let words = words.split(' ').map(str::to_owned).collect();
        let more = ["--memory".to_owned(), "1024".to_owned()];
        let options = lay_over(words, Function::EpfTest, &more).unwrap();
        assert_eq!(
            (options.function, options.memory.ep, options.cpus),
            (Function::EpfTest, 1024, 1)
        );
        let bad = lay_over(
            vec!["pair".into(), "test".into()],
            Function::None,
            &["--nix".into()],
        );
        assert_eq!(bad.unwrap_err().exit.code(), 125);
    }

    #[test]
    fn times_are_seconds_or_have_units() {
        assert_eq!(time("90"), Ok(Duration::from_secs(90)));
        assert_eq!(time("2m"), Ok(Duration::from_secs(120)));
    }

    #[test]
    fn a_guests_command_keeps_its_own_options() {
        let cli = GuestCli::try_parse_from(["rc", "lspci", "-vvv", "--help"]).unwrap();
        assert_eq!(cli.args.words, ["lspci", "-vvv", "--help"]);
    }
}
