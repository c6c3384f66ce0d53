//! `blob.*`

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jsonrpsee::PendingSubscriptionSink;
use jsonrpsee::core::{SubscriptionResult, async_trait, to_json_raw_value};
use tokio::time::{Instant, timeout_at};
use zerok_client::api::BlobsServer;
use zerok_client::types::{
    Base64Bytes, Batch, Done, Entry as View, NewEntry, Page, Pushed, PushedMany, Wait,
};
use zerok_client::{
    ApiError, ErrorKind, MAX_BATCH_BYTES, MAX_BLOB, MAX_PAGE, MAX_PAGE_BYTES, MAX_PUSH_MANY, MAX_WAIT_MS,
};
use zerok_core::{MAX_KEY, check_channel};

use super::{Api, cursor};
use crate::clock;
use crate::group::Group;
use crate::store::log::{Appended, LogRow};
use crate::store::{StoreError, consumers, log};

/// Longest idempotency key, in bytes.
const MAX_IDEMPOTENCY_KEY: usize = 128;
/// How long a push waits for a relay unless it says otherwise.
const WAIT_FOR_RELAY: Duration = Duration::from_secs(60);

#[async_trait]
impl BlobsServer for Api {
    async fn blob_push(
        &self,
        channel: String,
        data: Base64Bytes,
        key: Option<String>,
        idempotency_key: Option<String>,
        wait: Option<Wait>,
        timeout_ms: Option<u64>,
        group: Option<String>,
    ) -> Result<Pushed, ApiError> {
        let entries = vec![NewEntry { data, key }];
        let mut pushed = self.push(channel, entries, idempotency_key, wait, timeout_ms, group).await?;
        pushed.pop().ok_or_else(|| ApiError::new(ErrorKind::Internal, "nothing was pushed"))
    }

    async fn blob_push_many(
        &self,
        channel: String,
        entries: Vec<NewEntry>,
        idempotency_key: Option<String>,
        wait: Option<Wait>,
        timeout_ms: Option<u64>,
        group: Option<String>,
    ) -> Result<PushedMany, ApiError> {
        if entries.is_empty() || entries.len() > MAX_PUSH_MANY {
            return Err(ApiError::invalid("entries", format!("must be 1 to {MAX_PUSH_MANY}")));
        }
        Ok(PushedMany {
            entries: self.push(channel, entries, idempotency_key, wait, timeout_ms, group).await?,
        })
    }

    async fn blob_pull(
        &self,
        channel: String,
        after: Option<String>,
        consumer: Option<String>,
        limit: Option<u32>,
        max_bytes: Option<u64>,
        exclude_own: Option<bool>,
        wait_ms: Option<u64>,
        group: Option<String>,
    ) -> Result<Page, ApiError> {
        let reader = self.reader(channel, after, consumer, exclude_own, group)?;
        let limit = limit.unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
        let max_bytes = max_bytes.unwrap_or(MAX_PAGE_BYTES).min(MAX_PAGE_BYTES);
        let deadline = Instant::now() + Duration::from_millis(wait_ms.unwrap_or(0).min(MAX_WAIT_MS));
        let mut released = self.context.store.released();
        let mut reader = reader;
        loop {
            released.borrow_and_update();
            let rows = reader.page(limit, max_bytes)?;
            let waited = Instant::now() >= deadline || self.context.cancel.is_cancelled();
            if !rows.is_empty() || waited {
                let entries = rows.into_iter().map(|row| reader.view(row)).collect();
                let has_more = reader.has_more()?;
                return Ok(Page {
                    entries,
                    next: reader.cursor(reader.after),
                    has_more,
                    gaps: Vec::new(),
                    truncated: false,
                });
            }
            tokio::select! {
                _ = timeout_at(deadline, released.changed()) => {}
                () = self.context.cancel.cancelled() => {}
            }
        }
    }

