// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The control socket: one JSON object a line, for the runner and for people with `socat`.
//!
//! | request | answer |
//! |---|---|
//! | `{"op":"inspect","path":"link"}` | `{"ok":true,"value":…}`; an empty path is the whole tree, `.` separates steps |
//! | `{"op":"events"}` | a stream of [`Event`]s, the present state first; `overrun` is the last for who does not read |
//! | `{"op":"windows","fast":false}` | `{"ok":true}` once every access of a window traps; `true` ends that |
//! | `{"op":"quit"}` | `{"ok":true}`, and the process ends in order |
//!
//! A client who is one too many is answered `{"ok":false,"error":…}` and hung up on.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{kill, Signal};
use nix::time::{clock_gettime, ClockId};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

use crate::clients::Clients;
use crate::machine::{accept, Machine};

/// The most clients at a time. A runner has a few; each costs a thread, or two while it is told of events.
const MAX_CLIENTS: usize = 64;
/// How long a client may leave an answer unread.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// The longest request line that is read; longer ones end the connection.
const MAX_REQUEST: u64 = 64 * 1024;
/// Events that a subscriber may leave unread before it is dropped.
pub const MAX_UNREAD_EVENTS: usize = 16 * 1024;

/// What happened to the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The link came up or went down.
    Link {
        /// Whether it stands now.
        up: bool,
        /// How many times it has come up, this time included.
        generation: u32,
    },
    /// The EP guest's QEMU connected.
    EpAttached,
    /// The EP guest's QEMU closed its connection.
    EpDetached,
    /// The RC guest's QEMU connected.
    RcAttached,
    /// The RC guest's QEMU closed its connection.
    RcDetached,
    /// Whoever hears this has left [`MAX_UNREAD_EVENTS`] unread and is told nothing more.
    Overrun,
}

/// An event as it is sent: with its time.
#[derive(Clone, Copy, Debug, Serialize)]
struct Stamped {
    /// CLOCK_MONOTONIC, nanoseconds.
    t: u64,
    #[serde(flatten)]
    event: Event,
}

/// Who is told, and what a newcomer has missed.
#[derive(Default)]
pub struct Events(Mutex<Subscribers>);

#[derive(Default)]
struct Subscribers {
    link: Option<Event>,
    ep_attached: bool,
    rc_attached: bool,
    channels: Vec<(u64, SyncSender<Stamped>)>,
    /// The next subscription's number.
    next: u64,
}

/// Telling never waits, so it may be done under a lock that keeps events in order; the event that was told is returned
/// for the log.
impl Events {
    /// The link came up or went down for the `generation`th time.
    pub fn link(&self, up: bool, generation: u32) -> Event {
        let event = Event::Link { up, generation };
        self.send(event, |state| state.link = Some(event))
    }

    /// The EP's QEMU connected, or is gone.
    pub fn ep_attached(&self, attached: bool) -> Event {
        let event = if attached {
            Event::EpAttached
        } else {
            Event::EpDetached
        };
        self.send(event, |state| state.ep_attached = attached)
    }

    /// The RC's QEMU connected, or is gone.
    pub fn rc_attached(&self, attached: bool) -> Event {
        let event = if attached {
            Event::RcAttached
        } else {
            Event::RcDetached
        };
        self.send(event, |state| state.rc_attached = attached)
    }

    fn send(&self, event: Event, remember: impl FnOnce(&mut Subscribers)) -> Event {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        remember(&mut state);
        // Whoever does not read, or is gone, is dropped: the silicon waits for nobody.
        state
            .channels
            .retain(|(_, channel)| channel.try_send(stamp(event)).is_ok());
        event
    }

