// SPDX-License-Identifier: Apache-2.0 OR MIT
//! QEMU's machine protocol: commands, their answers, and events (qemu/docs/interop/qmp-spec.rst).

use serde_json::{json, Value};
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{channel, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A line that QEMU sends, read.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// The first line: capabilities are to be negotiated.
    Greeting,
    /// The command with this id was done.
    Return {
        /// The command's id.
        id: u64,
        /// What it gives.
        value: Value,
    },
    /// The command with this id was refused; with no id, the line sent was not understood.
    Error {
        /// The command's id.
        id: Option<u64>,
        /// QEMU's description.
        description: String,
    },
    /// Something happened.
    Event(Event),
}

/// Something that happened in QEMU, such as DEVICE_DELETED or RESET.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its data, an empty object where it has none.
    pub data: Value,
}

/// What can go wrong with a command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket failed.
    #[error("QEMU's monitor: {0}")]
    Io(#[from] io::Error),
    /// QEMU closed the monitor, which it does when it ends.
    #[error("QEMU closed its monitor")]
    Closed,
    /// QEMU refused.
    #[error("QEMU refused {command}: {description}")]
    Refused {
        /// The command.
        command: String,
        /// QEMU's description.
        description: String,
    },
    /// No answer came.
    #[error("QEMU did not answer {command} within {seconds} s")]
    Timeout {
        /// The command.
        command: String,
        /// How long was waited.
        seconds: u64,
    },
    /// A line that is no message of the protocol.
    #[error("QEMU's monitor sent no message: {0}")]
    Malformed(String),
}

/// Reads one line.
///
/// # Errors
/// [`Error::Malformed`] for whatever the protocol does not know.
pub fn decode(line: &str) -> Result<Message, Error> {
    let malformed = || Error::Malformed(line.chars().take(200).collect());
    let mut value: Value = serde_json::from_str(line).map_err(|_| malformed())?;
    let id = value.get("id").and_then(Value::as_u64);
    if value.get("QMP").is_some() {
        Ok(Message::Greeting)
    } else if let Some(name) = value.get("event").and_then(Value::as_str) {
        let name = name.to_owned();
        let data = value.get_mut("data").map_or_else(|| json!({}), Value::take);
        Ok(Message::Event(Event { name, data }))
    } else if let Some(error) = value.get("error") {
        let description = error
            .get("desc")
            .and_then(Value::as_str)
            .unwrap_or("no reason given");
        Ok(Message::Error {
            id,
            description: description.to_owned(),
        })
    } else if let (Some(id), Some(value)) = (id, value.get_mut("return")) {
        Ok(Message::Return {
            id,
            value: value.take(),
        })
    } else {
        Err(malformed())
    }
}

/// Writes one command as a line.
pub fn encode(id: u64, command: &str, arguments: &Value) -> String {
    let mut message = json!({ "execute": command, "id": id });
    if !arguments.is_null() {
        message["arguments"] = arguments.clone();
    }
    format!("{message}\n")
}

type Answers = HashMap<u64, Sender<Result<Value, String>>>;

/// A connection to one QEMU's monitor; shared by threads.
pub struct Client {
    stream: UnixStream,
    next_id: AtomicU64,
    // None once QEMU has closed the monitor.
    answers: Arc<Mutex<Option<Answers>>>,
}

impl Client {
    /// How long a command may take. QEMU answers at once unless its main loop stands still.
    pub const PATIENCE: Duration = Duration::from_secs(20);
    /// How long there may be no room in the monitor's socket, which holds hundreds of commands that a QEMU has not read.
    const ROOM: Duration = Duration::from_secs(3);
    /// The longest line read: `query-qmp-schema`, the largest answer there is, has about 200 KiB.
    const LONGEST_LINE: u64 = 4 << 20;

