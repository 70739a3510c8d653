// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Keeps the libraries inside the QEMUs up to date on which parts of the BARs are plain RAM.
//!
//! Whoever changes what an address means does not take the next message of its guest before both
//! libraries follow: the guest's next read from the device is then a fence, as on silicon.
//!
//! **Locks.** Publications take turns: [`Windows`]' own lock is the first of all, and is held until the
//! libraries have answered. Under it the silicon's and the guests' are taken for a moment, never while
//! waiting. A library answers on a thread of its own, which needs nothing of ours and not QEMU's big
//! lock, whatever the vCPUs and this process are waiting for.

mod fence;
mod library;
mod listener;

pub use listener::WindowsListener;

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use abi::windows::MAX_WINDOWS;
use nix::unistd::{sysconf, SysconfVar};
use serde_json::{json, Value};

use self::library::{Library, LibraryError};
use super::Machine;
use crate::fabric::windows::{self, Ram, Window};
use crate::vfio_user::memory::Share;

/// How long a library may take.
const DEADLINE: Duration = Duration::from_millis(abi::windows::ACK_DEADLINE_MS);

/// In whose QEMU a library is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Ep,
    Rc,
}

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::Ep => "ep",
            Self::Rc => "rc",
        }
    }
}

impl TryFrom<u32> for Side {
    type Error = LibraryError;

    fn try_from(side: u32) -> Result<Self, LibraryError> {
        match side {
            abi::windows::SIDE_EP => Ok(Self::Ep),
            abi::windows::SIDE_RC => Ok(Self::Rc),
            other => Err(LibraryError::Side(other)),
        }
    }
}

/// What a set is made from, and the files behind it.
#[derive(Default)]
struct Known {
    windows: Vec<Window>,
    shares: Vec<Share>,
}

/// One side's library, and what became of it and its predecessors.
#[derive(Default)]
struct Seat {
    library: Option<Library>,
    sets: u64,
    /// Those with as many windows as there can be.
    full_sets: u64,
    drops: u64,
    last_drop: Option<String>,
}

impl Seat {
    /// Does `act` with the library, if there is one, and drops it if that fails.
    fn with<T: Default>(
        &mut self,
        side: Side,
        act: impl FnOnce(&mut Library) -> Result<T, LibraryError>,
    ) -> T {
        let Some(library) = &mut self.library else {
            return T::default();
        };
        act(library).unwrap_or_else(|error| {
            self.drop_library(side, &error);
            T::default()
        })
    }

    /// A set of `windows` was told. An IOMMU may have the peer's memory in more pieces than there can be windows: what
    /// is left over traps, and is not silent about it.
    fn count_set(&mut self, side: Side, windows: usize) {
        self.sets += 1;
        if windows >= MAX_WINDOWS {
            self.full_sets += 1;
            if self.full_sets.is_power_of_two() {
                log::warn!(
                    "windows: the {} sees the peer's memory in {MAX_WINDOWS} pieces or more; accesses beyond them trap \
                     (set {})",
                    side.name(),
                    self.full_sets
                );
            }
        }
    }

    fn drop_library(&mut self, side: Side, reason: &dyn fmt::Display) {
        if let Some(library) = self.library.take() {
            library.hang_up();
            log::warn!(
                "windows: the library in the {}'s QEMU is dropped: {reason}; accesses trap from now on",
                side.name()
            );
            self.drops += 1;
            self.last_drop = Some(reason.to_string());
        }
    }

    fn inspect(&self) -> Value {
        let window = |window: &Window| {
            json!({
                "bar": window.bar,
                "offset": format!("{:#x}", window.offset),
                "size": format!("{:#x}", window.len),
                "map": window.map,
                "map_offset": format!("{:#x}", window.map_offset),
            })
        };
        let library = self.library.as_ref();
        json!({
            "attached": library.is_some(),
            "windows": library
                .map(|library| library.windows().iter().map(window).collect::<Vec<_>>())
                .unwrap_or_default(),
            "maps": library.map_or(0, Library::maps),
            "sets": self.sets,
            "full_sets": self.full_sets,
            "drops": self.drops,
            "last_drop": self.last_drop,
        })
    }
}

/// How long publications took that had something to tell.
#[derive(Default)]
struct Times {
    count: u64,
    total: Duration,
    longest: Duration,
    last: Duration,
}

impl Times {
    fn add(&mut self, time: Duration) {
        self.count += 1;
        self.total += time;
        self.longest = self.longest.max(time);
        self.last = time;
    }

    fn inspect(&self) -> Value {
        let mean = self.total.as_nanos() / u128::from(self.count.max(1));
        json!({
            "count": self.count,
            "last_us": self.last.as_micros() as u64,
            "mean_us": (mean / 1000) as u64,
            "longest_us": self.longest.as_micros() as u64,
        })
    }
}

/// What is changed by publishing only.
struct Publication {
    fast: bool,
    ep: Seat,
    rc: Seat,
    times: Times,
}

impl Publication {
    fn seat(&mut self, side: Side) -> &mut Seat {
        match side {
            Side::Ep => &mut self.ep,
            Side::Rc => &mut self.rc,
        }
    }

    fn anyone(&self) -> bool {
        self.ep.library.is_some() || self.rc.library.is_some()
    }

    /// Tells both libraries what is new, and waits until they follow.
    fn exchange(&mut self, ep: &Known, rc: &Known) {
        let begin = Instant::now();
        let deadline = begin + DEADLINE;
        let sides = [(Side::Ep, ep), (Side::Rc, rc)];
        let mut told = false;
        for (side, known) in sides {
            let seat = self.seat(side);
            let owing = seat.with(side, |library| {
                library.tell(&known.windows, &known.shares, deadline)
            });
            if owing {
                seat.count_set(side, known.windows.len());
            }
            told |= owing;
        }
        for (side, known) in sides {
            self.seat(side).with(side, |library| {
                library.settle(deadline)?;
                library.forget(&known.shares, deadline)
            });
        }
        if told {
            self.times.add(begin.elapsed());
        }
    }
}