    async fn blob_ack(
        &self,
        channel: String,
        consumer: String,
        cursor: String,
        group: Option<String>,
    ) -> Result<Done, ApiError> {
        let group = self.group(group.as_deref())?;
        check_channel(&channel, false).map_err(|e| ApiError::invalid("channel", e))?;
        check_channel(&consumer, false)
            .map_err(|_| ApiError::invalid("consumer", "must be 1 to 128 of a-z0-9._/-"))?;
        let pos = cursor::parse_log("cursor", &cursor, &self.generation)?;
        let row = group.row;
        let known = self
            .context
            .store
            .write(move |connection| consumers::acknowledge(connection, row, &channel, &consumer, pos))
            .await
            .map_err(|e: StoreError| e)?;
        if known {
            Ok(Done {})
        } else {
            Err(ApiError::new(ErrorKind::UnknownChannel, "nothing was ever pushed to this channel"))
        }
    }

    async fn blob_subscribe(
        &self,
        pending: PendingSubscriptionSink,
        channel: String,
        after: Option<String>,
        consumer: Option<String>,
        exclude_own: Option<bool>,
        group: Option<String>,
    ) -> SubscriptionResult {
        let mut reader = match self.reader(channel, after, consumer, exclude_own, group) {
            Ok(reader) => reader,
            Err(error) => {
                pending.reject(error).await;
                return Ok(());
            }
        };
        let Some(_slot) = self.slots.take() else {
            pending.reject(super::too_many_subscriptions()).await;
            return Ok(());
        };
        let sink = pending.accept().await?;
        let mut released = self.context.store.released();
        loop {
            released.borrow_and_update();
            let after = reader.after;
            let rows = reader.page(MAX_PAGE, MAX_BATCH_BYTES)?;
            if reader.after > after {
                let entries = rows.into_iter().map(|row| reader.view(row)).collect();
                let (after, next) = (reader.cursor(after), reader.cursor(reader.after));
                let batch = Batch { after, next, entries, gaps: Vec::new(), truncated: false };
                sink.send(to_json_raw_value(&batch)?).await?;
                continue;
            }
            tokio::select! {
                _ = released.changed() => {}
                () = sink.closed() => return Ok(()),
                () = self.context.cancel.cancelled() => return Ok(()),
            }
        }
    }
}

/// A place in a channel's merged log.
struct Reader {
    api: Api,
    group: Arc<Group>,
    channel: String,
    generation: Arc<str>,
    exclude_own: bool,
    after: u64,
}

impl Reader {
    /// Reads on; own entries that are not wanted are passed over.
    fn page(&mut self, limit: u32, max_bytes: u64) -> Result<Vec<LogRow>, ApiError> {
        let rows = usize::try_from(limit).unwrap_or(usize::MAX);
        let bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX);
        loop {
            let read = self.api.context.store.read_blocking(|c| {
                log::read_after(c, self.group.row, &self.channel, self.after, rows, bytes)
            });
            let mut page: Vec<LogRow> = read?;
            let Some(last) = page.last() else { return Ok(page) };
            self.after = last.pos;
            page.retain(|row| !(self.exclude_own && row.own));
            if !page.is_empty() {
                return Ok(page);
            }
        }
    }

    fn has_more(&self) -> Result<bool, ApiError> {
        let last =
            self.api.context.store.read_blocking(|c| log::last_pos(c, self.group.row, &self.channel))?;
        Ok(last > self.after)
    }

    fn cursor(&self, pos: u64) -> String {
        if pos == 0 { "0".into() } else { cursor::text(&self.generation, pos) }
    }

    fn view(&self, row: LogRow) -> View {
        View {
            cursor: self.cursor(row.pos),
            id: format!("{}:{}", row.chain.to_hex(), row.n),
            author: row.device.to_hex(),
            n: row.n,
            hlc: row.hlc.millis(),
            key: row.key,
            data: Base64Bytes(row.body.into()),
        }
    }
}

impl Api {
    fn reader(
        &self,
        channel: String,
        after: Option<String>,
        consumer: Option<String>,
        exclude_own: Option<bool>,
        group: Option<String>,
    ) -> Result<Reader, ApiError> {
        let group = self.group(group.as_deref())?;
        check_channel(&channel, false).map_err(|e| ApiError::invalid("channel", e))?;
        let generation = self.generation.clone();
        let after = match (after, consumer) {
            (Some(_), Some(_)) => {
                return Err(ApiError::invalid("after", "give a cursor or a consumer, not both"));
            }
            (Some(after), None) => cursor::parse_log("after", &after, &generation)?,
            (None, Some(name)) => {
                check_channel(&name, false)
                    .map_err(|_| ApiError::invalid("consumer", "must be 1 to 128 of a-z0-9._/-"))?;
                self.context.store.read_blocking(|c| consumers::offset(c, group.row, &channel, &name))?
            }
            (None, None) => 0,
        };
        let exclude_own = exclude_own.unwrap_or(false);
        Ok(Reader { api: self.clone(), group, channel, generation, exclude_own, after })
    }

