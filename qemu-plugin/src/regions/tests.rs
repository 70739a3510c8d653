// SPDX-License-Identifier: GPL-2.0-or-later
//! Against a QEMU of the test's own, which asserts what QEMU's memory code asserts.

use super::*;
use crate::arguments::Arguments;
use crate::qemu::{AioContext, Callback, VersionInfo, Visitor};
use crate::test_support::{hear, memory, say, set, window};
use abi::windows::{Ack, Hello, Map, GOODBYE, SIDE_RC};
use nix::sys::socket::{accept, bind, listen, socket, Backlog};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr};
use std::collections::BTreeMap;
use std::ffi::{c_char, CString};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{LazyLock, MutexGuard};

/// What QEMU knows of one memory region; addresses are names only.
#[derive(Clone, Default, PartialEq, Debug)]
struct Known {
    name: CString,
    size: u64,
    /// Of an alias: the region it shows, and from where on.
    alias: Option<(usize, u64)>,
    /// Its container, and where in there.
    container: Option<(usize, u64)>,
}

#[derive(Default)]
struct Fake {
    regions: BTreeMap<usize, Known>,
    /// Children of the device, if it is plugged.
    device: Option<Vec<usize>>,
    callbacks: Vec<(Callback, usize)>,
    transactions: u32,
    open: bool,
    /// No vCPU runs.
    standing: bool,
    /// The device has answered since they stand.
    drained: bool,
    /// It does not answer.
    silent: bool,
    /// How often vCPUs have been stopped, and how long each time.
    stands: u32,
    stand: Duration,
}

static FAKE: LazyLock<Mutex<Fake>> = LazyLock::new(Mutex::default);

/// The fake is one for all, as QEMU is: one story at a time.
fn story() -> MutexGuard<'static, ()> {
    static STORY: Mutex<()> = Mutex::new(());
    let story = STORY.lock().unwrap_or_else(PoisonError::into_inner);
    *fake() = Fake::default();
    story
}

fn fake() -> MutexGuard<'static, Fake> {
    FAKE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A region, as an address to hand out.
fn allocate() -> usize {
    Box::into_raw(Box::new(0u64)) as usize
}

impl Fake {
    fn known(&mut self, region: *const MemoryRegion) -> &mut Known {
        self.regions.get_mut(&(region as usize)).unwrap()
    }

    /// Plugs the device, with BARs of these sizes (number, bytes), each with a region below its container.
    fn plug(&mut self, bars: &[(u32, u64)]) {
        let mut children = vec![allocate()];
        for &(bar, size) in bars {
            for name in [
                format!("vfio-user:/s base BAR {bar}"),
                format!("vfio-user:/s BAR {bar}"),
            ] {
                let name = CString::new(name).unwrap();
                let region = allocate();
                let known = Known {
                    name,
                    size,
                    ..Known::default()
                };
                self.regions.insert(region, known);
                children.push(region);
            }
        }
        self.device = Some(children);
    }

    /// As `memory_region_finalize` does: subregions are let go of, then the region is no more.
    fn unplug(&mut self) {
        for child in self.device.take().unwrap() {
            self.regions.remove(&child);
            for known in self.regions.values_mut() {
                known.container = known.container.filter(|(container, _)| *container != child);
            }
        }
    }

    /// What lies over the BARs: container's name, offset, size and place in the arena.
    fn laid(&self) -> Vec<(String, u64, u64, u64)> {
        let mut laid = Vec::new();
        for known in self.regions.values() {
            if let (Some((container, at)), Some((_, shows))) = (known.container, known.alias) {
                let name = self.regions[&container].name.to_str().unwrap();
                laid.push((name.to_owned(), at, known.size, shows));
            }
        }
        laid.sort();
        laid
    }

    fn aliases(&self) -> usize {
        self.regions
            .values()
            .filter(|known| known.alias.is_some())
            .count()
    }
}

