//! `events.*`

use std::time::Duration;

use jsonrpsee::PendingSubscriptionSink;
use jsonrpsee::core::{SubscriptionResult, async_trait, to_json_raw_value};
use zerok_client::api::EventLogServer;
use zerok_client::types::{Event as View, EventBatch, EventPage};
use zerok_client::{ApiError, MAX_PAGE, MAX_WAIT_MS};

use super::{Api, cursor};
use crate::events::Event;

#[async_trait]
impl EventLogServer for Api {
    async fn events_since(
        &self,
        after: Option<String>,
        limit: Option<u32>,
        wait_ms: Option<u64>,
    ) -> Result<EventPage, ApiError> {
        let mut last = self.context.events.last();
        let end = *last.borrow_and_update();
        if limit == Some(0) {
            return Ok(EventPage {
                events: Vec::new(),
                next: self.event_cursor(end),
                has_more: false,
                missed: false,
            });
        }
        let (mut after, foreign) = self.event_after(after.as_deref())?;
        let limit = usize::try_from(limit.unwrap_or(MAX_PAGE).min(MAX_PAGE)).unwrap_or(usize::MAX);
        let deadline =
            tokio::time::Instant::now() + Duration::from_millis(wait_ms.unwrap_or(0).min(MAX_WAIT_MS));
        loop {
            let page = self.context.events.since(after, limit);
            let waited = tokio::time::Instant::now() >= deadline;
            if !page.events.is_empty() || foreign || waited || self.context.cancel.is_cancelled() {
                let end = *self.context.events.last().borrow();
                // From the very beginning nothing is missed but what the ring let go of.
                let missed = foreign || page.missed;
                return Ok(EventPage {
                    has_more: page.next < end,
                    next: self.event_cursor(page.next),
                    events: page.events.into_iter().map(|event| self.event_view(event)).collect(),
                    missed,
                });
            }
            after = page.next;
            tokio::select! {
                _ = last.changed() => {}
                () = tokio::time::sleep_until(deadline) => {}
                () = self.context.cancel.cancelled() => {}
            }
        }
    }

    async fn events_subscribe(
        &self,
        pending: PendingSubscriptionSink,
        after: Option<String>,
    ) -> SubscriptionResult {
        let mut last = self.context.events.last();
        let (mut after, mut missed) = match after.as_deref().map(|after| self.event_after(Some(after))) {
            None => (*last.borrow_and_update(), false),
            Some(Ok(found)) => found,
            Some(Err(error)) => {
                pending.reject(error).await;
                return Ok(());
            }
        };
        let Some(_slot) = self.slots.take() else {
            pending.reject(super::too_many_subscriptions()).await;
            return Ok(());
        };
        let sink = pending.accept().await?;
        loop {
            let page = self.context.events.since(after, 1000);
            missed |= page.missed;
            if !page.events.is_empty() || missed {
                let batch = EventBatch {
                    after: self.event_cursor(after),
                    next: self.event_cursor(page.next),
                    events: page.events.into_iter().map(|event| self.event_view(event)).collect(),
                    missed,
                };
                sink.send(to_json_raw_value(&batch)?).await?;
                (after, missed) = (page.next, false);
                continue;
            }
            tokio::select! {
                _ = last.changed() => {}
                () = sink.closed() => return Ok(()),
                () = self.context.cancel.cancelled() => return Ok(()),
            }
        }
    }
}

impl Api {
    fn event_generation(&self) -> String {
        format!("{:08x}", self.context.events.generation())
    }

    fn event_cursor(&self, n: u64) -> String {
        cursor::text(&self.event_generation(), n)
    }

    /// The number after which to read, and whether the cursor was of an earlier run.
    fn event_after(&self, after: Option<&str>) -> Result<(u64, bool), ApiError> {
        let parsed = cursor::parse("after", after.unwrap_or("0"), &self.event_generation())?;
        Ok((parsed.unwrap_or(0), parsed.is_none()))
    }

    fn event_view(&self, event: Event) -> View {
        View {
            n: event.n,
            cursor: self.event_cursor(event.n),
            at: event.at,
            kind: event.kind.into(),
            group: event.group.map(|group| group.to_hex()),
            data: event.data,
        }
    }
}
