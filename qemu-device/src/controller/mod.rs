// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The DesignWare endpoint controller of an R-Car S4, with Renesas's registers around it.
//!
//! Sans-IO: an access comes in, a value and a list of [`Effect`]s come out. Nothing in here knows a
//! socket, a thread, a clock or guest memory.
//!
//! Two sides reach it. The EP's software reads and writes the register windows of [`abi::spider`]
//! ([`Controller::ep_read`]); the RC sends configuration requests ([`Controller::rc_config_read`]).
//! Memory requests of either side are routed by [`crate::fabric`], which asks the controller's BARs
//! and iATU whose address it is.

mod access;
mod app;
mod counters;
mod dbi;
mod dma;
mod edma;
mod effects;
mod iatu;
mod phy;
mod registers;

pub use access::{read_bytes, write_bytes, AccessError, Width, Write};
pub use counters::{Counters, Reason};
pub use dbi::{Bar, Bars, Msi};
pub use edma::{Direction, Job, Limits, Outcome, Ticket, Transfer};
pub use effects::{Effect, Effects};
pub use iatu::{BarAccess, Iatu, Translation};
pub use registers::{Register, RegisterFile, Writer};

use abi::{pci, spider};
use serde_json::{json, Value};

use self::app::App;
use self::dbi::{Dbi, Side};
use self::edma::Edma;
use self::phy::Phy;

/// How the silicon is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// eDMA channels in each direction, 1 to 8; `None` for a controller without an eDMA.
    pub edma_channels: Option<u8>,
}

impl Default for Config {
    /// The S4: four channels in each direction.
    fn default() -> Self {
        Self {
            edma_channels: Some(4),
        }
    }
}

/// The link, as both sides see it.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    up: bool,
    /// How often it came up since the process started.
    rises: u64,
}

/// The endpoint controller.
#[derive(Clone, Debug)]
pub struct Controller {
    dbi: Dbi,
    iatu: Iatu,
    edma: Edma,
    app: App,
    phy: Phy,
    link: Link,
    counters: Counters,
    /// See [`Controller::routes`].
    routes: u64,
}

impl Controller {
    /// A controller just powered on.
    pub fn new(config: Config) -> Self {
        Self {
            dbi: Dbi::new(),
            iatu: Iatu::new(),
            edma: Edma::new(config.edma_channels),
            app: App::new(),
            phy: Phy::new(),
            link: Link::default(),
            counters: Counters::default(),
            routes: 0,
        }
    }

    /// The EP board's reset: every register as after power-on, the link down.
    pub fn power_on_reset(&mut self, effects: &mut Effects) {
        let Self {
            dbi,
            iatu,
            edma,
            app,
            phy,
            link: _,
            counters: _,
            routes,
        } = self;
        *routes += 1;
        dbi.reset();
        iatu.reset();
        edma.reset();
        app.reset();
        phy.reset();
        self.follow_link(effects);
    }

    /// Reset by the RC's QEMU: DEVICE_RESET, or plugged anew. Whatever the EP has programmed stays.
    pub fn rc_reset(&mut self) {
        self.routes += 1;
        self.dbi.reset_function();
    }

    /// Reads from the SoC mirror on behalf of the EP's CPU, or of the RC where a BAR leads to a
    /// register.
    ///
    /// # Errors
    ///
    /// [`AccessError`] where there is no register; counted.
    pub fn ep_read(&mut self, offset: u64, width: Width) -> Result<u32, AccessError> {
        let mut bytes = [0; 4];
        let result = read_bytes(offset, &mut bytes[..width.bytes()], |register| {
            self.read_register(register)
        });
        match result {
            Ok(()) => Ok(u32::from_le_bytes(bytes)),
            Err(error) => Err(self.reject(error)),
        }
    }

    /// Writes to the SoC mirror on behalf of the EP's CPU, or of the RC where a BAR leads to a
    /// register.
    ///
    /// # Errors
    ///
    /// [`AccessError`] where there is no register; counted.
    pub fn ep_write(
        &mut self,
        offset: u64,
        width: Width,
        value: u32,
        effects: &mut Effects,
    ) -> Result<(), AccessError> {
        let bytes = value.to_le_bytes();
        write_bytes(offset, &bytes[..width.bytes()], |register, write| {
            self.write_register(register, write, effects)
        })
        .map_err(|error| self.reject(error))
    }