unsafe extern "C" fn version(_: *mut *mut c_void) -> *mut VersionInfo {
    ptr::null_mut()
}
unsafe extern "C" fn free(_: *mut VersionInfo) {}
unsafe extern "C" fn context() -> *mut AioContext {
    ptr::dangling_mut()
}
unsafe extern "C" fn schedule(
    _: *mut AioContext,
    callback: Callback,
    opaque: *mut c_void,
    _: *const c_char,
) {
    fake().callbacks.push((callback, opaque as usize));
}
unsafe extern "C" fn locked() -> bool {
    true
}
unsafe extern "C" fn resolve(_: *const c_char, _: *mut bool) -> *mut Object {
    fake().device.as_ref().map_or(0, |children| children[0]) as *mut Object
}
unsafe extern "C" fn children(_: *mut Object, visit: Visitor, opaque: *mut c_void) -> c_int {
    let children = fake().device.clone().unwrap();
    for child in children {
        // SAFETY: as the caller of this one vouches.
        unsafe { visit(child as *mut Object, opaque) };
    }
    0
}
unsafe extern "C" fn cast(object: *mut Object, _: *const c_char) -> *mut Object {
    let is_region = fake().regions.contains_key(&(object as usize));
    if is_region {
        object
    } else {
        ptr::null_mut()
    }
}
unsafe extern "C" fn new(_: *const c_char) -> *mut Object {
    allocate() as *mut Object
}
unsafe extern "C" fn pause() {
    let mut fake = fake();
    assert!(!fake.standing && !fake.open);
    (fake.standing, fake.drained) = (true, false);
    fake.stands += 1;
    std::thread::sleep(fake.stand);
}
unsafe extern "C" fn resume() {
    let mut fake = fake();
    assert!(fake.standing && !fake.open);
    fake.standing = false;
}
unsafe extern "C" fn config_read(device: *mut Object, _: u32, _: u32, _: u32) -> u32 {
    let mut fake = fake();
    assert_eq!(fake.device.as_ref().unwrap()[0], device as usize);
    fake.drained = !fake.silent;
    if fake.silent {
        u32::MAX
    } else {
        0x0031_1912
    }
}
unsafe extern "C" fn init_ram(
    region: *mut MemoryRegion,
    owner: *mut Object,
    _: *const c_char,
    size: u64,
    at: *mut c_void,
) {
    assert!(owner.is_null() && !at.is_null());
    let known = Known {
        size,
        ..Known::default()
    };
    assert_eq!(fake().regions.insert(region as usize, known), None);
}
unsafe extern "C" fn init_alias(
    region: *mut MemoryRegion,
    owner: *mut Object,
    _: *const c_char,
    shown: *mut MemoryRegion,
    offset: u64,
    size: u64,
) {
    assert!(owner.is_null());
    let known = Known {
        size,
        alias: Some((shown as usize, offset)),
        ..Known::default()
    };
    assert_eq!(fake().regions.insert(region as usize, known), None);
}
unsafe extern "C" fn name(region: *const MemoryRegion) -> *const c_char {
    fake().known(region).name.as_ptr()
}
unsafe extern "C" fn size(region: *const MemoryRegion) -> u64 {
    fake().known(region).size
}
unsafe extern "C" fn is_mapped(region: *const MemoryRegion) -> bool {
    fake().known(region).container.is_some()
}
unsafe extern "C" fn set_size(region: *mut MemoryRegion, size: u64) {
    fake().known(region).size = size;
}
unsafe extern "C" fn set_alias_offset(region: *mut MemoryRegion, offset: u64) {
    fake().known(region).alias.as_mut().unwrap().1 = offset;
}
unsafe extern "C" fn add(
    container: *mut MemoryRegion,
    offset: u64,
    region: *mut MemoryRegion,
    priority: c_int,
) {
    let mut fake = fake();
    assert!(fake.open && priority > 0);
    assert!(fake.standing && fake.drained, "a write may be under way");
    assert!(
        fake.regions.contains_key(&(container as usize)),
        "a container that is no more"
    );
    let known = fake.known(region);
    assert_eq!(known.container, None);
    known.container = Some((container as usize, offset));
}
unsafe extern "C" fn del(container: *mut MemoryRegion, region: *mut MemoryRegion) {
    let mut fake = fake();
    assert!(fake.open);
    let known = fake.known(region);
    assert_eq!(known.container.unwrap().0, container as usize);
    known.container = None;
}
unsafe extern "C" fn begin() {
    let mut fake = fake();
    assert!(!fake.open);
    fake.open = true;
    fake.transactions += 1;
}
unsafe extern "C" fn commit() {
    let mut fake = fake();
    assert!(fake.open);
    fake.open = false;
}

const QEMU: Qemu = Qemu {
    qmp_query_version: version,
    qapi_free_VersionInfo: free,
    qemu_get_aio_context: context,
    aio_bh_schedule_oneshot_full: schedule,
    bql_locked: locked,
    object_resolve_path: resolve,
    object_child_foreach: children,
    object_dynamic_cast: cast,
    object_new: new,
    pause_all_vcpus: pause,
    resume_all_vcpus: resume,
    pci_host_config_read_common: config_read,
    memory_region_init_ram_device_ptr: init_ram,
    memory_region_init_alias: init_alias,
    memory_region_name: name,
    memory_region_size: size,
    memory_region_is_mapped: is_mapped,
    memory_region_set_size: set_size,
    memory_region_set_alias_offset: set_alias_offset,
    memory_region_add_subregion_overlap: add,
    memory_region_del_subregion: del,
    memory_region_transaction_begin: begin,
    memory_region_transaction_commit: commit,
};

