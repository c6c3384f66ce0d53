//! A statement, its exact signed bytes, and the envelopes that travel beside it.

use std::fmt;

use bytes::Bytes;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{MAX_SEALED, MAX_STATEMENT, RosterError, verify};
use crate::id::{ChainId, DeviceId, GroupId, Hash, KemKey, Signature};

/// What stands before a statement's bytes when its author signs them.
const LABEL_STATEMENT: &[u8] = b"0k-sync v1 statement\0";
/// What stands before a member record's bytes when the joiner signs them.
const LABEL_MEMBER: &[u8] = b"0k-sync v1 member\0";

/// What a joiner says of itself. Names are not part of it: they never reach a relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its Ed25519 key.
    pub device: DeviceId,
    /// Its X-Wing key.
    pub kem: KemKey,
}

impl Member {
    /// The bytes that the joiner signs, label included.
    #[must_use]
    pub fn to_sign(&self) -> Vec<u8> {
        let mut out = LABEL_MEMBER.to_vec();
        out.extend(rmp_serde::to_vec_named(self).expect("writing plain data to a Vec cannot fail"));
        out
    }

    /// Does the joiner's signature hold?
    #[must_use]
    pub fn verify(&self, signature: &Signature) -> bool {
        let bytes = rmp_serde::to_vec_named(self).expect("writing plain data to a Vec cannot fail");
        verify(&self.device, LABEL_MEMBER, &bytes, signature)
    }
}

/// What a statement changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Makes the group with its first member.
    Genesis {
        /// The first member, who signs the statement.
        member: Member,
    },
    /// Adds a device.
    Add {
        /// The joiner.
        member: Member,
    },
    /// Shuts a device out and makes an epoch.
    Revoke {
        /// Who is shut out.
        device: DeviceId,
    },
    /// Makes an epoch.
    Rotate,
    /// The author leaves.
    Leave,
    /// Ends the chains of a device that is gone: what lies beyond is never applied.
    Cut {
        /// Whose chains.
        device: DeviceId,
        /// Chain, last bundle's number, its hash.
        chains: Vec<(ChainId, u64, Hash)>,
    },
    /// A range of bundles that no member has.
    Lost {
        /// Whose chain.
        device: DeviceId,
        /// Which chain.
        chain: ChainId,
        /// First missing bundle.
        from: u64,
        /// Last missing bundle.
        to: u64,
    },
    /// Adds a member whose keys exist only in a recovery file, and makes an epoch.
    Recovery {
        /// The recovery member.
        member: Member,
    },
}

impl Change {
    /// Does it make an epoch?
    #[must_use]
    pub fn makes_epoch(&self) -> bool {
        matches!(
            self,
            Change::Genesis { .. } | Change::Revoke { .. } | Change::Rotate | Change::Recovery { .. }
        )
    }

    /// Do envelopes stand beside it?
    #[must_use]
    pub fn needs_envelopes(&self) -> bool {
        self.makes_epoch() || matches!(self, Change::Add { .. })
    }

    fn member(&self) -> Option<&Member> {
        match self {
            Change::Genesis { member } | Change::Add { member } | Change::Recovery { member } => Some(member),
            _ => None,
        }
    }
}

/// One statement of the roster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Format version, 1.
    pub v: u8,
    /// The group; absent in genesis, whose hash is the group id.
    pub group: Option<GroupId>,
    /// Its number, genesis is 0.
    pub n: u64,
    /// Hash of the statement before it; absent in genesis.
    pub prev: Option<Hash>,
    /// What it changes.
    pub change: Change,
    /// Covers the envelopes and sealed secrets beside it.
    pub envelopes_hash: Option<Hash>,
    /// Its author.
    pub by: DeviceId,
}

impl Statement {
    /// The exact bytes that are signed, hashed, stored and sent (without the label).
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        rmp_serde::to_vec_named(self).expect("writing plain data to a Vec cannot fail")
    }

    /// What its author signs: the label and the bytes.
    #[must_use]
    pub fn to_sign(bytes: &[u8]) -> Vec<u8> {
        [LABEL_STATEMENT, bytes].concat()
    }
}

