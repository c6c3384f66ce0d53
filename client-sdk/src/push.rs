//! Pushing: an idempotency key for each, so that a push whose answer was lost is repeated safely; large ones by
//! HTTP POST, which is 2 to 4 times as fast as the WebSocket.

use serde::Serialize;

use crate::api::BlobsClient;
use crate::client::{Client, Error};
use crate::types::{Base64Bytes, Pushed, Wait};

/// From this many bytes of data on, a push goes by HTTP POST.
const POST_FROM: usize = 256 * 1024;
/// Attempts at a push whose connection is lost.
const ATTEMPTS: u32 = 3;

/// A blob to push.
#[derive(Clone, Debug, Serialize)]
pub struct Push {
    /// The channel, 1 to 128 of `a-z0-9._/-`.
    pub channel: String,
    /// The blob, 0 bytes to 900 KiB.
    pub data: Base64Bytes,
    /// The entry's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The same key within 24 h answers the first result again; made at random by [`Client::push`] when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// What to wait for.
    pub wait: Wait,
    /// How long to wait for it, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// The group, needed only when the device is in several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl Push {
    /// A blob for a channel, waiting for the local commit only.
    pub fn new(channel: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        Self {
            channel: channel.into(),
            data: Base64Bytes(data.into()),
            key: None,
            idempotency_key: None,
            wait: Wait::Local,
            timeout_ms: None,
            group: None,
        }
    }
}

/// A fresh random idempotency key.
#[must_use]
pub fn idempotency_key() -> String {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).expect("the system has random bytes");
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl Client {
    /// Pushes a blob. When the connection is lost before the answer, the push is repeated with the same idempotency
    /// key, so that it is taken in once.
    ///
    /// # Errors
    /// [`Error::Api`] as the daemon answers; what concerns the connection after three attempts.
    pub async fn push(&self, mut push: Push) -> Result<Pushed, Error> {
        push.idempotency_key.get_or_insert_with(idempotency_key);
        let mut attempt = 1;
        loop {
            match self.push_once(&push).await {
                Err(Error::Lost(_)) if attempt < ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    async fn push_once(&self, push: &Push) -> Result<Pushed, Error> {
        if push.data.as_bytes().len() >= POST_FROM {
            return crate::post::call(self.socket(), "blob.push", push).await;
        }
        let p = push.clone();
        let pushed =
            self.blob_push(p.channel, p.data, p.key, p.idempotency_key, Some(p.wait), p.timeout_ms, p.group);
        Ok(pushed.await?)
    }
}
