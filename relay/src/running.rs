//! Starting and stopping, in the order that loses nothing.

mod reload;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use iroh::{Endpoint, TransportAddr};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{timeout, timeout_at};
use zerok_protocol::{DeviceId, RelayAddr};

use crate::accept;
use crate::chunks::{Chunks, Sizes};
use crate::cleanup;
use crate::config::{Config, ConfigError, Http};
use crate::data_dir::{DataDir, DataDirError};
use crate::endpoint::{self, EndpointError};
use crate::http::{self, HttpError};
use crate::hub::Hub;
use crate::key::{self, KeyError};
use crate::metrics::Metrics;
use crate::policy::Admission;
use crate::relay::Relay;
use crate::store::{OpenError, Options, Quotas, Sqlite};

/// How often the tables of the limits are swept.
const SWEEP: Duration = Duration::from_secs(10);
/// How long the database may take to close.
const CLOSING: Duration = Duration::from_secs(2);

/// Why a relay does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The relay's key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The database.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// The chunk cache.
    #[error("chunks/")]
    Chunks(#[source] std::io::Error),
    /// The UDP address.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The HTTP address.
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// A relay that runs. Dropping it without [`Running::stop`] ends it without ceremony: nothing acknowledged is lost.
pub struct Running {
    relay: Arc<Relay>,
    endpoint: Endpoint,
    address: RelayAddr,
    http: Option<(SocketAddr, AbortHandle)>,
    quotas: watch::Sender<Quotas>,
    started_with: Config,
}

/// Starts a relay.
///
/// # Errors
/// The configuration leaves open who may use it, its data cannot be used, or an address cannot be bound.
pub async fn start(config: Config) -> Result<Running, StartError> {
    config.check()?;
    let admission = match config.server.admission.clone() {
        Some(admission) => admission,
        None if config.server.bind.ip().is_loopback() => Admission::Open,
        None => Admission::Token,
    };
    let data_dir = DataDir::open(&config.data)?;
    let key = key::load_or_create(&config.key_path())?;
    let metrics = Arc::new(Metrics::new());
    let hub = Arc::new(Hub::default());
    let (quotas, quotas_now) = watch::channel(quotas(&config));
    let sink = hub.clone();
    let publish = Box::new(move |stored| sink.publish(stored));
    let reserve = config.storage.reserve_free_disk;
    let options = Options { quotas: quotas_now, reserve, vacuum: config.cleanup.vacuum };
    let storage = Sqlite::open(&config.database_path(), options, metrics.clone(), publish)?;
    let sizes = sizes(&config);
    let dir = config.chunks_dir();
    let counted = metrics.clone();
    let chunks = tokio::task::spawn_blocking(move || Chunks::open(&dir, sizes, reserve, counted));
    let chunks = Arc::new(chunks.await.map_err(std::io::Error::from).flatten().map_err(StartError::Chunks)?);
    let relay = Arc::new(Relay::new(&config, admission, data_dir, Arc::new(storage), chunks, hub, metrics));
    let streams = config.limits.max_streams_per_connection;
    let endpoint = endpoint::bind(config.server.bind, key, streams, config.server.congestion).await?;
    let http = match serve_http(&relay, &config.http).await {
        Ok(http) => http,
        Err(e) => {
            // Dropped open, it would be an error in the log beside the real one.
            endpoint.close().await;
            return Err(e.into());
        }
    };
    let address = address(&endpoint, &config.server.advertise);
    let presence = relay.hub.presence.clone();
    let stop = relay.stop.clone();
    relay.tasks.spawn(async move { presence.tell(stop).await });
    relay.tasks.spawn(accept::run(relay.clone(), endpoint.clone()));
    relay.tasks.spawn(cleanup::run(relay.clone()));
    relay.tasks.spawn(cleanup::keep_reserve(relay.clone()));
    relay.tasks.spawn(sweep(relay.clone()));
    let port = endpoint.bound_sockets().first().map(SocketAddr::port);
    let (admission, health) = (relay.admission.name(), http.is_some());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), port, admission, health, "listening");
    Ok(Running { relay, endpoint, address, http, quotas, started_with: config })
}

fn quotas(config: &Config) -> Quotas {
    Quotas {
        group_bytes: config.storage.max_group_storage,
        total_bytes: config.storage.max_total_storage,
        groups: config.storage.max_groups,
    }
}

fn sizes(config: &Config) -> Sizes {
    Sizes { group: config.content.max_per_group, total: config.content.max_total }
}

/// Starts `/health` and `/metrics`. The default address is a convenience: if something else has it, the relay runs
/// without.
async fn serve_http(
    relay: &Arc<Relay>,
    config: &Http,
) -> Result<Option<(SocketAddr, AbortHandle)>, HttpError> {
    let Some(addr) = config.bind else { return Ok(None) };
    match http::listen(addr).await {
        Ok((listener, bound)) => {
            let task = tokio::spawn(http::run(relay.clone(), listener));
            Ok(Some((bound, task.abort_handle())))
        }
        Err(_) if config.bind == Http::default().bind => {
            tracing::warn!(
                "the default address of /health and /metrics is taken: going on without (see http.bind)"
            );
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// What is told to devices: as configured, else what is bound, and for all interfaces theirs.
fn address(endpoint: &Endpoint, advertise: &[SocketAddr]) -> RelayAddr {
    let mut addrs = advertise.to_vec();
    if addrs.is_empty() {
        addrs = endpoint.bound_sockets().into_iter().filter(|a| !a.ip().is_unspecified()).collect();
    }
    if addrs.is_empty() {
        let all = endpoint.addr().addrs;
        addrs =
            all.iter().filter_map(|a| if let TransportAddr::Ip(a) = a { Some(*a) } else { None }).collect();
    }
    RelayAddr { id: DeviceId(*endpoint.id().as_bytes()), addrs, relay_url: None, token: None }
}

/// Forgets who has rested, now and then: strangers leave nothing behind.
async fn sweep(relay: Arc<Relay>) {
    while timeout(SWEEP, relay.stop.cancelled()).await.is_err() {
        relay.rates.sweep();
    }
}

impl Running {
    /// Where devices find it, with the ports that were bound.
    #[must_use]
    pub fn address(&self) -> &RelayAddr {
        &self.address
    }

    /// Where `/health` is, if anywhere.
    #[must_use]
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(|(addr, _)| *addr)
    }

    /// Waits until it has to stop by itself, which only a failure makes it do.
    pub async fn closed(&self) {
        self.relay.stop.cancelled().await;
    }

    /// Stops: no new connections, every session is told, what is being committed is finished, all within the grace time.
    pub async fn stop(self) {
        let deadline = tokio::time::Instant::now() + self.relay.settings().shutdown_grace;
        self.relay.stop.cancel();
        self.relay.tasks.close();
        if timeout_at(deadline, self.relay.tasks.wait()).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
        let _ = timeout_at(deadline, self.endpoint.close()).await;
        // What was accepted is in the queue: a moment more than the grace time, if need be.
        if timeout(CLOSING, self.relay.storage.close()).await.is_err() {
            tracing::warn!("the database did not close in time; nothing acknowledged is lost");
        }
        self.relay.data_dir.release();
        tracing::info!("stopped");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.relay.stop.cancel();
        if let Some((_, task)) = &self.http {
            task.abort();
        }
    }
}
