//! The client: finds the daemon, reconnects, and turns every failure into one typed error.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jsonrpsee::core::client::{BatchResponse, ClientT, Error as RpcError, Subscription, SubscriptionClientT};
use jsonrpsee::core::params::BatchRequestBuilder;
use jsonrpsee::core::traits::ToRpcParams;
use serde::de::DeserializeOwned;

use crate::connection::Connection;
use crate::error::{ApiError, ErrorKind};
use crate::socket::{self, SocketError};

/// Why a call gave no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No daemon listens at the socket.
    #[error("zerokd is not running (no daemon at {})", socket.display())]
    NotRunning {
        /// Where a daemon was expected.
        socket: PathBuf,
    },
    /// There is no place where a socket could be.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The socket is there and does not let this program in.
    #[error("connecting to zerokd: {0}")]
    Connect(#[source] std::io::Error),
    /// The daemon answered with an error of its table.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The daemon refused the call as malformed, or does not know it: one of the two is older.
    #[error("{message} (JSON-RPC error {code})")]
    Call {
        /// JSON-RPC's code.
        code: i32,
        /// What was wrong.
        message: String,
    },
    /// The daemon has no place for another connection.
    #[error("zerokd has too many connections")]
    Busy,
    /// No answer in time. The call may have taken effect.
    #[error("zerokd did not answer in time")]
    Timeout,
    /// The connection was lost before the answer. The call may have taken effect.
    #[error("connection to zerokd lost: {0}")]
    Lost(#[source] RpcError),
}

impl Error {
    /// The kind of an application error.
    #[must_use]
    pub fn kind(&self) -> Option<ErrorKind> {
        if let Self::Api(e) = self { Some(e.kind) } else { None }
    }

    /// Whether a subscription may go on after this by connecting again.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::NotRunning { .. } | Self::Busy | Self::Timeout | Self::Lost(_) | Self::Connect(_) => true,
            Self::Api(e) => e.kind == ErrorKind::ShuttingDown,
            Self::Socket(_) | Self::Call { .. } => false,
        }
    }
}

impl From<RpcError> for Error {
    fn from(e: RpcError) -> Self {
        match e {
            RpcError::Call(object) => match ApiError::try_from(&object) {
                Ok(api) => Self::Api(api),
                Err(()) => Self::Call { code: object.code(), message: described(&object) },
            },
            RpcError::RequestTimeout => Self::Timeout,
            RpcError::Transport(inner) => match inner.downcast::<Self>() {
                Ok(ours) => *ours,
                Err(inner) => Self::Lost(RpcError::Transport(inner)),
            },
            other => Self::Lost(other),
        }
    }
}

/// The message with the library's detail, which names the field.
fn described(object: &jsonrpsee::types::ErrorObjectOwned) -> String {
    match object.data().and_then(|d| serde_json::from_str::<String>(d.get()).ok()) {
        Some(detail) => format!("{}: {detail}", object.message()),
        None => object.message().to_owned(),
    }
}

/// A client of the daemon on this machine; cheap to clone, and safe to share.
///
/// It has every method of [`api`](crate::api) (bring the trait into scope, such as
/// [`DaemonClient`](crate::api::DaemonClient)); their errors turn into [`Error`] by `?`. A lost connection is made
/// anew by the next call. A call itself is never repeated, except [`push`](Self::push), whose idempotency key makes
/// that safe. Runs in the caller's tokio runtime.
///
/// ```no_run
/// # async fn example() -> Result<(), zerok_client::Error> {
/// use zerok_client::{Client, api::DaemonClient};
/// let status = Client::connect().await?.daemon_status().await?;
/// println!("{} problems", status.problems.len());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Client {
    connection: Arc<Connection>,
}

impl Client {
    /// Connects to the daemon at the usual place ([`socket::locate`]).
    ///
    /// # Errors
    /// [`Error::NotRunning`] when no daemon listens there.
    pub async fn connect() -> Result<Self, Error> {
        Self::connect_to(socket::locate(None)?).await
    }

    /// Connects to the daemon at a socket.
    ///
    /// # Errors
    /// [`Error::NotRunning`] when no daemon listens there.
    pub async fn connect_to(socket: impl Into<PathBuf>) -> Result<Self, Error> {
        let client = Self { connection: Arc::new(Connection::new(socket.into())) };
        client.connection.get().await?;
        Ok(client)
    }

    /// The socket's path.
    #[must_use]
    pub fn socket(&self) -> &Path {
        self.connection.socket()
    }

    async fn live(&self) -> Result<Arc<jsonrpsee::core::client::Client>, RpcError> {
        self.connection.get().await.map_err(|e| RpcError::Transport(Box::new(e)))
    }
}

impl ClientT for Client {
    async fn notification<P: ToRpcParams + Send>(&self, method: &str, params: P) -> Result<(), RpcError> {
        self.live().await?.notification(method, params).await
    }

    async fn request<R: DeserializeOwned, P: ToRpcParams + Send>(
        &self,
        method: &str,
        params: P,
    ) -> Result<R, RpcError> {
        self.live().await?.request(method, params).await
    }

    async fn batch_request<'a, R: DeserializeOwned + std::fmt::Debug + 'a>(
        &self,
        batch: BatchRequestBuilder<'a>,
    ) -> Result<BatchResponse<'a, R>, RpcError> {
        self.live().await?.batch_request(batch).await
    }
}

impl SubscriptionClientT for Client {
    async fn subscribe<'a, N: DeserializeOwned, P: ToRpcParams + Send>(
        &self,
        subscribe_method: &'a str,
        params: P,
        unsubscribe_method: &'a str,
    ) -> Result<Subscription<N>, RpcError> {
        self.live().await?.subscribe(subscribe_method, params, unsubscribe_method).await
    }

    async fn subscribe_to_method<N: DeserializeOwned>(
        &self,
        method: &str,
    ) -> Result<Subscription<N>, RpcError> {
        self.live().await?.subscribe_to_method(method).await
    }
}