    /// Events from now on, the present state first, until [`unsubscribe`](Self::unsubscribe) is called with the number that
    /// comes along.
    fn subscribe(&self) -> (u64, Receiver<Stamped>) {
        let (sender, receiver) = sync_channel(MAX_UNREAD_EVENTS);
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let present = [
            Some(state.link.unwrap_or(Event::Link {
                up: false,
                generation: 0,
            })),
            state.ep_attached.then_some(Event::EpAttached),
            state.rc_attached.then_some(Event::RcAttached),
        ];
        for event in present.into_iter().flatten() {
            let _ = sender.try_send(stamp(event));
        }
        let number = state.next;
        state.next += 1;
        state.channels.push((number, sender));
        (number, receiver)
    }

    fn unsubscribe(&self, number: u64) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.channels.retain(|(other, _)| *other != number);
    }
}

fn stamp(event: Event) -> Stamped {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |t| {
        // Both are non-negative on this clock.
        t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64
    });
    Stamped { t: now, event }
}

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
enum Request {
    Inspect {
        #[serde(default)]
        path: String,
    },
    Events {},
    Windows {
        fast: bool,
    },
    Quit {},
}

/// Serves the control socket on a thread of its own, each connection on another.
pub fn spawn(listener: UnixListener, machine: Arc<Machine>, events: Arc<Events>) -> io::Result<()> {
    thread::Builder::new()
        .name("control".into())
        .spawn(move || {
            let clients = Clients::at_most(MAX_CLIENTS);
            while let Some(stream) = accept(&listener, || false) {
                let Some(present) = clients.admit("control") else {
                    refuse(&stream);
                    continue;
                };
                let (machine, events) = (machine.clone(), events.clone());
                let spawned =
                    thread::Builder::new()
                        .name("control-client".into())
                        .spawn(move || {
                            if let Err(error) = serve(&stream, &machine, &events, quit) {
                                log::debug!("control connection: {error}");
                            }
                            drop((stream, present));
                        });
                if let Err(error) = spawned {
                    log::error!("no thread for a control connection: {error}");
                }
            }
        })?;
    Ok(())
}

/// The main thread waits for this signal and puts everything in order.
fn quit() -> io::Result<()> {
    Ok(kill(Pid::this(), Signal::SIGTERM)?)
}

/// Tells a client that there are too many. Its socket is new, and has room for that.
fn refuse(stream: &UnixStream) {
    let error = format!("{MAX_CLIENTS} clients are connected already; close one and try again");
    if stream.set_nonblocking(true).is_ok() {
        // The only failure is that it closed the connection first.
        let _ = reply(stream, &json!({ "ok": false, "error": error }));
    }
}

/// Serves one client until it closes the connection; `quit` is called at its wish.
///
/// # Errors
/// The client is not served any further, because of what it sent or did not read.
pub fn serve(
    stream: &UnixStream,
    machine: &Arc<Machine>,
    events: &Events,
    quit: impl Fn() -> io::Result<()>,
) -> io::Result<()> {
    // Its own end of the connection may be among descriptors that it sends, which are closed when its bytes are read:
    // so nobody may wait for it without reading, or it has no end.
    stream.set_write_timeout(Some(ANSWER_DEADLINE))?;
    let mut requests = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        if requests.by_ref().take(MAX_REQUEST).read_line(&mut line)? == 0 {
            return Ok(());
        }
        match serde_json::from_str(&line) {
            Ok(Request::Inspect { path }) => reply(stream, &inspect(&machine.inspect(), &path))?,
            Ok(Request::Events {}) => return follow(stream, events),
            Ok(Request::Windows { fast }) => {
                machine.set_fast(fast);
                reply(stream, &json!({ "ok": true }))?;
            }
            Ok(Request::Quit {}) => {
                reply(stream, &json!({ "ok": true }))?;
                quit()?;
            }
            Err(error) => {
                reply(stream, &json!({ "ok": false, "error": error.to_string() }))?;
                if line.len() as u64 == MAX_REQUEST {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "request too long",
                    ));
                }
            }
        }
    }
}

