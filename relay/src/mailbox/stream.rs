//! A mailbox stream: the one thing that a device may use before any group knows it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use zerok_protocol::{
    Code, MAX_MAILBOX_MESSAGE, MailboxClose, MailboxId, MailboxMessage, MailboxOk, MailboxOpen, MailboxPut,
    MailboxTake, Message, Side,
};

use super::MailboxError;
use crate::connection::Conn;
use crate::frames::{Frames, FramesError, decode};
use crate::outbox::Outbox;
use crate::refuse::{self, Refusal};

/// Longest wait of a TAKE.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// TAKEs of one stream that may wait.
const MAX_WAITING: usize = 8;

type Refused = (Option<u32>, Refusal);

struct Mailing {
    conn: Arc<Conn>,
    outbox: Arc<Outbox>,
    waiting: Arc<Semaphore>,
    /// Mailboxes whose notice this stream has seen.
    noticed: Arc<Mutex<HashSet<MailboxId>>>,
}

/// Serves a stream that began with a MAILBOX_* message.
pub(crate) async fn serve(conn: Arc<Conn>, first: Message, mut frames: Frames, outbox: Arc<Outbox>) {
    let waiting = Arc::new(Semaphore::new(MAX_WAITING));
    let mailing = Mailing { conn, outbox, waiting, noticed: Arc::default() };
    let (conn, outbox) = (&mailing.conn, &mailing.outbox);
    let mut message = first;
    loop {
        if let Err((req, refusal)) = mailing.handle(message) {
            outbox.send(&refusal.answer(req));
        }
        message = loop {
            let frame = tokio::select! {
                () = outbox.ended().cancelled() => return,
                () = conn.relay.stop.cancelled() => return outbox.end_with(&refuse::shutting_down()),
                frame = frames.next_answerable(outbox) => frame,
            };
            match frame {
                Ok(Some(frame)) => match decode(&frame) {
                    Ok(message) => break message,
                    Err(refusal) => outbox.send(&refusal.answer(None)),
                },
                // What was asked for is still answered.
                Ok(None) => return mailing.drain().await,
                Err(FramesError::Lost(_)) => return,
                Err(e) => return outbox.end_with(&Refusal::invalid(e.to_string()).answer(None)),
            }
        };
    }
}

impl Mailing {
    async fn drain(&self) {
        let all = u32::try_from(MAX_WAITING).unwrap_or(u32::MAX);
        tokio::select! {
            () = self.outbox.ended().cancelled() => {}
            () = self.conn.relay.stop.cancelled() => {}
            _ = self.waiting.acquire_many(all) => {}
        }
    }

    fn handle(&self, message: Message) -> Result<(), Refused> {
        match message {
            Message::MailboxOpen(request) => self.answer(request.req, |m| m.open(request)),
            Message::MailboxPut(request) => self.answer(request.req, |m| m.put(request)),
            Message::MailboxClose(request) => self.answer(request.req, |m| m.close(&request)),
            Message::MailboxTake(request) => {
                let req = Some(request.req);
                self.conn
                    .mailbox_message()
                    .and_then(|()| self.take(request))
                    .map_err(|refusal| (req, refusal))
            }
            other => {
                let text = format!("message {:#04x} does not belong on a mailbox stream", other.kind());
                Err((None, Refusal::invalid(text)))
            }
        }
    }

    fn answer(&self, req: u32, act: impl FnOnce(&Self) -> Result<(), Refusal>) -> Result<(), Refused> {
        self.conn.mailbox_message().and_then(|()| act(self)).map_err(|refusal| (Some(req), refusal))?;
        self.outbox.send(&MailboxOk { req }.into());
        Ok(())
    }

    fn open(&self, request: MailboxOpen) -> Result<(), Refusal> {
        if !self.conn.is_admitted() {
            return Err(Refusal::new(
                Code::Unauthorized,
                "opening a mailbox needs a session on this connection",
            ));
        }
        if request.notice.as_ref().is_some_and(|n| n.len() > MAX_MAILBOX_MESSAGE) {
            return Err(Refusal::invalid(format!("a notice is at most {MAX_MAILBOX_MESSAGE} bytes")));
        }
        let life = Duration::from_secs(request.expiry_seconds.into());
        let mailboxes = &self.conn.relay.mailboxes;
        Ok(mailboxes.open(request.mailbox, self.conn.device, life, request.notice, Instant::now())?)
    }

    fn put(&self, request: MailboxPut) -> Result<(), Refusal> {
        if request.message.len() > MAX_MAILBOX_MESSAGE {
            return Err(Refusal::invalid(format!("a message is at most {MAX_MAILBOX_MESSAGE} bytes")));
        }
        let mailbox = self.conn.relay.mailboxes.get(&request.mailbox, Instant::now())?;
        Ok(mailbox.put(request.to, request.message)?)
    }

    fn close(&self, request: &MailboxClose) -> Result<(), Refusal> {
        Ok(self.conn.relay.mailboxes.close(&request.mailbox, &self.conn.device, Instant::now())?)
    }

    fn take(&self, request: MailboxTake) -> Result<(), Refusal> {
        let MailboxTake { req, mailbox: id, side, wait_ms } = request;
        let mailbox = self.conn.relay.mailboxes.get(&id, Instant::now())?;
        mailbox.may_take(side, &self.conn.device)?;
        if let (Side::Joiner, Some(notice)) = (side, mailbox.notice())
            && self.noticed.lock().unwrap_or_else(PoisonError::into_inner).insert(id)
        {
            self.outbox.send(&MailboxMessage { req, message: Some(notice) }.into());
            return Ok(());
        }
        let Ok(place) = self.waiting.clone().try_acquire_owned() else {
            return Err(Refusal::new(
                Code::RelayOverloaded,
                "too many MAILBOX_TAKE under way on this stream",
            ));
        };
        let deadline = Instant::now() + Duration::from_millis(wait_ms.into()).min(MAX_WAIT);
        let (conn, outbox) = (self.conn.clone(), self.outbox.clone());
        conn.tasks.clone().spawn(async move {
            tokio::select! {
                () = outbox.ended().cancelled() => {}
                () = conn.relay.stop.cancelled() => {}
                taken = mailbox.take(side, &conn.device, deadline) => match taken {
                    Ok(message) => outbox.send(&MailboxMessage { req, message }.into()),
                    Err(e) => outbox.send(&Refusal::from(e).answer(Some(req))),
                },
            }
            drop(place);
        });
        Ok(())
    }
}

impl From<MailboxError> for Refusal {
    fn from(e: MailboxError) -> Self {
        match e {
            MailboxError::Gone => Self::new(Code::MailboxGone, "no such mailbox: expired, used or cancelled"),
            MailboxError::TooMany => Self::new(Code::RelayOverloaded, "too many mailboxes"),
            MailboxError::Full => Self::rate_limited(Duration::from_secs(1)),
            MailboxError::NotYours => Self::new(Code::Unauthorized, "only its opener may do that"),
        }
    }
}
