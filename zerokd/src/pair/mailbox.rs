//! A mailbox at a relay, on a stream of its own.

use std::time::Duration;

use bytes::Bytes;
use iroh::endpoint::{Connection, RecvStream, SendStream};
use tokio::time::{sleep, timeout};
use zerok_protocol::{Code, MailboxClose, MailboxId, MailboxOpen, MailboxPut, MailboxTake, Message, Side};

use super::PairError;
use crate::wire::{self, WireError};

/// Waiting for a message, in one request.
const WAIT: Duration = Duration::from_secs(25);
/// Anything else is answered within this time.
const ANSWER: Duration = Duration::from_secs(10);

/// One end of a mailbox.
pub(super) struct Mailbox {
    id: MailboxId,
    side: Side,
    req: u32,
    send: SendStream,
    receive: RecvStream,
}

impl Mailbox {
    /// A stream to a mailbox; nothing is sent yet.
    pub(super) async fn new(connection: &Connection, id: MailboxId, side: Side) -> Result<Self, PairError> {
        let (send, receive) = connection.open_bi().await.map_err(|_| WireError::Lost)?;
        Ok(Self { id, side, req: 0, send, receive })
    }

    /// Opens it, or finds it open.
    pub(super) async fn open(&mut self, expiry_seconds: u32) -> Result<(), PairError> {
        let req = self.next();
        let open = MailboxOpen { req, mailbox: self.id, expiry_seconds, notice: None };
        self.done(open.into()).await
    }

    /// Leaves a message for the other side.
    pub(super) async fn put(&mut self, message: Bytes) -> Result<(), PairError> {
        let to = match self.side {
            Side::Opener => Side::Joiner,
            Side::Joiner => Side::Opener,
        };
        let req = self.next();
        self.done(MailboxPut { req, mailbox: self.id, to, message }.into()).await
    }

    /// Takes the next message for this side, if one comes soon.
    pub(super) async fn take(&mut self) -> Result<Option<Bytes>, PairError> {
        self.take_within(WAIT).await
    }

    /// The same, and not later.
    pub(super) async fn take_within(&mut self, wait: Duration) -> Result<Option<Bytes>, PairError> {
        let req = self.next();
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        let take = MailboxTake { req, mailbox: self.id, side: self.side, wait_ms };
        match self.ask(take.into(), wait + ANSWER).await? {
            Message::MailboxMessage(answer) => Ok(answer.message),
            _ => Err(WireError::Unexpected.into()),
        }
    }

    /// Closes it: what is in it can still be taken, nothing can be added.
    pub(super) async fn close(&mut self) -> Result<(), PairError> {
        let req = self.next();
        self.done(MailboxClose { req, mailbox: self.id }.into()).await
    }

    fn next(&mut self) -> u32 {
        self.req += 1;
        self.req
    }

    async fn done(&mut self, request: Message) -> Result<(), PairError> {
        match self.ask(request, ANSWER).await? {
            Message::MailboxOk(_) => Ok(()),
            _ => Err(WireError::Unexpected.into()),
        }
    }

    async fn ask(&mut self, request: Message, within: Duration) -> Result<Message, PairError> {
        let answer = loop {
            wire::write(&mut self.send, &request).await?;
            let answer = timeout(within, wire::read(&mut self.receive)).await;
            match answer.map_err(|_| WireError::Timeout(within))?? {
                Message::Error(error) if error.code == Code::RateLimited => sleep(pace(&error)).await,
                answer => break answer,
            }
        };
        match answer {
            Message::Error(error) if error.code == Code::MailboxGone => Err(PairError::Used),
            Message::Error(error) => Err(PairError::Refused(format!("{}: {}", error.code, error.message))),
            answer => Ok(answer),
        }
    }
}

/// How long the relay asks to wait: less haste is no failure.
pub(super) fn pace(error: &zerok_protocol::Error) -> Duration {
    Duration::from_millis(error.retry_after_ms.unwrap_or(1000)).min(ANSWER)
}

impl From<WireError> for PairError {
    fn from(error: WireError) -> Self {
        Self::Unreachable(error.to_string())
    }
}
