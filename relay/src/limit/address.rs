//! Whom a limit by address means: an IPv4 address, or the /64 that one subscriber of IPv6 has at least.

use std::net::IpAddr;

/// The holder of a limit by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    V4([u8; 4]),
    V6Net([u16; 4]),
}

impl Address {
    /// The holder that `ip` belongs to; none on loopback, where everything is the same machine.
    pub(crate) fn limited(ip: IpAddr) -> Option<Self> {
        // IPv4 that comes through an IPv6 socket is IPv4.
        match ip.to_canonical() {
            ip if ip.is_loopback() => None,
            IpAddr::V4(ip) => Some(Self::V4(ip.octets())),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Some(Self::V6Net([a, b, c, d]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Address> {
        Address::limited(text.parse().unwrap())
    }

    #[test]
    fn addresses_of_one_subscriber_are_one_holder() {
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }

    #[test]
    fn loopback_is_not_limited_and_everything_else_is() {
        for loopback in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(of(loopback), None);
        }
        for other in ["10.0.0.1", "fe80::1", "0.0.0.0", "::"] {
            assert!(of(other).is_some(), "{other}");
        }
    }
}
