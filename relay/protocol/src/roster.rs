//! Who is a member of a group: a chain of signed statements and the rules by which a device and a relay judge the
//! next one alike. Nothing here encrypts: envelopes are opaque bytes that a statement's hash covers.

mod fork;
mod statement;

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::VerifyingKey;

pub use fork::{Accepted, SETTLED_AFTER_MS, SETTLED_BY, other_wins};
pub use statement::{Append, Change, Envelope, Member, Signed, Statement, envelopes_hash};

use crate::id::{DeviceId, GroupId, Hash, KemKey, Signature};
use crate::message::{EpochId, Head};

/// Most members of a group, recovery members included.
pub const MAX_MEMBERS: usize = 256;
/// Most sealed previous secrets beside one statement.
pub const MAX_SEALED: usize = 256;
/// Largest statement in bytes.
pub const MAX_STATEMENT: usize = 16 << 10;

/// Why a statement is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// Not the MessagePack of a statement, or not of version 1.
    #[error("malformed statement")]
    Malformed,
    /// The signature of its author, or the joiner's, does not hold.
    #[error("bad signature on statement {n}")]
    BadSignature {
        /// Its number.
        n: u64,
    },
    /// It continues another head: re-issue on top of this one.
    #[error("the roster has moved on to statement {}", .0.n)]
    Conflict(Head),
    /// It names another group.
    #[error("statement {n} belongs to another group")]
    WrongGroup {
        /// Its number.
        n: u64,
    },
    /// Its author is no member at that point.
    #[error("statement {n} is by a device that is no member")]
    NotMember {
        /// Its number.
        n: u64,
    },
    /// The change itself is against the rules.
    #[error("statement {n}: {why}")]
    NotAllowed {
        /// Its number.
        n: u64,
        /// Which rule.
        why: &'static str,
    },
    /// The envelopes are not those that the statement's hash covers, or not for the right members.
    #[error("envelopes of statement {n} do not fit it")]
    Envelopes {
        /// Its number.
        n: u64,
    },
}

/// A member as the roster knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where its envelopes are sealed to.
    pub kem: Box<KemKey>,
    /// Seniority, the lower the more senior: one more than `joined`; a recovery member is 0.
    pub rank: u64,
    /// The number of the statement that admitted it.
    pub joined: u64,
    /// Who admitted it.
    pub added_by: DeviceId,
    /// A member whose keys exist only in a recovery file: gets envelopes, is not waited for.
    pub recovery: bool,
}

/// The roster at one head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    group: GroupId,
    head: Head,
    members: BTreeMap<DeviceId, Standing>,
    gone: BTreeSet<DeviceId>,
    epoch: EpochId,
}

impl Roster {
    /// Begins a roster with its genesis statement, whose hash is the group id.
    ///
    /// # Errors
    /// The statement is malformed, badly signed or no genesis.
    pub fn genesis(signed: &Signed) -> Result<Self, RosterError> {
        let statement = signed.statement()?;
        let not_allowed = |why| RosterError::NotAllowed { n: 0, why };
        let Change::Genesis { member } = &statement.change else {
            return Err(not_allowed("a roster begins with genesis"));
        };
        if statement.n != 0 || statement.prev.is_some() || statement.group.is_some() {
            return Err(not_allowed("genesis has no predecessor"));
        }
        if member.device != statement.by {
            return Err(not_allowed("genesis is by its own first member"));
        }
        if statement.envelopes_hash.is_none() {
            return Err(not_allowed("genesis makes an epoch and needs envelopes"));
        }
        signed.verify(&statement)?;
        let hash = signed.hash();
        let standing = Standing {
            kem: Box::new(member.kem),
            rank: 1,
            joined: 0,
            added_by: statement.by,
            recovery: false,
        };
        Ok(Self {
            group: GroupId(hash.0),
            head: Head { n: 0, hash },
            members: BTreeMap::from([(member.device, standing)]),
            gone: BTreeSet::new(),
            epoch: epoch_id(0, &hash),
        })
    }

