//! One WebSocket to the daemon, made when needed and made anew when it was lost.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use interprocess::local_socket::tokio::{Stream, prelude::*};
use interprocess::local_socket::{GenericFilePath, ToFsName};
use jsonrpsee::client_transport::ws::{Url, WsHandshakeError, WsTransportClientBuilder};
use jsonrpsee::core::client::async_client::ClientBuilder;
use jsonrpsee::core::client::{self, Error as RpcError};
use tokio::sync::Mutex;

use crate::client::Error;
use crate::limits::{MAX_MESSAGE, MAX_WAIT_MS};

/// Longest wait for the daemon to answer the WebSocket handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Longest wait for an answer: the longest that a call may ask the daemon to wait, and some more.
pub(crate) const LONGEST_CALL: Duration = Duration::from_millis(MAX_WAIT_MS + 60_000);
/// Notifications kept for a subscriber that does not read; more make the subscription start again where it was.
const BUFFERED_NOTIFICATIONS: usize = 16;

/// The connection of a [`Client`](crate::Client).
pub(crate) struct Connection {
    socket: PathBuf,
    current: Mutex<Option<Arc<client::Client>>>,
}

impl Connection {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket, current: Mutex::new(None) }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The live connection; a new one when there is none.
    pub(crate) async fn get(&self) -> Result<Arc<client::Client>, Error> {
        let mut current = self.current.lock().await;
        if let Some(live) = current.as_ref().filter(|c| c.is_connected()) {
            return Ok(Arc::clone(live));
        }
        let fresh = Arc::new(open(&self.socket).await?);
        *current = Some(Arc::clone(&fresh));
        Ok(fresh)
    }
}

/// A raw stream to the socket.
pub(crate) async fn dial(socket: &Path) -> Result<Stream, Error> {
    let name = socket.to_fs_name::<GenericFilePath>().map_err(Error::Connect)?;
    Stream::connect(name).await.map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {
            Error::NotRunning { socket: socket.to_path_buf() }
        }
        _ => Error::Connect(e),
    })
}

async fn open(socket: &Path) -> Result<client::Client, Error> {
    let stream = dial(socket).await?;
    let url = Url::parse("ws://localhost/").expect("a constant URL parses");
    let handshake = WsTransportClientBuilder::default()
        .max_request_size(MAX_MESSAGE)
        .max_response_size(MAX_MESSAGE)
        .build_with_stream(url, stream);
    let (sender, receiver) =
        tokio::time::timeout(HANDSHAKE, handshake).await.map_err(|_| Error::Timeout)?.map_err(refused)?;
    Ok(ClientBuilder::new()
        .request_timeout(LONGEST_CALL)
        .max_buffer_capacity_per_subscription(BUFFERED_NOTIFICATIONS)
        .build_with_tokio(sender, receiver))
}

fn refused(e: WsHandshakeError) -> Error {
    match e {
        WsHandshakeError::Rejected { status_code: 503 } => Error::Busy,
        e => Error::Lost(RpcError::Transport(e.into())),
    }
}
