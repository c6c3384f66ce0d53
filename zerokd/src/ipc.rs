//! The local socket: who may connect, how many, and how much each may ask at once. What is asked is not known here.
//!
//! jsonrpsee answers HTTP POST and WebSocket. Around it stand the walls that it does not have: the peer's uid, the
//! number of connections, a stop for clients that write and do not read, and a stop for calls when the daemon ends.
//! A handler's future is dropped when its client goes, so handlers hand each change over in one step.

mod connection;
mod gate;
mod http;
mod limits;
mod listener;
mod peer;
mod pressure;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use interprocess::local_socket::tokio::prelude::*;
use jsonrpsee::server::{Methods, stop_channel};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use self::limits::{Limits, SubscriptionSlots};
use self::listener::Listener;
pub(crate) use self::listener::bind;

/// Serves `methods` on the socket until `stop`, then lets the calls in flight end within [`Limits::drain`]; returns
/// when every connection is closed and the socket is removed.
pub(crate) async fn serve(listener: Listener, methods: Methods, limits: Limits, stop: CancellationToken) {
    let (stop_handle, server) = stop_channel();
    let shared = Arc::new(connection::Shared::new(methods, limits, stop_handle, stop.clone()));
    let slots = Arc::new(Semaphore::new(limits.connections));
    let refusals = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(stream) => stream,
                Err(error) => { accept_failed(&error).await; continue }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        if !peer::is_own(&stream) {
            tracing::warn!("refused a connection by another user");
            continue;
        }
        if let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
            connections.spawn(connection::run(Arc::clone(&shared), stream, slot));
        } else if let Ok(slot) = Arc::clone(&refusals).try_acquire_owned() {
            connections.spawn(connection::refuse(stream, limits, slot));
        }
    }
    drop(listener);
    // Fails only when every connection has ended already.
    let _ = server.stop();
    drop(shared);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.drain, drained).await.is_err() {
        tracing::warn!("connections of local programs were cut to stop in time");
        connections.shutdown().await;
    }
}

/// Out of descriptors, mostly: waits a little instead of spinning.
async fn accept_failed(error: &std::io::Error) {
    tracing::warn!(%error, "accepting a local connection failed");
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
}
