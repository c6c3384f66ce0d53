//! The way to the relays' chunk caches: an edge, so that tests can stand a cache in memory behind it.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;
use zerok_core::Signal;
use zerok_protocol::{GroupId, Hash, Message};

use crate::link::Links;
use crate::store::relays::RelayRow;
use crate::wire::{self, WireError};

/// Both directions of one chunk stream.
pub(super) struct Duplex {
    /// Requests.
    pub send: mpsc::Sender<Message>,
    /// Answers, always drained.
    pub receive: mpsc::Receiver<Result<Message, WireError>>,
}

/// What the engine needs of the links.
pub(super) trait Way: Send + Sync {
    /// The relays at which the group has an open session.
    fn relays(&self, group: &GroupId) -> Vec<RelayRow>;
    /// Opens a chunk stream to one of them.
    fn open(&self, group: GroupId, relay: RelayRow) -> BoxFuture<'_, Option<Duplex>>;
    /// Ticks when a session opens or closes.
    fn changed(&self) -> watch::Receiver<u64>;
    /// Asks the other members for chunks that no relay has.
    fn want(&self, group: &GroupId, addresses: Vec<Hash>);
}

/// Over the daemon's links.
pub(super) struct LinkWay {
    links: Links,
    tracker: TaskTracker,
}

impl LinkWay {
    pub(super) fn new(links: Links, tracker: TaskTracker) -> Self {
        Self { links, tracker }
    }
}

impl Way for LinkWay {
    fn relays(&self, group: &GroupId) -> Vec<RelayRow> {
        self.links.connections(group).into_iter().map(|(row, _)| row).collect()
    }

    fn open(&self, group: GroupId, relay: RelayRow) -> BoxFuture<'_, Option<Duplex>> {
        async move {
            let found = self.links.connections(&group).into_iter().find(|(row, _)| *row == relay);
            let (send, receive) = found?.1.open_bi().await.ok()?;
            Some(Duplex {
                send: wire::writer(send, &self.tracker),
                receive: wire::drain(receive, &self.tracker),
            })
        }
        .boxed()
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.links.changed()
    }

    fn want(&self, group: &GroupId, addresses: Vec<Hash>) {
        self.links.signal(group, None, &Signal::WantChunks { addresses });
    }
}
