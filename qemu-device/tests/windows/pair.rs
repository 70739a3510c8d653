// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device's process with both guests.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use abi::{app, dbi, iatu, pci, spider};
use serde_json::{json, Value};

use crate::guest::{eventually, memory, Guest};

/// Where the EP guest has put the outbound window.
pub const WINDOW: u64 = 0x1040_0000;
/// Where both guests have their RAM, and how much.
pub const RAM: u64 = 0x4000_0000;
pub const RAM_SIZE: u64 = 0x100_0000;
/// Where the RC has put BAR 0, of 1 MiB.
pub const BAR0: u32 = 0x1080_0000;
/// Where MSIs go in the RC.
pub const MSI: u32 = 0x4008_0000;

const REGISTERS: u32 = spider::REGISTERS_BAR as u32;

pub struct Pair {
    pub dir: tempfile::TempDir,
    pub process: Child,
    pub ep: Guest,
    pub ep_ram: OwnedFd,
    pub rc_ram: OwnedFd,
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Pair {
    /// The EP guest has enumerated its PCI bus and has RAM.
    pub fn start() -> Self {
        Self::start_logging_to(Stdio::inherit())
    }

    /// As [`Pair::start`]; `log` is the device's stderr.
    pub fn start_logging_to(log: Stdio) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_qemu-device"))
            .arg("--dir")
            .arg(dir.path())
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut ep = Guest::connect(&dir.path().join("ep.sock"));
        let (ep_ram, rc_ram) = (memory(RAM_SIZE), memory(RAM_SIZE));
        ep.map(RAM, RAM_SIZE, Some((&ep_ram, 0)));
        let mut pair = Self {
            dir,
            process,
            ep,
            ep_ram,
            rc_ram,
        };
        pair.enumerate_ep();
        eventually("the sockets", || pair.path("windows.sock").exists());
        pair
    }

    /// With the link up, BAR 0 and the outbound region 0 open on all of the peer's RAM, as far as they
    /// reach; the RC has enumerated the function.
    pub fn running() -> (Self, Guest) {
        let mut pair = Self::start();
        let rc = pair.link_up();
        pair.outbound(0, 0, RAM, spider::WINDOW_SIZE.into());
        pair.ep.fence();
        (pair, rc)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn enumerate_ep(&mut self) {
        self.ep.config(0x10, 0x1000_0000);
        self.ep.config(0x18, WINDOW as u32);
        self.ep.config(0x04, 0x6);
    }

    /// A posted write of the EP's driver.
    pub fn register(&mut self, window: spider::Window, offset: u32, value: u32) {
        let at = (window.offset + offset).into();
        self.ep.post(REGISTERS, at, &value.to_le_bytes());
    }

    pub fn read_register(&mut self, window: spider::Window, offset: u32) -> u32 {
        self.ep.read32(REGISTERS, (window.offset + offset).into())
    }

    /// `r8a779f0_pcie_ltssm_control`.
    pub fn ltssm(&mut self, enable: bool) {
        self.register(
            spider::APP,
            app::RESET_CONTROL_1,
            app::LTSSM_ENABLE.place(enable.into()),
        );
    }

    /// `dw_pcie_ep_set_bar`, `dw_pcie_ep_start`, and the RC's enumeration of what it finds.
    pub fn link_up(&mut self) -> Guest {
        self.register(spider::DBI2, pci::header::bar(0), 1);
        self.inbound(0, 0, RAM);
        self.ltssm(true);
        self.ep.fence();
        self.plug()
    }

    /// The RC's QEMU plugs the function, and its guest sets it up.
    pub fn plug(&mut self) -> Guest {
        let mut rc = Guest::connect(&self.path("rc.sock"));
        rc.map(RAM, RAM_SIZE, Some((&self.rc_ram, 0)));
        rc.config(pci::header::bar(0).into(), BAR0);
        rc.config((dbi::MSI + pci::msi::ADDRESS_LOW).into(), MSI);
        rc.config(0x04, 0x6);
        rc.fence();
        rc
    }

    /// `dw_pcie_prog_ep_inbound_atu`.
    pub fn inbound(&mut self, index: u32, bar: u32, target: u64) {
        let at = iatu::INBOUND + index * iatu::REGION_STRIDE;
        self.register(spider::ATU, at + iatu::LOWER_TARGET, target as u32);
        let control = iatu::ENABLE.mask() | iatu::BAR_MODE.mask() | iatu::BAR.place(bar);
        self.register(spider::ATU, at + iatu::CTRL2, control);
    }

    /// `dw_pcie_prog_outbound_atu`: `offset` in the window. All writes are posted.
    pub fn outbound(&mut self, index: u32, offset: u64, target: u64, size: u64) {
        let at = index * iatu::REGION_STRIDE;
        let base = WINDOW + offset;
        let registers = [
            (iatu::LOWER_BASE, base as u32),
            (iatu::LIMIT, (base + size - 1) as u32),
            (iatu::LOWER_TARGET, target as u32),
            (iatu::UPPER_TARGET, (target >> 32) as u32),
            (iatu::CTRL2, iatu::ENABLE.mask()),
        ];
        for (register, value) in registers {
            self.register(spider::ATU, at + register, value);
        }
    }

    /// `dw_pcie_disable_atu`.
    pub fn close(&mut self, index: u32) {
        let at = index * iatu::REGION_STRIDE;
        self.register(spider::ATU, at + iatu::CTRL2, 0);
    }

    /// The driver's poll: an answered read of the region's control register.
    pub fn poll(&mut self, index: u32) -> u32 {
        let at = index * iatu::REGION_STRIDE;
        self.read_register(spider::ATU, at + iatu::CTRL2)
    }

    fn control(&self, request: &Value) -> BufReader<UnixStream> {
        let mut stream = UnixStream::connect(self.path("control.sock")).unwrap();
        stream.write_all(format!("{request}\n").as_bytes()).unwrap();
        BufReader::new(stream)
    }

    /// Asks the control socket.
    pub fn ask(&self, request: &Value) -> Value {
        let mut line = String::new();
        self.control(request).read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    pub fn inspect(&self, path: &str) -> Value {
        self.ask(&json!({ "op": "inspect", "path": path }))["value"].clone()
    }

    /// Events from now on, a line each.
    pub fn events(&self) -> BufReader<UnixStream> {
        self.control(&json!({ "op": "events" }))
    }
}
