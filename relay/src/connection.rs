//! One device's connection: takes its streams and gives each to what its first frame asks for.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use iroh::endpoint::{Connection, RecvStream, SendStream, VarInt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use zerok_protocol::{DeviceId, GroupId, MAX_FRAME, Message};

use crate::frames::{Frames, FramesError, STRANGERS_FRAME, decode};
use crate::hub::Group;
use crate::limit::Limited;
use crate::metrics::Counted;
use crate::outbox::Outbox;
use crate::refuse::{self, Refusal};
use crate::relay::Relay;
use crate::{chunks, mailbox, session};

/// Bytes of requests that one connection may have under way: what bounds its memory.
pub(crate) const BUDGET: usize = 8 << 20;
/// Bytes of pages, chunks and blobs that one connection may have on their way out of this process.
const OUTGOING: usize = 8 << 20;
/// Bytes of statements of one connection that wait for the one that makes their sender a member.
const STAGED: usize = 32 << 20;
/// CHUNK_GETs of one connection that may wait: each may name hundreds of chunks that are not there.
const GETS: usize = 128;
/// How long a refused stream may take to be read by the device.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long the streams of a connection may take to end when the relay stops.
const GOODBYE: Duration = Duration::from_secs(2);

pub(crate) struct Conn {
    pub(crate) relay: Arc<Relay>,
    pub(crate) quic: Connection,
    pub(crate) device: DeviceId,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) budget: Arc<Semaphore>,
    outgoing: Arc<Semaphore>,
    pub(crate) staged: Arc<Semaphore>,
    /// CHUNK_GETs of all its streams that may wait.
    pub(crate) gets: Arc<Semaphore>,
    pub(crate) tasks: TaskTracker,
    /// Groups with admitted sessions on this connection, and how many.
    admitted: Mutex<HashMap<GroupId, (Arc<Group>, usize)>>,
}

/// Serves a connection until it or the relay ends.
pub(crate) async fn serve(relay: Arc<Relay>, quic: Connection, ip: Option<IpAddr>) {
    let device = DeviceId(*quic.remote_id().as_bytes());
    let conn = Arc::new(Conn {
        budget: Arc::new(Semaphore::new(BUDGET)),
        outgoing: Arc::new(Semaphore::new(OUTGOING)),
        staged: Arc::new(Semaphore::new(STAGED)),
        gets: Arc::new(Semaphore::new(GETS)),
        tasks: TaskTracker::new(),
        admitted: Mutex::default(),
        relay,
        quic,
        device,
        ip,
    });
    let relay = &conn.relay;
    relay.metrics.connections_total.inc();
    let _counted = Counted::new(&relay.metrics.connections);
    tracing::debug!("connection accepted");
    // Whoever opens nothing at all costs a connection for nothing.
    let settings = relay.settings();
    conn.quic.set_max_concurrent_bi_streams(VarInt::from_u32(settings.max_streams));
    let mut deadline = settings.hello_timeout;
    loop {
        let accepted = tokio::select! {
            () = relay.stop.cancelled() => break,
            accepted = timeout(deadline, conn.quic.accept_bi()) => accepted,
        };
        match accepted {
            Ok(Ok((send, recv))) => {
                conn.tasks.spawn(stream(conn.clone(), send, recv).in_current_span());
            }
            Ok(Err(_)) => break,
            Err(_) => {
                relay.metrics.rejected("silent");
                conn.quic.close(VarInt::from_u32(1), b"no stream in time");
                break;
            }
        }
        deadline = Duration::MAX;
    }
    // When the relay stops, the sessions say goodbye first, and before that what is being committed is answered.
    conn.tasks.close();
    if relay.stop.is_cancelled() && timeout(GOODBYE, conn.tasks.wait()).await.is_err() {
        tracing::debug!("closed before everything was said");
    }
    if relay.stop.is_cancelled() {
        conn.quic.close(VarInt::from_u32(0), b"the relay is stopping");
    }
    conn.tasks.wait().await;
    conn.quic.close(VarInt::from_u32(0), b"");
    tracing::debug!("connection over");
}