/// Runs what was scheduled, as the main loop does; says how much that was.
fn main_loop() -> usize {
    let callbacks = std::mem::take(&mut fake().callbacks);
    for &(callback, opaque) in &callbacks {
        // SAFETY: it was scheduled with this.
        unsafe { callback(opaque as *mut c_void) };
    }
    callbacks.len()
}

const PAGE: u64 = PAGE_SIZE;
const BARS_OF_THE_FUNCTION: [(u32, u64); 2] = [(0, 16 * PAGE), (2, 32 * PAGE)];

fn pages(bar: u32, page: u64, count: u64) -> Range {
    Range::new(bar, page * PAGE, count * PAGE).unwrap()
}

/// How `range` looks in the tree.
fn over(range: Range) -> (String, u64, u64, u64) {
    let container = format!("vfio-user:/s base BAR {}", range.bar());
    (container, range.start(), range.len(), Arena::offset(range))
}

#[test]
fn the_tree_becomes_what_was_wanted_last() {
    let _story = story();
    static ARENA: LazyLock<Arena> = LazyLock::new(|| Arena::reserve().unwrap());
    let device = c"/machine/peripheral/function".to_owned();
    let regions = Regions::new(QEMU, device, &ARENA).unwrap();

    // Nothing wanted, nothing made.
    regions.want(vec![]);
    assert_eq!((main_loop(), fake().transactions), (0, 0));

    // No device yet: later, at the next set.
    let first = vec![pages(0, 0, 4), pages(2, 8, 2)];
    regions.want(first.clone());
    assert_eq!((main_loop(), fake().laid()), (1, vec![]));
    fake().plug(&BARS_OF_THE_FUNCTION);
    regions.want(first.clone());
    assert_eq!(main_loop(), 1);
    assert_eq!(fake().laid(), [over(first[0]), over(first[1])]);
    assert_eq!(fake().transactions, 1);

    // The same windows, wherever they lead: no work for the main loop.
    regions.want(first.clone());
    assert_eq!(main_loop(), 0);

    // Sets that come faster than the main loop turns: once, the last.
    regions.want(vec![]);
    regions.want(vec![pages(0, 1, 1)]);
    let last = vec![pages(0, 0, 2), pages(0, 3, 1), pages(2, 8, 2)];
    regions.want(last.clone());
    assert_eq!(main_loop(), 1);
    assert_eq!(
        fake().laid(),
        last.iter().map(|&range| over(range)).collect::<Vec<_>>()
    );

    // What reaches beyond its BAR traps; the rest does not.
    regions.want(vec![pages(0, 15, 1), pages(0, 15, 2), pages(1, 0, 1)]);
    main_loop();
    assert_eq!(fake().laid(), [over(pages(0, 15, 1))]);

    // Unplugged with a window over it, and another one plugged: the same windows are laid anew.
    regions.want(first.clone());
    main_loop();
    fake().unplug();
    fake().plug(&BARS_OF_THE_FUNCTION);
    regions.want(vec![]);
    regions.want(first.clone());
    main_loop();
    assert_eq!(fake().laid(), [over(first[0]), over(first[1])]);

    // Gone before the main loop has heard of it.
    regions.want(vec![pages(2, 0, 1)]);
    fake().unplug();
    main_loop();
    assert_eq!(fake().laid(), []);

    // A device that does not answer: what is gone goes, nothing is laid, and the next set tries again.
    fake().plug(&BARS_OF_THE_FUNCTION);
    regions.want(vec![pages(0, 0, 1), pages(0, 2, 1)]);
    main_loop();
    fake().silent = true;
    let wanted = vec![pages(0, 2, 1), pages(2, 0, 1)];
    regions.want(wanted.clone());
    main_loop();
    assert_eq!(fake().laid(), [over(pages(0, 2, 1))]);
    fake().silent = false;
    regions.want(wanted);
    assert_eq!(main_loop(), 1);
    assert_eq!(fake().laid(), [over(pages(0, 2, 1)), over(pages(2, 0, 1))]);
    fake().unplug();

    // Regions are used again: as many as there were at once, and no more.
    fake().plug(&BARS_OF_THE_FUNCTION);
    let before = fake().aliases();
    assert!(before <= 4, "{before}");
    for turn in 0..1000 {
        let place = turn % 7;
        regions.want(vec![
            pages(0, place, 1),
            pages(0, 8 + place, 1),
            pages(2, place, 1),
        ]);
        assert_eq!(main_loop(), 1);
        assert_eq!(fake().laid().len(), 3);
    }
    regions.want(vec![]);
    main_loop();
    assert_eq!(fake().laid(), []);
    assert_eq!(fake().aliases(), before);
}

