//! What a running relay cannot change.

use toml::{Table, Value};

use super::Config;

/// Sections and keys that a running relay takes over. Whatever is not named here needs a restart.
const LIVE: &[(&str, &[&str])] = &[
    ("server", &["shutdown_grace_secs"]),
    (
        "storage",
        &[
            "max_blob_size",
            "max_group_storage",
            "max_total_storage",
            "max_groups",
            "default_ttl_secs",
            "max_ttl_secs",
        ],
    ),
    ("content", &["max_per_group", "max_total"]),
    (
        "limits",
        &[
            "connections_per_device",
            "connections_per_device_burst",
            "connections_per_ip",
            "connections_per_ip_burst",
            "messages_per_minute",
            "messages_per_minute_burst",
            "signals_per_minute",
            "signals_per_minute_burst",
            "bytes_per_second_per_device",
            "bytes_per_second_per_device_burst",
            "global_requests_per_second",
            "global_requests_per_second_burst",
            "hello_timeout_secs",
            "max_concurrent_sessions",
            "max_streams_per_connection",
            "max_mailboxes",
        ],
    ),
    ("http", &["metrics"]),
    ("cleanup", &["interval_secs"]),
];

impl Config {
    /// The keys in which `new` differs and that a running relay does not take over, as `section.key`.
    pub(crate) fn needs_restart(&self, new: &Config) -> Vec<String> {
        let (old, new) = (self.to_table(), new.to_table());
        let mut keys = Vec::new();
        for (section, value) in &new {
            match (value, old.get(section)) {
                (Value::Table(new), Some(Value::Table(old))) => {
                    let live =
                        LIVE.iter().find(|(name, _)| name == section).map_or(&[][..], |(_, keys)| keys);
                    let changed = changed(old, new).into_iter().filter(|key| !live.contains(&key.as_str()));
                    keys.extend(changed.map(|key| format!("{section}.{key}")));
                }
                (value, old) if old != Some(value) => keys.push(section.clone()),
                _ => {}
            }
        }
        keys
    }
}

/// Keys that are in one only, or differ.
fn changed(old: &Table, new: &Table) -> Vec<String> {
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    let other = new.iter().filter(|(key, value)| old.get(*key) != Some(value)).map(|(key, _)| key);
    gone.chain(other).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_is_taken_over_exists() {
        let table = Config::default().to_table();
        for (section, keys) in LIVE {
            for key in *keys {
                assert!(table[*section].get(key).is_some(), "{section}.{key}");
            }
        }
    }

    #[test]
    fn what_cannot_change_is_named_and_what_can_is_not() {
        let old = Config::default();
        let mut new = old.clone();
        new.limits.messages_per_minute += 1;
        new.storage.max_groups += 1;
        assert_eq!(old.needs_restart(&new), Vec::<String>::new());
        new.data = "elsewhere".into();
        new.server.bind = "127.0.0.1:1".parse().unwrap();
        new.server.admission = Some(crate::Admission::Open);
        new.http.bind = None;
        assert_eq!(old.needs_restart(&new), ["data", "http.bind", "server.admission", "server.bind"]);
        assert_eq!(new.needs_restart(&old).len(), 4);
    }
}
