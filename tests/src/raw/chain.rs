//! Devices, and the roster that they make together.

use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use zerok_protocol::roster::{
    Append, Change, Envelope, Member, Roster, RosterError, Signed, Statement, envelopes_hash,
};
use zerok_protocol::{DeviceId, Hash, KemKey, Signature};

/// A device's identity; the same for the same seed.
#[derive(Debug, Clone)]
pub struct Device(SigningKey);

impl Device {
    /// The device of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(SigningKey::from_bytes(blake3::hash(&seed.to_be_bytes()).as_bytes()))
    }

    /// Its secret, for a QUIC endpoint.
    #[must_use]
    pub fn secret(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        DeviceId(self.0.verifying_key().to_bytes())
    }

    fn member(&self) -> Member {
        Member { device: self.id(), kem: KemKey([7; 1216]) }
    }

    fn sign(&self, statement: &Statement, joiner: &Device) -> Signed {
        let bytes = statement.to_bytes();
        let signature = Signature(self.0.sign(&Statement::to_sign(&bytes)).to_bytes());
        let joiner = Signature(joiner.0.sign(&joiner.member().to_sign()).to_bytes());
        Signed { bytes: bytes.into(), signature, joiner: Some(joiner) }
    }
}

fn envelope(to: DeviceId) -> Envelope {
    // As long as real ones: an X-Wing encapsulation, and a sealed secret.
    Envelope {
        device: to,
        enc: Bytes::from_static(&[7; 1120]),
        ciphertext: Bytes::from_static(b"a secret of 32 bytes and its tag, sealed"),
    }
}

/// A roster in the making, with everything that travels beside it.
#[derive(Debug, Clone)]
pub struct Chain {
    /// The roster at its head.
    pub roster: Roster,
    /// All its statements.
    pub appends: Vec<Append>,
}

impl Chain {
    /// A group of these devices; the first one makes it and adds the others.
    ///
    /// # Errors
    /// There are none, too many, or one twice.
    pub fn of(devices: &[Device]) -> Result<Self, RosterError> {
        let [first, others @ ..] = devices else { return Err(RosterError::Malformed) };
        let envelopes = vec![envelope(first.id())];
        let statement = Statement {
            v: 1,
            group: None,
            n: 0,
            prev: None,
            change: Change::Genesis { member: first.member() },
            envelopes_hash: Some(hash(&envelopes)),
            by: first.id(),
        };
        let append = Append { statement: first.sign(&statement, first), envelopes, sealed_previous: vec![] };
        let mut chain = Self { roster: Roster::genesis_with(&append)?, appends: vec![append] };
        for joiner in others {
            chain.add(first, joiner)?;
        }
        Ok(chain)
    }

    fn add(&mut self, by: &Device, joiner: &Device) -> Result<(), RosterError> {
        let envelopes = vec![envelope(joiner.id())];
        let statement = Statement {
            v: 1,
            group: Some(self.roster.group()),
            n: self.roster.head().n + 1,
            prev: Some(self.roster.head().hash),
            envelopes_hash: Some(hash(&envelopes)),
            change: Change::Add { member: joiner.member() },
            by: by.id(),
        };
        let append = Append { statement: by.sign(&statement, joiner), envelopes, sealed_previous: vec![] };
        self.roster.append_with(&append)?;
        self.appends.push(append);
        Ok(())
    }
}

fn hash(envelopes: &[Envelope]) -> Hash {
    let hashes: Vec<Hash> = envelopes.iter().map(Envelope::hash).collect();
    envelopes_hash(&hashes, &[])
}
