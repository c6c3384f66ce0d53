//! Following a channel.

use jsonrpsee::core::client::Subscription;

use super::pause::Pause;
use crate::api::BlobsClient;
use crate::client::{Client, Error};
use crate::types::{Batch, Page};

/// Where to begin reading a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// The first entry that is kept.
    Beginning,
    /// After a cursor.
    After(String),
    /// After the cursor that was last acknowledged under this name.
    Consumer(String),
}

/// The entries of a channel, from a cursor on and then as they come. It reconnects by itself and gives every entry
/// once and in order, for as long as it lives; a consumer that must not miss any across its own restarts
/// acknowledges with [`ack`](Self::ack) what it has dealt with.
pub struct Entries {
    client: Client,
    channel: String,
    group: Option<String>,
    exclude_own: bool,
    consumer: Option<String>,
    /// What was given out; `None` until a consumer's stored cursor was read.
    cursor: Option<String>,
    live: Option<Subscription<Batch>>,
    pause: Pause,
}

impl Client {
    /// Follows a channel.
    #[must_use]
    pub fn entries(&self, channel: impl Into<String>, start: StartAt) -> Entries {
        let (cursor, consumer) = match start {
            StartAt::Beginning => (Some("0".to_owned()), None),
            StartAt::After(cursor) => (Some(cursor), None),
            StartAt::Consumer(name) => (None, Some(name)),
        };
        Entries {
            client: self.clone(),
            channel: channel.into(),
            group: None,
            exclude_own: false,
            consumer,
            cursor,
            live: None,
            pause: Pause::new(),
        }
    }
}

impl Entries {
    /// Reads the channel of this group; needed only when the device is in several.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Leaves out what this device has pushed.
    #[must_use]
    pub fn exclude_own(mut self) -> Self {
        self.exclude_own = true;
        self
    }

    /// The cursor after the last batch given out; `None` before the first when a consumer's was asked for.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// The next entries; waits until there are some. Cancelling the future loses nothing.
    ///
    /// # Errors
    /// What waiting cannot mend, such as `cursor_reset` or an unknown group. A daemon that is away is waited for.
    pub async fn next(&mut self) -> Result<Batch, Error> {
        loop {
            match self.step().await {
                Ok(Some(batch)) => {
                    self.pause.reset();
                    self.cursor = Some(batch.next.clone());
                    return Ok(batch);
                }
                Ok(None) => {}
                Err(e) if e.passes() => {
                    self.live = None;
                    self.pause.wait().await;
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Stores the cursor of what was given out so far under the consumer's name. Does nothing without one.
    ///
    /// # Errors
    /// As the daemon answers.
    pub async fn ack(&self) -> Result<(), Error> {
        if let (Some(consumer), Some(cursor)) = (&self.consumer, &self.cursor) {
            let (channel, group) = (self.channel.clone(), self.group.clone());
            self.client.blob_ack(channel, consumer.clone(), cursor.clone(), group).await?;
        }
        Ok(())
    }

    /// One notification when live; else one stored page, and a subscription once there is no more.
    async fn step(&mut self) -> Result<Option<Batch>, Error> {
        if let Some(live) = self.live.as_mut() {
            match live.next().await {
                Some(Ok(batch)) if Some(&batch.after) == self.cursor.as_ref() => return Ok(Some(batch)),
                _ => self.live = None,
            }
        }
        let page = self.pull().await?;
        let moved_on = page.truncated && Some(&page.next) != self.cursor.as_ref();
        if page.entries.is_empty() && !page.has_more && !moved_on {
            let cursor = self.cursor.insert(page.next).clone();
            let (channel, group) = (self.channel.clone(), self.group.clone());
            let own = Some(self.exclude_own);
            self.live = Some(self.client.blob_subscribe(channel, Some(cursor), None, own, group).await?);
            self.pause.reset();
            return Ok(None);
        }
        let after = self.cursor.clone().unwrap_or_default();
        let Page { entries, next, gaps, truncated, .. } = page;
        Ok(Some(Batch { after, next, entries, gaps, truncated }))
    }

    async fn pull(&self) -> Result<Page, Error> {
        let consumer = if self.cursor.is_none() { self.consumer.clone() } else { None };
        let own = Some(self.exclude_own);
        let (channel, group) = (self.channel.clone(), self.group.clone());
        let page = self
            .client
            .blob_pull(channel, self.cursor.clone(), consumer, None, None, own, None, group)
            .await?;
        Ok(page)
    }
}
