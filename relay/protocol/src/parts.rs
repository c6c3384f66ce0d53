//! A frame in two parts, so that a chunk is sent without being copied: what stands before its bytes, and its bytes.

use bytes::Bytes;

use crate::frame::put_length;
use crate::limits::HEADER_LEN;
use crate::message::Message;

/// How an empty byte string ends a body.
const EMPTY: [u8; 2] = [0xc4, 0x00];

impl Message {
    /// The frame in two parts. For messages that end with a chunk's bytes these are the second part; for all others it is
    /// empty.
    #[must_use]
    pub fn into_parts(mut self) -> [Bytes; 2] {
        let last = match &mut self {
            Message::Chunk(m) => m.data.as_mut().map(std::mem::take),
            Message::ChunkPut(m) => Some(std::mem::take(&mut m.data)),
            _ => None,
        };
        let mut head = self.to_frame();
        let Some(data) = last.filter(|data| !data.is_empty() && head.ends_with(&EMPTY)) else {
            return [head.into(), Bytes::new()];
        };
        head.truncate(head.len() - EMPTY.len());
        let length = u32::try_from(data.len()).expect("what is sent is far below 4 GiB");
        rmp::encode::write_bin_len(&mut head, length).expect("writing to a Vec cannot fail");
        let body = head.len() - HEADER_LEN + data.len();
        put_length(&mut head, 0, body);
        [head.into(), data]
    }
}
