//! What happens now and then beside the traffic: the expired goes, free room is given back, the reserve of the disk is kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::relay::Relay;
use crate::store::StoreError;

/// How often the reserve of the disk is looked at.
const RESERVE: Duration = Duration::from_secs(5);

/// Removes what has expired and gives its room back, every `cleanup.interval_secs`.
pub(crate) async fn run(relay: Arc<Relay>) {
    let mut settings = relay.settings_changed();
    let mut last = None;
    loop {
        let due = last.map(|last: Instant| last + settings.borrow_and_update().cleanup_interval);
        tokio::select! {
            () = relay.stop.cancelled() => return,
            // Another interval, perhaps.
            _ = settings.changed() => continue,
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now).into()) => {}
        }
        last = Some(Instant::now());
        relay.mailboxes.expire(Instant::now());
        match relay.storage.expire().await {
            Ok(0) => {}
            Ok(blobs) => tracing::info!(blobs, "expired blobs removed"),
            Err(e) => complain(&e, "cannot remove expired blobs"),
        }
        give_back(&relay).await;
    }
}

/// While less of the disk is free than there should be: chunks, which are a cache, give way, and so does what is free
/// in the database.
pub(crate) async fn keep_reserve(relay: Arc<Relay>) {
    while timeout(RESERVE, relay.stop.cancelled()).await.is_err() {
        relay.chunks.keep_reserve();
        if relay.storage.disk_short() {
            give_back(&relay).await;
        }
    }
}

async fn give_back(relay: &Relay) {
    if !relay.settings().vacuum {
        return;
    }
    match relay.storage.give_back().await {
        Ok(0) => {}
        Ok(bytes) => tracing::info!(bytes = bytes.next_power_of_two(), "free room given back to the disk"),
        Err(e) => complain(&e, "cannot give room back to the disk"),
    }
}

fn complain(e: &StoreError, what: &'static str) {
    match e {
        // Said elsewhere, and it is tried again.
        StoreError::DiskFull | StoreError::Damaged | StoreError::Closed => {}
        e => tracing::error!(error = %e, "{what}"),
    }
}
