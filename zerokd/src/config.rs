//! `config.toml`: what a person may set. An absent file or key takes the value of `Default`; an unknown key is refused.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Why the configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// A key or value is wrong; the text has line and key.
    #[error("{}: {text}", path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// The parser's words.
        text: String,
    },
    /// A variable of the environment has a value that it cannot have.
    #[error("{name}: {text}")]
    Environment {
        /// Which variable.
        name: &'static str,
        /// What is wrong.
        text: String,
    },
}

/// How relays and devices are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Discovery {
    /// Only at addresses that were given: nothing is published or looked up anywhere.
    Direct,
}

/// `[network]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// How relays are found. `ZEROKD_DISCOVERY` overrides.
    pub discovery: Discovery,
    /// The UDP address that links go out from. QUIC tells a relay the addresses of all interfaces that it can leave by:
    /// bind to one address to tell it only that.
    pub bind: SocketAddr,
}

impl Default for Network {
    fn default() -> Self {
        Self { discovery: Discovery::Direct, bind: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0) }
    }
}

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The network.
    pub network: Network,
}

impl Config {
    /// Reads the file, if there is one, and what the environment overrides.
    ///
    /// # Errors
    /// The file or a variable is wrong; the error says where.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let mut config = match std::fs::read_to_string(path) {
            Ok(text) => {
                Self::parse(&text).map_err(|text| ConfigError::Parse { path: path.to_owned(), text })?
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(source) => return Err(ConfigError::Read { path: path.to_owned(), source }),
        };
        if let Ok(value) = std::env::var("ZEROKD_DISCOVERY") {
            config.network.discovery = discovery(&value)?;
        }
        Ok(config)
    }

    fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|e| e.to_string())
    }
}

fn discovery(value: &str) -> Result<Discovery, ConfigError> {
    match value {
        "direct" => Ok(Discovery::Direct),
        other => Err(ConfigError::Environment {
            name: "ZEROKD_DISCOVERY",
            text: format!("{other:?} is not known to this version, expected \"direct\""),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_file_is_the_default() {
        assert_eq!(Config::load(Path::new("/nonexistent/config.toml")).unwrap(), Config::default());
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = Config::parse("[network]\nbnd = 1\n").unwrap_err();
        assert!(error.contains("bnd") && error.contains("line 2"), "{error}");
    }

    #[test]
    fn a_wrong_discovery_is_refused_by_name() {
        assert!(discovery("carrier-pigeon").unwrap_err().to_string().contains("ZEROKD_DISCOVERY"));
    }
}
