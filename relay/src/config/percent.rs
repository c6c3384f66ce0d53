//! A share of something, in the file as `5` or `"5 %"`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Whole percent, from 0 to 50: keeping more than half of a disk free is a mistake in writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(pub(super) u8);

/// The text or number is no share.
#[derive(Debug, thiserror::Error)]
#[error("expected a whole percent from 0 to 50, as in \"5 %\"")]
pub struct PercentError;

impl Percent {
    const MAX: u8 = 50;

    /// That many of a hundred.
    ///
    /// # Errors
    /// More than 50.
    pub const fn new(percent: u8) -> Result<Self, PercentError> {
        if percent <= Self::MAX { Ok(Self(percent)) } else { Err(PercentError) }
    }

    /// How much of `whole` it is, rounded down.
    #[must_use]
    pub fn of(self, whole: u64) -> u64 {
        let share = u128::from(whole) * u128::from(self.0) / 100;
        u64::try_from(share).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}

impl FromStr for Percent {
    type Err = PercentError;

    fn from_str(text: &str) -> Result<Self, PercentError> {
        let number = text.trim().strip_suffix('%').unwrap_or(text).trim();
        number.parse().map_err(|_| PercentError).and_then(Self::new)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Percent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole percent from 0 to 50")
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Percent, E> {
                u8::try_from(n).map_err(|_| PercentError).and_then(Percent::new).map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Percent, E> {
                text.parse().map_err(E::custom)
            }
        }
        d.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn a_share_is_written_in_three_ways() {
        for text in ["7", "\"7 %\"", "\"7%\""] {
            let config: Config = toml::from_str(&format!("[storage]\nreserve_free_disk = {text}")).unwrap();
            assert_eq!(config.storage.reserve_free_disk, Percent(7));
        }
    }

    #[test]
    fn what_is_no_share_of_at_most_a_half_is_refused() {
        for text in ["51", "-1", "256", "\"51 %\"", "\"five\"", "\"\"", "5.5", "true"] {
            let parsed: Result<Config, _> = toml::from_str(&format!("[storage]\nreserve_free_disk = {text}"));
            let error = parsed.unwrap_err().to_string();
            assert!(error.contains("reserve_free_disk") && error.contains("0 to 50"), "{error}");
        }
    }

    #[test]
    fn a_share_is_of_any_whole() {
        assert_eq!(Percent(5).of(1000), 50);
        assert_eq!(Percent(50).of(u64::MAX), u64::MAX / 2);
        assert_eq!(Percent(0).of(u64::MAX), 0);
    }
}
