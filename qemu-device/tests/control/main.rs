// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The control socket of the process itself, and those who use it badly.

mod device;

use std::io::Write;
use std::net::Shutdown;
use std::os::fd::AsRawFd;

use device::{line, send_with, wait_until, Device};

const EVENTS: &str = r#"{"op":"events"}"#;
const INSPECT: &str = r#"{"op":"inspect"}"#;

#[test]
fn a_client_that_has_closed_is_gone() {
    let device = Device::start();
    let before = device.costs();
    for _ in 0..2000 {
        // Of events, or that there are too many clients.
        line(&device.ask(EVENTS));
    }
    wait_until("threads and descriptors stay", || device.costs() <= before);
    assert_eq!(line(&device.ask(EVENTS))["event"], "link");
}

#[test]
fn a_client_that_sends_its_own_end_is_gone_as_well() {
    let device = Device::start();
    let before = device.costs();
    for request in [EVENTS, INSPECT] {
        for begun in [format!("{request}\n"), String::new()] {
            let mut client = device.connect("control.sock");
            client.write_all(begun.as_bytes()).unwrap();
            if !begun.is_empty() {
                line(&client);
            }
            send_with(&client, b"{", &[client.as_raw_fd()]);
        }
    }
    // One whose answers fill the socket: the device cannot read on.
    let client = device.connect("control.sock");
    let many = format!("{INSPECT}\n").repeat(500);
    (&client).write_all(many.as_bytes()).unwrap();
    send_with(&client, b"{", &[client.as_raw_fd()]);
    drop(client);
    wait_until("threads and descriptors stay", || device.costs() <= before);
}

#[test]
fn clients_are_bounded_and_the_guests_sockets_have_room() {
    let device = Device::start();
    let clients: Vec<_> = (0..200).map(|_| device.ask(INSPECT)).collect();
    let answers: Vec<_> = clients.iter().map(line).collect();
    let served = answers.iter().filter(|answer| answer["ok"] == true).count();
    // An earlier one may have been there still.
    assert!((60..=64).contains(&served), "{served}");
    let refused = answers.iter().find(|answer| answer["ok"] == false).unwrap();
    assert_eq!(
        refused["error"],
        "64 clients are connected already; close one and try again"
    );
    let [threads, descriptors] = device.costs();
    assert!(
        threads < 128 && descriptors < 128,
        "{threads}, {descriptors}"
    );
    let qemu = device.connect("ep.sock");
    drop(clients);
    wait_until("there is room again", || {
        line(&device.ask(INSPECT))["value"]["ep"]["attached"] == true
    });
    drop(qemu);
}

#[test]
fn a_client_that_has_said_all_still_hears_of_events() {
    let device = Device::start();
    let client = device.ask(EVENTS);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(line(&client)["event"], "link");
    let _qemu = device.connect("ep.sock");
    assert_eq!(line(&client)["event"], "ep-attached");
}
