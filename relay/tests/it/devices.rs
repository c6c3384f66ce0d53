//! Devices that sign rosters.

use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use zerok_protocol::roster::{Append, Change, Envelope, Member, Roster, Signed, Statement, envelopes_hash};
use zerok_protocol::{DeviceId, Hash, KemKey, Signature};

/// A device's identity.
pub(crate) struct Device(SigningKey);

impl Device {
    pub(crate) fn new(seed: u8) -> Self {
        Self(SigningKey::from_bytes(&[seed; 32]))
    }

    /// More than there are bytes.
    pub(crate) fn numbered(n: u32) -> Self {
        let mut seed = [0xee; 32];
        seed[..4].copy_from_slice(&n.to_be_bytes());
        Self(SigningKey::from_bytes(&seed))
    }

    pub(crate) fn secret(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    pub(crate) fn id(&self) -> DeviceId {
        DeviceId(self.0.verifying_key().to_bytes())
    }

    pub(crate) fn member(&self) -> Member {
        Member { device: self.id(), kem: KemKey([self.id().0[0]; 1216]) }
    }

    pub(crate) fn sign(&self, statement: &Statement, joiner: Option<&Device>) -> Signed {
        let bytes = statement.to_bytes();
        let signature = Signature(self.0.sign(&Statement::to_sign(&bytes)).to_bytes());
        let joiner = joiner.map(|j| Signature(j.0.sign(&j.member().to_sign()).to_bytes()));
        Signed { bytes: bytes.into(), signature, joiner }
    }
}

fn envelope(to: DeviceId) -> Envelope {
    Envelope { device: to, enc: Bytes::from_static(b"enc"), ciphertext: Bytes::from_static(b"sealed") }
}

/// A roster in the making, with everything that travels beside it.
#[derive(Clone)]
pub(crate) struct Chain {
    pub(crate) roster: Roster,
    pub(crate) appends: Vec<Append>,
}

impl Chain {
    pub(crate) fn new(first: &Device) -> Self {
        let envelopes = vec![envelope(first.id())];
        let statement = Statement {
            v: 1,
            group: None,
            n: 0,
            prev: None,
            change: Change::Genesis { member: first.member() },
            envelopes_hash: Some(envelopes_hash(&[envelopes[0].hash()], &[])),
            by: first.id(),
        };
        let append =
            Append { statement: first.sign(&statement, Some(first)), envelopes, sealed_previous: vec![] };
        Self { roster: Roster::genesis_with(&append).unwrap(), appends: vec![append] }
    }

    pub(crate) fn of(devices: &[&Device]) -> Self {
        let mut chain = Self::new(devices[0]);
        for device in &devices[1..] {
            chain.add(devices[0], device);
        }
        chain
    }

    pub(crate) fn add(&mut self, by: &Device, joiner: &Device) {
        self.extend(by, Change::Add { member: joiner.member() }, &[joiner.id()], Some(joiner));
    }

    /// Adds a member whose keys exist only in a recovery file.
    pub(crate) fn recovery(&mut self, by: &Device, file: &Device) {
        let mut all: Vec<_> = self.roster.members().keys().copied().collect();
        all.push(file.id());
        self.extend(by, Change::Recovery { member: file.member() }, &all, Some(file));
    }

    pub(crate) fn revoke(&mut self, by: &Device, gone: &Device) {
        let rest: Vec<_> = self.roster.members().keys().filter(|id| **id != gone.id()).copied().collect();
        self.extend(by, Change::Revoke { device: gone.id() }, &rest, None);
    }

    pub(crate) fn rotate(&mut self, by: &Device) {
        let all: Vec<_> = self.roster.members().keys().copied().collect();
        self.extend(by, Change::Rotate, &all, None);
    }

    /// A new epoch with these beside it.
    pub(crate) fn rotate_with(&mut self, by: &Device, sealed_previous: Vec<Bytes>) {
        let all: Vec<_> = self.roster.members().keys().copied().collect();
        self.extend_with(by, Change::Rotate, &all, None, sealed_previous);
    }

    pub(crate) fn leave(&mut self, by: &Device) {
        self.extend(by, Change::Leave, &[], None);
    }

    fn extend(&mut self, by: &Device, change: Change, to: &[DeviceId], joiner: Option<&Device>) {
        self.extend_with(by, change, to, joiner, vec![]);
    }

    fn extend_with(
        &mut self,
        by: &Device,
        change: Change,
        to: &[DeviceId],
        joiner: Option<&Device>,
        sealed_previous: Vec<Bytes>,
    ) {
        let envelopes: Vec<_> = to.iter().map(|id| envelope(*id)).collect();
        let hashes: Vec<Hash> = envelopes.iter().map(Envelope::hash).collect();
        let statement = Statement {
            v: 1,
            group: Some(self.roster.group()),
            n: self.roster.head().n + 1,
            prev: Some(self.roster.head().hash),
            envelopes_hash: change.needs_envelopes().then(|| envelopes_hash(&hashes, &sealed_previous)),
            change,
            by: by.id(),
        };
        let append = Append { statement: by.sign(&statement, joiner), envelopes, sealed_previous };
        self.roster.append_with(&append).unwrap();
        self.appends.push(append);
    }
}
