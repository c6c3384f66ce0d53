//! Who is online, told when it changes. Changes that come together are told together: five hundred devices that come at
//! once are not five hundred times five hundred messages.

use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Group;

/// How long changes after one that was told are gathered.
const GATHER: Duration = Duration::from_millis(100);

/// Groups whose members have to be told.
#[derive(Default)]
pub(crate) struct Changed {
    groups: Mutex<Vec<Weak<Group>>>,
    some: Notify,
}

impl Changed {
    /// The group's presence has changed; said once until it is told.
    pub(super) fn add(&self, group: Weak<Group>) {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).push(group);
        self.some.notify_one();
    }

    /// Tells the members of changed groups, until the relay stops.
    pub(crate) async fn tell(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.some.notified() => {}
            }
            let groups = std::mem::take(&mut *self.groups.lock().unwrap_or_else(PoisonError::into_inner));
            for group in groups.iter().filter_map(Weak::upgrade) {
                group.tell_presence();
            }
            tokio::time::sleep(GATHER).await;
        }
    }
}
