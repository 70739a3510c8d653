// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a register access costs, against the bare cost of talking to another process.
//!
//! `cargo bench -p qemu-device --bench vfio_user` prints, all from one run:
//!
//! - *bare*: request and reply of a register read's sizes between two processes on a Unix socketpair,
//!   blocking, one system call for each;
//! - *register read*: a read of 4 bytes by `vfio_user::Client` from the server in another process, and the
//!   same without that client, which takes a reply in with two system calls;
//! - *posted write*: one of many writes of 4 bytes without reply, from the first to the reply of a read
//!   after the last, such as QEMU posts them: one write(2) each.
//!
//! Times are medians. With `-- --json` they come as one JSON object.

mod figures;
mod server;

use std::env;
use std::os::unix::net::UnixStream;

use figures::{Figures, Subjects};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    // The other process is this program again, its socket on standard input.
    if has(server::BARE) {
        return server::bare();
    }
    if has(server::VFIO_USER) {
        return server::vfio_user();
    }
    let figures = Figures::measure(Subjects {
        bare: server::spawn_bare(),
        client: server::spawn_vfio_user(|path| vfio_user::Client::new(path).expect("a session")),
        plain: server::spawn_vfio_user(|path| UnixStream::connect(path).expect("a connection")),
        posting: server::spawn_vfio_user(|path| UnixStream::connect(path).expect("a connection")),
    });
    if has("--json") {
        println!("{}", figures.json());
    } else {
        print!("{figures}");
    }
}
