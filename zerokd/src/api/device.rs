//! `device.*`

use std::collections::BTreeMap;

use jsonrpsee::core::async_trait;
use zerok_client::api::DevicesServer;
use zerok_client::types::{Device, DeviceList, DeviceName};
use zerok_client::{ApiError, ErrorKind};
use zerok_core::check_name;
use zerok_protocol::DeviceId;

use super::Api;
use crate::group::Group;
use crate::store::{StoreError, log, meta};
use crate::{clock, names};

#[async_trait]
impl DevicesServer for Api {
    async fn device_list(&self, group: Option<String>) -> Result<DeviceList, ApiError> {
        let mut devices: Vec<Device> = Vec::new();
        for group in self.groups_of(group.as_deref())? {
            for device in self.devices(&group)? {
                if devices.iter().all(|known| known.id != device.id) {
                    devices.push(device);
                }
            }
        }
        Ok(DeviceList { devices })
    }

    async fn device_rename(
        &self,
        name: String,
        device: Option<String>,
        group: Option<String>,
    ) -> Result<DeviceName, ApiError> {
        check_name(&name).map_err(|e| ApiError::invalid("name", e))?;
        let own = self.context.keys.id();
        let groups = match (&device, &group) {
            (None, None) => self.context.groups.all(),
            _ => vec![self.group(group.as_deref())?],
        };
        let renamed = match (&device, groups.first()) {
            (Some(device), Some(group)) => self.find_device(group, device)?,
            _ => own,
        };
        let rows: Vec<_> = groups.iter().map(|group| group.row).collect();
        let stored = name.clone();
        self.context
            .store
            .write(move |connection| {
                if renamed == own {
                    meta::set(connection, meta::DEVICE_NAME, stored.as_bytes())?;
                }
                for row in rows {
                    names::set_device(connection, row, &renamed, &stored)?;
                }
                Ok::<_, StoreError>(())
            })
            .await?;
        Ok(DeviceName { id: renamed.to_hex(), name })
    }
}

impl Api {
    fn find_device(&self, group: &Group, named: &str) -> Result<DeviceId, ApiError> {
        let devices = self.devices(group)?;
        let fitting: Vec<_> = devices.iter().filter(|d| d.name == named || d.id == named).collect();
        match fitting[..] {
            [device] => device.id.parse().map_err(|_| ApiError::invalid("device", "is no id")),
            [] => Err(ApiError::invalid("device", "no member has this id or name")
                .hint("zerokctl device list shows the members")),
            _ => {
                let ids: Vec<&str> = fitting.iter().map(|d| d.id.as_str()).collect();
                let text = format!("device: several members have this name: {}", ids.join(", "));
                Err(ApiError::new(ErrorKind::InvalidArgument, text).hint("name one by its id"))
            }
        }
    }

    pub(super) fn devices(&self, group: &Group) -> Result<Vec<Device>, ApiError> {
        let standing = group.standing();
        let peers = group.peers();
        let (names, times) = self.context.store.read_blocking(|connection| {
            let (names, _) = names::read(connection, group.row)?;
            let mut times = BTreeMap::new();
            for (device, (vector, _)) in &peers {
                let held = vector.get(&self.context.keys.id(), &group.chain).map_or(0, |p| p.seq);
                times.insert(*device, log::cut_at(connection, group.row, held)?);
            }
            Ok::<_, StoreError>((names, times))
        })?;
        let own = self.context.keys.id();
        let mut members: Vec<_> = standing.roster.members().iter().filter(|(_, m)| !m.recovery).collect();
        members.sort_by_key(|(_, member)| member.rank);
        let view = |(id, member): (&DeviceId, &zerok_protocol::roster::Standing)| {
            let this = *id == own;
            let now = clock::now_ms();
            let online = this || group.is_online(id);
            Device {
                id: id.to_hex(),
                name: names.get(id).cloned().unwrap_or_else(|| id.to_hex().chars().take(8).collect()),
                this,
                added_by: (member.added_by != *id).then(|| member.added_by.to_hex()),
                last_seen: if online { Some(now) } else { peers.get(id).map(|(_, at)| *at) },
                online,
                epoch: standing.roster.epoch().number,
                caught_up_to: if this { Some(now) } else { times.get(id).copied().flatten() },
            }
        };
        Ok(members.into_iter().map(view).collect())
    }
}
