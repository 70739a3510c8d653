// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One connection, from the version message to the end.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use nix::errno::Errno;
use thiserror::Error;
use zerocopy::IntoBytes;

use super::irq::Interrupts;
use super::memory::DmaTable;
use super::session::{Session, SessionError};
use super::transport::{Transport, TransportError};
use super::wire::Header;
use super::Device;

/// Why a connection was closed from this end.
#[derive(Debug, Error)]
pub enum ServeError {
    /// What arrived were no messages, or nothing arrived any more.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A message broke the protocol.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A reply could not be sent.
    #[error("a reply could not be sent")]
    Reply(#[source] io::Error),
}

/// Serves `device` to the client at the other end of `stream` until either end closes it.
///
/// Blocks. Maps and eventfds of the client are in `memory` and `interrupts` meanwhile, and gone
/// afterwards; the device keeps its state (*Client Disconnection*). A [`Stop`] ends it from another
/// thread.
///
/// # Errors
/// The connection was closed because of what the client sent, or because the socket failed. If the
/// client waits for a reply to what it sent, it was told an errno.
pub fn serve(
    stream: UnixStream,
    memory: &Arc<DmaTable>,
    interrupts: &Arc<Interrupts>,
    device: &mut dyn Device,
) -> Result<(), ServeError> {
    let mut transport = Transport::new(stream);
    let mut session = Session::new(memory.clone(), interrupts.clone());
    let end = run(&mut transport, &mut session, memory, device);
    log::debug!("connection ends: {:?}", session.counters());
    end
}

fn run(
    transport: &mut Transport,
    session: &mut Session,
    memory: &DmaTable,
    device: &mut dyn Device,
) -> Result<(), ServeError> {
    let mut connected = false;
    loop {
        let message = match transport.receive() {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(()),
            Err(error) => {
                if let TransportError::Size(header) = &error {
                    refuse(transport, header, Errno::EINVAL);
                }
                return Err(error.into());
            }
        };
        let header = message.header;
        match session.receive(&header, message.payload, message.fds, device) {
            Ok(None) => {}
            Ok(Some(reply)) => {
                transport.send(reply).map_err(ServeError::Reply)?;
                // The client takes no command before it has the version.
                if !connected && session.agreed() {
                    memory.connect(Some(transport.sender()));
                    connected = true;
                }
            }
            Err(error) => {
                refuse(transport, &header, error.errno());
                return Err(error.into());
            }
        }
    }
}

/// Tells the client why the connection is about to close. It may be gone already: no matter.
fn refuse(transport: &mut Transport, header: &Header, errno: Errno) {
    if header.expects_reply() {
        let _ = transport.send(header.error_reply(errno).as_bytes());
    }
}

/// Ends a [`serve`] from another thread.
#[derive(Debug)]
pub struct Stop(UnixStream);

impl Stop {
    /// For the connection `stream` that is about to be served.
    ///
    /// # Errors
    /// The process has too many file descriptors.
    pub fn new(stream: &UnixStream) -> io::Result<Self> {
        stream.try_clone().map(Self)
    }

    /// Closes the connection in both directions; `serve` returns when it next looks for a message.
    pub fn stop(&self) {
        // The only failure is that the client closed it first.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}
