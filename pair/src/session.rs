// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A live pair.

use crate::artefacts::Artefacts;
use crate::compose;
use crate::control;
use crate::function::Recipe;
use crate::guest::relay::Relay;
use crate::guest::{Guest, GuestError, Output};
use crate::net;
use crate::options::Options;
use crate::panic::watch_for_panic;
use crate::plan::Plan;
use crate::plug;
use crate::process::quote;
use crate::progress;
use crate::qemu;
use crate::qmp;
use crate::run::{Record, Run, RUN_VARIABLE};
use crate::service::{unwritable, Service, Sink, Tail};
use crate::side::{Side, Sides};
use crate::signals;
use crate::status::{printable, Exit, Failure};
use crate::suite::splat;
use crate::timeline::Timeline;
use crate::watch::Watch;
use crate::windows;
use serde::Serialize;
use serde_json::Value;
use std::env;
use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks at what announces itself to nobody: a socket, an agent.
const LOOK: Duration = Duration::from_millis(10);
/// One try to reach an agent; between two of them it is looked whether the run has failed.
const ATTEMPT: Duration = Duration::from_millis(500);
/// How long helper processes may take to make their sockets.
const SOCKETS: Duration = Duration::from_secs(20);
/// How long a guest whose console tells of a panic may take to say that it lives.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
/// In the run's directory: what sets the function up, for the EP's shell.
pub const SET_UP: &str = "set-up.sh";
/// As good as for ever: while a person sits at a debugger.
const PATIENT: Duration = Duration::from_secs(24 * 3600);

/// Memory that nothing leads to any more is looked for every so many seconds, each time for about ten; the kernel says on
/// its console when it finds some (Documentation/dev-tools/kmemleak.rst).
const LOOK_FOR_LEAKS: &str = "echo scan=60 2>/dev/null >/sys/kernel/debug/kmemleak || true";

/// Two booted guests and the silicon between them. Dropping it ends them all, in order.
pub struct Pair {
    options: Options,
    run: Run,
    timeline: Arc<Timeline>,
    watch: Arc<Watch>,
    begun: Instant,
    phases: Vec<Phase>,
    consoles: Sides<Tail>,
    monitors: Sides<Option<Arc<qmp::Client>>>,
    qemu: Sides<Option<Service>>,
    device: Option<Service>,
    relays: Sides<Option<Relay>>,
    ended: bool,
    /// A guest has switched itself off.
    powered_off: Arc<AtomicBool>,
    /// How often each guest has rebooted.
    reboots: Arc<Sides<AtomicU32>>,
}

/// A step of the boot.
#[derive(Clone, Debug, Serialize)]
pub struct Phase {
    /// What was reached.
    pub name: String,
    /// When, in seconds since the boot began.
    pub seconds: f64,
}

/// `result.json`.
#[derive(Serialize)]
struct ResultFile<'a> {
    id: String,
    function: &'a str,
    exit: u8,
    failure: Option<String>,
    phases: &'a [Phase],
    seconds: f64,
}

impl Pair {
    /// Boots both guests, sets the function up and waits until its driver has probed on the RC.
    ///
    /// # Errors
    /// 124 when a step passed its deadline, 255 when a guest panicked, 125 for all else; nothing is left running.
    pub fn boot(options: &Options, artefacts: &Artefacts) -> Result<Pair, Failure> {
        let mut pair = Pair::new(options)?;
        match pair.start(artefacts) {
            Ok(()) => Ok(pair),
            Err(failure) => {
                // What looked like a timeout may have had a cause that was noticed only now.
                let failure = pair.health().err().unwrap_or(failure);
                let logs = format!("logs: {}", pair.dir().display());
                let hint = failure
                    .hint
                    .clone()
                    .map_or(logs.clone(), |hint| format!("{hint}\n  {logs}"));
                let failure = failure.with_hint(hint);
                pair.end(failure.exit, Some(&failure));
                Err(failure)
            }
        }
    }

    fn new(options: &Options) -> Result<Pair, Failure> {
        let run = Run::create(&options.runs)?;
        let path = run.dir.join("timeline.log");
        let timeline = Timeline::create(&path).map_err(|error| {
            Failure::harness(format!("cannot write {}", path.display())).caused_by(error)
        })?;
        let watch = Watch::new();
        signals::subscribe(&watch);
        let told = watch.clone();
        timeline.on_loss(move |error| told.fail(unwritable(&path).caused_by(error)));
        Ok(Pair {
            options: options.clone(),
            run,
            timeline: Arc::new(timeline),
            watch,
            begun: Instant::now(),
            phases: vec![],
            consoles: Sides::default(),
            monitors: Sides::default(),
            qemu: Sides::default(),
            device: None,
            relays: Sides::default(),
            ended: false,
            powered_off: Arc::default(),
            reboots: Arc::default(),
        })
    }

