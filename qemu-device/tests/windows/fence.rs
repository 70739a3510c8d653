// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A QEMU that stands still with windows in it, and wakes up when they are closed.

use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use abi::windows::{kind, kind_of, Ack, Fence, Hello, PAGE_SIZE, REACH, SIDE_EP};
use abi::{spider, windows};
use nix::sys::mman::{mmap, munmap, MapFlags, ProtFlags};

use crate::guest::memory;
use crate::library::Line;
use crate::pair::{Pair, RAM_SIZE};

#[repr(C)]
struct Api([u64; 3]);
#[repr(C)]
struct Register([u64; 4]);
#[repr(C)]
struct Range([u64; 2]);
nix::ioctl_readwrite!(uffdio_api, 0xaa, 0x3f, Api);
nix::ioctl_readwrite!(uffdio_register, 0xaa, 0x00, Register);
nix::ioctl_read!(uffdio_wake, 0xaa, 0x02, Range);

/// A userfaultfd for faults of user space (1), with write protection of shared memory (`WP_HUGETLBFS_SHMEM`).
fn userfaultfd() -> OwnedFd {
    // SAFETY: userfaultfd(2) takes flags only.
    let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | 1) };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: just made for us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    // SAFETY: the structure is the one that the request takes.
    unsafe { uffdio_api(fd.as_raw_fd(), &mut Api([0xaa, 1 | 1 << 12, 0])) }.unwrap();
    fd
}

#[test]
fn a_library_that_is_late_writes_to_nothing_that_is_closed() {
    let (mut pair, _rc) = Pair::running();
    // What lies over the EP's window in its QEMU: the RC's RAM, in two pieces, one of which is void already.
    const PIECE: u64 = 4 * PAGE_SIZE;
    let (len, flags) = (
        NonZeroUsize::new(RAM_SIZE as usize).unwrap(),
        MapFlags::MAP_SHARED,
    );
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let mapped = unsafe { mmap(None, len, access, flags, &pair.rc_ram, 0) }.unwrap();
    let address = mapped.as_ptr() as u64;
    let fence = userfaultfd();
    let mut register = Register([address + PIECE, RAM_SIZE - PIECE, 2, 0]);
    // SAFETY: the structure is the one that the request takes.
    unsafe { uffdio_register(fence.as_raw_fd(), &mut register) }.unwrap();

    let line = Line::connect(&pair.path("windows.sock"));
    line.send(&Hello::new(SIDE_EP).to_bytes(), &[]).unwrap();
    let base = address - u64::from(spider::WINDOW_BAR) * REACH;
    let message = Fence { base }.to_bytes();
    line.send(&message, &[fence.as_raw_fd()]).unwrap();
    while kind_of(&line.receive().0) != Some(kind::WINDOWS) {}
    line.send(&Ack { seq: 1 }.to_bytes(), &[]).unwrap();

    // It hears of no more. The device does not wait for it for ever.
    pair.close(0);
    pair.ep.fence();
    assert_eq!(pair.inspect("windows.ep.attached"), false);

    let at = address + 2 * PIECE;
    let vcpu = std::thread::spawn(move || {
        // SAFETY: a page of the mapping above, which stays until this has ended.
        unsafe { (at as *mut u8).write_volatile(0x77) }
    });
    std::thread::sleep(Duration::from_millis(200));
    assert!(!vcpu.is_finished(), "it has written to closed memory");
    let mut byte = [1];
    nix::sys::uio::pread(&pair.rc_ram, &mut byte, 2 * PIECE as i64).unwrap();
    assert_eq!(byte, [0]);

    // It runs again, voids what it has, and whoever wanted to write writes to that.
    let (void, flags) = (memory(RAM_SIZE), flags | MapFlags::MAP_FIXED);
    let place = NonZeroUsize::new(address as usize);
    // SAFETY: replaces the mapping above.
    unsafe { mmap(place, len, access, flags, &void, 0) }.unwrap();
    // SAFETY: the structure is the one that the request takes.
    unsafe { uffdio_wake(fence.as_raw_fd(), &mut Range([address, RAM_SIZE])) }.unwrap();
    vcpu.join().unwrap();
    nix::sys::uio::pread(&pair.rc_ram, &mut byte, 2 * PIECE as i64).unwrap();
    assert_eq!(byte, [0]);
    // SAFETY: nobody uses it any more.
    unsafe { munmap(mapped, RAM_SIZE as usize) }.unwrap();
}

#[test]
fn what_is_no_fence_ends_the_connection() {
    let (pair, _rc) = Pair::running();
    let file = memory(PAGE_SIZE);
    let fence = windows::Fence { base: 0 }.to_bytes();
    for fds in [&[file.as_fd().as_raw_fd()][..], &[]] {
        let line = Line::connect(&pair.path("windows.sock"));
        line.send(&Hello::new(SIDE_EP).to_bytes(), &[]).unwrap();
        line.send(&fence, fds).unwrap();
        while !line.ends() {}
    }
}
