//! A content's lists, made anew from its rows: the same pieces in the same order give the same sealed bytes.

use std::collections::BTreeSet;

use zerok_core::{ChunkSealer, ListBuilder, SealedChunk};
use zerok_protocol::Hash;

use super::rows::{self, Stored};
use crate::group::Group;
use crate::store::{Store, StoreError};

/// Rows read at once.
const PAGE: usize = 1024;

/// The lists with these addresses, as far as they can be made; blocking.
pub(super) fn remake(
    store: &Store,
    group: &Group,
    stored: &Stored,
    wanted: &BTreeSet<Hash>,
) -> Result<Vec<SealedChunk>, StoreError> {
    let Some(keys) = group.epoch(stored.content.epoch).filter(|_| !wanted.is_empty()) else {
        return Ok(Vec::new());
    };
    let mut sealer = ChunkSealer::new(&keys, group.id, stored.content.epoch);
    let (mut builder, mut made, mut from) = (ListBuilder::new(), Vec::new(), 0);
    let damaged = |_| StoreError::Damaged("a list of chunks");
    loop {
        let page = store.read_blocking(|connection| rows::data(connection, stored.row, from, PAGE))?;
        for piece in &page {
            made.extend(builder.push(piece.chunk, &mut sealer).map_err(damaged)?);
            from = piece.offset + 1;
        }
        made.retain(|list| wanted.contains(&list.chunk.address));
        if page.len() < PAGE {
            break;
        }
    }
    made.extend(builder.finish(&mut sealer).map_err(damaged)?.sealed);
    made.retain(|list| wanted.contains(&list.chunk.address));
    Ok(made)
}
