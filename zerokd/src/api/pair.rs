//! `pair.*`

use std::time::Duration;

use jsonrpsee::core::async_trait;
use zerok_client::api::PairingServer;
use zerok_client::types::{DeviceName, Done, Invitation, Joined, Way};
use zerok_client::{ApiError, ErrorKind};
use zerok_core::check_name;

use super::Api;
use crate::pair;
use crate::store::{StoreError, meta};

/// Longest life of an invite, and its default.
const TTL_SECONDS: u64 = 600;

#[async_trait]
impl PairingServer for Api {
    async fn pair_create(
        &self,
        way: Option<Way>,
        ttl_s: Option<u64>,
        group: Option<String>,
    ) -> Result<Invitation, ApiError> {
        let Way::Invite = way.unwrap_or_default();
        let ttl = ttl_s.unwrap_or(TTL_SECONDS);
        if !(1..=TTL_SECONDS).contains(&ttl) {
            return Err(ApiError::invalid("ttl_s", format!("must be 1 to {TTL_SECONDS}")));
        }
        let group = match self.group(group.as_deref()) {
            Err(error) if error.kind == ErrorKind::NotPaired => {
                pair::reachable(&self.context).await?;
                self.new_group(None).await?
            }
            found => found?,
        };
        let context = self.context.clone();
        let created =
            tokio::spawn(async move { pair::create(&context, &group, Duration::from_secs(ttl)).await });
        let created = created.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))?;
        Ok(Invitation {
            way: Way::Invite,
            command: format!("zerokctl pair --join {}", created.text),
            invite: Some(created.text),
            expires_at: created.expires,
            invite_id: created.row.to_string(),
        })
    }

    async fn pair_join(&self, invite: String, device_name: Option<String>) -> Result<Joined, ApiError> {
        if let Some(name) = device_name {
            check_name(&name).map_err(|e| ApiError::invalid("device_name", e))?;
            self.context
                .store
                .write(move |connection| meta::set(connection, meta::DEVICE_NAME, name.as_bytes()))
                .await
                .map_err(|e: StoreError| e)?;
        }
        let context = self.context.clone();
        let joined = tokio::spawn(async move { pair::join(&context, &invite).await });
        let joined = joined.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))?;
        let mut group = self.view(&joined.group)?;
        // Its names arrive with the group's data; until then what the inviter said holds.
        group.name = joined.name;
        let members = self.devices(&joined.group)?;
        let inviter = joined
            .group
            .standing()
            .roster
            .members()
            .get(&self.context.keys.id())
            .map(|m| m.added_by.to_hex());
        let named = |device: zerok_client::types::Device| {
            let name =
                if Some(&device.id) == inviter.as_ref() { joined.inviter.clone() } else { device.name };
            DeviceName { id: device.id, name }
        };
        Ok(Joined { group, members: members.into_iter().map(named).collect() })
    }

    async fn pair_cancel(&self, invite_id: String) -> Result<Done, ApiError> {
        let row = invite_id.parse().map_err(|_| ApiError::invalid("invite_id", "is no id of an invite"))?;
        let context = self.context.clone();
        let cancelled = tokio::spawn(async move { pair::cancel(&context, row).await });
        cancelled.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))?;
        Ok(Done {})
    }
}
