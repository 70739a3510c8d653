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
/// Between two tries of a plug.
const BETWEEN_PLUGS: Duration = Duration::from_millis(100);

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
        for control::Stamped { t, event } in events {
            log.line_at(t, "pair", &format!("device: {event:?}"));
            if let control::Event::Link { up, generation } = event {
                for_events.update(|state| state.link_up = up);
                let input = if up {
                    Input::Up { generation }
                } else {
                    Input::Down
                };
                if notify.0.send(input).is_err() {
                    return;
                }
            }
        }
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
        again: None,
    };
    std::thread::Builder::new()
        .name("link follower".into())
        .spawn(move || hands.work(&inputs))
        .map_err(cannot)?;
    Ok(())
}

struct Hands {
    plug: Value,
    monitor: Arc<qmp::Client>,
    guest: RunInGuest,
    watch: Arc<Watch>,
    timeline: Arc<Timeline>,
    /// When to look whether the device is still there.
    again: Option<Instant>,
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
    fn next(&mut self, inputs: &Receiver<Input>) -> Option<Input> {
        let input = match self.again {
            None => inputs.recv().ok()?,
            Some(at) => match inputs.recv_timeout(at.saturating_duration_since(Instant::now())) {
                Ok(input) => input,
                Err(RecvTimeoutError::Timeout) => Input::StillThere,
                Err(RecvTimeoutError::Disconnected) => return None,
            },
        };
        if matches!(input, Input::Gone | Input::StillThere) {
            self.again = None;
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
                    self.watch.pause(BETWEEN_PLUGS);
                    Some(Input::PlugRefused)
                }
            },
            Action::PowerOff => match (self.guest)(qemu::POWER_OFF) {
                Ok(()) => {
                    self.again = Some(Instant::now() + AFTER_POWER_OFF);
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
                self.again = Some(Instant::now() + AFTER_REMOVE);
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

    /// A QEMU that does what it is told, and reports each command.
    fn qemu(commands: Sender<String>) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::thread::spawn(move || {
            let mut out = theirs.try_clone().unwrap();
            writeln!(out, "{}", json!({"QMP": {}})).unwrap();
            for line in BufReader::new(theirs).lines().map_while(Result::ok) {
                let value: Value = serde_json::from_str(&line).unwrap();
                let command = value["execute"].as_str().unwrap().to_owned();
                writeln!(out, "{}", json!({"return": {}, "id": value["id"]})).unwrap();
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

    #[test]
    fn links_events_become_plugs_and_unplugs_even_when_the_guest_is_deaf() {
        let dir = tempfile::tempdir().unwrap();
        let sockets = Sockets(dir.path().to_owned());
        let timeline = Arc::new(Timeline::create(&dir.path().join("timeline.log")).unwrap());
        let watch = Watch::new();
        let (_stay, end) = channel();
        let events = &[
            r#"{"t":1,"event":"link","up":false,"generation":0}"#,
            r#"{"t":2,"event":"link","up":true,"generation":1}"#,
            r#"{"t":3,"event":"link","up":false,"generation":1}"#,
            r#"{"t":4,"event":"link","up":true,"generation":2}"#,
        ];
        device(&sockets, events, end);
        let (commands, seen) = channel();
        let (notify, inputs) = notify();
        let for_qmp = notify.clone();
        let client = qmp::Client::new(qemu(commands), move |event| for_qmp.qmp(&event)).unwrap();
        let deaf: RunInGuest = Box::new(|_| Err("no agent".into()));
        let plug = json!({"driver": "vfio-user-pci"});
        let channel = (notify, inputs);
        follow(
            &sockets,
            plug,
            channel,
            Arc::new(client),
            deaf,
            &watch,
            &timeline,
        )
        .unwrap();
        let next = || seen.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(next(), "qmp_capabilities");
        assert_eq!(
            [next(), next(), next()],
            ["device_add", "device_del", "device_add"]
        );
        watch
            .wait("the plug", Duration::from_secs(10), |state| {
                state.plugged.then_some(())
            })
            .unwrap();
    }
}
