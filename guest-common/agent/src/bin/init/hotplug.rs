// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Hot-plug slots of a kernel that does not drive its ports itself (`pcie_ports=compat`).
//!
//! Linux 7.3's pciehp takes its `reset_lock` and `pci_rescan_remove_lock` in both orders, in
//! `pciehp_configure_device` alone. lockdep reports that at the first plug and is off from then on,
//! so that no other driver's lock order is checked any more. A kernel with lockdep is therefore
//! booted without pciehp, and this does the same by way of sysfs, whose order is always the same.
//!
//! Registers: PCI Express Base Specification, 7.5.3.9 to 7.5.3.11 (`include/uapi/linux/pci_regs.h`).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use crate::console::say;

/// Between two looks at a slot.
const PAUSE: Duration = Duration::from_millis(20);
const DEVICES: &str = "/sys/bus/pci/devices";

/// Offsets in configuration space.
const HEADER_TYPE: u64 = 0x0e;
const SECONDARY_BUS: u64 = 0x19;
const CAPABILITY_LIST: u64 = 0x34;
/// The capability "PCI Express" and its registers.
const EXPRESS: u8 = 0x10;
const FLAGS: u64 = 0x02;
const FLAGS_SLOT: u16 = 1 << 8;
const SLOT_CAPABILITIES: u64 = 0x14;
const HOT_PLUG_CAPABLE: u16 = 1 << 6;
const SLOT_CONTROL: u64 = 0x18;
const POWER_INDICATOR: u16 = 3 << 8;
const POWER_INDICATOR_ON: u16 = 1 << 8;
const POWER_OFF: u16 = 1 << 10;
const SLOT_STATUS: u64 = 0x1a;
const BUTTON_PRESSED: u16 = 1 << 0;
const PRESENT: u16 = 1 << 6;
/// What happened, cleared by writing ones: button, power fault, latch, presence, command, link.
const EVENTS: u16 = 0x11f;

/// What a slot's status asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// Power on, and look for devices.
    Plug,
    /// Remove the devices, and power off.
    Unplug,
    /// Remove the devices: they are gone.
    Forget,
}

/// Decides by the slot's status and by whether the kernel knows a device in it. At the `first` look
/// events are old: what was plugged before the kernel looked at the bus is known already.
fn wish(status: u16, occupied: bool, first: bool) -> Option<Wish> {
    let happened = first || status & EVENTS != 0;
    match (status & PRESENT != 0, occupied) {
        (true, false) if happened => Some(Wish::Plug),
        (true, true) if !first && status & BUTTON_PRESSED != 0 => Some(Wish::Unplug),
        (false, true) => Some(Wish::Forget),
        _ => None,
    }
}

/// A port with a slot.
struct Slot {
    config: File,
    /// The capability's offset.
    express: u64,
    /// `0000:01`
    bus: String,
}

impl Slot {
    /// The slot of the bridge `device`, a directory of sysfs, if it has one.
    fn of(device: &Path) -> io::Result<Option<Slot>> {
        let config = OpenOptions::new()
            .read(true)
            .write(true)
            .open(device.join("config"))?;
        let byte = |offset| -> io::Result<u8> {
            let mut byte = [0];
            config.read_exact_at(&mut byte, offset).map(|()| byte[0])
        };
        if byte(HEADER_TYPE)? & 0x7f != 1 {
            return Ok(None);
        }
        let mut at = u64::from(byte(CAPABILITY_LIST)? & !3);
        // A list that is a ring ends as well.
        for _ in 0..48 {
            if at < 0x40 {
                break;
            }
            if byte(at)? == EXPRESS {
                let name = device.file_name().unwrap_or_default().to_string_lossy();
                let domain = name.split(':').next().unwrap_or_default();
                let bus = format!("{domain}:{:02x}", byte(SECONDARY_BUS)?);
                let slot = Slot {
                    config,
                    express: at,
                    bus,
                };
                let has = slot.read(FLAGS)? & FLAGS_SLOT != 0
                    && slot.read(SLOT_CAPABILITIES)? & HOT_PLUG_CAPABLE != 0;
                return Ok(has.then_some(slot));
            }
            at = u64::from(byte(at + 1)? & !3);
        }
        Ok(None)
    }

    fn read(&self, register: u64) -> io::Result<u16> {
        let mut bytes = [0; 2];
        self.config
            .read_exact_at(&mut bytes, self.express + register)?;
        Ok(u16::from_le_bytes(bytes))
    }

    fn write(&self, register: u64, value: u16) -> io::Result<()> {
        self.config
            .write_all_at(&value.to_le_bytes(), self.express + register)
    }

    /// The devices that the kernel knows in it.
    fn devices(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(DEVICES).into_iter().flatten().flatten();
        let prefix = format!("{}:", self.bus);
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .map(|entry| entry.path())
            .collect()
    }

    fn set_power(&self, on: bool) -> io::Result<()> {
        let control = self.read(SLOT_CONTROL)? & !(POWER_OFF | POWER_INDICATOR);
        let state = match on {
            true => POWER_INDICATOR_ON,
            false => POWER_OFF | POWER_INDICATOR,
        };
        self.write(SLOT_CONTROL, control | state)
    }

    fn look(&self, first: bool) -> io::Result<()> {
        let status = self.read(SLOT_STATUS)?;
        let devices = self.devices();
        if status & EVENTS != 0 {
            self.write(SLOT_STATUS, status & EVENTS)?;
        }
        let Some(wish) = wish(status, !devices.is_empty(), first) else {
            return Ok(());
        };
        say!("slot of bus {}: {wish:?}", self.bus);
        if wish == Wish::Plug {
            self.set_power(true)?;
            return fs::write(format!("/sys/class/pci_bus/{}/rescan", self.bus), "1");
        }
        for device in devices {
            fs::write(device.join("remove"), "1")?;
        }
        match wish {
            Wish::Unplug => self.set_power(false),
            _ => Ok(()),
        }
    }
}

/// Looks after every slot, for ever.
pub fn run() -> ExitCode {
    let entries = fs::read_dir(DEVICES).into_iter().flatten().flatten();
    let slots: Vec<Slot> = entries
        .filter_map(|entry| Slot::of(&entry.path()).ok().flatten())
        .collect();
    let mut first = true;
    loop {
        for slot in &slots {
            if let Err(error) = slot.look(first) {
                say!("slot of bus {}: {error}", slot.bus);
                sleep(Duration::from_secs(1));
            }
        }
        first = false;
        sleep(if slots.is_empty() {
            Duration::from_secs(3600)
        } else {
            PAUSE
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_filled_and_emptied_as_its_events_say() {
        let (present, button, changed) = (PRESENT, BUTTON_PRESSED, 1 << 3);
        let table = [
            // QEMU presses the button at a plug as well.
            (present | button | changed, false, false, Some(Wish::Plug)),
            (present | button, true, false, Some(Wish::Unplug)),
            (changed, true, false, Some(Wish::Forget)),
            (changed, false, false, None),
            // What somebody removed by hand stays away.
            (present, false, false, None),
            (present, true, false, None),
            // Before the first look.
            (present, false, true, Some(Wish::Plug)),
            (present | button | changed, true, true, None),
        ];
        for (status, occupied, first, wanted) in table {
            assert_eq!(
                wish(status, occupied, first),
                wanted,
                "{status:#x} {occupied} {first}"
            );
        }
    }
}
