//! The channel `$folders`: which folders a group has. Key is the folder's id; the latest announcement counts.

use bytes::Bytes;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use zerok_core::{FolderId, check_name};
use zerok_protocol::DeviceId;

use super::index::folders::{self, Announced};
use crate::clock;
use crate::store::log::{self, GroupRow, LogRow, NewEntry};
use crate::store::{Store, StoreError};

const CHANNEL: &str = "$folders";
const VERSION: u8 = 1;
/// Announcements taken in at a time.
const PAGE: usize = 500;

/// What is announced.
#[derive(Serialize, Deserialize)]
struct Announcement {
    v: u8,
    name: String,
    created_by: DeviceId,
    removed: bool,
}

/// Announces a new folder, in the caller's transaction.
///
/// # Errors
/// The database.
pub(crate) fn announce(
    connection: &Connection,
    grp: GroupRow,
    id: &FolderId,
    name: &str,
    created_by: DeviceId,
) -> Result<(), StoreError> {
    let hlc = log::tick(connection, grp, clock::now_ms())?;
    folders::announce(connection, grp, id, &Announced { name, created_by, removed: false, hlc })?;
    let body = Announcement { v: VERSION, name: name.to_owned(), created_by, removed: false };
    let body = rmp_serde::to_vec_named(&body).expect("writing plain data to a Vec cannot fail");
    let entry = NewEntry {
        channel: CHANNEL.to_owned(),
        key: Some(id.to_hex()),
        refs: Vec::new(),
        body: Bytes::from(body),
    };
    log::append(connection, grp, &[entry], clock::now_ms())?;
    Ok(())
}

/// Takes in what was announced since the last time; true if there was anything.
///
/// # Errors
/// The database.
pub(crate) fn take_in(store: &Store, grp: GroupRow) -> Result<bool, StoreError> {
    let rows = store.read_blocking(|connection| {
        let read = folders::announced_position(connection, grp)?;
        log::read_after(connection, grp, CHANNEL, read, PAGE, 1 << 20)
    })?;
    let Some(last) = rows.last().map(|row| row.pos) else { return Ok(false) };
    store.write_blocking(move |connection| {
        for (row, id, body) in rows.iter().filter_map(|row| parse(row).map(|(id, body)| (row, id, body))) {
            let announced = Announced {
                name: &body.name,
                created_by: body.created_by,
                removed: body.removed,
                hlc: row.hlc,
            };
            folders::announce(connection, grp, &id, &announced)?;
        }
        folders::set_announced_position(connection, grp, last)?;
        Ok::<_, StoreError>(true)
    })
}

/// `None` for what is no announcement: it is passed over, as by every device.
fn parse(row: &LogRow) -> Option<(FolderId, Announcement)> {
    let id: FolderId = row.key.as_ref()?.parse().ok()?;
    let body: Announcement = rmp_serde::from_slice(&row.body).ok()?;
    (body.v == VERSION && check_name(&body.name).is_ok()).then_some((id, body))
}