/// Tells the client of events until it closes the connection, or leaves too many unread.
fn follow(stream: &UnixStream, events: &Events) -> io::Result<()> {
    stream.set_write_timeout(None)?;
    let (number, news) = events.subscribe();
    thread::scope(|scope| {
        let telling = thread::Builder::new()
            .name("control-events".into())
            .spawn_scoped(scope, move || {
                let told = news.iter().try_for_each(|event| reply(stream, &event));
                // Its end of the channel lives as long as the subscription, unless it left too many unread.
                let told = told.and_then(|()| reply(stream, &stamp(Event::Overrun)));
                // Ends the wait below as well.
                let _ = stream.shutdown(Shutdown::Both);
                told
            });
        let ended = telling.as_ref().map_or(Ok(()), |_| until_closed(stream));
        events.unsubscribe(number);
        // A telling thread that waits for room hears that nobody will read.
        let _ = stream.shutdown(Shutdown::Both);
        // The scope itself waits for less than the end of the thread.
        let _ = telling?.join();
        ended
    })
}

/// Waits until either end has closed the connection in both directions. What comes meanwhile is read and forgotten.
fn until_closed(mut stream: &UnixStream) -> io::Result<()> {
    let mut nothing = [0; 4096];
    loop {
        match stream.read(&mut nothing) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // It has said all, and may still listen.
    let mut ends = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    while poll(&mut ends, PollTimeout::NONE) == Err(Errno::EINTR) {}
    Ok(())
}

fn reply(mut stream: &UnixStream, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Follows `path` into the tree; steps are object keys or array indices.
fn inspect(tree: &Value, path: &str) -> Value {
    let mut node = tree;
    for step in path.split(['.', '/']).filter(|step| !step.is_empty()) {
        let next = match node {
            Value::Object(map) => map.get(step),
            Value::Array(list) => step.parse().ok().and_then(|index: usize| list.get(index)),
            _ => None,
        };
        match next {
            Some(next) => node = next,
            None => {
                let known = match node {
                    Value::Object(map) => map.keys().cloned().collect::<Vec<_>>().join(", "),
                    Value::Array(list) => format!("0 to {}", list.len().saturating_sub(1)),
                    _ => "nothing below it".into(),
                };
                let error = format!("no '{step}' in '{path}'; there is: {known}");
                return json!({ "ok": false, "error": error });
            }
        }
    }
    json!({ "ok": true, "value": node })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inspect_follows_keys_and_indices() {
        let tree = json!({ "iatu": { "inbound": [ { "target": 1 }, { "target": 2 } ] } });
        assert_eq!(inspect(&tree, "iatu.inbound.1.target")["value"], 2);
        assert_eq!(inspect(&tree, "")["value"], tree);
        let missing = inspect(&tree, "iatu/outbound");
        assert_eq!(missing["ok"], false);
        assert_eq!(
            missing["error"],
            "no 'outbound' in 'iatu/outbound'; there is: inbound"
        );
    }

    #[test]
    fn a_newcomer_hears_the_present_state_first() {
        let events = Events::default();
        events.ep_attached(true);
        events.link(true, 1);
        let (_, news) = events.subscribe();
        events.link(false, 1);
        let seen: Vec<_> = news.try_iter().map(|stamped| stamped.event).collect();
        assert_eq!(
            seen,
            [
                Event::Link {
                    up: true,
                    generation: 1
                },
                Event::EpAttached,
                Event::Link {
                    up: false,
                    generation: 1
                },
            ]
        );
    }

    #[test]
    fn who_does_not_read_is_dropped() {
        let events = Events::default();
        let (_, news) = events.subscribe();
        for generation in 0..=MAX_UNREAD_EVENTS as u32 {
            events.link(true, generation);
        }
        assert!(events.0.lock().unwrap().channels.is_empty());
        drop(news);
    }

    #[test]
    fn an_event_is_one_flat_object() {
        let line = serde_json::to_value(stamp(Event::Link {
            up: true,
            generation: 3,
        }))
        .unwrap();
        assert_eq!(line["event"], "link");
        assert_eq!(line["up"], true);
        assert_eq!(line["generation"], 3);
        assert!(line["t"].as_u64().unwrap() > 0);
    }
}
