//! Secrets, and every key that is derived from one: HKDF-SHA256 (RFC 5869), no salt, one info string each.

mod derived;
mod device;

use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

pub use derived::{EpochKeys, GroupKeys};
pub use device::DeviceKeys;

/// `N` secret bytes: wiped on drop, printed as `[REDACTED]`, compared in constant time, never serialised.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret<const N: usize>([u8; N]);

impl<const N: usize> Secret<N> {
    /// The bytes. Do not copy them anywhere that outlives this secret.
    #[must_use]
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// From a slice of exactly the right length.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl<const N: usize> From<[u8; N]> for Secret<N> {
    fn from(mut bytes: [u8; N]) -> Self {
        let secret = Self(bytes);
        bytes.zeroize();
        secret
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl<const N: usize> Eq for Secret<N> {}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

macro_rules! secrets {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(Secret<32>);

        impl $name {
            /// The bytes. Do not copy them anywhere that outlives this secret.
            #[must_use]
            pub fn expose(&self) -> &[u8; 32] { self.0.expose() }
            /// From a slice of exactly 32 bytes.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> { Secret::from_slice(bytes).map(Self) }
        }

        impl From<[u8; 32]> for $name { fn from(bytes: [u8; 32]) -> Self { Self(bytes.into()) } }
        impl From<Secret<32>> for $name { fn from(secret: Secret<32>) -> Self { Self(secret) } }
    )*};
}

secrets! {
    /// An epoch's random secret: opens what was sealed in that epoch.
    EpochSecret;
    /// A group's constant secret: made with the group, never changed.
    ConstantSecret;
}

/// HKDF-SHA256 with no salt: 32 bytes for one purpose.
pub(crate) fn derive(from: &[u8], info: &[&[u8]]) -> Secret<32> {
    let mut out = [0u8; 32];
    Hkdf::<Sha256>::new(None, from)
        .expand_multi_info(info, &mut out)
        .expect("32 bytes are within HKDF-SHA256's 8160");
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints_itself() {
        let secret = Secret::from([0xabu8; 32]);
        let epoch = EpochSecret::from([0xab; 32]);
        let keys = EpochKeys::derive(&epoch);
        let device = DeviceKeys::from_seed(&secret);
        let printed = format!("{secret:?} {epoch:?} {keys:?} {device:?}");
        assert!(printed.contains("[REDACTED]"));
        for hidden in ["171", "ab, ab", "abab"] {
            assert!(!printed.contains(hidden), "{printed}");
        }
    }

    #[test]
    fn derivation_is_that_of_rfc_5869() {
        // Appendix A.3: SHA-256, no salt, no info. A shorter output is a prefix of a longer one.
        let okm = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d";
        assert_eq!(hex::encode(derive(&[0x0b; 22], &[]).expose()), okm);
        assert_eq!(derive(&[1], &[b"ab", b"c"]), derive(&[1], &[b"abc"]));
    }

    #[test]
    fn secrets_compare_by_value() {
        assert_eq!(Secret::from([1u8; 32]), Secret::from([1u8; 32]));
        assert_ne!(Secret::from([1u8; 32]), Secret::from([2u8; 32]));
        assert_eq!(EpochSecret::from_slice(&[1; 32]), Some(EpochSecret::from([1; 32])));
        assert_eq!(EpochSecret::from_slice(&[1; 31]), None);
    }
}
