// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device process's control socket: what the link does, and the inspect tree.

use serde::Deserialize;
use serde_json::{json, Value};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// What happened at the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The link came up or went down.
    Link {
        /// Whether it stands now.
        up: bool,
        /// How many times it has come up.
        generation: u32,
    },
    /// The EP guest's QEMU connected.
    EpAttached,
    /// The EP guest's QEMU is gone.
    EpDetached,
    /// The RC guest's QEMU connected.
    RcAttached,
    /// The RC guest's QEMU is gone.
    RcDetached,
    /// This side did not read in time, so what else happened is unknown. Nothing follows.
    Overrun,
    /// An event that this runner does not know.
    #[serde(other)]
    Unknown,
}

/// An event with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Stamped {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub t: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// How long the device may take to answer: it answers between two register accesses.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads the inspect tree at `path`; an empty path is all of it, `.` separates steps.
///
/// # Errors
/// When the device does not answer, or knows no such path.
pub fn inspect(socket: &Path, path: &str) -> anyhow::Result<Value> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    writeln!(stream, "{}", json!({ "op": "inspect", "path": path }))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let mut answer: Value = serde_json::from_str(&line)?;
    if answer["ok"] == true {
        Ok(answer["value"].take())
    } else {
        anyhow::bail!(
            "{}",
            answer["error"]
                .as_str()
                .unwrap_or("the device gave no reason")
        )
    }
}

/// Asks the device process to end.
///
/// # Errors
/// When it cannot be reached.
pub fn quit(socket: &Path) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    writeln!(stream, "{}", json!({ "op": "quit" }))?;
    BufReader::new(stream).read_line(&mut String::new())?;
    Ok(())
}

/// Follows the device's events, the present state first, until the device ends.
///
/// # Errors
/// When the device cannot be reached. Lines that are no event are logged and left out.
pub fn events(socket: &Path) -> io::Result<impl Iterator<Item = Stamped>> {
    let mut stream = UnixStream::connect(socket)?;
    writeln!(stream, "{}", json!({ "op": "events" }))?;
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    Ok(lines.filter_map(|line| {
        serde_json::from_str(&line)
            .inspect_err(|error| log::warn!("the device sent no event: {error}: {line}"))
            .ok()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn serve(answer: &'static str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = String::new();
            BufReader::new(&stream).read_line(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        (dir, path)
    }

    #[test]
    fn the_tree_is_read_and_a_refusal_is_an_error() {
        let (_dir, path) = serve("{\"ok\":true,\"value\":{\"up\":true}}\n");
        assert_eq!(inspect(&path, "link").unwrap(), json!({"up": true}));
        let (_dir, path) = serve("{\"ok\":false,\"error\":\"no node nix\"}\n");
        assert_eq!(
            inspect(&path, "nix").unwrap_err().to_string(),
            "no node nix"
        );
        let (_dir, path) = serve("");
        assert!(inspect(&path, "").is_err());
    }

    #[test]
    fn events_come_in_order_and_unknown_ones_do_no_harm() {
        let (_dir, path) = serve(concat!(
            "{\"t\":1,\"event\":\"link\",\"up\":true,\"generation\":2}\n",
            "junk\n",
            "{\"t\":2,\"event\":\"moon-landing\"}\n",
            "{\"t\":3,\"event\":\"rc-detached\"}\n",
        ));
        let seen: Vec<_> = events(&path)
            .unwrap()
            .map(|stamped| stamped.event)
            .collect();
        let up = Event::Link {
            up: true,
            generation: 2,
        };
        assert_eq!(seen, [up, Event::Unknown, Event::RcDetached]);
    }
}
