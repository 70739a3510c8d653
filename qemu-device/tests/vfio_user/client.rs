// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A client that others wrote drives the server: `vfio_user::Client`.

use std::os::fd::AsRawFd;

use crate::peer::{self, eventfd, independent_client, sealed_memfd, signals};
use qemu_device::vfio_user::irq::MSI_INDEX;
use qemu_device::vfio_user::CONFIG_REGION;
use vfio_bindings::bindings::vfio::{VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_DATA_EVENTFD};

#[test]
fn learns_regions_and_interrupts() {
    let (mut client, server) = independent_client();
    assert_eq!(client.region(peer::BAR).unwrap().size, peer::BAR_SIZE);
    assert_eq!(
        client.region(CONFIG_REGION).unwrap().size,
        peer::CONFIG_SIZE
    );
    assert_eq!(
        client.region(1).unwrap().size,
        0,
        "a region that is not there"
    );
    assert_eq!(client.get_irq_info(MSI_INDEX).unwrap().count, 32);
    client.shutdown().unwrap();
    server.end().unwrap();
}

#[test]
fn reads_what_it_wrote() {
    let (mut client, server) = independent_client();
    for (offset, size) in [(0, 4), (0x104, 8), (0x3ff, 1), (0x2000, 0x10000)] {
        let written: Vec<u8> = (0..size).map(|n| n as u8 ^ 0x5a).collect();
        client.region_write(peer::BAR, offset, &written).unwrap();
        let mut read = vec![0; size];
        client.region_read(peer::BAR, offset, &mut read).unwrap();
        assert_eq!(read, written);
    }
    client.reset().unwrap();
    assert_eq!(server.toy.seen().resets, 1);
}

#[test]
fn shares_ram_and_takes_it_back() {
    let (mut client, server) = independent_client();
    let ram = sealed_memfd(0x3000);
    client
        .dma_map(0x1000, 0x4000_0000, 0x2000, ram.as_raw_fd())
        .unwrap();
    server.memory.write(0x4000_0ffe, &[1, 2, 3, 4]).unwrap();
    let mut file = [0; 4];
    nix::sys::uio::pread(&ram, &mut file, 0x1ffe).unwrap();
    assert_eq!(file, [1, 2, 3, 4]);
    client.dma_unmap(0x4000_0000, 0x2000).unwrap();
    server.memory.read(0x4000_0000, &mut file).unwrap_err();
}

#[test]
fn gets_thirty_two_interrupts_with_one_message() {
    let (mut client, server) = independent_client();
    let eventfds: Vec<_> = (0..32).map(|_| eventfd()).collect();
    let fds: Vec<_> = eventfds.iter().map(AsRawFd::as_raw_fd).collect();
    let flags = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD;
    client.set_irqs(MSI_INDEX, flags, 0, 32, &fds).unwrap();
    for (vector, eventfd) in eventfds.iter().enumerate() {
        server.interrupts.trigger(MSI_INDEX, vector as u32);
        assert_eq!(signals(eventfd), 1);
    }
    assert!(
        eventfds.iter().all(|eventfd| signals(eventfd) == 0),
        "each vector has its own"
    );
}
