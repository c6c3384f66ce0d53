//! Statements with the envelopes that stand beside them: group secrets sealed to each member by HPKE (RFC 9180, Base
//! mode) with X-Wing, HKDF-SHA256 and ChaCha20-Poly1305.

mod previous;

use bytes::Bytes;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable, single_shot_open, single_shot_seal};
use zeroize::Zeroizing;
use zerok_protocol::roster::{Append, Change, Envelope, Member, Roster, Statement, envelopes_hash};
use zerok_protocol::{DeviceId, KemKey, Signature};

use crate::secret::{ConstantSecret, DeviceKeys, EpochSecret};

pub use previous::open_previous;

const INFO: &[u8] = b"0k-sync v1 envelope";
/// First byte of the sealed text.
const VERSION: u8 = 1;
/// Version, epoch secret, constant secret.
const TEXT: usize = 1 + 32 + 32;

/// Why an envelope or a sealed secret cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is addressed to another device.
    #[error("envelope is for another device")]
    NotOurs,
    /// Wrong length, or no key where one should be.
    #[error("malformed envelope")]
    Malformed,
    /// Sealed to another key or for another statement, or changed on the way.
    #[error("envelope does not open")]
    Sealed,
    /// A version that this program does not know.
    #[error("envelope is of version {0}, this program knows 1")]
    Version(u8),
}

/// The first statement of a new group, with its only member's envelope.
#[must_use]
pub fn genesis(keys: &DeviceKeys, epoch: &EpochSecret, constant: &ConstantSecret) -> Append {
    let change = Change::Genesis { member: keys.member() };
    let draft = Draft { group: None, n: 0, prev: None, change, joiner: Some(keys.sign_member()) };
    draft.issue(keys, &[(keys.id(), keys.member().kem)], Vec::new(), epoch, constant)
}

/// Adds a device that signed its member record, with the current epoch's secret for it.
#[must_use]
pub fn add(
    keys: &DeviceKeys,
    roster: &Roster,
    member: Member,
    joiner: Signature,
    epoch: &EpochSecret,
    constant: &ConstantSecret,
) -> Append {
    let to = [(member.device, member.kem)];
    let draft = Draft::after(roster, Change::Add { member }, Some(joiner));
    draft.issue(keys, &to, Vec::new(), epoch, constant)
}

/// A rotation or a revocation: the new epoch's secret for every remaining member, and the previous one sealed under it.
#[must_use]
pub fn next_epoch(
    keys: &DeviceKeys,
    roster: &Roster,
    change: Change,
    new: &EpochSecret,
    previous: &EpochSecret,
    constant: &ConstantSecret,
) -> Append {
    let gone = match &change {
        Change::Revoke { device } => Some(*device),
        _ => None,
    };
    let stays = roster.members().iter().filter(|(device, _)| Some(**device) != gone);
    let to: Vec<_> = stays.map(|(device, standing)| (*device, *standing.kem)).collect();
    let sealed = previous::seal_previous(new, roster.epoch(), previous);
    Draft::after(roster, change, None).issue(keys, &to, vec![sealed], new, constant)
}

/// Opens the own envelope beside `statement`: the secret of the epoch that held after it, and the group's constant one.
///
/// # Errors
/// It is not for this device, does not belong to this statement, or was changed.
pub fn open_envelope(
    keys: &DeviceKeys,
    statement: &Statement,
    envelope: &Envelope,
) -> Result<(EpochSecret, ConstantSecret), OpenError> {
    if envelope.device != keys.id() {
        return Err(OpenError::NotOurs);
    }
    let enc = <XWing as Kem>::EncappedKey::from_bytes(&envelope.enc).map_err(|_| OpenError::Malformed)?;
    let aad = aad(statement, &envelope.device);
    let text = single_shot_open::<ChaCha20Poly1305, HkdfSha256, XWing>(
        &OpModeR::Base,
        keys.kem(),
        &enc,
        INFO,
        &envelope.ciphertext,
        &aad,
    );
    let text = Zeroizing::new(text.map_err(|_| OpenError::Sealed)?);
    let (version, secrets) = text.split_first().ok_or(OpenError::Malformed)?;
    if *version != VERSION {
        return Err(OpenError::Version(*version));
    }
    let (epoch, constant) = secrets.split_at_checked(32).ok_or(OpenError::Malformed)?;
    let epoch = EpochSecret::from_slice(epoch).ok_or(OpenError::Malformed)?;
    let constant = ConstantSecret::from_slice(constant).ok_or(OpenError::Malformed)?;
    Ok((epoch, constant))
}

