//! What parses and still makes no sense: refused before anything is opened.

use super::{Config, Limits};

/// Bytes per second below which the largest blob would take more than a quarter of a minute, and the fewest at once.
const PACE_FLOOR: u64 = 64 << 10;
/// The protocol's own bound.
const LARGEST_BLOB: u64 = 1 << 20;

/// A value that makes no sense, alone or beside another.
#[derive(Debug, thiserror::Error)]
#[error("{key} = {value}: {reason}")]
pub struct ConfigError {
    key: &'static str,
    value: String,
    reason: String,
}

impl Config {
    /// Checks what the types leave open.
    ///
    /// # Errors
    /// Names the first key that makes no sense.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_storage()?;
        if let Some(addr) = self.server.advertise.iter().find(|a| a.ip().is_unspecified() || a.port() == 0) {
            let reason =
                "devices cannot connect to that; an address as they reach it, with its port".to_owned();
            return Err(ConfigError { key: "server.advertise", value: addr.to_string(), reason });
        }
        self.limits.check()?;
        positive("cleanup.interval_secs", self.cleanup.interval_secs)
    }

    fn check_storage(&self) -> Result<(), ConfigError> {
        let s = &self.storage;
        positive("storage.max_blob_size", s.max_blob_size)?;
        if s.max_blob_size > LARGEST_BLOB {
            let reason = format!("the protocol has no larger blobs; at most {LARGEST_BLOB}");
            let value = s.max_blob_size.to_string();
            return Err(ConfigError { key: "storage.max_blob_size", value, reason });
        }
        positive("storage.max_groups", s.max_groups)?;
        let whole_blob = "a group could never push a full blob (storage.max_blob_size)";
        at_least("storage.max_group_storage", s.max_group_storage, s.max_blob_size, whole_blob)?;
        at_least("storage.max_total_storage", s.max_total_storage, s.max_blob_size, whole_blob)?;
        positive("storage.default_ttl_secs", s.default_ttl_secs)?;
        let shorter = "less than storage.default_ttl_secs";
        at_least("storage.max_ttl_secs", s.max_ttl_secs, s.default_ttl_secs, shorter)
    }
}

impl Limits {
    fn check(&self) -> Result<(), ConfigError> {
        for (key, value) in [
            ("limits.connections_per_device", self.connections_per_device),
            ("limits.connections_per_device_burst", self.connections_per_device_burst),
            ("limits.connections_per_ip", self.connections_per_ip),
            ("limits.connections_per_ip_burst", self.connections_per_ip_burst),
            ("limits.messages_per_minute", self.messages_per_minute),
            ("limits.messages_per_minute_burst", self.messages_per_minute_burst),
            ("limits.signals_per_minute", self.signals_per_minute),
            ("limits.signals_per_minute_burst", self.signals_per_minute_burst),
            ("limits.global_requests_per_second", self.global_requests_per_second),
            ("limits.global_requests_per_second_burst", self.global_requests_per_second_burst),
            ("limits.max_streams_per_connection", self.max_streams_per_connection),
        ] {
            positive(key, value.into())?;
        }
        positive("limits.hello_timeout_secs", self.hello_timeout_secs)?;
        positive("limits.max_concurrent_sessions", self.max_concurrent_sessions)?;
        let pace = self.bytes_per_second_per_device;
        if pace > 0 {
            let slow = "too slow for a full blob; 0 is no limit";
            at_least("limits.bytes_per_second_per_device", pace, PACE_FLOOR, slow)?;
            let burst = self.bytes_per_second_per_device_burst;
            at_least("limits.bytes_per_second_per_device_burst", burst, PACE_FLOOR, "too few at once")?;
        }
        Ok(())
    }
}

fn positive(key: &'static str, value: u64) -> Result<(), ConfigError> {
    at_least(key, value, 1, "nothing could ever pass")
}

fn at_least(key: &'static str, value: u64, least: u64, otherwise: &str) -> Result<(), ConfigError> {
    if value >= least {
        return Ok(());
    }
    Err(ConfigError { key, value: value.to_string(), reason: format!("{otherwise}; at least {least}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_make_sense() {
        Config::default().check().unwrap();
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let error = refusal(|c| c.storage.max_group_storage = c.storage.max_blob_size - 1);
        let expected = "storage.max_group_storage = 1048575: a group could never push a full blob";
        assert!(error.contains(expected) && error.contains("at least 1048576"), "{error}");
        let named = |change: fn(&mut Config), key: &str| {
            let error = refusal(change);
            assert!(error.starts_with(&format!("{key} = ")), "{error}");
        };
        named(|c| c.storage.max_total_storage = 1, "storage.max_total_storage");
        named(|c| c.storage.max_blob_size = 0, "storage.max_blob_size");
        named(|c| c.storage.max_blob_size = (1 << 20) + 1, "storage.max_blob_size");
        named(|c| c.server.advertise = vec!["0.0.0.0:4433".parse().unwrap()], "server.advertise");
        named(|c| c.server.advertise = vec!["192.0.2.1:0".parse().unwrap()], "server.advertise");
        named(|c| c.storage.max_groups = 0, "storage.max_groups");
        named(|c| c.storage.default_ttl_secs = 0, "storage.default_ttl_secs");
        named(|c| c.storage.max_ttl_secs = 7200, "storage.max_ttl_secs");
        named(|c| c.cleanup.interval_secs = 0, "cleanup.interval_secs");
        named(|c| c.limits.hello_timeout_secs = 0, "limits.hello_timeout_secs");
        named(|c| c.limits.max_concurrent_sessions = 0, "limits.max_concurrent_sessions");
        named(|c| c.limits.bytes_per_second_per_device = 1000, "limits.bytes_per_second_per_device");
        named(
            |c| {
                c.limits.bytes_per_second_per_device = 1 << 20;
                c.limits.bytes_per_second_per_device_burst = 0;
            },
            "limits.bytes_per_second_per_device_burst",
        );
    }

    #[test]
    fn no_rate_and_no_burst_is_zero() {
        let text = toml::to_string(&Config::default()).unwrap();
        let rate = |key: &str| key.ends_with("_burst") || key.contains("_per_") && !key.starts_with("max_");
        let keys = text.lines().filter_map(|line| Some(line.split_once(" = ")?.0));
        let mut seen = 0;
        for key in keys.filter(|key| rate(key) && !key.starts_with("bytes_")) {
            let config: Config = toml::from_str(&format!("[limits]\n{key} = 0")).unwrap();
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("limits.{key} = 0: ")), "{error}");
            seen += 1;
        }
        assert_eq!(seen, 10);
    }
}
