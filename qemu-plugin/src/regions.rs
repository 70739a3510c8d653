// SPDX-License-Identifier: GPL-2.0-or-later
//! QEMU's memory tree: over each window lies an alias that shows the arena.
//!
//! ```text
//!   BAR n's container (vfio-pci's "… base BAR n")
//!    ├── spider-window   priority 1   alias of the arena at the same place      one per range of windows
//!    └── "… BAR n"       priority 0   what traps                                 vfio-pci's
//! ```
//!
//! - In the BAR's own container, windows move with the BAR and vanish with COMMAND's memory bit.
//! - One region stands for the whole arena, has no owner and stays for ever: QEMU's views and vCPUs hold
//!   no reference to anything else of ours, so nothing is to be freed after RCU.
//! - Aliases are used again and again. QEMU looks at them only while it renders a view, under its lock.
//! - The container goes when the device is unplugged. When it is finalized it lets go of its subregions
//!   (`memory_region_finalize`); so an alias that is still mapped proves that its container is there,
//!   and no reference is held that would keep an unplugged device alive.
//!
//! All changes are made by one bottom half of the main loop, which makes the tree what was asked for
//! last: bottom halves run in no particular order.
//!
//! What is gone goes at once. To add something all vCPUs are stopped ([`Regions::standing`]), and a peer can
//! open and close a window thousands of times a second: so additions have a [`Budget`], and when it is spent
//! they wait for a few milliseconds. Until then accesses trap.

