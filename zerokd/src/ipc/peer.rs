//! The peer's user must be the daemon's own, whatever the modes of the socket and its directory say.

use interprocess::local_socket::tokio::{Stream, prelude::*};

/// Whether the process at the other end runs as the same user.
#[cfg(unix)]
pub(super) fn is_own(stream: &Stream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_creds().is_ok_and(|peer| peer.euid() == Some(own))
}

/// On Windows the pipe's security descriptor admits its owner only. Never run.
#[cfg(not(unix))]
pub(super) fn is_own(_stream: &Stream) -> bool {
    true
}
