//! Requests that read the database or change the roster: one after the other on a task of their own, so that pushes
//! and signals of the same session never wait for them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tracing::Instrument;
use zerok_protocol::{
    Code, MAX_FRAME, MAX_PAGE_BLOBS, Message, Pull, PullResponse, RosterAppend, RosterGet, RosterOk,
    RosterPage,
};

use super::{Refused, Session};
use crate::admission;
use crate::connection::BUDGET;
use crate::known;
use crate::refuse::Refusal;
use crate::store::PageLimit;

/// Requests of one session that may wait.
const WAITING: usize = 64;
/// Bytes of payload in one answer.
const PAGE_BYTES: usize = 1 << 20;
/// Bytes of a page of statements as they are stored: what stands around them fits the rest of the frame.
const ROSTER_BYTES: usize = MAX_FRAME - (16 << 10);

// Boxed: the channel makes room for 32 of them at once, and most sessions never ask for anything.
pub(super) struct SlowLane(mpsc::Sender<(Box<Message>, Option<OwnedSemaphorePermit>)>);

impl SlowLane {
    pub(super) fn start(session: &Arc<Session>) -> Self {
        let (sender, inbox) = mpsc::channel(WAITING);
        session.conn.tasks.spawn(serve(session.clone(), inbox).in_current_span());
        Self(sender)
    }

    pub(super) fn take(&self, session: &Session, req: Option<u32>, request: Message) -> Result<(), Refused> {
        session.conn.message().map_err(|refusal| (req, refusal))?;
        self.put(req, request, None)
    }

    /// The same with statements, which count among what the connection has under way.
    pub(super) async fn take_statements(
        &self,
        session: &Session,
        append: RosterAppend,
    ) -> Result<(), Refused> {
        let req = Some(append.req);
        session.conn.message().map_err(|refusal| (req, refusal))?;
        let bytes: usize = append.statements.iter().map(known::size).sum();
        let cost = u32::try_from(bytes.min(BUDGET)).unwrap_or(u32::MAX);
        let Ok(permit) = session.conn.budget.clone().acquire_many_owned(cost).await else { return Ok(()) };
        self.put(req, append.into(), Some(permit))
    }

    fn put(
        &self,
        req: Option<u32>,
        request: Message,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Refused> {
        self.0.try_send((Box::new(request), permit)).map_err(|_| {
            let refusal = Refusal::new(Code::RelayOverloaded, "too many requests under way");
            (req, refusal.retry_after(Duration::from_millis(100)))
        })
    }
}

async fn serve(
    session: Arc<Session>,
    mut inbox: mpsc::Receiver<(Box<Message>, Option<OwnedSemaphorePermit>)>,
) {
    while let Some((request, permit)) = inbox.recv().await {
        session.outbox.room().await;
        if session.over.is_cancelled() {
            return;
        }
        let (req, result) = match *request {
            Message::Pull(request) => (request.req, pull(&session, request).await),
            Message::RosterGet(request) => (request.req, roster_get(&session, request).await),
            Message::RosterAppend(request) => (request.req, roster_append(&session, request).await),
            _ => continue,
        };
        if let Err(refusal) = result {
            session.outbox.send(&refusal.answer(Some(req)));
        }
        drop(permit);
    }
}

async fn pull(session: &Session, request: Pull) -> Result<(), Refusal> {
    session.conn.relay.metrics.pulls.inc();
    tracing::debug!("pull");
    let limit = PageLimit {
        blobs: request.limit.unwrap_or(MAX_PAGE_BLOBS).clamp(1, MAX_PAGE_BLOBS),
        bytes: PAGE_BYTES - 64 * 1024,
    };
    let Some(place) = place(session).await else { return Ok(()) };
    let storage = &session.conn.relay.storage;
    let page = storage.page(session.id, session.conn.device, request.after_cursor, limit).await?;
    session.conn.pace(page.blobs.iter().map(|b| b.payload.len()).sum()).await;
    let answer =
        PullResponse { req: request.req, blobs: page.blobs, upto: page.upto, has_more: page.has_more };
    session.outbox.send_large(answer.into(), place);
    Ok(())
}

/// Room for a page among what the connection has on its way out; none if the session is over before.
async fn place(session: &Session) -> Option<OwnedSemaphorePermit> {
    tokio::select! {
        () = session.over.cancelled() => None,
        place = session.conn.outgoing(MAX_FRAME) => place,
    }
}

async fn roster_get(session: &Session, request: RosterGet) -> Result<(), Refusal> {
    let Some(place) = place(session).await else { return Ok(()) };
    let storage = &session.conn.relay.storage;
    let statements = storage.statements(session.id, request.from, ROSTER_BYTES).await?;
    let head = session.group.known().roster.head();
    session.outbox.send_large(RosterPage { req: request.req, statements, head }.into(), place);
    Ok(())
}

async fn roster_append(session: &Arc<Session>, request: RosterAppend) -> Result<(), Refusal> {
    tracing::debug!(statements = request.statements.len(), "roster append");
    let (req, outbox) = (request.req, session.outbox.clone());
    let answer = move |head| outbox.send(&RosterOk { req, head }.into());
    let conn = &session.conn;
    admission::append(&conn.relay, session.id, conn.device, None, request.statements, answer).await
}
