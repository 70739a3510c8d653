// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Control window of the eDMA transport (`ntb_transport_edma`): how two sides of an NTB agree to
//! start, and the rings by which they move frames without a payload byte in the window.
//!
//! Each side offers one inbound memory window. **Everything in it is written by the peer and read by
//! its owner**, so no side ever waits for a read across the link:
//!
//! | at a side lies | written by the peer to say |
//! |---|---|
//! | [`Header`](session::Header) | who it is, and which of our sessions it has answered |
//! | buffers ring of a queue pair | where it receives: the owner may send there |
//! | completions ring of a queue pair | which of the owner's buffers it has filled |
//!
//! * [`session`]: the header, and the handshake that starts both sides afresh.
//! * [`layout`]: what lies where in the window.
//! * [`ring`]: the two rings of a queue pair, from the receiver's and from the sender's side.
//!
//! One frame: the receiver posts a buffer (address, length) to the sender's buffers ring. The sender
//! moves a frame there by DMA, and posts a completion (length) to the receiver's completions ring.
//! Posted writes of one side arrive in order (PCIe 2.4.1), so entries are written before the head that
//! covers them; nothing else is assumed of the link.
//!
//! All of it is little endian and of this project; the layouts of the published RFCs carry registers of
//! the DesignWare engine, which a transport need not know. Whatever a side reads was written by the
//! peer: nothing here panics or trusts an index, and every rule that is broken has an error of its own.

// A kernel module mounts this file by `#[path]`: hence a path on each.
#[path = "transport/layout.rs"]
pub mod layout;
#[path = "transport/ring.rs"]
pub mod ring;
#[path = "transport/session.rs"]
pub mod session;
