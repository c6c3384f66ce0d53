//! Exchanges that were begun.

use rusqlite::{Connection, params};

use super::{FolderRow, join, split};
use crate::store::StoreError;

/// An exchange of a staged temporary with what stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Intent {
    /// The temporary's name.
    pub(crate) tmp: String,
    /// The path's key.
    pub(crate) key: String,
    /// The inode that was staged.
    pub(crate) inode: u64,
}

/// Notes one, before the exchange.
pub(crate) fn put(connection: &Connection, folder: FolderRow, intent: &Intent) -> Result<(), StoreError> {
    let (parent, name) = split(&intent.key);
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO folder_intent(folder, tmp, parent, name, inode) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![folder, intent.tmp, parent, name, intent.inode.cast_signed()])?;
    Ok(())
}

/// It is settled.
pub(crate) fn remove(connection: &Connection, folder: FolderRow, tmp: &str) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM folder_intent WHERE folder = ?1 AND tmp = ?2")?
        .execute(params![folder, tmp])?;
    Ok(())
}

/// All of them; there are no more than one batch has.
pub(crate) fn all(connection: &Connection, folder: FolderRow) -> Result<Vec<Intent>, StoreError> {
    let mut find =
        connection.prepare_cached("SELECT tmp, parent, name, inode FROM folder_intent WHERE folder = ?1")?;
    let rows = find.query_map([folder], |row| {
        Ok(Intent {
            tmp: row.get(0)?,
            key: join(&row.get::<_, String>(1)?, &row.get::<_, String>(2)?),
            inode: row.get::<_, i64>(3)?.cast_unsigned(),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
