// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Fills and empties the RC's hot-plug slot as the link comes and goes: the hands of [`crate::link`].

use crate::control;
use crate::link::{Action, Follower, Input};
use crate::qemu;
use crate::qmp;
use crate::run::Sockets;
use crate::status::Failure;
use crate::timeline::Timeline;
use crate::watch::Watch;
use serde_json::{json, Value};
use std::io;
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// After the guest switched its slot off, QEMU says within this time that the device is gone.
const AFTER_POWER_OFF: Duration = Duration::from_secs(3);
/// After the attention button the guest waits five seconds before it acts (pciehp), and QEMU refuses another press meanwhile.
const AFTER_REMOVE: Duration = Duration::from_secs(8);
/// Between two tries of a plug: the news that the link has gone meanwhile arrives within this time.
const BETWEEN_PLUGS: Duration = Duration::from_millis(250);
/// How long a device whose events have ended has to be found dead, which is then the better reason.
const DEVICE_DEATH: Duration = Duration::from_secs(1);
/// Changes of the link in a second that the timeline has one by one.
const NOTED_CHANGES: u32 = 50;

/// Runs a shell command in the RC guest; an error when it failed or no agent answered in time.
pub type RunInGuest = Box<dyn Fn(&str) -> Result<(), String> + Send>;

/// Takes what happened elsewhere to the follower.
#[derive(Clone)]
pub struct Notify(Sender<Input>);

impl Notify {
    /// An event of the RC's QEMU.
    pub fn qmp(&self, event: &qmp::Event) {
        let ours = event.data["device"] == qemu::FUNCTION_ID;
        if event.name == "DEVICE_DELETED" && ours {
            let _ = self.0.send(Input::Gone); // the follower ends with the run
        }
    }
}

/// Makes the way to a follower that [`follow`] will start: QEMU's monitor needs it before.
pub fn notify() -> (Notify, Receiver<Input>) {
    let (sender, receiver) = channel();
    (Notify(sender), receiver)
}

/// Follows the link from now until the device ends.
///
/// # Errors
/// 125 when the device's control socket cannot be reached.
pub fn follow(
    sockets: &Sockets,
    plug: Value,
    (notify, inputs): (Notify, Receiver<Input>),
    monitor: Arc<qmp::Client>,
    guest: RunInGuest,
    watch: &Arc<Watch>,
    timeline: &Arc<Timeline>,
) -> Result<(), Failure> {
    let cannot =
        |error: io::Error| Failure::harness("the link cannot be followed").caused_by(error);
    let events = control::events(&sockets.control()).map_err(cannot)?;
    let (for_events, log) = (watch.clone(), timeline.clone());
    let listen = move || {
        let reason = listen(events, &notify, &for_events, &log);
        // The end of a run ends the device, and with it its events.
        let begun = Instant::now();
        while begun.elapsed() < DEVICE_DEATH && !for_events.over() {
            for_events.pause(DEVICE_DEATH / 10);
        }
        for_events.fail(blind(reason));
    };
    std::thread::Builder::new()
        .name("device events".into())
        .spawn(listen)
        .map_err(cannot)?;
    let hands = Hands {
        plug,
        monitor,
        guest,
        watch: watch.clone(),
        timeline: timeline.clone(),
        later: None,
        next: None,
    };
    std::thread::Builder::new()
        .name("link follower".into())
        .spawn(move || hands.work(&inputs))
        .map_err(cannot)?;
    Ok(())
}

/// Takes the device's events to the follower until there are no more. Returns why.
fn listen(
    events: impl Iterator<Item = control::Stamped>,
    notify: &Notify,
    watch: &Watch,
    timeline: &Timeline,
) -> &'static str {
    let mut notes = Notes::default();
    for control::Stamped { t, event } in events {
        if notes.takes(t) {
            timeline.line_at(t, "pair", &format!("device: {event:?}"));
        }
        match event {
            control::Event::Link { up, generation } => {
                watch.update(|state| state.link_up = up);
                let input = if up {
                    Input::Up { generation }
                } else {
                    Input::Down
                };
                // The follower ends with the run.
                if notify.0.send(input).is_err() {
                    break;
                }
            }
            control::Event::Overrun => {
                return "this process did not take the device's events in time";
            }
            _ => {}
        }
    }
    "the device has ended their stream"
}

/// The run cannot go on without the device's events.
fn blind(reason: &str) -> Failure {
    let message = format!("the link's changes are not seen any more: {reason}");
    let hint =
        "was the runner stopped, or the host short of CPU time? timeline.log has the last events";
    Failure::harness(message).with_hint(hint)
}

/// Which events the timeline has: an EP can change its link thousands of times a second.
#[derive(Default)]
struct Notes {
    /// The second, and how many there were in it.
    second: u64,
    count: u32,
}