    async fn push(
        &self,
        channel: String,
        entries: Vec<NewEntry>,
        idempotency_key: Option<String>,
        wait: Option<Wait>,
        timeout_ms: Option<u64>,
        group: Option<String>,
    ) -> Result<Vec<Pushed>, ApiError> {
        check_channel(&channel, false).map_err(|e| ApiError::invalid("channel", e))?;
        if idempotency_key.as_ref().is_some_and(|key| key.is_empty() || key.len() > MAX_IDEMPOTENCY_KEY) {
            return Err(ApiError::invalid(
                "idempotency_key",
                format!("must have 1 to {MAX_IDEMPOTENCY_KEY} bytes"),
            ));
        }
        for entry in &entries {
            if entry.data.0.len() > MAX_BLOB {
                let text = format!("data: {} bytes, a blob has at most {MAX_BLOB}", entry.data.0.len());
                return Err(ApiError::new(ErrorKind::TooLarge, text));
            }
            if entry.key.as_ref().is_some_and(|key| key.len() > MAX_KEY) {
                return Err(ApiError::invalid("key", format!("must have at most {MAX_KEY} bytes")));
            }
        }
        let group = self.group(group.as_deref())?;
        let new = |entry: NewEntry| log::NewEntry {
            channel: channel.clone(),
            key: entry.key,
            refs: Vec::new(),
            body: Bytes::from(entry.data.0),
        };
        let entries: Vec<_> = entries.into_iter().map(new).collect();
        let row = group.row;
        let appended = self
            .context
            .store
            .write(move |connection| append(connection, row, &entries, idempotency_key.as_deref()))
            .await
            .map_err(|e: StoreError| e)?;
        if let (Some(Wait::Relay), Some(last)) = (wait, appended.last()) {
            let within = timeout_ms.map_or(WAIT_FOR_RELAY, |ms| Duration::from_millis(ms.min(MAX_WAIT_MS)));
            self.wait_for_relay(&group, last.n, Instant::now() + within).await?;
        }
        let chain = group.chain.to_hex();
        let view = |a: Appended| Pushed {
            id: format!("{chain}:{}", a.n),
            cursor: cursor::text(&self.generation, a.pos),
        };
        Ok(appended.into_iter().map(view).collect())
    }

    /// Returns when some relay holds the own entry `n`.
    async fn wait_for_relay(&self, group: &Group, n: u64, deadline: Instant) -> Result<(), ApiError> {
        let mut sent = group.sent();
        loop {
            let seq = *sent.borrow_and_update();
            let row = group.row;
            if self.context.store.read_blocking(|c| log::last_entry(c, row, seq))? >= n {
                return Ok(());
            }
            if timeout_at(deadline, sent.changed()).await.is_err() {
                let text = "no relay has taken it yet; it is kept here and sent later";
                return Err(ApiError::new(ErrorKind::Timeout, text).hint("zerokctl status shows the relays"));
            }
        }
    }
}

/// Appends, or answers what the same idempotency key was answered before. A batch's entries stand one after another, so
/// that its first is enough to remember.
fn append(
    connection: &rusqlite::Connection,
    row: log::GroupRow,
    entries: &[log::NewEntry],
    idempotency_key: Option<&str>,
) -> Result<Vec<Appended>, StoreError> {
    let now = clock::now_ms();
    if let Some(key) = idempotency_key
        && let Some(first) = consumers::answered(connection, row, key, now)?
    {
        let later = |i: u64| Appended { n: first.n + i, pos: first.pos + i };
        return Ok((0..entries.len() as u64).map(later).collect());
    }
    let appended = log::append(connection, row, entries, now)?;
    if let (Some(key), Some(first)) = (idempotency_key, appended.first()) {
        consumers::remember(connection, row, key, *first, now)?;
    }
    Ok(appended)
}
