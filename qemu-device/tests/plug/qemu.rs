// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A real QEMU without a guest: a bare board with an empty hot-plug slot, and its monitor.
//!
//! QEMU reads a device's whole configuration space when it plugs it, and some of what it may find there it does
//! not survive. No guest is needed to see that.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{json, Value};

use crate::guest::eventually;

/// How to run QEMU for arm64, words between spaces: `ci/regress/qemu.inc` sets it.
const PROGRAM: &str = "SPIDER_PAIR_QEMU";
/// The device's name in QEMU.
const DEVICE: &str = "function";
/// A QEMU that says nothing for so long goes round in circles.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a `device_add` ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Plug {
    /// The device is there.
    Done,
    /// QEMU says why it is not.
    Refused(String),
}

/// What became of QEMU.
#[derive(Debug)]
pub struct Lost(pub String);

/// The process. It never runs a guest's instruction.
pub struct Qemu {
    process: Child,
    monitor: BufReader<UnixStream>,
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Qemu {
    /// Starts one; its sockets and its messages are in `dir`.
    ///
    /// # Panics
    /// If there is no QEMU to start.
    pub fn start(dir: &Path) -> Self {
        let program = std::env::var(PROGRAM).unwrap_or_else(|_| panic!("{PROGRAM} is not set"));
        let mut words = program.split_whitespace();
        let socket = dir.join("qmp.sock");
        let _ = std::fs::remove_file(&socket);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(dir.join("qemu.log"));
        let process = Command::new(words.next().expect("a program"))
            .args(words)
            .args(["-S", "-nodefaults", "-no-user-config", "-display", "none"])
            .args([
                "-machine",
                "virt,gic-version=3,its=on,memory-backend=ram",
                "-cpu",
                "cortex-a55",
            ])
            .args([
                "-m",
                "16M",
                "-object",
                "memory-backend-memfd,id=ram,size=16M,share=on,seal=on",
            ])
            .args(["-device", "pcie-root-port,id=root-port,chassis=1,slot=1"])
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", socket.display()))
            .stdin(Stdio::null())
            .stderr(log.expect("a file for QEMU's messages"))
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let mut stream = None;
        eventually("QEMU's monitor", || {
            stream = UnixStream::connect(&socket).ok();
            stream.is_some()
        });
        let stream = stream.unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut qemu = Self {
            process,
            monitor: BufReader::new(stream),
        };
        let mut greeting = String::new();
        qemu.monitor.read_line(&mut greeting).unwrap();
        qemu.execute("qmp_capabilities", json!({}))
            .unwrap()
            .unwrap();
        qemu
    }

    /// Executes a command of the monitor: what it returns, or QEMU's reason why not.
    ///
    /// # Errors
    /// QEMU is dead, or answers no more.
    pub fn execute(
        &mut self,
        command: &str,
        arguments: Value,
    ) -> Result<Result<Value, String>, Lost> {
        let line = json!({ "execute": command, "arguments": arguments });
        let sent = self
            .monitor
            .get_mut()
            .write_all(format!("{line}\n").as_bytes());
        sent.map_err(|_| self.lost())?;
        loop {
            let mut line = String::new();
            match self.monitor.read_line(&mut line) {
                Ok(1..) => {}
                _ => return Err(self.lost()),
            }
            let answer: Value =
                serde_json::from_str(&line).map_err(|error| Lost(format!("{line}: {error}")))?;
            if let Some(value) = answer.get("return") {
                return Ok(Ok(value.clone()));
            }
            if let Some(error) = answer.get("error") {
                return Ok(Err(error["desc"].to_string()));
            }
        }
    }

    fn lost(&mut self) -> Lost {
        std::thread::sleep(Duration::from_millis(100));
        Lost(match self.process.try_wait() {
            Ok(Some(status)) => format!("QEMU died: {status}"),
            _ => format!("QEMU has not answered for {PATIENCE:?}"),
        })
    }

    /// Plugs whatever listens at `socket` into the slot.
    ///
    /// # Errors
    /// QEMU did not survive it.
    pub fn plug(&mut self, socket: &Path) -> Result<Plug, Lost> {
        let device = json!({
            "driver": "vfio-user-pci", "id": DEVICE, "bus": "root-port",
            "socket": { "type": "unix", "path": socket },
        });
        Ok(match self.execute("device_add", device)? {
            Ok(_) => Plug::Done,
            Err(reason) => Plug::Refused(reason),
        })
    }

    /// Takes the device out again. The slot has no power, as no guest has switched it on, so that is done at once.
    ///
    /// # Errors
    /// QEMU did not survive it.
    pub fn unplug(&mut self) -> Result<(), Lost> {
        let gone = self.execute("device_del", json!({ "id": DEVICE }))?;
        gone.map(drop).map_err(Lost)
    }

    /// The board is reset, as when its guest reboots.
    ///
    /// # Errors
    /// QEMU did not survive it.
    pub fn reset(&mut self) -> Result<(), Lost> {
        self.execute("system_reset", json!({}))?.map_err(Lost)?;
        // It happens in the main loop, which answers once it is done.
        self.execute("query-status", json!({}))?
            .map(drop)
            .map_err(Lost)
    }
}
