// SPDX-License-Identifier: Apache-2.0 OR MIT
//! *VFIO_USER_DEVICE_SET_IRQS*.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{sigaction, SaFlags, SigAction, SigHandler, SigSet, Signal};
use qemu_device::vfio_user::irq::{ERR_INDEX, INTX_INDEX, MSIX_INDEX, MSI_INDEX, REQ_INDEX};
use qemu_device::vfio_user::wire::{command, IrqSet};
use qemu_device::vfio_user::Errno;
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_SET_ACTION_MASK as MASK, VFIO_IRQ_SET_ACTION_TRIGGER as TRIGGER,
    VFIO_IRQ_SET_ACTION_UNMASK as UNMASK, VFIO_IRQ_SET_DATA_BOOL as BOOL,
    VFIO_IRQ_SET_DATA_EVENTFD as EVENTFD, VFIO_IRQ_SET_DATA_NONE as NONE,
};
use zerocopy::IntoBytes;

use crate::peer::{eventfd, signals, Peer, Server};

fn set(flags: u32, index: u32, start: u32, count: u32) -> IrqSet {
    IrqSet {
        argsz: 20,
        flags,
        index,
        start,
        count,
    }
}

/// Gives `count` vectors from `start` their eventfds.
pub fn assign(index: u32, start: u32, count: u32) -> IrqSet {
    set(TRIGGER | EVENTFD, index, start, count)
}

fn eventfds(count: usize) -> (Vec<EventFd>, Vec<RawFd>) {
    let eventfds: Vec<_> = (0..count).map(|_| eventfd()).collect();
    let fds = eventfds.iter().map(AsRawFd::as_raw_fd).collect();
    (eventfds, fds)
}

/// A session in which `count` vectors of `index` have eventfds.
fn enabled(index: u32, count: u32) -> (Peer, Server, Vec<EventFd>) {
    let (mut peer, server) = Peer::agreed();
    let (eventfds, fds) = eventfds(count as usize);
    peer.request_with(command::DEVICE_SET_IRQS, &assign(index, 0, count), &fds);
    (peer, server, eventfds)
}

fn all(eventfds: &[EventFd]) -> Vec<u64> {
    eventfds.iter().map(signals).collect()
}

#[test]
fn each_vector_has_its_own_eventfd() {
    let (_peer, server, eventfds) = enabled(MSI_INDEX, 3);
    server.interrupts.trigger(MSI_INDEX, 1);
    server.interrupts.trigger(MSI_INDEX, 1);
    server.interrupts.trigger(MSI_INDEX, 2);
    assert_eq!(all(&eventfds), [0, 2, 1]);
}

#[test]
fn thirty_two_in_one_message() {
    let (_peer, server, eventfds) = enabled(MSI_INDEX, 32);
    (0..32).for_each(|vector| server.interrupts.trigger(MSI_INDEX, vector));
    assert_eq!(all(&eventfds), [1; 32]);
}

#[test]
fn qemu_sends_chunks() {
    let (mut peer, server) = Peer::agreed();
    let (eventfds, fds) = eventfds(32);
    for start in [0, 16] {
        let chunk = &fds[start..start + 16];
        peer.request_with(
            command::DEVICE_SET_IRQS,
            &assign(MSI_INDEX, start as u32, 16),
            chunk,
        );
    }
    (0..32).for_each(|vector| server.interrupts.trigger(MSI_INDEX, vector));
    assert_eq!(all(&eventfds), [1; 32]);
}

#[test]
fn what_comes_before_the_eventfd_is_kept() {
    let (mut peer, server) = Peer::agreed();
    server.interrupts.trigger(MSI_INDEX, 5);
    server.interrupts.trigger(MSI_INDEX, 5);
    assert_eq!(server.interrupts.pending(), 1);
    let (eventfds, fds) = eventfds(8);
    peer.request_with(command::DEVICE_SET_IRQS, &assign(MSI_INDEX, 0, 8), &fds);
    assert_eq!(
        all(&eventfds),
        [0, 0, 0, 0, 0, 1, 0, 0],
        "once, and not what was before"
    );
    assert_eq!(server.interrupts.pending(), 0);
}

#[test]
fn a_message_without_descriptors_takes_eventfds_away() {
    let (mut peer, server, eventfds) = enabled(MSIX_INDEX, 3);
    peer.request(command::DEVICE_SET_IRQS, &assign(MSIX_INDEX, 1, 1));
    (0..3).for_each(|vector| server.interrupts.trigger(MSIX_INDEX, vector));
    assert_eq!(all(&eventfds), [1, 0, 1]);
    assert_eq!(
        server.interrupts.pending(),
        1,
        "what has no eventfd waits for one"
    );
}

