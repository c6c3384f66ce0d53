//! Reading the file, then the environment over it.

use std::path::{Path, PathBuf};

use super::environment::apply_environment;
use super::{Config, ConfigError, EnvironmentError};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is no TOML, or has an unknown key or a wrong value.
    #[error("{}: {source}", .path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Line, column and reason.
        source: Box<toml::de::Error>,
    },
    /// A variable has a wrong value.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// Everything parses, and something makes no sense.
    #[error(transparent)]
    Nonsense(#[from] ConfigError),
}

impl Config {
    /// Reads `file`, if any, and then the variables `ZEROK_RELAY_…`. Returns the configuration and the names of
    /// variables that mean nothing, for a warning.
    ///
    /// # Errors
    /// The file or a variable is wrong.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<(Self, Vec<String>), LoadError> {
        let mut config = match file {
            None => Self::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| LoadError::Read { path: path.into(), source })?;
                toml::from_str(&text)
                    .map_err(|e| LoadError::Parse { path: path.into(), source: Box::new(e) })?
            }
        };
        let unknown = apply_environment(&mut config, environment)?;
        Ok((config, unknown))
    }
}
