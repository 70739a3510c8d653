// SPDX-License-Identifier: Apache-2.0 OR MIT

use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::SealFlag;
use nix::sys::memfd::{memfd_create, MFdFlags};

use super::*;

fn ram(size: u64) -> OwnedFd {
    let file = memfd_create(c"ram", MFdFlags::MFD_ALLOW_SEALING).unwrap();
    nix::unistd::ftruncate(&file, size as i64).unwrap();
    nix::fcntl::fcntl(
        &file,
        nix::fcntl::FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK),
    )
    .unwrap();
    file
}

#[test]
fn huge_pages_are_refused_as_they_may_run_out() {
    let flags = MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_HUGETLB | MFdFlags::MFD_HUGE_2MB;
    let Ok(file) = memfd_create(c"huge", flags) else {
        return; // The host's kernel has none.
    };
    nix::unistd::ftruncate(&file, 2 << 20).unwrap();
    nix::fcntl::fcntl(
        &file,
        nix::fcntl::FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK),
    )
    .unwrap();
    let error = DmaTable::new().map(&request(0, 2 << 20), Some(file));
    assert!(matches!(
        error,
        Err(MapError::File(MapFileError::HugePages))
    ));
}

fn request(address: u64, size: u64) -> wire::DmaMap {
    wire::DmaMap {
        argsz: 32,
        flags: 3,
        offset: 0,
        address,
        size,
    }
}

pub(super) fn table(maps: &[(u64, u64)]) -> DmaTable {
    let table = DmaTable::new();
    for &(address, size) in maps {
        table.map(&request(address, size), Some(ram(size))).unwrap();
    }
    table
}

#[test]
fn every_offset_and_length_copies_just_that() {
    let table = table(&[(0x1000, 0x1000)]);
    let zeroes = [0; 64];
    for offset in 0..16u64 {
        for len in 0..40usize {
            let data: Vec<u8> = (1..=len as u8).collect();
            table.write(0x1000, &zeroes).unwrap();
            table.write(0x1000 + offset, &data).unwrap();
            let mut around = [0xff; 64];
            table.read(0x1000, &mut around).unwrap();
            let mut expected = [0; 64];
            expected[offset as usize..offset as usize + len].copy_from_slice(&data);
            assert_eq!(around, expected, "{len} bytes at {offset}");
            let mut back = vec![0; len];
            table.read(0x1000 + offset, &mut back).unwrap();
            assert_eq!(back, data);
        }
    }
}

#[test]
fn copies_span_maps_that_adjoin() {
    let table = table(&[(0x3000, 0x1000), (0x1000, 0x2000), (0x5000, 0x1000)]);
    let data: Vec<u8> = (0..0x3000u32).map(|n| (n / 7) as u8).collect();
    table.write(0x1000, &data).unwrap();
    let mut back = vec![0; data.len()];
    table.read(0x1000, &mut back).unwrap();
    assert_eq!(back, data);
    let error = table.read(0x3ff8, &mut [0; 16]).unwrap_err();
    assert_eq!(
        error,
        MemoryError::Unmapped { address: 0x4000 },
        "the gap stops it"
    );
}

#[test]
fn edges_of_the_address_space() {
    let table = DmaTable::new();
    let last = u64::MAX - 0x1fff;
    table
        .map(&request(last, 0x1000), Some(ram(0x1000)))
        .unwrap();
    table.write(last + 0xff8, &[1; 8]).unwrap();
    assert_eq!(
        table.write(last + 0xff8, &[1; 9]),
        Err(MemoryError::Unmapped {
            address: last + 0x1000
        })
    );
    assert!(table.read(u64::MAX, &mut [0; 2]).is_err());
    assert!(table.read(0, &mut [0]).is_err());
    table.read(0, &mut []).unwrap();
}

#[test]
fn an_aligned_access_is_never_torn() {
    let table = table(&[(0, 0x1000)]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..200_000u64 {
                let byte = n as u8;
                table.write(8, &[byte; 8]).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            let mut word = [0; 8];
            table.read(8, &mut word).unwrap();
            assert_eq!(word, [word[0]; 8]);
        }
    });
}

#[test]
fn maps_come_and_go_under_copies() {
    let table = table(&[(0x10_0000, 0x10_0000)]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut data = vec![0; 0x4000];
                while !done.load(Ordering::Acquire) {
                    table.read(0x18_0000, &mut data).unwrap();
                    assert!(data.iter().all(|byte| *byte == 0));
                    // Either there or not; never a fault.
                    let _ = table.write(0x30_0000, &data);
                    let _ = table.read(0x30_2000, &mut data[..0x100]);
                    data.fill(0);
                }
            });
        }
        for _ in 0..500 {
            table
                .map(&request(0x30_0000, 0x4000), Some(ram(0x4000)))
                .unwrap();
            table.unmap(0x30_0000, 0x4000).unwrap();
        }
        done.store(true, Ordering::Release);
    });
}

#[test]
fn inspect_lists_maps_in_order() {
    let table = table(&[(0x3000, 0x1000), (0x1000, 0x1000)]);
    table
        .map(
            &wire::DmaMap {
                flags: 1,
                ..request(0x2000, 0x1000)
            },
            None,
        )
        .unwrap();
    let expected = serde_json::json!({ "maps": [
        { "address": "0x1000", "size": "0x1000", "readable": true, "writable": true, "shared": true },
        { "address": "0x2000", "size": "0x1000", "readable": true, "writable": false, "shared": false },
        { "address": "0x3000", "size": "0x1000", "readable": true, "writable": true, "shared": true },
    ]});
    assert_eq!(table.inspect(), expected);
}
