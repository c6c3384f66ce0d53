//! Putting the socket into place: a private directory, a private socket, a stale one replaced, nothing else touched.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use interprocess::local_socket::tokio::Listener;
use interprocess::local_socket::tokio::{Stream, prelude::*};
use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName};

/// How long a socket's owner may take to accept the probe.
const PROBE: Duration = Duration::from_secs(2);

/// Why the socket cannot be put into place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    /// A daemon answers there.
    #[error("another daemon serves {}", .0.display())]
    InUse(PathBuf),
    /// Something that is no socket has its name; it is left alone.
    #[error("{} is there and is no socket; move it away", .0.display())]
    NoSocket(PathBuf),
    /// Others could replace the socket.
    #[error("the directory {} belongs to another user, or others can write to it", .0.display())]
    OpenDirectory(PathBuf),
    /// The system refused.
    #[error("socket {}: {source}", path.display())]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Listens at `path`; its directory is made with mode 0700 when absent. The socket has mode 0600 from the beginning
/// and is removed when the listener is dropped. The caller holds the lock that makes the daemon single; a socket
/// that nobody serves is replaced.
///
/// # Errors
/// [`BindError`], with nothing changed except that the directory may be new.
pub(crate) async fn bind(path: &Path) -> Result<Listener, BindError> {
    let io = |source| BindError::Io { path: path.to_path_buf(), source };
    prepare_directory(path)?;
    clear(path).await?;
    let name = || path.to_fs_name::<GenericFilePath>().map_err(io);
    match private(ListenerOptions::new().name(name()?)).create_tokio() {
        Ok(listener) => Ok(listener),
        // macOS cannot set a socket's mode; there the directory and the check of the peer's uid are the wall.
        Err(e) if e.kind() == io::ErrorKind::Unsupported => {
            ListenerOptions::new().name(name()?).create_tokio().map_err(io)
        }
        Err(e) => Err(io(e)),
    }
}

#[cfg(unix)]
fn private(options: ListenerOptions<'_>) -> ListenerOptions<'_> {
    use interprocess::os::unix::local_socket::ListenerOptionsExt;
    options.mode(0o600)
}

/// On Windows a pipe's default descriptor admits its owner and administrators. Never run.
#[cfg(not(unix))]
fn private(options: ListenerOptions<'_>) -> ListenerOptions<'_> {
    options
}

#[cfg(unix)]
fn prepare_directory(path: &Path) -> Result<(), BindError> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    let io = |source| BindError::Io { path: path.to_path_buf(), source };
    let Some(directory) = path.parent() else { return Ok(()) };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io)?;
    let found = std::fs::metadata(directory).map_err(io)?;
    let private = found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o022 == 0;
    if private { Ok(()) } else { Err(BindError::OpenDirectory(directory.to_path_buf())) }
}

#[cfg(not(unix))]
fn prepare_directory(_path: &Path) -> Result<(), BindError> {
    Ok(())
}

/// Removes a socket that nobody serves; refuses anything else that has the name.
#[cfg(unix)]
async fn clear(path: &Path) -> Result<(), BindError> {
    use std::os::unix::fs::FileTypeExt;
    let io = |source| BindError::Io { path: path.to_path_buf(), source };
    match std::fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(io(e)),
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::NoSocket(path.to_path_buf())),
        Ok(_) => {}
    }
    let name = path.to_fs_name::<GenericFilePath>().map_err(io)?;
    match tokio::time::timeout(PROBE, Stream::connect(name)).await {
        Ok(Err(e)) if e.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(io),
        Ok(Err(e)) => Err(io(e)),
        // Served, or so busy that it does not accept.
        Ok(Ok(_)) | Err(_) => Err(BindError::InUse(path.to_path_buf())),
    }
}

#[cfg(not(unix))]
#[expect(clippy::unused_async, reason = "the Unix twin waits for a probe")]
async fn clear(_path: &Path) -> Result<(), BindError> {
    Ok(())
}
