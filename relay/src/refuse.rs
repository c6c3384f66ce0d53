//! The refusals that a device sees: one ERROR for each reason, so that it can do the right thing.

use std::time::Duration;

use zerok_protocol::roster::{RosterError, Signed};
use zerok_protocol::{Code, Error, Head, Message};

use crate::store::StoreError;

/// A reason to refuse, before it is known which request it answers.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    text: String,
    retry_after: Option<Duration>,
    head: Option<Head>,
    statement: Option<Box<Signed>>,
}

impl Refusal {
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), retry_after: None, head: None, statement: None }
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::new(Code::InvalidMessage, text)
    }

    pub(crate) fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// For who may not know where the roster stands.
    pub(crate) fn without_head(self) -> Self {
        Self { head: None, ..self }
    }

    pub(crate) fn rate_limited(wait: Duration) -> Self {
        Self::new(Code::RateLimited, "too many messages").retry_after(wait)
    }

    /// The device is no longer a member.
    pub(crate) fn revoked(statement: Option<Signed>) -> Self {
        Self {
            statement: statement.map(Box::new),
            ..Self::new(Code::DeviceRevoked, "no longer a member of this group")
        }
    }

    /// As the answer to a request, or to the stream as a whole.
    pub(crate) fn answer(self, req: Option<u32>) -> Message {
        Error {
            req,
            code: self.code,
            message: self.text,
            retry_after_ms: self.retry_after.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
            head: self.head,
            statement: self.statement.map(|statement| *statement),
        }
        .into()
    }
}

/// The relay is stopping.
pub(crate) fn shutting_down() -> Message {
    Refusal::new(Code::RelayShuttingDown, "the relay is stopping").answer(None)
}

impl From<StoreError> for Refusal {
    fn from(e: StoreError) -> Self {
        let minute = Duration::from_secs(60);
        match e {
            StoreError::UnknownGroup => Self::new(Code::UnknownGroup, "unknown group"),
            StoreError::Conflict => Self::new(Code::BlobConflict, "blob id used before with another payload"),
            StoreError::Stale => Self::new(Code::StaleEpoch, "the roster has a newer epoch"),
            StoreError::Quota => Self::new(Code::GroupQuotaExceeded, "storage is full").retry_after(minute),
            StoreError::DiskFull => Self::new(Code::GroupQuotaExceeded, "disk is full").retry_after(minute),
            StoreError::TooManyGroups => Self::new(Code::RelayOverloaded, "the relay takes no more groups"),
            StoreError::NotInvited(why) => Self::new(
                Code::Unauthorized,
                format!(
                    "{why}: ask its operator for an address with a token (zerok-relay invite), then zerokctl relay add -"
                ),
            ),
            StoreError::RosterMoved => Self::new(Code::Internal, "the roster moved on"),
            StoreError::Closed => Self::new(Code::RelayShuttingDown, "the relay is stopping"),
            StoreError::Damaged => Self::new(Code::Internal, "the relay's database is damaged"),
            StoreError::Database(text) => {
                tracing::error!(error = %text, "the database failed");
                Self::new(Code::Internal, "the relay's database failed")
            }
        }
    }
}

impl From<RosterError> for Refusal {
    fn from(e: RosterError) -> Self {
        let code = match e {
            RosterError::Conflict(head) => {
                let refusal = Self::new(Code::RosterConflict, "the roster has another head");
                return Self { head: Some(head), ..refusal };
            }
            RosterError::NotMember { .. } => Code::Unauthorized,
            _ => Code::InvalidMessage,
        };
        Self::new(code, e.to_string())
    }
}
