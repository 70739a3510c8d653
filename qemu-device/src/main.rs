// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `qemu-device`: the silicon between two QEMUs, as a process.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use nix::sys::signal::{SigSet, Signal};

use qemu_device::control::{self, Events};
use qemu_device::controller::Config;
use qemu_device::logging::Log;
use qemu_device::machine::{
    accept, listen, Attachment, EpPort, Machine, RcSocket, WindowsListener,
};
use qemu_device::vfio_user::{irq, server};

/// Emulates the PCIe link between two R-Car S4 Spider boards for two QEMU guests.
///
/// Listens at DIR/ep.sock, DIR/control.sock and DIR/windows.sock; DIR/rc.sock is there while the link
/// is up.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Directory of the sockets
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// eDMA channels in each direction, 1 to 8, or `off` for a controller without one
    #[arg(long, value_name = "off|N", default_value = "4", value_parser = edma_channels)]
    edma: EdmaChannels,
    /// Whether libraries inside the QEMUs may lay the peer's RAM over the windows that the iATU opens
    #[arg(long, value_name = "trap|fast", default_value = "fast")]
    windows: WindowsMode,
}

/// The value of `--windows`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum WindowsMode {
    /// Every access of a window is a message; there is no DIR/windows.sock.
    Trap,
    /// Where a library has connected, memory is used as memory.
    Fast,
}

/// The value of `--edma`; `None` is a controller without the engine.
#[derive(Clone, Copy)]
struct EdmaChannels(Option<u8>);

fn edma_channels(text: &str) -> Result<EdmaChannels, String> {
    match (text, text.parse()) {
        ("off", _) => Ok(EdmaChannels(None)),
        (_, Ok(count @ 1..=8)) => Ok(EdmaChannels(Some(count))),
        _ => Err("give a number from 1 to 8, or off".into()),
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();

    // Blocked before the first thread starts, so that only the wait below sees them.
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGTERM);
    ends.add(Signal::SIGINT);
    ends.thread_block()
        .context("cannot block SIGTERM and SIGINT")?;
    let _log = Log::start().context("no thread for the log")?;

    irq::prepare().context("the kernel has no asynchronous I/O to spare (fs.aio-max-nr)")?;
    let path = |name: &str| arguments.dir.join(name);
    let (ep_path, rc_path, control_path) = (path("ep.sock"), path("rc.sock"), path("control.sock"));
    let events = Arc::new(Events::default());
    let config = Config {
        edma_channels: arguments.edma.0,
    };
    let machine = Machine::new(config, RcSocket::new(&rc_path), events.clone());

    let windows_path = path(abi::windows::SOCKET);
    if arguments.windows == WindowsMode::Fast {
        let listener = WindowsListener::bind(&windows_path)
            .with_context(|| format!("cannot listen at {}", windows_path.display()))?;
        machine
            .serve_windows(listener)
            .context("no thread to serve windows")?;
    }
    machine.serve_dma().context("no thread for the eDMA")?;
    serve_ep(bind(&ep_path)?, machine.clone())?;
    control::spawn(bind(&control_path)?, machine, events).context("no thread to serve control")?;
    log::info!("listening in {}", arguments.dir.display());

    let signal = ends.wait().context("cannot wait for signals")?;
    log::info!("{signal}: ending");
    for path in [ep_path, rc_path, control_path, windows_path] {
        let _ = fs::remove_file(path);
    }
    Ok(())
}

fn bind(path: &Path) -> Result<UnixListener> {
    listen(path).with_context(|| format!("cannot listen at {}", path.display()))
}

/// Serves the EP guest's QEMU, one connection after the other, on a thread of its own.
fn serve_ep(listener: UnixListener, machine: Arc<Machine>) -> Result<()> {
    let serve = move || {
        while let Some(stream) = accept(&listener, || false) {
            let attachment = Attachment::default();
            machine.attach_ep(attachment.clone());
            let mut port = EpPort::new(machine.clone());
            let end = server::serve(
                stream,
                &attachment.memory,
                &attachment.interrupts,
                &mut port,
            );
            match end {
                Ok(()) => log::info!("ep: QEMU closed the connection"),
                Err(error) => log::warn!("ep: connection closed: {error}"),
            }
            machine.detach_ep();
        }
    };
    thread::Builder::new()
        .name("ep".into())
        .spawn(serve)
        .context("no thread to serve the EP")?;
    Ok(())
}
