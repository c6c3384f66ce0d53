//! Pairing by a one-time invite: the exchange through a relay mailbox, on both sides.
//!
//! What a kill leaves behind. The inviter decides the joiner, marks the invite used and stores the statement that adds
//! it in one transaction: before it, the invite is open and the task begins again at the next start; after it, the
//! start finds it `granting` and goes on from there, with the same joiner. So an invite never grants twice. The joiner
//! stores the group, its roster and keys and the relays in one transaction each, the group last; before that it has
//! nothing, and the same invite brings it to the grant again as long as the mailbox holds it.

mod invite;
mod join;
mod mailbox;

pub(crate) use invite::{cancel, create, reachable, resume};
pub(crate) use join::join;

use crate::endpoint::EndpointError;
use crate::group::GroupError;
use crate::store::StoreError;

/// Why pairing did not come about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PairError {
    /// No relay to pair through.
    #[error("this device has no relay yet, and pairing goes through one")]
    NoRelay,
    /// The relay is not connected or not reachable.
    #[error("{0}")]
    Unreachable(String),
    /// The relay refused.
    #[error("the relay refused: {0}")]
    Refused(String),
    /// The text is no invite.
    #[error("{0}")]
    Invite(#[from] zerok_core::InviteError),
    /// The relay address inside the invite is none.
    #[error("{0}")]
    Address(#[from] zerok_protocol::AddressError),
    /// Too late.
    #[error("the invite has expired")]
    Expired,
    /// Somebody was let in with it, or it was withdrawn.
    #[error("the invite was used already, or withdrawn")]
    Used,
    /// The inviter did not answer in time.
    #[error("the inviting device did not answer in time")]
    Silent,
    /// The answer was not sealed by whoever made the invite.
    #[error("the answer in the mailbox is not from whoever made the invite: {0}")]
    Answer(#[from] zerok_core::PairingError),
    /// The group.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such invite.
    #[error("no open invite with that id")]
    NoInvite,
}

impl From<EndpointError> for PairError {
    fn from(error: EndpointError) -> Self {
        Self::Unreachable(error.to_string())
    }
}
