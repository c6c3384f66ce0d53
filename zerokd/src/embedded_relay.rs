//! The relay inside the daemon, for its own groups only: nobody needs a server to begin. The only file that knows
//! zerok-relay.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Mutex;
use zerok_client::{ApiError, ErrorKind};
use zerok_protocol::{DeviceId, RelayAddr};

use crate::context::Context;

/// Handle to it; cheap to clone. It may not be running.
#[derive(Clone, Default)]
pub(crate) struct EmbeddedRelay {
    inner: Arc<Mutex<Option<running::Relay>>>,
    id: Arc<std::sync::Mutex<Option<DeviceId>>>,
}

impl EmbeddedRelay {
    /// Starts it if it was embedded before. A failure is a problem in `status`, not the end of the daemon.
    pub(crate) async fn resume(&self, context: &Context) {
        let problem = "embedded_relay";
        match running::stored_bind(context) {
            Ok(Some(bind)) => match self.embed(context, Some(bind)).await {
                Ok(_) => context.problems.clear(problem, ""),
                Err(error) => {
                    tracing::error!("the embedded relay did not start: {error}");
                    let text = format!("the embedded relay did not start: {error}");
                    context.problems.set(problem, "", text, error.hint);
                }
            },
            Ok(None) => {}
            Err(error) => tracing::error!("the embedded relay's address could not be read: {error}"),
        }
    }

    /// Starts it, now and at every start, and makes it a relay of this device. Running already, it stays as it is.
    pub(crate) async fn embed(
        &self,
        context: &Context,
        bind: Option<SocketAddr>,
    ) -> Result<RelayAddr, ApiError> {
        let mut inner = self.inner.lock().await;
        if let Some(relay) = inner.as_ref() {
            let address = relay.address().clone();
            return match bind {
                Some(bind) if bind.port() != 0 && !address.addrs.iter().any(|a| a.port() == bind.port()) => {
                    Err(ApiError::new(ErrorKind::Conflict, "the embedded relay is running on another port")
                        .hint("zerokctl relay remove ID first; zerokctl relay list shows the id"))
                }
                _ => Ok(address),
            };
        }
        let relay = running::start(context, bind).await?;
        let address = relay.address().clone();
        *self.id.lock().expect("nobody panics while holding it") = Some(address.id);
        *inner = Some(relay);
        Ok(address)
    }

    /// Is it the relay with this id?
    pub(crate) fn is(&self, id: &DeviceId) -> bool {
        self.id.lock().expect("nobody panics while holding it").as_ref() == Some(id)
    }

    /// Stops it for good, if it is the one with this id.
    pub(crate) async fn forget(&self, context: &Context, id: &DeviceId) -> Result<(), ApiError> {
        if self.is(id) {
            running::forget(context).await?;
            self.stop().await;
            *self.id.lock().expect("nobody panics while holding it") = None;
        }
        Ok(())
    }

    /// Stops it for now.
    pub(crate) async fn stop(&self) {
        if let Some(relay) = self.inner.lock().await.take() {
            relay.stop().await;
        }
    }
}

#[cfg(feature = "embedded-relay")]
mod running {
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    use zerok_client::{ApiError, ErrorKind};
    use zerok_protocol::RelayAddr;
    use zerok_relay::{Admission, Config, Content, Http, OwnGroups, Server};

    use crate::clock;
    use crate::context::Context;
    use crate::store::{StoreError, meta, relays};

    pub(super) struct Relay {
        running: zerok_relay::Running,
        address: RelayAddr,
    }

    impl Relay {
        pub(super) fn address(&self) -> &RelayAddr {
            &self.address
        }

        pub(super) async fn stop(self) {
            self.running.stop().await;
        }
    }

    pub(super) fn stored_bind(context: &Context) -> Result<Option<SocketAddr>, StoreError> {
        let text = context.store.read_blocking(|connection| meta::get_text(connection, meta::EMBEDDED))?;
        Ok(text.and_then(|text| text.parse().ok()))
    }

    pub(super) async fn forget(context: &Context) -> Result<(), StoreError> {
        context.store.write(|connection| meta::remove(connection, meta::EMBEDDED)).await
    }

    pub(super) async fn start(context: &Context, bind: Option<SocketAddr>) -> Result<Relay, ApiError> {
        let bind = bind.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0));
        let own = OwnGroups::default();
        let config = Config {
            data: context.paths.data.clone(),
            server: Server {
                bind,
                admission: Some(Admission::Own(own.clone())),
                shutdown_grace_secs: 2,
                ..Server::default()
            },
            http: Http { bind: None, metrics: false },
            content: Content::default(),
            ..Config::default()
        };
        let running = zerok_relay::start(config).await.map_err(|e| {
            ApiError::new(ErrorKind::Io, format!("the embedded relay cannot start: {e}")).hint(
                "another program may hold the port: zerokctl relay embed --bind IP:PORT picks another one",
            )
        })?;
        let address = running.address().clone();
        let port = address.addrs.first().map_or(bind.port(), SocketAddr::port);
        let (kept, stored) = (SocketAddr::new(bind.ip(), port).to_string(), address.clone());
        context
            .store
            .write(move |connection| {
                meta::set(connection, meta::EMBEDDED, kept.as_bytes())?;
                relays::put(connection, &stored, clock::now_ms())
            })
            .await
            .map_err(|e: StoreError| e)?;
        context.links.nudge();
        context.tracker.spawn(serve_own_groups(context.clone(), own));
        Ok(Relay { running, address })
    }

    async fn serve_own_groups(context: Context, own: OwnGroups) {
        let mut changed = context.groups.changed();
        loop {
            for group in context.groups.all() {
                if own.insert(group.id) {
                    context.links.nudge();
                }
            }
            tokio::select! {
                changed = changed.changed() => if changed.is_err() { return },
                () = context.cancel.cancelled() => return,
            }
        }
    }
}

#[cfg(not(feature = "embedded-relay"))]
mod running {
    use std::net::SocketAddr;

    use zerok_client::{ApiError, ErrorKind};
    use zerok_protocol::RelayAddr;

    use crate::context::Context;
    use crate::store::StoreError;

    /// This build has none, so there is no value of it.
    pub(super) enum Relay {}

    impl Relay {
        pub(super) fn address(&self) -> &RelayAddr {
            match *self {}
        }

        pub(super) async fn stop(self) {
            match self {}
        }
    }

    pub(super) fn stored_bind(_: &Context) -> Result<Option<SocketAddr>, StoreError> {
        Ok(None)
    }

    pub(super) async fn forget(_: &Context) -> Result<(), StoreError> {
        Ok(())
    }

    pub(super) async fn start(_: &Context, _: Option<SocketAddr>) -> Result<Relay, ApiError> {
        Err(ApiError::new(ErrorKind::InvalidArgument, "this build of zerokd has no embedded relay")
            .hint("run zerok-relay, and add its address: zerokctl relay add ADDR"))
    }
}
