// SPDX-License-Identifier: GPL-2.0-or-later
//! What QEMU's command line says: `-plugin LIBRARY,socket=PATH,side=ep|rc,device=ID`.

use abi::windows::{SIDE_EP, SIDE_RC};
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The options, all of which must be given.
#[derive(Debug, PartialEq, Eq)]
pub struct Arguments {
    /// The device's socket ([`abi::windows::SOCKET`] in its directory).
    pub socket: PathBuf,
    /// [`SIDE_EP`] or [`SIDE_RC`]: whose QEMU this is.
    pub side: u32,
    /// QOM path of the vfio-user device, `/machine/peripheral/ID`. It need not be there yet.
    pub device: CString,
}

impl Arguments {
    /// Reads `KEY=VALUE` words, as QEMU hands them to a plugin.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a OsStr>) -> Result<Self, String> {
        let (mut socket, mut side, mut device) = (None, None, None);
        for word in words {
            let bytes = word.as_bytes();
            let (key, value) = match bytes.iter().position(|&byte| byte == b'=') {
                Some(at) => (&bytes[..at], &bytes[at + 1..]),
                None => (bytes, &[][..]),
            };
            match key {
                b"socket" if !value.is_empty() => {
                    socket = Some(PathBuf::from(OsStr::from_bytes(value)));
                }
                b"side" => {
                    side = Some(match value {
                        b"ep" => SIDE_EP,
                        b"rc" => SIDE_RC,
                        _ => return Err("side= is ep or rc".into()),
                    })
                }
                b"device" => device = Some(device_path(value)?),
                _ => return Err(format!("what is {word:?}? (socket=, side=, device=)")),
            }
        }
        Ok(Self {
            socket: socket.ok_or("socket= is missing")?,
            side: side.ok_or("side= is missing")?,
            device: device.ok_or("device= is missing")?,
        })
    }
}

/// Where QEMU keeps the device that `-device …,id=ID` makes. An id has letters, digits and `-._`.
fn device_path(id: &[u8]) -> Result<CString, String> {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
    if id.is_empty() || !id.iter().all(fits) {
        return Err("device= is the id of a device".into());
    }
    CString::new([b"/machine/peripheral/", id].concat()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Arguments, String> {
        Arguments::parse(words.iter().map(OsStr::new))
    }

    #[test]
    fn all_three_are_needed_in_any_order() {
        let whole = ["device=function", "socket=/a=b/windows.sock", "side=rc"];
        let read = parse(&whole).unwrap();
        assert_eq!(read.socket, PathBuf::from("/a=b/windows.sock"));
        assert_eq!(read.side, SIDE_RC);
        assert_eq!(read.device.to_bytes(), b"/machine/peripheral/function");
        for left_out in 0..whole.len() {
            let mut words = whole.to_vec();
            let word = words.remove(left_out);
            let key = word.split('=').next().unwrap();
            assert!(parse(&words).unwrap_err().contains(key));
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let good = ["device=controller", "socket=/s", "side=ep"];
        assert!(parse(&good).is_ok());
        for bad in [
            "side=host",
            "side",
            "sid=ep",
            "socket=",
            "device=",
            "device=a/b",
            "device=a\0b",
            "",
        ] {
            assert!(parse(&[&good[..], &[bad]].concat()).is_err(), "{bad:?}");
        }
    }
}