    fn start(&mut self, artefacts: &Artefacts) -> Result<(), Failure> {
        let plan = Plan::compose(&self.options, artefacts, &self.run, &self.run.sockets.0)?;
        plan.write(&self.run.dir.join("commands.sh"))?;
        self.phase("initramfs composed");

        self.start_helpers(&plan)?;
        self.record(artefacts)?;
        for side in Side::BOTH {
            self.start_qemu(side, &plan)?;
        }
        let (notify, inputs) = plug::notify();
        for side in Side::BOTH {
            self.connect_monitor(side, &notify)?;
        }
        self.follow_link((notify, inputs))?;
        self.phase("processes started");
        for side in Side::BOTH
            .into_iter()
            .filter(|&side| self.options.stopped(side))
        {
            let (title, how) = (side.title(), self.hint_gdb(side));
            progress::say(&format!("pair: {title} waits for gdb: {how}"));
        }
        self.bring_up()
    }

    fn start_helpers(&mut self, plan: &Plan) -> Result<(), Failure> {
        let mut device = self.sink("device", "device.log")?;
        device.on_line = windows::watch_for_loss(&self.watch);
        self.device = Some(Service::start(
            "qemu-device",
            plan.device.build(),
            None,
            device,
            &self.watch,
        )?);
        let sockets = self.run.sockets.clone();
        for side in Side::BOTH {
            let relay = Relay::start(side.name(), sockets.port(side), sockets.agent(side));
            self.relays[side] = Some(relay.map_err(|error| {
                let message = format!("commands cannot be carried to {}", side.title());
                Failure::harness(message).caused_by(error)
            })?);
        }
        self.wait_socket(&sockets.control(), "qemu-device's control socket")?;
        self.wait_socket(&sockets.face(Side::Ep), "qemu-device's socket of the EP")
    }

    fn start_qemu(&mut self, side: Side, plan: &Plan) -> Result<(), Failure> {
        let mut console = self.sink(side.name(), &format!("{side}.log"))?;
        self.consoles[side] = console.tail.clone();
        let guest = self.guest(side);
        let answers = move || guest.run("true", SIGN_OF_LIFE).is_ok();
        let mut panics = watch_for_panic(side, console.tail.clone(), &self.watch, answers);
        let shown = self.options.show_complaints;
        console.on_line = Box::new(move |line| {
            panics(line);
            if shown && splat::is_complaint(line) {
                let line: String = line.chars().filter(|c| !c.is_control()).collect();
                progress::say(&format!("pair: {side}.log: {line}"));
            }
        });
        let mut stderr = self.sink(&format!("{side}.qemu"), &format!("{side}-qemu.log"))?;
        stderr.on_line = windows::watch_for_loss(&self.watch);
        let name = format!("QEMU of {}", side.title());
        let service = Service::start(
            &name,
            plan.qemu[side].build(),
            Some(console),
            stderr,
            &self.watch,
        )?;
        self.qemu[side] = Some(service);
        Ok(())
    }

    fn connect_monitor(&mut self, side: Side, notify: &plug::Notify) -> Result<(), Failure> {
        let path = self.run.sockets.qmp(side);
        let what = format!("the monitor of {}'s QEMU", side.title());
        let stream = self
            .watch
            .poll(&what, SOCKETS, LOOK, || Ok(UnixStream::connect(&path).ok()))?;
        let (watch, timeline, notify) = (self.watch.clone(), self.timeline.clone(), notify.clone());
        let (powered_off, reboots) = (self.powered_off.clone(), self.reboots.clone());
        let client = qmp::Client::new(stream, move |event| {
            timeline.line(
                "pair",
                &format!("{side} QEMU: {} {}", event.name, event.data),
            );
            if event.name == "SHUTDOWN" && event.data["guest"] == true {
                powered_off.store(true, Ordering::SeqCst);
                watch.fail(Failure::harness(format!("{} powered off", side.title())));
            }
            if event.name == "RESET" && event.data["guest"] == true {
                reboots[side].fetch_add(1, Ordering::SeqCst);
            }
            if side == Side::Rc {
                notify.qmp(&event);
            }
        });
        let client = client.map_err(|error| {
            let failure = self.health().err();
            failure.unwrap_or_else(|| Failure::harness(what).caused_by(error))
        })?;
        self.monitors[side] = Some(Arc::new(client));
        Ok(())
    }

