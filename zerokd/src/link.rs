//! The links to the relays: one task each, driven by the state machine of zerok-core, and what others need of them.

mod admit;
mod deliver;
mod deliveries;
mod end;
mod push;
mod session;
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use iroh::endpoint::Connection;
use tokio::sync::{mpsc, watch};
use zerok_core::Signal;
use zerok_protocol::{DeviceId, GroupId, Hash};

pub(crate) use task::supervise;

use crate::group::Group;
use crate::store::relays::{RelayRow, StoredRelay};

/// Where a link is, for `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkState {
    /// No group uses it yet, so there is nothing to connect for.
    Idle,
    /// A connection is being made.
    Connecting,
    /// In use.
    Connected,
    /// Waiting for the next attempt.
    Waiting,
    /// The relay refused for good.
    Stopped,
}

/// One link, as others see it.
#[derive(Clone)]
pub(crate) struct LinkView {
    /// The relay.
    pub relay: StoredRelay,
    /// Where it is.
    pub state: LinkState,
    /// Why it is not in use, for people.
    pub error: Option<String>,
    /// The connection, while there is one.
    pub connection: Option<Connection>,
    /// Groups with an open session, and where to hand signals for it.
    sessions: BTreeMap<GroupId, mpsc::Sender<OutSignal>>,
}

/// A signal on its way out.
pub(crate) struct OutSignal {
    recipient: Option<DeviceId>,
    signal: Signal,
}

/// Another member wants chunks that the relay lacks.
pub(crate) struct ChunkWant {
    /// In which group.
    pub group: GroupId,
    /// Their addresses.
    pub addresses: Vec<Hash>,
}

/// All links; cheap to clone.
#[derive(Clone)]
pub(crate) struct Links {
    views: Arc<Mutex<BTreeMap<RelayRow, LinkView>>>,
    changed: watch::Sender<u64>,
    nudge: watch::Sender<u64>,
    chunk_wants: mpsc::Sender<ChunkWant>,
}

impl Links {
    /// `chunk_wants` is where other members' wishes for chunks go.
    pub(crate) fn new(chunk_wants: mpsc::Sender<ChunkWant>) -> Self {
        Self {
            views: Arc::default(),
            changed: watch::Sender::new(0),
            nudge: watch::Sender::new(0),
            chunk_wants,
        }
    }

    /// All links, in the order in which the relays were added.
    pub(crate) fn views(&self) -> Vec<LinkView> {
        self.views.lock().expect("nobody panics while holding it").values().cloned().collect()
    }

    /// Ticks when a link's state or sessions change.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// No reason to wait any longer: links that wait try at once.
    pub(crate) fn nudge(&self) {
        self.nudge.send_modify(|tick| *tick += 1);
    }

    /// The connections on which this group has an open session.
    pub(crate) fn connections(&self, group: &GroupId) -> Vec<(RelayRow, Connection)> {
        let views = self.views.lock().expect("nobody panics while holding it");
        let open = views.iter().filter(|(_, view)| view.sessions.contains_key(group));
        open.filter_map(|(row, view)| Some((*row, view.connection.clone()?))).collect()
    }

    /// Sends a signal over every link with an open session; where a queue is full it is dropped, signals are hints.
    pub(crate) fn signal(&self, group: &GroupId, recipient: Option<DeviceId>, signal: &Signal) {
        let views = self.views.lock().expect("nobody panics while holding it");
        for session in views.values().filter_map(|view| view.sessions.get(group)) {
            drop(session.try_send(OutSignal { recipient, signal: signal.clone() }));
        }
    }

    fn update(&self, row: RelayRow, change: impl FnOnce(&mut LinkView)) {
        let mut views = self.views.lock().expect("nobody panics while holding it");
        if let Some(view) = views.get_mut(&row) {
            change(view);
        }
        drop(views);
        self.changed.send_modify(|tick| *tick += 1);
    }

    fn insert(&self, view: LinkView) {
        self.views.lock().expect("nobody panics while holding it").insert(view.relay.row, view);
        self.changed.send_modify(|tick| *tick += 1);
    }

    fn forget(&self, row: RelayRow) {
        self.views.lock().expect("nobody panics while holding it").remove(&row);
        self.changed.send_modify(|tick| *tick += 1);
    }
}

/// While it lives, a group's session at a relay takes signals.
struct OpenSession {
    links: Links,
    row: RelayRow,
    group: Arc<Group>,
}

impl OpenSession {
    fn new(links: &Links, row: RelayRow, group: &Arc<Group>) -> (Self, mpsc::Receiver<OutSignal>) {
        let (queue, waiting) = mpsc::channel(256);
        links.update(row, |view| drop(view.sessions.insert(group.id, queue)));
        (Self { links: links.clone(), row, group: group.clone() }, waiting)
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.links.update(self.row, |view| drop(view.sessions.remove(&self.group.id)));
        self.group.set_online(self.row, BTreeSet::new());
    }
}