/// Can secrets be sealed to this key? Not every string of its length is an ML-KEM key (FIPS 203, section 7.2).
pub(crate) fn is_usable(kem: &KemKey) -> bool {
    <XWing as Kem>::PublicKey::from_bytes(kem.as_bytes()).is_ok()
}

/// A statement before its envelopes are there.
struct Draft {
    group: Option<zerok_protocol::GroupId>,
    n: u64,
    prev: Option<zerok_protocol::Hash>,
    change: Change,
    joiner: Option<Signature>,
}

impl Draft {
    fn after(roster: &Roster, change: Change, joiner: Option<Signature>) -> Self {
        let head = roster.head();
        Self { group: Some(roster.group()), n: head.n + 1, prev: Some(head.hash), change, joiner }
    }

    fn issue(
        self,
        keys: &DeviceKeys,
        to: &[(DeviceId, KemKey)],
        sealed_previous: Vec<Bytes>,
        epoch: &EpochSecret,
        constant: &ConstantSecret,
    ) -> Append {
        let mut statement = Statement {
            v: 1,
            group: self.group,
            n: self.n,
            prev: self.prev,
            change: self.change,
            envelopes_hash: None,
            by: keys.id(),
        };
        let seal = |(device, kem): &(DeviceId, KemKey)| envelope(&statement, *device, kem, epoch, constant);
        let envelopes: Vec<_> = to.iter().map(seal).collect();
        let hashes: Vec<_> = envelopes.iter().map(Envelope::hash).collect();
        statement.envelopes_hash = Some(envelopes_hash(&hashes, &sealed_previous));
        Append { statement: keys.sign_statement(&statement, self.joiner), envelopes, sealed_previous }
    }
}

/// The secrets sealed to one member. A member whose KEM key is none (its inviter should have refused it) gets an empty
/// envelope: it is shut out by its own doing, and keeps nobody from issuing epochs.
fn envelope(
    statement: &Statement,
    device: DeviceId,
    kem: &KemKey,
    epoch: &EpochSecret,
    constant: &ConstantSecret,
) -> Envelope {
    let mut text = Zeroizing::new(Vec::with_capacity(TEXT));
    text.push(VERSION);
    text.extend_from_slice(epoch.expose());
    text.extend_from_slice(constant.expose());
    let sealed = <XWing as Kem>::PublicKey::from_bytes(kem.as_bytes()).and_then(|kem| {
        let aad = aad(statement, &device);
        single_shot_seal::<ChaCha20Poly1305, HkdfSha256, XWing>(&OpModeS::Base, &kem, INFO, &text, &aad)
    });
    let (enc, ciphertext) = match sealed {
        Ok((enc, ciphertext)) => (Bytes::copy_from_slice(&enc.to_bytes()), ciphertext.into()),
        Err(_) => (Bytes::new(), Bytes::new()),
    };
    Envelope { device, enc, ciphertext }
}

/// Statement number, hash of the one before (zeros for genesis), device id.
fn aad(statement: &Statement, device: &DeviceId) -> Vec<u8> {
    let prev = statement.prev.map_or([0; 32], |hash| hash.0);
    [&statement.n.to_be_bytes()[..], &prev, device.as_bytes()].concat()
}

#[cfg(test)]
mod tests;
