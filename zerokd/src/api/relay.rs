//! `relay.*`

use std::net::SocketAddr;

use jsonrpsee::core::async_trait;
use zerok_client::ApiError;
use zerok_client::api::RelaysServer;
use zerok_client::types::{Done, LinkState as State, Problem, Relay, RelayList};
use zerok_protocol::{DeviceId, RelayAddr};

use super::Api;
use crate::clock;
use crate::link::{LinkState, LinkView};
use crate::store::StoreError;
use crate::store::relays::{self, StoredRelay};

#[async_trait]
impl RelaysServer for Api {
    async fn relay_list(&self, _group: Option<String>) -> Result<RelayList, ApiError> {
        Ok(RelayList { relays: self.relays()? })
    }

    async fn relay_add(&self, address: String, _group: Option<String>) -> Result<Relay, ApiError> {
        let address: RelayAddr = address.parse().map_err(|e| ApiError::invalid("address", e))?;
        if address.addrs.is_empty() {
            let why = "has only a relay URL, and this version connects to IP:PORT only";
            return Err(ApiError::invalid("address", why));
        }
        let stored = address.clone();
        self.context
            .store
            .write(move |c| relays::put(c, &stored, clock::now_ms()))
            .await
            .map_err(|e: StoreError| e)?;
        self.context.links.nudge();
        // What the relay said of an earlier address or token is no answer to this one.
        Ok(Relay { error: None, ..self.relay(&address) })
    }

    async fn relay_remove(&self, relay: String, _group: Option<String>) -> Result<Done, ApiError> {
        let unknown =
            || ApiError::invalid("relay", "no relay with that id").hint("zerokctl relay list shows the ids");
        let known = self.context.store.read_blocking(relays::all)?;
        let fitting: Vec<_> = known.iter().filter(|k| k.address.id.to_hex().starts_with(&relay)).collect();
        let id = match fitting[..] {
            [one] if !relay.is_empty() => one.address.id,
            _ => return Err(unknown()),
        };
        self.embedded.forget(&self.context, &id).await?;
        let removed =
            self.context.store.write(move |c| relays::remove(c, &id)).await.map_err(|e: StoreError| e)?;
        if removed { Ok(Done {}) } else { Err(unknown()) }
    }

    async fn relay_embed(&self, bind: Option<String>, _group: Option<String>) -> Result<Relay, ApiError> {
        let bind: Option<SocketAddr> = bind
            .map(|text| text.parse().map_err(|_| ApiError::invalid("bind", "is not IP:PORT")))
            .transpose()?;
        let address = self.embedded.embed(&self.context, bind).await?;
        Ok(self.relay(&address))
    }
}

impl Api {
    fn relay(&self, address: &RelayAddr) -> Relay {
        let view = self.context.links.views().into_iter().find(|view| view.relay.address.id == address.id);
        match view {
            Some(view) => self.relay_view(&view),
            None => Relay {
                id: address.id.to_hex(),
                address: address.to_string(),
                state: State::Connecting,
                latency_ms: None,
                embedded: self.embedded.is(&address.id),
                error: None,
            },
        }
    }

    /// All relays of this device, those whose link has not begun yet included.
    pub(super) fn relays(&self) -> Result<Vec<Relay>, ApiError> {
        let stored: Vec<StoredRelay> = self.context.store.read_blocking(relays::all)?;
        Ok(stored.iter().map(|relay| self.relay(&relay.address)).collect())
    }

    fn relay_view(&self, view: &LinkView) -> Relay {
        let id: DeviceId = view.relay.address.id;
        Relay {
            id: id.to_hex(),
            address: view.relay.address.to_string(),
            state: match view.state {
                LinkState::Idle => State::Idle,
                LinkState::Connecting => State::Connecting,
                LinkState::Connected => State::Connected,
                LinkState::Waiting => State::Waiting,
                LinkState::Stopped => State::Refused,
            },
            latency_ms: view.connection.as_ref().and_then(|connection| {
                let rtt = connection.paths().iter().find(|path| path.is_selected()).map(|path| path.rtt());
                rtt.map(|rtt| u64::try_from(rtt.as_millis()).unwrap_or(u64::MAX))
            }),
            embedded: self.embedded.is(&id),
            error: view.error.clone(),
        }
    }

    pub(super) fn relay_problems(&self) -> Vec<Problem> {
        let broken = |view: &LinkView| match view.state {
            LinkState::Waiting | LinkState::Stopped => Some(Problem {
                code: "relay_unreachable".into(),
                text: format!(
                    "a relay is not connected: {}",
                    view.error.as_deref().unwrap_or("no answer yet")
                ),
                hint: "what is pushed is kept here and sent later; zerokctl relay list shows the relays"
                    .into(),
            }),
            LinkState::Idle | LinkState::Connecting | LinkState::Connected => None,
        };
        self.context.links.views().iter().filter_map(broken).collect()
    }
}