impl Notes {
    /// Whether to write down an event of this time (ns).
    fn takes(&mut self, time: u64) -> bool {
        let second = time / 1_000_000_000;
        if second != self.second {
            *self = Self { second, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= NOTED_CHANGES
    }
}

struct Hands {
    plug: Value,
    monitor: Arc<qmp::Client>,
    guest: RunInGuest,
    watch: Arc<Watch>,
    timeline: Arc<Timeline>,
    /// What to tell the follower when this time has come, and nothing else is to be told.
    later: Option<(Instant, Input)>,
    /// An input that was received already.
    next: Option<Input>,
}

impl Hands {
    fn work(mut self, inputs: &Receiver<Input>) {
        let mut follower = Follower::default();
        loop {
            let mut input = match self.next(inputs) {
                Some(input) => Some(input),
                None => return,
            };
            while let Some(now) = input.take() {
                let action = follower.step(now);
                self.watch
                    .update(|state| state.plugged = follower.plugged());
                if let Some(action) = action {
                    self.timeline
                        .line("pair", &format!("link follower: {now:?}: {action:?}"));
                    input = self.act(action);
                }
            }
        }
    }

    /// The next input, which may be that a time has passed. None at the end of the run.
    ///
    /// What has arrived goes first. Of a link that bounces only the last change counts.
    fn next(&mut self, inputs: &Receiver<Input>) -> Option<Input> {
        let mut input = match (self.next.take(), self.later) {
            (Some(next), _) => next,
            (None, None) => inputs.recv().ok()?,
            (None, Some((at, input))) => {
                match inputs.recv_timeout(at.saturating_duration_since(Instant::now())) {
                    Ok(input) => input,
                    Err(RecvTimeoutError::Timeout) => {
                        self.later = None;
                        input
                    }
                    Err(RecvTimeoutError::Disconnected) => return None,
                }
            }
        };
        let of_link = |input| matches!(input, Input::Up { .. } | Input::Down);
        while of_link(input) {
            match inputs.try_recv() {
                Ok(newer) if of_link(newer) => input = newer,
                Ok(other) => {
                    self.next = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        if input == Input::Gone {
            self.later = None;
        }
        Some(input)
    }

    /// Does it; the answer, where there is one at once.
    fn act(&mut self, action: Action) -> Option<Input> {
        match action {
            Action::Plug => match self.monitor.execute("device_add", self.plug.clone()) {
                Ok(_) => Some(Input::Plugged),
                Err(error) => {
                    self.timeline
                        .line("pair", &format!("link follower: {error}"));
                    self.later = Some((Instant::now() + BETWEEN_PLUGS, Input::PlugRefused));
                    None
                }
            },
            Action::PowerOff => match (self.guest)(qemu::POWER_OFF) {
                Ok(()) => {
                    self.later = Some((Instant::now() + AFTER_POWER_OFF, Input::StillThere));
                    None
                }
                Err(error) => {
                    self.timeline
                        .line("pair", &format!("link follower: power off: {error}"));
                    Some(Input::StillThere)
                }
            },
            Action::Remove => {
                let device = json!({ "id": qemu::FUNCTION_ID });
                if let Err(error) = self.monitor.execute("device_del", device) {
                    self.timeline
                        .line("pair", &format!("link follower: {error}"));
                }
                self.later = Some((Instant::now() + AFTER_REMOVE, Input::StillThere));
                None
            }
            Action::GiveUp => {
                let message = "the RC's QEMU refuses the function";
                let hint = "the timeline holds its reasons; rc-qemu.log and device.log both sides";
                self.watch.fail(Failure::harness(message).with_hint(hint));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::{UnixListener, UnixStream};

    /// A device that sends these events, and stays until `end` is dropped.
    fn device(sockets: &Sockets, events: &'static [&'static str], end: Receiver<()>) {
        let listener = UnixListener::bind(sockets.control()).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            BufReader::new(&stream)
                .read_line(&mut String::new())
                .unwrap();
            for event in events {
                writeln!(stream, "{event}").unwrap();
                // Far enough apart for the follower to act in between.
                std::thread::sleep(Duration::from_millis(100));
            }
            let _ = end.recv();
        });
    }

    /// A QEMU that does what it is told, but for the first `refusals` plugs, and reports each command.
    fn qemu(commands: Sender<String>, mut refusals: u32) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::thread::spawn(move || {
            let mut out = theirs.try_clone().unwrap();
            writeln!(out, "{}", json!({"QMP": {}})).unwrap();
            for line in BufReader::new(theirs).lines().map_while(Result::ok) {
                let value: Value = serde_json::from_str(&line).unwrap();
                let command = value["execute"].as_str().unwrap().to_owned();
                let answer = if command == "device_add" && refusals > 0 {
                    refusals -= 1;
                    json!({"error": {"class": "GenericError", "desc": "no socket"}, "id": value["id"]})
                } else {
                    json!({"return": {}, "id": value["id"]})
                };
                writeln!(out, "{answer}").unwrap();
                if command == "device_del" {
                    let gone =
                        json!({"event": "DEVICE_DELETED", "data": {"device": qemu::FUNCTION_ID}});
                    writeln!(out, "{gone}").unwrap();
                }
                let _ = commands.send(command);
            }
        });
        ours
    }

    /// A follower of a device that sends these events and stays until the sender is dropped.
    struct Followed {
        _dir: tempfile::TempDir,
        watch: Arc<Watch>,
        commands: Receiver<String>,
        device: Option<Sender<()>>,
    }

    impl Followed {
        fn start(events: &'static [&'static str], refusals: u32) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let sockets = Sockets(dir.path().to_owned());
            let timeline = Arc::new(Timeline::create(&dir.path().join("timeline.log")).unwrap());
            let watch = Watch::new();
            let (stay, end) = channel();
            device(&sockets, events, end);
            let (commands, seen) = channel();
            let (notify, inputs) = notify();
            let for_qmp = notify.clone();
            let client =
                qmp::Client::new(qemu(commands, refusals), move |event| for_qmp.qmp(&event));
            let deaf: RunInGuest = Box::new(|_| Err("no agent".into()));
            follow(
                &sockets,
                json!({"driver": "vfio-user-pci"}),
                (notify, inputs),
                Arc::new(client.unwrap()),
                deaf,
                &watch,
                &timeline,
            )
            .unwrap();
            Self {
                _dir: dir,
                watch,
                commands: seen,
                device: Some(stay),
            }
        }

        fn plugged(&self) -> Result<(), Failure> {
            let time = Duration::from_secs(10);
            self.watch
                .wait("the plug", time, |state| state.plugged.then_some(()))
        }

        /// Why the run fails, as it does.
        fn failure(&self) -> String {
            let never = |_: &crate::watch::State| None::<()>;
            let failure = self
                .watch
                .wait("the failure", Duration::from_secs(10), never);
            failure.unwrap_err().message
        }
    }

    #[test]
    fn links_events_become_plugs_and_unplugs_even_when_the_guest_is_deaf() {
        let followed = Followed::start(
            &[
                r#"{"t":1,"event":"link","up":false,"generation":0}"#,
                r#"{"t":2,"event":"link","up":true,"generation":1}"#,
                r#"{"t":3,"event":"link","up":false,"generation":1}"#,
                r#"{"t":4,"event":"link","up":true,"generation":2}"#,
            ],
            0,
        );
        let commands = &followed.commands;
        let next = || commands.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(next(), "qmp_capabilities");
        assert_eq!(
            [next(), next(), next()],
            ["device_add", "device_del", "device_add"]
        );
        followed.plugged().unwrap();
    }

    #[test]
    fn a_link_that_bounces_while_it_is_plugged_does_not_end_the_run() {
        let followed = Followed::start(
            &[
                r#"{"t":1,"event":"link","up":true,"generation":1}"#,
                r#"{"t":2,"event":"link","up":false,"generation":1}"#,
                r#"{"t":3,"event":"link","up":true,"generation":2}"#,
                r#"{"t":4,"event":"link","up":false,"generation":2}"#,
                r#"{"t":5,"event":"link","up":true,"generation":3}"#,
                r#"{"t":6,"event":"link","up":false,"generation":3}"#,
                r#"{"t":7,"event":"link","up":true,"generation":4}"#,
            ],
            4,
        );
        followed.plugged().unwrap();
    }

    #[test]
    fn a_qemu_that_refuses_the_function_of_a_link_that_stands_ends_the_run() {
        let followed = Followed::start(
            &[r#"{"t":1,"event":"link","up":true,"generation":1}"#],
            u32::MAX,
        );
        assert!(followed.failure().contains("refuses the function"));
    }

    #[test]
    fn a_run_does_not_go_on_blind() {
        let followed = Followed::start(
            &[
                r#"{"t":1,"event":"link","up":true,"generation":1}"#,
                r#"{"t":2,"event":"overrun"}"#,
            ],
            0,
        );
        let failure = followed.failure();
        assert!(failure.contains("did not take"), "{failure}");

        let mut followed = Followed::start(&[], 0);
        followed.device = None;
        let failure = followed.failure();
        assert!(failure.contains("not seen any more"), "{failure}");
    }

    #[test]
    fn what_dies_at_the_end_of_a_run_is_no_failure() {
        let mut followed = Followed::start(&[], 0);
        followed.watch.update(|state| state.ending = true);
        followed.device = None;
        std::thread::sleep(2 * DEVICE_DEATH / 10);
        assert!(followed.watch.health().is_ok());
    }

    #[test]
    fn a_link_that_changes_all_the_time_does_not_fill_the_timeline() {
        let mut notes = Notes::default();
        let taken = (0..1_000_000).filter(|n| notes.takes(n * 10_000)).count();
        assert_eq!(taken, 10 * NOTED_CHANGES as usize);
    }
}