/// The windows of both sides, and who is told of them.
pub struct Windows {
    /// Whether there is a library at all: without one, nothing costs anything.
    anyone: AtomicBool,
    /// The [`Silicon::routes`](super::Silicon::routes) that both libraries follow.
    followed: AtomicU64,
    publication: Mutex<Publication>,
    page: u64,
}

impl Default for Windows {
    fn default() -> Self {
        let host_page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
        let host_page = host_page.and_then(|size| u64::try_from(size).ok());
        Self {
            anyone: AtomicBool::new(false),
            followed: AtomicU64::new(0),
            publication: Mutex::new(Publication {
                fast: true,
                ep: Seat::default(),
                rc: Seat::default(),
                times: Times::default(),
            }),
            page: host_page.unwrap_or(0).max(abi::windows::PAGE_SIZE),
        }
    }
}

impl Windows {
    fn publication(&self) -> MutexGuard<'_, Publication> {
        self.publication
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether libraries follow something older than `routes`.
    fn behind(&self, routes: u64) -> bool {
        self.anyone.load(Ordering::SeqCst) && self.followed.load(Ordering::Acquire) < routes
    }

    /// The state, for `pair inspect`.
    pub fn inspect(&self) -> Value {
        let publication = self.publication();
        json!({
            "fast": publication.fast,
            "ep": publication.ep.inspect(),
            "rc": publication.rc.inspect(),
            "publications": publication.times.inspect(),
        })
    }
}

impl Machine {
    /// The silicon has changed up to `routes`: returns once no library follows anything older.
    pub(super) fn follow_routes(&self, routes: u64) {
        if self.windows.behind(routes) {
            let mut publication = self.windows.publication();
            // Another thread may have told them while this one waited for its turn.
            if self.windows.behind(routes) {
                self.publish(&mut publication);
            }
        }
    }

    /// A guest's memory came or went: returns once no library names anything that is gone.
    pub(super) fn follow_memory(&self) {
        if self.windows.anyone.load(Ordering::SeqCst) {
            self.publish(&mut self.windows.publication());
        }
    }

    /// Whether guests may use windows without asking. While they may not, every access traps: it is the
    /// same, but seen.
    pub fn set_fast(&self, fast: bool) {
        let mut publication = self.windows.publication();
        publication.fast = fast;
        self.publish(&mut publication);
    }

    /// A library said hello. Its first set is on its way once this returns.
    fn admit(&self, side: Side, socket: &Arc<OwnedFd>) -> Result<(), LibraryError> {
        let mut publication = self.windows.publication();
        let seat = publication.seat(side);
        match &seat.library {
            Some(other) if !other.is_over() => return Err(LibraryError::Second),
            Some(_) => seat.drop_library(side, &LibraryError::Closed),
            None => {}
        }
        seat.library = Some(Library::new(socket.clone()));
        log::info!("windows: a library in the {}'s QEMU", side.name());
        // Before the silicon is looked at: who changes it afterwards must find that there is someone.
        self.windows.anyone.store(true, Ordering::SeqCst);
        self.publish(&mut publication);
        Ok(())
    }

    /// The connection behind `socket` has ended.
    fn dismiss(&self, side: Side, socket: &Arc<OwnedFd>) {
        let mut publication = self.windows.publication();
        let seat = publication.seat(side);
        if seat
            .library
            .as_ref()
            .is_some_and(|library| library.is_behind(socket))
        {
            seat.library = None;
            log::info!("windows: the library in the {}'s QEMU is gone", side.name());
        }
        let anyone = publication.anyone();
        self.windows.anyone.store(anyone, Ordering::SeqCst);
    }

    /// Finds out what holds now, and lets the libraries follow.
    fn publish(&self, publication: &mut Publication) {
        let (ep, rc) = (self.ep(), self.plugged());
        let ep_shares = ep.map_or_else(Vec::new, |ep| ep.memory.shares());
        let rc_shares = rc
            .as_ref()
            .map_or_else(Vec::new, |rc| rc.attachment.memory.shares());
        let page = self.windows.page;
        let (mut of_ep, mut of_rc) = (Vec::new(), Vec::new());
        let silicon = self.silicon();
        let routes = silicon.routes();
        let (controller, bars) = (&silicon.controller, silicon.ep_face.bars());
        // A connection that an earlier link has left behind reaches nothing, nor does anyone reach it.
        let rc = rc.filter(|rc| controller.link_generation() == Some(rc.generation));
        if let Some(rc) = rc.filter(|_| publication.fast) {
            of_ep = windows::of_ep(controller, bars, &ram(&rc_shares, page), page);
            of_rc = windows::of_rc(controller, bars, &rc.face, &ram(&ep_shares, page), page);
        }
        drop(silicon);
        let (ep, rc) = (
            Known {
                windows: of_ep,
                shares: rc_shares,
            },
            Known {
                windows: of_rc,
                shares: ep_shares,
            },
        );
        publication.exchange(&ep, &rc);
        self.windows.followed.store(routes, Ordering::Release);
    }
}

/// What the silicon needs to know of maps, as far as their pages are pages of their files.
fn ram(shares: &[Share], page: u64) -> Vec<Ram> {
    let ram = |share: &Share| Ram {
        address: share.address,
        size: share.size,
        map: share.number,
    };
    let whole = shares.iter().filter(|share| share.file_offset % page == 0);
    whole.map(ram).collect()
}
