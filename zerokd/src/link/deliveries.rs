//! Delivery streams on their way from the connection to the session whose subscription they serve.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use zerok_protocol::{GroupId, Message};

use crate::wire::WireError;

/// Delivery streams on their way from the connection to the session whose subscription they serve.
#[derive(Clone, Default)]
pub(super) struct Deliveries {
    waiting: Arc<Mutex<HashMap<GroupId, mpsc::Sender<Incoming>>>>,
}

/// A drained stream.
pub(super) type Incoming = mpsc::Receiver<Result<Message, WireError>>;

impl Deliveries {
    /// The streams that the relay opens for the group from now on.
    pub(super) fn expect(&self, group: GroupId) -> mpsc::Receiver<Incoming> {
        let (hand, taken) = mpsc::channel(1);
        self.waiting.lock().expect("nobody panics while holding it").insert(group, hand);
        taken
    }

    pub(super) fn hand_over(&self, group: GroupId, stream: Incoming) {
        let waiting = self.waiting.lock().expect("nobody panics while holding it").remove(&group);
        if let Some(waiting) = waiting {
            drop(waiting.try_send(stream));
        }
    }
}
