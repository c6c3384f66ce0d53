//! Following the daemon's events.

use jsonrpsee::core::client::Subscription;

use super::pause::Pause;
use crate::api::EventLogClient;
use crate::client::{Client, Error};
use crate::types::{EventBatch, EventPage};

/// The daemon's events, from a cursor or from now on. It reconnects by itself; `missed` in a batch says when events
/// are gone, because the daemon was restarted or its ring overtaken.
pub struct Events {
    client: Client,
    /// What was given out; `None` until the present end was asked for.
    cursor: Option<String>,
    live: Option<Subscription<EventBatch>>,
    pause: Pause,
}

impl Client {
    /// Follows the events after a cursor, or from now on.
    #[must_use]
    pub fn events(&self, after: Option<String>) -> Events {
        Events { client: self.clone(), cursor: after, live: None, pause: Pause::new() }
    }
}

impl Events {
    /// The next events; waits until there are some. Cancelling the future loses nothing.
    ///
    /// # Errors
    /// What waiting cannot mend. A daemon that is away is waited for.
    pub async fn next(&mut self) -> Result<EventBatch, Error> {
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

    /// Fixes the present end of the events as the place to begin, so that nothing from here on is missed. Does
    /// nothing when there is a place already.
    ///
    /// # Errors
    /// As the daemon answers.
    pub async fn begin(&mut self) -> Result<(), Error> {
        if self.cursor.is_none() {
            self.cursor = Some(self.client.events_since(None, Some(0), None).await?.next);
        }
        Ok(())
    }

    /// One notification when live; else one stored page, and a subscription once there is no more.
    async fn step(&mut self) -> Result<Option<EventBatch>, Error> {
        if let Some(live) = self.live.as_mut() {
            match live.next().await {
                Some(Ok(batch)) if Some(&batch.after) == self.cursor.as_ref() => return Ok(Some(batch)),
                _ => self.live = None,
            }
        }
        self.begin().await?;
        let EventPage { events, next, missed, .. } =
            self.client.events_since(self.cursor.clone(), None, None).await?;
        if events.is_empty() && !missed {
            let cursor = self.cursor.insert(next).clone();
            self.live = Some(self.client.events_subscribe(Some(cursor)).await?);
            self.pause.reset();
            return Ok(None);
        }
        let after = self.cursor.clone().unwrap_or_default();
        Ok(Some(EventBatch { after, next, events, missed }))
    }
}
