//! Bytes as they stand in JSON: one base64 string.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that are a base64 string (RFC 4648 §4, with padding) in JSON. `Debug` prints the length only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Base64Bytes(pub Vec<u8>);

impl Base64Bytes {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<T: Into<Vec<u8>>> From<T> for Base64Bytes {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Base64Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

impl Serialize for Base64Bytes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64Bytes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(d)?;
        STANDARD
            .decode(text.as_bytes())
            .map(Self)
            .map_err(|e| serde::de::Error::custom(format_args!("not base64: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_a_padded_base64_string() {
        let json = serde_json::to_string(&Base64Bytes::from([0xff, 0xfe, 0xfd, 0x00])).unwrap();
        assert_eq!(json, r#""//79AA==""#);
        assert_eq!(serde_json::from_str::<Base64Bytes>(&json).unwrap().0, [0xff, 0xfe, 0xfd, 0x00]);
    }

    #[test]
    fn what_is_not_base64_says_so() {
        let error = serde_json::from_str::<Base64Bytes>(r#""a b""#).unwrap_err().to_string();
        assert!(error.contains("not base64"), "{error}");
    }

    #[test]
    fn debug_shows_no_payload() {
        assert_eq!(format!("{:?}", Base64Bytes::from("secret")), "[6 bytes]");
    }
}
