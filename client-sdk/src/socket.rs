//! Where the daemon's socket is. The daemon and every program use this one function, so that they agree.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The socket's file name.
pub const FILE_NAME: &str = "zerokd.sock";

/// Longest socket path in bytes that the system takes.
#[cfg(target_os = "linux")]
pub const MAX_PATH: usize = 107;
/// Longest socket path in bytes that the system takes.
#[cfg(all(unix, not(target_os = "linux")))]
pub const MAX_PATH: usize = 103;
/// Longest pipe name that the system takes.
#[cfg(not(unix))]
pub const MAX_PATH: usize = 256;

/// Why there is no place for the socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The path is longer than the system allows.
    #[error("socket path has {len} bytes, the system allows {MAX_PATH}: {}", path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        len: usize,
    },
    /// Neither a runtime directory nor a home directory is known.
    #[error("no place for the socket: neither XDG_RUNTIME_DIR nor HOME is set")]
    NoHome,
    /// A relative path could not be made absolute.
    #[error("current directory: {0}")]
    Absolute(#[from] std::io::Error),
}

/// The socket of the daemon with this home. In this order: `home` (the flag `--home`) gives `<home>/zerokd.sock`;
/// `ZEROKD_SOCKET` is the path itself; `ZEROKD_HOME` is like the flag; then `$XDG_RUNTIME_DIR/zerokd/zerokd.sock`;
/// then `~/.local/state/zerokd/run/zerokd.sock` (elsewhere than on Linux: `run/` in the platform's data directory).
/// An empty variable counts as unset.
///
/// # Errors
/// When the path is too long for a socket, or no directory is known.
pub fn locate(home: Option<&Path>) -> Result<PathBuf, SocketError> {
    locate_in(home, |name| std::env::var_os(name), default_path)
}

fn locate_in(
    home: Option<&Path>,
    env: impl Fn(&str) -> Option<OsString>,
    default: impl FnOnce() -> Option<PathBuf>,
) -> Result<PathBuf, SocketError> {
    let var = |name| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = if let Some(home) = home {
        home.join(FILE_NAME)
    } else if let Some(socket) = var("ZEROKD_SOCKET") {
        socket
    } else if let Some(home) = var("ZEROKD_HOME") {
        home.join(FILE_NAME)
    } else {
        default().ok_or(SocketError::NoHome)?
    };
    let path = std::path::absolute(path)?;
    let len = path.as_os_str().len();
    if len > MAX_PATH { Err(SocketError::TooLong { path, len }) } else { Ok(path) }
}

fn default_path() -> Option<PathBuf> {
    let dirs = directories::ProjectDirs::from("", "", "zerokd")?;
    let dir = match dirs.runtime_dir() {
        Some(runtime) => runtime.to_path_buf(),
        None => dirs.state_dir().unwrap_or_else(|| dirs.data_local_dir()).join("run"),
    };
    Some(dir.join(FILE_NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locate(home: Option<&str>, env: &[(&str, &str)]) -> Result<PathBuf, SocketError> {
        let env = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v));
        locate_in(home.map(Path::new), env, || Some("/run/user/1/zerokd/zerokd.sock".into()))
    }

    #[test]
    fn the_flag_beats_the_environment() {
        let env = [("ZEROKD_SOCKET", "/s"), ("ZEROKD_HOME", "/h")];
        assert_eq!(locate(Some("/a"), &env).unwrap(), Path::new("/a/zerokd.sock"));
    }

    #[test]
    fn the_socket_variable_beats_the_home_variable() {
        let env = [("ZEROKD_SOCKET", "/s"), ("ZEROKD_HOME", "/h")];
        assert_eq!(locate(None, &env).unwrap(), Path::new("/s"));
        assert_eq!(locate(None, &env[1..]).unwrap(), Path::new("/h/zerokd.sock"));
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let path = locate(None, &[("ZEROKD_SOCKET", ""), ("ZEROKD_HOME", "")]).unwrap();
        assert_eq!(path, Path::new("/run/user/1/zerokd/zerokd.sock"));
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_refused_by_name() {
        let home = format!("/{}", "x".repeat(MAX_PATH));
        let error = locate(Some(&home), &[]).unwrap_err();
        assert!(matches!(error, SocketError::TooLong { .. }), "{error}");
    }

    #[test]
    fn a_relative_home_becomes_absolute() {
        assert!(locate(Some("here"), &[]).unwrap().is_absolute());
    }
}
