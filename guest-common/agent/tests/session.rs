// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Sessions over a socket pair, with the commands of this host.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use agent::session::{self, SessionError};
use agent::wire::{Decoder, Exit, Start, ToGuest, ToHost, WindowSize, CHUNK, STDIN_WINDOW};
use nix::sys::signal::{signal, SigHandler, Signal};

struct Host {
    stream: UnixStream,
    decoder: Decoder,
    session: Option<JoinHandle<Result<(), SessionError>>>,
    output: Vec<u8>,
    errors: Vec<u8>,
    credit: u32,
    stdin_closed: bool,
}

#[derive(Debug, PartialEq)]
enum End {
    Exit(Exit),
    Refused(String),
}

impl Host {
    fn connect() -> Self {
        let (stream, guest) = UnixStream::pair().unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Host {
            stream,
            decoder: Decoder::default(),
            session: Some(thread::spawn(|| session::serve(guest.into()))),
            output: Vec::new(),
            errors: Vec::new(),
            credit: STDIN_WINDOW,
            stdin_closed: false,
        }
    }

    fn start(command: &str) -> Self {
        Self::start_with(Start {
            command: command.into(),
            ..Start::default()
        })
    }

    fn start_with(start: Start) -> Self {
        let mut host = Self::connect();
        host.send(ToGuest::Start(start));
        host
    }

    fn send(&mut self, message: ToGuest) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes).unwrap();
        self.stream.write_all(&bytes).unwrap();
    }

    /// Handles frames until one of them ends the command or `until` holds.
    fn receive(&mut self, until: impl Fn(&Host) -> bool) -> Option<End> {
        loop {
            while let Some(frame) = self.decoder.next_frame().unwrap() {
                match ToHost::parse(frame).unwrap() {
                    ToHost::Stdout(data) => self.output.extend_from_slice(data),
                    ToHost::Stderr(data) => self.errors.extend_from_slice(data),
                    ToHost::Credit(bytes) => self.credit += bytes,
                    ToHost::StdinClosed => self.stdin_closed = true,
                    ToHost::Exit(exit) => return Some(End::Exit(exit)),
                    ToHost::Refused(reason) => return Some(End::Refused(reason.into())),
                }
            }
            if until(self) {
                return None;
            }
            assert_ne!(
                self.decoder.fill(&mut self.stream).unwrap(),
                0,
                "guest hung up"
            );
        }
    }

    /// To the end of the command and of its session.
    fn end(mut self) -> (End, String, String) {
        let end = self.receive(|_| false).unwrap();
        drop(self.stream);
        self.session.take().unwrap().join().unwrap().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (end, text(&self.output), text(&self.errors))
    }

    fn lose(mut self) -> Result<(), SessionError> {
        drop(self.stream);
        self.session.take().unwrap().join().unwrap()
    }
}

const SUCCESS: End = End::Exit(Exit::Code(0));

#[test]
fn streams_and_status_are_the_commands_own() {
    let (end, output, errors) = Host::start("echo out; echo err >&2; exit 42").end();
    assert_eq!(
        (end, &*output, &*errors),
        (End::Exit(Exit::Code(42)), "out\n", "err\n")
    );
}

#[test]
fn environment_and_directory_reach_the_command() {
    let start = Start {
        command: "pwd; echo $WORD".into(),
        directory: "/tmp".into(),
        environment: vec![("WORD".into(), "a b".into())],
        terminal: None,
    };
    assert_eq!(Host::start_with(start).end().1, "/tmp\na b\n");
}

#[test]
fn a_missing_directory_is_refused_with_its_name() {
    let start = Start {
        directory: "/nowhere".into(),
        ..Start::default()
    };
    let (end, ..) = Host::start_with(start).end();
    assert!(
        matches!(&end, End::Refused(reason) if reason.contains("/nowhere")),
        "{end:?}"
    );
}

#[test]
fn input_flows_within_its_window() {
    let mut host = Host::start("cat");
    let data: Vec<u8> = (0..3_000_001u32)
        .map(|i| (i.wrapping_mul(i) >> 7) as u8)
        .collect();
    let mut sent = 0;
    while sent < data.len() {
        host.receive(|host| host.credit > 0);
        let count = (data.len() - sent).min(host.credit as usize).min(CHUNK);
        host.send(ToGuest::Stdin(&data[sent..sent + count]));
        host.credit -= count as u32;
        sent += count;
    }
    host.send(ToGuest::Stdin(&[]));
    assert_eq!(host.receive(|_| false), Some(SUCCESS));
    assert!(host.output == data);
}

#[test]
fn a_signal_passes_input_that_nobody_reads() {
    let mut host = Host::start("exec sleep 100");
    let mut left = STDIN_WINDOW as usize;
    while left > 0 {
        let count = left.min(CHUNK);
        host.send(ToGuest::Stdin(&vec![0; count]));
        left -= count;
    }
    host.send(ToGuest::Signal(15));
    assert_eq!(host.end().0, End::Exit(Exit::Signal(15)));
}

