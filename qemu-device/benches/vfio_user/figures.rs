// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The measurements, taken in turns so that whatever else the machine does meets all of them.

use std::fmt;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use qemu_device::vfio_user::wire::{command, flags, Header, RegionAccess, HEADER_SIZE};
use zerocopy::{FromBytes, IntoBytes};

use crate::server::Remote;

/// A register read on the wire, in bytes: header and access, and the same with 4 bytes of data.
pub const REQUEST_SIZE: usize = HEADER_SIZE + size_of::<RegionAccess>();
pub const REPLY_SIZE: usize = REQUEST_SIZE + 4;

/// How often all is measured in turn.
const ROUNDS: usize = 20;
/// Round trips per round, of each kind.
const ROUND_TRIPS: usize = 500;
/// Posted writes per round, between two drains.
const POSTED: u32 = 2000;

/// Whom to talk to.
pub struct Subjects {
    pub bare: Remote<UnixStream>,
    pub client: Remote<vfio_user::Client>,
    /// A connection on which nothing was said yet.
    pub plain: Remote<UnixStream>,
    /// Another one.
    pub posting: Remote<UnixStream>,
}

/// Medians.
pub struct Figures {
    bare: Duration,
    read: Duration,
    plain: Duration,
    posted: Duration,
}

impl Figures {
    /// Takes all measurements.
    pub fn measure(mut subjects: Subjects) -> Self {
        negotiate(&mut subjects.posting.peer);
        negotiate(&mut subjects.plain.peer);
        let [mut bare, mut read, mut plain, mut posted] = [const { Vec::new() }; 4];
        for _ in 0..ROUNDS {
            bare.extend(
                (0..ROUND_TRIPS).map(|_| time(|| bare_round_trip(&mut subjects.bare.peer))),
            );
            let client = &mut subjects.client.peer;
            read.extend((0..ROUND_TRIPS).map(|_| {
                time(|| {
                    client
                        .region_read(0, 0, &mut [0; 4])
                        .expect("a register read")
                })
            }));
            let stream = &mut subjects.plain.peer;
            plain.extend((0..ROUND_TRIPS).map(|_| time(|| _ = read_register(stream))));
            posted.push(time(|| post_and_drain(&mut subjects.posting.peer)) / POSTED);
        }
        Self {
            bare: median(bare),
            read: median(read),
            plain: median(plain),
            posted: median(posted),
        }
    }

    fn ratio(&self, time: Duration) -> f64 {
        time.as_secs_f64() / self.bare.as_secs_f64()
    }

    /// The figures for programs: microseconds, and ratios to bare.
    pub fn json(&self) -> serde_json::Value {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        serde_json::json!({
            "bare_us": micros(self.bare),
            "register_read_us": micros(self.read),
            "register_read_ratio": self.ratio(self.read),
            "plain_read_us": micros(self.plain),
            "plain_read_ratio": self.ratio(self.plain),
            "posted_write_us": micros(self.posted),
            "posted_write_ratio": self.ratio(self.posted),
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, time: Duration, goal: &str| {
            let (micros, ratio) = (time.as_secs_f64() * 1e6, self.ratio(time));
            writeln!(f, "{name:<28} {micros:8.2} us  {ratio:6.3} x bare{goal}")
        };
        line("bare", self.bare, "")?;
        line("register read", self.read, "  (at most 1.05)")?;
        line("the same, one call each way", self.plain, "")?;
        line("posted write", self.posted, "  (at most 0.07)")
    }
}

fn time(act: impl FnOnce()) -> Duration {
    let began = Instant::now();
    act();
    began.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn bare_round_trip(stream: &mut UnixStream) {
    stream
        .write_all(&[0; REQUEST_SIZE])
        .expect("the echo lives");
    stream
        .read_exact(&mut [0; REPLY_SIZE])
        .expect("the echo answers");
}

fn message(command: u16, flags: u32, parts: &[&[u8]]) -> Vec<u8> {
    let payload = parts.concat();
    let message_size = (HEADER_SIZE + payload.len()) as u32;
    let header = Header {
        message_id: 0,
        command,
        message_size,
        flags,
        error: 0,
    };
    [header.as_bytes(), &payload].concat()
}

fn negotiate(stream: &mut UnixStream) {
    stream
        .write_all(&message(command::VERSION, 0, &[&[0; 4]]))
        .expect("the server lives");
    let mut header = [0; HEADER_SIZE];
    stream.read_exact(&mut header).expect("the server answers");
    let header = Header::read_from_bytes(&header).expect("as long as a header");
    let mut rest = vec![0; header.message_size as usize - HEADER_SIZE];
    stream.read_exact(&mut rest).expect("the whole reply");
}

/// As bare: one system call for the request, one for the reply.
fn read_register(stream: &mut UnixStream) -> [u8; REPLY_SIZE] {
    let register = RegionAccess {
        offset: 0,
        region: 0,
        count: 4,
    };
    let read = message(command::REGION_READ, 0, &[register.as_bytes()]);
    stream.write_all(&read).expect("the server lives");
    let mut reply = [0; REPLY_SIZE];
    stream.read_exact(&mut reply).expect("the server answers");
    reply
}

fn post_and_drain(stream: &mut UnixStream) {
    let register = RegionAccess {
        offset: 0,
        region: 0,
        count: 4,
    };
    for value in 0..POSTED {
        let parts = [register.as_bytes(), value.as_bytes()];
        let write = message(command::REGION_WRITE, flags::NO_REPLY, &parts);
        stream.write_all(&write).expect("the server lives");
    }
    let reply = read_register(stream);
    assert_eq!(
        reply[REQUEST_SIZE..],
        (POSTED - 1).to_ne_bytes(),
        "every write has arrived"
    );
}