    /// Negotiates on a connected socket; `on_event` is called for each event, on a thread of its own.
    ///
    /// # Errors
    /// When the peer is no QEMU monitor, or goes away.
    pub fn new(
        stream: UnixStream,
        mut on_event: impl FnMut(Event) + Send + 'static,
    ) -> Result<Self, Error> {
        let answers = Arc::new(Mutex::new(Some(Answers::new())));
        let client = Client {
            stream: stream.try_clone()?,
            next_id: AtomicU64::new(1),
            answers: answers.clone(),
        };
        let mut reader = BufReader::new(stream);
        client.stream.set_read_timeout(Some(Self::PATIENCE))?;
        match read(&mut reader)? {
            Some(Message::Greeting) => {}
            Some(other) => {
                return Err(Error::Malformed(format!("{other:?} instead of a greeting")))
            }
            None => return Err(Error::Closed),
        }
        client.stream.set_read_timeout(None)?;
        client.stream.set_write_timeout(Some(Self::ROOM))?;
        std::thread::Builder::new()
            .name("qmp".into())
            .spawn(move || {
                loop {
                    let (id, answer) = match read(&mut reader) {
                        Ok(Some(Message::Event(event))) => {
                            on_event(event);
                            continue;
                        }
                        Ok(Some(Message::Return { id, value })) => (id, Ok(value)),
                        Ok(Some(Message::Error {
                            id: Some(id),
                            description,
                        })) => (id, Err(description)),
                        Ok(Some(other)) => {
                            log::warn!("QEMU's monitor: unexpected {other:?}");
                            continue;
                        }
                        Err(error @ Error::Malformed(_)) => {
                            log::warn!("{error}");
                            continue;
                        }
                        Ok(None) | Err(_) => break,
                    };
                    let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(sender) = answers.as_mut().and_then(|open| open.remove(&id)) {
                        let _ = sender.send(answer); // whoever no longer waits has timed out
                    }
                }
                *answers.lock().unwrap_or_else(PoisonError::into_inner) = None;
            })?;
        client.execute("qmp_capabilities", Value::Null)?;
        Ok(client)
    }

    /// Executes a command and gives what it returns.
    ///
    /// # Errors
    /// When QEMU refuses it, ends, or does not answer within [`Client::PATIENCE`].
    pub fn execute(&self, command: &str, arguments: Value) -> Result<Value, Error> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = channel();
        {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.as_mut().ok_or(Error::Closed)?.insert(id, sender);
        }
        let begin = Instant::now();
        let timeout = || Error::Timeout {
            command: command.to_owned(),
            seconds: begin.elapsed().as_secs(),
        };
        // One write a line, so that commands of several threads do not mix.
        match (&self.stream).write_all(encode(id, command, &arguments).as_bytes()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(Error::Closed),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Half a line may be on its way: nothing can follow it.
                let _ = self.stream.shutdown(Shutdown::Both);
                return Err(timeout());
            }
            Err(error) => return Err(error.into()),
        }
        match answer.recv_timeout(Self::PATIENCE) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(description)) => Err(Error::Refused {
                command: command.to_owned(),
                description,
            }),
            Err(RecvTimeoutError::Disconnected) => Err(Error::Closed),
            Err(RecvTimeoutError::Timeout) => {
                let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(answers) = answers.as_mut() {
                    answers.remove(&id);
                }
                Err(timeout())
            }
        }
    }

    /// Executes a command of the human monitor and gives its output.
    ///
    /// # Errors
    /// As [`Client::execute`]; what the human monitor itself refuses comes as output.
    pub fn human(&self, line: &str) -> Result<String, Error> {
        let output = self.execute("human-monitor-command", json!({ "command-line": line }))?;
        Ok(output.as_str().unwrap_or_default().to_owned())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both); // ends the reading thread
    }
}