#[test]
fn more_input_than_the_window_breaks_the_session() {
    let mut host = Host::start("exec sleep 100");
    let chunk = vec![0; CHUNK];
    let mut bytes = Vec::new();
    ToGuest::Stdin(&chunk).encode(&mut bytes).unwrap();
    // The command's pipe takes some. The guest hangs up in the middle, so a write may fail.
    while host.stream.write_all(&bytes).is_ok() {}
    let result = host.session.take().unwrap().join().unwrap();
    assert!(matches!(result, Err(SessionError::Wire(_))), "{result:?}");
}

#[test]
fn a_command_that_reads_no_input_says_so() {
    let mut host = Host::start("exec <&-; sleep 100");
    host.send(ToGuest::Stdin(b"x"));
    assert_eq!(host.receive(|host| host.stdin_closed), None);
    host.send(ToGuest::Signal(9));
    assert_eq!(host.end().0, End::Exit(Exit::Signal(9)));
}

#[test]
fn signals_reach_the_whole_group() {
    let mut host = Host::start("trap 'echo caught; exit 3' INT; echo up; sleep 100 & wait");
    host.receive(|host| host.output == b"up\n");
    host.send(ToGuest::Signal(2));
    let (end, output, _) = host.end();
    assert_eq!((end, &*output), (End::Exit(Exit::Code(3)), "up\ncaught\n"));
}

#[test]
fn a_signal_ignored_here_is_not_ignored_there() {
    // SAFETY: no handler runs.
    unsafe { signal(Signal::SIGUSR2, SigHandler::SigIgn) }.unwrap();
    let (end, _, _) = Host::start("trap 'exit 3' USR2; kill -USR2 $$; exit 0").end();
    assert_eq!(end, End::Exit(Exit::Code(3)));
}

#[test]
fn output_waits_for_a_slow_host() {
    let host = Host::start("head -c 20000000 /dev/zero; echo end >&2");
    thread::sleep(Duration::from_millis(300));
    let (end, output, errors) = host.end();
    assert_eq!(
        (end, output.len(), &*errors),
        (SUCCESS, 20_000_000, "end\n")
    );
}

#[test]
fn a_background_process_does_not_hold_the_exit() {
    let started = Instant::now();
    let (end, output, _) = Host::start("sleep 5 & echo up").end();
    assert_eq!((end, &*output), (SUCCESS, "up\n"));
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[test]
fn a_lost_host_takes_the_whole_session_along() {
    // The inner sleep has a process group of its own and shrugs off SIGHUP.
    let mut host =
        Host::start("trap '' HUP; set -m; sleep 4321 & echo $! $$; exec sleep 4322 <&- >&2");
    host.receive(|host| host.output.ends_with(b"\n"));
    let pids = String::from_utf8(host.output.clone()).unwrap();
    assert!(matches!(host.lose(), Err(SessionError::Lost)));
    for pid in pids.split_whitespace() {
        let name = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(!name.contains("432"), "{pid} {name} lives on");
    }
}

#[test]
fn a_terminal_has_a_size_and_an_end() {
    let size = |rows| WindowSize { rows, columns: 132 };
    let start = Start {
        command: "stty size; read x; stty size; cat; test -t 0 -a -t 2 && echo tty".into(),
        terminal: Some(size(50)),
        ..Start::default()
    };
    let mut host = Host::start_with(start);
    host.receive(|host| host.output.ends_with(b"50 132\r\n"));
    host.send(ToGuest::Resize(size(51)));
    host.send(ToGuest::Stdin(b"\n"));
    host.receive(|host| host.output.ends_with(b"51 132\r\n"));
    host.send(ToGuest::Stdin(&[]));
    let (end, output, _) = host.end();
    assert_eq!(end, SUCCESS);
    assert!(output.ends_with("tty\r\n"), "{output:?}");
}

#[test]
fn a_terminals_interrupt_character_interrupts() {
    let start = Start {
        command: "echo up; exec sleep 100".into(),
        terminal: Some(WindowSize {
            rows: 24,
            columns: 80,
        }),
        ..Start::default()
    };
    let mut host = Host::start_with(start);
    host.receive(|host| host.output.ends_with(b"up\r\n"));
    host.send(ToGuest::Stdin(b"\x03"));
    assert_eq!(host.end().0, End::Exit(Exit::Signal(2)));
}

#[test]
fn an_empty_command_is_a_shell_on_standard_input() {
    let mut host = Host::start("");
    host.send(ToGuest::Stdin(b"echo $((6 * 7))\nexit 7\n"));
    let (end, output, _) = host.end();
    assert_eq!((end, &*output), (End::Exit(Exit::Code(7)), "42\n"));
}

#[test]
fn nonsense_ends_the_session_with_a_reason() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"\x04\x04\0\0\0abcd",
        b"\x01\x01\0\0\0\x07",
    ] {
        let mut host = Host::connect();
        host.stream.write_all(bytes).unwrap();
        assert_eq!(host.stream.read(&mut [0]).unwrap(), 0);
        let result = host.session.take().unwrap().join().unwrap();
        assert!(matches!(result, Err(SessionError::Wire(_))), "{result:?}");
    }
}