    fn follow_link(
        &self,
        channel: (plug::Notify, std::sync::mpsc::Receiver<crate::link::Input>),
    ) -> Result<(), Failure> {
        let Some(monitor) = self.monitors.rc.clone() else {
            return Ok(());
        };
        let rc = self.guest(Side::Rc);
        let in_guest = move |command: &str| match rc.run(command, Duration::from_secs(4)) {
            Ok(output) if output.exit.status() == 0 => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(error.to_string()),
        };
        let plug = qemu::plug(&self.run.sockets, &self.options);
        let sockets = &self.run.sockets;
        plug::follow(
            sockets,
            plug,
            channel,
            monitor,
            Box::new(in_guest),
            &self.watch,
            &self.timeline,
        )
    }

    /// From running processes to a probed function: both guests at once, each as far as it gets alone.
    fn bring_up(&mut self) -> Result<(), Failure> {
        let recipe = self.options.function.recipe();
        let mut reached = Vec::new();
        let outcome = thread::scope(|scope| {
            let this = &*self;
            let ep = scope.spawn(move || -> Result<Vec<Phase>, Failure> {
                let mut phases = vec![this.wait_agent(Side::Ep)?];
                if let Some(driver) = recipe.driver {
                    this.set_up(recipe, driver)?;
                    phases.push(this.reached("function set up on the EP"));
                    let limit = this.limit();
                    this.watch.wait("the link to come up", limit, |state| {
                        state.link_up.then_some(())
                    })?;
                    phases.push(this.reached("link up"));
                }
                Ok(phases)
            });
            let rc = this.wait_agent(Side::Rc);
            let ep = ep
                .join()
                .unwrap_or_else(|_| Err(Failure::harness("the EP's boot was lost")));
            // A panic or a dead process explains the other side's timeout.
            match (ep, rc) {
                (Ok(phases), Ok(phase)) => {
                    reached.extend(phases);
                    reached.push(phase);
                    Ok(())
                }
                (Err(failure), _) | (_, Err(failure)) => Err(failure),
            }
        });
        reached.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        self.phases.append(&mut reached);
        outcome?;
        if recipe.probed.is_some() {
            self.wait_function(self.limit())?;
            self.phase("function probed on the RC");
        }
        if self.options.net {
            let ends = net::bring_up(self, self.limit())?;
            self.phase(&format!("network up: EP {}, RC {}", ends.ep, ends.rc));
        }
        Ok(())
    }

    fn wait_agent(&self, side: Side) -> Result<Phase, Failure> {
        let guest = self.guest(side);
        let what = format!("{} to boot and its agent to answer", side.title());
        self.watch
            .poll(&what, self.limit(), LOOK, || {
                Ok(guest.wait_ready(ATTEMPT).ok())
            })
            .map_err(|failure| self.with_console(failure, side))?;
        if self.options.kernel_variant == images::KernelVariant::Debug {
            // A kernel of the user's own has no such file, perhaps.
            self.exec(side, LOOK_FOR_LEAKS, self.limit())?;
        }
        Ok(self.reached(&format!("{} up", side.title())))
    }

    /// Sets the function up again whenever the EP has rebooted, until `over`: configfs is empty then.
    pub fn keep_function(&self, over: &AtomicBool) {
        let recipe = self.options.function.recipe();
        let Some(driver) = recipe.driver else { return };
        let mut done = self.reboots.ep.load(Ordering::SeqCst);
        while !over.load(Ordering::SeqCst) && !self.watch.over() {
            let reboots = self.reboots.ep.load(Ordering::SeqCst);
            if reboots == done {
                self.watch.pause(Duration::from_millis(200));
                continue;
            }
            if self.guest(Side::Ep).wait_ready(ATTEMPT).is_err() {
                continue;
            }
            done = reboots;
            let line = match self.set_up(recipe, driver) {
                Ok(()) => format!("the EP guest rebooted: {} is set up again", recipe.name),
                Err(failure) => format!("the EP guest rebooted: {}", failure.report()),
            };
            self.note(&line);
            progress::say(&format!("pair: {line}"));
        }
    }

