//! The accept loop. What an address may not do is refused before any cryptography; then a task for each handshake, so
//! that neither a slow one nor a panic stops the others.
//!
//! Refused, not ignored: a device that is told so at once comes back later, where one that hears nothing sends its first
//! packet again and again. The answer is smaller than the question, so it amplifies nothing.

use std::net::IpAddr;
use std::sync::Arc;

use iroh::Endpoint;
use iroh::endpoint::{Accepting, Connection, Incoming, IncomingAddr, VarInt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::Instrument;
use zerok_protocol::{Code, DeviceId, RetryAfter};

use crate::connection;
use crate::limit::Limited;
use crate::relay::Relay;

/// Handshakes under way at a time: each may hold some ten KiB until it has ended or `hello_timeout_secs` is over.
const HANDSHAKES: usize = 1024;
/// With more under way, an address must prove itself with a Retry first: half-open handshakes from forged addresses
/// never take more places than this.
const CALM: usize = 128;

/// Accepts until the relay stops.
pub(crate) async fn run(relay: Arc<Relay>, endpoint: Endpoint) {
    let places = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let incoming = tokio::select! {
            () = relay.stop.cancelled() => return,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else {
            tracing::error!("the endpoint has closed by itself");
            relay.stop.cancel();
            return;
        };
        if let Some(handshake) = Handshake::admit(&relay, &places, incoming) {
            relay.tasks.spawn(handshake.run(relay.clone()));
        }
    }
}

/// What becomes of a first packet.
enum Verdict {
    Accept(OwnedSemaphorePermit),
    /// The address must prove itself first, which costs the relay nothing.
    Retry,
    Refuse(&'static str),
}

fn judge(relay: &Relay, places: &Arc<Semaphore>, ip: Option<IpAddr>, proven: bool) -> Verdict {
    if !proven && HANDSHAKES - places.available_permits() >= CALM {
        return Verdict::Retry;
    }
    if relay.is_full() {
        return Verdict::Refuse("full");
    }
    let Ok(place) = places.clone().try_acquire_owned() else { return Verdict::Refuse("busy") };
    match relay.rates.handshake(ip, proven) {
        Ok(()) => Verdict::Accept(place),
        Err(_) if !proven => Verdict::Retry,
        Err(limited) => {
            relay.metrics.limited(limited.limit);
            Verdict::Refuse("rate")
        }
    }
}

/// A handshake that may begin.
struct Handshake {
    accepting: Accepting,
    ip: Option<IpAddr>,
    /// The address is not forged.
    proven: bool,
    place: OwnedSemaphorePermit,
}

impl Handshake {
    fn admit(relay: &Relay, places: &Arc<Semaphore>, incoming: Incoming) -> Option<Self> {
        let ip = match incoming.remote_addr() {
            IncomingAddr::Ip(addr) => Some(addr.ip()),
            _ => None,
        };
        let proven = incoming.remote_addr_validated();
        match judge(relay, places, ip, proven) {
            Verdict::Accept(place) => match incoming.accept() {
                Ok(accepting) => return Some(Self { accepting, ip, proven, place }),
                Err(_) => relay.metrics.rejected("failed"),
            },
            Verdict::Retry => {
                relay.metrics.retries.inc();
                // Fails only for an address that is proven.
                let _ = incoming.retry();
            }
            Verdict::Refuse(reason) => {
                relay.metrics.rejected(reason);
                incoming.refuse();
            }
        }
        None
    }

    async fn run(self, relay: Arc<Relay>) {
        let handshake = tokio::select! {
            () = relay.stop.cancelled() => return,
            handshake = timeout(relay.settings().hello_timeout, self.accepting) => handshake,
        };
        drop(self.place);
        let connection = match handshake {
            Ok(Ok(connection)) => connection,
            Ok(Err(_)) => return relay.metrics.rejected("failed"),
            Err(_) => return relay.metrics.rejected("timeout"),
        };
        if !self.proven {
            // Now it is, and counts.
            let _ = relay.rates.handshake(self.ip, true);
        }
        let device = DeviceId(*connection.remote_id().as_bytes());
        if let Err(limited) = relay.rates.connection(&device) {
            relay.metrics.limited(limited.limit);
            relay.metrics.rejected("device_rate");
            return close(&connection, limited);
        }
        // The id's own Display is a token that means nothing outside this process.
        let span = tracing::debug_span!("connection", %device);
        connection::serve(relay, connection, self.ip).instrument(span).await;
    }
}

/// Tells the device when to come back.
fn close(connection: &Connection, limited: Limited) {
    let reason = RetryAfter(limited.wait).to_string();
    connection.close(VarInt::from(Code::RateLimited.number()), reason.as_bytes());
}
