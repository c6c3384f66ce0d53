//! One group's session at one relay: admission, roster, pushing, delivery, signals.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::Connection;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use zerok_core::{Signal, Vector, Want, open_signal, seal_signal};
use zerok_protocol::roster::Append;
use zerok_protocol::{
    CREDIT_DEFAULT, ChainId, Code, DeviceId, Error, Head, Message, RosterAppend, RosterGet, Subscribe,
    SubscribeMode,
};

use super::admit::{admit, parts, settle, statements_from};
use super::deliveries::{Deliveries, Incoming};
use super::end::{SessionEnd, pause};
use super::push::Pusher;
use super::{ChunkWant, OpenSession, OutSignal, deliver};
use crate::clock;
use crate::context::Context;
use crate::group::Group;
use crate::store::relays::{self, RelayRow, StoredRelay};
use crate::store::{StoreError, groups, log};
use crate::wire::{self, WireError};

/// A commit is told to the others after this time; several commits are told together.
const VECTOR_SOON: Duration = Duration::from_millis(100);
/// A vector is sent at least this often.
const VECTOR_EVERY: Duration = Duration::from_secs(60);
/// What a vector shows as missing is asked for after this time, if it has not come by itself.
const WANT_AFTER: Duration = Duration::from_secs(1);
/// The same bundles are not asked for again sooner.
const WANT_AGAIN: Duration = Duration::from_secs(10);
/// `sent` is stored so much later than the acknowledgement; after a kill the repeat is answered as the first.
const SAVE_SENT: Duration = Duration::from_millis(200);

/// Serves the session until it ends.
pub(super) async fn run(
    context: &Context,
    relay: &StoredRelay,
    connection: &Connection,
    deliveries: &Deliveries,
    group: Arc<Group>,
) -> SessionEnd {
    match open(context, relay, connection, deliveries, group).await {
        Ok(mut session) => match session.serve().await {
            Ok(()) => SessionEnd::Lost("the session ended".into()),
            Err(end) => end,
        },
        Err(end) => end,
    }
}

struct Session {
    context: Context,
    relay: RelayRow,
    group: Arc<Group>,
    out: mpsc::Sender<Message>,
    incoming: Incoming,
    signals: mpsc::Receiver<OutSignal>,
    delivered: watch::Receiver<deliver::Delivered>,
    pusher: Pusher,
    relay_head: Head,
    roster_asked: bool,
    /// When to ask for the roster again, and to subscribe again: the relay was in no haste.
    roster_at: Option<Instant>,
    roster_req: Option<u32>,
    subscribe: Subscribe,
    subscribe_at: Option<Instant>,
    vector_at: Instant,
    want_at: Option<Instant>,
    save_sent_at: Option<Instant>,
    asked: BTreeMap<(DeviceId, ChainId), (u64, Instant)>,
    _open: OpenSession,
    _stop: tokio_util::sync::DropGuard,
}

async fn open(
    context: &Context,
    relay: &StoredRelay,
    connection: &Connection,
    deliveries: &Deliveries,
    group: Arc<Group>,
) -> Result<Session, SessionEnd> {
    let (send, receive) = connection.open_bi().await.map_err(|_| WireError::Lost)?;
    let out = wire::writer(send, &context.tracker);
    let mut incoming = wire::drain(receive, &context.tracker);
    let (row, grp) = (relay.row, group.row);
    let progress = context.store.read(move |connection| relays::progress(connection, row, grp)).await?;
    let cursor = progress.map_or(0, |p| p.cursor);
    let token = relay.address.token.as_ref().map(|token| token.expose().to_owned());
    let welcome = admit(context, &group, &out, &mut incoming, cursor, token).await?;
    let progress = settle(context, row, &group, progress, &welcome).await?;
    context.problems.clear("relay_refused", &group.id.to_hex());

    let (registered, signals) = OpenSession::new(&context.links, row, &group);
    let stop = CancellationToken::new();
    let mut streams = deliveries.expect(group.id);
    let subscribe = Subscribe {
        req: 1,
        after_cursor: progress.cursor,
        mode: SubscribeMode::Blobs,
        credit: CREDIT_DEFAULT,
    };
    out.send(subscribe.clone().into()).await.map_err(|_| WireError::Lost)?;
    let (told, delivered) = watch::channel(deliver::Delivered::default());
    let task = deliver::Delivery {
        context: context.clone(),
        relay: row,
        group: group.clone(),
        out: out.clone(),
        told,
        req: 1,
    };
    let stopped = stop.clone();
    context.tracker.spawn(async move {
        tokio::select! {
            Some(stream) = streams.recv() => tokio::select! {
                () = task.run(stream) => {}
                () = stopped.cancelled() => {}
            },
            () = stopped.cancelled() => {}
        }
    });
    let pusher = Pusher::new(context.clone(), group.clone(), progress.sent, welcome.limits.max_blob);
    Ok(Session {
        context: context.clone(),
        relay: row,
        group,
        out,
        incoming,
        signals,
        delivered,
        pusher,
        relay_head: welcome.head,
        roster_asked: false,
        roster_at: None,
        roster_req: None,
        subscribe,
        subscribe_at: None,
        vector_at: Instant::now(),
        want_at: None,
        save_sent_at: None,
        asked: BTreeMap::new(),
        _open: registered,
        _stop: stop.drop_guard(),
    })
}

