//! What went wrong inside, as the API says it.

use zerok_client::{ApiError, ErrorKind};

use crate::group::GroupError;
use crate::pair::PairError;
use crate::store::StoreError;

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::Closed => ErrorKind::ShuttingDown,
            error if error.is_disk_full() => ErrorKind::DiskFull,
            StoreError::Sql(_) | StoreError::File(_) | StoreError::Commit(_) => ErrorKind::Io,
            StoreError::Migration(_) | StoreError::Damaged(_) => ErrorKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<GroupError> for ApiError {
    fn from(error: GroupError) -> Self {
        let kind = match &error {
            GroupError::NotPaired => ErrorKind::NotPaired,
            GroupError::Unknown | GroupError::Ambiguous => ErrorKind::UnknownGroup,
            GroupError::Already => ErrorKind::Conflict,
            GroupError::NotMember | GroupError::Roster(_) | GroupError::Envelope(_) => ErrorKind::Internal,
            GroupError::Store(_) => match error {
                GroupError::Store(error) => return error.into(),
                _ => ErrorKind::Internal,
            },
        };
        let text = error.to_string();
        match error {
            GroupError::Already => {
                Self::new(kind, text).hint("zerokctl group list shows the groups of this device")
            }
            _ => Self::new(kind, text),
        }
    }
}

impl From<PairError> for ApiError {
    fn from(error: PairError) -> Self {
        let text = error.to_string();
        match error {
            PairError::NoRelay => Self::new(ErrorKind::RelayUnreachable, text)
                .hint("add one: zerokctl relay add ADDR; or let this device be one: zerokctl relay embed"),
            PairError::Unreachable(_) => Self::new(ErrorKind::RelayUnreachable, text),
            PairError::Refused(_) => Self::new(ErrorKind::RelayUnreachable, text)
                .hint("the relay answered and refused; ask its operator, or use another relay"),
            PairError::Invite(_) | PairError::Address(_) => Self::invalid("invite", text)
                .hint("copy the whole text that begins with zerok: from the other device"),
            PairError::Expired => Self::new(ErrorKind::InviteExpired, text),
            PairError::Used => Self::new(ErrorKind::InviteUsed, text),
            PairError::Silent => Self::new(ErrorKind::Timeout, text)
                .hint("is the other device's daemon running and connected? zerokctl status there shows it"),
            PairError::Answer(_) => Self::new(ErrorKind::WrongCode, text)
                .hint("somebody else answered in the mailbox: make a new invite on the other device"),
            PairError::NoInvite => Self::invalid("invite_id", text),
            PairError::Group(error) => error.into(),
            PairError::Store(error) => error.into(),
        }
    }
}
