// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What one connection may say, and what it is answered. No I/O happens here.
//!
//! Two kinds of trouble are kept apart. A command that cannot be done gets an error reply with an errno,
//! and the session goes on. A message that is none (too short for its command, a reply nobody asked for,
//! anything before the version) is a [`SessionError`]: what follows it cannot be trusted either, and the
//! connection is closed.

use std::cmp::Ordering;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::errno::Errno;
use thiserror::Error;
use vfio_bindings::bindings::vfio::{
    VFIO_DEVICE_FLAGS_PCI, VFIO_DEVICE_FLAGS_RESET, VFIO_DMA_UNMAP_FLAG_ALL,
    VFIO_IRQ_INFO_AUTOMASKED, VFIO_IRQ_INFO_EVENTFD, VFIO_IRQ_INFO_MASKABLE,
    VFIO_IRQ_SET_ACTION_MASK, VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_ACTION_TYPE_MASK,
    VFIO_IRQ_SET_ACTION_UNMASK, VFIO_IRQ_SET_DATA_BOOL, VFIO_IRQ_SET_DATA_EVENTFD,
    VFIO_IRQ_SET_DATA_NONE, VFIO_IRQ_SET_DATA_TYPE_MASK, VFIO_REGION_INFO_FLAG_READ,
    VFIO_REGION_INFO_FLAG_WRITE,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::descriptor::Descriptor;
use super::irq::{Interrupts, NotAnEventFd, ERR_INDEX, INTX_INDEX, REQ_INDEX};
use super::memory::{DmaTable, MapError, MapFileError};
use super::version::{negotiate, VersionError};
use super::wire::{self, command, Header, HEADER_SIZE, MAX_DATA_TRANSFER, MAX_MESSAGE_FDS};
use super::{Device, IRQ_INDICES, REGIONS};

/// Why a connection cannot go on.
#[derive(Debug, Error)]
pub enum SessionError {
    /// Commands come from a client, and replies to what it was [asked](DmaTable::fetch).
    #[error("message {id} of command {command} is no command (flags {flags:#x})")]
    NotACommand {
        /// Its message id.
        id: u16,
        /// Its command.
        command: u16,
        /// Its flags.
        flags: u32,
    },
    /// *Connection Initiation*: the version comes first.
    #[error("command {0} came before the version was agreed on")]
    NoVersion(u16),
    /// The version message led to no agreement.
    #[error("no agreement on a version")]
    Version(#[from] VersionError),
    /// The payload does not hold what the command needs.
    #[error("command {command} with {len} bytes of payload, too few")]
    Truncated {
        /// The command.
        command: u16,
        /// What it had.
        len: usize,
    },
    /// More descriptors came along than was agreed on.
    #[error("{0} file descriptors in one message, at most {MAX_MESSAGE_FDS} are taken")]
    TooManyFds(usize),
}

impl SessionError {
    /// What the client is told before the connection is closed.
    pub fn errno(&self) -> Errno {
        match self {
            Self::TooManyFds(_) => Errno::EMFILE,
            _ => Errno::EINVAL,
        }
    }
}

/// How often what happened in a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages received.
    pub messages: u64,
    /// Commands that got an error reply, or would have if one had been wanted.
    pub failed: u64,
}

/// The state of one connection.
pub struct Session {
    memory: Arc<DmaTable>,
    interrupts: Arc<Interrupts>,
    agreed: bool,
    counters: Counters,
    /// What was refused and logged: maps, unmaps and eventfds.
    refused: u64,
    /// The reply to the last message; kept so that the next needs no allocation.
    reply: Vec<u8>,
}

impl Session {
    /// A session that waits for its version message. Maps and eventfds that it receives go to `memory`
    /// and `interrupts`, and are taken out again when it ends (*Client Disconnection*).
    pub fn new(memory: Arc<DmaTable>, interrupts: Arc<Interrupts>) -> Self {
        Self {
            memory,
            interrupts,
            agreed: false,
            counters: Counters::default(),
            refused: 0,
            reply: Vec::with_capacity(256),
        }
    }

    /// Whether there is an agreement on a version.
    pub fn agreed(&self) -> bool {
        self.agreed
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Takes one message in, acts on it, and returns the bytes to send, if it is to be answered.
    ///
    /// `payload` is what follows `header`. `fds` came along with it; whatever is not kept is closed.
    ///
    /// # Errors
    /// The connection is to be closed, after an error reply if the header [asks for
    /// one](Header::expects_reply).
    pub fn receive(
        &mut self,
        header: &Header,
        payload: &[u8],
        fds: Vec<Descriptor>,
        device: &mut dyn Device,
    ) -> Result<Option<&[u8]>, SessionError> {
        self.counters.messages += 1;
        let written = header.answers(command::DMA_WRITE);
        if written || header.answers(command::DMA_READ) {
            if let Some(address) = self.memory.answered(header, payload) {
                if written && header.failed() {
                    device.post_refused(address);
                }
                return Ok(None);
            }
        }
        if !header.is_command() {
            let Header {
                message_id: id,
                command,
                flags,
                ..
            } = *header;
            return Err(SessionError::NotACommand { id, command, flags });
        }
        if fds.len() > MAX_MESSAGE_FDS {
            return Err(SessionError::TooManyFds(fds.len()));
        }
        if !self.agreed && header.command != command::VERSION {
            return Err(SessionError::NoVersion(header.command));
        }

        self.reply.clear();
        self.reply.extend_from_slice(header.reply(0).as_bytes());
        match self.dispatch(header.command, payload, fds, device) {
            Ok(()) => {
                // A reply is never longer than a read of MAX_DATA_TRANSFER bytes.
                let whole = header.reply(self.reply.len() as u32);
                self.reply[..HEADER_SIZE].copy_from_slice(whole.as_bytes());
            }
            Err(Failure::Command(errno)) => {
                self.counters.failed += 1;
                log::debug!("command {}: {errno}", header.command);
                self.reply.clear();
                self.reply
                    .extend_from_slice(header.error_reply(errno).as_bytes());
            }
            Err(Failure::Session(error)) => return Err(error),
        }
        Ok(header.expects_reply().then_some(self.reply.as_slice()))
    }

    /// Acts on a command and appends the payload of its reply.
    fn dispatch(
        &mut self,
        number: u16,
        payload: &[u8],
        fds: Vec<Descriptor>,
        device: &mut dyn Device,
    ) -> Result<(), Failure> {
        let request = Request {
            command: number,
            payload,
        };
        match number {
            command::DMA_MAP => return self.dma_map(&request, fds, device),
            command::DEVICE_SET_IRQS => return self.set_irqs(&request, fds, device),
            // The others take no descriptors: what is sent all the same is closed as `fds` goes.
            _ if !fds.is_empty() => return Err(Errno::EINVAL.into()),
            _ => {}
        }
        match number {
            command::REGION_READ => self.region_read(&request, device),
            command::REGION_WRITE => self.region_write(&request, device),
            command::REGION_WRITE_MULTI => self.region_write_multi(&request, device),
            command::VERSION => self.version(&request),
            command::DMA_UNMAP => self.dma_unmap(&request, device),
            command::DEVICE_GET_INFO => self.device_info(&request),
            command::DEVICE_GET_REGION_INFO => self.region_info(&request, device),
            command::DEVICE_GET_REGION_IO_FDS => self.region_io_fds(&request),
            command::DEVICE_GET_IRQ_INFO => self.irq_info(&request, device),
            command::DEVICE_RESET => {
                device.reset();
                self.interrupts.reset();
                Ok(())
            }
            // These are the server's to send.
            command::DMA_READ | command::DMA_WRITE => Err(Errno::EINVAL.into()),
            // DIRTY_PAGES, migration, and whatever else there may come to be.
            _ => Err(Errno::ENOTSUP.into()),
        }
    }

    /// *VFIO_USER_VERSION*.
    fn version(&mut self, request: &Request) -> Result<(), Failure> {
        if self.agreed {
            return Err(Errno::EINVAL.into());
        }
        let (version, data) = request.split()?;
        negotiate(version, data, &mut self.reply).map_err(SessionError::from)?;
        self.agreed = true;
        Ok(())
    }

    /// *VFIO_USER_DMA_MAP*.
    fn dma_map(
        &mut self,
        request: &Request,
        mut fds: Vec<Descriptor>,
        device: &mut dyn Device,
    ) -> Result<(), Failure> {
        let (map, _) = request.split::<wire::DmaMap>()?;
        if map.argsz < size_of::<wire::DmaMap>() as u32 || fds.len() > 1 {
            return Err(Errno::EINVAL.into());
        }
        let file = match fds.pop() {
            None => Ok(None),
            Some(Descriptor::Memory(file)) => Ok(Some(file)),
            Some(Descriptor::EventFd(_)) => Err(MapFileError::NotRegular),
            Some(Descriptor::Closed(error)) => Err(error),
        };
        let mapped = file
            .map_err(MapError::File)
            .and_then(|file| self.memory.map(&map, file));
        let shared = mapped.map_err(|error| {
            self.log_refusal(format_args!(
                "{:#x} bytes at {:#x} are not mapped: {error}",
                map.size, map.address
            ));
            error.errno()
        })?;
        if shared {
            device.memory_changed();
        }
        Ok(())
    }

    /// *VFIO_USER_DMA_UNMAP*. Dirty-page bitmaps belong to migration, which is not supported.
    fn dma_unmap(&mut self, request: &Request, device: &mut dyn Device) -> Result<(), Failure> {
        let (unmap, _) = request.split::<wire::DmaUnmap>()?;
        if unmap.argsz < size_of::<wire::DmaUnmap>() as u32 {
            return Err(Errno::EINVAL.into());
        }
        let shared = match unmap.flags {
            0 => self
                .memory
                .unmap(unmap.address, unmap.size)
                .map_err(|error| {
                    self.log_refusal(format_args!("nothing is unmapped: {error}"));
                    Errno::EINVAL
                })?,
            VFIO_DMA_UNMAP_FLAG_ALL if (unmap.address, unmap.size) == (0, 0) => {
                self.memory.unmap_all()
            }
            _ => return Err(Errno::EINVAL.into()),
        };
        if shared {
            device.memory_changed();
        }
        let argsz = size_of::<wire::DmaUnmap>() as u32;
        self.put(&wire::DmaUnmap { argsz, ..unmap });
        Ok(())
    }

    /// A client or a guest behind an IOMMU can cause refusals without end, so ever fewer of them are logged.
    fn log_refusal(&mut self, what: std::fmt::Arguments<'_>) {
        self.refused += 1;
        if self.refused.is_power_of_two() {
            log::warn!("{what} (refusal {})", self.refused);
        }
    }

    /// *VFIO_USER_DEVICE_GET_INFO*.
    fn device_info(&mut self, request: &Request) -> Result<(), Failure> {
        let (info, _) = request.split::<wire::DeviceInfo>()?;
        let argsz = room_for::<wire::DeviceInfo>(info.argsz)?;
        self.put(&wire::DeviceInfo {
            argsz,
            flags: VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET,
            num_regions: REGIONS,
            num_irqs: IRQ_INDICES,
        });
        Ok(())
    }

    /// *VFIO_USER_DEVICE_GET_REGION_INFO*. A region that is not there has size 0. There are no
    /// capabilities and nothing to map, so that QEMU's client can post writes.
    fn region_info(&mut self, request: &Request, device: &dyn Device) -> Result<(), Failure> {
        let (info, _) = request.split::<wire::RegionInfo>()?;
        let argsz = room_for::<wire::RegionInfo>(info.argsz)?;
        if info.index >= REGIONS {
            return Err(Errno::EINVAL.into());
        }
        let mut reply = wire::RegionInfo {
            argsz,
            flags: 0,
            index: info.index,
            cap_offset: 0,
            size: 0,
            offset: 0,
        };
        if let Some(region) = device.region(info.index) {
            reply.size = region.size;
            reply.flags = if region.readable {
                VFIO_REGION_INFO_FLAG_READ
            } else {
                0
            } | if region.writable {
                VFIO_REGION_INFO_FLAG_WRITE
            } else {
                0
            };
        }
        self.put(&reply);
        Ok(())
    }

    /// *VFIO_USER_DEVICE_GET_REGION_IO_FDS*: no region has any.
    fn region_io_fds(&mut self, request: &Request) -> Result<(), Failure> {
        let (ask, _) = request.split::<wire::RegionIoFds>()?;
        let argsz = room_for::<wire::RegionIoFds>(ask.argsz)?;
        if ask.index >= REGIONS || ask.flags != 0 || ask.count != 0 {
            return Err(Errno::EINVAL.into());
        }
        self.put(&wire::RegionIoFds { argsz, ..ask });
        Ok(())
    }

    /// *VFIO_USER_DEVICE_GET_IRQ_INFO*.
    fn irq_info(&mut self, request: &Request, device: &dyn Device) -> Result<(), Failure> {
        let (info, _) = request.split::<wire::IrqInfo>()?;
        let argsz = room_for::<wire::IrqInfo>(info.argsz)?;
        let flags = match info.index {
            INTX_INDEX => VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED,
            ERR_INDEX | REQ_INDEX => VFIO_IRQ_INFO_EVENTFD,
            IRQ_INDICES.. => return Err(Errno::EINVAL.into()),
            _ => VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE,
        };
        let count = device.irq_count(info.index).unwrap_or(0);
        self.put(&wire::IrqInfo {
            argsz,
            flags,
            index: info.index,
            count,
        });
        Ok(())
    }

    /// *VFIO_USER_DEVICE_SET_IRQS*.
    fn set_irqs(
        &mut self,
        request: &Request,
        fds: Vec<Descriptor>,
        device: &dyn Device,
    ) -> Result<(), Failure> {
        let (set, booleans) = request.split::<wire::IrqSet>()?;
        let &wire::IrqSet {
            argsz,
            flags,
            index,
            start,
            count,
        } = &set;
        let action = flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;
        let data = flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
        let vectors = if index < IRQ_INDICES {
            device.irq_count(index).unwrap_or(0)
        } else {
            0
        };
        let in_range = start.checked_add(count).is_some_and(|end| end <= vectors);
        let only_triggers = matches!(index, ERR_INDEX | REQ_INDEX);
        if argsz < size_of::<wire::IrqSet>() as u32
            || flags != action | data
            || index >= IRQ_INDICES
            || !in_range
            || (only_triggers && action != VFIO_IRQ_SET_ACTION_TRIGGER)
            || (data != VFIO_IRQ_SET_DATA_EVENTFD && !fds.is_empty())
        {
            return Err(Errno::EINVAL.into());
        }
        if count == 0 {
            // The special case: everything off.
            if (start, data, action) != (0, VFIO_IRQ_SET_DATA_NONE, VFIO_IRQ_SET_ACTION_TRIGGER) {
                return Err(Errno::EINVAL.into());
            }
            self.interrupts.disable(index);
            return Ok(());
        }

        let act = |start, count| match action {
            VFIO_IRQ_SET_ACTION_TRIGGER => {
                (start..start + count).for_each(|vector| self.interrupts.trigger(index, vector));
                Ok(())
            }
            VFIO_IRQ_SET_ACTION_MASK | VFIO_IRQ_SET_ACTION_UNMASK => {
                let masked = action == VFIO_IRQ_SET_ACTION_MASK;
                self.interrupts.set_masked(index, start, count, masked);
                Ok(())
            }
            _ => Err(Errno::EINVAL),
        };
        match data {
            VFIO_IRQ_SET_DATA_NONE => act(start, count)?,
            VFIO_IRQ_SET_DATA_BOOL => {
                if booleans.len() != count as usize {
                    return Err(Errno::EINVAL.into());
                }
                for (vector, &chosen) in (start..).zip(booleans) {
                    if chosen != 0 {
                        act(vector, 1)?;
                    }
                }
            }
            VFIO_IRQ_SET_DATA_EVENTFD => match action {
                VFIO_IRQ_SET_ACTION_TRIGGER if fds.is_empty() => {
                    self.interrupts.deassign(index, start, count);
                }
                VFIO_IRQ_SET_ACTION_TRIGGER if fds.len() == count as usize => {
                    let fds: Result<Vec<_>, _> = fds.into_iter().map(eventfd).collect();
                    fds.and_then(|fds| self.interrupts.assign(index, start, fds))
                        .map_err(|error| {
                            self.log_refusal(format_args!(
                                "interrupt type {index} from {start}: {error}"
                            ));
                            Errno::EINVAL
                        })?;
                }
                // Nothing was assigned, so there is nothing to take away.
                VFIO_IRQ_SET_ACTION_MASK | VFIO_IRQ_SET_ACTION_UNMASK if fds.is_empty() => {}
                // An eventfd that unmasks is KVM's shortcut for INTx. QEMU does without if refused.
                VFIO_IRQ_SET_ACTION_MASK | VFIO_IRQ_SET_ACTION_UNMASK => {
                    return Err(Errno::ENOTSUP.into())
                }
                _ => return Err(Errno::EINVAL.into()),
            },
            _ => return Err(Errno::EINVAL.into()),
        }
        Ok(())
    }

    /// *VFIO_USER_REGION_READ*.
    fn region_read(&mut self, request: &Request, device: &mut dyn Device) -> Result<(), Failure> {
        let (access, _) = request.split::<wire::RegionAccess>()?;
        check_access(device, &access, Direction::Read)?;
        self.put(&access);
        let data = self.reply.len();
        self.reply.resize(data + access.count as usize, 0);
        if access.count > 0 {
            device.read(access.region, access.offset, &mut self.reply[data..])?;
        }
        Ok(())
    }

    /// *VFIO_USER_REGION_WRITE*.
    fn region_write(&mut self, request: &Request, device: &mut dyn Device) -> Result<(), Failure> {
        let (access, data) = request.split::<wire::RegionAccess>()?;
        if data.len() < access.count as usize {
            return Err(request.truncated());
        }
        if data.len() > access.count as usize {
            return Err(Errno::EINVAL.into());
        }
        check_access(device, &access, Direction::Write)?;
        if access.count > 0 {
            device.write(access.region, access.offset, data)?;
        }
        self.put(&access);
        Ok(())
    }

    /// *VFIO_USER_REGION_WRITE_MULTI*: QEMU's client puts posted writes together when many wait to be sent.
    /// The first write that fails ends it.
    fn region_write_multi(
        &mut self,
        request: &Request,
        device: &mut dyn Device,
    ) -> Result<(), Failure> {
        let (multi, writes) = request.split::<wire::WriteMulti>()?;
        let needed = multi
            .wr_cnt
            .checked_mul(size_of::<wire::SingleWrite>() as u64);
        match needed.map(|needed| needed.cmp(&(writes.len() as u64))) {
            Some(Ordering::Equal) => {}
            Some(Ordering::Less) => return Err(Errno::EINVAL.into()),
            Some(Ordering::Greater) | None => return Err(request.truncated()),
        }
        for write in writes.chunks_exact(size_of::<wire::SingleWrite>()) {
            let wire::SingleWrite { access, data } =
                wire::SingleWrite::read_from_bytes(write).map_err(|_| request.truncated())?;
            let data = data.get(..access.count as usize).ok_or(Errno::EINVAL)?;
            check_access(device, &access, Direction::Write)?;
            device.write(access.region, access.offset, data)?;
        }
        self.put(&multi);
        Ok(())
    }

    /// Appends to the reply's payload.
    fn put(&mut self, part: &(impl IntoBytes + Immutable)) {
        self.reply.extend_from_slice(part.as_bytes());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.memory.connect(None);
        self.memory.unmap_all();
        self.interrupts.disconnect();
    }
}

/// How a command ends that is not done.
enum Failure {
    /// With an error reply.
    Command(Errno),
    /// With the connection.
    Session(SessionError),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Command(errno)
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

/// A command as it came in.
struct Request<'a> {
    command: u16,
    payload: &'a [u8],
}

impl<'a> Request<'a> {
    /// The fixed part of the payload, and what follows it.
    fn split<T: FromBytes>(&self) -> Result<(T, &'a [u8]), Failure> {
        T::read_from_prefix(self.payload).map_err(|_| self.truncated())
    }

    fn truncated(&self) -> Failure {
        SessionError::Truncated {
            command: self.command,
            len: self.payload.len(),
        }
        .into()
    }
}

/// What is to signal an interrupt.
fn eventfd(descriptor: Descriptor) -> Result<OwnedFd, NotAnEventFd> {
    match descriptor {
        Descriptor::EventFd(fd) => Ok(fd),
        Descriptor::Memory(_) | Descriptor::Closed(_) => Err(NotAnEventFd),
    }
}

/// *Message sizes*: what a reply of type `T` needs, if the client has that much room.
fn room_for<T>(argsz: u32) -> Result<u32, Errno> {
    let needed = size_of::<T>() as u32;
    if argsz < needed {
        return Err(Errno::EINVAL);
    }
    Ok(needed)
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Read,
    Write,
}

/// *Read and Write Operations*: whether `access` lies within what `device` allows.
fn check_access(
    device: &dyn Device,
    access: &wire::RegionAccess,
    direction: Direction,
) -> Result<(), Errno> {
    if access.count > MAX_DATA_TRANSFER || access.region >= REGIONS {
        return Err(Errno::EINVAL);
    }
    let region = device.region(access.region).ok_or(Errno::EINVAL)?;
    let end = access
        .offset
        .checked_add(u64::from(access.count))
        .ok_or(Errno::EINVAL)?;
    if end > region.size {
        return Err(Errno::EINVAL);
    }
    let allowed = match direction {
        Direction::Read => region.readable,
        Direction::Write => region.writable,
    };
    if allowed {
        Ok(())
    } else {
        Err(Errno::EACCES)
    }
}
