//! Single values: the database's generation, the device's name, the machine's fingerprint.

use rusqlite::{Connection, OptionalExtension, params};

use super::StoreError;

/// Names the merged logs of this database: a cursor of another generation is answered with `cursor_reset`.
pub(crate) const GENERATION: &str = "generation";
/// The device's name.
pub(crate) const DEVICE_NAME: &str = "device_name";
/// Set when the embedded relay is on.
pub(crate) const EMBEDDED: &str = "embedded_relay";

/// The value of a key.
pub(crate) fn get(connection: &Connection, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    Ok(statement.query_row([key], |row| row.get(0)).optional()?)
}

/// The value of a key as text.
pub(crate) fn get_text(connection: &Connection, key: &str) -> Result<Option<String>, StoreError> {
    get(connection, key)?.map(|v| String::from_utf8(v).map_err(|_| StoreError::Damaged("meta"))).transpose()
}

/// Sets a key.
pub(crate) fn set(connection: &Connection, key: &str, value: &[u8]) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO meta(key, value) VALUES (?1, ?2) ON CONFLICT(key) DO UPDATE SET value = ?2",
        )?
        .execute(params![key, value])?;
    Ok(())
}

/// Removes a key.
pub(crate) fn remove(connection: &Connection, key: &str) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM meta WHERE key = ?1")?.execute([key])?;
    Ok(())
}
