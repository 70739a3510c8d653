// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `~.` at the beginning of a line, as in ssh: the way out of a shell in a guest that hangs.

use std::io::{self, Read};

/// A terminal's input that ends, and says so, at the escape.
pub struct Escape<R, F> {
    input: R,
    hang_up: F,
    at: At,
    /// A byte that is due and did not fit.
    due: Option<u8>,
}

/// Where in a line the input stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Start,
    Tilde,
    Inside,
    HungUp,
}

impl<R: Read, F: FnMut()> Escape<R, F> {
    /// Calls `hang_up` once when the escape was typed.
    pub fn new(input: R, hang_up: F) -> Self {
        Escape {
            input,
            hang_up,
            at: At::Start,
            due: None,
        }
    }

    /// What is to be passed on of this byte, a held tilde first.
    fn step(&mut self, byte: u8) -> (Option<u8>, Option<u8>) {
        let after = match byte {
            b'\r' | b'\n' => At::Start,
            _ => At::Inside,
        };
        match (self.at, byte) {
            (At::HungUp, _) => (None, None),
            (At::Start, b'~') => {
                self.at = At::Tilde;
                (None, None)
            }
            (At::Tilde, b'.') => {
                self.at = At::HungUp;
                (None, None)
            }
            // Twice for one that is meant.
            (At::Tilde, b'~') => {
                self.at = At::Inside;
                (Some(b'~'), None)
            }
            (At::Tilde, _) => {
                self.at = after;
                (Some(b'~'), Some(byte))
            }
            (At::Start | At::Inside, _) => {
                self.at = after;
                (Some(byte), None)
            }
        }
    }
}

impl<R: Read, F: FnMut()> Read for Escape<R, F> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() || self.at == At::HungUp {
            return Ok(0);
        }
        if let Some(byte) = self.due.take() {
            out[0] = byte;
            return Ok(1);
        }
        // A person types a few bytes at a time; what is pasted comes in portions.
        let mut typed = [0; 256];
        loop {
            // Only the first byte of a portion can bring a held tilde along: there is room for one byte more.
            let room = typed.len().min(out.len());
            let count = self.input.read(&mut typed[..room])?;
            let mut length = 0;
            for &byte in &typed[..count] {
                let (first, second) = self.step(byte);
                for byte in [first, second].into_iter().flatten() {
                    match out.get_mut(length) {
                        Some(place) => *place = byte,
                        None => self.due = Some(byte),
                    }
                    length += 1;
                }
            }
            if self.at == At::HungUp {
                (self.hang_up)();
            }
            if length > 0 || count == 0 || self.at == At::HungUp {
                return Ok(length.min(out.len()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What passes of `input` when it comes in portions of `portion` bytes, and whether it hung up.
    fn pass(input: &str, portion: usize) -> (String, bool) {
        let mut hung_up = false;
        let mut escape = Escape::new(input.as_bytes(), || hung_up = true);
        let (mut passed, mut buffer) = (Vec::new(), vec![0; portion]);
        loop {
            match escape.read(&mut buffer).unwrap() {
                0 => break,
                count => passed.extend_from_slice(&buffer[..count]),
            }
        }
        (String::from_utf8(passed).unwrap(), hung_up)
    }

    #[test]
    fn only_a_tilde_and_a_dot_at_the_start_of_a_line_hang_up() {
        for (input, passed, hung_up) in [
            ("ls ~.\rcd ~/x\r", "ls ~.\rcd ~/x\r", false),
            ("ls\r~.more", "ls\r", true),
            ("~.", "", true),
            ("~~.\r", "~.\r", false),
            ("~/bin/x\r", "~/bin/x\r", false),
            ("~\r~.", "~\r", true),
            ("x\n\n~~\r~.", "x\n\n~\r", true),
        ] {
            for portion in 1..9 {
                let outcome = pass(input, portion);
                assert_eq!(
                    outcome,
                    (passed.to_owned(), hung_up),
                    "{input:?} by {portion}"
                );
            }
        }
    }
}