#[test]
fn a_count_of_zero_turns_the_type_off() {
    let (mut peer, server, eventfds) = enabled(MSI_INDEX, 2);
    server.interrupts.trigger(MSI_INDEX, 7);
    peer.request(
        command::DEVICE_SET_IRQS,
        &set(TRIGGER | NONE, MSI_INDEX, 0, 0),
    );
    assert_eq!(server.interrupts.pending(), 0);
    server.interrupts.trigger(MSI_INDEX, 0);
    assert_eq!(all(&eventfds), [0, 0]);
    // Of a type that the device has not, there is nothing to turn off either.
    peer.request(
        command::DEVICE_SET_IRQS,
        &set(TRIGGER | NONE, REQ_INDEX, 0, 0),
    );
}

#[test]
fn the_client_may_trigger() {
    let (mut peer, _server, eventfds) = enabled(MSI_INDEX, 4);
    peer.request(
        command::DEVICE_SET_IRQS,
        &set(TRIGGER | NONE, MSI_INDEX, 1, 2),
    );
    assert_eq!(all(&eventfds), [0, 1, 1, 0]);
    let booleans = IrqSet {
        argsz: 24,
        ..set(TRIGGER | BOOL, MSI_INDEX, 0, 4)
    };
    let message = [booleans.as_bytes(), &[1, 0, 0, 1]].concat();
    peer.request(command::DEVICE_SET_IRQS, &message[..]);
    assert_eq!(all(&eventfds), [1, 0, 0, 1]);
}

#[test]
fn masked_vectors_wait() {
    let (mut peer, server, eventfds) = enabled(MSI_INDEX, 3);
    let booleans = |flags| [set(flags, MSI_INDEX, 0, 3).as_bytes(), &[1, 1, 0]].concat();
    peer.request(command::DEVICE_SET_IRQS, &booleans(MASK | BOOL)[..]);
    (0..3).for_each(|vector| server.interrupts.trigger(MSI_INDEX, vector));
    assert_eq!(all(&eventfds), [0, 0, 1]);
    peer.request(
        command::DEVICE_SET_IRQS,
        &set(UNMASK | NONE, MSI_INDEX, 1, 1),
    );
    assert_eq!(all(&eventfds), [0, 1, 0]);
    peer.request(command::DEVICE_SET_IRQS, &booleans(UNMASK | BOOL)[..]);
    assert_eq!(all(&eventfds), [1, 0, 0]);
}

#[test]
fn intx_masks_itself_and_fires_again_while_asserted() {
    let (mut peer, server, eventfds) = enabled(INTX_INDEX, 1);
    let unmask = set(UNMASK | NONE, INTX_INDEX, 0, 1);
    server.interrupts.set_intx(true);
    server.interrupts.set_intx(true);
    assert_eq!(all(&eventfds), [1], "masked from then on");
    peer.request(command::DEVICE_SET_IRQS, &unmask);
    assert_eq!(all(&eventfds), [1], "still asserted");
    server.interrupts.set_intx(false);
    peer.request(command::DEVICE_SET_IRQS, &unmask);
    assert_eq!(all(&eventfds), [0]);
    server.interrupts.set_intx(true);
    assert_eq!(all(&eventfds), [1]);
}

#[test]
fn kvms_shortcut_is_refused_and_its_removal_is_not() {
    let (mut peer, _server) = Peer::agreed();
    let (_eventfds, fds) = eventfds(1);
    for action in [MASK, UNMASK] {
        let shortcut = set(action | EVENTFD, INTX_INDEX, 0, 1);
        assert_eq!(
            peer.refused(command::DEVICE_SET_IRQS, &shortcut, &fds),
            Errno::ENOTSUP
        );
        peer.request(command::DEVICE_SET_IRQS, &shortcut);
    }
}

#[test]
fn errors_are_only_ever_triggered() {
    let (mut peer, server, eventfds) = enabled(ERR_INDEX, 1);
    for action in [MASK, UNMASK] {
        let nonsense = set(action | NONE, ERR_INDEX, 0, 1);
        assert_eq!(
            peer.refused(command::DEVICE_SET_IRQS, &nonsense, &[]),
            Errno::EINVAL
        );
    }
    server.interrupts.trigger(ERR_INDEX, 0);
    assert_eq!(all(&eventfds), [1]);
}