    /// The whole chain from genesis.
    ///
    /// # Errors
    /// The first statement that does not hold.
    pub fn open<'a>(chain: impl IntoIterator<Item = &'a Signed>) -> Result<Self, RosterError> {
        let mut chain = chain.into_iter();
        let mut roster = Self::genesis(chain.next().ok_or(RosterError::Malformed)?)?;
        for signed in chain {
            roster.append(signed)?;
        }
        Ok(roster)
    }

    /// Takes the next statement, or refuses it and stays as it was.
    ///
    /// # Errors
    /// [`RosterError::Conflict`] if it does not continue this head; else the rule that it breaks.
    pub fn append(&mut self, signed: &Signed) -> Result<(), RosterError> {
        let statement = signed.statement()?;
        let n = statement.n;
        let not_allowed = |why| Err(RosterError::NotAllowed { n, why });
        if statement.group != Some(self.group) {
            return Err(RosterError::WrongGroup { n });
        }
        if statement.prev != Some(self.head.hash) || n != self.head.n + 1 {
            return Err(RosterError::Conflict(self.head));
        }
        if !self.members.contains_key(&statement.by) {
            return Err(RosterError::NotMember { n });
        }
        signed.verify(&statement)?;
        if statement.change.needs_envelopes() != statement.envelopes_hash.is_some() {
            return not_allowed("envelopes stand beside the statements that need them, and no others");
        }
        let hash = signed.hash();
        match &statement.change {
            Change::Genesis { .. } => return not_allowed("genesis is the first statement only"),
            Change::Add { member } | Change::Recovery { member } => {
                if self.members.contains_key(&member.device) {
                    return not_allowed("the device is a member already");
                }
                if self.gone.contains(&member.device) {
                    return not_allowed(
                        "a device that left or was revoked comes back under a new identity only",
                    );
                }
                if self.members.len() >= MAX_MEMBERS {
                    return not_allowed("the group is full");
                }
                let recovery = matches!(statement.change, Change::Recovery { .. });
                let rank = if recovery { 0 } else { n + 1 };
                let standing =
                    Standing { kem: Box::new(member.kem), rank, joined: n, added_by: statement.by, recovery };
                self.members.insert(member.device, standing);
            }
            Change::Revoke { device, .. } => {
                if *device == statement.by {
                    return not_allowed("a device does not revoke itself, it leaves");
                }
                if self.members.remove(device).is_none() {
                    return not_allowed("the revoked device is no member");
                }
                self.gone.insert(*device);
            }
            Change::Leave => {
                if self.members.len() == 1 {
                    return not_allowed("the last member cannot leave");
                }
                self.members.remove(&statement.by);
                self.gone.insert(statement.by);
            }
            Change::Cut { device, .. } => {
                if !self.gone.contains(device) {
                    return not_allowed("only the chains of a device that is gone are cut");
                }
            }
            Change::Rotate | Change::Lost { .. } => {}
        }
        if statement.change.makes_epoch() {
            self.epoch = epoch_id(self.epoch.number + 1, &hash);
        }
        self.head = Head { n, hash };
        Ok(())
    }

    /// Takes the next statement together with its envelopes, or refuses both and stays as it was.
    ///
    /// # Errors
    /// As [`Roster::append`], or the envelopes do not fit.
    pub fn append_with(&mut self, append: &Append) -> Result<(), RosterError> {
        let mut next = self.clone();
        next.append(&append.statement)?;
        next.check_envelopes(append)?;
        *self = next;
        Ok(())
    }

    /// As [`Roster::genesis`], with the envelopes.
    ///
    /// # Errors
    /// As [`Roster::genesis`], or the envelopes do not fit.
    pub fn genesis_with(append: &Append) -> Result<Self, RosterError> {
        let roster = Self::genesis(&append.statement)?;
        roster.check_envelopes(append)?;
        Ok(roster)
    }

    /// `self` is the roster after the statement: an epoch goes to every member, an added device gets its own.
    fn check_envelopes(&self, append: &Append) -> Result<(), RosterError> {
        let statement = append.statement.statement()?;
        let misfit = Err(RosterError::Envelopes { n: statement.n });
        let Some(expected) = statement.envelopes_hash else {
            return if append.envelopes.is_empty() && append.sealed_previous.is_empty() {
                Ok(())
            } else {
                misfit
            };
        };
        let to: BTreeSet<DeviceId> = append.envelopes.iter().map(|e| e.device).collect();
        let right = match &statement.change {
            Change::Add { member } => to == BTreeSet::from([member.device]),
            _ => to.iter().eq(self.members.keys()),
        };
        let hashes: Vec<Hash> = append.envelopes.iter().map(Envelope::hash).collect();
        if right
            && to.len() == append.envelopes.len()
            && envelopes_hash(&hashes, &append.sealed_previous) == expected
        {
            Ok(())
        } else {
            misfit
        }
    }

    /// The group's id.
    #[must_use]
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// The last statement.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// The newest epoch.
    #[must_use]
    pub fn epoch(&self) -> EpochId {
        self.epoch
    }

    /// The members, recovery members included, by id.
    #[must_use]
    pub fn members(&self) -> &BTreeMap<DeviceId, Standing> {
        &self.members
    }

    /// Is it a member at the head?
    #[must_use]
    pub fn is_member(&self, device: &DeviceId) -> bool {
        self.members.contains_key(device)
    }

    /// Was it a member once, and is none any more?
    #[must_use]
    pub fn is_gone(&self, device: &DeviceId) -> bool {
        self.gone.contains(device)
    }

    /// The members that must acknowledge and are counted: all but recovery members.
    pub fn counted(&self) -> impl Iterator<Item = &DeviceId> {
        self.members.iter().filter(|(_, standing)| !standing.recovery).map(|(id, _)| id)
    }
}

fn epoch_id(number: u64, hash: &Hash) -> EpochId {
    let mut tag = [0u8; 8];
    tag.copy_from_slice(hash.0.split_at(8).0);
    EpochId { number, tag: u64::from_be_bytes(tag) }
}

/// Verifies an Ed25519 signature by a device over a label and bytes (RFC 8032, strict).
#[must_use]
pub fn verify(by: &DeviceId, label: &[u8], bytes: &[u8], signature: &Signature) -> bool {
    let Ok(key) = VerifyingKey::from_bytes(by.as_bytes()) else { return false };
    let signature = ed25519_dalek::Signature::from_bytes(signature.as_bytes());
    key.verify_strict(&[label, bytes].concat(), &signature).is_ok()
}

#[cfg(test)]
mod tests;
