// SPDX-License-Identifier: Apache-2.0 OR MIT

use std::os::fd::AsFd;

use nix::unistd::{pipe, read, write};

use super::*;

/// An eventfd for the device, and its twin to look at.
fn eventfd(flags: libc::c_int) -> (OwnedFd, OwnedFd) {
    use std::os::fd::FromRawFd;
    // SAFETY: eventfd(2) takes no pointers; what it returns is ours.
    let fd = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, flags)) };
    (fd.try_clone().unwrap(), fd)
}

fn count(fd: &OwnedFd) -> u64 {
    let mut count = [0; 8];
    read(fd.as_fd(), &mut count).map_or(0, |_| u64::from_ne_bytes(count))
}

#[test]
fn a_vector_that_cannot_exist_is_dropped_and_counted() {
    let interrupts = Interrupts::new();
    interrupts.trigger(MSIX_INDEX, MAX_VECTORS);
    interrupts.trigger(MSIX_INDEX, u32::MAX);
    interrupts.trigger(IRQ_INDICES, 0);
    interrupts.trigger(u32::MAX, 0);
    interrupts.trigger(MSIX_INDEX, MAX_VECTORS - 1);
    let counters = Counters {
        triggered: 5,
        signalled: 0,
        dropped: 4,
    };
    assert_eq!((interrupts.counters(), interrupts.pending()), (counters, 1));
}

#[test]
fn an_eventfd_that_is_full_does_not_stop_the_device() {
    for flags in [0, libc::EFD_NONBLOCK] {
        let interrupts = Interrupts::new();
        let (ours, theirs) = eventfd(flags);
        write(&theirs, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        interrupts.assign(MSI_INDEX, 0, vec![ours]).unwrap();
        interrupts.trigger(MSI_INDEX, 0);
        // As full as the kernel itself makes one.
        assert_eq!(count(&theirs), u64::MAX);
        interrupts.trigger(MSI_INDEX, 0);
        assert_eq!(count(&theirs), 1);
    }
}

#[test]
fn a_client_that_makes_a_full_eventfd_block_does_not_stop_the_device() {
    let (ours, theirs) = eventfd(libc::EFD_NONBLOCK);
    let interrupts = Interrupts::new();
    interrupts.assign(MSI_INDEX, 0, vec![ours]).unwrap();
    nix::fcntl::fcntl(
        &theirs,
        nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty()),
    )
    .unwrap();
    write(&theirs, &(u64::MAX - 1).to_ne_bytes()).unwrap();
    let (done, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        interrupts.trigger(MSI_INDEX, 0);
        done.send(())
    });
    wait.recv_timeout(std::time::Duration::from_secs(10))
        .expect("it waits for the client");
}

#[test]
fn what_is_no_eventfd_is_refused() {
    let interrupts = Interrupts::new();
    let (_reader, writer) = pipe().unwrap();
    interrupts.assign(MSI_INDEX, 0, vec![writer]).unwrap_err();
}

#[test]
fn intx_asserted_before_its_eventfd_fires_with_it() {
    let interrupts = Interrupts::new();
    interrupts.set_intx(true);
    interrupts.disable(INTX_INDEX);
    let (ours, theirs) = eventfd(libc::EFD_NONBLOCK);
    interrupts.assign(INTX_INDEX, 0, vec![ours]).unwrap();
    assert_eq!(count(&theirs), 1, "its level outlives being turned off");
}

#[test]
fn inspect_counts() {
    let interrupts = Interrupts::new();
    let (ours, _theirs) = eventfd(libc::EFD_NONBLOCK);
    interrupts.assign(MSI_INDEX, 0, vec![ours]).unwrap();
    interrupts.trigger(MSI_INDEX, 0);
    interrupts.trigger(MSI_INDEX, 3);
    let tree = interrupts.inspect();
    assert_eq!(
        tree["msi"],
        json!({ "eventfds": 1, "pending": 1, "masked": 0 })
    );
    assert_eq!(
        (&tree["triggered"], &tree["signalled"]),
        (&json!(2), &json!(1))
    );
}
