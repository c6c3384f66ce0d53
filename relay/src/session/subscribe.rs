//! SUBSCRIBE: a delivery for each, fed as far as its credit reaches.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;
use tracing::Instrument;
use zerok_protocol::Subscribe;

use super::Session;
use crate::delivery;
use crate::refuse::Refusal;

/// Subscriptions of one session at a time.
const SUBSCRIPTIONS: usize = 4;

/// The session's end of a subscription; dropping it ends the delivery.
pub(super) struct Subscription {
    credit: watch::Sender<u64>,
}

impl Subscription {
    /// Adds to all the credit there ever was.
    pub(super) fn add_credit(&self, bytes: u64) {
        self.credit.send_modify(|total| *total = total.saturating_add(bytes));
    }

    fn is_over(&self) -> bool {
        self.credit.is_closed()
    }
}

pub(super) fn start(
    session: &Arc<Session>,
    subscriptions: &mut HashMap<u32, Subscription>,
    subscribe: &Subscribe,
) -> Result<(), Refusal> {
    subscriptions.retain(|_, subscription| !subscription.is_over());
    if subscriptions.contains_key(&subscribe.req) {
        return Err(Refusal::invalid("a subscription of this number is running"));
    }
    if subscriptions.len() >= SUBSCRIPTIONS {
        return Err(Refusal::invalid(format!("at most {SUBSCRIPTIONS} subscriptions in a session")));
    }
    let (credit, granted) = watch::channel(subscribe.credit);
    subscriptions.insert(subscribe.req, Subscription { credit });
    tracing::debug!(mode = ?subscribe.mode, "subscribe");
    let delivery = delivery::run(session.clone(), subscribe.clone(), granted);
    session.conn.tasks.spawn(delivery.in_current_span());
    Ok(())
}