use crate::arena::{self, Arena};
use crate::budget::Budget;
use crate::qemu::{MemoryRegion, Object, Qemu, GO_ON, MEMORY_REGION};
use crate::range::{Range, BARS};
use crate::report::report;
use abi::windows::PAGE_SIZE;
use std::ffi::{c_int, c_void, CStr, CString};
use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, Sender};
use std::sync::{Mutex, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// Above what traps, which has 0.
const PRIORITY: c_int = 1;
/// How long vCPUs may stand for windows that come in a burst, before additions have to wait. One takes about a
/// millisecond.
const BURST: Duration = Duration::from_millis(20);

/// The windows in this QEMU's memory tree.
pub struct Regions {
    qemu: Qemu,
    /// QOM path of the device whose BARs they lie in.
    device: CString,
    /// Where the arena begins.
    arena: NonNull<c_void>,
    /// What the tree should be. Held only to copy.
    wanted: Mutex<Vec<Range>>,
    /// The main loop has been asked to look at `wanted`, and has not yet.
    scheduled: AtomicBool,
    /// The last look could not lay all of it.
    behind: AtomicBool,
    /// Only the bottom half uses it.
    tree: Mutex<Tree>,
    /// How long vCPUs may stand; only the bottom half uses it.
    budget: Mutex<Budget>,
    /// Takes how long to wait until the main loop is asked to look again, once there is a clock.
    clock: OnceLock<Sender<Duration>>,
    /// The clock runs.
    postponed: AtomicBool,
}

// SAFETY: `arena` is an address and never followed here. Everything else that is no lock or atomic is
// constant, and what `tree` points to is touched under the big QEMU lock only.
unsafe impl Sync for Regions {}
// SAFETY: as above; no part belongs to a thread.
unsafe impl Send for Regions {}

/// What has been made of QEMU's.
struct Tree {
    /// The region that is the arena; null until there was a first window.
    memory: *mut MemoryRegion,
    aliases: Vec<Alias>,
}

/// One alias, in use or kept for later.
struct Alias {
    region: *mut MemoryRegion,
    /// Where it was laid.
    laid: Option<Place>,
}

/// The container of a BAR, and the range of that BAR.
type Place = (*mut MemoryRegion, Range);

impl Regions {
    /// Nothing yet, for the device at `device` (a QOM path). Lives as long as QEMU.
    pub fn new(qemu: Qemu, device: CString, arena: &'static Arena) -> Option<&'static Self> {
        Self::with_budget(qemu, device, arena, BURST)
    }

    fn with_budget(
        qemu: Qemu,
        device: CString,
        arena: &'static Arena,
        burst: Duration,
    ) -> Option<&'static Self> {
        Some(Box::leak(Box::new(Self {
            qemu,
            device,
            arena: NonNull::new(arena.base())?,
            wanted: Mutex::default(),
            scheduled: AtomicBool::new(false),
            behind: AtomicBool::new(false),
            tree: Mutex::new(Tree {
                memory: ptr::null_mut(),
                aliases: Vec::new(),
            }),
            budget: Mutex::new(Budget::new(burst, Instant::now())),
            clock: OnceLock::new(),
            postponed: AtomicBool::new(false),
        })))
    }

    /// Starts the clock, on a thread with the caller's signal mask. Without it no addition waits.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn serve_later(&'static self) -> io::Result<()> {
        let (sender, waits) = channel();
        let run = move || {
            for wait in waits {
                std::thread::sleep(wait);
                self.postponed.store(false, Ordering::Release);
                self.schedule();
            }
        };
        let thread = std::thread::Builder::new().name("spider-later".into());
        thread.spawn(run)?;
        let _ = self.clock.set(sender);
        Ok(())
    }

    /// Whether additions have to wait. The main loop then looks again when they need not any more.
    fn postpone(&self) -> bool {
        let Some(clock) = self.clock.get() else {
            return false;
        };
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = budget.wait(Instant::now());
        if wait.is_zero() {
            return false;
        }
        if !self.postponed.swap(true, Ordering::AcqRel) {
            // The clock runs as long as QEMU does.
            let _ = clock.send(wait);
        }
        true
    }

    /// Asks for `wanted` to be the windows, soon. Never waits for QEMU.
    pub fn want(&'static self, wanted: Vec<Range>) {
        {
            let mut last = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
            if *last == wanted && !self.behind.load(Ordering::Relaxed) {
                return;
            }
            *last = wanted;
        }
        self.schedule();
    }

    fn schedule(&'static self) {
        if !self.scheduled.swap(true, Ordering::AcqRel) {
            let opaque = ptr::from_ref(self).cast_mut().cast();
            // SAFETY: `bottom_half` gets the `&'static Self` that it expects.
            let asked = unsafe { self.qemu.schedule(bottom_half, opaque) };
            if !asked {
                self.behind.store(true, Ordering::Relaxed);
                self.scheduled.store(false, Ordering::Release);
            }
        }
    }

    /// What the bottom half does.
    fn settle(&'static self) {
        self.scheduled.store(false, Ordering::Release);
        // SAFETY: asks about this thread only.
        if !unsafe { (self.qemu.bql_locked)() } {
            return report("QEMU runs bottom halves without its lock: accesses trap");
        }
        match self.tree.try_lock() {
            Ok(mut tree) => {
                let whole = tree.settle(self);
                self.behind.store(!whole, Ordering::Relaxed);
            }
            // A panic left it half done: what is laid stays, over void or the right pages.
            Err(TryLockError::Poisoned(_)) => {}
            // A main loop within the main loop: later.
            Err(TryLockError::WouldBlock) => self.schedule(),
        }
    }

    /// The device, null while it is not plugged. Under the big lock.
    fn device(&self) -> *mut Object {
        // SAFETY: under the big lock; the path is a string; nobody asks whether it is ambiguous.
        unsafe { (self.qemu.object_resolve_path)(self.device.as_ptr(), ptr::null_mut()) }
    }

    /// What is wanted now.
    fn wanted(&self) -> Vec<Range> {
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.clone()
    }

    /// Does `act` while no vCPU runs and everything that any has written is done.
    ///
    /// Writes that trap are posted. A vCPU that has written to the device, and then reads through a region
    /// that was laid in between, would not see its own write; nor would another vCPU that it tells of it. One
    /// that waits for the big lock has already decided that it traps: so all are stopped, not only kept from
    /// that lock. Then the reply to a read, behind all of their writes on the same socket, says that they are
    /// done. (That adding RAM makes vfio send a DMA_MAP and wait does not help: TCG's listener comes before
    /// vfio's.) `act` hears `false` if nobody answers.
    ///
    /// The big lock is let go of until the vCPUs stand, and held from then on.
    fn standing<T>(&self, act: impl FnOnce(bool) -> T) -> T {
        // Vendor and device id, which QEMU asks the device for each time.
        const ID: u32 = 0;
        const CONFIG_SIZE: u32 = 256;
        let begun = Instant::now();
        // SAFETY: in the main loop, under the big lock, as in QEMU's own callers.
        unsafe { (self.qemu.pause_all_vcpus)() };
        let device = self.device();
        // SAFETY: under the big lock; a device with BARs is a PCIDevice; the word lies within every
        // configuration space.
        let answered = !device.is_null()
            && unsafe { (self.qemu.pci_host_config_read_common)(device, ID, CONFIG_SIZE, 4) }
                != u32::MAX;
        let result = act(answered);
        // SAFETY: as above. They stay stopped if the machine is.
        unsafe { (self.qemu.resume_all_vcpus)() };
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.spend(begun.elapsed(), Instant::now());
        result
    }

    /// The containers of the device's BARs, null where there is none.
    fn containers(&self) -> [*mut MemoryRegion; BARS as usize] {
        let mut search = Search {
            qemu: &self.qemu,
            found: [ptr::null_mut(); BARS as usize],
        };
        let device = self.device();
        if !device.is_null() {
            let opaque = ptr::from_mut(&mut search).cast();
            // SAFETY: under the big lock; `container_of_bar` gets the `Search` that it expects, and changes
            // no object.
            unsafe { (self.qemu.object_child_foreach)(device, container_of_bar, opaque) };
        }
        search.found
    }
}

