//! The tables of contents and their chunks.

use rusqlite::{Connection, OptionalExtension, Row, params};
use zerok_core::{ChunkRef, ContentRef};
use zerok_protocol::{EpochId, Hash};

use crate::store::StoreError;
use crate::store::log::GroupRow;

/// A content's row in the database.
pub(super) type ContentRow = i64;

/// Beginning of the keyed hash by which a chunk's plaintext is known again.
pub(super) type Fingerprint = [u8; 16];

/// Where a content stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// To be uploaded.
    Waiting,
    /// Uploaded, or received from others.
    Done,
    /// The file changed before it was uploaded.
    Gone,
}

/// A piece of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DataChunk {
    pub chunk: ChunkRef,
    pub offset: u64,
    pub fingerprint: Fingerprint,
}

/// A leaf or root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ListChunk {
    pub chunk: ChunkRef,
    /// Counts the lists of a content in the order in which they are made.
    pub place: u64,
}

/// What is to be remembered of one content, to be committed together with what names it.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(super) grp: GroupRow,
    pub(super) content: ContentRef,
    pub(super) state: State,
    pub(super) data: Vec<DataChunk>,
    pub(super) lists: Vec<ListChunk>,
}

impl Rows {
    /// Stores them. What is known already stays as it is; what was gone is to be uploaded again.
    pub(crate) fn insert(&self, connection: &Connection) -> Result<(), StoreError> {
        if let Some(known) = find(connection, self.grp, &self.content.root)? {
            if known.state == State::Gone {
                set_state(connection, known.row, self.state)?;
            }
            return Ok(());
        }
        let content = &self.content;
        connection
            .prepare_cached(
                "INSERT INTO content(grp, root, epoch, tag, size, hash, state) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                self.grp,
                content.root.as_bytes(),
                content.epoch.number,
                content.epoch.tag.cast_signed(),
                content.size,
                content.hash.as_bytes(),
                number(self.state),
            ])?;
        let row = connection.last_insert_rowid();
        let mut insert = connection.prepare_cached(
            "INSERT INTO chunk(content, list, offset, length, address, epoch, tag, fingerprint)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        let mut put = |list: bool, offset: u64, chunk: &ChunkRef, fingerprint: Option<&Fingerprint>| {
            insert.execute(params![
                row,
                list,
                offset,
                chunk.length,
                chunk.address.as_bytes(),
                chunk.epoch.number,
                chunk.epoch.tag.cast_signed(),
                fingerprint,
            ])
        };
        for list in &self.lists {
            put(true, list.place, &list.chunk, None)?;
        }
        for data in &self.data {
            put(false, data.offset, &data.chunk, Some(&data.fingerprint))?;
        }
        Ok(())
    }
}

/// A content as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub row: ContentRow,
    pub grp: GroupRow,
    pub content: ContentRef,
    pub state: State,
}

const COLUMNS: &str = "id, grp, root, epoch, tag, size, hash, state";

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let content = ContentRef {
        root: Hash(row.get(2)?),
        epoch: EpochId { number: row.get(3)?, tag: row.get::<_, i64>(4)?.cast_unsigned() },
        size: row.get(5)?,
        hash: Hash(row.get(6)?),
    };
    let state = match row.get::<_, i64>(7)? {
        0 => State::Waiting,
        1 => State::Done,
        _ => State::Gone,
    };
    Ok(Stored { row: row.get(0)?, grp: row.get(1)?, content, state })
}

fn number(state: State) -> i64 {
    match state {
        State::Waiting => 0,
        State::Done => 1,
        State::Gone => 2,
    }
}

/// The content with this root.
pub(super) fn find(
    connection: &Connection,
    grp: GroupRow,
    root: &Hash,
) -> Result<Option<Stored>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM content WHERE grp = ?1 AND root = ?2");
    Ok(connection.prepare_cached(&sql)?.query_row(params![grp, root.as_bytes()], stored).optional()?)
}

/// The oldest contents that wait for their upload, after a row.
pub(super) fn waiting(
    connection: &Connection,
    after: ContentRow,
    limit: usize,
) -> Result<Vec<Stored>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM content WHERE state = 0 AND id > ?1 ORDER BY id LIMIT ?2");
    let mut find = connection.prepare_cached(&sql)?;
    let rows = find.query_map(params![after, i64::try_from(limit).unwrap_or(i64::MAX)], stored)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Contents that have a chunk, the newest first, at most a few: where one has changed another may not have.
pub(super) fn holders(
    connection: &Connection,
    grp: GroupRow,
    address: &Hash,
) -> Result<Vec<Stored>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM content WHERE grp = ?1 AND state <> 2
         AND id IN (SELECT content FROM chunk WHERE address = ?2) ORDER BY id DESC LIMIT 4"
    );
    let mut find = connection.prepare_cached(&sql)?;
    let rows = find.query_map(params![grp, address.as_bytes()], stored)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Sets where contents stand.