#[test]
fn a_window_that_is_toggled_does_not_keep_the_vcpus_standing() {
    let _story = story();
    static ARENA: LazyLock<Arena> = LazyLock::new(|| Arena::reserve().unwrap());
    let device = c"/machine/peripheral/function".to_owned();
    let burst = Duration::from_millis(5);
    let regions = Regions::with_budget(QEMU, device, &ARENA, burst).unwrap();
    regions.serve_later().unwrap();
    fake().plug(&BARS_OF_THE_FUNCTION);
    (fake().stands, fake().stand) = (0, Duration::from_millis(1));

    let window = vec![pages(2, 0, 4)];
    let begun = Instant::now();
    let mut toggles = 0;
    while begun.elapsed() < Duration::from_millis(500) {
        regions.want(window.clone());
        main_loop();
        regions.want(vec![]);
        // What is gone does not wait; the clock may be about to ask for the same turn of the main loop.
        let asked = Instant::now();
        while !fake().laid().is_empty() {
            main_loop();
            assert!(asked.elapsed() < Duration::from_secs(5), "it stays");
        }
        toggles += 1;
        std::thread::sleep(Duration::from_micros(100));
    }
    let (stands, time) = (fake().stands, begun.elapsed());
    let most = burst + time / 10 + Duration::from_millis(1);
    assert!(fake().stand * stands <= most, "{stands} in {time:?}");
    assert!(stands >= 5 && toggles > 2 * stands, "{stands} of {toggles}");

    // The last is laid when its time has come, although nothing more is asked for.
    regions.want(window.clone());
    let begun = Instant::now();
    while fake().laid() != [over(window[0])] {
        main_loop();
        assert!(begun.elapsed() < Duration::from_secs(5), "it is never laid");
        std::thread::sleep(Duration::from_millis(1));
    }
    fake().stand = Duration::ZERO;
    regions.want(vec![]);
    while !fake().laid().is_empty() || regions.postponed.load(Ordering::Acquire) {
        main_loop();
    }
    std::thread::sleep(Duration::from_millis(20));
}

/// The sockets of a process that dies close one after the other: one that still takes connections is no
/// proof that the device lives. What traps in a QEMU whose device is dead hangs or kills that QEMU.
#[test]
fn windows_of_a_device_that_is_gone_stay_and_of_one_that_lives_go() {
    unsafe extern "C" fn no_context() -> *mut AioContext {
        ptr::null_mut()
    }
    // No main loop, so that the fake is left alone.
    let qemu = || Qemu {
        qemu_get_aio_context: no_context,
        ..QEMU
    };
    for goodbye in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let arguments = Arguments {
            socket: folder.path().join("windows.sock"),
            side: SIDE_RC,
            device: c"/machine/peripheral/function".to_owned(),
        };
        let (family, kind) = (AddressFamily::Unix, SockType::SeqPacket);
        let listener = socket(family, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
        let address = UnixAddr::new(&arguments.socket).unwrap();
        bind(listener.as_raw_fd(), &address).unwrap();
        listen(&listener, Backlog::new(8).unwrap()).unwrap();
        let arena: &Arena = Box::leak(Box::new(Arena::reserve().unwrap()));
        let regions = Regions::new(qemu(), arguments.device.clone(), arena).unwrap();
        let library = std::thread::spawn(move || crate::run(&arguments, "11.1", arena, regions));

        // SAFETY: a descriptor that has just been made for us.
        let device = unsafe { OwnedFd::from_raw_fd(accept(listener.as_raw_fd()).unwrap()) };
        assert_eq!(hear(&device), Hello::new(SIDE_RC).to_bytes());
        let map = Map {
            id: 1,
            size: PAGE,
            fd_offset: 0,
        };
        say(&device, &map.to_bytes(), &[&memory(1)]);
        say(&device, &set(1, &[window(0, 3, 1, 1, 0)]), &[]);
        assert_eq!(hear(&device), Ack { seq: 1 }.to_bytes());
        assert_eq!(regions.wanted(), [pages(0, 3, 1)]);
        if goodbye {
            say(&device, &GOODBYE, &[]);
        }
        drop(device);
        library.join().unwrap();
        let stays = if goodbye {
            vec![]
        } else {
            vec![pages(0, 3, 1)]
        };
        assert_eq!(regions.wanted(), stays, "goodbye: {goodbye}");
    }
}

#[test]
fn only_containers_of_bars_are_taken() {
    assert_eq!(bar_of(b"vfio-user:/d/rc.sock base BAR 0"), Some(0));
    assert_eq!(bar_of(b"vfio-user:/d/rc.sock base BAR 5"), Some(5));
    for name in [
        "vfio-user:/d/rc.sock BAR 0",
        "vfio-user:/d/rc.sock base BAR x",
        "vfio-user:/d/rc.sock base BAR 10",
        "base BAR 1",
        "",
    ] {
        assert_eq!(bar_of(name.as_bytes()), None, "{name}");
    }
}
