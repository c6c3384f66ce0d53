//! The relay address text: `<relay id hex>@<ip:port>[,<ip:port>…][?relay=<url>][&token=…]`.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::id::{DeviceId, IdError};

/// Longest address text, in bytes.
const MAX_TEXT: usize = 2048;
/// Most direct addresses.
const MAX_ADDRS: usize = 16;

/// An admission token. Printed as `[REDACTED]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token of random bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 16]) -> Self {
        Self(hex::encode(bytes))
    }

    /// The secret text, to present in HELLO.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

/// Where a relay is: its key, direct addresses, an iroh relay URL, and a token for admission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayAddr {
    /// The relay's public key.
    pub id: DeviceId,
    /// Direct addresses; at least one unless a URL is given.
    pub addrs: Vec<SocketAddr>,
    /// An iroh relay URL, for networks without a direct way.
    pub relay_url: Option<String>,
    /// Presented when a group is created at the relay.
    pub token: Option<Token>,
}

/// Why a text is no relay address; each names the part that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No `@`.
    #[error("relay address: no '@' between the relay id and its addresses (expected ID@IP:PORT)")]
    NoAt,
    /// The part before `@`.
    #[error("relay address: relay id: {0}")]
    Id(IdError),
    /// An address between `@` and `?`.
    #[error("relay address: address {index} is not IP:PORT")]
    Addr {
        /// Which one, from 1.
        index: usize,
    },
    /// Neither an address nor a relay URL.
    #[error("relay address: no IP:PORT after '@'")]
    NoAddr,
    /// Too many addresses.
    #[error("relay address: more than {MAX_ADDRS} addresses")]
    TooMany,
    /// A parameter other than `relay` and `token`.
    #[error("relay address: parameter {index} is neither relay= nor token=")]
    Parameter {
        /// Which one, from 1.
        index: usize,
    },
    /// A parameter without a value, a second time, or with characters that it cannot have.
    #[error("relay address: parameter {name} is empty, repeated or malformed")]
    Value {
        /// Its name.
        name: &'static str,
    },
    /// The text is too long.
    #[error("relay address: longer than {MAX_TEXT} bytes")]
    TooLong,
}

impl FromStr for RelayAddr {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        if text.len() > MAX_TEXT {
            return Err(AddressError::TooLong);
        }
        let (id, rest) = text.split_once('@').ok_or(AddressError::NoAt)?;
        let id = id.parse().map_err(AddressError::Id)?;
        let (list, query) = rest.split_once('?').map_or((rest, None), |(list, query)| (list, Some(query)));
        let mut addrs = Vec::new();
        for (i, part) in list.split(',').enumerate().filter(|_| !list.is_empty()) {
            if i >= MAX_ADDRS {
                return Err(AddressError::TooMany);
            }
            addrs.push(part.parse().map_err(|_| AddressError::Addr { index: i + 1 })?);
        }
        let (mut relay_url, mut token) = (None, None);
        for (i, part) in query.into_iter().flat_map(|q| q.split('&')).enumerate() {
            let (slot, name, value) = match part.split_once('=') {
                Some(("relay", value)) => (&mut relay_url, "relay", value),
                Some(("token", value)) => (&mut token, "token", value),
                _ => return Err(AddressError::Parameter { index: i + 1 }),
            };
            let plain = value.bytes().all(|b| b.is_ascii_graphic());
            let url = name != "relay" || value.starts_with("https://") || value.starts_with("http://");
            if value.is_empty() || !plain || !url || slot.replace(value.to_owned()).is_some() {
                return Err(AddressError::Value { name });
            }
        }
        if addrs.is_empty() && relay_url.is_none() {
            return Err(AddressError::NoAddr);
        }
        Ok(Self { id, addrs, relay_url, token: token.map(Token) })
    }
}

impl RelayAddr {
    /// The text with its token: for the address file, invites and the daemon's database only.
    #[must_use]
    pub fn expose(&self) -> String {
        let plain = self.to_string();
        match &self.token {
            Some(token) => {
                format!("{plain}{}token={}", if plain.contains('?') { '&' } else { '?' }, token.expose())
            }
            None => plain,
        }
    }
}

/// The text without the token.
impl fmt::Display for RelayAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@", self.id.to_hex())?;
        for (i, addr) in self.addrs.iter().enumerate() {
            write!(f, "{}{addr}", if i == 0 { "" } else { "," })?;
        }
        match &self.relay_url {
            Some(url) => write!(f, "?relay={url}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> String {
        "ab".repeat(32)
    }

    #[test]
    fn a_full_address_comes_back_as_it_was() {
        let text = format!("{}@127.0.0.1:4433,[::1]:4433?relay=https://r.example&token=s3cret", id());
        let addr: RelayAddr = text.parse().unwrap();
        assert_eq!(addr.addrs.len(), 2);
        assert_eq!(addr.expose(), text);
        assert!(!addr.to_string().contains("s3cret"));
        assert!(!format!("{addr:?}").contains("s3cret"));
        let only_token = format!("{}@127.0.0.1:1?token=t", id());
        assert_eq!(only_token.parse::<RelayAddr>().unwrap().expose(), only_token);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("".to_owned(), AddressError::NoAt),
            (id(), AddressError::NoAt),
            ("abcd@1.2.3.4:5".to_owned(), AddressError::Id(IdError::Length { want: 64, found: 4 })),
            (format!("{}@", id()), AddressError::NoAddr),
            (format!("{}@1.2.3.4", id()), AddressError::Addr { index: 1 }),
            (format!("{}@1.2.3.4:5,6", id()), AddressError::Addr { index: 2 }),
            (format!("{}@1.2.3.4:5?x=1", id()), AddressError::Parameter { index: 1 }),
            (format!("{}@1.2.3.4:5?token=", id()), AddressError::Value { name: "token" }),
            (format!("{}@1.2.3.4:5?relay=ftp://x", id()), AddressError::Value { name: "relay" }),
            (format!("{}@1.2.3.4:5?token=a&token=b", id()), AddressError::Value { name: "token" }),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<RelayAddr>(), Err(error), "{text}");
        }
    }
}