    fn set_up(&self, recipe: &Recipe, driver: &str) -> Result<(), Failure> {
        let arguments = recipe
            .arguments(&self.options.settings)
            .map_err(Failure::harness)?;
        let mut command = quote(&compose::script_path(compose::SET_UP)) + " " + driver;
        for argument in arguments {
            command = command + " " + &quote(&argument);
        }
        let path = self.run.dir.join(SET_UP);
        if let Err(error) = std::fs::write(&path, format!("{command}\n")) {
            log::warn!("cannot write {}: {error}", path.display());
        }
        let output = self
            .exec(Side::Ep, &command, self.limit())
            .map_err(|failure| self.with_console(failure, Side::Ep))?;
        let status = output.exit.status();
        if status == 0 {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let name = recipe.name;
        let message = format!("{name} cannot be set up on the EP (status {status})");
        let failure = Failure::harness(message)
            .with_tail(said.lines().map(str::to_owned).collect())
            .with_hint("ep.log has the kernel's side of it");
        Err(self.health().err().unwrap_or(failure))
    }

    /// A timeout with the guest's last words below it.
    fn with_console(&self, failure: Failure, side: Side) -> Failure {
        if failure.exit != Exit::Timeout || !failure.tail.is_empty() {
            return failure;
        }
        let tail = self.consoles[side].lines();
        match tail.is_empty() {
            true => failure.with_hint(format!("{} wrote nothing on its console", side.title())),
            false => failure.with_tail(tail),
        }
    }

    fn limit(&self) -> Duration {
        match self.options.gdb {
            Some(_) => PATIENT,
            None => self.options.step_timeout * self.options.kernel_variant.slowness(),
        }
    }

    fn sink(&self, source: &str, file: &str) -> Result<Sink, Failure> {
        Sink::create(source, &self.run.dir.join(file), &self.timeline)
    }

    fn wait_socket(&self, path: &Path, what: &str) -> Result<(), Failure> {
        self.watch
            .poll(what, SOCKETS, LOOK, || Ok(path.exists().then_some(())))
    }

    fn record(&self, artefacts: &Artefacts) -> Result<(), Failure> {
        self.run.record(&Record {
            id: self.run.id(),
            pid: std::process::id(),
            function: self.options.function.recipe().name.into(),
            sockets: self.run.sockets.0.clone(),
            vmlinux: Sides::from_fn(|side| artefacts.kernel[side].vmlinux.clone()),
            build_dir: Sides::from_fn(|side| artefacts.kernel[side].build_dir.clone()),
            device: artefacts.device.clone(),
            device_pid: self.device.as_ref().map(Service::pid),
            modules: artefacts.placement.clone(),
            windows: artefacts.windows.clone(),
            iommu: self.options.iommu,
        })
    }

    fn reached(&self, name: &str) -> Phase {
        let seconds = self.begun.elapsed().as_secs_f64();
        self.timeline.line("pair", name);
        progress::say(&format!("pair: {seconds:6.2} s  {}", printable(name)));
        Phase {
            name: name.into(),
            seconds,
        }
    }

    fn phase(&mut self, name: &str) {
        let phase = self.reached(name);
        self.phases.push(phase);
    }

    /// How another terminal attaches gdb to this side.
    pub fn hint_gdb(&self, side: Side) -> String {
        format!(
            "{RUN_VARIABLE}={} pair gdb {side}",
            quote(&self.dir().to_string_lossy())
        )
    }

    /// The run's directory: logs, command lines, results.
    pub fn dir(&self) -> &Path {
        &self.run.dir
    }

    /// A directory with the commands `ep`, `rc` and `pair`, to be put first on a PATH.
    pub fn bin_dir(&self) -> PathBuf {
        self.run.sockets.bin()
    }

    /// A guest, to run commands in.
    pub fn guest(&self, side: Side) -> Guest {
        Guest::new(side.name(), self.run.sockets.agent(side))
    }

    /// The environment of a host command that uses the pair: `PATH` and `SPIDER_PAIR_RUN`.
    pub fn env(&self) -> Vec<(OsString, OsString)> {
        let mut path = OsString::from(self.bin_dir());
        if let Some(rest) = env::var_os("PATH").filter(|rest| !rest.is_empty()) {
            path.push(":");
            path.push(rest);
        }
        vec![
            ("PATH".into(), path),
            (RUN_VARIABLE.into(), self.dir().into()),
        ]
    }

    /// Which of our kernels its guests run, unless the user has given others.
    pub fn kernel_variant(&self) -> images::KernelVariant {
        self.options.kernel_variant
    }

    /// Whether a guest has switched itself off: that failed the run, whoever asked for it.
    pub fn powered_off(&self) -> bool {
        self.powered_off.load(Ordering::SeqCst)
    }

    /// The steps of the boot, in order.
    pub fn phases(&self) -> &[Phase] {
        &self.phases
    }

    /// What the threads have found out, for whoever waits.
    pub fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// Whether all of it is alive; the first thing that went wrong otherwise.
    ///
    /// # Errors
    /// That failure: 255 for a panic with the console's tail, 125 for a process that died, 128 + n for a signal.
    pub fn health(&self) -> Result<(), Failure> {
        self.watch.health()
    }

    /// Runs a shell command in a guest and collects its output.
    ///
    /// # Errors
    /// 124 when it did not end in time; the failure of [`Pair::health`] when the guest went away.
    pub fn exec(&self, side: Side, command: &str, timeout: Duration) -> Result<Output, Failure> {
        self.guest(side).run(command, timeout).map_err(|error| {
            let exit = match error {
                GuestError::Timeout { .. } | GuestError::NotReady { .. } => Exit::Timeout,
                _ => Exit::Harness,
            };
            self.health()
                .err()
                .unwrap_or_else(|| Failure::new(exit, error.to_string()))
        })
    }

    /// Waits until the function's driver has probed on the RC (after a new start of the link, or a reboot).
    ///
    /// # Errors
    /// 124 when it has not in time; the failure of [`Pair::health`].
    pub fn wait_function(&self, timeout: Duration) -> Result<(), Failure> {
        let recipe = self.options.function.recipe();
        let Some(path) = recipe.probed else {
            return Ok(());
        };
        let deadline = Instant::now() + timeout;
        let slot = "the function to be plugged into the RC";
        self.watch
            .wait(slot, timeout, |state| state.plugged.then_some(()))?;
        let rc = self.guest(Side::Rc);
        let what = format!("{path} on the RC: {} to probe", recipe.name);
        // The guest looks for itself: one command, not one for each look. A guest that reboots meanwhile loses it.
        let look = format!(
            "n=0; until [ -e {path} ]; do sleep 0.02; n=$((n+1)); [ $n -lt 200 ] || exit 1; done"
        );
        self.watch
            .poll(&what, left_until(deadline), LOOK, || {
                // The last look ends with the step, not after it.
                let look = rc.run(&look, left_until(deadline).min(Duration::from_secs(15)));
                Ok(look
                    .is_ok_and(|output| output.exit.status() == 0)
                    .then_some(()))
            })
            .map_err(|failure| self.with_console(failure, Side::Rc))
    }

    /// Writes a line into the run's timeline.
    pub fn note(&self, text: &str) {
        self.timeline.line("pair", text);
    }

    /// Ends the pair in order and records how the run went: the guests, then the device.
    pub fn finish(mut self, outcome: &Result<Exit, Failure>) {
        match outcome {
            Ok(exit) => self.end(*exit, None),
            Err(failure) => self.end(failure.exit, Some(failure)),
        }
    }

    /// Ends the pair in order.
    ///
    /// # Errors
    /// What went wrong before: see [`Pair::health`].
    pub fn shutdown(self) -> Result<(), Failure> {
        let health = self.health();
        self.finish(&health.clone().map(|()| Exit::Pass));
        health
    }

    fn end(&mut self, exit: Exit, failure: Option<&Failure>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.watch.update(|state| state.ending = true);
        self.note("the run ends");
        if let Some(failure) = failure {
            self.note(&format!("failure: {failure}"));
        }
        // QEMU aborts when the device dies while an access is in flight: so the guests go first.
        for side in Side::BOTH {
            if let Some(monitor) = self.monitors[side].take() {
                let quit = monitor.execute("quit", Value::Null);
                quit.unwrap_or_else(|error| {
                    log::debug!("{side}: {error}");
                    Value::Null
                });
            }
        }
        for side in Side::BOTH {
            if let Some(service) = self.qemu[side].take() {
                service.end(true);
            }
        }
        if let Some(service) = self.device.take() {
            let told = control::quit(&self.run.sockets.control()).is_ok();
            service.end(told);
        }
        self.relays = Sides::default();
        if let Err(error) = self.timeline.finish() {
            log::warn!("the timeline could not be put in order: {error}");
        }
        let result = ResultFile {
            id: self.run.id(),
            function: self.options.function.recipe().name,
            exit: exit.code(),
            failure: failure.map(Failure::report),
            phases: &self.phases,
            seconds: self.begun.elapsed().as_secs_f64(),
        };
        // Beside another failure, such as a log's on the same disk, it is no news.
        if let (Err(lost), None) = (self.run.write_json("result.json", &result), failure) {
            log::warn!("{}", lost.report());
        }
    }
}

fn left_until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

impl Drop for Pair {
    fn drop(&mut self) {
        let health = self.health();
        self.end(
            health.as_ref().map_or_else(|f| f.exit, |()| Exit::Pass),
            health.as_ref().err(),
        );
    }
}