/// How the tree is to be changed.
struct Plan {
    /// Where aliases belong.
    places: Vec<Place>,
    /// Those of them where there is none.
    new: Vec<Place>,
    /// Whether nothing that is wanted must wait for its BAR.
    whole: bool,
}

impl Tree {
    /// Makes the tree what is wanted; `false` if some of it must wait. Under the big lock.
    fn settle(&mut self, regions: &Regions) -> bool {
        let mut plan = self.plan(regions);
        if !plan.new.is_empty() && regions.postpone() {
            plan.new.clear();
            plan.whole = false;
        }
        if plan.new.is_empty() {
            self.carry_out(regions, &plan);
            return plan.whole;
        }
        regions.standing(|answered| {
            // The lock was let go of: the device may be another one, and something else may be wanted.
            let mut plan = self.plan(regions);
            if !answered {
                plan.new.clear();
                plan.whole = false;
            }
            self.carry_out(regions, &plan);
            plan.whole
        })
    }

    fn plan(&mut self, regions: &Regions) -> Plan {
        let qemu = &regions.qemu;
        for alias in &mut self.aliases {
            // SAFETY: the alias is ours and initialised.
            if alias.laid.is_some() && !unsafe { (qemu.memory_region_is_mapped)(alias.region) } {
                alias.laid = None;
            }
        }
        let wanted = regions.wanted();
        let containers = match wanted[..] {
            [] => [ptr::null_mut(); BARS as usize],
            _ => regions.containers(),
        };
        let fits = |&range: &Range| {
            let container = containers.get(range.bar() as usize).copied()?;
            // SAFETY: a container was found a moment ago, and the lock has been held since.
            let size =
                (!container.is_null()).then(|| unsafe { (qemu.memory_region_size)(container) });
            (range.end() <= size?).then_some((container, range))
        };
        let places: Vec<Place> = wanted.iter().filter_map(fits).collect();
        let is_new = |place: &&Place| {
            let mut laid = self.aliases.iter().filter_map(|alias| alias.laid.as_ref());
            !laid.any(|laid| laid == *place)
        };
        Plan {
            new: places.iter().filter(is_new).copied().collect(),
            whole: places.len() == wanted.len(),
            places,
        }
    }

    /// Under the same lock that the plan was made under.
    fn carry_out(&mut self, regions: &Regions, plan: &Plan) {
        let qemu = &regions.qemu;
        let gone = |place: &Place| !plan.places.contains(place);
        if plan.new.is_empty()
            && !self
                .aliases
                .iter()
                .any(|alias| alias.laid.is_some_and(|laid| gone(&laid)))
        {
            return;
        }
        let free = self.aliases.iter();
        let free = free.filter(|alias| alias.laid.as_ref().is_none_or(gone));
        for _ in free.count()..plan.new.len() {
            self.make_alias(regions);
        }

        // SAFETY: under the big lock, and closed below.
        unsafe { (qemu.memory_region_transaction_begin)() };
        for alias in &mut self.aliases {
            if let Some((container, _)) = alias.laid.take_if(|place| gone(place)) {
                // SAFETY: the alias is mapped, so the container that it was laid in is still there.
                unsafe { (qemu.memory_region_del_subregion)(container, alias.region) };
            }
        }
        let free = self.aliases.iter_mut().filter(|alias| alias.laid.is_none());
        for (alias, &(container, range)) in free.zip(&plan.new) {
            // SAFETY: the alias is ours, initialised as one of the arena's region, and in no container; what
            // it shows lies within the arena, and the container was found under this same lock.
            unsafe {
                (qemu.memory_region_set_size)(alias.region, range.len());
                (qemu.memory_region_set_alias_offset)(alias.region, Arena::offset(range));
                (qemu.memory_region_add_subregion_overlap)(
                    container,
                    range.start(),
                    alias.region,
                    PRIORITY,
                );
            }
            alias.laid = Some((container, range));
        }
        // SAFETY: begun above.
        unsafe { (qemu.memory_region_transaction_commit)() };
    }

