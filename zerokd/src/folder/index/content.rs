//! Inline contents, read from the log.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use zerok_core::{Content, Entry, Record};

use super::records::Source;
use crate::store::StoreError;
use crate::store::log::GroupRow;

/// The contents in the record that stands at `source`; `None` if it has none inline, or is not there any more.
pub(crate) fn inline(
    connection: &Connection,
    grp: GroupRow,
    source: Source,
) -> Result<Option<Bytes>, StoreError> {
    let mut find = connection.prepare_cached(
        "SELECT entry.bytes FROM chain JOIN entry ON entry.chain = chain.id \
         WHERE chain.grp = ?1 AND chain.chain = ?2 AND entry.n = ?3",
    )?;
    let found: Option<Vec<u8>> =
        find.query_row(params![grp, source.chain.as_bytes(), source.n], |row| row.get(0)).optional()?;
    let Some(bytes) = found else { return Ok(None) };
    let entry = Entry::parse(&bytes).map_err(|_| StoreError::Damaged("an entry"))?;
    Ok(match Record::from_bytes(&entry.body).map(|record| record.content) {
        Ok(Content::Inline(bytes)) => Some(bytes),
        _ => None,
    })
}