impl Session {
    async fn serve(&mut self) -> Result<(), SessionEnd> {
        let mut outgoing = self.context.store.outgoing();
        let mut released = self.context.store.released();
        let mut standing = self.group.watch();
        self.sync_roster().await?;
        loop {
            self.pusher.pump(&self.out).await?;
            tokio::select! {
                message = self.incoming.recv() => match message {
                    Some(message) => self.on_message(message?).await?,
                    None => return Err(WireError::Lost.into()),
                },
                _ = outgoing.changed() => {
                    self.pusher.wake();
                    self.vector_soon();
                }
                _ = released.changed() => self.vector_soon(),
                changed = self.delivered.changed() => {
                    if changed.is_err() {
                        return Err(SessionEnd::Lost("the delivery ended".into()));
                    }
                    self.want_at.get_or_insert(Instant::now() + WANT_AFTER);
                }
                _ = standing.changed() => {
                    deliver::retry_quarantined(&self.context, &self.group).await?;
                    self.pusher.roster_changed();
                    self.sync_roster().await?;
                }
                Some(signal) = self.signals.recv() => self.send_signal(signal.recipient, &signal.signal).await?,
                () = sleep_until(self.vector_at) => self.send_vector().await?,
                () = until(self.want_at) => self.send_wants().await?,
                () = until(self.save_sent_at) => self.save_sent().await?,
                () = until(self.roster_at) => {
                    (self.roster_at, self.roster_asked) = (None, false);
                    self.sync_roster().await?;
                }
                () = until(self.subscribe_at) => {
                    self.subscribe_at = None;
                    let subscribe = self.subscribe.clone();
                    self.out.send(subscribe.into()).await.map_err(|_| WireError::Lost)?;
                }
                () = until(self.pusher.paused_until()) => self.pusher.resume(),
            }
        }
    }

    async fn on_message(&mut self, message: Message) -> Result<(), SessionEnd> {
        match message {
            Message::PushAck(ack) => {
                if self.pusher.acknowledged(ack.req) {
                    self.group.acknowledged(self.pusher.sent());
                    self.save_sent_at.get_or_insert(Instant::now() + SAVE_SENT);
                }
            }
            Message::Signal(signal) => self.on_signal(&signal.payload).await?,
            Message::RosterNews(news) => {
                self.relay_head = news.head;
                self.sync_roster().await?;
            }
            Message::RosterPage(page) => {
                self.roster_asked = false;
                self.relay_head = page.head;
                self.take_statements(page.statements).await;
                self.sync_roster().await?;
            }
            Message::RosterOk(ok) => {
                self.roster_asked = false;
                self.relay_head = ok.head;
                if let Some(pending) = self.group.standing().pending
                    && pending.statement.hash() == ok.head.hash
                {
                    self.take_statements(vec![(*pending).clone()]).await;
                }
                self.sync_roster().await?;
            }
            Message::Error(error) => self.on_error(error).await?,
            Message::Presence(presence) => {
                self.group.set_online(self.relay, presence.online.into_iter().collect());
                self.vector_soon();
            }
            Message::Bye(bye) => return Err(SessionEnd::Lost(bye.reason)),
            _ => return Err(WireError::Unexpected.into()),
        }
        Ok(())
    }

