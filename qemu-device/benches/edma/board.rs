// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device's program between two clients without guests: what QEMU and the drivers would do until
//! a transfer can start.

use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use abi::{app, edma, pci, spider};
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use qemu_device::vfio_user::irq::MSI_INDEX;
use qemu_device::vfio_user::CONFIG_REGION;
use std::os::fd::AsFd;
use vfio_bindings::bindings::vfio::{VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_DATA_EVENTFD};

use crate::list::{Channel, Way};
use crate::ram::Ram;

/// RAM of either board in bytes.
const RAM_SIZE: usize = 256 << 20;
/// Longest wait for the device, whatever it is asked for.
const DEADLINE: Duration = Duration::from_secs(60);
/// Where the EP's side has put its BARs.
const REGISTERS: u32 = 0x1000_0000;
const WINDOW: u32 = 0x1040_0000;

/// Both boards, linked.
pub struct Board {
    /// RAM of the endpoint.
    pub ep: Ram,
    /// RAM of the root complex.
    pub rc: Ram,
    soc: vfio_user::Client,
    interrupt: EventFd,
    /// Keeps the connection of the RC's side.
    _function: vfio_user::Client,
    device: Child,
}

impl Board {
    /// Starts the device's program, attaches both sides and brings up the link.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let device = Command::new(env!("CARGO_BIN_EXE_qemu-device"))
            .arg("--dir")
            .arg(dir.path())
            .env("RUST_LOG", "warn")
            .spawn()
            .expect("the device's program");
        let ep = Ram::new(0x4000_0000, RAM_SIZE);
        let rc = Ram::new(0x1_0000_0000, RAM_SIZE);

        let mut soc = connect(&dir.path().join("ep.sock"));
        map(&mut soc, &ep);
        config(&mut soc, pci::header::bar(0), REGISTERS);
        config(&mut soc, pci::header::bar(2), WINDOW);
        config(&mut soc, pci::header::COMMAND_STATUS, 0x6);
        let interrupt = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).expect("an eventfd");
        let flags = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD;
        soc.set_irqs(MSI_INDEX, flags, 0, 1, &[interrupt.as_raw_fd()])
            .expect("an interrupt");

        register(&mut soc, spider::APP, app::DMA_INTERRUPT_ENABLE, 0xffff);
        register(&mut soc, spider::APP, app::RESET_CONTROL_1, 1);
        for map in [edma::WRITE, edma::READ] {
            register(&mut soc, spider::DMA, map.engine_enable, 1);
        }

        let mut function = connect(&dir.path().join("rc.sock"));
        map(&mut function, &rc);
        config(&mut function, pci::header::COMMAND_STATUS, 0x6);
        Self {
            ep,
            rc,
            soc,
            interrupt,
            _function: function,
            device,
        }
    }

    /// Reads a register of the eDMA.
    pub fn read(&mut self, offset: u32) -> u32 {
        let mut value = [0; 4];
        let at = u64::from(spider::DMA.offset + offset);
        self.soc
            .region_read(spider::REGISTERS_BAR.into(), at, &mut value)
            .expect("a register read");
        u32::from_le_bytes(value)
    }

    /// Writes a register of the eDMA.
    pub fn write(&mut self, offset: u32, value: u32) {
        register(&mut self.soc, spider::DMA, offset, value);
    }

    /// Prepares the channels for lists at their places (`dw_edma_v0_core_ch_enable`).
    pub fn enable(&mut self, channels: &[Channel]) {
        for channel in channels {
            let control = edma::control::CCS.mask() | edma::control::LLE.mask();
            let list = self.ep.address + channel.list_offset() as u64;
            self.write(channel.register(edma::channel::CONTROL1), control);
            self.write(channel.register(edma::channel::LLP_LOW), list as u32);
            self.write(
                channel.register(edma::channel::LLP_HIGH),
                (list >> 32) as u32,
            );
        }
    }

    /// Rings the channels' doorbells.
    pub fn ring(&mut self, channels: &[Channel]) {
        for channel in channels {
            self.write(channel.way.map().doorbell, channel.number);
        }
    }

    /// Waits until all `channels` have raised DONE, and clears it.
    pub fn wait(&mut self, channels: &[Channel]) {
        let wanted = |way: Way| {
            let mine = channels.iter().filter(|channel| channel.way == way);
            mine.fold(0, |bits, channel| bits | 1 << channel.number)
        };
        let mut left = [
            (Way::Write, wanted(Way::Write)),
            (Way::Read, wanted(Way::Read)),
        ];
        let began = Instant::now();
        while left.iter().any(|(_, bits)| *bits != 0) {
            self.wait_for_interrupt(DEADLINE.saturating_sub(began.elapsed()));
            for (way, bits) in &mut left {
                let status = self.read(way.map().int_status);
                assert_eq!(edma::ABORT.get(status), 0, "{way:?} channels aborted");
                if status != 0 {
                    self.write(way.map().int_clear, status);
                }
                *bits &= !edma::DONE.get(status);
            }
        }
    }

    /// Waits for an edge of the interrupt line.
    fn wait_for_interrupt(&self, limit: Duration) {
        let mut fds = [PollFd::new(self.interrupt.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        let ready = poll(&mut fds, timeout).expect("a wait");
        assert_ne!(ready, 0, "no interrupt within {DEADLINE:?} of the doorbell");
        let _ = self.interrupt.read();
    }

    /// Forgets an interrupt that nobody waited for, as that of the last clear.
    pub fn settle(&self) {
        let _ = self.interrupt.read();
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        let _ = self.device.kill();
        let _ = self.device.wait();
    }
}

/// Connects as soon as the socket is there.
fn connect(path: &Path) -> vfio_user::Client {
    let began = Instant::now();
    loop {
        match vfio_user::Client::new(path) {
            Ok(client) => return client,
            Err(error) if began.elapsed() > DEADLINE => panic!("{}: {error}", path.display()),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn map(client: &mut vfio_user::Client, ram: &Ram) {
    client
        .dma_map(0, ram.address, ram.size as u64, ram.descriptor())
        .expect("a map of RAM");
}

fn config(client: &mut vfio_user::Client, offset: u32, value: u32) {
    client
        .region_write(CONFIG_REGION, offset.into(), &value.to_le_bytes())
        .expect("a configuration write");
}

fn register(client: &mut vfio_user::Client, window: spider::Window, offset: u32, value: u32) {
    let at = u64::from(window.offset + offset);
    client
        .region_write(spider::REGISTERS_BAR.into(), at, &value.to_le_bytes())
        .expect("a register write");
}
