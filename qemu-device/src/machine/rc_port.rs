// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The endpoint's function as the RC's bus sees it: configuration space and BARs.

use std::cell::Cell;
use std::sync::Arc;

use abi::pci::header;

use super::access::{Origin, Requester};
use super::{Machine, Silicon};
use crate::controller::Effects;
use crate::fabric::{self, Reason, Resolved, Target};
use crate::rc_face::{RcFace, Source};
use crate::vfio_user::{Device, Errno, RegionInfo, CONFIG_REGION};

/// Serves the RC guest's QEMU for one rise of the link. Once that link is down the function behind
/// this connection is gone for good: reads give all ones, writes vanish, as after a surprise removal.
/// Only while QEMU still plugs the function does it go on reading what it began to read, since it does
/// not survive a device that goes away meanwhile: it follows capability pointers of all ones round and
/// round, and frees a device twice when its realize fails.
pub struct RcPort {
    machine: Arc<Machine>,
    /// The shape of the function when it was plugged: QEMU freezes it, whatever the EP does later.
    face: RcFace,
    generation: u32,
    /// QEMU has plugged the function: it resets it at the end of its realize, and neither touches a BAR nor
    /// enables anything before.
    plugged: bool,
    /// Most accesses go where the one before went.
    last: Cell<Option<Last>>,
}

impl RcPort {
    /// The RC's side of `machine` for the link of this `generation`, with the function as `face` has it.
    pub fn new(machine: Arc<Machine>, face: RcFace, generation: u32) -> Self {
        Self {
            machine,
            face,
            generation,
            plugged: false,
            last: Cell::new(None),
        }
    }

    /// Whether the link that plugged this function still stands.
    fn linked(&self, silicon: &Silicon) -> bool {
        silicon.controller.link_generation() == Some(self.generation)
    }

    /// Changes the silicon, if the function is still there.
    fn change(&self, act: impl FnOnce(&mut Silicon, &mut Effects)) {
        let silicon = self.machine.silicon();
        if self.linked(&silicon) {
            self.machine.change(silicon, act);
        }
    }

    /// Resolves an access to BAR `bar` of the function, from `offset` on. The silicon itself knows which link
    /// stands, so no other lock is asked for each posted write.
    fn through_bar(&self, bar: u8, offset: u64) -> impl Fn(&Silicon, u64, u64) -> Resolved + '_ {
        move |silicon, done, left| {
            let at = offset + done;
            let routes = silicon.routes();
            if let Some(resolved) = self.last.get().and_then(|last| last.leads(routes, bar, at)) {
                return resolved;
            }
            if !self.linked(silicon) {
                return Resolved::unsupported(Reason::LinkDown, left);
            }
            let (controller, bars) = (&silicon.controller, silicon.ep_face.bars());
            let resolved = fabric::from_rc_bar(controller, bars, bar, at, u64::MAX);
            self.last.set(Some(Last {
                routes,
                bar,
                at,
                resolved,
            }));
            resolved
        }
    }
}

/// Where an access led, and with it all others to that part of the BAR until the routes change.
#[derive(Clone, Copy)]
struct Last {
    routes: u64,
    bar: u8,
    at: u64,
    resolved: Resolved,
}

impl Last {
    /// Where one from `at` on leads, if it is known.
    fn leads(&self, routes: u64, bar: u8, at: u64) -> Option<Resolved> {
        let Target::EpRam { address } = self.resolved.target else {
            return None;
        };
        if (routes, bar) != (self.routes, self.bar) {
            return None;
        }
        let within = at.checked_sub(self.at)?;
        let len = self
            .resolved
            .len
            .checked_sub(within)
            .filter(|len| *len > 0)?;
        Some(Resolved {
            target: Target::EpRam {
                address: address + within,
            },
            len,
        })
    }
}

impl Device for RcPort {
    fn region(&self, index: u32) -> Option<RegionInfo> {
        self.face.region_size(index).map(RegionInfo::read_write)
    }

    fn irq_count(&self, index: u32) -> Option<u32> {
        self.face.irq_count(index)
    }

    fn read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> Result<(), Errno> {
        self.machine.rc_reads.count(region);
        match region {
            CONFIG_REGION => {
                let silicon = self.machine.silicon();
                let source = if self.linked(&silicon) {
                    Source::Linked(&silicon.controller)
                } else if self.plugged {
                    Source::Gone
                } else {
                    Source::Plugging
                };
                self.face.config_read(&source, offset, data);
            }
            0..=5 => {
                self.plugged = true;
                let bar = region as u8;
                let origin = Origin {
                    by: Requester::Rc { bar },
                    at: offset,
                };
                self.machine
                    .read_through(origin, data, self.through_bar(bar, offset));
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    fn write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<(), Errno> {
        match region {
            CONFIG_REGION => {
                self.plugged |= enables(offset, data);
                let face = &self.face;
                self.change(|silicon, effects| {
                    face.config_write(&mut silicon.controller, offset, data, effects);
                });
            }
            0..=5 => {
                self.plugged = true;
                let bar = region as u8;
                let origin = Origin {
                    by: Requester::Rc { bar },
                    at: offset,
                };
                self.machine
                    .write_through(origin, data, self.through_bar(bar, offset));
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.plugged = true;
        self.change(|silicon, _| silicon.controller.rc_reset());
    }

    fn memory_changed(&mut self) {
        self.machine.follow_memory();
    }
}

/// Whether a write to configuration space sets a bit of COMMAND. QEMU only clears some while it plugs.
fn enables(offset: u64, data: &[u8]) -> bool {
    let command = u64::from(header::COMMAND_STATUS)..u64::from(header::COMMAND_STATUS) + 2;
    let bytes = (offset..).zip(data);
    bytes
        .into_iter()
        .any(|(at, byte)| command.contains(&at) && *byte != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_holds_for_that_part_of_the_bar_and_these_routes() {
        let ram = |address| Target::EpRam { address };
        let last = Last {
            routes: 7,
            bar: 2,
            at: 0x100,
            resolved: Resolved {
                target: ram(0x8000_0100),
                len: 0x40,
            },
        };
        let known = last.leads(7, 2, 0x13c).unwrap();
        assert_eq!((known.target, known.len), (ram(0x8000_013c), 4));
        assert_eq!(last.leads(7, 2, 0x100), Some(last.resolved));
        for (routes, bar, at) in [(8, 2, 0x100), (7, 0, 0x100), (7, 2, 0xff), (7, 2, 0x140)] {
            assert_eq!(last.leads(routes, bar, at), None, "{routes} {bar} {at:#x}");
        }
        let doorbell = Last {
            resolved: Resolved {
                target: Target::EpRegister { offset: 0 },
                len: 0x40,
            },
            ..last
        };
        assert_eq!(doorbell.leads(7, 2, 0x100), None);
    }
}