    async fn on_error(&mut self, error: Error) -> Result<(), SessionEnd> {
        if let Some(req) = error.req {
            if self.pusher.refused(req, &error) {
                if error.code == Code::StaleEpoch {
                    self.ask_roster().await?;
                }
                return Ok(());
            }
            if req != self.subscribe.req && Some(req) != self.roster_req {
                // A push that was refused with others before it, and goes again with them.
                return Ok(());
            }
            if error.code == Code::RosterConflict {
                self.roster_asked = false;
                if let Some(head) = error.head {
                    self.relay_head = head;
                }
                return self.sync_roster().await;
            }
        }
        if error.code == Code::RateLimited {
            self.paced(&error);
            return Ok(());
        }
        Err(SessionEnd::refusal(&error))
    }

    /// Too fast for the relay: what was refused is said again when it may be.
    fn paced(&mut self, error: &Error) {
        let again = Instant::now() + pause(error);
        match error.req {
            Some(req) if req == self.subscribe.req => self.subscribe_at = Some(again),
            Some(_) => self.roster_at = Some(again),
            // A signal. Wants are repeated by themselves, vectors now and then: not as late as that.
            None => self.vector_at = self.vector_at.min(again),
        }
    }

    /// Whoever is behind catches up; then an own pending statement goes out.
    async fn sync_roster(&mut self) -> Result<(), SessionEnd> {
        if self.roster_asked {
            return Ok(());
        }
        let standing = self.group.standing();
        let head = standing.roster.head();
        if self.relay_head.n > head.n {
            return self.ask_roster().await;
        }
        if self.relay_head.n < head.n {
            let statements = statements_from(&self.context, &self.group, self.relay_head.n + 1).await?;
            let part = parts(statements).into_iter().next().unwrap_or_default();
            return self.append(part).await;
        }
        let forked = self.relay_head.hash != head.hash;
        let about = self.group.id.to_hex();
        if forked {
            let text = "a relay shows another history of the group's members than this device has";
            self.context.problems.set(
                "roster_fork",
                &about,
                text,
                "zerokctl device list shows the members here",
            );
            return Ok(());
        }
        self.context.problems.clear("roster_fork", &about);
        match standing.pending {
            Some(pending) if pending.statement.statement().is_ok_and(|s| s.prev == Some(head.hash)) => {
                self.append(vec![(*pending).clone()]).await
            }
            _ => Ok(()),
        }
    }

    fn roster_request(&mut self) -> u32 {
        let req = self.pusher.next_req();
        (self.roster_asked, self.roster_req) = (true, Some(req));
        req
    }

    async fn append(&mut self, statements: Vec<Append>) -> Result<(), SessionEnd> {
        let req = self.roster_request();
        let append = RosterAppend { req, statements };
        Ok(self.out.send(append.into()).await.map_err(|_| WireError::Lost)?)
    }

    async fn ask_roster(&mut self) -> Result<(), SessionEnd> {
        let from = self.group.standing().roster.head().n + 1;
        let get = RosterGet { req: self.roster_request(), from };
        Ok(self.out.send(get.into()).await.map_err(|_| WireError::Lost)?)
    }

    async fn take_statements(&self, statements: Vec<Append>) {
        let about = self.group.id.to_hex();
        let before = self.group.standing().roster;
        match self.context.groups.take_statements(&self.group, statements).await {
            Ok(()) => self.context.problems.clear("roster_invalid", &about),
            Err(error) => {
                tracing::warn!("a roster statement was refused: {error}");
                let text = format!("a relay offers a member list that does not hold: {error}");
                self.context.problems.set(
                    "roster_invalid",
                    &about,
                    text,
                    "do not trust this relay; add another",
                );
            }
        }
        for device in self.group.standing().roster.members().keys().filter(|d| !before.is_member(d)) {
            let data = serde_json::json!({ "id": device.to_hex() });
            self.context.events.emit("device.added", Some(self.group.id), data);
        }
    }

    async fn send_signal(&self, recipient: Option<DeviceId>, signal: &Signal) -> Result<(), SessionEnd> {
        let (epoch, keys) = self.group.current();
        let nonce = clock::random();
        let payload =
            seal_signal(&self.context.keys, &keys, self.group.id, epoch, nonce, clock::now_ms(), signal);
        let message = zerok_protocol::Signal { recipient, sender: None, payload };
        Ok(self.out.send(message.into()).await.map_err(|_| WireError::Lost)?)
    }

