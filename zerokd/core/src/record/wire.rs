//! The encoding of a record: a MessagePack map with short field names, format 1.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use zerok_protocol::ChainId;

use super::{Content, Kind, Record, RecordError};
use crate::codec;
use crate::entry::ContentRef;
use crate::hlc::Hlc;
use crate::path::RelPath;
use crate::version::Version;

const FORMAT: u32 = 1;
const FILE: u8 = 0;
const DIRECTORY: u8 = 1;
const SYMLINK: u8 = 2;

#[derive(Deserialize)]
struct Probe {
    format: u32,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    format: u32,
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    original: Option<String>,
    kind: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    size: u64,
    mtime: i64,
    #[serde(default, skip_serializing_if = "is_false")]
    exec: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    private: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inline: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chunked: Option<ContentRef>,
    #[serde(default, skip_serializing_if = "is_false")]
    deleted: bool,
    version: Vec<(ChainId, u64)>,
    by: ChainId,
    hlc: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands the field by reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

pub(super) fn encode(record: &Record) -> Bytes {
    let (kind, target) = match &record.kind {
        Kind::File => (FILE, None),
        Kind::Directory => (DIRECTORY, None),
        Kind::Symlink { target } => (SYMLINK, Some(target.clone())),
    };
    let (inline, chunked) = match &record.content {
        Content::None => (None, None),
        Content::Inline(bytes) => (Some(bytes.clone()), None),
        Content::Chunked(content) => (None, Some(content.clone())),
    };
    let wire = Wire {
        format: FORMAT,
        path: record.path.key().to_owned(),
        original: record.path.original().map(ToOwned::to_owned),
        kind,
        target,
        size: record.size,
        mtime: record.mtime_ns,
        exec: record.executable,
        private: record.owner_only,
        inline,
        chunked,
        deleted: record.deleted,
        version: record.version.clone().into(),
        by: record.by,
        hlc: record.hlc.0,
    };
    codec::encode(&wire).into()
}

pub(super) fn decode(bytes: &[u8]) -> Result<Record, RecordError> {
    match codec::decode::<Probe>(bytes) {
        Some(Probe { format: FORMAT }) => {}
        Some(Probe { format }) => return Err(RecordError::Format(format)),
        None => return Err(RecordError::Malformed),
    }
    let wire: Wire = codec::decode(bytes).ok_or(RecordError::Malformed)?;
    let kind = match (wire.kind, wire.target) {
        (FILE, None) => Kind::File,
        (DIRECTORY, None) => Kind::Directory,
        (SYMLINK, Some(target)) => Kind::Symlink { target },
        (SYMLINK, None) => return Err(RecordError::Target),
        _ => return Err(RecordError::Malformed),
    };
    let content = match (wire.inline, wire.chunked) {
        (None, None) => Content::None,
        (Some(bytes), None) => Content::Inline(bytes),
        (None, Some(content)) => Content::Chunked(content),
        (Some(_), Some(_)) => return Err(RecordError::Content),
    };
    Ok(Record {
        path: RelPath::with_original(&wire.path, wire.original.as_deref())?,
        kind,
        size: wire.size,
        mtime_ns: wire.mtime,
        executable: wire.exec,
        owner_only: wire.private,
        content,
        deleted: wire.deleted,
        version: Version::try_from(wire.version)?,
        by: wire.by,
        hlc: Hlc(wire.hlc),
    })
}