async fn stream(conn: Arc<Conn>, send: SendStream, recv: RecvStream) {
    let metrics = conn.relay.metrics.clone();
    let most = if conn.is_admitted() { MAX_FRAME } else { STRANGERS_FRAME };
    let mut frames = Frames::new(recv, most, metrics.clone());
    let outbox = Outbox::new(conn.relay.metrics.clone());
    let mut writer = conn.tasks.spawn(outbox.clone().write_to(send).in_current_span());
    let first = tokio::select! {
        () = conn.relay.stop.cancelled() => Err(refuse::shutting_down()),
        first = timeout(conn.relay.settings().hello_timeout, frames.next()) => match first {
            Err(_) => Err(Refusal::invalid("no message in time").answer(None)),
            Ok(Err(FramesError::Lost(_)) | Ok(None)) => return outbox.end(),
            Ok(Err(e)) => Err(Refusal::invalid(e.to_string()).answer(None)),
            Ok(Ok(Some(frame))) => decode(&frame).map_err(|refusal| refusal.answer(None)),
        },
    };
    match first {
        Ok(Message::Hello(hello)) => {
            // Rosters come in large frames.
            frames.lift();
            session::serve(conn, hello, frames, outbox.clone()).await;
        }
        Ok(first @ (Message::ChunkPut(_) | Message::ChunkGet(_) | Message::ChunkHave(_))) => {
            chunks::serve(conn, first, frames, outbox.clone()).await;
        }
        Ok(
            first @ (Message::MailboxOpen(_)
            | Message::MailboxPut(_)
            | Message::MailboxTake(_)
            | Message::MailboxClose(_)),
        ) => mailbox::serve(conn, first, frames, outbox.clone()).await,
        Ok(_) => {
            let text = "a stream begins with HELLO, CHUNK_* or MAILBOX_*";
            outbox.end_with(&Refusal::invalid(text).answer(None));
        }
        Err(refusal) => outbox.end_with(&refusal),
    }
    outbox.end();
    if timeout(LAST_WORDS, &mut writer).await.is_err() {
        // It does not read: what waits for it is let go.
        metrics.unread.inc();
        writer.abort();
    }
}

impl Conn {
    fn admitted(&self) -> MutexGuard<'_, HashMap<GroupId, (Arc<Group>, usize)>> {
        self.admitted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one message from the device's share, and from everybody's.
    pub(crate) fn message(&self) -> Result<(), Refusal> {
        self.within(self.relay.rates.message(&self.device))
    }

    pub(crate) fn signal(&self) -> Result<(), Refusal> {
        self.within(self.relay.rates.signal(&self.device))
    }

    pub(crate) fn mailbox_message(&self) -> Result<(), Refusal> {
        self.within(self.relay.rates.mailbox(self.ip, &self.device))
    }

    fn within(&self, taken: Result<(), Limited>) -> Result<(), Refusal> {
        taken.map_err(|limited| {
            self.relay.metrics.limited(limited.limit);
            Refusal::rate_limited(limited.wait)
        })
    }

    /// Waits until the device may move so many bytes of blobs or chunks, in or out.
    pub(crate) async fn pace(&self, bytes: usize) {
        if !self.relay.rates.is_paced() {
            return;
        }
        tokio::select! {
            // Then it does not matter any more.
            () = self.relay.stop.cancelled() => {}
            _ = self.quic.closed() => {}
            waited = self.relay.rates.bytes(&self.device, bytes) => if waited {
                self.relay.metrics.limited("bytes_per_second_per_device");
            },
        }
    }

    /// Waits until so many bytes more may be on their way out. Whoever reads nothing holds up only its own connection.
    pub(crate) async fn outgoing(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes.min(OUTGOING)).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        self.outgoing.clone().acquire_many_owned(bytes).await.ok()
    }

    /// Has this connection an admitted session of the group, and is the device a member still? A session that is being
    /// ended gives no access any more.
    pub(crate) fn has_access(&self, group: &GroupId) -> bool {
        let group = self.admitted().get(group).map(|(group, _)| group.clone());
        group.is_some_and(|group| group.known().roster.is_member(&self.device))
    }

    /// Has it an admitted session at all?
    pub(crate) fn is_admitted(&self) -> bool {
        !self.admitted().is_empty()
    }

    /// Lets the connection's other streams use the group as long as the answer lives.
    pub(crate) fn admit(self: &Arc<Self>, id: GroupId, group: &Arc<Group>) -> Access {
        self.admitted().entry(id).or_insert_with(|| (group.clone(), 0)).1 += 1;
        Access { conn: self.clone(), group: id }
    }
}

/// Access of a connection to a group; ends with the session that holds it.
pub(crate) struct Access {
    conn: Arc<Conn>,
    group: GroupId,
}

impl Drop for Access {
    fn drop(&mut self) {
        let mut admitted = self.conn.admitted();
        if let Some((_, sessions)) = admitted.get_mut(&self.group) {
            *sessions -= 1;
            if *sessions == 0 {
                admitted.remove(&self.group);
            }
        }
    }
}