#[test]
fn nonsense_is_refused() {
    let (mut peer, server) = Peer::agreed();
    let (_eventfds, fds) = eventfds(2);
    let none = TRIGGER | NONE;
    let msi = |flags, start, count| set(flags, MSI_INDEX, start, count);
    for (nonsense, count) in [
        (
            IrqSet {
                argsz: 19,
                ..msi(none, 0, 0)
            },
            0,
        ),
        // Not exactly one action and one kind of data, or unknown bits.
        (msi(0, 0, 0), 0),
        (msi(TRIGGER, 0, 1), 0),
        (msi(NONE, 0, 1), 0),
        (msi(MASK | UNMASK | NONE, 0, 1), 0),
        (msi(none | BOOL, 0, 1), 0),
        (msi(none | 0x40, 0, 1), 0),
        // Vectors and types that are not there.
        (msi(none, 31, 2), 0),
        (msi(none, 32, 1), 0),
        (msi(none, u32::MAX, 1), 0),
        (msi(none, 1, u32::MAX), 0),
        (set(none, REQ_INDEX, 0, 1), 0),
        (set(none, 5, 0, 0), 0),
        (set(none, u32::MAX, 0, 1), 0),
        // Zero vectors other than to turn all off.
        (msi(none, 1, 0), 0),
        (msi(MASK | NONE, 0, 0), 0),
        (msi(TRIGGER | BOOL, 0, 0), 0),
        (msi(TRIGGER | EVENTFD, 0, 0), 0),
        // Booleans that are not there.
        (msi(TRIGGER | BOOL, 0, 2), 0),
        // Descriptors where there should be none, or not as many.
        (msi(none, 0, 1), 1),
        (msi(none, 0, 0), 1),
        (msi(TRIGGER | BOOL, 0, 1), 1),
        (msi(TRIGGER | EVENTFD, 0, 2), 1),
        (msi(TRIGGER | EVENTFD, 0, 1), 2),
    ] {
        let errno = peer.refused(command::DEVICE_SET_IRQS, &nonsense, &fds[..count]);
        assert_eq!(errno, Errno::EINVAL, "{nonsense:?}");
    }
    let booleans = [msi(TRIGGER | BOOL, 0, 2).as_bytes(), &[1, 1, 1]].concat();
    assert_eq!(
        peer.refused(command::DEVICE_SET_IRQS, &booleans[..], &[]),
        Errno::EINVAL
    );
    assert_eq!(server.interrupts.counters().triggered, 0);
}

#[test]
fn only_eventfds_will_do() {
    let (mut peer, server) = Peer::agreed();
    let (eventfds, fds) = eventfds(1);
    let (_reader, pipe) = nix::unistd::pipe().unwrap();
    let fds = [fds[0], pipe.as_raw_fd()];
    let errno = peer.refused(command::DEVICE_SET_IRQS, &assign(MSI_INDEX, 0, 2), &fds);
    assert_eq!(errno, Errno::EINVAL);
    server.interrupts.trigger(MSI_INDEX, 0);
    assert_eq!(all(&eventfds), [0], "not even the good one was taken");
}

/// The eventfd that [`fill`] fills, and how often it has.
static FILLED: (AtomicI32, AtomicU64) = (AtomicI32::new(-1), AtomicU64::new(0));

/// What a client can do at any moment, done between any two instructions of whoever signals: fills an eventfd, which
/// blocks afterwards. A handler for signals.
extern "C" fn fill(_: libc::c_int) {
    let fd = FILLED.0.load(Ordering::Relaxed);
    // SAFETY: system calls that may be made in a handler, with pointers to nothing but `part`.
    unsafe {
        libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK);
        for bit in (0..u64::BITS).rev() {
            let part = 1u64 << bit;
            libc::write(fd, (&raw const part).cast(), size_of::<u64>());
        }
        libc::fcntl(fd, libc::F_SETFL, 0);
    }
    FILLED.1.fetch_add(1, Ordering::Release);
}

#[test]
fn a_client_that_fills_its_eventfd_at_the_worst_moment_does_not_stop_the_device() {
    const STUCK: Duration = Duration::from_secs(30);
    let eventfd = EventFd::from_flags(EfdFlags::EFD_CLOEXEC).unwrap();
    FILLED.0.store(eventfd.as_raw_fd(), Ordering::Relaxed);
    let action = SigAction::new(
        SigHandler::Handler(fill),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    // SAFETY: `fill` makes system calls and changes atomics.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
    let (mut peer, server) = Peer::agreed();
    let fds = [eventfd.as_raw_fd()];
    peer.request_with(command::DEVICE_SET_IRQS, &assign(MSI_INDEX, 0, 1), &fds);

    let (over, raised) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let raising = {
        let (over, raised, interrupts) = (over.clone(), raised.clone(), server.interrupts.clone());
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                interrupts.trigger(MSI_INDEX, 0);
                raised.fetch_add(1, Ordering::Release);
            }
        })
    };
    let wait_for = |counter: &AtomicU64, count: u64| {
        let begin = Instant::now();
        while counter.load(Ordering::Acquire) < count {
            assert!(begin.elapsed() < STUCK, "the device waits for its client");
            thread::yield_now();
        }
    };
    for round in 1..=300 {
        let mut filled = [PollFd::new(eventfd.as_fd(), PollFlags::POLLIN)];
        if poll(&mut filled, PollTimeout::ZERO) == Ok(1) {
            eventfd.read().unwrap();
        }
        wait_for(&raised, raised.load(Ordering::Acquire) + 2);
        // SAFETY: the thread has not been joined.
        unsafe { libc::pthread_kill(raising.as_pthread_t(), libc::SIGUSR1) };
        wait_for(&FILLED.1, round);
        wait_for(&raised, raised.load(Ordering::Acquire) + 2);
    }
    over.store(true, Ordering::Relaxed);
    raising.join().unwrap();
}
