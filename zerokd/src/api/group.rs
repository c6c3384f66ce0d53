//! `group.*`

use std::sync::Arc;

use jsonrpsee::core::async_trait;
use zerok_client::ApiError;
use zerok_client::api::GroupsServer;
use zerok_client::types::{Group as View, GroupList};
use zerok_core::check_name;

use super::Api;
use crate::group::Group;
use crate::names;
use crate::store::{StoreError, log};

#[async_trait]
impl GroupsServer for Api {
    async fn group_list(&self) -> Result<GroupList, ApiError> {
        Ok(GroupList { groups: self.groups()? })
    }

    async fn group_create(&self, name: Option<String>) -> Result<View, ApiError> {
        let group = self.new_group(name).await?;
        self.view(&group)
    }
}

impl Api {
    /// A new group with a name and this device's name in it.
    pub(super) async fn new_group(&self, name: Option<String>) -> Result<Arc<Group>, ApiError> {
        let name = name.unwrap_or_else(|| "my devices".into());
        check_name(&name).map_err(|e| ApiError::invalid("name", e))?;
        let api = self.clone();
        // Whole even if the caller goes away.
        let made = tokio::spawn(async move {
            let group = api.context.groups.create().await?;
            let (row, own) = (group.row, api.context.keys.id());
            api.context
                .store
                .write(move |connection| {
                    names::set_group(connection, row, &name)?;
                    names::set_device(connection, row, &own, &names::own(connection)?)
                })
                .await
                .map_err(|e: StoreError| ApiError::from(e))?;
            Ok::<_, ApiError>(group)
        });
        made.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    pub(super) fn groups(&self) -> Result<Vec<View>, ApiError> {
        self.context.groups.all().iter().map(|group| self.view(group)).collect()
    }

    pub(super) fn group_name(&self, group: &Group) -> Result<String, ApiError> {
        let (_, name) = self.context.store.read_blocking(|connection| names::read(connection, group.row))?;
        Ok(name.unwrap_or_else(|| group.id.to_hex().chars().take(8).collect()))
    }

    pub(super) fn view(&self, group: &Group) -> Result<View, ApiError> {
        let (vector, outbox) = self.context.store.read_blocking(|connection| {
            Ok::<_, StoreError>((log::vector(connection, group.row)?, log::outbox(connection, group.row)?))
        })?;
        Ok(View {
            id: group.id.to_hex(),
            name: self.group_name(group)?,
            digest: vector.digest().to_hex(),
            devices: u32::try_from(group.standing().roster.counted().count()).unwrap_or(u32::MAX),
            outbox,
        })
    }
}
