// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The edge: where the pure silicon meets threads, sockets and the guests' RAM.
//!
//! One [`Machine`] is one pair of boards. Two ports serve it over vfio-user: the [`EpPort`] is the
//! SoC as its own CPU sees it, the [`RcPort`] the PCI function as the peer's bus sees it. Each runs on
//! its connection's thread; both take the silicon's lock for as long as it takes to decide whose
//! address an access means, never while they touch RAM or a socket.

mod access;
mod dma;
mod ep_port;
mod link;
mod rc_port;
mod reads;
mod windows;

pub use ep_port::EpPort;
pub use link::{accept, listen, RcSocket};
pub use rc_port::RcPort;
pub use windows::WindowsListener;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde_json::{json, Value};

use crate::control::Events;
use crate::controller::{Config, Controller, Effect, Effects};
use crate::ep_face::EpFace;
use crate::rc_face::RcFace;
use crate::vfio_user::irq::{Interrupts, MSI_INDEX};
use crate::vfio_user::memory::DmaTable;

/// Everything that decides addresses and register values; pure, under one lock.
pub struct Silicon {
    /// The DesignWare controller with the SoC's glue around it.
    pub controller: Controller,
    /// The PCI device that carries the SoC's registers into the EP guest.
    pub ep_face: EpFace,
}

impl Silicon {
    /// A number that grows with every change after which an address may lead elsewhere.
    fn routes(&self) -> u64 {
        self.controller.routes() + self.ep_face.routes()
    }
}

/// What one vfio-user connection brings along: its guest's RAM and its interrupt vectors.
#[derive(Clone, Default)]
pub struct Attachment {
    /// RAM of the guest behind the connection, by guest-physical (EP) or bus (RC) address.
    pub memory: Arc<DmaTable>,
    /// The eventfds that raise interrupts in that guest.
    pub interrupts: Arc<Interrupts>,
}

/// The RC's connection, and the function as its QEMU knows it.
#[derive(Clone)]
struct Plugged {
    attachment: Attachment,
    face: RcFace,
    /// Which rise of the link it belongs to.
    generation: u32,
}

/// The pair's silicon, shared by both ports and the control socket.
pub struct Machine {
    silicon: Mutex<Silicon>,
    ep: RwLock<Option<Attachment>>,
    rc: RwLock<Option<Plugged>>,
    windows: windows::Windows,
    rc_socket: RcSocket,
    dma: dma::Dma,
    events: Arc<Events>,
    /// How often each guest's CPU has read.
    ep_reads: reads::Reads,
    rc_reads: reads::Reads,
}

impl Machine {
    /// A powered-on pair whose link is down and whose guests are not attached yet.
    pub fn new(config: Config, rc_socket: RcSocket, events: Arc<Events>) -> Arc<Self> {
        Arc::new(Self {
            silicon: Mutex::new(Silicon {
                controller: Controller::new(config),
                ep_face: EpFace::new(),
            }),
            ep: RwLock::new(None),
            rc: RwLock::new(None),
            windows: windows::Windows::default(),
            rc_socket,
            dma: dma::Dma::default(),
            events,
            ep_reads: reads::Reads::default(),
            rc_reads: reads::Reads::default(),
        })
    }

    /// The silicon, locked. A panic elsewhere must not take the other guest down with it, and every
    /// register is valid on its own: a poisoned lock is used as it is.
    fn silicon(&self) -> MutexGuard<'_, Silicon> {
        self.silicon.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ep(&self) -> Option<Attachment> {
        self.ep
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn rc(&self) -> Option<Attachment> {
        let rc = self.rc.read().unwrap_or_else(PoisonError::into_inner);
        rc.as_ref().map(|plugged| plugged.attachment.clone())
    }

    fn plugged(&self) -> Option<Plugged> {
        self.rc
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The EP guest's QEMU connected; its RAM and vectors arrive with the messages that follow.
    pub fn attach_ep(&self, attachment: Attachment) {
        *self.ep.write().unwrap_or_else(PoisonError::into_inner) = Some(attachment);
        log::info!("{:?}", self.events.ep_attached(true));
    }

    /// The EP guest's QEMU is gone. A board without power has no link.
    pub fn detach_ep(self: &Arc<Self>) {
        *self.ep.write().unwrap_or_else(PoisonError::into_inner) = None;
        log::info!("{:?}", self.events.ep_attached(false));
        self.power_cycle_ep();
    }

    /// The EP board's reset line: every register of the SoC as after power-on, the link down.
    pub fn power_cycle_ep(self: &Arc<Self>) {
        self.change(self.silicon(), |silicon, effects| {
            silicon.controller.power_on_reset(effects);
            silicon.ep_face.reset();
        });
    }

    /// Changes the silicon, lets go of it, and then performs what that brought about: last of all
    /// what others hear of it, when no window leads any more where it led before.
    fn change(
        self: &Arc<Self>,
        mut silicon: MutexGuard<'_, Silicon>,
        act: impl FnOnce(&mut Silicon, &mut Effects),
    ) {
        let mut effects = Effects::default();
        let before = silicon.routes();
        act(&mut silicon, &mut effects);
        let routes = silicon.routes();
        drop(silicon);
        if routes != before {
            self.dma.settle();
        }
        self.follow_routes(routes);
        self.perform(effects);
    }

    /// Lets the world outside the silicon see what a register access brought about.
    fn perform(self: &Arc<Self>, effects: Effects) {
        for effect in effects {
            match effect {
                Effect::LinkUp | Effect::LinkDown => self.follow_link(),
                Effect::DmaReady => self.dma.wake(),
                Effect::DmaMessage { address, data } => self.dma_message(address, data),
                Effect::EpInterrupt => {
                    if let Some(ep) = self.ep() {
                        ep.interrupts.trigger(MSI_INDEX, 0);
                    }
                }
            }
        }
    }

    /// The device's state as a tree: what `pair inspect` shows.
    pub fn inspect(&self) -> Value {
        let (controller, ep_face) = {
            let silicon = self.silicon();
            (silicon.controller.inspect(), silicon.ep_face.inspect())
        };
        let port = |attachment: Option<Attachment>, reads: &reads::Reads| match attachment {
            None => json!({ "attached": false, "reads": reads.inspect() }),
            Some(port) => json!({
                "attached": true,
                "reads": reads.inspect(),
                "memory": port.memory.inspect(),
                "interrupts": port.interrupts.inspect(),
            }),
        };
        let mut tree = controller;
        if let Value::Object(map) = &mut tree {
            map.insert("ep_face".into(), ep_face);
            map.insert("ep".into(), port(self.ep(), &self.ep_reads));
            map.insert("rc".into(), port(self.rc(), &self.rc_reads));
            map.insert("windows".into(), self.windows.inspect());
        }
        tree
    }
}
