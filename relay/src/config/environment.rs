//! `ZEROK_RELAY_<SECTION>_<KEY>`: every key of the file by environment.

use toml::{Table, Value};

use super::Config;

const PREFIX: &str = "ZEROK_RELAY_";

/// A variable whose value does not fit its key.
#[derive(Debug, thiserror::Error)]
#[error("environment variable {name}: {reason}")]
pub struct EnvironmentError {
    name: String,
    reason: String,
}

/// Overlays the variables on `config`; returns the names of those that belong to no key.
///
/// # Errors
/// A value does not fit its key.
pub(super) fn apply_environment(
    config: &mut Config,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<Vec<String>, EnvironmentError> {
    let mut unknown = Vec::new();
    for (name, text) in variables {
        let Some(key) = name.strip_prefix(PREFIX) else { continue };
        let key = key.to_ascii_lowercase();
        let mut table = config.to_table();
        // A key that is absent unless set, so that it has no place in the table.
        if key == "server_admission" {
            if let Some(Value::Table(server)) = table.get_mut("server") {
                server.insert("admission".into(), Value::String(text));
            }
        } else {
            let slot = match key.split_once('_').map(|(section, key)| (table.get(section), section, key)) {
                Some((Some(Value::Table(_)), section, key)) => {
                    table.get_mut(section).and_then(|s| s.get_mut(key))
                }
                _ => table.get_mut(&key).filter(|value| !value.is_table()),
            };
            let Some(slot) = slot else {
                unknown.push(name);
                continue;
            };
            *slot = parse(slot, &text).ok_or_else(|| EnvironmentError {
                name: name.clone(),
                reason: format!("expected {}", slot.type_str()),
            })?;
        }
        *config = table
            .try_into()
            .map_err(|e: toml::de::Error| EnvironmentError { name, reason: e.message().to_owned() })?;
    }
    Ok(unknown)
}

impl Config {
    /// As it would stand in the file.
    pub(super) fn to_table(&self) -> Table {
        Table::try_from(self).expect("a configuration is plain data with text keys")
    }
}

/// The text as the type that the key has.
fn parse(as_in: &Value, text: &str) -> Option<Value> {
    Some(match as_in {
        Value::Integer(_) => Value::Integer(text.parse().ok()?),
        Value::Boolean(_) => Value::Boolean(text.parse().ok()?),
        Value::Array(_) => Value::Array(
            text.split(',')
                .map(str::trim)
                .filter(|s| !s.is_empty())
                .map(|s| Value::String(s.into()))
                .collect(),
        ),
        Value::String(_) => Value::String(text.into()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> Result<(Config, Vec<String>), EnvironmentError> {
        let mut config = Config::default();
        let variables = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let unknown = apply_environment(&mut config, variables)?;
        Ok((config, unknown))
    }

    #[test]
    fn a_variable_sets_its_key() {
        let (config, unknown) = set(&[
            ("ZEROK_RELAY_LIMITS_MESSAGES_PER_MINUTE", "7"),
            ("ZEROK_RELAY_HTTP_BIND", ""),
            ("ZEROK_RELAY_HTTP_METRICS", "false"),
            ("ZEROK_RELAY_SERVER_BIND", "127.0.0.1:9"),
            ("ZEROK_RELAY_SERVER_ADVERTISE", "192.0.2.1:9, [2001:db8::1]:9"),
            ("ZEROK_RELAY_SERVER_ADMISSION", "open"),
            ("ZEROK_RELAY_DATA", "/srv/relay"),
            ("PATH", "/bin"),
        ])
        .unwrap();
        assert_eq!(unknown, Vec::<String>::new());
        assert_eq!(config.limits.messages_per_minute, 7);
        assert_eq!(config.http.bind, None);
        assert!(!config.http.metrics);
        assert_eq!(config.server.bind, "127.0.0.1:9".parse().unwrap());
        assert_eq!(config.server.advertise.len(), 2);
        assert_eq!(config.server.admission, Some(crate::Admission::Open));
        assert_eq!(config.data.to_str(), Some("/srv/relay"));
    }

    #[test]
    fn an_unknown_variable_is_reported_and_a_wrong_value_named() {
        let (config, unknown) =
            set(&[("ZEROK_RELAY_LIMITS_NONE", "1"), ("ZEROK_RELAY_LIMITS", "1")]).unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(unknown, ["ZEROK_RELAY_LIMITS_NONE", "ZEROK_RELAY_LIMITS"]);
        let error = set(&[("ZEROK_RELAY_CLEANUP_INTERVAL_SECS", "often")]).unwrap_err().to_string();
        assert!(error.contains("ZEROK_RELAY_CLEANUP_INTERVAL_SECS") && error.contains("integer"), "{error}");
        assert!(set(&[("ZEROK_RELAY_SERVER_BIND", "nowhere")]).is_err());
        assert!(set(&[("ZEROK_RELAY_SERVER_ADMISSION", "closed")]).is_err());
    }

    /// Another value than `old`, as text and as it then stands in the file.
    fn other(key: &str, old: &Value) -> (String, Value) {
        match old {
            Value::Integer(n) => ((n + 1).to_string(), Value::Integer(n + 1)),
            Value::Boolean(b) => ((!b).to_string(), Value::Boolean(!b)),
            Value::Array(_) => ("192.0.2.1:9".into(), Value::Array(vec!["192.0.2.1:9".into()])),
            _ => {
                let text = match key {
                    "bind" => "127.0.0.1:9",
                    "congestion" => "bbr3",
                    "reserve_free_disk" => "7 %",
                    _ => "/srv/other",
                };
                (text.into(), text.into())
            }
        }
    }

    #[test]
    fn every_key_of_the_example_file_is_set_by_its_variable_and_changes_no_other() {
        let example: Table = toml::from_str(include_str!("../../relay.example.toml")).unwrap();
        let default = Config::default().to_table();
        assert_eq!(example, default, "every key is in the example file, with its default");
        let mut keys = 0;
        for (section, value) in &example {
            let keys_of =
                value.as_table().cloned().unwrap_or_else(|| Table::from_iter([("".into(), value.clone())]));
            for (key, old) in keys_of {
                let (text, new) = other(&key, &old);
                let name = format!("{section}_{key}").trim_end_matches('_').to_ascii_uppercase();
                let (config, unknown) = set(&[(&format!("ZEROK_RELAY_{name}"), &text)]).unwrap();
                assert_eq!(unknown, Vec::<String>::new());
                let mut expected = default.clone();
                match expected.get_mut(section).unwrap() {
                    Value::Table(table) => drop(table.insert(key, new)),
                    value => *value = new,
                }
                assert_eq!(config.to_table(), expected, "{name}");
                keys += 1;
            }
        }
        assert!(keys > 35, "{keys}");
    }
}
