//! Names of devices and groups: registers on the group's `$config` channel, so that no relay sees them.

use std::collections::BTreeMap;

use bytes::Bytes;
use rusqlite::Connection;
use zerok_protocol::DeviceId;

use crate::clock;
use crate::store::log::{self, GroupRow, NewEntry};
use crate::store::{StoreError, meta};

const CHANNEL: &str = "$config";
const GROUP: &str = "group/name";
/// Longest name, in characters.
const MOST: usize = 64;

fn device_key(device: &DeviceId) -> String {
    format!("device/{}/name", device.to_hex())
}

fn register(connection: &Connection, grp: GroupRow, key: String, name: &str) -> Result<(), StoreError> {
    let body = Bytes::copy_from_slice(name.as_bytes());
    let entry = NewEntry { channel: CHANNEL.into(), key: Some(key), refs: Vec::new(), body };
    log::append(connection, grp, &[entry], clock::now_ms())?;
    Ok(())
}

/// Tells the group a device's name.
pub(crate) fn set_device(
    connection: &Connection,
    grp: GroupRow,
    device: &DeviceId,
    name: &str,
) -> Result<(), StoreError> {
    register(connection, grp, device_key(device), name)
}

/// Tells the group its name.
pub(crate) fn set_group(connection: &Connection, grp: GroupRow, name: &str) -> Result<(), StoreError> {
    register(connection, grp, GROUP.into(), name)
}

/// The names of a group's devices, and of the group.
pub(crate) fn read(
    connection: &Connection,
    grp: GroupRow,
) -> Result<(BTreeMap<DeviceId, String>, Option<String>), StoreError> {
    let mut devices = BTreeMap::new();
    for row in log::latest_by_key(connection, grp, CHANNEL, "device/")? {
        let id = row
            .key
            .as_deref()
            .and_then(|key| key.strip_prefix("device/")?.strip_suffix("/name")?.parse().ok());
        if let (Some(id), Some(name)) = (id, shown(&row.body)) {
            devices.insert(id, name);
        }
    }
    let group = log::latest_by_key(connection, grp, CHANNEL, GROUP)?;
    Ok((devices, group.first().and_then(|row| shown(&row.body))))
}

/// A name as another member wrote it, made safe to show.
fn shown(body: &[u8]) -> Option<String> {
    let name: String =
        std::str::from_utf8(body).ok()?.chars().filter(|c| !c.is_control()).take(MOST).collect();
    (!name.is_empty()).then_some(name)
}

/// This device's own name: as set, else the host's.
pub(crate) fn own(connection: &Connection) -> Result<String, StoreError> {
    Ok(meta::get_text(connection, meta::DEVICE_NAME)?.unwrap_or_else(host))
}

fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    shown(name.as_bytes()).unwrap_or_else(|| "device".into())
}
