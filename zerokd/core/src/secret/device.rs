//! A device's keys: everything from one seed.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey};
use hpke::kem::XWing;
use hpke::{Deserializable, Kem, Serializable};
use zerok_protocol::roster::{Member, Signed, Statement};
use zerok_protocol::{DeviceId, KemKey, Signature};

use super::{Secret, derive};

/// The private key of the KEM that group secrets are sealed to.
pub(crate) type KemPrivateKey = <XWing as Kem>::PrivateKey;

/// The Ed25519 signing key and the X-Wing key of a device. Both wipe themselves on drop.
#[derive(Clone)]
pub struct DeviceKeys {
    signing: SigningKey,
    kem: KemPrivateKey,
    member: Member,
}

impl DeviceKeys {
    /// The keys of the device with this seed (the content of `device.key`).
    #[must_use]
    pub fn from_seed(seed: &Secret<32>) -> Self {
        let signing = derive(seed.expose(), &[b"0k-sync v1 device signing"]);
        let signing = SigningKey::from_bytes(signing.expose());
        let kem = derive(seed.expose(), &[b"0k-sync v1 device kem"]);
        let kem = KemPrivateKey::from_bytes(kem.expose()).expect("32 bytes are an X-Wing key");
        let mut public = [0u8; KemKey::LEN];
        XWing::sk_to_pk(&kem).write_exact(&mut public);
        let member = Member { device: DeviceId(signing.verifying_key().to_bytes()), kem: KemKey(public) };
        Self { signing, kem, member }
    }

    /// The device's id: its Ed25519 public key.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        self.member.device
    }

    /// What the device says of itself to join a group.
    #[must_use]
    pub fn member(&self) -> Member {
        self.member.clone()
    }

    /// The Ed25519 private key, for the transport's identity; its public half is [`DeviceKeys::id`].
    #[must_use]
    pub fn ed25519_seed(&self) -> Secret<32> {
        self.signing.to_bytes().into()
    }

    /// Signs `label || bytes` (RFC 8032). Every use has its own label.
    #[must_use]
    pub fn sign(&self, label: &[u8], bytes: &[u8]) -> Signature {
        self.sign_labelled(&[label, bytes].concat())
    }

    /// Signs the own member record, as a joiner does.
    #[must_use]
    pub fn sign_member(&self) -> Signature {
        self.sign_labelled(&self.member.to_sign())
    }

    /// A statement with its signature, and the joiner's where it adds a member.
    #[must_use]
    pub fn sign_statement(&self, statement: &Statement, joiner: Option<Signature>) -> Signed {
        let bytes = statement.to_bytes();
        let signature = self.sign_labelled(&Statement::to_sign(&bytes));
        Signed { bytes: bytes.into(), signature, joiner }
    }

    pub(crate) fn kem(&self) -> &KemPrivateKey {
        &self.kem
    }

    fn sign_labelled(&self, message: &[u8]) -> Signature {
        Signature(self.signing.sign(message).to_bytes())
    }
}

impl fmt::Debug for DeviceKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKeys({}, [REDACTED])", self.id())
    }
}
