// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Messages with descriptors, straight into the session. The input is a sequence of
//! `descriptors, command, flags, length, payload`, a byte each but the payload.

#![no_main]

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use nix::fcntl::{fcntl, FcntlArg, SealFlag};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::memfd::{memfd_create, MFdFlags};
use qemu_device::vfio_user::descriptor::Descriptor;
use qemu_device::vfio_user::irq::{Interrupts, INTX_INDEX, MSI_INDEX};
use qemu_device::vfio_user::memory::DmaTable;
use qemu_device::vfio_user::session::Session;
use qemu_device::vfio_user::wire::{flags, Header, HEADER_SIZE};
use qemu_device_fuzz::Toy;
use zerocopy::FromBytes;

/// Kinds in the upper nibble, how many in the lower.
fn descriptors(byte: u8) -> Vec<Descriptor> {
    let one = || -> OwnedFd {
        match byte >> 4 {
            0..8 => EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap().into(),
            8 => UnixStream::pair().unwrap().0.into(),
            kind => {
                let file = memfd_create(c"ram", MFdFlags::MFD_ALLOW_SEALING).unwrap();
                nix::unistd::ftruncate(&file, 0x4000).unwrap();
                if kind < 15 {
                    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)).unwrap();
                }
                file
            }
        }
    };
    (0..byte & 0xf).map(|_| Descriptor::from(one())).collect()
}

fuzz_target!(|data: &[u8]| {
    let memory = Arc::new(DmaTable::new());
    let interrupts = Arc::new(Interrupts::new());
    let mut session = Session::new(memory.clone(), interrupts.clone());
    let mut toy = Toy::default();
    let mut input = data;
    while let [fds, command, attributes, length, rest @ ..] = input {
        let (payload, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        input = rest;
        let header = Header {
            message_id: 7,
            command: u16::from(*command),
            message_size: (HEADER_SIZE + payload.len()) as u32,
            flags: u32::from(*attributes),
            error: 0,
        };
        match session.receive(&header, payload, descriptors(*fds), &mut toy) {
            Ok(Some(reply)) => {
                assert!(header.expects_reply());
                let (answer, _) = Header::read_from_prefix(reply).unwrap();
                assert_eq!((answer.message_id, answer.command), (7, header.command));
                assert_eq!(answer.message_size as usize, reply.len());
                match answer.flags {
                    flags::TYPE_REPLY => assert_eq!(answer.error, 0),
                    other => {
                        assert_eq!(other, flags::TYPE_REPLY | flags::ERROR);
                        assert!(answer.error != 0 && reply.len() == HEADER_SIZE);
                    }
                }
            }
            Ok(None) => assert!(!header.expects_reply()),
            Err(error) => {
                let _ = error.to_string();
                return;
            }
        }
        // What the other threads of the device do meanwhile.
        interrupts.trigger(MSI_INDEX, u32::from(*length));
        interrupts.set_intx(attributes & 1 != 0);
        interrupts.trigger(INTX_INDEX, 0);
        let mut word = [0; 9];
        let _ = memory.read(u64::from(*command) << 10, &mut word);
        let _ = memory.write(u64::from(*length) << 8, &word);
    }
    let _ = (memory.inspect(), interrupts.inspect());
});
