//! The accept loop: a task for each connection, so that neither a slow handshake nor a panic stops the others.

use std::sync::Arc;
use std::time::Duration;

use iroh::Endpoint;
use iroh::endpoint::{Incoming, IncomingAddr};
use tokio::time::timeout;
use tracing::Instrument;
use zerok_protocol::DeviceId;

use crate::connection;
use crate::relay::Relay;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Accepts until the relay stops.
pub(crate) async fn run(relay: Arc<Relay>, endpoint: Endpoint) {
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
        relay.tasks.spawn(handshake(relay.clone(), incoming));
    }
}

async fn handshake(relay: Arc<Relay>, incoming: Incoming) {
    let ip = match incoming.remote_addr() {
        IncomingAddr::Ip(addr) => Some(addr.ip()),
        _ => None,
    };
    let accepting = match incoming.accept() {
        Ok(accepting) => accepting,
        Err(_) => return relay.metrics.rejected("refused"),
    };
    let handshake = tokio::select! {
        () = relay.stop.cancelled() => return,
        handshake = timeout(HANDSHAKE, accepting) => handshake,
    };
    match handshake {
        Ok(Ok(connection)) => {
            let device = DeviceId(*connection.remote_id().as_bytes());
            // The id's own Display is a token that means nothing outside this process.
            let span = tracing::debug_span!("connection", %device);
            connection::serve(relay, connection, ip).instrument(span).await;
        }
        Ok(Err(_)) => relay.metrics.rejected("failed"),
        Err(_) => relay.metrics.rejected("timeout"),
    }
}