pub(super) fn set_state(connection: &Connection, row: ContentRow, state: State) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE content SET state = ?2 WHERE id = ?1")?
        .execute(params![row, number(state)])?;
    Ok(())
}

fn chunk_ref(row: &Row<'_>) -> rusqlite::Result<ChunkRef> {
    let epoch = EpochId { number: row.get(3)?, tag: row.get::<_, i64>(4)?.cast_unsigned() };
    Ok(ChunkRef { address: Hash(row.get(2)?), epoch, length: row.get(1)? })
}

fn data_chunk(row: &Row<'_>) -> rusqlite::Result<DataChunk> {
    Ok(DataChunk { chunk: chunk_ref(row)?, offset: row.get(0)?, fingerprint: row.get(5)? })
}

const CHUNK_COLUMNS: &str = "offset, length, address, epoch, tag, fingerprint";

/// A content's pieces in order, from an offset on.
pub(super) fn data(
    connection: &Connection,
    content: ContentRow,
    from: u64,
    limit: usize,
) -> Result<Vec<DataChunk>, StoreError> {
    let sql = format!(
        "SELECT {CHUNK_COLUMNS} FROM chunk WHERE content = ?1 AND list = 0 AND offset >= ?2 ORDER BY offset LIMIT ?3"
    );
    let mut find = connection.prepare_cached(&sql)?;
    let rows =
        find.query_map(params![content, from, i64::try_from(limit).unwrap_or(i64::MAX)], data_chunk)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A content's lists in the order in which they are made; the root is the last.
pub(super) fn lists(connection: &Connection, content: ContentRow) -> Result<Vec<ListChunk>, StoreError> {
    let sql = format!("SELECT {CHUNK_COLUMNS} FROM chunk WHERE content = ?1 AND list = 1 ORDER BY offset");
    let mut find = connection.prepare_cached(&sql)?;
    let rows =
        find.query_map([content], |row| Ok(ListChunk { chunk: chunk_ref(row)?, place: row.get(0)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The pieces of one content with these addresses.
pub(super) fn data_at(
    connection: &Connection,
    content: ContentRow,
    address: &Hash,
) -> Result<Option<DataChunk>, StoreError> {
    let sql = format!(
        "SELECT {CHUNK_COLUMNS} FROM chunk INDEXED BY chunk_address
         WHERE address = ?2 AND content = ?1 AND list = 0 LIMIT 1"
    );
    let mut find = connection.prepare_cached(&sql)?;
    Ok(find.query_row(params![content, address.as_bytes()], data_chunk).optional()?)
}

/// The chunk that a plaintext was sealed as before, if it was.
pub(super) fn known(
    connection: &Connection,
    grp: GroupRow,
    fingerprint: &Fingerprint,
    length: u32,
) -> Result<Option<ChunkRef>, StoreError> {
    let sql = format!(
        "SELECT {CHUNK_COLUMNS} FROM chunk INDEXED BY chunk_fingerprint
         WHERE fingerprint = ?1 AND list = 0 AND length = ?2
         AND (SELECT grp FROM content WHERE id = chunk.content) = ?3 LIMIT 1"
    );
    let mut find = connection.prepare_cached(&sql)?;
    Ok(find.query_row(params![fingerprint, length, grp], chunk_ref).optional()?)
}

/// Forgets contents that no file has any more, but for those that wait for their upload. To be called now and then.
pub(crate) fn collect(connection: &Connection) -> Result<usize, StoreError> {
    // The limit is that of the index by hash.
    let sql = "DELETE FROM content WHERE state <> 0
               AND NOT EXISTS (SELECT 1 FROM folder_path p JOIN folder f ON f.id = p.folder
                               WHERE f.grp = content.grp AND p.hash = content.hash AND p.size > 32768
                               AND p.size = content.size)";
    Ok(connection.prepare_cached(sql)?.execute([])?)
}

/// A piece that lies in a file here.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalPiece {
    /// The contents of that file.
    pub hash: Hash,
    pub size: u64,
    pub piece: DataChunk,
}

/// Where a piece may lie here: the newest places first, a few at most.
pub(super) fn local(
    connection: &Connection,
    grp: GroupRow,
    chunk: &ChunkRef,
) -> Result<Vec<LocalPiece>, StoreError> {
    let mut find = connection.prepare_cached(
        "SELECT k.offset, k.length, k.address, k.epoch, k.tag, k.fingerprint, c.hash, c.size
         FROM chunk k INDEXED BY chunk_address CROSS JOIN content c ON c.id = k.content
         WHERE k.address = ?1 AND k.list = 0 AND k.length = ?2 AND c.grp = ?3 ORDER BY c.id DESC LIMIT 3",
    )?;
    let rows = find.query_map(params![chunk.address.as_bytes(), chunk.length, grp], |row| {
        Ok(LocalPiece { piece: data_chunk(row)?, hash: Hash(row.get(6)?), size: row.get(7)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
