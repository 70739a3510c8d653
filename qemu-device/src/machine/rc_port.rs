// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The endpoint's function as the RC's bus sees it: configuration space and BARs.

use std::cell::Cell;
use std::sync::Arc;

use super::access::{Origin, Requester};
use super::{Machine, Silicon};
use crate::fabric::{self, Reason, Resolved, Target};
use crate::rc_face::RcFace;
use crate::vfio_user::{Device, Errno, RegionInfo, CONFIG_REGION};

/// Serves the RC guest's QEMU for one rise of the link. Once that link is down the function behind
/// this connection is gone for good: reads give all ones, writes vanish, as after a surprise removal.
pub struct RcPort {
    machine: Arc<Machine>,
    /// The shape of the function when it was plugged: QEMU freezes it, whatever the EP does later.
    face: RcFace,
    generation: u32,
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
            last: Cell::new(None),
        }
    }

    /// Whether the link that plugged this function still stands.
    fn linked(&self) -> bool {
        self.machine.rc_socket.current() == Some(self.generation)
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
            let (controller, bars) = (&silicon.controller, silicon.ep_face.bars());
            if controller.link_generation() != Some(self.generation) {
                return Resolved::unsupported(Reason::LinkDown, left);
            }
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
            CONFIG_REGION if !self.linked() => data.fill(0xff),
            CONFIG_REGION => self
                .machine
                .silicon()
                .controller
                .rc_config_read(offset, data),
            0..=5 => {
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
            CONFIG_REGION if !self.linked() => {}
            CONFIG_REGION => {
                let machine = &self.machine;
                machine.change(machine.silicon(), |silicon, effects| {
                    silicon.controller.rc_config_write(offset, data, effects);
                });
            }
            0..=5 => {
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
        if self.linked() {
            let machine = &self.machine;
            machine.change(machine.silicon(), |silicon, _| {
                silicon.controller.rc_reset();
            });
        }
    }

    fn memory_changed(&mut self) {
        self.machine.follow_memory();
    }
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