/// The exact bytes of a statement with their signatures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The statement, never re-serialised.
    pub bytes: Bytes,
    /// By the author.
    pub signature: Signature,
    /// By the joiner over its member record, where there is one.
    pub joiner: Option<Signature>,
}

impl Signed {
    /// BLAKE3 of the exact bytes: `prev` of the next one, and the group id if this is genesis.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of(&self.bytes)
    }

    /// Reads the statement; the signatures are not checked.
    ///
    /// # Errors
    /// It is too long, no statement, or not of version 1.
    pub fn statement(&self) -> Result<Statement, RosterError> {
        if self.bytes.len() > MAX_STATEMENT {
            return Err(RosterError::Malformed);
        }
        match rmp_serde::from_slice::<Statement>(&self.bytes) {
            Ok(statement) if statement.v == 1 => Ok(statement),
            _ => Err(RosterError::Malformed),
        }
    }

    pub(super) fn verify(&self, statement: &Statement) -> Result<(), RosterError> {
        let joiner_holds = match (statement.change.member(), &self.joiner) {
            (Some(member), Some(signature)) => member.verify(signature),
            (None, None) => true,
            _ => false,
        };
        if joiner_holds && verify(&statement.by, LABEL_STATEMENT, &self.bytes, &self.signature) {
            Ok(())
        } else {
            Err(RosterError::BadSignature { n: statement.n })
        }
    }
}

/// Group secrets sealed to one member by HPKE (X-Wing); opaque here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// To whom.
    pub device: DeviceId,
    /// The encapsulated key.
    pub enc: Bytes,
    /// The sealed secrets.
    pub ciphertext: Bytes,
}

impl Envelope {
    /// BLAKE3 over device, length-prefixed enc and ciphertext.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.device.as_bytes());
        for part in [&self.enc, &self.ciphertext] {
            hasher.update(&count(part.len()));
            hasher.update(part);
        }
        Hash(*hasher.finalize().as_bytes())
    }
}

/// A length as it is hashed.
fn count(length: usize) -> [u8; 8] {
    u64::try_from(length).expect("a length fits 64 bits").to_be_bytes()
}

/// What a statement's `envelopes_hash` covers: BLAKE3 over a label, the envelopes' hashes and the hashes of the
/// sealed previous secrets, each list after its length.
#[must_use]
pub fn envelopes_hash(envelopes: &[Hash], sealed_previous: &[Bytes]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"0k-sync v1 envelopes\0");
    hasher.update(&count(envelopes.len()));
    for hash in envelopes {
        hasher.update(hash.as_bytes());
    }
    hasher.update(&count(sealed_previous.len()));
    for sealed in sealed_previous {
        hasher.update(blake3::hash(sealed).as_bytes());
    }
    Hash(*hasher.finalize().as_bytes())
}

/// A statement with everything that travels beside it. Members hold all of it, not only their own envelope, so that any
/// one of them can refill a relay that lost its database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append {
    /// The statement.
    pub statement: Signed,
    /// For every member (an epoch) or the joiner (add).
    pub envelopes: Vec<Envelope>,
    /// The previous epoch's secret sealed under the new one; a lost branch's too. Kept for good.
    #[serde(deserialize_with = "few")]
    pub sealed_previous: Vec<Bytes>,
}

/// Reads no more than [`MAX_SEALED`]: in memory an empty one takes many times what it takes on the wire.
fn few<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Bytes>, D::Error> {
    struct Few;

    impl<'de> Visitor<'de> for Few {
        type Value = Vec<Bytes>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX_SEALED} byte strings")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Bytes>, A::Error> {
            let mut sealed = Vec::new();
            while let Some(next) = list.next_element()? {
                if sealed.len() == MAX_SEALED {
                    return Err(A::Error::invalid_length(MAX_SEALED + 1, &self));
                }
                sealed.push(next);
            }
            Ok(sealed)
        }
    }

    deserializer.deserialize_seq(Few)
}
