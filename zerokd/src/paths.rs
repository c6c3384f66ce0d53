//! Where the daemon's files are: the platform's places, or all below `--home`.

use std::path::{Path, PathBuf};

use zerok_client::socket;

/// Why there is no place for the files.
#[derive(Debug, thiserror::Error)]
pub enum PathsError {
    /// Neither a flag nor the environment says where.
    #[error("no place for the data: HOME is not set; say --home DIR")]
    NoHome,
    /// The socket.
    #[error(transparent)]
    Socket(#[from] socket::SocketError),
    /// The current directory.
    #[error("current directory: {0}")]
    Absolute(#[from] std::io::Error),
}

/// The daemon's files.
#[derive(Clone, Debug)]
pub struct Paths {
    /// `config.toml`, which may be absent.
    pub config: PathBuf,
    /// Directory of `state.db`, `device.key`, `relay.key`, `relay.db`; 0700.
    pub data: PathBuf,
    /// The local API's socket.
    pub socket: PathBuf,
}

impl Paths {
    /// The files of the daemon with this home; without one, with `ZEROKD_HOME`, or in the platform's places. An explicit
    /// `socket` wins.
    ///
    /// # Errors
    /// No home directory is known, or the socket's path is too long.
    pub fn locate(home: Option<&Path>, socket: Option<&Path>) -> Result<Self, PathsError> {
        let socket = match socket {
            Some(socket) => std::path::absolute(socket)?,
            None => socket::locate(home)?,
        };
        let from_env = std::env::var_os("ZEROKD_HOME").filter(|v| !v.is_empty()).map(PathBuf::from);
        let home = home.map(Path::to_owned).or(from_env);
        if let Some(home) = home {
            let home = std::path::absolute(home)?;
            return Ok(Self { config: home.join("config.toml"), data: home, socket });
        }
        let dirs = directories::ProjectDirs::from("", "", "zerokd").ok_or(PathsError::NoHome)?;
        let config = dirs.config_dir().join("config.toml");
        Ok(Self { config, data: dirs.data_dir().to_owned(), socket })
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.data.join("state.db")
    }

    /// The device's seed.
    #[must_use]
    pub fn device_key(&self) -> PathBuf {
        self.data.join("device.key")
    }

    /// Held while the daemon runs.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.data.join("zerokd.lock")
    }
}