    /// One more alias, of the arena's region, which the first one makes as well.
    fn make_alias(&mut self, regions: &Regions) {
        let qemu = &regions.qemu;
        // QEMU's allocation, since only QEMU knows the size; initialising makes it anew in place. It is never
        // given back.
        // SAFETY: under the big lock; the type is QEMU's own.
        let new = || unsafe { (qemu.object_new)(MEMORY_REGION.as_ptr()) }.cast::<MemoryRegion>();
        if self.memory.is_null() {
            self.memory = new();
            // Device memory: vfio's listener takes it for another device's BAR, so that a failure to announce
            // it to a device is no end of the world; and no DMA is done to it but byte by byte.
            // SAFETY: a new object of the right type; no owner, so it is never freed; the arena is as long
            // as said and stays for ever.
            unsafe {
                (qemu.memory_region_init_ram_device_ptr)(
                    self.memory,
                    ptr::null_mut(),
                    c"spider-windows".as_ptr(),
                    arena::SIZE,
                    regions.arena.as_ptr(),
                );
            }
        }
        let region = new();
        // SAFETY: a new object of the right type; no owner; the arena's region was just made, or before.
        unsafe {
            (qemu.memory_region_init_alias)(
                region,
                ptr::null_mut(),
                c"spider-window".as_ptr(),
                self.memory,
                0,
                PAGE_SIZE,
            );
        }
        self.aliases.push(Alias { region, laid: None });
    }
}

/// What [`container_of_bar`] has found.
struct Search<'a> {
    qemu: &'a Qemu,
    found: [*mut MemoryRegion; BARS as usize],
}

/// Looks whether a child of the device is the container of a BAR; vfio-pci calls them "… base BAR n".
///
/// # Safety
/// `child` is an object, `opaque` a [`Search`], and the big lock is held.
unsafe extern "C" fn container_of_bar(child: *mut Object, opaque: *mut c_void) -> c_int {
    // SAFETY: as the caller vouches; nobody else uses it meanwhile.
    let search = unsafe { &mut *opaque.cast::<Search>() };
    // SAFETY: an object and a type's name.
    let region = unsafe { (search.qemu.object_dynamic_cast)(child, MEMORY_REGION.as_ptr()) };
    let region = region.cast::<MemoryRegion>();
    if !region.is_null() {
        // SAFETY: a memory region; its name is a string that lives as long.
        let name = unsafe { CStr::from_ptr((search.qemu.memory_region_name)(region)) };
        if let Some(bar) = bar_of(name.to_bytes()) {
            if let Some(found) = search.found.get_mut(bar) {
                *found = region;
            }
        }
    }
    GO_ON
}

/// The number at the end of "… base BAR n".
fn bar_of(name: &[u8]) -> Option<usize> {
    let (&digit, rest) = name.split_last()?;
    rest.ends_with(b" base BAR ").then_some(())?;
    digit.is_ascii_digit().then(|| usize::from(digit - b'0'))
}

/// The bottom half.
///
/// # Safety
/// `opaque` is a `&'static Regions`.
unsafe extern "C" fn bottom_half(opaque: *mut c_void) {
    // SAFETY: as the caller vouches.
    let regions = unsafe { &*opaque.cast::<Regions>() };
    // No unwinding into QEMU.
    if catch_unwind(AssertUnwindSafe(|| regions.settle())).is_err() {
        report("a fault of this library: windows stay as they are");
    }
}

#[cfg(test)]
mod tests;
