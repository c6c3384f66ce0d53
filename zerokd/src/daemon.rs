//! Start and stop, in the order that loses nothing.
//!
//! Start: lock, identity, database, groups, network, folders (intents are settled before anything looks), links, and
//! the socket last, so that whoever can connect finds everything there. Stop: no new calls, tasks end, the network
//! closes in order, and the database last.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zerok_core::DeviceKeys;

use crate::api::Api;
use crate::config::Config;
use crate::content::Content;
use crate::context::Context;
use crate::device_key::{self, KeyError};
use crate::embedded_relay::EmbeddedRelay;
use crate::endpoint::{self, EndpointError};
use crate::events::Events;
use crate::folder::Folders;
use crate::group::{GroupError, Groups};
use crate::ipc::{self, SubscriptionSlots};
use crate::link::{self, Links};
use crate::paths::Paths;
use crate::problems::Problems;
use crate::single::{self, Lock, SingleError};
use crate::store::{Store, StoreError, consumers, log, meta};
use crate::{clock, pair};

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another daemon runs with this data.
    #[error(transparent)]
    Single(#[from] SingleError),
    /// The identity.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The UDP socket.
    #[error("{0}")]
    Network(String),
    /// A stored group.
    #[error("{0}")]
    Group(String),
    /// The local socket.
    #[error("{0}")]
    Socket(String),
}

impl StartError {
    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Single(SingleError::Running(_)) => 3,
            _ => 1,
        }
    }
}

/// Tasks have this long to end.
const STOP_WITHIN: Duration = Duration::from_secs(4);

/// A daemon that runs.
pub struct Running {
    context: Context,
    embedded: EmbeddedRelay,
    folders: Folders,
    socket: JoinHandle<()>,
    _lock: Lock,
}

/// Starts the daemon; when it returns, the socket takes connections.
///
/// # Errors
/// Another daemon runs with this data, or something it needs cannot be had.
pub async fn start(paths: Paths, config: Config) -> Result<Running, StartError> {
    let keys = Arc::new(device_key::load(&paths)?);
    let lock = single::lock(&paths.lock())?;
    let (store, generation) = open_store(&paths, keys.clone()).await?;
    let groups =
        Groups::load(&store, keys.clone()).map_err(|e: GroupError| StartError::Group(e.to_string()))?;
    let endpoint = endpoint::bind(&keys, config.network.bind)
        .await
        .map_err(|e: EndpointError| StartError::Network(e.to_string()))?;
    let (wants, wanted) = mpsc::channel(256);
    let context = Context {
        keys,
        paths: Arc::new(paths),
        store,
        groups,
        endpoint,
        links: Links::new(wants),
        events: Events::new(),
        problems: Problems::default(),
        tracker: TaskTracker::new(),
        cancel: CancellationToken::new(),
    };
    let embedded = EmbeddedRelay::default();
    embedded.resume(&context).await;
    let content = Content::start(context.clone(), wanted)?;
    let folders = Folders::start(context.clone(), content).await?;
    context.tracker.spawn(link::supervise(context.clone()));
    context.tracker.spawn(forget_regularly(context.clone()));
    pair::resume(&context).await?;
    let listener = ipc::bind(&context.paths.socket).await.map_err(|e| StartError::Socket(e.to_string()))?;
    let api = Api {
        context: context.clone(),
        folders: folders.clone(),
        embedded: embedded.clone(),
        slots: SubscriptionSlots::default(),
        generation,
        started: Instant::now(),
    };
    let serving = ipc::serve(listener, api.methods(), ipc::Limits::default(), context.cancel.clone());
    let socket = tokio::spawn(serving);
    tracing::info!("zerokd {} is ready", env!("CARGO_PKG_VERSION"));
    Ok(Running { context, embedded, folders, socket, _lock: lock })
}

async fn open_store(paths: &Paths, keys: Arc<DeviceKeys>) -> Result<(Store, Arc<str>), StoreError> {
    let cut = Box::new(move |connection: &rusqlite::Connection, outgoing: &crate::store::Outgoing| {
        log::cut_when_ready(connection, &keys, outgoing)
    });
    let store = Store::open(&paths.database(), cut)?;
    let made = store.write(|connection| {
        if let Some(generation) = meta::get_text(connection, meta::GENERATION)? {
            return Ok(generation);
        }
        let generation = hex::encode(clock::random::<4>());
        meta::set(connection, meta::GENERATION, generation.as_bytes())?;
        Ok::<_, StoreError>(generation)
    });
    let generation = made.await?;
    Ok((store, generation.into()))
}

/// Answers to repeated pushes are remembered for a day, and looked through for old ones every hour.
async fn forget_regularly(context: Context) {
    let forget = async {
        loop {
            let forgotten = context.store.write(|c| consumers::forget_old(c, clock::now_ms())).await;
            if let Err::<(), StoreError>(error) = forgotten {
                tracing::warn!("old answers could not be forgotten: {error}");
            }
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
    };
    context.cancel.run_until_cancelled(forget).await;
}

impl Running {
    /// Cancelled when somebody asks the daemon to stop.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.context.cancel.clone()
    }

    /// Stops: what was accepted is kept.
    pub async fn stop(self) {
        self.context.cancel.cancel();
        drop(self.socket.await);
        let ended = async {
            self.folders.stop().await;
            self.context.tracker.close();
            self.context.tracker.wait().await;
        };
        if tokio::time::timeout(STOP_WITHIN, ended).await.is_err() {
            tracing::warn!("some tasks did not end in time; nothing acknowledged is lost");
        }
        drop(tokio::time::timeout(Duration::from_secs(1), self.context.endpoint.close()).await);
        self.embedded.stop().await;
        self.context.store.close().await;
        tracing::info!("zerokd has stopped");
    }
}