    /// Reads any range of the SoC mirror, as [`Controller::ep_read`] does a single register; bytes that
    /// no register answers for are all ones.
    pub fn ep_read_bytes(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0xff);
        let Ok(()) = read_bytes(offset, data, |register| {
            let value = self.read_register(register);
            Ok::<_, std::convert::Infallible>(value.unwrap_or_else(|error| {
                self.reject(error);
                u32::MAX
            }))
        });
    }

    /// Writes any range of the SoC mirror, as [`Controller::ep_write`] does a single register; what
    /// no register takes vanishes.
    pub fn ep_write_bytes(&mut self, offset: u64, data: &[u8], effects: &mut Effects) {
        let Ok(()) = write_bytes(offset, data, |register, write| {
            if let Err(error) = self.write_register(register, write, effects) {
                self.reject(error);
            }
            Ok::<_, std::convert::Infallible>(())
        });
    }

    /// A register of configuration space, `register` a multiple of 4, whatever the link does. The RC sees
    /// the holes of port logic as zeroes.
    pub fn config_register(&self, register: u32) -> u32 {
        self.dbi.read(register).unwrap_or(0)
    }

    /// The bits of a register of configuration space that change without the EP's software.
    pub fn live_config_bits(&self, register: u32) -> u32 {
        self.dbi.live_bits(register)
    }

    /// Reads configuration space on behalf of the RC. All ones while the link is down and beyond the
    /// end.
    pub fn rc_config_read(&self, offset: u64, data: &mut [u8]) {
        let read = |register| {
            let register = u32::try_from(register)
                .ok()
                .filter(|at| *at < pci::CONFIG_SIZE);
            let value = register.map(|register| self.config_register(register));
            Ok::<_, std::convert::Infallible>(value.filter(|_| self.link.up).unwrap_or(u32::MAX))
        };
        data.fill(0xff);
        let Ok(()) = read_bytes(offset, data, read);
    }

    /// Writes configuration space on behalf of the RC. Read-only bits stay, a write to nowhere or
    /// while the link is down vanishes.
    pub fn rc_config_write(&mut self, offset: u64, data: &[u8], effects: &mut Effects) {
        if !self.link.up {
            self.count_unsupported(Reason::LinkDown);
            return;
        }
        let routing = self.dbi.routing();
        let Ok(()) = write_bytes(offset, data, |register, write| {
            if let Ok(register @ 0..pci::CONFIG_SIZE) = u32::try_from(register) {
                let _ = self.dbi.write(register, write, Side::Rc);
            }
            Ok::<_, std::convert::Infallible>(())
        });
        self.routes += u64::from(self.dbi.routing() != routing);
        self.follow_link(effects);
    }

    /// Counts a request that [`crate::fabric`] found unsupported, and lets the function report it if
    /// it is the one that received it. Returns whether it is worth a line in a log.
    pub fn count_unsupported(&mut self, reason: Reason) -> bool {
        if reason.is_inbound() {
            self.dbi.detect_unsupported_request();
        }
        self.counters.unsupported(reason)
    }

    /// Counts a field of configuration space that the RC's QEMU was not shown as it is. Returns whether it is
    /// worth a line in a log.
    pub fn count_corrected(&mut self) -> bool {
        self.counters.corrected()
    }

    fn reject(&mut self, error: AccessError) -> AccessError {
        self.counters.access_error(error);
        error
    }

    fn read_register(&self, offset: u64) -> Result<u32, AccessError> {
        let (window, at) = locate(offset)?;
        let value = match window {
            spider::DBI => self.dbi.read(at),
            spider::DBI2 => self.dbi.read_mask(at),
            spider::ATU => self.iatu.read(at),
            spider::DMA => self.edma.read(at),
            spider::APP => self.app.read(at, self.link.up),
            spider::PHY => self.phy.read(at),
            _ => None,
        };
        value.ok_or(AccessError::UnknownRegister {
            window: window.name,
            offset: at,
        })
    }

    fn write_register(
        &mut self,
        offset: u64,
        write: Write,
        effects: &mut Effects,
    ) -> Result<(), AccessError> {
        let (window, at) = locate(offset)?;
        let line = self.ep_interrupt_line();
        let mut again = false;
        let routing = matches!(window, spider::DBI | spider::DBI2).then(|| self.dbi.routing());
        let mut rerouted = false;
        let done = match window {
            spider::DBI => self.dbi.write(at, write, Side::Ep),
            spider::DBI2 => self.dbi.write_mask(at, write),
            spider::ATU => self.iatu.write(at, write).map(|moved| rerouted = moved),
            spider::DMA => self.edma.write(at, write, effects).map(|edge| again = edge),
            spider::APP => self.app.write(at, write),
            spider::PHY => self.phy.write(at, write),
            _ => None,
        };
        if self.ep_interrupt_line() && (!line || again) {
            effects.push(Effect::EpInterrupt);
        }
        rerouted |= routing.is_some_and(|before| self.dbi.routing() != before);
        self.routes += u64::from(rerouted);
        self.follow_link(effects);
        done.ok_or(AccessError::UnknownRegister {
            window: window.name,
            offset: at,
        })
    }

    /// Lets the link follow LTSSM_ENABLE, and says so once per change.
    fn follow_link(&mut self, effects: &mut Effects) {
        let enabled = self.app.link_enabled();
        if enabled == self.link.up {
            return;
        }
        self.link.up = enabled;
        self.routes += 1;
        if enabled {
            self.link.rises += 1;
            self.dbi.link_trained();
            effects.push(Effect::LinkUp);
        } else {
            self.dbi.link_lost();
            self.dma_link_lost(effects);
            effects.push(Effect::LinkDown);
        }
    }

    /// A number that grows with every change after which an address may lead elsewhere: link, COMMAND,
    /// power state, BARs, MSI, iATU. A write that leaves all of these as they are does not count, nor does
    /// a doorbell of the eDMA.
    pub const fn routes(&self) -> u64 {
        self.routes
    }

    /// Whether the link is up.
    pub const fn link_up(&self) -> bool {
        self.link.up
    }

    /// How often the link came up since the process started, while it is up.
    pub fn link_generation(&self) -> Option<u32> {
        self.link.up.then_some(self.link.rises as u32)
    }

    /// The level of the eDMA's interrupt line at the EP's CPU.
    pub const fn ep_interrupt_line(&self) -> bool {
        self.app.passes_dma_interrupt() && self.edma.line()
    }

    /// The base address registers of the function.
    pub const fn bars(&self) -> &Bars {
        self.dbi.bars()
    }

    /// The address translation unit.
    pub const fn iatu(&self) -> &Iatu {
        &self.iatu
    }

    /// The MSI capability as the RC has programmed it.
    pub fn msi(&self) -> Msi {
        self.dbi.msi()
    }

    /// Vectors that the function offers by its MSI capability, a power of two up to 32.
    pub fn msi_vectors_offered(&self) -> u16 {
        self.dbi.msi_vectors_offered()
    }

    /// The function's interrupt pin: 0 for none, 1 for INTA.
    pub fn interrupt_pin(&self) -> u8 {
        self.dbi.interrupt_pin()
    }

    /// Whether the function answers memory requests of the RC.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub fn accepts_memory(&self) -> Result<(), Reason> {
        self.alive()?;
        if self.dbi.memory_enabled() {
            Ok(())
        } else {
            Err(Reason::MemoryDisabled)
        }
    }

    /// Whether the function may send memory requests to the RC.
    ///
    /// # Errors
    ///
    /// Why it may not.
    pub fn may_master(&self) -> Result<(), Reason> {
        self.alive()?;
        if self.dbi.bus_master() {
            Ok(())
        } else {
            Err(Reason::BusMasterDisabled)
        }
    }

    fn alive(&self) -> Result<(), Reason> {
        if !self.link.up {
            Err(Reason::LinkDown)
        } else if !self.dbi.full_power() {
            Err(Reason::LowPower)
        } else {
            Ok(())
        }
    }

    /// The state as a tree: link, function, bars, msi, iatu, edma, app, counters.
    pub fn inspect(&self) -> Value {
        let Self {
            dbi,
            iatu,
            edma,
            app,
            phy: _,
            link,
            counters,
            routes: _,
        } = self;
        let (speed, width) = dbi.link_speed_width();
        json!({
            "link": {
                "up": link.up,
                "generation": link.rises,
                "speed": speed_name(speed),
                "lanes": width,
            },
            "function": dbi.inspect_function(),
            "bars": dbi.inspect_bars(),
            "msi": dbi.inspect_msi(),
            "iatu": iatu.inspect(),
            "edma": edma.inspect(),
            "app": app.inspect(),
            "counters": counters.inspect(),
        })
    }
}

/// A link generation as lspci writes it.
const fn speed_name(generation: u32) -> &'static str {
    match generation {
        0 => "none",
        1 => "2.5 GT/s",
        2 => "5 GT/s",
        3 => "8 GT/s",
        _ => "16 GT/s",
    }
}

/// The window that `offset` of the SoC mirror lies in, and the offset within it.
fn locate(offset: u64) -> Result<(spider::Window, u32), AccessError> {
    u32::try_from(offset)
        .ok()
        .and_then(|offset| {
            spider::WINDOWS
                .into_iter()
                .find_map(|window| Some((window, window.locate(offset)?)))
        })
        .ok_or(AccessError::OutsideWindows { offset })
}