    fn vector_soon(&mut self) {
        self.vector_at = self.vector_at.min(Instant::now() + VECTOR_SOON);
    }

    /// What this device holds. Of its own chain, only what this relay has acknowledged: the rest is on its way.
    async fn send_vector(&mut self) -> Result<(), SessionEnd> {
        self.vector_at = Instant::now() + VECTOR_EVERY;
        let mut vector = self.own_vector()?;
        let (own, chain) = (self.context.keys.id(), self.group.chain);
        if let Some(position) = vector.get(&own, &chain)
            && position.seq > self.pusher.sent()
        {
            let (row, sent) = (self.group.row, self.pusher.sent());
            let held = self.context.store.read_blocking(|c| log::own_position(c, row, sent))?;
            match held {
                Some(position) => vector.set(own, chain, position),
                None => drop(vector.0.remove(&own)),
            }
        }
        for part in vector.parts() {
            self.send_signal(None, &Signal::Vector(part)).await?;
        }
        Ok(())
    }

    fn own_vector(&self) -> Result<Vector, StoreError> {
        let row = self.group.row;
        self.context.store.read_blocking(|connection| log::vector(connection, row))
    }

    async fn on_signal(&mut self, payload: &bytes::Bytes) -> Result<(), SessionEnd> {
        let opened = open_signal(payload, |epoch| self.group.epoch(epoch), self.group.id);
        let (sender, _, signal) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                tracing::debug!("a signal was not taken: {error}");
                return Ok(());
            }
        };
        if sender == self.context.keys.id() || !self.group.standing().roster.is_member(&sender) {
            return Ok(());
        }
        match signal {
            Signal::Vector(vector) => {
                let own = self.own_vector()?;
                if !own.covers(&vector) {
                    self.want_at.get_or_insert(Instant::now() + WANT_AFTER);
                }
                if self.group.heard(sender, vector.clone()) {
                    self.pusher.room_made();
                    self.remember_peer(sender, vector);
                }
            }
            Signal::Want { chains } => self.pusher.serve_want(sender, &chains).await?,
            Signal::WantChunks { addresses } => {
                drop(self.context.links.chunk_wants.try_send(ChunkWant { group: self.group.id, addresses }));
            }
            _ => {}
        }
        Ok(())
    }

    /// A hint that is good to have after a restart; nothing waits for it.
    fn remember_peer(&self, device: DeviceId, vector: Vector) {
        let (store, row) = (self.context.store.clone(), self.group.row);
        self.context.tracker.spawn(async move {
            let stored =
                store.write(move |c| groups::put_peer(c, row, &device, &vector, clock::now_ms())).await;
            if let Err(error) = stored {
                tracing::warn!("a member's vector was not stored: {error}");
            }
        });
    }

    /// Asks a holder for what this relay has not delivered, once it has delivered all it had.
    async fn send_wants(&mut self) -> Result<(), SessionEnd> {
        self.want_at = None;
        if !self.delivered.borrow().caught_up {
            return Ok(());
        }
        let own = self.own_vector()?;
        let now = Instant::now();
        for (holder, (vector, _)) in self.group.peers() {
            let mut wants: Vec<Want> = own.missing(&vector);
            wants.retain(|want| {
                want.device != self.context.keys.id()
                    && self
                        .asked
                        .get(&(want.device, want.chain))
                        .is_none_or(|(to, at)| *to < want.to || now.duration_since(*at) > WANT_AGAIN)
            });
            if wants.is_empty() {
                continue;
            }
            for want in &wants {
                self.asked.insert((want.device, want.chain), (want.to, now));
            }
            self.send_signal(Some(holder), &Signal::Want { chains: wants }).await?;
            self.want_at = Some(now + WANT_AGAIN + Duration::from_millis(100));
        }
        Ok(())
    }

    async fn save_sent(&mut self) -> Result<(), SessionEnd> {
        self.save_sent_at = None;
        let (relay, row, sent) = (self.relay, self.group.row, self.pusher.sent());
        self.context.store.write(move |connection| relays::set_sent(connection, relay, row, sent)).await?;
        self.vector_soon();
        Ok(())
    }
}

/// Waits for a time that may not be set.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