/// The next message; None at the end of the stream.
fn read(reader: &mut impl BufRead) -> Result<Option<Message>, Error> {
    let mut line = String::new();
    if reader
        .by_ref()
        .take(Client::LONGEST_LINE)
        .read_line(&mut line)?
        == 0
    {
        return Ok(None);
    }
    decode(&line).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"major": 11}}, "capabilities": []}}"#;

    #[test]
    fn every_kind_of_line_is_read() {
        assert_eq!(decode(GREETING).unwrap(), Message::Greeting);
        assert_eq!(
            decode(r#"{"return": {"x": 1}, "id": 3}"#).unwrap(),
            Message::Return {
                id: 3,
                value: json!({"x": 1})
            }
        );
        assert_eq!(
            decode(r#"{"id": 4, "error": {"class": "GenericError", "desc": "no"}}"#).unwrap(),
            Message::Error {
                id: Some(4),
                description: "no".into()
            }
        );
        let event = r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RESET", "data": {"guest": true}}"#;
        assert_eq!(
            decode(event).unwrap(),
            Message::Event(Event {
                name: "RESET".into(),
                data: json!({"guest": true})
            })
        );
        for bad in ["", "{", "[]", r#"{"return": {}}"#, r#"{"id": 1}"#, "7"] {
            assert!(matches!(decode(bad), Err(Error::Malformed(_))), "{bad}");
        }
    }

    #[test]
    fn a_command_is_one_line() {
        let line = encode(7, "device_del", &json!({"id": "a\nb"}));
        assert_eq!(line.matches('\n').count(), 1);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            value,
            json!({"execute": "device_del", "id": 7, "arguments": {"id": "a\nb"}})
        );
        assert!(!encode(1, "quit", &Value::Null).contains("arguments"));
    }

    /// A QEMU that answers each command with what `answer` makes of it, then ends.
    fn fake(mut answer: impl FnMut(u64, &str) -> String + Send + 'static) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::thread::spawn(move || {
            let mut out = theirs.try_clone().unwrap();
            writeln!(out, "{GREETING}").unwrap();
            for line in BufReader::new(theirs).lines() {
                let value: Value = serde_json::from_str(&line.unwrap()).unwrap();
                let id = value["id"].as_u64().unwrap();
                let text = match value["execute"].as_str().unwrap() {
                    "qmp_capabilities" => format!("{}\n", json!({"return": {}, "id": id})),
                    command => answer(id, command),
                };
                if text.is_empty() || out.write_all(text.as_bytes()).is_err() {
                    return;
                }
            }
        });
        ours
    }

    #[test]
    fn answers_find_their_command_and_events_their_handler() {
        let stream = fake(|id, command| match command {
            "good" => format!(
                "{}\nnot json\n{}\n",
                json!({"event": "DEVICE_DELETED", "data": {"device": "function"}}),
                json!({"return": 5, "id": id})
            ),
            _ => format!("{}\n", json!({"error": {"desc": "unknown"}, "id": id})),
        });
        let (events, seen) = channel();
        let client = Client::new(stream, move |event| events.send(event).unwrap()).unwrap();
        assert_eq!(client.execute("good", Value::Null).unwrap(), 5);
        assert_eq!(seen.recv().unwrap().name, "DEVICE_DELETED");
        let error = client.execute("bad", Value::Null).unwrap_err();
        assert_eq!(error.to_string(), "QEMU refused bad: unknown");
    }

    #[test]
    fn a_qemu_that_ends_leaves_nobody_waiting() {
        let client = Client::new(fake(|_, _| String::new()), |_| ()).unwrap();
        assert!(matches!(
            client.execute("quit", Value::Null),
            Err(Error::Closed)
        ));
        assert!(matches!(
            client.execute("quit", Value::Null),
            Err(Error::Closed)
        ));
    }

    #[test]
    fn a_qemu_that_reads_nothing_leaves_nobody_waiting() {
        // It reads on once the test is over, which ends it.
        let (over, wait) = channel::<()>();
        let stream = fake(move |_, _| wait.recv().map_or_else(|_| String::new(), |()| "\n".into()));
        let client = Client::new(stream, |_| ()).unwrap();
        let long = "x".repeat(4 << 20);
        // Whoever has asked before waits for an answer meanwhile.
        std::thread::scope(|scope| {
            scope.spawn(|| client.execute("stop", Value::Null).unwrap_err());
            std::thread::sleep(Duration::from_millis(100));
            let error = client.execute("long", json!({ "text": long })).unwrap_err();
            assert!(matches!(error, Error::Timeout { .. }), "{error}");
        });
        assert!(matches!(
            client.execute("cont", Value::Null),
            Err(Error::Closed)
        ));
        drop(over);
    }

    #[test]
    fn what_does_not_greet_is_no_monitor() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"SSH-2.0\n").unwrap();
        assert!(matches!(
            Client::new(ours, |_| ()),
            Err(Error::Malformed(_))
        ));
    }
}
