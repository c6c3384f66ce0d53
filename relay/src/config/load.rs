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
    #[error("{}, line {line}: {text}: {reason}", .path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Where in it, from 1.
        line: usize,
        /// What stands there.
        text: String,
        /// What is wrong there.
        reason: String,
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
                toml::from_str(&text).map_err(|e| parse_error(path, &text, &e))?
            }
        };
        let unknown = apply_environment(&mut config, environment)?;
        Ok((config, unknown))
    }
}

/// One line, for a log: toml's own text draws the place with several.
fn parse_error(path: &Path, text: &str, e: &toml::de::Error) -> LoadError {
    let before = e.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let there = text.lines().nth(line - 1).unwrap_or_default().trim().to_owned();
    LoadError::Parse { path: path.into(), line, text: there, reason: e.message().replace('\n', " ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_in_the_file_is_said_once_in_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("relay.toml");
        for (text, line, reason) in [
            ("[server]\nbnid = 1\n", 2, "bnid = 1: unknown field `bnid`"),
            ("dta = 1\n", 1, "dta = 1: unknown field `dta`"),
            ("\n\n[server\n", 3, "[server: unclosed table"),
            ("[storage]\nmax_groups = -1\n", 2, "max_groups = -1: invalid value"),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = Config::load(Some(&file), std::iter::empty()).unwrap_err();
            let said = format!("{:#}", anyhow::Error::new(error));
            assert!(said.contains(&format!("relay.toml, line {line}: {reason}")), "{said}");
            assert!(!said.contains('\n') && said.matches(reason).count() == 1, "{said}");
        }
    }
}
