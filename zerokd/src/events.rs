//! Numbered events, a ring in memory. A poller that comes too late, or after a restart, is told so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use zerok_protocol::GroupId;

use crate::clock;

/// Events that are kept.
const RING: usize = 10_000;

/// One event.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Its number, from 1, gap-free since the daemon's start.
    pub n: u64,
    /// When, Unix milliseconds.
    pub at: u64,
    /// What: `relay.connected`, `device.added`, `folder.item`, …
    pub kind: &'static str,
    /// The group it is about.
    pub group: Option<GroupId>,
    /// Details.
    pub data: serde_json::Value,
}

/// A page of events.
pub(crate) struct EventPage {
    /// In order.
    pub events: Vec<Event>,
    /// Some after `after` are no longer kept.
    pub missed: bool,
    /// Ask on after this one.
    pub next: u64,
}

/// Handle to the ring; cheap to clone.
#[derive(Clone)]
pub(crate) struct Events {
    generation: u32,
    ring: Arc<Mutex<VecDeque<Event>>>,
    last: watch::Sender<u64>,
}

impl Events {
    pub(crate) fn new() -> Self {
        let generation = u32::from_be_bytes(clock::random());
        Self { generation, ring: Arc::default(), last: watch::Sender::new(0) }
    }

    /// Names this run of the daemon: event numbers of another run mean nothing here.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Adds an event and wakes who waits.
    pub(crate) fn emit(&self, kind: &'static str, group: Option<GroupId>, data: serde_json::Value) {
        let mut ring = self.ring.lock().expect("nobody panics while holding it");
        let n = *self.last.borrow() + 1;
        ring.push_back(Event { n, at: clock::now_ms(), kind, group, data });
        if ring.len() > RING {
            ring.pop_front();
        }
        self.last.send_replace(n);
    }

    /// Events after a number, at most `limit`.
    pub(crate) fn since(&self, after: u64, limit: usize) -> EventPage {
        let ring = self.ring.lock().expect("nobody panics while holding it");
        let first = ring.front().map_or(1, |e| e.n);
        let skip = usize::try_from((after + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        let events: Vec<Event> = ring.iter().skip(skip).take(limit).cloned().collect();
        let next = events.last().map_or(after, |e| e.n);
        EventPage { events, missed: after + 1 < first, next }
    }

    /// The number of the last event.
    pub(crate) fn last(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poller_misses_none_or_is_told_so() {
        let events = Events::new();
        for i in 0..3 {
            events.emit("test", None, serde_json::json!({ "i": i }));
        }
        let page = events.since(1, 100);
        assert_eq!(page.events.iter().map(|e| e.n).collect::<Vec<_>>(), [2, 3]);
        assert!(!page.missed);
        for _ in 0..RING {
            events.emit("test", None, serde_json::Value::Null);
        }
        let page = events.since(1, 1);
        assert!(page.missed);
        assert_eq!(page.events[0].n, 4);
    }
}
